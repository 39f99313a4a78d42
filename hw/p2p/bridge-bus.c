/*
 * p2p-bridge: bus addresses
 *
 * What was given cannot be taken back by an IOMMU. So the conditions are looked
 * at again as long as it is in use; if one does not hold any more the driver is
 * told, and when it does not answer its initiator loses bus mastering.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "hw/p2p/bridge-internal.h"
#include "hw/p2p/bus-address.h"
#include "trace.h"

/* The host tells of no change: this is how long one may go unseen. */
#define P2P_BUS_CHECK_MS 1000

/* Reading the host's topology takes milliseconds. */
#define P2P_BUS_HOST_MS 100

/* A window that an initiator has bus addresses of. */
typedef struct P2PBusGiven {
    P2PMember *initiator;
    P2PMember *target;
    uint8_t bar;
    uint64_t offset;        /* in the BAR */
    uint64_t size;
    P2PBusAddr address;     /* of its first byte */
    int64_t deadline;       /* revoked: ms of p2p_event_clock(); 0: it is not */
    bool stopped;           /* its time was over when the machine stood still */
    unsigned obstacle;      /* why: to be told when it runs */
    bool offered;           /* the guest has not got it yet, and may never */
} P2PBusGiven;

struct P2PBridgeBus {
    P2PBridgeDevice *dev;
    GArray *given;          /* of P2PBusGiven */
    P2PHost *host;          /* as it was at @host_at; NULL: not read */
    int64_t host_at;        /* ms of the realtime clock */
    QEMUTimer *timer;       /* p2p_event_clock(): also while the machine stops */
    /* The last answer, for as long as a vector is translated; NULL: none */
    P2PBarWindow *asked;
    P2PMember *asked_for;
    P2PBusAddr answer;
    Error *no_migration;    /* blocker; NULL: none */
};

static void p2p_bus_timer(void *opaque);
static void p2p_bus_reset(void *opaque);

P2PBridgeBus *p2p_bridge_bus_new(P2PBridgeDevice *dev)
{
    P2PBridgeBus *bus = g_new0(P2PBridgeBus, 1);

    bus->dev = dev;
    bus->given = g_array_new(false, true, sizeof(P2PBusGiven));
    bus->timer = timer_new_ms(p2p_event_clock(), p2p_bus_timer, bus);
    qemu_register_reset(p2p_bus_reset, bus);
    return bus;
}

void p2p_bridge_bus_free(P2PBridgeBus *bus)
{
    qemu_unregister_reset(p2p_bus_reset, bus);
    timer_free(bus->timer);
    migrate_del_blocker(&bus->no_migration);
    g_clear_pointer(&bus->host, p2p_host_free);
    g_array_unref(bus->given);
    g_free(bus);
}

static P2PHost *p2p_bus_host(P2PBridgeBus *bus)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (bus->host && now - bus->host_at >= P2P_BUS_HOST_MS) {
        g_clear_pointer(&bus->host, p2p_host_free);
    }
    if (!bus->host) {
        bus->host = p2p_host_new("");
        bus->host_at = now;
    }
    return bus->host;
}

/* --- What the conditions ask for --------------------------------------- */

static void p2p_bus_reach_ram(MemoryRegion *mr, hwaddr gpa, hwaddr offset,
                              uint64_t size, bool readonly, void *opaque)
{
    P2PBusRange range = { gpa, size };

    g_array_append_val((GArray *)opaque, range);
}

/* All that a passthrough member reaches by its IOMMU, at which addresses. */
static GArray *p2p_bus_reach(P2PGroup *group)
{
    GArray *reach = g_array_new(false, false, sizeof(P2PBusRange));
    P2PBusRange doorbells;
    P2PMember *owner;

    doorbells.size = p2p_doorbells(&doorbells.start);
    g_array_append_val(reach, doorbells);
    p2p_foreach_ram(p2p_bus_reach_ram, reach);
    P2P_FOREACH_MEMBER(owner, group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);
            P2PBusRange range = { window->gpa, window->size };

            if (window->state == P2P_WINDOW_STATE_MAPPED) {
                g_array_append_val(reach, range);
            }
        }
    }
    return reach;
}

