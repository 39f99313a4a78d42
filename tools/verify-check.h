/*
 * qemu-p2p verify: what sysfs tells that stands in the way, before anything is
 * opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_CHECK_H
#define P2P_TOOL_VERIFY_CHECK_H

#include "tool.h"

/*
 * Each returns whether the way is free; else it has said, by tool_error(), what
 * is wrong and what to do.
 */

/* @function can be driven as an initiator. */
bool verify_check_initiator(const P2PFunction *function);

/*
 * @function is in an IOMMU group of this host and bound to a VFIO driver.
 * Nothing is ever taken from another driver: the error has the commands.
 */
bool verify_check_bound(const P2PFunction *function);

/*
 * verify_check_bar: which BAR of @target to use.
 *
 * @bar: the user's wish, or -1: the first that is prefetchable memory
 * @offset, @size: of the window, bytes; they have to be in the BAR
 * @shrink: unless @size may become smaller to fit
 * @force: take a BAR that is not prefetchable, if it is named
 *
 * Returns its number, or -1.
 */
int verify_check_bar(const P2PFunction *target, int bar, uint64_t offset,
                     uint64_t *size, bool shrink, bool force);

#endif /* P2P_TOOL_VERIFY_CHECK_H */
