/*
 * The inside of a window map, for the files of the core only
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_MAP_INTERNAL_H
#define HW_P2P_CORE_MAP_INTERNAL_H

#include "hw/p2p/map.h"

/* Immutable after p2p_map_new(): readers need no lock. */
struct P2PMap {
    uint64_t cpu_initiators;
    size_t n;
    P2PWindow windows[];  /* ascending by gpa, no two overlap */
};

/*
 * One unsigned comparison is enough: an address below the window wraps to a
 * distance that no window has.
 */
static inline bool p2p_window_holds(const P2PWindow *w, P2PGuestAddr addr)
{
    return addr.gpa - w->gpa.gpa < w->size;
}

#endif /* HW_P2P_CORE_MAP_INTERNAL_H */
