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
/* An I/O thread does not wait for the BQL, as it must in earlier versions. */
#define p2p_enable_lockless_io(mr) memory_region_enable_lockless_io(mr)
#define P2P_CLASS_DATA const void
#define P2P_INTERFACES const InterfaceInfo
#else
#include "exec/memory.h"
#include "exec/address-spaces.h"
#include "exec/ramblock.h"
#define p2p_enable_lockless_io(mr) ((void)(mr))
#define P2P_CLASS_DATA void
#define P2P_INTERFACES InterfaceInfo
#endif

#endif /* HW_P2P_COMPAT_H */
