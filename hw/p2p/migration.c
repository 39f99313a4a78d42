/*
 * Migration: what of a group goes to another QEMU, and who cannot go
 *
 * What is transferred names windows by device, BAR and range; where they are
 * in guest memory is the devices' own state, and host addresses are nobody's
 * business. It comes after the state of the devices, so that the windows are
 * at their places when the grants are looked at.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "migration/blocker.h"
#include "migration/qemu-file-types.h"
#include "migration/register.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/range.h"
#include "system/runstate.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/* --- The state of a group ---------------------------------------------- */

/* QEMU has no limit for an id; a QOM path can be long. */
#define P2P_NAME_MAX 1024

typedef struct P2PSavedWindow {
    uint8_t bar;
    uint8_t access;         /* P2PAccess */
    uint64_t offset;
    uint64_t size;
    uint64_t installed;     /* whose grants are, by index in P2PSaved.members */
} P2PSavedWindow;

typedef struct P2PSavedMember {
    char *name;             /* as p2p_device_name() has it */
    char *path;             /* slots on the way to it */
    bool initiate;
    int32_t n_windows;
    P2PSavedWindow *windows;    /* room for all that a member may have */
    P2PMember *member;      /* of this machine; NULL: not found, or left */
} P2PSavedMember;

struct P2PSaved {
    P2PGroup *group;
    bool loaded;                /* by the last stream */
    bool pending;               /* grants are still to be looked at */
    int32_t n_members;
    P2PSavedMember *members;    /* room for all of a group; or NULL */
};

static void p2p_saved_clear(P2PSaved *saved)
{
    for (int i = 0; saved->members && i < P2P_MAX_INITIATORS; i++) {
        g_free(saved->members[i].name);
        g_free(saved->members[i].path);
        g_free(saved->members[i].windows);
    }
    g_free(saved->members);
    saved->members = NULL;
    saved->n_members = 0;
    saved->pending = false;
}

static void p2p_saved_reset(P2PSaved *saved)
{
    p2p_saved_clear(saved);
    saved->members = g_new0(P2PSavedMember, P2P_MAX_INITIATORS);
    for (int i = 0; i < P2P_MAX_INITIATORS; i++) {
        saved->members[i].windows = g_new0(P2PSavedWindow,
                                           P2P_MAX_WINDOWS_PER_MEMBER);
    }
}

/* --- Save -------------------------------------------------------------- */

static uint64_t p2p_saved_installed(P2PGroup *group, P2PBarWindow *window)
{
    uint64_t installed = 0;
    unsigned at = 0;
    P2PMember *initiator;

    P2P_FOREACH_MEMBER(initiator, group) {
        if (window->grants[initiator->index].installed) {
            installed |= 1ULL << at;
        }
        at++;
    }
    return installed;
}

static void p2p_saved_fill(P2PSaved *saved)
{
    P2PMember *member;

    p2p_saved_reset(saved);
    P2P_FOREACH_MEMBER(member, saved->group) {
        P2PSavedMember *m = &saved->members[saved->n_members++];

        m->name = g_strdup(p2p_device_name(member->dev));
        m->path = qdev_get_dev_path(DEVICE(member->dev));
        m->initiate = member->dev->p2p.initiate;
        for (guint i = 0; i < member->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(member->windows, i);

            /* A bridge has its own words for those in its aperture. */
            if (window->source) {
                continue;
            }
            m->windows[m->n_windows++] = (P2PSavedWindow) {
                .bar = window->bar,
                .access = window->access,
                .offset = window->offset,
                .size = window->size,
                .installed = p2p_saved_installed(saved->group, window),
            };
        }
    }
}

static bool p2p_saved_pre_save(void *opaque, Error **errp)
{
    P2PSaved *saved = opaque;
    PCIDevice *dev = p2p_quiesce_waiting();

    /* No device model has a word for it in its own state. */
    if (dev) {
        error_setg(errp, "p2p-group '%s': %s has a request for a window that "
                   "came after the machine had stopped, and would be lost; "
                   "let the machine run (cont), and try again",
                   p2p_group_id(saved->group), p2p_device_name(dev));
        return false;
    }
    p2p_saved_fill(saved);
    return true;
}

