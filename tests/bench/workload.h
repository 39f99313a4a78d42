/*
 * What is translated: windows, and vectors of pages in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BENCH_WORKLOAD_H
#define P2P_TESTS_BENCH_WORKLOAD_H

#include "hw/p2p/map.h"

typedef enum Pattern {
    PATTERN_SEQUENTIAL, /* each entry continues the one before */
    PATTERN_RANDOM,     /* each in any window, at any multiple of its length */
    PATTERN_SPLIT,      /* as random, but half in the next window */
    PATTERN_NO_MERGE,   /* as sequential, but no entry may be joined */
    PATTERN_MIXED,      /* as random, but every second one is written */
} Pattern;

/* Where the windows are: at BASE + i * STRIDE. */
#define WORKLOAD_BASE   (UINT64_C(4) << 30)
#define WORKLOAD_STRIDE (UINT64_C(4) << 20)
#define WORKLOAD_SIZE   (UINT64_C(2) << 20)     /* PATTERN_SPLIT: STRIDE */

#define WORKLOAD_INITIATOR 0

typedef struct Workload {
    P2PWindow *windows;
    unsigned n_windows;
    P2PGuestVec *entries;   /* of all vectors */
    unsigned n_vectors;
    unsigned n;             /* entries of a vector */
    P2PMap *map;
    P2PBusVec *out;         /* room for a vector's result */
} Workload;

/*
 * workload_new: the same for the same parameters, on each machine.
 *
 * @entry_len: bytes, at most the size of a window
 * @n: entries of a vector; there are as many vectors as make @total entries, at
 *     least one
 */
Workload *workload_new(Pattern pattern, unsigned n_windows, uint32_t entry_len,
                       unsigned n, unsigned total);
void workload_free(Workload *workload);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Workload, workload_free)

/* Translate all vectors, for bench_measure(). Aborts on a fault. */
double workload_translate(void *workload, unsigned times);

/* Copy all vectors, one at a time to the same place. */
double workload_copy(void *workload, unsigned times);

#endif /* P2P_TESTS_BENCH_WORKLOAD_H */
