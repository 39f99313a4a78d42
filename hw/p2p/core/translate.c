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

#define DIRECTIONS (P2P_VEC_READ | P2P_VEC_WRITE)

/*
 * By code, the flags that may pass: a direction that is allowed, with no-merge
 * or without, and not the other kind; and the flags of the result.
 */
#define ONE_FLAGS(flags) (1u << (flags))
#define CAN_READ ONE_FLAGS(P2P_VEC_READ)
#define CAN_WRITE ONE_FLAGS(P2P_VEC_WRITE)
#define CAN_BOTH (CAN_READ | CAN_WRITE | ONE_FLAGS(DIRECTIONS))
#define OR_WITH(flag, set) ((set) | (set) << (flag))
#define ALLOWED(kind, can) OR_WITH(kind, OR_WITH(P2P_VEC_NO_MERGE, can))
#define RAM_VERDICT(can) { \
    ALLOWED(P2P_VEC_MUST_BE_RAM, can), \
    P2P_VEC_RAM | P2P_MAP_NONE << P2P_VEC_MAP_SHIFT, \
}
#define IO_VERDICT(can, type, self) { \
    ALLOWED(P2P_VEC_MUST_BE_IO, can), \
    P2P_VEC_IO | (uint32_t)(type) << P2P_VEC_MAP_SHIFT | (self), \
}
#define IO_VERDICTS(code, can, routed, unrouted) \
    [code] = IO_VERDICT(can, routed, 0), \
    [(code) | P2P_CODE_IO_UNROUTED] = IO_VERDICT(can, unrouted, 0), \
    [(code) | P2P_CODE_IO_SELF] = IO_VERDICT(can, routed, P2P_VEC_SELF), \
    [(code) | P2P_CODE_IO_SELF | P2P_CODE_IO_UNROUTED] = \
        IO_VERDICT(can, unrouted, P2P_VEC_SELF)
#define VERDICTS(routed, unrouted) { \
    [P2P_CODE_RAM_READ] = RAM_VERDICT(CAN_READ), \
    [P2P_CODE_RAM_WRITE] = RAM_VERDICT(CAN_WRITE), \
    [P2P_CODE_RAM_READ | P2P_CODE_RAM_WRITE] = RAM_VERDICT(CAN_BOTH), \
    IO_VERDICTS(P2P_CODE_IO_READ, CAN_READ, routed, unrouted), \
    IO_VERDICTS(P2P_CODE_IO_WRITE, CAN_WRITE, routed, unrouted), \
    IO_VERDICTS(P2P_CODE_IO_READ | P2P_CODE_IO_WRITE, CAN_BOTH, routed, \
                unrouted), \
}

static const P2PVerdict device_verdicts[P2P_CODES] =
    VERDICTS(P2P_MAP_THRU_HOST_BRIDGE, P2P_MAP_NOT_SUPPORTED);
static const P2PVerdict cpu_verdicts[P2P_CODES] =
    VERDICTS(P2P_MAP_CPU, P2P_MAP_CPU);

static P2PInitiator initiator_of(const P2PMap *map, unsigned number)
{
    return p2p_initiator(number, map->cpu_initiators >> number & 1
                                 ? cpu_verdicts : device_verdicts);
}

/* A window, and its verdict. */
typedef struct Cursor {
    const P2PSlot *slot;    /* NULL: no window yet */
    uint64_t first;
    uint64_t last;          /* below first: no window */
    uint64_t delta;
    P2PVerdict verdict;
} Cursor;

static const Cursor no_window = { .first = 1 };

static inline void cursor_set(Cursor *c, const P2PInitiator *initiator,
                              const P2PSlot *slot)
{
    c->slot = slot;
    c->first = slot->first;
    c->last = slot->end - 1;
    c->delta = slot->delta;
    c->verdict = initiator->verdicts[p2p_code(initiator, slot->rights)];
}

static inline bool cursor_holds(const Cursor *c, uint64_t gpa)
{
    return gpa >= c->first && gpa <= c->last;
}

static inline bool cursor_allows(const Cursor *c, uint32_t flags)
{
    return flags <= P2P_VEC_IN_MASK && c->verdict.allowed >> flags & 1;
}

/* Whether the entry is sound, lies in the window, and is allowed to. */
static inline bool cursor_passes(const Cursor *c, const P2PGuestVec *entry)
{
    /* A length of 0 becomes a distance that no window has. */
    return cursor_holds(c, entry->addr.gpa) &&
           (uint64_t)entry->len - 1 <= c->last - entry->addr.gpa &&
           cursor_allows(c, entry->flags);
}

