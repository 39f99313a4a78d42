/*
 * The parts of a plan
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_PLAN_INTERNAL_H
#define HW_P2P_CORE_PLAN_INTERNAL_H

#include "hw/p2p/plan.h"

/*
 * Where RAM and BARs go: fills in hole64_start, hole64_size, physical_bits,
 * and problems.
 */
void p2p_plan_place_memory(P2PPlan *plan);

/*
 * The machine as the guest's kernel will see it, whose rules then tell what it
 * will decide; sets each node's guest.  The caller frees it.
 */
P2PHost *p2p_plan_guest(P2PPlan *plan);

#endif /* HW_P2P_CORE_PLAN_INTERNAL_H */