static int p2p_saved_post_save(void *opaque)
{
    p2p_saved_clear(opaque);
    return 0;
}

/* --- Load -------------------------------------------------------------- */

static P2PMember *p2p_find_member(P2PGroup *group, const char *name)
{
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        if (g_str_equal(p2p_device_name(member->dev), name)) {
            return member;
        }
    }
    return NULL;
}

static P2PSavedMember *p2p_saved_find(P2PSaved *saved, P2PMember *member)
{
    for (int i = 0; i < saved->n_members; i++) {
        if (saved->members[i].member == member) {
            return &saved->members[i];
        }
    }
    return NULL;
}

static bool p2p_saved_check_window(P2PSavedMember *m, const P2PSavedWindow *w,
                                   Error **errp)
{
    uint64_t page = qemu_real_host_page_size();

    if (w->bar < PCI_ROM_SLOT && w->access < P2P_ACCESS__MAX && w->size &&
        w->offset + w->size > w->offset) {
        if (QEMU_IS_ALIGNED(w->offset | w->size, page)) {
            return true;
        }
        error_setg(errp, "the window 0x%" PRIx64 "-0x%" PRIx64 " of BAR %u of "
                   "%s is not a multiple of this host's page size of %" PRIu64,
                   w->offset, w->offset + w->size, w->bar, m->name, page);
        return false;
    }
    error_setg(errp, "a window of %s makes no sense: BAR %u, offset 0x%" PRIx64
               ", size 0x%" PRIx64 ", access %u", m->name, w->bar, w->offset,
               w->size, w->access);
    return false;
}

static bool p2p_saved_check_windows(P2PSavedMember *m, Error **errp)
{
    for (int i = 0; i < m->n_windows; i++) {
        const P2PSavedWindow *a = &m->windows[i];

        if (!p2p_saved_check_window(m, a, errp)) {
            return false;
        }
        for (int j = 0; j < i; j++) {
            const P2PSavedWindow *b = &m->windows[j];

            if (a->bar == b->bar &&
                ranges_overlap(a->offset, a->size, b->offset, b->size)) {
                error_setg(errp, "windows of BAR %u of %s overlap", a->bar,
                           m->name);
                return false;
            }
        }
    }
    return true;
}

/* @m is @member here, too. */
static bool p2p_saved_check_member(P2PSavedMember *m, P2PMember *member,
                                   Error **errp)
{
    g_autofree char *path = qdev_get_dev_path(DEVICE(member->dev));

    if (!g_str_equal(m->path, path)) {
        error_setg(errp, "%s is at %s here, and at %s where the state comes "
                   "from; give each device the same id= and addr= on both "
                   "sides", m->name, path, m->path);
        return false;
    }
    if (m->initiate != member->dev->p2p.initiate) {
        error_setg(errp, "%s has p2p-initiate=%s here, and %s where the "
                   "state comes from; it must be the same on both sides",
                   m->name, member->dev->p2p.initiate ? "on" : "off",
                   m->initiate ? "on" : "off");
        return false;
    }
    return p2p_saved_check_windows(m, errp);
}

/* Both sides have the same members, and each window could be one. */
static bool p2p_saved_check(P2PSaved *saved, Error **errp)
{
    P2PMember *member;

    for (int i = 0; i < saved->n_members; i++) {
        P2PSavedMember *m = &saved->members[i];

        member = p2p_find_member(saved->group, m->name);
        if (!member || p2p_saved_find(saved, member)) {
            error_setg(errp, "%s, which belongs to the group where the state "
                       "comes from, %s; give the devices the same id= and "
                       "p2p-group= on both sides", m->name,
                       member ? "is named twice" : "does not here");
            return false;
        }
        m->member = member;
        if (!p2p_saved_check_member(m, member, errp)) {
            return false;
        }
    }
    P2P_FOREACH_MEMBER(member, saved->group) {
        if (!p2p_saved_find(saved, member)) {
            error_setg(errp, "%s belongs to the group here, and not where the "
                       "state comes from; %s", p2p_device_name(member->dev),
                       runstate_check(RUN_STATE_INMIGRATE)
                       ? "leave its p2p-group= out" : "unplug it first");
            return false;
        }
    }
    return true;
}

