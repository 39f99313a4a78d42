/*
 * What the memory core and VFIO tell the peer-to-peer code
 *
 * All are called with the BQL held and return at once if the machine has no
 * p2p-group.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_HOOKS_H
#define HW_P2P_HOOKS_H

#include "exec/hwaddr.h"

/*
 * A memory transaction has ended and all listeners were told.
 *
 * A MemoryListener cannot stand in for this: changing regions from a commit
 * callback would start a second transaction while other listeners still wait
 * for the end of the first one.
 */
void p2p_memory_committed(void);

/*
 * VFIO is about to make a call to map a section of @as; p2p_note_map()
 * follows in any case.
 */
void p2p_before_map(AddressSpace *as, void *container, hwaddr iova,
                    uint64_t size);

/*
 * VFIO made a call to map, or to unmap, a section of @as.
 *
 * @container: what holds the mapping; an opaque key
 * @iova, @size: the range, in bytes
 * @ret: 0 or a negative errno value
 */
void p2p_note_map(AddressSpace *as, void *container, hwaddr iova,
                  uint64_t size, int ret);
void p2p_note_unmap(AddressSpace *as, void *container, hwaddr iova,
                    uint64_t size, int ret);

#endif /* HW_P2P_HOOKS_H */
