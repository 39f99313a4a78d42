/*
 * Translation: from guest physical vectors to bus vectors, and to the CPU
 *
 * An entry is checked by itself, then cut at the ends of the windows that hold
 * it; each piece is checked against its window and appended to the result,
 * joined with the piece before it where that is allowed.
 *
 * That is translate_range(), and all that is needed.  What is before it makes
 * it fast where vectors are as they usually are:
 *   - near: the next entry lies in the window of the one before.  The window,
 *     and what the initiator may do there, is kept in a Cursor.  Entries that
 *     continue each other are translated as one.
 *   - far: entries jump from window to window.  They are searched for in
 *     batches, so that their waits for memory overlap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

/* --- A window, as one initiator sees it -------------------------------- */

typedef struct Initiator {
    unsigned number;
    uint32_t io_flags[2];   /* of a BAR; [1]: unrouted */
} Initiator;

typedef struct Cursor {
    P2PPlace place;
    uint64_t first;
    uint64_t last;          /* below first: no window yet */
    uint64_t delta;
    uint32_t allowed;       /* bit f: an entry with flags f may pass */
    uint32_t flags;         /* of the result, but for read and write */
} Cursor;

static const Cursor no_window = { .first = 1 };

static Initiator initiator_of(const P2PMap *map, unsigned number)
{
    bool cpu = map->cpu_initiators >> number & 1;
    P2PMapType routed = cpu ? P2P_MAP_CPU : P2P_MAP_THRU_HOST_BRIDGE;
    P2PMapType unrouted = cpu ? P2P_MAP_CPU : P2P_MAP_NOT_SUPPORTED;

    return (Initiator) {
        .number = number,
        .io_flags = {
            P2P_VEC_IO | (uint32_t)routed << P2P_VEC_MAP_SHIFT,
            P2P_VEC_IO | (uint32_t)unrouted << P2P_VEC_MAP_SHIFT,
        },
    };
}

/*
 * The flags that pass where the initiator may read (bit 0 of @can) and write
 * (bit 1): a direction that it has, no-merge or not, and no other kind.
 */
#define BIT(flags) (1u << (flags))
#define R P2P_VEC_READ
#define W P2P_VEC_WRITE
#define MERGE_OR_NOT(set) ((set) | (set) << P2P_VEC_NO_MERGE)
#define FOR_RAM(set) ((set) | (set) << P2P_VEC_MUST_BE_RAM)
#define FOR_IO(set) ((set) | (set) << P2P_VEC_MUST_BE_IO)

static const uint32_t allowed_flags[2][4] = {
    {
        0,
        FOR_RAM(MERGE_OR_NOT(BIT(R))),
        FOR_RAM(MERGE_OR_NOT(BIT(W))),
        FOR_RAM(MERGE_OR_NOT(BIT(R) | BIT(W) | BIT(R | W))),
    }, {
        0,
        FOR_IO(MERGE_OR_NOT(BIT(R))),
        FOR_IO(MERGE_OR_NOT(BIT(W))),
        FOR_IO(MERGE_OR_NOT(BIT(R) | BIT(W) | BIT(R | W))),
    },
};

static inline void cursor_set(Cursor *c, const Initiator *initiator,
                              P2PPlace place)
{
    const P2PChunk *chunk = place.chunk;
    uint32_t info = chunk->infos[place.index];
    const P2PRights *rights = &chunk->rights[info >> P2P_INFO_RIGHTS_SHIFT];
    bool io = info & P2P_INFO_IO;
    bool unrouted = rights->unrouted >> initiator->number & 1;
    bool self = (info & P2P_INFO_OWNER) == initiator->number;
    unsigned can = (rights->readers >> initiator->number & 1) |
                   (rights->writers >> initiator->number & 1) << 1;

    c->place = place;
    c->first = p2p_place_first(place);
    c->last = chunk->spans[place.index].last;
    c->delta = chunk->spans[place.index].delta;
    c->allowed = info & P2P_INFO_REVOKED ? 0 : allowed_flags[io][can];
    c->flags = io ? initiator->io_flags[unrouted] | (self ? P2P_VEC_SELF : 0)
                  : P2P_VEC_RAM | P2P_MAP_NONE << P2P_VEC_MAP_SHIFT;
}

