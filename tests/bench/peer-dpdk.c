/*
 * Peer: DPDK's vhost library, rte_vhost_va_from_guest_pa()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdbool.h>
#include <glib.h>
#include <rte_vhost.h>
#include "peer.h"

static struct rte_vhost_memory *memory;

static void open_memory(const Workload *w)
{
    memory = g_malloc0(sizeof(*memory) +
                       w->n_windows * sizeof(memory->regions[0]));
    memory->nregions = w->n_windows;
    for (unsigned i = 0; i < w->n_windows; i++) {
        memory->regions[i].guest_phys_addr = w->windows[i].gpa.gpa;
        memory->regions[i].host_user_addr = w->windows[i].bus.bus;
        memory->regions[i].size = w->windows[i].size;
    }
}

static double run(void *opaque, unsigned times)
{
    const Workload *w = opaque;
    size_t total = (size_t)w->n_vectors * w->n;

    while (times--) {
        for (size_t i = 0; i < total; i++) {
            uint64_t len = w->entries[i].len;

            if (!rte_vhost_va_from_guest_pa(memory, w->entries[i].addr.gpa,
                                            &len) ||
                len != w->entries[i].len) {
                g_error("DPDK: entry %zu", i);
            }
        }
    }
    return -1;
}

static void close_memory(void)
{
    g_free(memory);
}

const Peer peer_dpdk = {
    .name = "dpdk-vhost",
    .function = "rte_vhost_va_from_guest_pa",
    .max_windows = 256,     /* no limit of the table, of patience */
    .open = open_memory,
    .run = run,
    .close = close_memory,
};
