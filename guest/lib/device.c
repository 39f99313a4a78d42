/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Opening a device; what it has
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "internal.h"

#define NODES 64                /* of the first ones to look for */

static int open_node(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

/* A node that is there but cannot be used says more than one that is not. */
static int open_first(void)
{
    int why = ENOENT;

    for (unsigned i = 0; i < NODES; i++) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/dev/p2p-bridge%u", i);
        fd = open_node(path);
        if (fd >= 0) {
            return fd;
        }
        if (errno != ENOENT && why == ENOENT) {
            why = errno;
        }
    }
    errno = why;
    return -1;
}

struct p2p_bridge *p2p_bridge_open(const char *path)
{
    struct p2p_bridge_identify identify;
    struct p2p_bridge *bridge = malloc(sizeof(*bridge));

    if (!bridge) {
        return NULL;
    }
    bridge->fd = path ? open_node(path) : open_first();
    if (bridge->fd < 0 || p2p_bridge_identify(bridge, &identify) < 0) {
        p2p_bridge_close(bridge);
        return NULL;
    }
    return bridge;
}

void p2p_bridge_close(struct p2p_bridge *bridge)
{
    int saved = errno;

    if (bridge) {
        if (bridge->fd >= 0) {
            close(bridge->fd);
        }
        free(bridge);
    }
    errno = saved;
}

int p2p_bridge_fd(const struct p2p_bridge *bridge)
{
    return bridge->fd;
}

int p2p_bridge_identify(struct p2p_bridge *bridge,
                        struct p2p_bridge_identify *identify)
{
    *identify = (struct p2p_bridge_identify) { .size = sizeof(*identify) };
    return ioctl(bridge->fd, P2P_BRIDGE_IOC_IDENTIFY, identify);
}

/* --- Lists --------------------------------------------------------------- */

/* One entry of any list is at least 16 bytes: 16 MiB, if a kernel errs. */
#define LIST_MAX (1u << 20)
#define TRIES 16

struct list {
    unsigned long request;
    size_t entry;               /* bytes */
    char *entries;
    size_t count;
    uint32_t generation;
};

/*
 * From entry list->count on, as many as one call gives into @room entries.
 * False: errno, EAGAIN if it is not the list any more that it was.
 */
static bool get_some(struct p2p_bridge *bridge, struct list *list, size_t room,
                     uint32_t *total)
{
    struct p2p_bridge_list some = {
        .size = sizeof(some),
        .entries = (uintptr_t)(list->entries + list->count * list->entry),
        .first = list->count,
        .count = room - list->count,
    };

    if (ioctl(bridge->fd, list->request, &some) < 0) {
        return false;
    }
    if (some.count > room - list->count || some.total > LIST_MAX) {
        errno = EPROTO;
        return false;
    }
    if (list->count && some.generation != list->generation) {
        errno = EAGAIN;
        return false;
    }
    list->count += some.count;
    list->generation = some.generation;
    *total = some.total;
    return true;
}

/* All entries there are now, in list->entries; false: errno. */
static bool get_all(struct p2p_bridge *bridge, struct list *list)
{
    size_t room = 0;
    uint32_t total;

    list->count = 0;
    if (!get_some(bridge, list, 0, &total)) {
        return false;
    }
    if (total) {
        room = total;
        list->entries = calloc(room, list->entry);
        if (!list->entries) {
            return false;
        }
    }
    while (list->count < total) {
        size_t before = list->count;

        if (!get_some(bridge, list, room, &total)) {
            return false;
        }
        if (total > room || list->count == before) {
            errno = EAGAIN;
            return false;
        }
    }
    return true;
}

static int get_list(struct p2p_bridge *bridge, unsigned long request,
                    size_t entry, void *entries, size_t *count,
                    uint32_t *generation)
{
    struct list list = { .request = request, .entry = entry };

    for (unsigned i = 0; i < TRIES; i++) {
        if (get_all(bridge, &list)) {
            memcpy(entries, &list.entries, sizeof(list.entries));
            *count = list.count;
            if (generation) {
                *generation = list.generation;
            }
            return 0;
        }
        free(list.entries);
        list.entries = NULL;
        if (errno != EAGAIN) {
            break;
        }
    }
    return -1;
}

int p2p_bridge_members(struct p2p_bridge *bridge,
                       struct p2p_bridge_member **list, size_t *count,
                       uint32_t *generation)
{
    return get_list(bridge, P2P_BRIDGE_IOC_MEMBERS, sizeof(**list), list,
                    count, generation);
}

int p2p_bridge_windows(struct p2p_bridge *bridge,
                       struct p2p_bridge_host_window **list, size_t *count,
                       uint32_t *generation)
{
    return get_list(bridge, P2P_BRIDGE_IOC_WINDOWS, sizeof(**list), list,
                    count, generation);
}

int p2p_bridge_pairs(struct p2p_bridge *bridge, struct p2p_bridge_pair **list,
                     size_t *count, uint32_t *generation)
{
    return get_list(bridge, P2P_BRIDGE_IOC_PAIRS, sizeof(**list), list, count,
                    generation);
}
