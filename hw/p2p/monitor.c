/*
 * Monitor commands: what is granted, and what a vector becomes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-p2p.h"
#include "qemu/cutils.h"
#include "block/aio.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "qemu/module.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-core.h"
#include "hw/sysbus.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "monitor/qdev.h"
#include "system/runstate.h"
#include "hw/p2p/internal.h"

/* Bounds what one command may keep the main loop busy with. */
#define P2P_TRANSLATE_MAX 4096

/* --- query-p2p --------------------------------------------------------- */

static P2PGrantMapType p2p_qapi_map_type(P2PMapType type)
{
    static const P2PGrantMapType types[P2P_MAP__MAX] = {
        [P2P_MAP_NONE] = P2P_GRANT_MAP_TYPE_NONE,
        [P2P_MAP_NOT_SUPPORTED] = P2P_GRANT_MAP_TYPE_NOT_SUPPORTED,
        [P2P_MAP_BUS_ADDR] = P2P_GRANT_MAP_TYPE_BUS_ADDR,
        [P2P_MAP_THRU_HOST_BRIDGE] = P2P_GRANT_MAP_TYPE_THRU_HOST_BRIDGE,
        [P2P_MAP_CPU] = P2P_GRANT_MAP_TYPE_CPU,
    };

    return types[type];
}

static P2PGrantPath p2p_qapi_path(P2PPathClass path_class)
{
    static const P2PGrantPath paths[P2P_PATH__MAX] = {
        [P2P_PATH_SELF] = P2P_GRANT_PATH_SELF,
        [P2P_PATH_PIX] = P2P_GRANT_PATH_PIX,
        [P2P_PATH_PXB] = P2P_GRANT_PATH_PXB,
        [P2P_PATH_PHB] = P2P_GRANT_PATH_PHB,
        [P2P_PATH_NODE] = P2P_GRANT_PATH_NODE,
        [P2P_PATH_SYS] = P2P_GRANT_PATH_SYS,
        [P2P_PATH_UNKNOWN] = P2P_GRANT_PATH_UNKNOWN,
    };

    return paths[path_class];
}

/*
 * By way of buses.  Namespaces of NVMe hang on a subsystem, which is no device
 * of the controller's bus.
 */
static bool p2p_is_drive_of(BlockBackend *blk, PCIDevice *pci)
{
    Object *subsystem = object_property_find(OBJECT(pci), "subsys")
        ? object_property_get_link(OBJECT(pci), "subsys", NULL) : NULL;
    DeviceState *dev = blk_get_attached_dev(blk);

    while (dev) {
        BusState *bus = qdev_get_parent_bus(dev);

        if (dev == DEVICE(pci) || OBJECT(dev) == subsystem) {
            return true;
        }
        dev = bus ? bus->parent : NULL;
    }
    return false;
}

/* As the user knows it: names that begin with # are QEMU's. */
static char *p2p_drive_name(BlockBackend *blk, BlockDriverState *bs)
{
    const char *node = bs ? bdrv_get_node_name(bs) : "";

    if (*blk_name(blk)) {
        return g_strdup(blk_name(blk));
    }
    return *node && *node != '#' ? g_strdup(node)
                                 : blk_get_attached_dev_id(blk);
}

static P2PDrivePath * GRAPH_RDLOCK p2p_drive_path(BlockDriverState *bs,
                                                 bool is_write)
{
    P2PDrivePath *path = g_new0(P2PDrivePath, 1);
    const char *why;

    path->data_path = p2p_data_path(bs, is_write, &why);
    path->reason = g_strdup(why);
    return path;
}