static inline bool cursor_holds(const Cursor *c, uint64_t gpa)
{
    return gpa >= c->first && gpa <= c->last;
}

static inline bool cursor_allows(const Cursor *c, uint32_t flags)
{
    return flags <= P2P_VEC_IN_MASK && c->allowed >> flags & 1;
}

/* Whether the entry is sound, lies in the window, and is allowed to. */
static inline bool cursor_passes(const Cursor *c, const P2PGuestVec *entry)
{
    /* A length of 0 becomes a distance that no window has. */
    return cursor_holds(c, entry->addr.gpa) &&
           (uint64_t)entry->len - 1 <= c->last - entry->addr.gpa &&
           cursor_allows(c, entry->flags);
}

static P2PFaultReason cursor_refusal(const Cursor *c,
                                     const Initiator *initiator,
                                     uint32_t flags)
{
    uint32_t info = c->place.chunk->infos[c->place.index];
    const P2PRights *rights =
        &c->place.chunk->rights[info >> P2P_INFO_RIGHTS_SHIFT];
    uint64_t who = UINT64_C(1) << initiator->number;

    if (info & P2P_INFO_REVOKED) {
        return P2P_FAULT_REVOKED;
    }
    if (!((rights->readers | rights->writers) & who)) {
        return P2P_FAULT_NOT_GRANTED;
    }
    if ((flags & P2P_VEC_READ) && !(rights->readers & who)) {
        return P2P_FAULT_READ_DENIED;
    }
    if ((flags & P2P_VEC_WRITE) && !(rights->writers & who)) {
        return P2P_FAULT_WRITE_DENIED;
    }
    return P2P_FAULT_WRONG_KIND;
}

/* --- The result -------------------------------------------------------- */

/* Entries beyond the room are counted, not stored. */
typedef struct Result {
    P2PBusVec *out;
    size_t room;
    size_t used;        /* with the last entry, which is not stored yet */
    P2PBusVec last;
    uint32_t join;      /* flags that may be joined with it; 0: none */
} Result;

static inline void flush(Result *r)
{
    if (r->used - 1 < r->room) {    /* also if none is used */
        r->out[r->used - 1] = r->last;
    }
}

static inline void append(Result *r, uint64_t bus, uint32_t len,
                          uint32_t flags, bool may_join)
{
    /* An entry that ends with the address space is not continued at 0. */
    if (bus == r->last.addr.bus + r->last.len && bus && may_join &&
        flags == r->join && len <= UINT32_MAX - r->last.len) {
        r->last.len += len;
        return;
    }
    flush(r);
    r->used++;
    r->last = (P2PBusVec) { { bus }, len, flags };
    r->join = may_join ? flags : 0;
}

/* --- Any range --------------------------------------------------------- */

typedef struct Walk {
    const P2PKernels *kernels;
    const P2PMap *map;
    Initiator initiator;
    Cursor cursor;          /* the window of the piece before */
    Result result;
} Walk;

/* Move the cursor to the window that holds @gpa; false: none does. */
static bool seek(Walk *walk, uint64_t gpa)
{
    P2PPlace place = walk->cursor.place;

    if (cursor_holds(&walk->cursor, gpa)) {
        return true;
    }
    /* What goes on behind a window most likely does in the next one. */
    if (place.chunk && ++place.index < place.chunk->n) {
        cursor_set(&walk->cursor, &walk->initiator, place);
        if (cursor_holds(&walk->cursor, gpa)) {
            return true;
        }
    }
    place = p2p_map_locate(walk->kernels, walk->map, (P2PGuestAddr) { gpa });
    if (place.index == P2P_NOWHERE) {
        walk->cursor = no_window;
        return false;
    }
    cursor_set(&walk->cursor, &walk->initiator, place);
    return cursor_holds(&walk->cursor, gpa);
}

