/*
 * Window map: from guest physical vectors to bus vectors
 *
 * Concepts
 *   A *window* is a range of guest physical addresses that an initiator may
 *   be allowed to reach: guest RAM, or a shared range of a target's BAR.
 *   An *initiator* is a small number; windows hold a bit mask of those who
 *   may read and of those who may write.
 *   A *map* is an immutable snapshot of windows.  It never changes, so any
 *   number of threads may translate with it at once, without a lock, and write
 *   no memory but their results.  Whoever replaces a map decides when the old
 *   one is freed (QEMU: RCU).  A map that is made from another one shares with
 *   it what is equal; neither needs the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_MAP_H
#define HW_P2P_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <glib.h>
#include "hw/p2p/vec.h"

/* Initiators of one map are numbered 0 .. P2P_MAX_INITIATORS - 1. */
#define P2P_MAX_INITIATORS 64

/* The owner of a window that belongs to no member: guest RAM. */
#define P2P_NO_OWNER UINT16_MAX

typedef enum P2PWindowKind {
    P2P_WINDOW_RAM,
    P2P_WINDOW_IO,
} P2PWindowKind;

typedef struct P2PWindow {
    P2PGuestAddr gpa;   /* first byte */
    uint64_t size;      /* bytes, never 0; gpa + size - 1 does not wrap */
    P2PBusAddr bus;     /* of the first byte; bus + size - 1 does not wrap */
    P2PHostAddr host;   /* the same byte for the CPU; NULL: not mappable */
    uint64_t readers;   /* bit i: initiator i may read */
    uint64_t writers;   /* bit i: initiator i may write */
    uint64_t unrouted;  /* bit i: the host is not known to route i's access */
    uint16_t owner;     /* initiator number of the target, or P2P_NO_OWNER */
    uint8_t kind;       /* P2PWindowKind */
    bool revoked;       /* was here and has gone: -ESTALE for everybody */
} P2PWindow;

/* Windows of one map; far more than devices have BARs. */
#define P2P_MAX_WINDOWS (1u << 24)

typedef struct P2PMap P2PMap;

typedef enum P2PFaultReason {
    P2P_FAULT_NONE,
    P2P_FAULT_UNMAPPED,       /* -EFAULT: no window holds this address */
    P2P_FAULT_NOT_GRANTED,    /* -EACCES: neither read nor write allowed */
    P2P_FAULT_READ_DENIED,    /* -EACCES: the initiator may only write */
    P2P_FAULT_WRITE_DENIED,   /* -EACCES: the initiator may only read */
    P2P_FAULT_REVOKED,        /* -ESTALE: the window has gone */
    P2P_FAULT_NO_SPACE,       /* -ENOSPC: the result does not fit */
    P2P_FAULT_ZERO_LENGTH,    /* -EINVAL, as all that follow */
    P2P_FAULT_WRAPS,          /* the entry ends beyond 2^64; at 2^64 is fine */
    P2P_FAULT_BAD_FLAGS,      /* unknown flag, no direction, IO and RAM */
    P2P_FAULT_WRONG_KIND,     /* must-be-io on RAM, must-be-ram on a BAR */
    P2P_FAULT_NO_INITIATOR,   /* not an initiator number */
    P2P_FAULT_NOT_MAPPABLE,   /* the CPU has no mapping of this window */
    P2P_FAULT_SPLIT,          /* CPU access across two windows */
    P2P_FAULT__MAX
} P2PFaultReason;

typedef struct P2PFault {
    size_t index;            /* of the entry; n if it is the whole vector */
    P2PGuestAddr addr;       /* first that cannot be used; 0 if index is n */
    P2PFaultReason reason;
} P2PFault;

/* The errors of p2p_map_new(). */
#define P2P_MAP_ERROR p2p_map_error_quark()
GQuark p2p_map_error_quark(void);

typedef enum P2PMapError {
    P2P_MAP_ERROR_INVALID,   /* empty, wraps, bad owner or kind; too many */
    P2P_MAP_ERROR_OVERLAP,   /* two windows hold the same address */
    P2P_MAP_ERROR_UNKNOWN,   /* no window to remove begins there */
} P2PMapError;

