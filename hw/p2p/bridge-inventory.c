/*
 * p2p-bridge: what the guest is told of the group
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/p2p/bridge-internal.h"

void p2p_bridge_inventory_init(P2PBridgeInventory *inventory)
{
    inventory->members = g_array_new(false, true, sizeof(P2PBridgeMember));
    inventory->windows = g_array_new(false, true,
                                     sizeof(P2PBridgeHostWindow));
    inventory->pairs = g_array_new(false, true, sizeof(P2PBridgePair));
}

void p2p_bridge_inventory_clear(P2PBridgeInventory *inventory)
{
    g_array_unref(inventory->members);
    g_array_unref(inventory->windows);
    g_array_unref(inventory->pairs);
    *inventory = (P2PBridgeInventory) { NULL };
}

static uint16_t p2p_bridge_window_flags(P2PBarWindow *window)
{
    PCIIORegion *r = &window->owner->dev->io_regions[window->bar];
    bool memory = window->backing != P2P_BACKING_IO;

    /* Prefetchable: PCIe 6.0, 7.5.1.2.1, no side effects, bytes may merge */
    return (window->state == P2P_WINDOW_STATE_MAPPED
            ? P2P_BRIDGE_WINDOW_DECODED : 0) |
           (memory ? P2P_BRIDGE_WINDOW_MEMORY : 0) |
           (memory && r->type & PCI_BASE_ADDRESS_MEM_PREFETCH
            ? P2P_BRIDGE_WINDOW_RAM_LIKE : 0);
}

static unsigned p2p_bridge_add_windows(P2PBridgeInventory *inventory,
                                       P2PMember *owner)
{
    unsigned n = 0;

    for (guint i = 0; i < owner->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(owner->windows, i);
        P2PBridgeHostWindow entry;

        if (window->source) {
            continue;
        }
        /* All bytes of it are compared. */
        memset(&entry, 0, sizeof(entry));
        entry.rid = p2p_bridge_rid(owner->dev);
        entry.bar = window->bar;
        entry.access = window->access == P2P_ACCESS_RW
                       ? P2P_BRIDGE_ACCESS_RW : P2P_BRIDGE_ACCESS_RO;
        entry.flags = p2p_bridge_window_flags(window);
        entry.offset = window->offset;
        entry.size = window->size;
        entry.gpa = window->state == P2P_WINDOW_STATE_MAPPED ? window->gpa : 0;
        g_array_append_val(inventory->windows, entry);
        n++;
    }
    return n;
}

static void p2p_bridge_add_pair(P2PBridgeInventory *inventory,
                                P2PMember *initiator, P2PMember *owner)
{
    P2PBridgePair pair = {
        .initiator = p2p_bridge_rid(initiator->dev),
        .target = p2p_bridge_rid(owner->dev),
        .path = P2P_BRIDGE_PATH_UNKNOWN,
        .map_type = initiator->passthrough ? P2P_BRIDGE_MAP_THRU_HOST_BRIDGE
                                           : P2P_BRIDGE_MAP_CPU,
        .flags = P2P_BRIDGE_PAIR_INSTALLED | P2P_BRIDGE_PAIR_ROUTED,
    };

    for (guint i = 0; i < owner->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(owner->windows, i);
        P2PGrant *grant = &window->grants[initiator->index];

        if (!grant->installed) {
            pair.flags &= ~P2P_BRIDGE_PAIR_INSTALLED;
        }
        if (grant->has_path) {
            pair.path = (uint8_t)grant->path.verdict.path_class;
            pair.map_type = (uint8_t)grant->path.verdict.map_type;
            if (!grant->path.verdict.routed_by_root_complex) {
                pair.flags &= ~P2P_BRIDGE_PAIR_ROUTED;
            }
        }
    }
    g_array_append_val(inventory->pairs, pair);
}

QEMU_BUILD_BUG_ON((int)P2P_PATH_SELF != P2P_BRIDGE_PATH_SELF);
QEMU_BUILD_BUG_ON((int)P2P_PATH_SYS != P2P_BRIDGE_PATH_SYS);
QEMU_BUILD_BUG_ON((int)P2P_PATH_UNKNOWN != P2P_BRIDGE_PATH_UNKNOWN);

static void p2p_bridge_add_member(P2PBridgeInventory *inventory,
                                  P2PMember *member, P2PMember *self)
{
    P2PBridgeMember entry = {
        .rid = p2p_bridge_rid(member->dev),
        .flags = (member->dev->p2p.initiate ? P2P_BRIDGE_MEMBER_INITIATES
                                            : 0) |
                 (member->passthrough ? P2P_BRIDGE_MEMBER_PASSTHROUGH : 0) |
                 (member == self ? P2P_BRIDGE_MEMBER_SELF : 0),
        .windows = p2p_bridge_add_windows(inventory, member),
    };
    P2PMember *initiator;

    P2P_FOREACH_MEMBER(initiator, member->group) {
        if (entry.windows && initiator != member && initiator->realized &&
            initiator->dev->p2p.initiate) {
            p2p_bridge_add_pair(inventory, initiator, member);
        }
    }
    g_array_append_val(inventory->members, entry);
}

static bool p2p_array_equal(const GArray *a, const GArray *b)
{
    return a->len == b->len &&
           (!a->len || !memcmp(a->data, b->data, a->len * g_array_get_element_size(
                                                  (GArray *)a)));
}

bool p2p_bridge_inventory_renumbered(P2PBridgeDevice *dev)
{
    GArray *members = dev->inventory.members;
    P2PMember *member;
    guint i = 0;

    P2P_FOREACH_MEMBER(member, p2p_bridge_group(dev)) {
        if (!member->realized) {
            continue;
        }
        if (i < members->len &&
            g_array_index(members, P2PBridgeMember, i).rid !=
            p2p_bridge_rid(member->dev)) {
            return true;
        }
        i++;
    }
    return false;
}

bool p2p_bridge_inventory_update(P2PBridgeDevice *dev)
{
    P2PBridgeInventory *old = &dev->inventory;
    P2PBridgeInventory new;
    P2PMember *member;
    bool equal;

    p2p_bridge_inventory_init(&new);
    P2P_FOREACH_MEMBER(member, p2p_bridge_group(dev)) {
        if (member->realized) {
            p2p_bridge_add_member(&new, member, p2p_bridge_self(dev));
        }
    }
    equal = p2p_array_equal(old->members, new.members) &&
            p2p_array_equal(old->windows, new.windows) &&
            p2p_array_equal(old->pairs, new.pairs);
    p2p_bridge_inventory_clear(equal ? &new : old);
    if (!equal) {
        *old = new;
    }
    return !equal;
}