/* All of @rest, which does not wrap; what is left of it begins at a fault. */
static P2PFaultReason translate_range(Walk *walk, P2PGuestVec *rest)
{
    Cursor *c = &walk->cursor;

    while (rest->len > 0) {
        uint32_t len;

        if (!seek(walk, rest->addr.gpa)) {
            return P2P_FAULT_UNMAPPED;
        }
        if (!cursor_allows(c, rest->flags)) {
            return cursor_refusal(c, &walk->initiator, rest->flags);
        }
        len = MIN(rest->len - 1, c->last - rest->addr.gpa) + 1;
        append(&walk->result, rest->addr.gpa + c->delta, len,
               c->flags | (rest->flags & (R | W)),
               !(rest->flags & P2P_VEC_NO_MERGE));
        rest->addr.gpa += len;
        rest->len -= len;
    }
    return P2P_FAULT_NONE;
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
    if ((entry->flags & ~P2P_VEC_IN_MASK) || !(entry->flags & (R | W)) ||
        (entry->flags & kinds) == kinds) {
        return P2P_FAULT_BAD_FLAGS;
    }
    return P2P_FAULT_NONE;
}

static P2PFaultReason translate_entry(Walk *walk, const P2PGuestVec *entry,
                                      P2PGuestVec *rest)
{
    P2PFaultReason reason = check_entry(entry);

    *rest = *entry;
    return reason == P2P_FAULT_NONE ? translate_range(walk, rest) : reason;
}

/* --- Vectors ----------------------------------------------------------- */

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

static inline void append_entry(Walk *walk, const P2PGuestVec *entry)
{
    append(&walk->result, entry->addr.gpa + walk->cursor.delta, entry->len,
           walk->cursor.flags | (entry->flags & (R | W)),
           !(entry->flags & P2P_VEC_NO_MERGE));
}

static inline bool continues(const P2PGuestVec *a, const P2PGuestVec *b)
{
    return b->addr.gpa == a->addr.gpa + a->len && b->len == a->len &&
           b->flags == a->flags;
}

/*
 * How many entries, from the first one on, are one range that gives the same
 * result as they do: 1 if there is no such range.
 */
static size_t range_entries(const Walk *walk, const P2PGuestVec *in, size_t n)
{
    uint64_t most = UINT32_MAX - walk->result.last.len;
    size_t count;

    if (n < 2 || !continues(&in[0], &in[1]) ||
        (in[0].flags & P2P_VEC_NO_MERGE)) {
        return 1;
    }
    count = walk->kernels->run(in, n);
    /* Joined entries have a limit, and ranges do not go around the end. */
    most = MIN(most, UINT64_MAX - in[0].addr.gpa);
    if (count > most / in[0].len) {
        count = MAX(most / in[0].len, 1);
    }
    return count;
}

/*
 * Entries while they lie in the window of the one before.  Returns how many;
 * fewer than @n if it is better to go on with batches, or with a fault at that
 * one.
 */
static size_t translate_near(Walk *walk, const P2PGuestVec *in, size_t n,
                             P2PGuestVec *rest, P2PFaultReason *reason)
{
    size_t missed = SIZE_MAX - 1;
    size_t i = 0;

    while (i < n) {
        size_t count = 1;

        if (!cursor_passes(&walk->cursor, &in[i])) {
            if (i == missed + 1) {
                return i;
            }
            missed = i;
            *reason = translate_entry(walk, &in[i], rest);
            if (*reason != P2P_FAULT_NONE) {
                return i;
            }
            i++;
            continue;
        }
        count = range_entries(walk, &in[i], n - i);
        if (count == 1) {
            append_entry(walk, &in[i]);
        } else {
            *rest = in[i];
            rest->len *= count;
            *reason = translate_range(walk, rest);
            if (*reason != P2P_FAULT_NONE) {
                return i + (rest->addr.gpa - in[i].addr.gpa) / in[i].len;
            }
        }
        i += count;
    }
    return i;
}

