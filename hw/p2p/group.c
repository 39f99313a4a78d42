/*
 * p2p-group: the functions that may reach each other's shared BARs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-p2p-group.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qom/object_interfaces.h"
#include "hw/boards.h"
#include "hw/vmstate-if.h"
#include "hw/pci/pci_bus.h"
#include "system/system.h"
#include "hw/p2p/internal.h"

P2PGroupList p2p_groups = QTAILQ_HEAD_INITIALIZER(p2p_groups);

/* Enough for sixteen large requests at a time. */
#define P2P_BOUNCE_LIMIT_DEFAULT (16 * MiB)
#define P2P_BOUNCE_LIMIT_MIN     (1 * MiB)
#define P2P_BOUNCE_LIMIT_MAX     (1 * GiB)

const char *p2p_group_id(P2PGroup *group)
{
    return object_get_canonical_path_component(OBJECT(group));
}

P2PMember *p2p_group_next(P2PGroup *group, P2PMember *after)
{
    unsigned i = after ? after->index + 1 : 0;

    for (; i < P2P_MAX_INITIATORS; i++) {
        if (group->members[i]) {
            return group->members[i];
        }
    }
    return NULL;
}

void p2p_foreach_window(void (*fn)(P2PGroup *group, P2PBarWindow *window))
{
    P2PGroup *group;
    P2PMember *owner;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2P_FOREACH_MEMBER(owner, group) {
            for (guint i = 0; i < owner->windows->len; i++) {
                fn(group, g_ptr_array_index(owner->windows, i));
            }
        }
    }
}

static void p2p_snapshot_free(P2PMapSnapshot *snapshot)
{
    p2p_map_free(snapshot->map);
    g_array_unref(snapshot->windows);
    g_free(snapshot);
}

void p2p_group_publish(P2PGroup *group, P2PMapSnapshot *snapshot)
{
    P2PMapSnapshot *old = group->snapshot;

    qatomic_rcu_set(&group->snapshot, snapshot);
    if (old) {
        call_rcu(old, p2p_snapshot_free, rcu);
    }
}

/* Nothing but a change costs more than finding out that there is none. */
static bool p2p_dirty;

void p2p_changed(void)
{
    p2p_dirty = true;
}

/* In a coroutine, so that who waits again is not woken at once. */
static void coroutine_fn p2p_group_wake_all(void *opaque)
{
    P2PGroup *group = opaque;

    qemu_co_queue_restart_all(&group->revoking);
    object_unref(OBJECT(group));
}

static void p2p_group_wake_bh(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(p2p_group_wake_all, opaque));
}

/* Not from here: it may be a processor's thread. */
void p2p_group_wake(P2PGroup *group)
{
    if (!qemu_co_queue_empty(&group->revoking)) {
        object_ref(OBJECT(group));
        aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_group_wake_bh,
                                group);
    }
}

static void p2p_locate_own(P2PGroup *group, P2PBarWindow *window)
{
    if (!window->source) {
        p2p_window_locate(window);
    }
}

/* Those in apertures, whose memory is that of the others */
static void p2p_locate_shown(P2PGroup *group, P2PBarWindow *window)
{
    if (window->source) {
        p2p_window_locate(window);
    }
}

int64_t p2p_update(void)
{
    static bool busy, again;
    int64_t out_of_reach;
    P2PGroup *group;

    /* Changing the views ends in p2p_memory_committed(), that is, here. */
    if (busy) {
        again = true;
        return get_clock();
    }

    busy = true;
    do {
        again = false;
        p2p_foreach_window(p2p_locate_own);
        p2p_foreach_window(p2p_locate_shown);
        p2p_iommu_revoke();
        p2p_views_sync();
        out_of_reach = get_clock();
        p2p_iommu_install();
    } while (again);
    busy = false;

    if (!p2p_dirty || p2p_iommu_is_waiting()) {
        return out_of_reach;
    }
    p2p_dirty = false;
    QTAILQ_FOREACH(group, &p2p_groups, next) {
        p2p_grants_update(group);
    }
    return out_of_reach;
}

void p2p_memory_committed(void)
{
    if (p2p_views_exist()) {
        p2p_update();
    }
}

