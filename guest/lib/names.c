/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Words for the numbers of the interface
 */
#include <stdio.h>
#include <string.h>
#include "internal.h"

/* --- RID ----------------------------------------------------------------- */

char *p2p_bridge_rid_str(uint32_t rid, char text[P2P_BRIDGE_RID_CHARS])
{
    snprintf(text, P2P_BRIDGE_RID_CHARS, "%04x:%02x:%02x.%x", rid >> 16,
             rid >> 8 & 0xff, rid >> 3 & 0x1f, rid & 7);
    return text;
}

/* @digits hexadecimal digits, then @end; NULL: not so */
static const char *parse_hex(const char *text, unsigned digits, char end,
                             unsigned *value)
{
    static const char hex[] = "0123456789abcdef0123456789ABCDEF";

    *value = 0;
    for (unsigned i = 0; i < digits; i++, text++) {
        const char *digit = *text ? strchr(hex, *text) : NULL;

        if (!digit) {
            return NULL;
        }
        *value = *value << 4 | ((digit - hex) & 0xf);
    }
    return *text == end ? text + 1 : NULL;
}

bool p2p_bridge_rid_parse(const char *text, uint32_t *rid)
{
    unsigned domain = 0;
    unsigned bus;
    unsigned device;
    unsigned function;
    const char *rest = parse_hex(text, 4, ':', &domain);

    rest = parse_hex(rest ? rest : text, 2, ':', &bus);
    rest = rest ? parse_hex(rest, 2, '.', &device) : NULL;
    rest = rest ? parse_hex(rest, 1, '\0', &function) : NULL;
    if (!rest || device > 0x1f || function > 7) {
        return false;
    }
    *rid = P2P_BRIDGE_RID(strlen(text) + 1 == P2P_BRIDGE_RID_CHARS ? domain : 0,
                          bus, device, function);
    return true;
}

/* --- Words --------------------------------------------------------------- */

#define LOOK_UP(table, index) \
    look_up(table, sizeof(table) / sizeof(*(table)), index)

static const char *look_up(const char *const *table, size_t n, uint32_t index)
{
    return index < n && table[index] ? table[index] : "unknown";
}

const char *p2p_bridge_path_str(uint32_t path)
{
    static const char *const words[] = {
        [P2P_BRIDGE_PATH_SELF] = "X",
        [P2P_BRIDGE_PATH_PIX] = "PIX",
        [P2P_BRIDGE_PATH_PXB] = "PXB",
        [P2P_BRIDGE_PATH_PHB] = "PHB",
        [P2P_BRIDGE_PATH_NODE] = "NODE",
        [P2P_BRIDGE_PATH_SYS] = "SYS",
    };

    return LOOK_UP(words, path);
}

const char *p2p_bridge_map_type_str(uint32_t map_type)
{
    static const char *const words[] = {
        [P2P_BRIDGE_MAP_NONE] = "none",
        [P2P_BRIDGE_MAP_NOT_SUPPORTED] = "not-supported",
        [P2P_BRIDGE_MAP_BUS_ADDR] = "bus-addr",
        [P2P_BRIDGE_MAP_THRU_HOST_BRIDGE] = "thru-host-bridge",
        [P2P_BRIDGE_MAP_CPU] = "cpu",
    };

    return LOOK_UP(words, map_type);
}

const char *p2p_bridge_event_str(uint32_t type)
{
    static const char *const words[] = {
        [0] = "lost",
        [P2P_BRIDGE_EVENT_CHANGED] = "changed",
        [P2P_BRIDGE_EVENT_REVOKE] = "revoke",
        [P2P_BRIDGE_EVENT_REVOKED] = "revoked",
        [P2P_BRIDGE_EVENT_BUS_REVOKED] = "bus-revoked",
    };

    return LOOK_UP(words, type);
}

