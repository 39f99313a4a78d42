/*
 * The translation once more, in the plainest way: what the tests believe
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include "oracle.h"

typedef unsigned __int128 Wide;

#define TOP ((Wide)1 << 64)

/* One entry cut at the windows' ends, before anything is joined. */
typedef struct Piece {
    Wide begin, end;  /* on the bus */
    uint32_t flags;
    bool alone;
} Piece;

static bool inside(const P2PWindow *w, Wide addr)
{
    return addr >= w->gpa.gpa && addr < (Wide)w->gpa.gpa + w->size;
}

static int compare_to_window(const void *key, const void *window)
{
    const uint64_t *addr = key;
    const P2PWindow *w = window;

    return inside(w, *addr) ? 0 : *addr < w->gpa.gpa ? -1 : 1;
}

const P2PWindow *oracle_find(const Oracle *oracle, uint64_t addr)
{
    size_t i;

    if (oracle->ascending) {
        return bsearch(&addr, oracle->windows, oracle->n,
                       sizeof(P2PWindow), compare_to_window);
    }

    for (i = 0; i < oracle->n; i++) {
        if (inside(&oracle->windows[i], addr)) {
            return &oracle->windows[i];
        }
    }
    return NULL;
}

P2PWindow oracle_told(P2PWindow w)
{
    if (w.revoked) {
        w.readers = 0;
        w.writers = 0;
    }
    w.unrouted &= w.kind == P2P_WINDOW_RAM ? 0 : w.readers | w.writers;
    return w;
}

static int refuse(P2PFault *fault, size_t index, uint64_t addr,
                  P2PFaultReason reason, int ret)
{
    fault->index = index;
    fault->addr.gpa = addr;
    fault->reason = reason;
    return ret;
}

static P2PFaultReason judge_entry(const P2PGuestVec *e)
{
    bool io = e->flags & P2P_VEC_MUST_BE_IO;
    bool ram = e->flags & P2P_VEC_MUST_BE_RAM;
    bool direction = (e->flags & P2P_VEC_READ) || (e->flags & P2P_VEC_WRITE);

    if (e->len == 0) {
        return P2P_FAULT_ZERO_LENGTH;
    }
    if ((Wide)e->addr.gpa + e->len > TOP) {
        return P2P_FAULT_WRAPS;
    }
    if (e->flags >= 32 || !direction || (io && ram)) {
        return P2P_FAULT_BAD_FLAGS;
    }
    return P2P_FAULT_NONE;
}

static int judge_window(const P2PWindow *w, unsigned initiator,
                        uint32_t flags, P2PFaultReason *reason)
{
    bool may_read = w->readers >> initiator & 1;
    bool may_write = w->writers >> initiator & 1;

    *reason = P2P_FAULT_NONE;
    if (w->revoked) {
        *reason = P2P_FAULT_REVOKED;
        return -ESTALE;
    } else if (!may_read && !may_write) {
        *reason = P2P_FAULT_NOT_GRANTED;
        return -EACCES;
    } else if (flags & P2P_VEC_READ && !may_read) {
        *reason = P2P_FAULT_READ_DENIED;
        return -EACCES;
    } else if (flags & P2P_VEC_WRITE && !may_write) {
        *reason = P2P_FAULT_WRITE_DENIED;
        return -EACCES;
    } else if (flags & P2P_VEC_MUST_BE_IO && w->kind != P2P_WINDOW_IO) {
        *reason = P2P_FAULT_WRONG_KIND;
        return -EINVAL;
    } else if (flags & P2P_VEC_MUST_BE_RAM && w->kind != P2P_WINDOW_RAM) {
        *reason = P2P_FAULT_WRONG_KIND;
        return -EINVAL;
    }
    return 0;
}

static uint32_t flags_of(const Oracle *oracle, const P2PWindow *w,
                         unsigned initiator, uint32_t in)
{
    uint32_t flags = 0;

    if (in & P2P_VEC_READ) {
        flags |= P2P_VEC_READ;
    }
    if (in & P2P_VEC_WRITE) {
        flags |= P2P_VEC_WRITE;
    }
    if (w->kind == P2P_WINDOW_RAM) {
        return flags | P2P_VEC_RAM | P2P_MAP_NONE << P2P_VEC_MAP_SHIFT;
    }
    flags |= P2P_VEC_IO;
    if (w->owner == initiator) {
        flags |= P2P_VEC_SELF;
    }
    if (oracle->cpu_initiators & ((uint64_t)1 << initiator)) {
        return flags | P2P_MAP_CPU << P2P_VEC_MAP_SHIFT;
    }
    if (w->unrouted & ((uint64_t)1 << initiator)) {
        return flags | P2P_MAP_NOT_SUPPORTED << P2P_VEC_MAP_SHIFT;
    }
    return flags | P2P_MAP_THRU_HOST_BRIDGE << P2P_VEC_MAP_SHIFT;
}