static int p2p_check_viommu_last(Object *obj, void *opaque)
{
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);
    Error *err = NULL;

    if (dev && dev->p2p.as && !p2p_device_check_viommu(dev, &err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
    return 0;
}

/*
 * A vIOMMU may be created after the devices that it translates for, so this
 * cannot be left to p2p_device_join().
 */
static void p2p_machine_done(Notifier *notifier, void *data)
{
    P2PGroup *group;

    object_child_foreach_recursive(object_get_root(), p2p_check_viommu_last,
                                   NULL);
    p2p_memory_committed();
    QTAILQ_FOREACH(group, &p2p_groups, next) {
        p2p_iommu_check_width(group);
    }
}

static Notifier p2p_machine_done_notifier = { .notify = p2p_machine_done };

static int p2p_find_unconfined(Object *obj, void *opaque)
{
    PCIDevice *dev = (PCIDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);

    if (dev && dev->qdev.realized && p2p_passthrough(dev) &&
        !dev->p2p.as) {
        *(PCIDevice **)opaque = dev;
        return 1;
    }
    return 0;
}

/* Not when it is set: the group has no name then. */
static bool p2p_group_check_bounce_limit(P2PGroup *group, Error **errp)
{
    uint64_t limit = group->bounce_limit;

    if (limit >= P2P_BOUNCE_LIMIT_MIN && limit <= P2P_BOUNCE_LIMIT_MAX &&
        limit % MiB == 0) {
        return true;
    }
    error_setg(errp, "p2p-group '%s': bounce-limit=%" PRIu64 ": it must be 1M "
               "to 1G, a multiple of 1M", p2p_group_id(group), limit);
    return false;
}

static void p2p_group_complete(UserCreatable *uc, Error **errp)
{
    P2PGroup *group = P2P_GROUP(uc);
    PCIDevice *dev = NULL;

    object_child_foreach_recursive(object_get_root(), p2p_find_unconfined,
                                   &dev);
    if (dev) {
        error_setg(errp, "p2p-group '%s': passthrough device %s is already "
                   "there and may reach the BARs of every device; create the "
                   "group before the first passthrough device, or unplug %s "
                   "first", p2p_group_id(group), p2p_device_name(dev),
                   p2p_device_name(dev));
        return;
    }

    if (!p2p_group_check_bounce_limit(group, errp)) {
        return;
    }
    if (!p2p_machine_done_notifier.node.le_prev) {
        qemu_add_machine_init_done_notifier(&p2p_machine_done_notifier);
    }
    if (!p2p_bar_mappings_init(errp)) {
        return;
    }
    group->bounce = p2p_bounce_new(group->bounce_limit, errp);
    if (!group->bounce) {
        return;
    }
    if (!p2p_migration_begin(group, errp)) {
        return;
    }
    p2p_transfer_init();
    p2p_stats_init();
    QTAILQ_INSERT_TAIL(&p2p_groups, group, next);
    group->listed = true;
}

/* Who refuses does not say because of whom. */
static bool p2p_group_can_be_deleted(UserCreatable *uc)
{
    P2PGroup *group = P2P_GROUP(uc);
    g_autoptr(GString) names = g_string_new("");
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        g_string_append_printf(names, " %s", p2p_device_name(member->dev));
    }
    if (names->len) {
        error_report("p2p-group '%s' has members, unplug them first:%s",
                     p2p_group_id(group), names->str);
    }
    return !names->len;
}

static int p2p_group_get_policy(Object *obj, Error **errp)
{
    return P2P_GROUP(obj)->policy;
}

static bool p2p_group_in_use(P2PGroup *group, const char *property,
                             Error **errp)
{
    if (p2p_group_next(group, NULL)) {
        error_setg(errp, "p2p-group '%s': %s cannot change while the group "
                   "has members", p2p_group_id(group), property);
        return true;
    }
    return false;
}

static void p2p_group_set_policy(Object *obj, int value, Error **errp)
{
    if (!p2p_group_in_use(P2P_GROUP(obj), "policy", errp)) {
        P2P_GROUP(obj)->policy = value;
    }
}

