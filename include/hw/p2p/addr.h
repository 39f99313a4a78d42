/*
 * The four addresses of peer-to-peer DMA, each a type of its own
 *
 * Code that mixes them up must not compile: a bus address handed to memcpy()
 * or a guest physical address handed to a device is data loss that nobody
 * reports.  None of them converts to an integer, or to another one, without
 * naming the member.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_ADDR_H
#define HW_P2P_ADDR_H

#include <stdint.h>

/* GPA: where the guest's CPUs see it. */
typedef struct P2PGuestAddr {
    uint64_t gpa;
} P2PGuestAddr;

/* IOVA: what an IOMMU translates. */
typedef struct P2PIova {
    uint64_t iova;
} P2PIova;

/* Bus address: what an initiator puts on the PCI bus. Never a pointer. */
typedef struct P2PBusAddr {
    uint64_t bus;
} P2PBusAddr;

/* HVA: where this process sees it. NULL: the CPU has no way to it. */
typedef struct P2PHostAddr {
    void *hva;
} P2PHostAddr;

#endif /* HW_P2P_ADDR_H */
