/*
 * I/O vectors: { address, length, flags }
 *
 * The flags fill the hole behind the length, as proposed for Linux's P2PDMA
 * without struct page: what kind of memory an entry names is worked out once
 * and travels with the entry, not with the request.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_VEC_H
#define HW_P2P_VEC_H

#include <stdint.h>
#include "hw/p2p/addr.h"

/*
 * Linux's enum pci_p2pdma_map_type in meaning, not in value, and one of our
 * own for an initiator that is a device model inside QEMU.
 */
typedef enum P2PMapType {
    P2P_MAP_NONE,              /* guest RAM: no peer involved */
    P2P_MAP_NOT_SUPPORTED,     /* the platform does not route it */
    P2P_MAP_BUS_ADDR,          /* a switch routes it below the IOMMU */
    P2P_MAP_THRU_HOST_BRIDGE,  /* through root complex and IOMMU */
    P2P_MAP_CPU,               /* QEMU's own CPU moves the data */
    P2P_MAP__MAX
} P2PMapType;

/* "thru-host-bridge" etc., as in Linux and in query-p2p; never NULL. */
const char *p2p_map_type_str(P2PMapType type);

/* Set by the caller; the first two are carried over to the result. */
#define P2P_VEC_READ         (1u << 0)  /* the device reads this memory */
#define P2P_VEC_WRITE        (1u << 1)  /* the device writes this memory */
#define P2P_VEC_NO_MERGE     (1u << 2)  /* do not join with a neighbour */
#define P2P_VEC_MUST_BE_IO   (1u << 3)  /* fail unless it is a peer's BAR */
#define P2P_VEC_MUST_BE_RAM  (1u << 4)  /* fail unless it is guest RAM */
#define P2P_VEC_IN_MASK      0x1fu

/* Set by the translation. Exactly one of RAM and IO is set. */
#define P2P_VEC_RAM          (1u << 8)  /* guest RAM */
#define P2P_VEC_IO           (1u << 9)  /* a BAR: no CPU pointer exists */
#define P2P_VEC_SELF         (1u << 10) /* a BAR of the initiator itself */
#define P2P_VEC_MAP_SHIFT    16
#define P2P_VEC_MAP_MASK     (7u << P2P_VEC_MAP_SHIFT)

static inline P2PMapType p2p_vec_map_type(uint32_t flags)
{
    return (P2PMapType)((flags & P2P_VEC_MAP_MASK) >> P2P_VEC_MAP_SHIFT);
}

typedef struct P2PGuestVec {
    P2PGuestAddr addr;
    uint32_t len;    /* bytes, never 0 */
    uint32_t flags;  /* P2P_VEC_* of the first group */
} P2PGuestVec;

typedef struct P2PBusVec {
    P2PBusAddr addr;
    uint32_t len;    /* bytes, never 0 */
    uint32_t flags;  /* P2P_VEC_READ, P2P_VEC_WRITE and the second group */
} P2PBusVec;

_Static_assert(sizeof(P2PGuestVec) == 16, "an entry is 16 bytes");
_Static_assert(sizeof(P2PBusVec) == 16, "an entry is 16 bytes");

#endif /* HW_P2P_VEC_H */
