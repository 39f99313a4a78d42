/*
 * Data that tells its place, transfers, and the lines that are printed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "guest.h"

/* Transfers may begin anywhere that the driver allows. */
typedef uint64_t __attribute__((aligned(1), may_alias)) Word;

static char complaints[1024];

void complain(const char *format, ...)
{
    size_t used = strlen(complaints);
    size_t left = sizeof(complaints) - used;
    va_list args;

    /* The first few say it all. */
    if (left < 256) {
        return;
    }
    va_start(args, format);
    used += snprintf(complaints + used, left, "# ");
    vsnprintf(complaints + used, left - 4, format, args);
    va_end(args);
    strcat(complaints, "\n");
}

void report(bool ok, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs(ok ? "ok - " : "not ok - ", stdout);
    vprintf(format, args);
    va_end(args);
    printf("\n%s", ok ? "" : complaints);
    fflush(stdout);
    complaints[0] = '\0';
}

void fill(void *data, size_t size, uint32_t tag, uint64_t offset)
{
    Word *word = data;

    for (size_t i = 0; i < size / sizeof(*word); i++) {
        word[i] = (uint64_t)tag << TAG_BITS | (offset + i * sizeof(*word));
    }
}

bool is_filled(const void *data, size_t size, uint32_t tag, uint64_t offset,
               const char *what)
{
    const Word *word = data;
    size_t wrong = 0;
    size_t first = 0;

    for (size_t i = 0; i < size / sizeof(*word); i++) {
        uint64_t right = (uint64_t)tag << TAG_BITS |
                         (offset + i * sizeof(*word));

        if (word[i] != right && wrong++ == 0) {
            first = i;
        }
    }
    if (wrong) {
        size_t at = first * sizeof(*word);

        complain("%s: %zu of %zu words wrong; at byte %zu is 0x%016" PRIx64
                 ", not 0x%016" PRIx64, what, wrong, size / sizeof(*word), at,
                 word[first], (uint64_t)tag << TAG_BITS | (offset + at));
    }
    return wrong == 0;
}

static bool transferred(ssize_t done, size_t size, const char *what,
                        uint64_t at)
{
    if (done < 0) {
        complain("%s of %zu bytes at %" PRIu64 ": %s", what, size, at,
                 strerror(errno));
    } else if ((size_t)done != size) {
        complain("%s of %zu bytes at %" PRIu64 ": only %zd", what, size, at,
                 done);
    }
    return done >= 0 && (size_t)done == size;
}

bool read_disk(const Disk *disk, void *data, size_t size, uint64_t at)
{
    return transferred(pread(disk->fd, data, size, at), size, "read", at);
}

bool write_disk(const Disk *disk, const void *data, size_t size, uint64_t at)
{
    return transferred(pwrite(disk->fd, data, size, at), size, "write", at);
}
