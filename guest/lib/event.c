/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Events of a device
 */
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 1: taken; 0: there is none; -1 */
static int take(int fd, struct p2p_bridge_event *event)
{
    ssize_t n = read(fd, event, sizeof(*event));

    if (n == sizeof(*event)) {
        return 1;
    }
    if (n < 0 && errno == EAGAIN) {
        return 0;
    }
    if (n >= 0) {
        /* End of file, or a piece of an event, is none of this driver. */
        errno = EPROTO;
    }
    return -1;
}

int p2p_bridge_event(struct p2p_bridge *bridge, struct p2p_bridge_event *event,
                     int timeout)
{
    int64_t end = timeout < 0 ? 0 : now_ms() + timeout;
    int got;

    /* Another thread may be faster: what poll() has seen may be gone. */
    while ((got = take(bridge->fd, event)) == 0) {
        struct pollfd wait = { .fd = bridge->fd, .events = POLLIN };
        int64_t left = timeout < 0 ? -1 : end - now_ms();

        if (timeout >= 0 && left <= 0) {
            return 0;
        }
        if (poll(&wait, 1, left) < 0) {
            return -1;
        }
    }
    return got;
}
