/*
 * Peers: other software's way from a guest physical address to its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BENCH_PEER_H
#define P2P_TESTS_BENCH_PEER_H

#include "workload.h"

typedef struct Peer {
    const char *name;       /* as in the figures' names */
    const char *function;
    unsigned max_windows;   /* that it can hold, or that can be set up */

    /* Take the windows of @w over; there are max_windows at most. */
    void (*open)(const Workload *w);
    /* Look all entries of @w up, as bench_measure() wants it; abort on -1. */
    double (*run)(void *w, unsigned times);
    void (*close)(void);
} Peer;

extern const Peer peer_vfio_user;
extern const Peer peer_vhost_user;
extern const Peer peer_dpdk;
extern const Peer peer_qemu;

#endif /* P2P_TESTS_BENCH_PEER_H */
