/*
 * Translation: from guest physical vectors to bus vectors, and to the CPU
 *
 * An entry is checked by itself, then cut at the ends of the windows that hold
 * it; each piece is checked against its window and appended to the result,
 * joined with the piece before it where that is allowed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

/* Where the walk through an entry stands. */
typedef struct Walk {
    const P2PMap *map;
    unsigned initiator;
    const P2PWindow *window;  /* of the piece before; NULL: none yet */
    P2PGuestVec rest;         /* what is left of the entry */
} Walk;

/* The result so far. Beyond its room entries are counted, not stored. */
typedef struct Result {
    P2PBusVec *out;
    size_t room;
    size_t used;
    P2PBusVec last;           /* entry used - 1, wherever it is stored */
    bool last_may_join;
} Result;

static int fail(P2PFault *fault, size_t index, P2PGuestAddr addr,
                P2PFaultReason reason)
{
    if (fault) {
        *fault = (P2PFault) {
            .index = index,
            .addr = addr,
            .reason = reason,
        };
    }
    return -p2p_fault_reason_errno(reason);
}

static P2PFaultReason check_entry(const P2PGuestVec *entry)
{
    const uint32_t kinds = P2P_VEC_MUST_BE_IO | P2P_VEC_MUST_BE_RAM;

    if (entry->len == 0) {
        return P2P_FAULT_ZERO_LENGTH;
    }
    if (entry->addr.gpa > UINT64_MAX - (entry->len - 1)) {
        return P2P_FAULT_WRAPS;
    }
    if ((entry->flags & ~P2P_VEC_IN_MASK) ||
        !(entry->flags & (P2P_VEC_READ | P2P_VEC_WRITE)) ||
        (entry->flags & kinds) == kinds) {
        return P2P_FAULT_BAD_FLAGS;
    }
    return P2P_FAULT_NONE;
}

static P2PFaultReason start_entry(Walk *walk, const P2PGuestVec *entry)
{
    walk->rest = *entry;
    return check_entry(entry);
}

static P2PFaultReason check_window(const P2PWindow *w, unsigned initiator,
                                   uint32_t flags)
{
    uint64_t who = UINT64_C(1) << initiator;
    uint32_t wrong_kind = w->kind == P2P_WINDOW_RAM ? P2P_VEC_MUST_BE_IO
                                                    : P2P_VEC_MUST_BE_RAM;

    if (w->revoked) {
        return P2P_FAULT_REVOKED;
    }
    if (!((w->readers | w->writers) & who)) {
        return P2P_FAULT_NOT_GRANTED;
    }
    if ((flags & P2P_VEC_READ) && !(w->readers & who)) {
        return P2P_FAULT_READ_DENIED;
    }
    if ((flags & P2P_VEC_WRITE) && !(w->writers & who)) {
        return P2P_FAULT_WRITE_DENIED;
    }
    if (flags & wrong_kind) {
        return P2P_FAULT_WRONG_KIND;
    }
    return P2P_FAULT_NONE;
}

static uint32_t result_flags(const Walk *walk)
{
    const P2PWindow *w = walk->window;
    uint32_t flags = walk->rest.flags & (P2P_VEC_READ | P2P_VEC_WRITE);
    P2PMapType type;

    if (w->kind == P2P_WINDOW_RAM) {
        flags |= P2P_VEC_RAM;
        type = P2P_MAP_NONE;
    } else {
        flags |= P2P_VEC_IO;
        if (walk->map->cpu_initiators >> walk->initiator & 1) {
            type = P2P_MAP_CPU;
        } else if (w->unrouted >> walk->initiator & 1) {
            type = P2P_MAP_NOT_SUPPORTED;
        } else {
            type = P2P_MAP_THRU_HOST_BRIDGE;
        }
        if (w->owner == walk->initiator) {
            flags |= P2P_VEC_SELF;
        }
    }
    return flags | (uint32_t)type << P2P_VEC_MAP_SHIFT;
}

