/*
 * p2p-bridge: guest windows
 *
 * A window of the guest lies in one that the host shares, and is gone when that
 * is.  This happens at any moment, within a write to some register: then it is
 * taken out of everybody's reach at once, and noted here; the driver is told
 * when the main loop comes round and the machine runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/runstate.h"
#include "hw/p2p/bridge-internal.h"
#include "trace.h"

static QTAILQ_HEAD(, P2PBridgeDevice) p2p_bridges =
    QTAILQ_HEAD_INITIALIZER(p2p_bridges);

/* The window of the host that @record is in; NULL: there is none any more. */
static P2PBarWindow *p2p_bridge_source(P2PBridgeDevice *dev, unsigned record)
{
    const P2PBridgeRecord *window = &dev->bridge.records[record];
    P2PMember *member = dev->targets[record].member;

    return member ? p2p_window_holding(member, window->bar, window->offset,
                                       window->size) : NULL;
}

static unsigned p2p_bridge_check_source(const P2PBarWindow *source,
                                        uint32_t access)
{
    if (!source || source->ending) {
        return P2P_BRIDGE_NOT_SHARED;
    }
    if (access == P2P_BRIDGE_ACCESS_RW && source->access == P2P_ACCESS_RO) {
        return P2P_BRIDGE_NO_ACCESS;
    }
    return source->backing == P2P_BACKING_IO ? P2P_BRIDGE_NO_MEMORY
                                             : P2P_BRIDGE_OK;
}

unsigned p2p_bridge_op_share(void *opaque, unsigned record,
                             const P2PBridgeRecord *window)
{
    P2PBridgeDevice *dev = opaque;
    P2PMember *member = p2p_bridge_find_member(dev, window->rid);
    unsigned status;

    if (!member) {
        return P2P_BRIDGE_NO_MEMBER;
    }
    status = p2p_bridge_check_source(
        p2p_window_holding(member, window->bar, window->offset, window->size),
        window->access);
    if (status == P2P_BRIDGE_OK) {
        dev->targets[record] = (P2PBridgeTarget) { .member = member };
    }
    return status;
}

void p2p_bridge_op_unshare(void *opaque, unsigned record)
{
    P2PBridgeDevice *dev = opaque;

    dev->targets[record] = (P2PBridgeTarget) { NULL };
}

unsigned p2p_bridge_op_attach(void *opaque, unsigned record, uint64_t offset)
{
    P2PBridgeDevice *dev = opaque;
    const P2PBridgeRecord *window = &dev->bridge.records[record];
    P2PBarWindow *source = p2p_bridge_source(dev, record);
    P2PBridgeTarget *target = &dev->targets[record];
    unsigned status = p2p_bridge_check_source(source, window->access);

    if (status != P2P_BRIDGE_OK) {
        return status;
    }
    if (source->state != P2P_WINDOW_STATE_MAPPED) {
        return P2P_BRIDGE_NOT_DECODED;
    }
    target->window = p2p_aperture_attach(
        p2p_bridge_self(dev), P2P_BRIDGE_BAR_APERTURE, &dev->aperture, offset,
        source, window->offset - source->offset, window->size,
        window->access == P2P_BRIDGE_ACCESS_RW ? P2P_ACCESS_RW
                                               : P2P_ACCESS_RO);
    target->gpa = source->gpa;
    return target->window ? P2P_BRIDGE_OK : P2P_BRIDGE_NO_ROOM;
}

/* Those records of @which, a bit each. */
static void p2p_bridge_detach(P2PBridgeDevice *dev, uint64_t which)
{
    g_autoptr(GPtrArray) windows = g_ptr_array_new();

    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        P2PBridgeTarget *target = &dev->targets[i];

        if (which & BIT_ULL(i) && target->window) {
            g_ptr_array_add(windows, target->window);
            target->window = NULL;
        }
    }
    p2p_aperture_detach(windows);
}

