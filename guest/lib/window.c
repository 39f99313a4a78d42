/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Guest windows, and their memory
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "internal.h"

int p2p_bridge_share(struct p2p_bridge *bridge, uint32_t rid, uint32_t bar,
                     uint64_t offset, uint64_t length, uint32_t access,
                     uint32_t *window)
{
    struct p2p_bridge_share share = {
        .size = sizeof(share),
        .rid = rid,
        .bar = bar,
        .offset = offset,
        .length = length,
        .access = access,
    };

    if (ioctl(bridge->fd, P2P_BRIDGE_IOC_SHARE, &share) < 0) {
        return -1;
    }
    *window = share.window;
    return 0;
}

static int of_window(struct p2p_bridge *bridge, unsigned long request,
                     uint32_t window)
{
    struct p2p_bridge_window argument = {
        .size = sizeof(argument),
        .window = window,
    };

    return ioctl(bridge->fd, request, &argument);
}

int p2p_bridge_unshare(struct p2p_bridge *bridge, uint32_t window)
{
    return of_window(bridge, P2P_BRIDGE_IOC_UNSHARE, window);
}

int p2p_bridge_attach(struct p2p_bridge *bridge, uint32_t window,
                      uint64_t *offset)
{
    struct p2p_bridge_attach attach = {
        .size = sizeof(attach),
        .window = window,
    };

    if (ioctl(bridge->fd, P2P_BRIDGE_IOC_ATTACH, &attach) < 0) {
        return -1;
    }
    if (offset) {
        *offset = attach.offset;
    }
    return 0;
}

int p2p_bridge_detach(struct p2p_bridge *bridge, uint32_t window)
{
    return of_window(bridge, P2P_BRIDGE_IOC_DETACH, window);
}

static int export_window(struct p2p_bridge *bridge, unsigned long request,
                         uint32_t window, uint32_t pages, uint32_t client)
{
    struct p2p_bridge_export argument = {
        .size = sizeof(argument),
        .window = window,
        .pages = pages,
        .client = client,
        .fd = -1,
    };

    if (ioctl(bridge->fd, request, &argument) < 0) {
        return -1;
    }
    return argument.fd;
}

int p2p_bridge_memory(struct p2p_bridge *bridge, uint32_t window,
                      uint32_t pages, uint32_t client)
{
    return export_window(bridge, P2P_BRIDGE_IOC_MEMORY, window, pages, client);
}

int p2p_bridge_dma_buf(struct p2p_bridge *bridge, uint32_t window,
                       uint32_t client)
{
    return export_window(bridge, P2P_BRIDGE_IOC_DMA_BUF, window, 0, client);
}

void *p2p_bridge_map(struct p2p_bridge *bridge, uint32_t window,
                     uint32_t pages, uint32_t client, size_t length, int prot)
{
    int fd = p2p_bridge_memory(bridge, window, pages, client);
    void *memory;
    int saved;

    if (fd < 0) {
        return NULL;
    }
    memory = mmap(NULL, length, prot, MAP_SHARED, fd, 0);
    saved = errno;
    close(fd);
    errno = saved;
    return memory == MAP_FAILED ? NULL : memory;
}
