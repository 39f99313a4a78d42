/*
 * The words and errnos of the core's enumerations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include "hw/p2p/bus-address.h"
#include "hw/p2p/map.h"
#include "hw/p2p/topology.h"

typedef struct Reason {
    const char *text;
    int error;
} Reason;

static const Reason unknown_reason = { "unknown fault", EINVAL };

static const Reason reasons[P2P_FAULT__MAX] = {
    [P2P_FAULT_NONE] = { "no fault", 0 },
    [P2P_FAULT_UNMAPPED] = { "no window holds this address", EFAULT },
    [P2P_FAULT_NOT_GRANTED] = {
        "the initiator may neither read nor write this window", EACCES
    },
    [P2P_FAULT_READ_DENIED] = {
        "the initiator may write this window, but not read it", EACCES
    },
    [P2P_FAULT_WRITE_DENIED] = {
        "the initiator may read this window, but not write it", EACCES
    },
    [P2P_FAULT_REVOKED] = { "the window has been revoked", ESTALE },
    [P2P_FAULT_NO_SPACE] = { "the result needs more entries", ENOSPC },
    [P2P_FAULT_ZERO_LENGTH] = { "the entry has length 0", EINVAL },
    [P2P_FAULT_WRAPS] = {
        "the entry ends beyond the address space", EINVAL
    },
    [P2P_FAULT_BAD_FLAGS] = {
        "the entry's flags are unknown, contradictory or without a direction",
        EINVAL
    },
    [P2P_FAULT_WRONG_KIND] = {
        "the window is RAM where I/O is asked for, or I/O where RAM is", EINVAL
    },
    [P2P_FAULT_NO_INITIATOR] = { "there is no such initiator", EINVAL },
    [P2P_FAULT_NOT_MAPPABLE] = {
        "the CPU has no mapping of this window", EINVAL
    },
    [P2P_FAULT_SPLIT] = {
        "the CPU cannot access two windows as one", EINVAL
    },
};

static const char *const map_types[P2P_MAP__MAX] = {
    [P2P_MAP_NONE] = "none",
    [P2P_MAP_NOT_SUPPORTED] = "not-supported",
    [P2P_MAP_BUS_ADDR] = "bus-addr",
    [P2P_MAP_THRU_HOST_BRIDGE] = "thru-host-bridge",
    [P2P_MAP_CPU] = "cpu",
};

static const char *const path_classes[P2P_PATH__MAX] = {
    [P2P_PATH_SELF] = "X",
    [P2P_PATH_PIX] = "PIX",
    [P2P_PATH_PXB] = "PXB",
    [P2P_PATH_PHB] = "PHB",
    [P2P_PATH_NODE] = "NODE",
    [P2P_PATH_SYS] = "SYS",
    [P2P_PATH_UNKNOWN] = "unknown",
};

static const char *const bus_obstacles[P2P_BUS__MAX] = {
    [P2P_BUS_NONE] = "none",
    [P2P_BUS_DISABLED] = "disabled",
    [P2P_BUS_GUEST_IOMMU] = "guest-iommu",
    [P2P_BUS_NOT_PASSTHROUGH] = "not-passthrough",
    [P2P_BUS_UNKNOWN] = "unknown",
    [P2P_BUS_NO_SWITCH] = "no-switch",
    [P2P_BUS_CONVENTIONAL] = "conventional",
    [P2P_BUS_REDIRECTED] = "redirected",
    [P2P_BUS_OUTSIDE_PORT] = "outside-port",
    [P2P_BUS_NO_DECODE] = "no-decode",
    [P2P_BUS_ASLEEP] = "asleep",
    [P2P_BUS_OVERLAP] = "overlap",
    [P2P_BUS_STRANGER] = "stranger",
};

static const Reason *find_reason(P2PFaultReason reason)
{
    return (unsigned)reason < P2P_FAULT__MAX ? &reasons[reason]
                                             : &unknown_reason;
}

const char *p2p_fault_reason_str(P2PFaultReason reason)
{
    return find_reason(reason)->text;
}

int p2p_fault_reason_errno(P2PFaultReason reason)
{
    return find_reason(reason)->error;
}

const char *p2p_map_type_str(P2PMapType type)
{
    if ((unsigned)type >= P2P_MAP__MAX) {
        return "unknown";
    }
    return map_types[type];
}

const char *p2p_path_class_str(P2PPathClass path_class)
{
    if ((unsigned)path_class >= P2P_PATH__MAX) {
        return "unknown";
    }
    return path_classes[path_class];
}

const char *p2p_verdict_str(const P2PVerdict *verdict)
{
    return verdict->unknown ? "unknown" : p2p_map_type_str(verdict->map_type);
}

const char *p2p_bus_obstacle_str(P2PBusObstacle obstacle)
{
    if ((unsigned)obstacle >= P2P_BUS__MAX) {
        return "unknown";
    }
    return bus_obstacles[obstacle];
}
