/*
 * Differences between the QEMU versions that this code is built for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_COMPAT_H
#define HW_P2P_COMPAT_H

/* 10.1 moved the memory API's headers and made class data constant. */
#if __has_include("system/memory.h")
#include "system/memory.h"
#include "system/address-spaces.h"
#include "system/ramblock.h"
#include "system/runstate.h"
/* An I/O thread does not wait for the BQL, as it must in earlier versions. */
#define p2p_enable_lockless_io(mr) memory_region_enable_lockless_io(mr)
#define P2P_CLASS_DATA const void
#define P2P_INTERFACES const InterfaceInfo
#define p2p_add_vm_change_state_handler(cb, prepare, opaque, priority) \
    qemu_add_vm_change_state_handler_prio_full(cb, prepare, NULL, opaque, \
                                               priority)
/* After the state of all devices; else only the order of registration counts. */
#define P2P_VMSTATE_LAST .priority = MIG_PRI_LOW
#define p2p_block_cpr(reasonp, errp)                                    \
    migrate_add_blocker_modes(reasonp, (BIT(MIG_MODE__MAX) - 1) &       \
                                       ~BIT(MIG_MODE_NORMAL) &          \
                                       ~BIT(MIG_MODE_CPR_REBOOT), errp)
/* Who wants a migration is told why there is none. */
#define P2P_VMSTATE_HOOKS(save, load)
#define P2P_VMSTATE_PRE_SAVE(fn) .pre_save_errp = fn
#define P2P_VMSTATE_POST_LOAD(fn) .post_load_errp = fn
#else
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#include "qapi/error.h"
#include "system/runstate.h"
#define p2p_enable_lockless_io(mr) ((void)(mr))
#define P2P_CLASS_DATA void
#define P2P_INTERFACES InterfaceInfo
#define p2p_add_vm_change_state_handler(cb, prepare, opaque, priority) \
    qemu_add_vm_change_state_handler_prio_full(cb, prepare, opaque, priority)
#define P2P_VMSTATE_LAST .priority = MIG_PRI_DEFAULT
#define p2p_block_cpr(reasonp, errp) \
    migrate_add_blocker_modes(reasonp, errp, MIG_MODE_CPR_TRANSFER, -1)
#define P2P_VMSTATE_HOOKS(save, load)                       \
    static int save##_report(void *opaque)                  \
    {                                                       \
        Error *err = NULL;                                  \
                                                            \
        if (!save(opaque, &err)) {                          \
            error_report_err(err);                          \
            return -EINVAL;                                 \
        }                                                   \
        return 0;                                           \
    }                                                       \
    static int load##_report(void *opaque, int version_id)  \
    {                                                       \
        Error *err = NULL;                                  \
                                                            \
        if (!load(opaque, version_id, &err)) {              \
            error_report_err(err);                          \
            return -EINVAL;                                 \
        }                                                   \
        return 0;                                           \
    }
#define P2P_VMSTATE_PRE_SAVE(fn) .pre_save = fn##_report
#define P2P_VMSTATE_POST_LOAD(fn) .post_load = fn##_report
#endif

#endif /* HW_P2P_COMPAT_H */