const char *p2p_bridge_revoke_str(uint32_t reason)
{
    static const char *const words[] = {
        [P2P_BRIDGE_REVOKE_UNSHARED] = "the host has taken it back",
        [P2P_BRIDGE_REVOKE_GONE] = "the target was unplugged",
        [P2P_BRIDGE_REVOKE_NOT_DECODED] = "the target stopped decoding",
        [P2P_BRIDGE_REVOKE_MOVED] = "the target's BAR moved",
        [P2P_BRIDGE_REVOKE_MIGRATED] =
            "the target has no such window on this host",
        [P2P_BRIDGE_REVOKE_TIMEOUT] = "the time to acknowledge has passed",
        [P2P_BRIDGE_REVOKE_ACKNOWLEDGED] = "the driver has acknowledged",
    };

    return LOOK_UP(words, reason);
}

const char *p2p_bridge_bus_str(uint32_t reason)
{
    static const char *const words[] = {
        [P2P_BRIDGE_BUS_DISABLED] = "the group does not have bus-address=on",
        [P2P_BRIDGE_BUS_GUEST_IOMMU] =
            "the guest's IOMMU translates for the initiator",
        [P2P_BRIDGE_BUS_NOT_PASSTHROUGH] =
            "initiator or target is no function of the host's hardware",
        [P2P_BRIDGE_BUS_UNKNOWN] =
            "not all that is to be known of the host can be found out",
        [P2P_BRIDGE_BUS_NO_SWITCH] = "no PCIe switch is above both",
        [P2P_BRIDGE_BUS_CONVENTIONAL] =
            "a bridge to conventional PCI is on the way",
        [P2P_BRIDGE_BUS_REDIRECTED] = "ACS redirects it on the way",
        [P2P_BRIDGE_BUS_OUTSIDE_PORT] =
            "it is outside of the BAR or of a port's window",
        [P2P_BRIDGE_BUS_NO_DECODE] =
            "the target or a port does not decode memory, or the BAR moved",
        [P2P_BRIDGE_BUS_ASLEEP] = "target, initiator or a port is not in D0",
        [P2P_BRIDGE_BUS_OVERLAP] =
            "an address that the initiator reaches is one below the switch",
        [P2P_BRIDGE_BUS_STRANGER] =
            "a function below the switch is not this virtual machine's",
        [P2P_BRIDGE_BUS_RAM] = "it is guest RAM",
    };

    return LOOK_UP(words, reason);
}

static const char *fault_reason_str(uint32_t reason)
{
    static const char *const words[] = {
        [P2P_BRIDGE_FAULT_UNMAPPED] = "no guest RAM and no window is there",
        [P2P_BRIDGE_FAULT_NOT_GRANTED] =
            "the initiator may neither read nor write it",
        [P2P_BRIDGE_FAULT_READ_DENIED] = "the initiator may not read it",
        [P2P_BRIDGE_FAULT_WRITE_DENIED] = "the initiator may not write it",
        [P2P_BRIDGE_FAULT_REVOKED] = "a window was there, and has gone",
        [P2P_BRIDGE_FAULT_ZERO_LENGTH] = "its length is 0",
        [P2P_BRIDGE_FAULT_WRAPS] = "it ends beyond 2^64",
        [P2P_BRIDGE_FAULT_BAD_FLAGS] = "its flags make no sense",
        [P2P_BRIDGE_FAULT_WRONG_KIND] = "it is not of the kind asked for",
        [P2P_BRIDGE_FAULT_NO_MEMBER] = "no member of the group has this RID",
        [P2P_BRIDGE_FAULT_OUTSIDE] = "it is not within a memory BAR",
    };

    return LOOK_UP(words, reason);
}

const char *p2p_bridge_fault_str(const struct p2p_bridge_fault *fault)
{
    switch (fault->status) {
    case P2P_BRIDGE_OK:
        return "nothing is wrong";
    case P2P_BRIDGE_NO_MEMBER:
        return "no member of the group has the initiator's RID, or it does "
               "not initiate";
    case P2P_BRIDGE_FAULT:
        return fault_reason_str(fault->reason);
    case P2P_BRIDGE_BUS_REFUSED:
        return p2p_bridge_bus_str(fault->reason);
    default:
        return "unknown";
    }
}
