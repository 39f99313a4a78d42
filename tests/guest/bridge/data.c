/*
 * A disk reads into a window and writes from it
 *
 * What is in the window is compared as the CPU sees it in the aperture, as the
 * CPU sees it in the target's own BAR, and as the host sees it in the memory
 * behind that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "bridge.h"

#define WINDOW_SIZE (12 * MIB)
/* In the BAR, of the window: not its beginning */
#define WINDOW_OFFSET (2 * MIB)
#define GUARD 4096
#define TAG_POISON 0xfefefe
#define FILE_BAR 2              /* the BAR whose memory the host can look at */

/* The target's own BAR, where the window is of it */
static uint8_t *map_bar(uint32_t bar)
{
    char path[128];
    uint8_t *data;
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u",
             machine.target_name, bar);
    fd = open(path, O_RDWR | O_CLOEXEC);
    data = fd < 0 ? MAP_FAILED
                  : mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                         fd, WINDOW_OFFSET);
    if (data == MAP_FAILED) {
        die("%s: %m", path);
    }
    close(fd);
    return data;
}

/* @start: in the window */
static bool seen_by_all(const Window *window, const uint8_t *bar, size_t start,
                        size_t size, uint32_t tag, uint64_t at)
{
    bool ok = is_filled(window->data + start, size, tag, at, "the aperture") &
              is_filled(bar + start, size, tag, at, "the BAR");

    return ok && (window->bar != FILE_BAR ||
                  host("bar %zu %zu %u %zu", WINDOW_OFFSET + start, size, tag,
                       (size_t)at));
}

static bool moved(ssize_t done, size_t size, const char *what)
{
    if (done != (ssize_t)size) {
        complain("%s of %zu bytes: %s", what, size,
                 done < 0 ? strerror(errno) : "short");
    }
    return done == (ssize_t)size;
}

/* --- Without a disk ------------------------------------------------------ */

static bool check_cpu(const Window *window, uint8_t *bar)
{
    uint32_t tag = new_tag();

    fill(window->data, window->size, tag, 0);
    if (!seen_by_all(window, bar, 0, window->size, tag, 0)) {
        return false;
    }
    tag = new_tag();
    fill(bar, window->size, tag, 0);
    if (!is_filled(window->data, window->size, tag, 0, "the aperture")) {
        return false;
    }
    if (window->bar != FILE_BAR) {
        return true;
    }
    tag = new_tag();
    return host("fill %u %zu %u 0", WINDOW_OFFSET, window->size, tag) &&
           is_filled(window->data, window->size, tag, 0, "the aperture");
}

/* --- With one ------------------------------------------------------------ */

static bool check_read(const Window *window, const uint8_t *bar, int file,
                       size_t size)
{
    size_t start = GUARD + 3 * 4096;
    uint64_t at = PATTERN_SIZE - size;

    fill(window->data + start - GUARD, size + 2 * GUARD, TAG_POISON, 0);
    return moved(pread(file, window->data + start, size, at), size, "read") &&
           seen_by_all(window, bar, start, size, TAG_PATTERN, at) &
           is_filled(window->data + start - GUARD, GUARD, TAG_POISON, 0,
                     "memory before it") &
           is_filled(window->data + start + size, GUARD, TAG_POISON,
                     GUARD + size, "memory behind it");
}

static bool check_write(const Window *window, int file, size_t size)
{
    uint8_t *ram = aligned_alloc(4096, size);
    uint32_t tag = new_tag();
    bool ok;

    fill(window->data + 4096, size, tag, 0);
    ok = moved(pwrite(file, window->data + 4096, size, MIB), size, "write") &&
         moved(pread(file, ram, size, MIB), size, "read into RAM") &&
         is_filled(ram, size, tag, 0, "the file");
    free(ram);
    return ok;
}

/* What the host finds on the disk when the guest has gone */
static bool leave(const Window *window, const char *name)
{
    char path[128];
    uint32_t tag = new_tag();
    bool ok;
    int file;

    snprintf(path, sizeof(path), FOLDER "/%s", name);
    file = open_direct(path);
    fill(window->data, window->size, tag, 0);
    ok = moved(pwrite(file, window->data, window->size, 0), window->size,
               "write") && fsync(file) == 0;
    close(file);
    return ok && host("keep %s %zu %u", name, window->size, tag);
}

void try_data(uint32_t bar, uint32_t pages, const char *name)
{
    static const struct {
        const char *name;
        size_t size;
    } sizes[] = {
        { "512", 512 }, { "4K", 4096 }, { "64K", 64 * KIB }, { "1M", MIB },
        { "8M", 8 * MIB },
    };
    uint8_t *direct = map_bar(bar);
    Window window;
    char left[64];
    int in = open_direct(PATTERN);
    int out = open_direct(FOLDER "/out");
    bool ok = open_window(&window, bar, WINDOW_OFFSET, WINDOW_SIZE, pages);

    report(ok, "%s/open", name);
    if (!ok) {
        return;
    }
    report(check_cpu(&window, direct), "%s/cpu", name);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        report(check_read(&window, direct, in, sizes[i].size), "%s/read/%s",
               name, sizes[i].name);
        report(check_write(&window, out, sizes[i].size), "%s/write/%s", name,
               sizes[i].name);
    }
    snprintf(left, sizeof(left), "left-by-%s", name);
    report(leave(&window, left), "%s/leave", name);
    close(in);
    close(out);
    report(close_window(&window), "%s/close", name);
    munmap(direct, WINDOW_SIZE);
}