void p2p_bridge_op_detach(void *opaque, unsigned record)
{
    p2p_bridge_detach(opaque, BIT_ULL(record));
}

void p2p_bridge_op_clear(void *opaque)
{
    P2PBridgeDevice *dev = opaque;

    p2p_bridge_detach(dev, UINT64_MAX);
    memset(dev->targets, 0, sizeof(dev->targets));
}

/* --- What was lost ----------------------------------------------------- */

void p2p_bridge_detach_expired(P2PBridgeDevice *dev, int64_t now)
{
    uint64_t which = 0;

    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        const P2PBridgeRecord *record = &dev->bridge.records[i];

        if (record->state == P2P_BRIDGE_STATE_REVOKING &&
            record->deadline <= now) {
            which |= BIT_ULL(i);
        }
    }
    p2p_bridge_detach(dev, which);
}

static void p2p_bridge_note_lost(P2PBridgeDevice *dev, unsigned record,
                                 unsigned reason)
{
    P2PBridgeTarget *target = &dev->targets[record];

    /* On its way out a device stops decoding first. */
    if (!target->lost || reason == P2P_BRIDGE_REVOKE_GONE) {
        trace_p2p_bridge_lost(p2p_device_name(PCI_DEVICE(dev)), record,
                              reason);
        target->lost = reason;
        p2p_bridge_schedule(dev);
    }
}

/* A BAR that moves is first taken away, and then is somewhere else. */
static bool p2p_bridge_has_moved(P2PBridgeDevice *dev, unsigned record)
{
    P2PBarWindow *source = p2p_bridge_source(dev, record);

    return source && source->state == P2P_WINDOW_STATE_MAPPED &&
           source->gpa != dev->targets[record].gpa;
}

void p2p_bridge_tell_lost(P2PBridgeDevice *dev)
{
    uint64_t lost = 0;

    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        lost |= dev->targets[i].lost ? BIT_ULL(i) : 0;
    }
    p2p_bridge_detach(dev, lost);
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        unsigned reason = dev->targets[i].lost;

        if (reason == P2P_BRIDGE_REVOKE_NOT_DECODED &&
            p2p_bridge_has_moved(dev, i)) {
            reason = P2P_BRIDGE_REVOKE_MOVED;
        }

        if (reason) {
            dev->targets[i].lost = 0;
            p2p_bridge_lose(&dev->bridge, i, reason);
        }
    }
}

void p2p_bridge_window_lost(P2PBarWindow *window)
{
    P2PBridgeDevice *dev = P2P_BRIDGE(window->owner->dev);

    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        if (dev->targets[i].window == window) {
            p2p_bridge_note_lost(dev, i, P2P_BRIDGE_REVOKE_NOT_DECODED);
        }
    }
}

void p2p_bridges_source_ends(P2PBarWindow *source, bool leaves)
{
    unsigned reason = leaves ? P2P_BRIDGE_REVOKE_GONE
                             : P2P_BRIDGE_REVOKE_UNSHARED;
    P2PBridgeDevice *dev;

    /* Nobody has windows of windows. */
    if (source->source) {
        return;
    }
    QTAILQ_FOREACH(dev, &p2p_bridges, next) {
        uint64_t which = 0;

        for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
            if (p2p_bridge_source(dev, i) == source) {
                which |= BIT_ULL(i);
                p2p_bridge_note_lost(dev, i, reason);
            }
        }
        p2p_bridge_detach(dev, which);
        p2p_bridge_bus_source_ends(dev->bus, source);
    }
}

void p2p_bridges_member_leaves(P2PMember *member)
{
    P2PBridgeDevice *dev;

    for (guint i = 0; i < member->windows->len; i++) {
        p2p_bridges_source_ends(member->windows->pdata[i], true);
    }
    QTAILQ_FOREACH(dev, &p2p_bridges, next) {
        p2p_bridge_bus_forget(dev->bus, member);
        for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
            if (dev->targets[i].member == member) {
                dev->targets[i].member = NULL;
            }
        }
    }
}

