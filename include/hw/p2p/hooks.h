/*
 * What the memory core and the DMA helpers tell and ask the peer-to-peer code
 *
 * All return at once if the machine has no p2p-group.  Where nothing else is
 * said, the caller holds the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_HOOKS_H
#define HW_P2P_HOOKS_H

#include "exec/hwaddr.h"
#include "exec/memattrs.h"

/*
 * A memory transaction has ended and all listeners were told.
 *
 * A MemoryListener cannot stand in for this: changing regions from a commit
 * callback would start a second transaction while other listeners still wait
 * for the end of the first one.
 */
void p2p_memory_committed(void);

/*
 * address_space_map() of a region that is not RAM: whether p2p_dma_map() is to
 * map it.
 *
 * @mr, @addr: what stands at the DMA address, and where in it
 * @is_write: the device writes
 *
 * Any thread; within an RCU read-side critical section.
 */
bool p2p_dma_is_peer(MemoryRegion *mr, hwaddr addr, bool is_write);

/*
 * What address_space_map() returns then; NULL: it cannot be mapped.
 *
 * @plen: bytes that are wanted; less is returned if less follow
 */
void *p2p_dma_map(MemoryRegion *mr, hwaddr addr, hwaddr *plen, bool is_write);

/*
 * address_space_unmap(): whether p2p_dma_map() gave @ptr.
 *
 * @root: of the address space that it was mapped from
 * @accessed: bytes that the device model has written, or may have read: how
 *     many, not all tell
 *
 * Any thread.
 */
bool p2p_dma_unmap(MemoryRegion *root, void *ptr, hwaddr accessed);

/*
 * How many of the @size bytes of a scatter-gather list the device has to take
 * as not transferred, although @residual is what is left of the list: all of
 * them if @result says that part of the list, in the address space of @root,
 * could not be accessed.  Any thread.
 */
uint64_t p2p_dma_residual(MemoryRegion *root, MemTxResult result,
                          uint64_t size, uint64_t residual);

/*
 * Whether it is a view: what VFIO maps of it are guest physical addresses, as
 * without a guest's IOMMU.
 */
bool p2p_is_view(AddressSpace *as);

#endif /* HW_P2P_HOOKS_H */
