/*
 * The kernel's log: nothing that tells of a mistake in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "bridge.h"

static const char *const signs[] = {
    "WARNING:", "BUG:", "Oops", "Call Trace", "leak", "general protection",
    "rcu: INFO", "blocked for more than", "refcount_t", "use-after-free",
    "Busy inodes", "Bad page",
    "has not ended",
};

static bool is_bad(const char *line)
{
    for (unsigned i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
        if (strstr(line, signs[i])) {
            return true;
        }
    }
    return false;
}

bool log_is_clean(void)
{
    static int fd = -1;
    bool clean = true;
    char line[1024];
    ssize_t n;

    if (fd < 0) {
        fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (fd < 0) {
        die("/dev/kmsg: %m");
    }
    /* EPIPE: some were overwritten; go on with what is there. */
    while ((n = read(fd, line, sizeof(line) - 1)) > 0 ||
           (n < 0 && errno == EPIPE)) {
        if (n < 0) {
            continue;
        }
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        if (is_bad(line)) {
            complain("kernel: %.160s", line);
            clean = false;
        }
    }
    return clean;
}