/* Why the cursor does not allow what is sound. */
static P2PFaultReason cursor_refusal(const Cursor *c, uint32_t flags)
{
    uint32_t allowed = c->verdict.allowed;

    if (c->slot->rights->revoked) {
        return P2P_FAULT_REVOKED;
    }
    if (!(allowed & (CAN_READ | CAN_WRITE))) {
        return P2P_FAULT_NOT_GRANTED;
    }
    if ((flags & P2P_VEC_READ) && !(allowed & CAN_READ)) {
        return P2P_FAULT_READ_DENIED;
    }
    if ((flags & P2P_VEC_WRITE) && !(allowed & CAN_WRITE)) {
        return P2P_FAULT_WRITE_DENIED;
    }
    return P2P_FAULT_WRONG_KIND;
}

/* --- The result -------------------------------------------------------- */

/* Entries beyond the room are counted, not stored. */
typedef struct Result {
    P2PBusVec *out;
    size_t room;
    size_t used;
    P2PBusVec last;     /* entry used - 1, wherever it is stored */
    uint32_t join;      /* flags that may be joined with it; 0: none */
} Result;

static inline void append(Result *r, uint64_t bus, uint32_t len,
                          uint32_t flags, bool may_join)
{
    /* An entry that ends with the address space is not continued at 0. */
    if (bus == r->last.addr.bus + r->last.len && bus && may_join &&
        flags == r->join && len <= UINT32_MAX - r->last.len) {
        r->last.len += len;
        if (r->used <= r->room) {
            r->out[r->used - 1].len = r->last.len;
        }
        return;
    }
    r->last.addr.bus = bus;
    r->last.len = len;
    r->last.flags = flags;
    r->join = may_join ? flags : 0;
    r->used++;
    if (r->used <= r->room) {
        /* Not a copy of r->last: that would have to wait for it. */
        r->out[r->used - 1].addr.bus = bus;
        r->out[r->used - 1].len = len;
        r->out[r->used - 1].flags = flags;
    }
}

/* --- Any range --------------------------------------------------------- */

typedef struct Walk {
    const P2PKernels *kernels;
    const P2PMap *map;
    P2PInitiator initiator;
    Cursor cursor;          /* the window of the piece before */
    Result result;
} Walk;

/* Move the cursor to the window that holds @gpa; false: none does. */
static bool seek(Walk *walk, uint64_t gpa)
{
    Cursor *c = &walk->cursor;

    if (cursor_holds(c, gpa)) {
        return true;
    }
    /* What goes on behind a window most likely does in the next one. */
    if (c->slot && p2p_slot_holds(c->slot + 1, gpa)) {
        cursor_set(c, &walk->initiator, c->slot + 1);
        return true;
    }
    if (!walk->map->n) {
        return false;
    }
    cursor_set(c, &walk->initiator,
               p2p_chunk_slot(p2p_map_chunk(walk->map, gpa), gpa));
    return cursor_holds(c, gpa);
}