/*
 * p2p_map_new: build a snapshot.
 *
 * @windows: @n windows in any order, P2P_MAX_WINDOWS at most; copied
 * @cpu_initiators: bit i set: initiator i is a device model inside QEMU, its
 *     I/O entries get P2P_MAP_CPU; others get P2P_MAP_THRU_HOST_BRIDGE,
 *     or P2P_MAP_NOT_SUPPORTED where the window is unrouted for them
 * @error: P2P_MAP_ERROR_INVALID when a window is empty, wraps, or names a bad
 *     kind or owner (RAM belongs to nobody); P2P_MAP_ERROR_OVERLAP when two
 *     windows hold the same guest physical address
 *
 * Returns the map, to be freed with p2p_map_free(), or NULL. No window at all
 * is a valid map. The time is linear in @n. A window costs 45 bytes, and 36
 * more if its masks are those of no other window near by.
 */
P2PMap *p2p_map_new(const P2PWindow *windows, size_t n,
                    uint64_t cpu_initiators, GError **error);

/*
 * p2p_map_change: build a snapshot that differs from another one.
 *
 * @map: stays as it is, and the caller's
 * @remove: first addresses of @n_remove windows to leave out, in any order; one
 *     that is also the address of a window in @add replaces it
 * @add: @n_add windows to put in, as for p2p_map_new()
 * @error: as p2p_map_new(), and P2P_MAP_ERROR_UNKNOWN when no window of @map
 *     begins at an address of @remove, or it is there twice
 *
 * Returns the new map, to be freed with p2p_map_free(), or NULL. The time is
 * that of the changes and of 1/512 of the windows. Threads may change, read
 * and free maps that share windows at the same time.
 */
P2PMap *p2p_map_change(const P2PMap *map,
                       const P2PGuestAddr *remove, size_t n_remove,
                       const P2PWindow *add, size_t n_add, GError **error);

/* p2p_map_free: NULL is fine. */
void p2p_map_free(P2PMap *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(P2PMap, p2p_map_free)

/*
 * The windows of @map in ascending order of their addresses. The time of
 * p2p_map_window() grows with the number of windows; @i is below
 * p2p_map_size(), or the process ends.
 *
 * What a map does not need it does not keep: a revoked window has no readers
 * and writers, and nobody is unrouted but those who may read or write a BAR.
 */
size_t p2p_map_size(const P2PMap *map);
P2PWindow p2p_map_window(const P2PMap *map, size_t i);

/* Whether a window holds @addr; if so, it is copied to @window. */
bool p2p_map_find(const P2PMap *map, P2PGuestAddr addr, P2PWindow *window);

/*
 * p2p_translate: guest physical vector to bus vector, all or nothing.
 *
 * @initiator: number of the function that will issue the DMA
 * @in: @n entries; @n may be 0, which translates to nothing.  They must not
 *     change during the call, for they are read more than once: copy vectors
 *     out of memory that a guest can write first
 * @out: room for *@m entries, not overlapping @in; may be NULL if *@m is 0
 * @m: in: room in @out; out: entries written, or with -ENOSPC the number
 *     that is needed, or 0 with every other error
 * @fault: what is wrong and where; written on failure only; may be NULL
 *
 * An entry that crosses windows is split. Neighbours that are contiguous on
 * the bus and equal in flags are merged, unless one of them says no-merge or
 * the sum exceeds UINT32_MAX bytes. On failure @out holds nothing of use.
 * With several faults the first in order of entries, then of addresses, is
 * told; -ENOSPC only when there is no other. What an entry says of itself
 * (length, wrap, flags, in this order) goes before what its first window says,
 * and at one address: unmapped, revoked, not granted or denied, wrong kind. An
 * @initiator that is none fails even an empty vector.
 *
 * Returns 0, -EFAULT, -EACCES, -ESTALE, -ENOSPC or -EINVAL. Takes no lock,
 * allocates nothing, may be called by any thread.
 */
int p2p_translate(const P2PMap *map, unsigned initiator,
                  const P2PGuestVec *in, size_t n,
                  P2PBusVec *out, size_t *m, P2PFault *fault);

/*
 * p2p_map_cpu_access: the one way from an entry to a CPU pointer.
 *
 * Fails as p2p_translate() of this one entry would; then with
 * P2P_FAULT_NOT_MAPPABLE if its first window has no host address, and with
 * P2P_FAULT_SPLIT if it does not end in this window, for the mappings of two
 * windows need not be neighbours. @host is written on success only, @fault on
 * failure only; @fault may be NULL.
 *
 * Returns 0 or a negative errno. Dereferencing the result of an I/O window
 * needs a guard against SIGBUS: the device may stop decoding at any time.
 */
int p2p_map_cpu_access(const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *entry, P2PHostAddr *host,
                       P2PFault *fault);

/* Short English text and errno (positive) of a reason; never NULL. */
const char *p2p_fault_reason_str(P2PFaultReason reason);
int p2p_fault_reason_errno(P2PFaultReason reason);

#endif /* HW_P2P_MAP_H */
