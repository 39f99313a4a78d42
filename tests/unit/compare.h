/*
 * What the core says must be what the oracle says; a difference ends the
 * program
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_COMPARE_H
#define TESTS_UNIT_COMPARE_H

#include "map-internal.h"
#include "oracle.h"

/* What the cases came to: proof that they are worth something. */
typedef struct Tally {
    size_t entries;  /* up to the one with the fault, where there is one */
    size_t successes, merged, crossing, longest;
    size_t late_faults;             /* behind the first 32 entries */
    size_t reasons[P2P_FAULT__MAX]; /* of vectors, and of CPU accesses */
} Tally;

/*
 * Translates @n entries with room for all, for just enough, for one less and
 * for none.
 */
void compare_vector(const P2PKernels *kernels, const P2PMap *map,
                    const Oracle *oracle, unsigned initiator,
                    const P2PGuestVec *in, size_t n, Tally *tally);

void compare_cpu_access(const P2PMap *map, const Oracle *oracle,
                        unsigned initiator, const P2PGuestVec *entry,
                        Tally *tally);

void compare_windows(P2PWindow got, P2PWindow want);

#endif /* TESTS_UNIT_COMPARE_H */
