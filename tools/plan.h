/*
 * The forms of a plan
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_PLAN_H
#define P2P_TOOL_PLAN_H

#include "hw/p2p/plan.h"
#include "tool.h"

/* QEMU's options, for a shell. */
void plan_print_qemu(const P2PPlan *plan);

/* A libvirt domain, with the metadata that "qemu-p2p xml" completes. */
void plan_print_libvirt(const P2PPlan *plan);

void plan_print_json(const P2PPlan *plan);

/* NCCL_TOPO_FILE for the guest. */
void plan_print_nccl(const P2PPlan *plan);

/* What the guest's kernel will decide, and why; each line begins with @begin */
void plan_print_guest(const P2PPlan *plan, const char *begin);

#endif /* P2P_TOOL_PLAN_H */
