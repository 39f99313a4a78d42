/*
 * p2p-bridge: what its files share
 *
 *   bridge.c            the PCI function: BARs, interrupts, rings, life
 *   bridge-window.c     guest windows: which host windows they are of
 *   bridge-inventory.c  what the guest is told of the group
 *   bridge-bus.c        bus addresses: given, looked at again, taken back
 *
 * What the guest may do is in hw/p2p/core/bridge-*.c.  All with the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_BRIDGE_INTERNAL_H
#define HW_P2P_BRIDGE_INTERNAL_H

#include "qemu/event_notifier.h"
#include "hw/p2p/bridge.h"
#include "hw/p2p/internal.h"

/* Whose window a record is. */
typedef struct P2PBridgeTarget {
    P2PMember *member;      /* NULL: the record is free, or the target left */
    P2PBarWindow *window;   /* in the aperture; NULL: not attached */
    hwaddr gpa;             /* of the host window when it was attached */
    uint32_t lost;          /* P2P_BRIDGE_REVOKE_*, to be told; 0: it is not */
    uint32_t rid;           /* of a state that was loaded; else not used */
} P2PBridgeTarget;

typedef struct P2PBridgeBus P2PBridgeBus;

OBJECT_DECLARE_SIMPLE_TYPE(P2PBridgeDevice, P2P_BRIDGE)

struct P2PBridgeDevice {
    PCIDevice parent_obj;

    /* Properties */
    uint64_t aperture_size;
    uint32_t revoke_timeout;    /* ms */

    MemoryRegion bar0;          /* the next two */
    MemoryRegion regs;
    MemoryRegion doorbell;
    MemoryRegion page;
    MemoryRegion aperture;
    EventNotifier rung;
    QEMUBH *work;           /* more commands, or something to tell */
    QEMUTimer *timer;       /* of revocations; virtual clock */
    VMChangeStateEntry *change;

    P2PBridge bridge;
    P2PBridgeTarget targets[P2P_BRIDGE_MAX_WINDOWS_VALUE];
    bool loaded;            /* windows of a state are to be attached */
    uint32_t page_shift;    /* of a state: this host's */
    uint32_t sequence;      /* of a state: the status page's */

    P2PBridgeInventory inventory;
    bool changed;           /* members, windows or grants of the group are */
    P2PBridgeBus *bus;

    QTAILQ_ENTRY(P2PBridgeDevice) next;
};

static inline P2PMember *p2p_bridge_self(P2PBridgeDevice *dev)
{
    return PCI_DEVICE(dev)->p2p.member;
}

static inline P2PGroup *p2p_bridge_group(P2PBridgeDevice *dev)
{
    return PCI_DEVICE(dev)->p2p.group;
}

/* --- bridge.c ---------------------------------------------------------- */

/* Have the driver told of what has happened, in a while. */
void p2p_bridge_schedule(P2PBridgeDevice *dev);

/* After anything that may have begun or ended a revocation: its time. */
void p2p_bridge_watch(P2PBridgeDevice *dev);

uint32_t p2p_bridge_rid(PCIDevice *dev);
/* NULL: no member of the group has it. */
P2PMember *p2p_bridge_find_member(P2PBridgeDevice *dev, uint32_t rid);

/* --- bridge-window.c --------------------------------------------------- */

/* See P2PBridgeOps. */
unsigned p2p_bridge_op_share(void *opaque, unsigned record,
                             const P2PBridgeRecord *window);
void p2p_bridge_op_unshare(void *opaque, unsigned record);
unsigned p2p_bridge_op_attach(void *opaque, unsigned record, uint64_t offset);
void p2p_bridge_op_detach(void *opaque, unsigned record);
void p2p_bridge_op_clear(void *opaque);

/* Those whose time is over, all in one. */
void p2p_bridge_detach_expired(P2PBridgeDevice *dev, int64_t now);

/* From now on, and no longer, it is told of what happens. */
void p2p_bridges_add(P2PBridgeDevice *dev);
void p2p_bridges_del(P2PBridgeDevice *dev);

/* Tell the driver of windows that were lost. */
void p2p_bridge_tell_lost(P2PBridgeDevice *dev);

/* Before the state is saved, and when the machine is about to run with it. */
void p2p_bridge_save_targets(P2PBridgeDevice *dev);
void p2p_bridge_restore_targets(P2PBridgeDevice *dev);

/* --- bridge-inventory.c ------------------------------------------------ */

void p2p_bridge_inventory_init(P2PBridgeInventory *inventory);
void p2p_bridge_inventory_clear(P2PBridgeInventory *inventory);

/* Whether the guest has given other numbers to buses. */
bool p2p_bridge_inventory_renumbered(P2PBridgeDevice *dev);

/* Make it anew; returns whether it is another one now. */
bool p2p_bridge_inventory_update(P2PBridgeDevice *dev);

/* --- bridge-bus.c ------------------------------------------------------ */

P2PBridgeBus *p2p_bridge_bus_new(P2PBridgeDevice *dev);
void p2p_bridge_bus_free(P2PBridgeBus *bus);

/* See P2PBridgeOps. */
unsigned p2p_bridge_op_bus_address(void *opaque, uint32_t rid, uint64_t gpa,
                                   uint32_t len, uint64_t *address);
void p2p_bridge_op_bus_end(void *opaque, bool given);
bool p2p_bridge_op_bus_release(void *opaque, uint32_t initiator,
                               uint32_t target);

/*
 * The host takes @source back: ask for what was given of it.  Returns whether
 * something is to be waited for.
 */
bool p2p_bridge_bus_revoke(P2PBridgeBus *bus, const P2PBarWindow *source);

/* @source is about to go: what still is in use must end. */
void p2p_bridge_bus_source_ends(P2PBridgeBus *bus,
                                const P2PBarWindow *source);

/* The host, or the group, may not be what it was. */
void p2p_bridge_bus_check(P2PBridgeBus *bus);

/* @member leaves: nothing of what it was given is of use any more. */
void p2p_bridge_bus_forget(P2PBridgeBus *bus, P2PMember *member);

#endif /* HW_P2P_BRIDGE_INTERNAL_H */
