/*
 * What is translated: windows, and vectors of pages in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>
#include "workload.h"

/* Bus addresses: nowhere near the guest physical ones, and no neighbours. */
#define BUS_BASE   (UINT64_C(1) << 44)
#define BUS_STRIDE (2 * WORKLOAD_STRIDE)

/* xorshift64* (Vigna 2016): the same everywhere */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static P2PWindow *make_windows(unsigned n, uint64_t size)
{
    P2PWindow *windows = g_new0(P2PWindow, n);

    for (unsigned i = 0; i < n; i++) {
        /* RAM first; then the members' BARs, each one's side by side. */
        unsigned member = (uint64_t)i * P2P_MAX_INITIATORS / n;
        bool ram = i < n / 4;

        windows[i] = (P2PWindow) {
            .gpa.gpa = WORKLOAD_BASE + i * WORKLOAD_STRIDE,
            .size = size,
            .bus.bus = BUS_BASE + i * BUS_STRIDE,
            .readers = UINT64_MAX,
            .writers = UINT64_MAX,
            .owner = ram ? P2P_NO_OWNER : member,
            .kind = ram ? P2P_WINDOW_RAM : P2P_WINDOW_IO,
        };
    }
    return windows;
}

static void make_vector(Workload *w, Pattern pattern, uint32_t len,
                        uint64_t *state, unsigned first, P2PGuestVec *entries)
{
    uint64_t slots = w->windows[0].size / len;

    for (unsigned i = 0; i < w->n; i++) {
        bool sequential = pattern == PATTERN_SEQUENTIAL ||
                          pattern == PATTERN_NO_MERGE;
        unsigned window = (first + i / slots) % w->n_windows;
        uint64_t offset = i % slots * len;
        uint32_t flags = P2P_VEC_READ;

        if (pattern == PATTERN_NO_MERGE) {
            flags |= P2P_VEC_NO_MERGE;
        } else if (pattern == PATTERN_MIXED && i % 2) {
            flags = P2P_VEC_WRITE;
        }
        if (!sequential) {
            window = (next_random(state) >> 16) % w->n_windows;
            offset = (next_random(state) >> 16) % slots * len;
        }
        if (pattern == PATTERN_SPLIT) {
            window %= MAX(w->n_windows - 1, 1);
            offset = w->windows[window].size - len / 2;
        }
        entries[i] = (P2PGuestVec) {
            { w->windows[window].gpa.gpa + offset }, len, flags,
        };
    }
}

Workload *workload_new(Pattern pattern, unsigned n_windows, uint32_t entry_len,
                       unsigned n, unsigned total)
{
    Workload *w = g_new0(Workload, 1);
    uint64_t state = 1;

    w->n_windows = n_windows;
    w->windows = make_windows(n_windows, pattern == PATTERN_SPLIT
                                         ? WORKLOAD_STRIDE : WORKLOAD_SIZE);
    w->n = n;
    w->n_vectors = MAX(total / n, 1);
    w->entries = g_new(P2PGuestVec, (size_t)w->n_vectors * n);
    w->out = g_new(P2PBusVec, 2 * n);
    for (unsigned i = 0; i < w->n_vectors; i++) {
        make_vector(w, pattern, entry_len, &state, i,
                    w->entries + (size_t)i * n);
    }
    w->map = p2p_map_new(w->windows, n_windows, 0, NULL);
    return w;
}

void workload_free(Workload *w)
{
    if (w) {
        p2p_map_free(w->map);
        g_free(w->windows);
        g_free(w->entries);
        g_free(w->out);
        g_free(w);
    }
}

double workload_translate(void *workload, unsigned times)
{
    Workload *w = workload;

    while (times--) {
        for (unsigned i = 0; i < w->n_vectors; i++) {
            size_t m = 2 * w->n;
            P2PFault fault;

            if (p2p_translate(w->map, WORKLOAD_INITIATOR,
                              w->entries + (size_t)i * w->n, w->n, w->out,
                              &m, &fault)) {
                g_error("entry %zu: %s", fault.index,
                        p2p_fault_reason_str(fault.reason));
            }
        }
    }
    return -1;
}

double workload_copy(void *workload, unsigned times)
{
    Workload *w = workload;

    while (times--) {
        for (unsigned i = 0; i < w->n_vectors; i++) {
            memcpy(w->out, w->entries + (size_t)i * w->n,
                   w->n * sizeof(w->entries[0]));
            __asm__ volatile("" : : "r"(w->out) : "memory");
        }
    }
    return -1;
}