static int p2p_bus_add_owned(Object *obj, void *opaque)
{
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);
    const P2PPassthrough *passthrough = dev && dev->qdev.realized
                                        ? p2p_passthrough(dev) : NULL;
    char *bdf = passthrough && passthrough->host_bdf
                ? passthrough->host_bdf(dev) : NULL;

    if (bdf) {
        g_ptr_array_add(opaque, bdf);
    }
    return 0;
}

/* Returns P2P_BRIDGE_BUS_*. */
static unsigned p2p_bus_ask(P2PBridgeBus *bus, P2PMember *initiator,
                            const P2PBusGiven *range, P2PBusAddr *address)
{
    P2PGroup *group = initiator->group;
    g_autoptr(GArray) reach = p2p_bus_reach(group);
    g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *why = NULL;
    PCIDevice *target = range->target->dev;
    P2PBusRequest request = {
        .enabled = group->bus_address,
        /* A member of a group is behind none: see p2p_device_join(). */
        .guest_iommu = false,
        .initiator = initiator->host_bdf,
        .target = range->target->host_bdf,
        .bar = range->bar,
        .bar_size = target->io_regions[range->bar].size,
        .offset = range->offset,
        .size = range->size,
    };
    P2PBusObstacle obstacle;

    object_child_foreach_recursive(object_get_root(), p2p_bus_add_owned,
                                   owned);
    request.reach = (P2PBusRange *)reach->data;
    request.n_reach = reach->len;
    request.owned = (const char *const *)owned->pdata;
    request.n_owned = owned->len;
    obstacle = p2p_bus_address(p2p_bus_host(bus), &request, address, &why);
    trace_p2p_bus(p2p_device_name(initiator->dev), p2p_device_name(target),
                  range->bar, range->offset, range->size,
                  p2p_bus_obstacle_str(obstacle), why ?: "");
    return obstacle;
}

QEMU_BUILD_BUG_ON((int)P2P_BUS_DISABLED != P2P_BRIDGE_BUS_DISABLED);
QEMU_BUILD_BUG_ON((int)P2P_BUS_REDIRECTED != P2P_BRIDGE_BUS_REDIRECTED);
QEMU_BUILD_BUG_ON((int)P2P_BUS_STRANGER != P2P_BRIDGE_BUS_STRANGER);

/* --- Giving ------------------------------------------------------------ */

static P2PBarWindow *p2p_bus_window_at(P2PGroup *group, uint64_t gpa)
{
    P2PMember *owner;

    P2P_FOREACH_MEMBER(owner, group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);

            if (window->state == P2P_WINDOW_STATE_MAPPED &&
                gpa >= window->gpa && gpa - window->gpa < window->size) {
                return window;
            }
        }
    }
    return NULL;
}

/* They mean nothing in another host. */
static bool p2p_bus_block_migration(P2PBridgeBus *bus)
{
    if (bus->no_migration) {
        return true;
    }
    error_setg(&bus->no_migration, "%s: the guest uses bus addresses of this "
               "host; have its driver release them",
               p2p_device_name(PCI_DEVICE(bus->dev)));
    return migrate_add_blocker(&bus->no_migration, NULL) >= 0;
}

static void p2p_bus_unblock_migration(P2PBridgeBus *bus)
{
    if (!bus->given->len) {
        migrate_del_blocker(&bus->no_migration);
    }
}

static P2PBusGiven *p2p_bus_find(P2PBridgeBus *bus, const P2PBusGiven *like)
{
    for (guint i = 0; i < bus->given->len; i++) {
        P2PBusGiven *given = &g_array_index(bus->given, P2PBusGiven, i);

        if (given->initiator == like->initiator &&
            given->target == like->target && given->bar == like->bar &&
            given->offset == like->offset && given->size == like->size) {
            return given;
        }
    }
    return NULL;
}

/*
 * What is asked and kept in mind is the whole window: a guest cannot make us
 * remember more than there are windows and initiators.
 */
