/*
 * The translation once more, in the plainest way: what the tests believe
 *
 * It shares no code and no idea with the core: windows in any order, searched
 * one by one (or bisected, where they are many), arithmetic in 128 bits, one
 * pass per rule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ORACLE_H
#define TESTS_UNIT_ORACLE_H

#include <glib.h>
#include "hw/p2p/map.h"

typedef struct Oracle {
    const P2PWindow *windows;
    size_t n;
    uint64_t cpu_initiators;
    bool ascending;     /* the windows: bisect them, there are too many */
} Oracle;

/* The window that holds @addr, or NULL. */
const P2PWindow *oracle_find(const Oracle *oracle, uint64_t addr);

/*
 * The window as p2p_map_window() tells it: with the rights that can matter,
 * and no others.
 */
P2PWindow oracle_told(P2PWindow w);

/*
 * Returns 0 and the result in @out (of P2PBusVec), or a negative errno and
 * @fault. There is always room.
 */
int oracle_translate(const Oracle *oracle, unsigned initiator,
                     const P2PGuestVec *in, size_t n, GArray *out,
                     P2PFault *fault);

/* What p2p_map_cpu_access() owes. */
int oracle_cpu_access(const Oracle *oracle, unsigned initiator,
                      const P2PGuestVec *entry, void **hva, P2PFault *fault);

#endif /* TESTS_UNIT_ORACLE_H */