static P2PBarWindow *p2p_find_window(P2PMember *member,
                                     const P2PSavedWindow *w)
{
    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(member->windows, i);

        if (window->bar == w->bar && window->offset == w->offset &&
            window->size == w->size && window->access == w->access) {
            return window;
        }
    }
    return NULL;
}

static bool p2p_saved_has(P2PSavedMember *m, P2PBarWindow *window)
{
    for (int i = 0; i < m->n_windows; i++) {
        if (p2p_find_window(m->member, &m->windows[i]) == window) {
            return true;
        }
    }
    return false;
}

/* What p2p-unshare did on the other side, or p2p-share= did only here. */
static bool p2p_saved_unshare(P2PSavedMember *m, Error **errp)
{
    GPtrArray *windows = m->member->windows;

    for (guint i = 0; i < windows->len; ) {
        P2PBarWindow *window = g_ptr_array_index(windows, i);
        uint8_t bar = BIT(window->bar);

        if (window->source || p2p_saved_has(m, window)) {
            i++;
            continue;
        }
        trace_p2p_load_window(m->name, window->bar, window->offset,
                              window->size, "ends");
        if (!p2p_windows_unshare(m->member, window->bar, window->offset,
                                 window->size, errp)) {
            return false;
        }
        m->member->unloaded_bars |= bar;
    }
    return true;
}

/* A window that cannot be is the same as a grant that cannot be installed. */
static bool p2p_saved_share(P2PSavedMember *m, Error **errp)
{
    P2PGroup *group = m->member->group;

    for (int i = 0; i < m->n_windows; i++) {
        P2PSavedWindow *w = &m->windows[i];
        Error *err = NULL;

        if (p2p_find_window(m->member, w)) {
            continue;
        }
        trace_p2p_load_window(m->name, w->bar, w->offset, w->size, "begins");
        if (p2p_windows_share(m->member, w->bar, w->offset, w->size, w->access,
                              &err)) {
            continue;
        }
        if (group->policy == P2P_POLICY_REQUIRE) {
            error_propagate_prepend(errp, err, "policy=require, and the range "
                                    "0x%" PRIx64 "-0x%" PRIx64 " of BAR %u of "
                                    "%s cannot be shared here: ", w->offset,
                                    w->offset + w->size, w->bar, m->name);
            return false;
        }
        warn_report("p2p-group '%s': only P2P to the range 0x%" PRIx64
                    "-0x%" PRIx64 " of BAR %u of %s is unavailable here, the "
                    "devices work: %s", p2p_group_id(group), w->offset,
                    w->offset + w->size, w->bar, m->name,
                    error_get_pretty(err));
        error_free(err);
    }
    return true;
}

/*
 * Whether there is again what was there: @final, or else windows that have no
 * address yet are left for later, as a device may still be at work on its own
 * state. False: policy=require.
 */
static bool p2p_saved_check_grants(P2PSaved *saved, bool final, Error **errp)
{
    P2PGroup *group = saved->group;
    bool require = group->policy == P2P_POLICY_REQUIRE;

    saved->pending = false;
    for (int i = 0; i < saved->n_members; i++) {
        P2PSavedMember *owner = &saved->members[i];

        for (int j = 0; j < owner->n_windows * P2P_MAX_INITIATORS; j++) {
            P2PSavedWindow *w = &owner->windows[j / P2P_MAX_INITIATORS];
            int from = j % P2P_MAX_INITIATORS;
            P2PBarWindow *window = owner->member
                                   ? p2p_find_window(owner->member, w) : NULL;
            P2PSavedMember *initiator = &saved->members[from];
            P2PGrant *grant;

            /* That a device reaches itself is no business of the group. */
            if (!(w->installed & 1ULL << from) || from >= saved->n_members ||
                from == i || !window || !initiator->member) {
                continue;
            }
            grant = &window->grants[initiator->member->index];
            if (grant->installed) {
                continue;
            }
            if (!final && window->state == P2P_WINDOW_STATE_UNMAPPED) {
                saved->pending = true;
                continue;
            }
            if (require) {
                error_setg(errp, "policy=require, and %s cannot reach BAR %u "
                           "of %s here, as it could where the state comes "
                           "from: %s; with policy=auto the machine goes on "
                           "without it", initiator->name, w->bar, owner->name,
                           grant->reason ?: "not known");
                return false;
            }
            warn_report("p2p-group '%s': only P2P from %s to BAR %u of %s, "
                        "which worked where the state comes from, is "
                        "unavailable here; the devices work: %s",
                        p2p_group_id(group), initiator->name, w->bar,
                        owner->name, grant->reason ?: "not known");
        }
    }
    return true;
}