/* Cut from the rest of the entry what lies in one window. */
static P2PFaultReason next_piece(Walk *walk, P2PBusVec *piece)
{
    P2PGuestVec *rest = &walk->rest;
    P2PFaultReason reason;
    uint64_t offset;

    /* Vectors tend to stay in one window: ask it before searching. */
    if (!walk->window || !p2p_window_holds(walk->window, rest->addr)) {
        walk->window = p2p_map_find(walk->map, rest->addr);
    }
    if (!walk->window) {
        return P2P_FAULT_UNMAPPED;
    }
    reason = check_window(walk->window, walk->initiator, rest->flags);
    if (reason != P2P_FAULT_NONE) {
        return reason;
    }

    offset = rest->addr.gpa - walk->window->gpa.gpa;
    piece->addr.bus = walk->window->bus.bus + offset;
    piece->len = MIN(rest->len, walk->window->size - offset);
    piece->flags = result_flags(walk);

    rest->addr.gpa += piece->len;
    rest->len -= piece->len;
    return P2P_FAULT_NONE;
}

static bool may_join(const P2PBusVec *a, const P2PBusVec *b)
{
    /* By distance: the end of an entry at 2^64 is not the address 0. */
    return b->addr.bus > a->addr.bus &&
           b->addr.bus - a->addr.bus == a->len &&
           b->flags == a->flags &&
           b->len <= UINT32_MAX - a->len;
}

static void append(Result *r, const P2PBusVec *piece, bool join)
{
    if (r->used > 0 && join && r->last_may_join &&
        may_join(&r->last, piece)) {
        r->last.len += piece->len;
    } else {
        r->last = *piece;
        r->last_may_join = join;
        r->used++;
    }
    if (r->used <= r->room) {
        r->out[r->used - 1] = r->last;
    }
}

int p2p_translate(const P2PMap *map, unsigned initiator,
                  const P2PGuestVec *in, size_t n,
                  P2PBusVec *out, size_t *m, P2PFault *fault)
{
    Walk walk = { .map = map, .initiator = initiator };
    Result result = { .out = out, .room = *m };
    P2PFaultReason reason;
    size_t i;

    *m = 0;
    if (initiator >= P2P_MAX_INITIATORS) {
        return fail(fault, n, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_INITIATOR);
    }

    for (i = 0; i < n; i++) {
        bool join = !(in[i].flags & P2P_VEC_NO_MERGE);

        reason = start_entry(&walk, &in[i]);
        while (reason == P2P_FAULT_NONE && walk.rest.len > 0) {
            P2PBusVec piece;

            reason = next_piece(&walk, &piece);
            if (reason == P2P_FAULT_NONE) {
                append(&result, &piece, join);
            }
        }
        if (reason != P2P_FAULT_NONE) {
            return fail(fault, i, walk.rest.addr, reason);
        }
    }

    *m = result.used;
    if (result.used > result.room) {
        return fail(fault, n, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_SPACE);
    }
    return 0;
}

int p2p_map_cpu_access(const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *entry, P2PHostAddr *host,
                       P2PFault *fault)
{
    Walk walk = { .map = map, .initiator = initiator };
    const P2PWindow *first = NULL;
    P2PFaultReason reason;

    if (initiator >= P2P_MAX_INITIATORS) {
        return fail(fault, 1, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_INITIATOR);
    }

    /* To the end, also after a split: a right that is missing goes first. */
    reason = start_entry(&walk, entry);
    while (reason == P2P_FAULT_NONE && walk.rest.len > 0) {
        P2PBusVec piece;

        reason = next_piece(&walk, &piece);
        if (!first) {
            first = walk.window;
        }
    }
    if (reason != P2P_FAULT_NONE) {
        return fail(fault, 0, walk.rest.addr, reason);
    }

    if (!first->host.hva) {
        return fail(fault, 0, entry->addr, P2P_FAULT_NOT_MAPPABLE);
    }
    if (walk.window != first) {
        P2PGuestAddr end = { first->gpa.gpa + first->size };

        return fail(fault, 0, end, P2P_FAULT_SPLIT);
    }
    host->hva = (char *)first->host.hva + (entry->addr.gpa - first->gpa.gpa);
    return 0;
}
