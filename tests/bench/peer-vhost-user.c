/*
 * Peer: libvhost-user, vu_gpa_to_va()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libvhost-user.h"
#include "peer.h"

static VuDev dev;
static int front_end;       /* of its socket; nothing is said there */

static void panic(VuDev *vu, const char *message)
{
    g_error("libvhost-user: %s", message);
}

static void set_watch(VuDev *vu, int fd, int condition, vu_watch_cb cb,
                      void *data)
{
}

static void remove_watch(VuDev *vu, int fd)
{
}

/* The table is public; a front end would fill it in the same order. */
static void open_dev(const Workload *w)
{
    static const VuDevIface iface;
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0) {
        g_error("libvhost-user: %s", strerror(errno));
    }
    front_end = sockets[1];
    if (!vu_init(&dev, 1, sockets[0], panic, NULL, set_watch, remove_watch,
                 &iface)) {
        g_error("libvhost-user: vu_init failed");
    }
    for (unsigned i = 0; i < w->n_windows; i++) {
        dev.regions[i] = (VuDevRegion) {
            .gpa = w->windows[i].gpa.gpa,
            .size = w->windows[i].size,
            .mmap_addr = w->windows[i].bus.bus,
        };
    }
    dev.nregions = w->n_windows;
}

static double run(void *opaque, unsigned times)
{
    const Workload *w = opaque;
    size_t total = (size_t)w->n_vectors * w->n;

    while (times--) {
        for (size_t i = 0; i < total; i++) {
            uint64_t len = w->entries[i].len;

            if (!vu_gpa_to_va(&dev, &len, w->entries[i].addr.gpa) ||
                len != w->entries[i].len) {
                g_error("libvhost-user: entry %zu", i);
            }
        }
    }
    return -1;
}

static void close_dev(void)
{
    /* vu_deinit() would unmap what nobody mapped. */
    dev.nregions = 0;
    vu_deinit(&dev);
    close(front_end);
}

const Peer peer_vhost_user = {
    .name = "libvhost-user",
    .function = "vu_gpa_to_va",
    .max_windows = VHOST_USER_MAX_RAM_SLOTS,
    .open = open_dev,
    .run = run,
    .close = close_dev,
};