static int p2p_saved_pre_load(void *opaque)
{
    p2p_saved_reset(opaque);
    return 0;
}

static bool p2p_saved_apply(P2PSaved *saved, Error **errp)
{
    /* The devices come first in the stream. */
    p2p_iommu_set_waiting(false);
    p2p_update();
    if (!p2p_saved_check(saved, errp)) {
        return false;
    }
    for (int i = 0; i < saved->n_members; i++) {
        if (!p2p_saved_unshare(&saved->members[i], errp)) {
            return false;
        }
    }
    for (int i = 0; i < saved->n_members; i++) {
        if (!p2p_saved_share(&saved->members[i], errp)) {
            return false;
        }
    }
    return p2p_saved_check_grants(saved, false, errp);
}

typedef struct P2PApply {
    P2PSaved *saved;
    Error **errp;
    bool ok;
    Coroutine *co;
} P2PApply;

static void p2p_saved_apply_bh(void *opaque)
{
    P2PApply *apply = opaque;

    apply->ok = p2p_saved_apply(apply->saved, apply->errp);
    aio_co_wake(apply->co);
}

/* Drives are told of mappings that come and go, and not by a coroutine. */
static bool coroutine_mixed_fn p2p_saved_apply_mixed(P2PSaved *saved,
                                                     Error **errp)
{
    P2PApply apply = { .saved = saved, .errp = errp };

    if (!qemu_in_coroutine()) {
        return p2p_saved_apply(saved, errp);
    }
    apply.co = qemu_coroutine_self();
    aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_saved_apply_bh,
                            &apply);
    qemu_coroutine_yield();
    return apply.ok;
}

static bool p2p_saved_post_load(void *opaque, int version_id, Error **errp)
{
    P2PSaved *saved = opaque;
    ERRP_GUARD();
    bool ok = p2p_saved_apply_mixed(saved, errp);

    saved->loaded = ok;
    trace_p2p_load(p2p_group_id(saved->group), saved->n_members, ok);
    if (!ok) {
        error_prepend(errp, "p2p-group '%s': ", p2p_group_id(saved->group));
    }
    if (!ok || !saved->pending) {
        p2p_saved_clear(saved);
    }
    return ok;
}

/* --- As QEMU wants it described ---------------------------------------- */

static int p2p_name_put(QEMUFile *f, void *pv, size_t size,
                        const VMStateField *field, JSONWriter *vmdesc)
{
    const char *name = *(char **)pv;

    qemu_put_be32(f, strlen(name));
    qemu_put_buffer(f, (const uint8_t *)name, strlen(name));
    return 0;
}

static int p2p_name_get(QEMUFile *f, void *pv, size_t size,
                        const VMStateField *field)
{
    uint32_t len = qemu_get_be32(f);
    char *name;

    if (!len || len > P2P_NAME_MAX) {
        error_report("p2p-group: a device's name with %" PRIu32 " bytes", len);
        return -EINVAL;
    }
    name = g_malloc0(len + 1);
    g_free(*(char **)pv);
    *(char **)pv = name;
    if (qemu_get_buffer(f, (uint8_t *)name, len) != len) {
        return -EIO;
    }
    /* It is printed. */
    if (strlen(name) != len || !g_utf8_validate(name, len, NULL)) {
        error_report("p2p-group: a device's name is no text");
        return -EINVAL;
    }
    return 0;
}

static const VMStateInfo p2p_name_info = {
    .name = "p2p-name",
    .get = p2p_name_get,
    .put = p2p_name_put,
};

static const VMStateDescription p2p_saved_window_vmsd = {
    .name = "p2p-window",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT8(bar, P2PSavedWindow),
        VMSTATE_UINT8(access, P2PSavedWindow),
        VMSTATE_UINT64(offset, P2PSavedWindow),
        VMSTATE_UINT64(size, P2PSavedWindow),
        VMSTATE_UINT64(installed, P2PSavedWindow),
        VMSTATE_END_OF_LIST()
    },
};