/* What lies in the cursor's window, and is allowed to. */
static inline void append_piece(Walk *walk, P2PGuestAddr addr, uint32_t len,
                                uint32_t flags)
{
    append(&walk->result, addr.gpa + walk->cursor.delta, len,
           walk->cursor.verdict.flags | (flags & DIRECTIONS),
           !(flags & P2P_VEC_NO_MERGE));
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
            return cursor_refusal(c, rest->flags);
        }
        len = MIN(rest->len - 1, c->last - rest->addr.gpa) + 1;
        append_piece(walk, rest->addr, len, rest->flags);
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
    if ((entry->flags & ~P2P_VEC_IN_MASK) || !(entry->flags & DIRECTIONS) ||
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
    uint64_t most;

    if (n < 2 || !continues(&in[0], &in[1]) ||
        (in[0].flags & P2P_VEC_NO_MERGE)) {
        return 1;
    }
    /* Joined entries have a limit, and ranges do not go around the end. */
    most = MIN(UINT32_MAX - walk->result.last.len,
               UINT64_MAX - in[0].addr.gpa);
    n = MIN(n, most / in[0].len);
    return n < 2 ? 1 : walk->kernels->run(in, n);
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
            append_piece(walk, in[i].addr, in[i].len, in[i].flags);
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

/* A batch that the kernel can translate at once; false: it cannot. */
static bool append_batch(Walk *walk, const P2PGuestVec *in, unsigned n,
                         const P2PSlot **slots)
{
    Result *r = &walk->result;
    uint64_t end = r->last.addr.bus + r->last.len;
    P2PBusVec *out = r->out + r->used;

    if (!walk->kernels->batch(walk->map, &walk->initiator, in, n, end, out,
                              slots)) {
        return false;
    }
    r->used += n;
    /* Not a copy of out[n - 1]: that would have to wait for it. */
    r->last.addr.bus = in[n - 1].addr.gpa + slots[n - 1]->delta;
    r->last.len = in[n - 1].len;
    r->last.flags = out[n - 1].flags;
    r->join = in[0].flags & P2P_VEC_NO_MERGE ? 0 : r->last.flags;
    return true;
}

/* Whether entries seem to lie in the window of the one before: a guess. */
static bool mostly_near(const P2PSlot *const *slots)
{
    unsigned near = 0;

    for (unsigned i = 0; i < P2P_BATCH; i += 4) {
        near += slots[i] == slots[i + 1];
    }
    return near > P2P_BATCH / 8;
}

/*
 * Entries in batches, while most of them lie in different windows.  Returns
 * how many; fewer than @n if that has ended, or with a fault at that one.
 */
static size_t translate_far(Walk *walk, const P2PGuestVec *in, size_t n,
                            P2PGuestVec *rest, P2PFaultReason *reason)
{
    size_t i = 0;

    while (i < n) {
        P2P_UNINITIALIZED const P2PSlot *slots[P2P_BATCH];
        unsigned batch = MIN(n - i, P2P_BATCH);
        bool room;

        if (batch > P2P_BATCH_UNIT) {
            batch -= batch % P2P_BATCH_UNIT;
        }
        room = walk->result.used + batch <= walk->result.room;
        if (room && append_batch(walk, &in[i], batch, slots)) {
            i += batch;
            if (batch == P2P_BATCH && mostly_near(slots)) {
                return i;
            }
            continue;
        }
        for (unsigned j = 0; j < batch; j++, i++) {
            if (room) {
                cursor_set(&walk->cursor, &walk->initiator, slots[j]);
            }
            *reason = translate_entry(walk, &in[i], rest);
            if (*reason != P2P_FAULT_NONE) {
                return i;
            }
        }
        /* What was wrong, neighbours most likely, is better off near. */
        return i;
    }
    return i;
}

int p2p_translate_with(const P2PKernels *kernels,
                       const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *in, size_t n,
                       P2PBusVec *out, size_t *m, P2PFault *fault)
{
    /* All of it is written, member by member: short vectors notice. */
    P2P_UNINITIALIZED Walk walk;
    P2PFaultReason reason = P2P_FAULT_NONE;
    P2PGuestVec rest;
    size_t room = *m;
    size_t i = 0;
    bool far;

    *m = 0;
    if (initiator >= P2P_MAX_INITIATORS) {
        return fail(fault, n, (P2PGuestAddr) { 0 }, P2P_FAULT_NO_INITIATOR);
    }
    walk.kernels = kernels;
    walk.map = map;
    walk.initiator = initiator_of(map, initiator);
    walk.cursor = no_window;
    walk.result = (Result) { .out = out, .room = room };

    /* An entry that does not go on from the one before is likely to jump. */
    far = n > 1 && map->n > 0 && !continues(&in[0], &in[1]);
    while (i < n) {
        if (!far) {
            i += translate_near(&walk, in + i, n - i, &rest, &reason);
        }
        far = false;
        if (i < n && reason == P2P_FAULT_NONE) {
            i += translate_far(&walk, in + i, n - i, &rest, &reason);
        }
        if (reason != P2P_FAULT_NONE) {
            return fail(fault, i, rest.addr, reason);
        }
    }

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
    const P2PChunk *chunk;
    const P2PSlot *first;
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

    chunk = p2p_map_chunk(map, entry->addr.gpa);
    first = p2p_chunk_slot(chunk, entry->addr.gpa);
    hva = chunk->hosts[first - chunk->slots];
    if (!hva) {
        return fail(fault, 0, entry->addr, P2P_FAULT_NOT_MAPPABLE);
    }
    if (first->first != walk.cursor.first) {
        P2PGuestAddr end = { first->end };

        return fail(fault, 0, end, P2P_FAULT_SPLIT);
    }
    host->hva = hva + (entry->addr.gpa - first->first);
    return 0;
}