/* --- What the host wants back ------------------------------------------ */

bool p2p_bridges_revoke(P2PBarWindow *source)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL);
    bool wait = false;
    P2PBridgeDevice *dev;

    source->ending = true;
    /* A machine that stands still cannot answer. */
    if (!runstate_is_running()) {
        return false;
    }
    QTAILQ_FOREACH(dev, &p2p_bridges, next) {
        wait |= p2p_bridge_bus_revoke(dev->bus, source);
        for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
            if (dev->targets[i].window && !dev->targets[i].lost &&
                p2p_bridge_source(dev, i) == source) {
                wait |= p2p_bridge_revoke(&dev->bridge, i, now);
            }
        }
        p2p_bridge_watch(dev);
    }
    return wait;
}

static void p2p_window_stays(P2PGroup *group, P2PBarWindow *window)
{
    window->ending = false;
}

void p2p_bridges_revoke_end(void)
{
    p2p_foreach_window(p2p_window_stays);
}

void coroutine_fn p2p_bridges_wait(P2PGroup *group)
{
    qemu_co_queue_wait(&group->revoking, NULL);
}

/* --- All bridges ------------------------------------------------------- */

void p2p_bridges_add(P2PBridgeDevice *dev)
{
    QTAILQ_INSERT_TAIL(&p2p_bridges, dev, next);
}

void p2p_bridges_del(P2PBridgeDevice *dev)
{
    QTAILQ_REMOVE(&p2p_bridges, dev, next);
}

void p2p_bridges_changed(P2PGroup *group)
{
    P2PBridgeDevice *dev;

    QTAILQ_FOREACH(dev, &p2p_bridges, next) {
        if (p2p_bridge_group(dev) == group) {
            dev->changed = true;
            p2p_bridge_schedule(dev);
        }
    }
}

void p2p_bridges_before_run(P2PGroup *group)
{
    P2PBridgeDevice *dev;

    QTAILQ_FOREACH(dev, &p2p_bridges, next) {
        if (p2p_bridge_group(dev) == group && dev->loaded) {
            dev->loaded = false;
            p2p_bridge_restore_targets(dev);
        }
    }
}

/* --- A state from elsewhere -------------------------------------------- */

void p2p_bridge_save_targets(P2PBridgeDevice *dev)
{
    /* The machine has not run since: what was loaded is what there is. */
    if (dev->loaded) {
        return;
    }
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        P2PMember *member = dev->targets[i].member;

        dev->targets[i].rid = member ? p2p_bridge_rid(member->dev)
                                     : UINT32_MAX;
    }
}

/* One that cannot be what it was is lost, whatever the reason. */
static bool p2p_bridge_restore(P2PBridgeDevice *dev, unsigned record)
{
    P2PBridgeRecord *window = &dev->bridge.records[record];
    P2PBridgeTarget *target = &dev->targets[record];

    target->member = p2p_bridge_find_member(dev, target->rid);
    switch (window->state) {
    case P2P_BRIDGE_STATE_SHARED:
        return p2p_bridge_check_source(p2p_bridge_source(dev, record),
                                       window->access) == P2P_BRIDGE_OK;
    case P2P_BRIDGE_STATE_ATTACHED:
    case P2P_BRIDGE_STATE_REVOKING:
        return p2p_bridge_op_attach(
            dev, record, (uint64_t)window->slot
                         << P2P_BRIDGE_SLOT_SHIFT_VALUE) == P2P_BRIDGE_OK;
    }
    return true;
}

void p2p_bridge_restore_targets(P2PBridgeDevice *dev)
{
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        unsigned lost = dev->targets[i].lost;

        if (!p2p_bridge_restore(dev, i) && !lost) {
            p2p_bridge_note_lost(dev, i, P2P_BRIDGE_REVOKE_MIGRATED);
        }
    }
    p2p_bridge_write_page(&dev->bridge);
}