static bool p2p_saved_windows_fit(void *opaque, int version_id)
{
    P2PSavedMember *m = opaque;

    return m->n_windows >= 0 && m->n_windows <= P2P_MAX_WINDOWS_PER_MEMBER;
}

static const VMStateDescription p2p_saved_member_vmsd = {
    .name = "p2p-member",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_SINGLE(name, P2PSavedMember, 0, p2p_name_info, char *),
        VMSTATE_BOOL(initiate, P2PSavedMember),
        VMSTATE_INT32(n_windows, P2PSavedMember),
        VMSTATE_VALIDATE("number of windows", p2p_saved_windows_fit),
        VMSTATE_STRUCT_VARRAY_POINTER_INT32(windows, P2PSavedMember, n_windows,
                                            p2p_saved_window_vmsd,
                                            P2PSavedWindow),
        VMSTATE_SINGLE(path, P2PSavedMember, 0, p2p_name_info, char *),
        VMSTATE_END_OF_LIST()
    },
};

static bool p2p_saved_needed(void *opaque)
{
    return p2p_group_next(((P2PSaved *)opaque)->group, NULL);
}

static bool p2p_saved_members_fit(void *opaque, int version_id)
{
    P2PSaved *saved = opaque;

    return saved->n_members > 0 && saved->n_members <= P2P_MAX_INITIATORS;
}

P2P_VMSTATE_HOOKS(p2p_saved_pre_save, p2p_saved_post_load)

static const VMStateDescription p2p_saved_vmsd = {
    .name = "p2p-group",
    .version_id = 2,
    .minimum_version_id = 2,    /* with paths */
    P2P_VMSTATE_LAST,
    .needed = p2p_saved_needed,
    P2P_VMSTATE_PRE_SAVE(p2p_saved_pre_save),
    .post_save = p2p_saved_post_save,
    .pre_load = p2p_saved_pre_load,
    P2P_VMSTATE_POST_LOAD(p2p_saved_post_load),
    .fields = (const VMStateField[]) {
        VMSTATE_INT32(n_members, P2PSaved),
        VMSTATE_VALIDATE("number of members", p2p_saved_members_fit),
        VMSTATE_STRUCT_VARRAY_POINTER_INT32(members, P2PSaved, n_members,
                                            p2p_saved_member_vmsd,
                                            P2PSavedMember),
        VMSTATE_END_OF_LIST()
    },
};

/* --- Before and after a state is loaded -------------------------------- */

/* A state has been loaded since the machine ran, or at least begun to be. */
static bool p2p_load_begun;

static int p2p_load_setup(QEMUFile *f, void *opaque, Error **errp)
{
    P2PGroup *group;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        group->saved->loaded = false;
    }
    p2p_load_begun = true;
    p2p_quiesce_set_loading(true);
    p2p_iommu_set_waiting(true);
    return 0;
}

static void p2p_load_ended(void *opaque)
{
    p2p_update();
}

static int p2p_load_cleanup(void *opaque)
{
    p2p_quiesce_set_loading(false);
    if (p2p_iommu_is_waiting()) {
        /* No group was in it. */
        p2p_iommu_set_waiting(false);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_load_ended, NULL);
    }
    return 0;
}

/* Nothing of it is in the stream. */
static const SaveVMHandlers p2p_load_handlers = {
    .load_setup = p2p_load_setup,
    .load_cleanup = p2p_load_cleanup,
};

static void p2p_member_settle(P2PMember *member)
{
    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(member->windows, i);

        if (window->mapping) {
            p2p_bar_mapping_settle(window->mapping);
        }
    }
}

/* Its members could reach more there, which nobody can refuse for them. */
static void p2p_group_check_loaded(P2PGroup *group)
{
    if (p2p_load_begun && !group->saved->loaded &&
        p2p_group_next(group, NULL)) {
        warn_report("p2p-group '%s': the state that was loaded has no such "
                    "group: its members are confined to it from now on, and "
                    "lose what it does not grant; start QEMU with the group on "
                    "both sides, or on neither", p2p_group_id(group));
    }
}