/* Likewise, entries in batches, while most of them lie in different windows. */
static size_t translate_far(Walk *walk, const P2PGuestVec *in, size_t n,
                            P2PGuestVec *rest, P2PFaultReason *reason)
{
    size_t i = 0;
    unsigned same = 0;

    while (i < n && same <= P2P_BATCH / 2) {
        P2PPlace places[P2P_BATCH];
        unsigned batch = MIN(n - i, P2P_BATCH);

        walk->kernels->search(walk->map, &in[i], batch, places);
        same = 0;
        for (unsigned j = 0; j < batch; j++, i++) {
            same += walk->cursor.place.index == places[j].index &&
                    walk->cursor.place.chunk == places[j].chunk;
            if (places[j].index != P2P_NOWHERE) {
                cursor_set(&walk->cursor, &walk->initiator, places[j]);
                if (cursor_passes(&walk->cursor, &in[i])) {
                    append_entry(walk, &in[i]);
                    continue;
                }
            }
            *reason = translate_entry(walk, &in[i], rest);
            if (*reason != P2P_FAULT_NONE) {
                return i;
            }
        }
    }
    return i;
}

int p2p_translate_with(const P2PKernels *kernels,
                       const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *in, size_t n,
                       P2PBusVec *out, size_t *m, P2PFault *fault)
{
    Walk walk = {
        .kernels = kernels,
        .map = map,
        .cursor = no_window,
        .result = { .out = out, .room = *m },
    };
    P2PFaultReason reason = P2P_FAULT_NONE;
    P2PGuestVec rest;
    size_t i = 0;

    *m = 0;
    if (initiator >= P2P_MAX_INITIATORS) {
        return fail(fault, n, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_INITIATOR);
    }
    walk.initiator = initiator_of(map, initiator);

    while (i < n) {
        i += translate_near(&walk, in + i, n - i, &rest, &reason);
        if (i < n && reason == P2P_FAULT_NONE) {
            i += translate_far(&walk, in + i, n - i, &rest, &reason);
        }
        if (reason != P2P_FAULT_NONE) {
            return fail(fault, i, rest.addr, reason);
        }
    }

    flush(&walk.result);
    *m = walk.result.used;
    if (walk.result.used > walk.result.room) {
        return fail(fault, n, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_SPACE);
    }
    return 0;
}

int p2p_translate(const P2PMap *map, unsigned initiator,
                  const P2PGuestVec *in, size_t n,
                  P2PBusVec *out, size_t *m, P2PFault *fault)
{
    return p2p_translate_with(p2p_kernels_best(), map, initiator, in, n, out,
                              m, fault);
}

/* --- CPU access -------------------------------------------------------- */

int p2p_map_cpu_access(const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *entry, P2PHostAddr *host,
                       P2PFault *fault)
{
    Walk walk = {
        .kernels = p2p_kernels_best(),
        .map = map,
        .cursor = no_window,
    };
    P2PFaultReason reason;
    P2PGuestVec rest;
    P2PPlace first;
    char *hva;

    if (initiator >= P2P_MAX_INITIATORS) {
        return fail(fault, 1, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_INITIATOR);
    }
    walk.initiator = initiator_of(map, initiator);

    /* To the end, also after a split: a right that is missing goes first. */
    reason = translate_entry(&walk, entry, &rest);
    if (reason != P2P_FAULT_NONE) {
        return fail(fault, 0, rest.addr, reason);
    }

    first = p2p_map_locate(walk.kernels, map, entry->addr);
    hva = first.chunk->hosts[first.index];
    if (!hva) {
        return fail(fault, 0, entry->addr, P2P_FAULT_NOT_MAPPABLE);
    }
    if (p2p_place_first(first) != walk.cursor.first) {
        P2PGuestAddr end = { first.chunk->spans[first.index].last + 1 };

        return fail(fault, 0, end, P2P_FAULT_SPLIT);
    }
    host->hva = hva + (entry->addr.gpa - p2p_place_first(first));
    return 0;
}