unsigned p2p_bridge_op_bus_address(void *opaque, uint32_t rid, uint64_t gpa,
                                   uint32_t len, uint64_t *address)
{
    P2PBridgeDevice *dev = opaque;
    P2PBridgeBus *bus = dev->bus;
    P2PMember *initiator = p2p_bridge_find_member(dev, rid);
    P2PBarWindow *window = p2p_bus_window_at(p2p_bridge_group(dev), gpa);
    P2PMemoryPlace memory;
    P2PBusGiven *known, wanted;
    unsigned obstacle;

    if (!initiator || !window) {
        return P2P_BRIDGE_BUS_UNKNOWN;
    }
    if (len > window->size - (gpa - window->gpa)) {
        return P2P_BRIDGE_BUS_UNKNOWN;
    }
    if ((window->source ?: window)->ending) {
        return P2P_BRIDGE_BUS_UNSHARED;
    }
    memory = p2p_window_memory(window);
    wanted = (P2PBusGiven) {
        .initiator = initiator, .target = memory.member, .bar = memory.bar,
        .offset = memory.offset, .size = window->size, .offered = true,
    };
    if (bus->asked == window && bus->asked_for == initiator) {
        *address = bus->answer.bus + (gpa - window->gpa);
        return 0;
    }
    obstacle = p2p_bus_ask(bus, initiator, &wanted, &wanted.address);
    if (obstacle) {
        return obstacle;
    }
    known = p2p_bus_find(bus, &wanted);
    if (known && (known->deadline ||
                  known->address.bus != wanted.address.bus)) {
        return P2P_BRIDGE_BUS_NOT_NOW;
    }
    if (!p2p_bus_block_migration(bus)) {
        return P2P_BRIDGE_BUS_NOT_NOW;
    }
    if (!known) {
        g_array_append_val(bus->given, wanted);
        if (!timer_pending(bus->timer)) {
            timer_mod(bus->timer, qemu_clock_get_ms(p2p_event_clock()) +
                                  P2P_BUS_CHECK_MS);
        }
    }
    bus->asked = window;
    bus->asked_for = initiator;
    bus->answer = wanted.address;
    *address = wanted.address.bus + (gpa - window->gpa);
    return 0;
}

void p2p_bridge_op_bus_end(void *opaque, bool given)
{
    P2PBridgeBus *bus = P2P_BRIDGE(opaque)->bus;

    bus->asked = NULL;
    for (guint i = bus->given->len; i-- > 0; ) {
        P2PBusGiven *entry = &g_array_index(bus->given, P2PBusGiven, i);

        if (entry->offered && !given) {
            g_array_remove_index_fast(bus->given, i);
        } else {
            entry->offered = false;
        }
    }
    p2p_bus_unblock_migration(bus);
}

/* --- Taking back ------------------------------------------------------- */

/* A guest can have it happen again and again: told once in a while. */
static void p2p_bus_stop(P2PBusGiven *given)
{
    const P2PPassthrough *passthrough = given->initiator->passthrough;
    static int64_t next;
    int64_t now = qemu_clock_get_ms(p2p_event_clock());

    passthrough->stop_mastering(given->initiator->dev);
    if (now < next) {
        return;
    }
    next = now + P2P_TELL_INTERVAL_MS;
    warn_report("%s has bus addresses of %s that are not safe any more, and "
                "its driver does not let them go: it may not master the bus "
                "until its driver allows it again; the rest works",
                p2p_device_name(given->initiator->dev),
                p2p_device_name(given->target->dev));
}

static void p2p_bus_tell(P2PBridgeBus *bus, const P2PBusGiven *given,
                         unsigned obstacle)
{
    p2p_bridge_bus_revoked(&bus->dev->bridge,
                           p2p_bridge_rid(given->initiator->dev),
                           p2p_bridge_rid(given->target->dev), obstacle);
}

/* A machine that stands still cannot answer, but its devices may go on. */
static void p2p_bus_revoke(P2PBridgeBus *bus, P2PBusGiven *given,
                           unsigned obstacle)
{
    given->deadline = qemu_clock_get_ms(p2p_event_clock());
    if (runstate_is_running()) {
        given->deadline += bus->dev->revoke_timeout;
        p2p_bus_tell(bus, given, obstacle);
    } else {
        given->stopped = true;
        given->obstacle = obstacle;
        p2p_bus_stop(given);
    }
}

static void p2p_bus_look_at(P2PBridgeBus *bus, P2PBusGiven *given)
{
    P2PBusAddr address;
    unsigned obstacle;

    if (given->deadline) {
        return;
    }
    obstacle = p2p_bus_ask(bus, given->initiator, given, &address);
    if (!obstacle && address.bus != given->address.bus) {
        obstacle = P2P_BRIDGE_BUS_NO_DECODE;    /* it is not where it was */
    }
    if (obstacle) {
        p2p_bus_revoke(bus, given, obstacle);
    }
}