/* Too late to say no: the machine stops again. */
void p2p_migration_before_run(void)
{
    P2PGroup *group;

    p2p_quiesce_set_loading(false);
    if (p2p_iommu_is_waiting()) {
        p2p_iommu_set_waiting(false);
        p2p_update();
    }
    QTAILQ_FOREACH(group, &p2p_groups, next) {
        Error *err = NULL;
        P2PMember *member;

        p2p_group_check_loaded(group);
        p2p_bridges_before_run(group);
        P2P_FOREACH_MEMBER(member, group) {
            p2p_member_settle(member);
        }
        if (!group->saved->pending) {
            continue;
        }
        if (!p2p_saved_check_grants(group->saved, true, &err)) {
            error_reportf_err(err, "p2p-group '%s': the machine stops: ",
                              p2p_group_id(group));
            qemu_system_vmstop_request_prepare();
            qemu_system_vmstop_request(RUN_STATE_INTERNAL_ERROR);
        }
        p2p_saved_clear(group->saved);
    }
    p2p_load_begun = false;
}

static bool p2p_saved_register(P2PSaved *saved, Error **errp)
{
    return vmstate_register_with_alias_id(VMSTATE_IF(saved->group),
                                          VMSTATE_INSTANCE_ID_ANY,
                                          &p2p_saved_vmsd, saved, -1, 0,
                                          errp) >= 0;
}

/*
 * Where there is no priority for it, the order of registration is that of the
 * stream. A device is registered when it has been realized.
 */
static void p2p_saved_reorder(void *opaque)
{
    P2PGroup *group;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        vmstate_unregister(VMSTATE_IF(group), &p2p_saved_vmsd, group->saved);
        p2p_saved_register(group->saved, &error_abort);
    }
}

bool p2p_migration_begin(P2PGroup *group, Error **errp)
{
    P2PSaved *saved = g_new0(P2PSaved, 1);

    saved->group = group;
    if (!p2p_saved_register(saved, errp)) {
        g_free(saved);
        return false;
    }
    group->saved = saved;
    if (QTAILQ_EMPTY(&p2p_groups)) {
        register_savevm_live("p2p", VMSTATE_INSTANCE_ID_ANY, 1,
                             &p2p_load_handlers, &p2p_groups);
    }
    p2p_quiesce_begin();
    return true;
}

void p2p_migration_end(P2PGroup *group)
{
    p2p_quiesce_end();
    if (QTAILQ_EMPTY(&p2p_groups)) {
        unregister_savevm(NULL, "p2p", &p2p_groups);
    }
    vmstate_unregister(VMSTATE_IF(group), &p2p_saved_vmsd, group->saved);
    p2p_saved_clear(group->saved);
    g_free(group->saved);
    group->saved = NULL;
}

/* --- Who cannot go ----------------------------------------------------- */

static bool p2p_member_is_vfio_user(P2PMember *member)
{
    return object_dynamic_cast(OBJECT(member->dev), "vfio-user-pci");
}

bool p2p_migration_join(P2PMember *member, Error **errp)
{
    const char *name = p2p_device_name(member->dev);

    /* It would arrive without the state of its device. */
    if (p2p_member_is_vfio_user(member)) {
        error_setg(&member->no_migration, "%s: the state of a vfio-user "
                   "device cannot be transferred; unplug it first", name);
        if (migrate_add_blocker(&member->no_migration, errp) < 0) {
            return false;
        }
    }
    /* The mappings of the IOMMU are handed on, and nobody asks the group. */
    if (member->passthrough) {
        error_setg(&member->no_cpr, "%s: p2p-group: only the modes normal and "
                   "cpr-reboot install the grants anew on the other side",
                   name);
        if (p2p_block_cpr(&member->no_cpr, errp) < 0) {
            return false;
        }
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_saved_reorder, NULL);
    return true;
}

void p2p_migration_leave(P2PMember *member)
{
    P2PSaved *saved = member->group->saved;

    migrate_del_blocker(&member->no_migration);
    migrate_del_blocker(&member->no_cpr);
    for (int i = 0; saved && i < saved->n_members; i++) {
        if (saved->members[i].member == member) {
            saved->members[i].member = NULL;
        }
    }
}
