/*
 * Host PCI topology: how one function reaches another, and whether the
 * platform routes it
 *
 * Everything is read from a sysfs tree below a root that the caller names, so
 * that a captured machine is as good as a live one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_TOPOLOGY_H
#define HW_P2P_TOPOLOGY_H

#include <stdbool.h>
#include <glib.h>
#include "hw/p2p/vec.h"

/* The usual letters of topology matrices. */
typedef enum P2PPathClass {
    P2P_PATH_SELF,     /* X: the same function */
    P2P_PATH_PIX,      /* one switch, or one device below a port */
    P2P_PATH_PXB,      /* several switches, not the root complex */
    P2P_PATH_PHB,      /* one host bridge */
    P2P_PATH_NODE,     /* two host bridges of one NUMA node, or no node told */
    P2P_PATH_SYS,      /* across NUMA nodes */
    P2P_PATH_UNKNOWN,  /* could not be read */
    P2P_PATH__MAX
} P2PPathClass;

typedef struct P2PPath {
    P2PPathClass path_class;
    /*
     * Linux's verdict (pci_p2pdma_distance): P2P_MAP_BUS_ADDR,
     * P2P_MAP_THRU_HOST_BRIDGE or P2P_MAP_NOT_SUPPORTED. Where the ACS setting
     * of a port cannot be read, as if it redirected.
     */
    P2PMapType map_type;
    /*
     * Whether a transfer that goes up to the root complex, through the IOMMU
     * and down again is known to arrive, even if a switch would route this
     * pair without. Unknown is no.
     */
    bool routed_by_root_complex;
    char *reason;  /* what decided map_type, and the way out; never NULL */
} P2PPath;

/*
 * p2p_topology_path: work out the path from @initiator to @target.
 *
 * @sysroot: prefix of "/sys" and "/proc"; "" for this machine
 * @initiator, @target: BDF as dddd:bb:dd.f, lower case
 * @path: filled in; p2p_path_clear() it
 *
 * Never fails: what cannot be read gives P2P_PATH_UNKNOWN or
 * P2P_MAP_NOT_SUPPORTED, and a reason that says what was missing. An ACS
 * setting can be read with root's rights only. May be called by any thread.
 */
void p2p_topology_path(const char *sysroot, const char *initiator,
                       const char *target, P2PPath *path);
void p2p_path_clear(P2PPath *path);

/* "PIX" etc.; never NULL. */
const char *p2p_path_class_str(P2PPathClass path_class);

#endif /* HW_P2P_TOPOLOGY_H */