static bool p2p_group_get_bus_address(Object *obj, Error **errp)
{
    return P2P_GROUP(obj)->bus_address;
}

static void p2p_group_set_bus_address(Object *obj, bool value, Error **errp)
{
    if (!p2p_group_in_use(P2P_GROUP(obj), "bus-address", errp)) {
        P2P_GROUP(obj)->bus_address = value;
    }
}

static void p2p_group_get_bounce_limit(Object *obj, Visitor *v,
                                       const char *name, void *opaque,
                                       Error **errp)
{
    visit_type_size(v, name, &P2P_GROUP(obj)->bounce_limit, errp);
}

static void p2p_group_set_bounce_limit(Object *obj, Visitor *v,
                                       const char *name, void *opaque,
                                       Error **errp)
{
    P2PGroup *group = P2P_GROUP(obj);
    uint64_t limit;

    if (!visit_type_size(v, name, &limit, errp)) {
        return;
    }
    if (group->bounce) {
        error_setg(errp, "p2p-group '%s': bounce-limit cannot change once the "
                   "group exists", p2p_group_id(group));
    } else {
        group->bounce_limit = limit;
    }
}

P2PBounce *p2p_group_bounce(P2PGroup *group)
{
    return group->bounce;
}

/* A device that has left may keep the object alive for a while after this. */
static void p2p_group_unparent(Object *obj)
{
    P2PGroup *group = P2P_GROUP(obj);

    if (group->listed) {
        QTAILQ_REMOVE(&p2p_groups, group, next);
        group->listed = false;
        p2p_migration_end(group);
    }
}

static void p2p_group_init(Object *obj)
{
    qemu_co_queue_init(&P2P_GROUP(obj)->revoking);
    P2P_GROUP(obj)->bounce_limit = P2P_BOUNCE_LIMIT_DEFAULT;
}

static void p2p_group_view_free(void *view)
{
    p2p_view_free(view);
}

/*
 * The last reference may be a device's that is being finalized: its properties
 * go before VFIO takes it out of the view.
 */
static void p2p_group_finalize(Object *obj)
{
    P2PGroup *group = P2P_GROUP(obj);

    timer_free(group->event_timer);
    if (group->view) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_group_view_free,
                                group->view);
    }
    p2p_group_publish(group, NULL);
    p2p_bounce_free(group->bounce);
}

/* Before its state in a stream. */
static char *p2p_group_vmstate_id(VMStateIf *obj)
{
    return g_strdup(p2p_group_id(P2P_GROUP(obj)));
}

static void p2p_group_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    oc->unparent = p2p_group_unparent;
    ucc->complete = p2p_group_complete;
    ucc->can_be_deleted = p2p_group_can_be_deleted;
    VMSTATE_IF_CLASS(oc)->get_id = p2p_group_vmstate_id;

    object_class_property_add_enum(oc, "policy", "P2PPolicy",
                                   &P2PPolicy_lookup, p2p_group_get_policy,
                                   p2p_group_set_policy);
    object_class_property_set_description(oc, "policy",
        "what to do about a grant that cannot be installed");
    object_class_property_add(oc, "bounce-limit", "size",
                              p2p_group_get_bounce_limit,
                              p2p_group_set_bounce_limit, NULL, NULL);
    object_class_property_set_description(oc, "bounce-limit",
        "memory for drives that cannot use a BAR as a buffer");
    object_class_property_add_bool(oc, "bus-address",
                                   p2p_group_get_bus_address,
                                   p2p_group_set_bus_address);
    object_class_property_set_description(oc, "bus-address",
        "whether untranslated bus addresses may be handed out");
}

static const TypeInfo p2p_group_info = {
    .name = TYPE_P2P_GROUP,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(P2PGroup),
    .instance_init = p2p_group_init,
    .instance_finalize = p2p_group_finalize,
    .class_init = p2p_group_class_init,
    .interfaces = (P2P_INTERFACES[]) {
        { TYPE_USER_CREATABLE },
        { TYPE_VMSTATE_IF },
        { }
    },
};

static void p2p_group_register_types(void)
{
    type_register_static(&p2p_group_info);
}

type_init(p2p_group_register_types)