static P2PDriveInfoList *p2p_drives(P2PMember *initiator)
{
    P2PDriveInfoList *list = NULL, **tail = &list;
    BlockBackend *blk = NULL;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    while ((blk = blk_all_next(blk))) {
        BlockDriverState *bs = blk_bs(blk);
        P2PDriveInfo *info;

        if (!p2p_is_drive_of(blk, initiator->dev)) {
            continue;
        }
        info = g_new0(P2PDriveInfo, 1);
        info->drive = p2p_drive_name(blk, bs);
        info->read = p2p_drive_path(bs, false);
        info->write = p2p_drive_path(bs, true);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static P2PTrafficInfoList *p2p_traffic(P2PTraffic *traffic)
{
    P2PTrafficInfoList *list = NULL, **tail = &list;

    for (P2PDataPath path = 0; path < P2P_DATA_PATH__MAX; path++) {
        P2PTrafficInfo *info = g_new0(P2PTrafficInfo, 1);

        info->data_path = path;
        info->requests = stat64_get(&traffic->requests[path]);
        info->bytes = stat64_get(&traffic->bytes[path]);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static P2PGrantInfo *p2p_grant_info(P2PMember *initiator,
                                    P2PBarWindow *window)
{
    P2PGrant *grant = &window->grants[initiator->index];
    P2PGrantInfo *info = g_new0(P2PGrantInfo, 1);
    P2PInstall *install = p2p_member_install(initiator, window);
    P2PCounts counts = p2p_counts(initiator, window);

    info->initiator = g_strdup(p2p_device_name(initiator->dev));
    info->installed = grant->installed;
    info->reason = g_strdup(grant->reason);
    if (!initiator->passthrough) {
        info->map_type = P2P_GRANT_MAP_TYPE_CPU;
        info->drives = p2p_drives(initiator);
        info->has_drives = info->drives;
    } else if (grant->has_path && !grant->path.verdict.routed_by_root_complex) {
        info->map_type = P2P_GRANT_MAP_TYPE_NOT_SUPPORTED;
    } else {
        /* What a view's address leads to, whatever a switch could do. */
        info->map_type = p2p_qapi_map_type(P2P_MAP_THRU_HOST_BRIDGE);
    }
    if (grant->has_path) {
        info->has_path = true;
        info->path = p2p_qapi_path(grant->path.verdict.path_class);
        info->has_routed = true;
        info->routed = grant->path.verdict.routed_by_root_complex;
        info->path_reason = g_strdup(grant->path.reason);
    }
    info->maps = counts.maps;
    info->unmaps = counts.unmaps;
    info->failures = counts.failures;
    info->has_requests = p2p_counts_traffic(initiator, window);
    info->requests = counts.requests;
    info->has_bytes = info->has_requests;
    info->bytes = counts.bytes;
    if (install) {
        info->has_last_errno = install->last_errno;
        info->last_errno = install->last_errno;
        info->has_stuck = install->stuck;
        info->stuck = install->stuck;
    }
    return info;
}

static P2PWindowInfo *p2p_window_info(P2PGroup *group, P2PBarWindow *window)
{
    P2PWindowInfo *info = g_new0(P2PWindowInfo, 1);
    P2PGrantInfoList **tail = &info->grants;
    P2PMember *target = p2p_window_memory(window).member;
    P2PMember *initiator;

    info->bar = window->bar;
    info->offset = window->offset;
    info->size = window->size;
    info->access = window->access;
    info->state = window->state;
    info->has_gpa = window->state == P2P_WINDOW_STATE_MAPPED;
    info->gpa = window->gpa;
    info->cpu_mappable = window->backing != P2P_BACKING_IO;
    if (window->source) {
        info->source = g_new0(P2PWindowSource, 1);
        info->source->target = g_strdup(p2p_device_name(target->dev));
        info->source->bar = window->source->bar;
        info->source->offset = p2p_window_memory(window).offset;
    }
    info->traffic = p2p_traffic(window->traffic);
    info->failed_requests = stat64_get(&window->traffic->failed);
    P2P_FOREACH_MEMBER(initiator, group) {
        if (initiator != target && initiator->dev->p2p.initiate) {
            QAPI_LIST_APPEND(tail, p2p_grant_info(initiator, window));
        }
    }
    return info;
}

static char *p2p_guest_bdf(PCIDevice *dev)
{
    /* QEMU has one PCI segment, but for a few machines of other targets. */
    return g_strdup_printf("0000:%02x:%02x.%x", pci_dev_bus_num(dev),
                           PCI_SLOT(dev->devfn), PCI_FUNC(dev->devfn));
}

static P2PMemberInfo *p2p_member_info(P2PMember *member)
{
    P2PMemberInfo *info = g_new0(P2PMemberInfo, 1);
    P2PWindowInfoList **tail = &info->windows;
    P2PUnsharedInfoList **unshared = &info->unshared;

    info->id = g_strdup(member->dev->qdev.id);
    info->qom_path = object_get_canonical_path(OBJECT(member->dev));
    info->guest_bdf = p2p_guest_bdf(member->dev);
    info->host_bdf = g_strdup(member->host_bdf);
    info->kind = member->passthrough ? P2P_MEMBER_KIND_PASSTHROUGH
                                     : P2P_MEMBER_KIND_EMULATED;
    if (member->passthrough) {
        info->has_back_end = true;
        info->back_end = member->passthrough->backend(member->dev);
    }
    info->initiate = member->dev->p2p.initiate;
    if (member->view) {
        info->has_faults = true;
        info->faults = p2p_view_faults(member->view);
    }
    for (guint i = 0; i < member->windows->len; i++) {
        QAPI_LIST_APPEND(tail, p2p_window_info(member->group,
                             g_ptr_array_index(member->windows, i)));
    }
    for (int bar = 0; bar < PCI_ROM_SLOT; bar++) {
        const char *why = p2p_bar_why_unshared(member, bar);

        if (why) {
            P2PUnsharedInfo *bar_info = g_new0(P2PUnsharedInfo, 1);

            bar_info->bar = bar;
            bar_info->reason = g_strdup(why);
            QAPI_LIST_APPEND(unshared, bar_info);
        }
    }
    return info;
}

P2PGroupInfoList *qmp_query_p2p(Error **errp)
{
    P2PGroupInfoList *list = NULL, **tail = &list;
    P2PGroup *group;
    P2PMember *member;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2PGroupInfo *info = g_new0(P2PGroupInfo, 1);
        P2PMemberInfoList **members = &info->members;

        info->id = g_strdup(p2p_group_id(group));
        info->policy = group->policy;
        info->bus_address = group->bus_address;
        P2P_FOREACH_MEMBER(member, group) {
            QAPI_LIST_APPEND(members, p2p_member_info(member));
        }
        info->stuck = p2p_iommu_stuck_info(group);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* --- Members by name --------------------------------------------------- */

static P2PMember *p2p_find_member(const char *name, Error **errp)
{
    Object *obj = object_resolve_path_type(name, TYPE_PCI_DEVICE, NULL);

    if (!obj) {
        error_setg(errp, "There is no PCI device '%s'", name);
        return NULL;
    }
    if (!PCI_DEVICE(obj)->p2p.member) {
        error_setg(errp, "Device '%s' does not belong to a p2p-group", name);
        return NULL;
    }
    return PCI_DEVICE(obj)->p2p.member;
}

/* --- p2p-share, p2p-unshare -------------------------------------------- */

/* The state would undo it, or has gone where this would not. */
static P2PMember *p2p_find_settled_member(const char *name, Error **errp)
{
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "The machine waits for a state, which says what is "
                   "shared; use this command where the state comes from, or "
                   "here when the migration is done");
        return NULL;
    }
    if (runstate_check(RUN_STATE_FINISH_MIGRATE) ||
        runstate_check(RUN_STATE_POSTMIGRATE)) {
        error_setg(errp, "The machine's state is on its way to another one; "
                   "use this command there when the migration is done");
        return NULL;
    }
    return p2p_find_member(name, errp);
}

void qmp_p2p_share(const char *device, uint8_t bar, bool has_offset,
                   uint64_t offset, bool has_size, uint64_t size,
                   bool has_access, P2PAccess access, Error **errp)
{
    P2PMember *member = p2p_find_settled_member(device, errp);

    if (member) {
        p2p_windows_share(member, bar, has_offset ? offset : 0,
                          has_size ? size : 0,
                          has_access ? access : P2P_ACCESS_RW, errp);
    }
}

/* Whether a guest has been asked to let one of them go, and has not yet. */
static bool p2p_revoke_from_guests(GPtrArray *windows)
{
    bool wait = false;

    for (guint i = 0; i < windows->len; i++) {
        wait |= p2p_bridges_revoke(windows->pdata[i]);
    }
    return wait;
}

typedef struct P2PUnshare {
    const char *device;
    uint8_t bar;
    uint64_t offset, size;
    Error **errp;
    Coroutine *co;
} P2PUnshare;

static void p2p_unshare_bh(void *opaque)
{
    P2PUnshare *unshare = opaque;
    P2PMember *member = p2p_find_settled_member(unshare->device,
                                                unshare->errp);

    if (member) {
        p2p_windows_unshare(member, unshare->bar, unshare->offset,
                            unshare->size, unshare->errp);
    }
    p2p_bridges_revoke_end();
    aio_co_wake(unshare->co);
}

/* Whether to come back: a guest is to let go of windows, or has just done so. */
static bool coroutine_fn p2p_unshare_wait(P2PUnshare *unshare)
{
    /* Anything may have happened meanwhile; the last step says what. */
    P2PMember *member = p2p_find_settled_member(unshare->device, NULL);
    g_autoptr(GPtrArray) windows = member
        ? p2p_windows_to_unshare(member, unshare->bar, unshare->offset,
                                 unshare->size, NULL) : NULL;
    g_autoptr(Object) group = NULL;

    if (!windows || !p2p_revoke_from_guests(windows)) {
        return false;
    }
    group = object_ref(OBJECT(member->group));
    p2p_bridges_wait(member->group);
    return true;
}

void coroutine_fn qmp_p2p_unshare(const char *device, uint8_t bar,
                                  bool has_offset, uint64_t offset,
                                  bool has_size, uint64_t size, Error **errp)
{
    P2PUnshare unshare = {
        .device = device, .bar = bar, .offset = has_offset ? offset : 0,
        .size = has_size ? size : 0, .errp = errp,
        .co = qemu_coroutine_self(),
    };

    while (p2p_unshare_wait(&unshare)) {
        /* The guest has answered, or its time is over. */
    }
    /* Drives are told of mappings that go, and not by a coroutine. */
    aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_unshare_bh, &unshare);
    qemu_coroutine_yield();
}

/* --- p2p-translate ----------------------------------------------------- */

static uint32_t p2p_vector_flags(P2PVectorFlagList *flags)
{
    static const uint32_t values[P2P_VECTOR_FLAG__MAX] = {
        [P2P_VECTOR_FLAG_READ] = P2P_VEC_READ,
        [P2P_VECTOR_FLAG_WRITE] = P2P_VEC_WRITE,
        [P2P_VECTOR_FLAG_NO_MERGE] = P2P_VEC_NO_MERGE,
        [P2P_VECTOR_FLAG_MUST_BE_IO] = P2P_VEC_MUST_BE_IO,
        [P2P_VECTOR_FLAG_MUST_BE_RAM] = P2P_VEC_MUST_BE_RAM,
    };
    uint32_t result = 0;

    for (; flags; flags = flags->next) {
        result |= values[flags->value];
    }
    return result;
}

static GArray *p2p_guest_vector(P2PGuestEntryList *list, Error **errp)
{
    g_autoptr(GArray) vector = g_array_new(false, false, sizeof(P2PGuestVec));

    for (; list; list = list->next) {
        P2PGuestVec entry = {
            .addr.gpa = list->value->gpa,
            .len = list->value->len,
            .flags = p2p_vector_flags(list->value->flags),
        };

        if (vector->len == P2P_TRANSLATE_MAX) {
            error_setg(errp, "Parameter 'vector' has more than %d entries",
                       P2P_TRANSLATE_MAX);
            return NULL;
        }
        if (list->value->len > UINT32_MAX) {
            error_setg(errp, "Entry %u: len %" PRIu64 " is more than %u, "
                       "split the entry", vector->len, list->value->len,
                       UINT32_MAX);
            return NULL;
        }
        g_array_append_val(vector, entry);
    }
    if (!vector->len) {
        error_setg(errp, "Parameter 'vector' needs at least one entry");
        return NULL;
    }
    return g_steal_pointer(&vector);
}

static P2PBusEntry *p2p_bus_entry(const P2PBusVec *vec)
{
    P2PBusEntry *entry = g_new0(P2PBusEntry, 1);

    entry->bus_address = vec->addr.bus;
    entry->len = vec->len;
    entry->memory = vec->flags & P2P_VEC_IO ? P2P_MEMORY_IO : P2P_MEMORY_RAM;
    entry->map_type = p2p_qapi_map_type(p2p_vec_map_type(vec->flags));
    entry->self = vec->flags & P2P_VEC_SELF;
    return entry;
}

P2PTranslation *qmp_p2p_translate(const char *initiator,
                                  P2PGuestEntryList *vector, Error **errp)
{
    P2PMember *member = p2p_find_member(initiator, errp);
    g_autoptr(GArray) in = NULL;
    g_autofree P2PBusVec *out = NULL;
    P2PTranslation *result;
    P2PBusEntryList **tail;
    P2PMapSnapshot *snapshot;
    P2PFault fault;
    size_t n = 0;
    int ret;

    if (!member) {
        return NULL;
    }
    in = p2p_guest_vector(vector, errp);
    if (!in) {
        return NULL;
    }

    RCU_READ_LOCK_GUARD();
    snapshot = qatomic_rcu_read(&member->group->snapshot);
    ret = p2p_translate(snapshot->map, member->index,
                        (P2PGuestVec *)in->data, in->len, NULL, &n, &fault);
    if (ret == -ENOSPC) {
        out = g_new(P2PBusVec, n);
        ret = p2p_translate(snapshot->map, member->index,
                            (P2PGuestVec *)in->data, in->len, out, &n,
                            &fault);
    }

    result = g_new0(P2PTranslation, 1);
    if (ret) {
        result->fault = g_new0(P2PTranslationFault, 1);
        result->fault->index = fault.index;
        result->fault->gpa = fault.addr.gpa;
        result->fault->q_errno = -ret;
        result->fault->reason = g_strdup(p2p_fault_reason_str(fault.reason));
        return result;
    }
    tail = &result->vector;
    for (size_t i = 0; i < n; i++) {
        QAPI_LIST_APPEND(tail, p2p_bus_entry(&out[i]));
    }
    return result;
}

/* --- info p2p ---------------------------------------------------------- */

static void p2p_print_drive_path(Monitor *mon, const char *drive,
                                 const char *what, P2PDrivePath *path)
{
    monitor_printf(mon, "        drive %s %s: %s, because %s\n", drive, what,
                   P2PDataPath_str(path->data_path), path->reason);
}

static void p2p_print_grant(Monitor *mon, P2PGrantInfo *grant)
{
    monitor_printf(mon, "      %-16s %-13s %s", grant->initiator,
                   grant->installed ? "installed" : "not installed",
                   P2PGrantMapType_str(grant->map_type));
    if (grant->has_path) {
        monitor_printf(mon, ", path %s", P2PGrantPath_str(grant->path));
    }
    monitor_printf(mon, ", %" PRIu64 " maps, %" PRIu64 " unmaps, %" PRIu64
                   " failures", grant->maps, grant->unmaps,
                   grant->failures);
    if (grant->has_requests) {
        g_autofree char *bytes = size_to_str(grant->bytes);

        monitor_printf(mon, ", %" PRIu64 " requests, %s", grant->requests,
                       bytes);
    }
    monitor_printf(mon, "\n");
    for (P2PDriveInfoList *d = grant->drives; d; d = d->next) {
        p2p_print_drive_path(mon, d->value->drive, "reads", d->value->read);
        p2p_print_drive_path(mon, d->value->drive, "writes", d->value->write);
    }
    if (grant->reason) {
        monitor_printf(mon, "        because %s\n", grant->reason);
    }
    if (grant->has_stuck) {
        monitor_printf(mon, "        %" PRIu64 " bytes could not be taken out "
                       "of the IOMMU\n", grant->stuck);
    }
    if (grant->has_routed && !grant->routed) {
        monitor_printf(mon, "        not routed by the host: %s\n",
                       grant->path_reason);
    }
}

static void p2p_print_window(Monitor *mon, P2PWindowInfo *window)
{
    g_autofree char *size = size_to_str(window->size);

    monitor_printf(mon, "    BAR %d offset 0x%" PRIx64 " size %s %s ",
                   window->bar, window->offset, size,
                   P2PAccess_str(window->access));
    if (window->has_gpa) {
        monitor_printf(mon, "at 0x%016" PRIx64 "\n", window->gpa);
    } else {
        monitor_printf(mon, "%s\n", P2PWindowState_str(window->state));
    }
    if (window->source) {
        monitor_printf(mon, "      shows BAR %d of %s offset 0x%" PRIx64 "\n",
                       window->source->bar, window->source->target,
                       window->source->offset);
    }
    for (P2PTrafficInfoList *t = window->traffic; t; t = t->next) {
        if (t->value->requests) {
            g_autofree char *bytes = size_to_str(t->value->bytes);

            monitor_printf(mon, "      %s: %" PRIu64 " requests, %s\n",
                           P2PDataPath_str(t->value->data_path),
                           t->value->requests, bytes);
        }
    }
    if (window->failed_requests) {
        monitor_printf(mon, "      failed: %" PRIu64 " requests\n",
                       window->failed_requests);
    }
    for (P2PGrantInfoList *g = window->grants; g; g = g->next) {
        p2p_print_grant(mon, g->value);
    }
}

static void p2p_print_member(Monitor *mon, P2PMemberInfo *member)
{
    monitor_printf(mon, "  %s: guest %s, ", member->id ?: member->qom_path,
                   member->guest_bdf);
    if (member->host_bdf) {
        monitor_printf(mon, "host %s, ", member->host_bdf);
    }
    monitor_printf(mon, "%s%s%s%s", P2PMemberKind_str(member->kind),
                   member->has_back_end ? " by " : "",
                   member->has_back_end ? P2PBackEnd_str(member->back_end)
                                        : "",
                   member->initiate ? "" : ", target only");
    if (member->faults) {
        monitor_printf(mon, ", %" PRIu64 " faults", member->faults);
    }
    monitor_printf(mon, "\n");
    for (P2PUnsharedInfoList *u = member->unshared; u; u = u->next) {
        monitor_printf(mon, "    BAR %d not shared: %s\n", u->value->bar,
                       u->value->reason);
    }
    for (P2PWindowInfoList *w = member->windows; w; w = w->next) {
        p2p_print_window(mon, w->value);
    }
}

static void p2p_print_stuck(Monitor *mon, P2PStuckInfo *stuck)
{
    g_autofree char *size = size_to_str(stuck->size);

    monitor_printf(mon, "  stuck: BAR %d of %s offset 0x%" PRIx64 " size %s at "
                   "0x%016" PRIx64 ", no longer shared, but\n"
                   "    the host could not take it out of the IOMMU (%s), and "
                   "these may still reach it:", stuck->bar, stuck->target,
                   stuck->offset, size, stuck->gpa, strerror(stuck->q_errno));
    for (strList *i = stuck->initiators; i; i = i->next) {
        monitor_printf(mon, " %s", i->value);
    }
    monitor_printf(mon, "\n");
}

static void hmp_info_p2p(Monitor *mon, const QDict *qdict)
{
    g_autoptr(P2PGroupInfoList) groups = qmp_query_p2p(NULL);

    if (!groups) {
        monitor_printf(mon, "No p2p-group\n");
    }
    for (P2PGroupInfoList *g = groups; g; g = g->next) {
        monitor_printf(mon, "Group %s: policy %s, bus-address %s\n",
                       g->value->id, P2PPolicy_str(g->value->policy),
                       g->value->bus_address ? "on" : "off");
        for (P2PMemberInfoList *m = g->value->members; m; m = m->next) {
            p2p_print_member(mon, m->value);
        }
        for (P2PStuckInfoList *s = g->value->stuck; s; s = s->next) {
            p2p_print_stuck(mon, s->value);
        }
    }
}

static void p2p_monitor_register(void)
{
    monitor_register_hmp("p2p", true, hmp_info_p2p);
}

type_init(p2p_monitor_register)