void p2p_bridge_bus_check(P2PBridgeBus *bus)
{
    int64_t now = qemu_clock_get_ms(p2p_event_clock());
    int64_t next = now + P2P_BUS_CHECK_MS;

    /* What has changed may be the host. */
    g_clear_pointer(&bus->host, p2p_host_free);
    for (guint i = 0; i < bus->given->len; ) {
        P2PBusGiven *given = &g_array_index(bus->given, P2PBusGiven, i);

        p2p_bus_look_at(bus, given);
        if (given->stopped && !runstate_is_running()) {
            i++;
            continue;
        }
        if (given->deadline && given->deadline <= now) {
            if (given->stopped) {
                p2p_bus_tell(bus, given, given->obstacle);
            } else {
                p2p_bus_stop(given);
            }
            g_array_remove_index_fast(bus->given, i);
            p2p_group_wake(p2p_bridge_group(bus->dev));
            continue;
        }
        next = given->deadline ? MIN(next, given->deadline) : next;
        i++;
    }
    if (bus->given->len) {
        timer_mod(bus->timer, next);
    }
    p2p_bus_unblock_migration(bus);
}

static void p2p_bus_timer(void *opaque)
{
    p2p_bridge_bus_check(opaque);
}

static void p2p_bus_remove(P2PBridgeBus *bus, P2PMember *initiator,
                           P2PMember *target)
{
    for (guint i = bus->given->len; i-- > 0; ) {
        P2PBusGiven *given = &g_array_index(bus->given, P2PBusGiven, i);

        if ((!initiator || given->initiator == initiator) &&
            (!target || given->target == target)) {
            g_array_remove_index_fast(bus->given, i);
        }
    }
    p2p_bus_unblock_migration(bus);
    p2p_group_wake(p2p_bridge_group(bus->dev));
}

static bool p2p_bus_is_of(const P2PBusGiven *given,
                          const P2PBarWindow *source)
{
    return given->target == source->owner && given->bar == source->bar &&
           ranges_overlap(given->offset, given->size, source->offset,
                          source->size);
}

bool p2p_bridge_bus_revoke(P2PBridgeBus *bus, const P2PBarWindow *source)
{
    bool wait = false;

    for (guint i = 0; i < bus->given->len; i++) {
        P2PBusGiven *given = &g_array_index(bus->given, P2PBusGiven, i);

        if (p2p_bus_is_of(given, source)) {
            wait = true;
            if (!given->deadline) {
                p2p_bus_revoke(bus, given, P2P_BRIDGE_BUS_UNSHARED);
                timer_mod_anticipate(bus->timer, given->deadline);
            }
        }
    }
    return wait;
}

void p2p_bridge_bus_source_ends(P2PBridgeBus *bus, const P2PBarWindow *source)
{
    for (guint i = bus->given->len; i-- > 0; ) {
        P2PBusGiven *given = &g_array_index(bus->given, P2PBusGiven, i);

        if (p2p_bus_is_of(given, source)) {
            if (!given->stopped) {
                p2p_bus_stop(given);
            }
            if (runstate_is_running()) {
                p2p_bus_tell(bus, given, P2P_BRIDGE_BUS_UNSHARED);
            }
            g_array_remove_index_fast(bus->given, i);
        }
    }
    p2p_bus_unblock_migration(bus);
}

/* All devices were reset: nobody uses any. */
static void p2p_bus_reset(void *opaque)
{
    p2p_bus_remove(opaque, NULL, NULL);
}

bool p2p_bridge_op_bus_release(void *opaque, uint32_t initiator,
                               uint32_t target)
{
    P2PBridgeDevice *dev = opaque;
    P2PMember *from = p2p_bridge_find_member(dev, initiator);
    P2PMember *to = p2p_bridge_find_member(dev, target);

    if (from && to) {
        p2p_bus_remove(dev->bus, from, to);
    }
    return from && to;
}

/*
 * An initiator that leaves is reset. The BAR of a target that leaves stays
 * where it was in the host, for another one to use: see
 * p2p_bridge_bus_source_ends(), which comes first.
 */
void p2p_bridge_bus_forget(P2PBridgeBus *bus, P2PMember *member)
{
    p2p_bus_remove(bus, member, NULL);
    p2p_bus_remove(bus, NULL, member);
}
