/*
 * Sets of functions that reach each other
 *
 * A scheduler wants one word for each device that says which go together.
 * Reaching is no equivalence: a set takes a function only if it reaches, and
 * is reached by, all that are in it.  The first set that fits takes it, so a
 * function may reach others outside of its set, but none inside is out of
 * reach.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "inventory.h"
#include "show.h"

/* Functions of one class are alike, so a set is known by its classes. */
typedef struct Set {
    unsigned first;
    GArray *members;    /* of unsigned: one function of each class */
} Set;

static void set_clear(void *opaque)
{
    g_array_unref(((Set *)opaque)->members);
}

static bool reaches(const P2PMatrix *matrix, ReachKind kind, unsigned a,
                    unsigned b)
{
    P2PVerdict verdict = p2p_matrix_verdict(matrix, a, b);

    switch (kind) {
    case REACH_VM:
        return verdict.routed_by_root_complex;
    case REACH_SWITCH:
        return !verdict.unknown && verdict.map_type == P2P_MAP_BUS_ADDR;
    default:
        return tool_verdict_word(&verdict)->yes;
    }
}

/* @known: whether a function of its class is in the set already */
static bool set_takes(const Set *set, const P2PMatrix *matrix, ReachKind kind,
                      unsigned function, bool *known)
{
    *known = false;
    for (guint i = 0; i < set->members->len; i++) {
        unsigned member = g_array_index(set->members, unsigned, i);

        if (!reaches(matrix, kind, member, function) ||
            !reaches(matrix, kind, function, member)) {
            return false;
        }
        *known |= p2p_matrix_class(matrix, member) ==
                  p2p_matrix_class(matrix, function);
    }
    return true;
}

static unsigned join(GArray *sets, const P2PMatrix *matrix, ReachKind kind,
                     unsigned function)
{
    Set fresh = { .first = function };
    bool known;

    for (guint i = 0; i < sets->len; i++) {
        Set *set = &g_array_index(sets, Set, i);

        if (set_takes(set, matrix, kind, function, &known)) {
            if (!known) {
                g_array_append_val(set->members, function);
            }
            return set->first;
        }
    }
    fresh.members = g_array_new(false, false, sizeof(unsigned));
    g_array_append_val(fresh.members, function);
    g_array_append_val(sets, fresh);
    return function;
}

unsigned *inventory_sets(const GPtrArray *functions, const P2PMatrix *matrix,
                         ReachKind kind)
{
    g_autoptr(GArray) sets = g_array_new(false, false, sizeof(Set));
    unsigned *set_of = g_new(unsigned, functions->len);

    g_array_set_clear_func(sets, set_clear);
    for (unsigned i = 0; i < functions->len; i++) {
        set_of[i] = join(sets, matrix, kind, i);
    }
    return set_of;
}

const P2PFunction *inventory_set(const Inventory *inventory, ReachKind kind,
                                 unsigned function)
{
    return inventory->functions->pdata[inventory->sets[kind][function]];
}
