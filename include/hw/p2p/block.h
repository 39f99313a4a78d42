/*
 * What the block layer asks about buffers that may lie in a peer's BAR
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_BLOCK_H
#define HW_P2P_BLOCK_H

#include "block/block-io.h"
#include "qemu/iov.h"

/* No byte of the vector is a peer's memory: nothing was done. */
#define P2P_NO_PEER 1

/*
 * Read or write like bdrv_co_preadv_part() and bdrv_co_pwritev_part(), by a
 * way that the drivers below @child and the memory allow.  @dev is the device
 * that uses the drive, or NULL.  Returns 0, a negative errno value, or
 * P2P_NO_PEER.
 */
typedef int coroutine_fn
P2PBlockTransfer(BdrvChild *child, DeviceState *dev, int64_t offset,
                 int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
                 BdrvRequestFlags flags, bool is_write);

/*
 * NULL until the first p2p-group: programs that have block devices but no
 * machine have no other half of this.
 */
extern P2PBlockTransfer *p2p_block_transfer;

#endif /* HW_P2P_BLOCK_H */