static int cut(const Oracle *oracle, unsigned initiator, const P2PGuestVec *e,
               size_t index, GArray *pieces, P2PFault *fault)
{
    Wide at = e->addr.gpa;
    Wide end = at + e->len;

    while (at < end) {
        const P2PWindow *w = oracle_find(oracle, at);
        P2PFaultReason reason;
        Piece piece;
        Wide stop;
        int ret;

        if (!w) {
            return refuse(fault, index, at, P2P_FAULT_UNMAPPED, -EFAULT);
        }
        ret = judge_window(w, initiator, e->flags, &reason);
        if (ret) {
            return refuse(fault, index, at, reason, ret);
        }
        stop = (Wide)w->gpa.gpa + w->size;
        if (stop > end) {
            stop = end;
        }
        piece.begin = at - w->gpa.gpa + w->bus.bus;
        piece.end = stop - w->gpa.gpa + w->bus.bus;
        piece.flags = flags_of(oracle, w, initiator, e->flags);
        piece.alone = e->flags & P2P_VEC_NO_MERGE;
        g_array_append_val(pieces, piece);
        at = stop;
    }
    return 0;
}

static bool joins(const Piece *a, const Piece *b)
{
    return !a->alone && !b->alone && a->end == b->begin &&
           a->flags == b->flags && b->end - a->begin <= UINT32_MAX;
}

static void join(GArray *pieces)
{
    guint kept = 0;

    for (guint i = 1; i < pieces->len; i++) {
        Piece *last = &g_array_index(pieces, Piece, kept);
        const Piece *next = &g_array_index(pieces, Piece, i);

        if (joins(last, next)) {
            last->end = next->end;
        } else {
            g_array_index(pieces, Piece, ++kept) = *next;
        }
    }
    if (pieces->len > 0) {
        g_array_set_size(pieces, kept + 1);
    }
}

int oracle_translate(const Oracle *oracle, unsigned initiator,
                     const P2PGuestVec *in, size_t n, GArray *out,
                     P2PFault *fault)
{
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    size_t i;

    g_array_set_size(out, 0);
    if (initiator > 63) {
        return refuse(fault, n, 0, P2P_FAULT_NO_INITIATOR, -EINVAL);
    }
    for (i = 0; i < n; i++) {
        P2PFaultReason reason = judge_entry(&in[i]);
        int ret;

        if (reason != P2P_FAULT_NONE) {
            return refuse(fault, i, in[i].addr.gpa, reason, -EINVAL);
        }
        ret = cut(oracle, initiator, &in[i], i, pieces, fault);
        if (ret) {
            return ret;
        }
    }

    join(pieces);
    for (i = 0; i < pieces->len; i++) {
        const Piece *piece = &g_array_index(pieces, Piece, i);
        P2PBusVec vec = {
            .addr = { piece->begin },
            .len = piece->end - piece->begin,
            .flags = piece->flags,
        };

        g_array_append_val(out, vec);
    }
    return 0;
}

int oracle_cpu_access(const Oracle *oracle, unsigned initiator,
                      const P2PGuestVec *entry, void **hva, P2PFault *fault)
{
    g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(P2PBusVec));
    const P2PWindow *w;
    int ret;

    ret = oracle_translate(oracle, initiator, entry, 1, out, fault);
    if (ret) {
        return ret;
    }
    w = oracle_find(oracle, entry->addr.gpa);
    if (w->host.hva == NULL) {
        return refuse(fault, 0, entry->addr.gpa, P2P_FAULT_NOT_MAPPABLE,
                      -EINVAL);
    }
    if (!inside(w, (Wide)entry->addr.gpa + entry->len - 1)) {
        return refuse(fault, 0, w->gpa.gpa + w->size, P2P_FAULT_SPLIT,
                      -EINVAL);
    }
    *hva = (char *)w->host.hva + (entry->addr.gpa - w->gpa.gpa);
    return 0;
}
