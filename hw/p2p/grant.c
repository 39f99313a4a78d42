/*
 * Grants: who can reach which window now, and if not, why
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/qapi-events-p2p.h"
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/timer.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "hw/p2p/internal.h"
#include "trace.h"

const void *p2p_member_container(P2PMember *member)
{
    return member->passthrough ? member->passthrough->container(member->dev)
                               : (const void *)member->view;
}

P2PInstall *p2p_member_install(P2PMember *member, P2PBarWindow *window)
{
    const void *container = p2p_member_container(member);

    return container ? p2p_window_install(window, container) : NULL;
}

void p2p_grant_clear(P2PGrant *grant)
{
    g_free(grant->reason);
    g_free(grant->told_reason);
    if (grant->has_path) {
        p2p_path_clear(&grant->path);
    }
    *grant = (P2PGrant) { 0 };
}

/* --- Verdict ----------------------------------------------------------- */

char *p2p_grant_map_error(P2PMember *initiator, int err)
{
    const char *hint = initiator->passthrough->map_hint(initiator->dev, err);

    /* The words for ENOTTY, "inappropriate ioctl", only confuse. */
    if (err == ENOTTY && *hint) {
        return g_strdup_printf("the host could not map it: %s",
                               hint + strlen("; "));
    }
    if (err == EMFILE && !*hint) {
        hint = "; QEMU may open more files with ulimit -n, or a service's "
               "LimitNOFILE=";
    }
    return g_strdup_printf("the host could not map it: %s%s", strerror(err),
                           hint);
}

/* Of a window that a passthrough initiator would have to reach. */
static P2PObstacle p2p_grant_obstacle_iommu(P2PMember *initiator,
                                            P2PBarWindow *window)
{
    P2PInstall *install = p2p_member_install(initiator, window);
    P2PObstacle place;

    if (window->backing == P2P_BACKING_IO) {
        return (P2PObstacle) { P2P_OBSTACLE_NO_CPU_MAPPING };
    }
    if (install && install->stuck) {
        return (P2PObstacle) { P2P_OBSTACLE_STUCK, install->last_errno,
                               install->gpa };
    }
    if (install && install->failed) {
        return (P2PObstacle) { P2P_OBSTACLE_MAP_ERROR, install->last_errno };
    }
    if (install && install->mapped) {
        return (P2PObstacle) { P2P_OBSTACLE_NONE };
    }
    place = p2p_iommu_place(initiator, window);
    return place.kind != P2P_OBSTACLE_NONE
           ? place : (P2PObstacle) { P2P_OBSTACLE_NO_CONTAINER };
}

static P2PObstacle p2p_grant_obstacle(P2PMember *initiator,
                                      P2PBarWindow *window)
{
    P2PMember *owner = window->owner;

    if (window->state == P2P_WINDOW_STATE_UNMAPPED) {
        return (P2PObstacle) { P2P_OBSTACLE_NOT_DECODED };
    }
    if (window->state == P2P_WINDOW_STATE_HIDDEN) {
        bool intx = owner->passthrough &&
                    p2p_passthrough_mapping_suspended(owner->dev, window->bar);

        return (P2PObstacle) { intx ? P2P_OBSTACLE_INTX
                                    : P2P_OBSTACLE_HIDDEN };
    }
    if (initiator->passthrough) {
        return p2p_grant_obstacle_iommu(initiator, window);
    }
    return (P2PObstacle) { p2p_window_fits_view(window)
                           ? P2P_OBSTACLE_NONE : P2P_OBSTACLE_NO_MAPPING };
}

char *p2p_obstacle_reason(P2PObstacle obstacle, P2PMember *initiator,
                          P2PBarWindow *window)
{
    const char *name = p2p_device_name(window->owner->dev);

    switch (obstacle.kind) {
    case P2P_OBSTACLE_UNKNOWN:
    case P2P_OBSTACLE_NONE:
        break;
    case P2P_OBSTACLE_NOT_DECODED:
        return g_strdup_printf("BAR %d of %s is not decoded: it has no "
                               "address, memory decode is off, or the device "
                               "is not in D0", window->bar, name);
    case P2P_OBSTACLE_INTX:
        return g_strdup_printf("BAR %d of %s is not mapped while the device "
                               "uses INTx; have the guest's driver use MSI or "
                               "MSI-X", window->bar, name);
    case P2P_OBSTACLE_HIDDEN:
        return g_strdup_printf("BAR %d of %s is not visible at its address: "
                               "something else is there, or a bridge does not "
                               "forward it", window->bar, name);
    case P2P_OBSTACLE_NO_MAPPING:
        return g_strdup_printf("QEMU could not map BAR %d of %s: no memory, "
                               "or too many mappings (ulimit -v, "
                               "vm.max_map_count)", window->bar, name);
    case P2P_OBSTACLE_MAP_ERROR:
        return p2p_grant_map_error(initiator, obstacle.err);
    case P2P_OBSTACLE_STUCK:
        return g_strdup_printf("the host could not take BAR %d of %s out of "
                               "the IOMMU at 0x%" PRIx64 "-0x%" PRIx64 ", "
                               "where it was: %s; that is tried again with "
                               "each change", window->bar, name, obstacle.gpa,
                               obstacle.gpa + window->size - 1,
                               strerror(obstacle.err));
    case P2P_OBSTACLE_NO_CPU_MAPPING:
        return g_strdup_printf("BAR %d of %s has no CPU mapping, which "
                               "passthrough initiators need", window->bar, name);
    case P2P_OBSTACLE_NO_CONTAINER:
        return g_strdup_printf("%s is in no IOMMU domain of the host",
                               p2p_device_name(initiator->dev));
    case P2P_OBSTACLE_BEYOND:
        return g_strdup_printf("BAR %d of %s is at 0x%" PRIx64 "-0x%" PRIx64
                               ", but the host's IOMMU translates up to 0x%"
                               PRIx64 " only; give the guest -cpu ...,"
                               "phys-bits=%d, so that it places BARs lower",
                               window->bar, name, obstacle.gpa,
                               obstacle.gpa + window->size - 1, obstacle.last,
                               63 - clz64(obstacle.last + 1));
    case P2P_OBSTACLE_RESERVED:
        return g_strdup_printf("BAR %d of %s is at 0x%" PRIx64 "-0x%" PRIx64
                               ", and the host's IOMMU does not translate 0x%"
                               PRIx64 "-0x%" PRIx64 ", which the host reserves "
                               "(for interrupts, or its firmware); have the "
                               "guest place it elsewhere", window->bar, name,
                               obstacle.gpa, obstacle.gpa + window->size - 1,
                               obstacle.first, obstacle.last);
    }
    return NULL;
}

/* --- Telling ----------------------------------------------------------- */

QEMUClockType p2p_event_clock(void)
{
    return qtest_enabled() ? QEMU_CLOCK_VIRTUAL : QEMU_CLOCK_REALTIME;
}

static void p2p_grant_tell(P2PGroup *group, P2PMember *initiator,
                           P2PBarWindow *window, P2PGrant *grant)
{
    const char *from = p2p_device_name(initiator->dev);
    const char *to = p2p_device_name(window->owner->dev);
    int64_t now = qemu_clock_get_ms(p2p_event_clock());

    /* What a guest attaches is no news, and comes as often as it likes. */
    if (window->source) {
        return;
    }
    /* That a BAR has no address yet is how every grant begins. */
    if (!grant->told_at && window->state == P2P_WINDOW_STATE_UNMAPPED) {
        return;
    }
    if (grant->installed == grant->told_installed &&
        !g_strcmp0(grant->reason, grant->told_reason)) {
        grant->pending = false;
        return;
    }
    if (grant->told_at && now < grant->told_at + P2P_TELL_INTERVAL_MS) {
        grant->pending = true;
        if (!group->event_timer) {
            /* Not earlier: the clock is known once there is a machine. */
            group->event_timer = timer_new_ms(p2p_event_clock(),
                                              p2p_grants_tell_pending, group);
        }
        if (!timer_pending(group->event_timer)) {
            timer_mod(group->event_timer,
                      grant->told_at + P2P_TELL_INTERVAL_MS);
        }
        return;
    }

    grant->pending = false;
    grant->told_at = MAX(now, 1);
    grant->told_installed = grant->installed;
    g_free(grant->told_reason);
    grant->told_reason = g_strdup(grant->reason);
    qapi_event_send_p2p_grant_changed(p2p_group_id(group), from, to,
                                      window->bar, window->offset,
                                      window->size, grant->installed,
                                      grant->reason);
}

/* A guest that plays with its BARs must not fill the log: once a grant. */
static void p2p_grant_warn(P2PGroup *group, P2PMember *initiator,
                           P2PBarWindow *window, P2PGrant *grant)
{
    P2PObstacleKind kind = grant->obstacle.kind;

    if (grant->warned || window->source || (kind != P2P_OBSTACLE_MAP_ERROR &&
                          kind != P2P_OBSTACLE_STUCK &&
                          kind != P2P_OBSTACLE_BEYOND &&
                          kind != P2P_OBSTACLE_RESERVED)) {
        return;
    }
    /* What is being loaded is not yet what will be; migration.c tells. */
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return;
    }
    /* Who is refused is told why. */
    if (window->on_trial || initiator->on_trial || window->owner->on_trial) {
        return;
    }
    grant->warned = true;
    warn_report("p2p-group '%s': only P2P from %s to BAR %d of %s is "
                "unavailable, the devices work: %s", p2p_group_id(group),
                p2p_device_name(initiator->dev), window->bar,
                p2p_device_name(window->owner->dev), grant->reason);
}

static void p2p_grant_path(P2PMember *initiator, P2PBarWindow *window,
                           P2PGrant *grant)
{
    const char *target = p2p_window_memory(window).member->host_bdf;
    P2PGrant *known = window->source
                      ? &window->source->grants[initiator->index] : NULL;

    if (grant->has_path || !initiator->host_bdf || !target) {
        return;
    }
    if (known && known->has_path) {
        grant->path.verdict = known->path.verdict;
        grant->path.reason = g_strdup(known->path.reason);
    } else {
        p2p_topology_path("", initiator->host_bdf, target, &grant->path);
    }
    grant->has_path = true;
}

static void p2p_grant_update(P2PGroup *group, P2PMember *initiator,
                             P2PBarWindow *window)
{
    P2PGrant *grant = &window->grants[initiator->index];
    P2PObstacle obstacle;

    if (!initiator->dev->p2p.initiate || !initiator->realized) {
        return;
    }
    p2p_grant_path(initiator, window, grant);
    obstacle = p2p_grant_obstacle(initiator, window);
    if (obstacle.kind == grant->obstacle.kind &&
        obstacle.err == grant->obstacle.err &&
        obstacle.gpa == grant->obstacle.gpa) {
        return;
    }
    grant->obstacle = obstacle;
    g_free(grant->reason);
    grant->reason = p2p_obstacle_reason(obstacle, initiator, window);
    grant->installed = !grant->reason;
    trace_p2p_grant(p2p_device_name(initiator->dev),
                    p2p_device_name(window->owner->dev), window->bar,
                    grant->installed, grant->reason ?: "");
    if (initiator != window->owner) {
        p2p_grant_warn(group, initiator, window, grant);
        p2p_grant_tell(group, initiator, window, grant);
    }
}

static void p2p_foreach_grant(P2PGroup *group,
                              void (*fn)(P2PGroup *group,
                                         P2PMember *initiator,
                                         P2PBarWindow *window))
{
    P2PMember *owner, *initiator;

    P2P_FOREACH_MEMBER(owner, group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2P_FOREACH_MEMBER(initiator, group) {
                fn(group, initiator, g_ptr_array_index(owner->windows, i));
            }
        }
    }
}

static void p2p_tell_one(P2PGroup *group, P2PMember *initiator,
                         P2PBarWindow *window)
{
    P2PGrant *grant = &window->grants[initiator->index];

    if (grant->pending) {
        p2p_grant_tell(group, initiator, window, grant);
    }
}

void p2p_grants_tell_pending(void *group)
{
    p2p_foreach_grant(group, p2p_tell_one);
}

/* Drop what is kept about containers that no member uses any more. */
static void p2p_window_forget(P2PGroup *group, P2PBarWindow *window)
{
    for (guint i = window->installs->len; i-- > 0; ) {
        P2PInstall *install = &g_array_index(window->installs, P2PInstall, i);
        bool used = false;
        P2PMember *m;

        P2P_FOREACH_MEMBER(m, group) {
            used |= p2p_member_container(m) == install->container;
        }
        if (!used) {
            g_array_remove_index_fast(window->installs, i);
        }
    }
}

static void p2p_grant_end(P2PMember *initiator, P2PBarWindow *window,
                          const char *why)
{
    P2PGrant *grant = &window->grants[initiator->index];

    if (grant->told_installed && initiator != window->owner) {
        qapi_event_send_p2p_grant_changed(
            p2p_group_id(initiator->group), p2p_device_name(initiator->dev),
            p2p_device_name(window->owner->dev), window->bar, window->offset,
            window->size, false, why);
    }
    p2p_counts_keep(initiator, window);
    p2p_grant_clear(grant);
}

void p2p_window_grants_end(P2PBarWindow *window, const char *why)
{
    P2PMember *initiator;

    P2P_FOREACH_MEMBER(initiator, window->owner->group) {
        P2PInstall *install = p2p_member_install(initiator, window);
        g_autofree char *text =
            g_strdup_printf("%s%s", why, install && install->stuck
                            ? ", but the host could not take the window out "
                              "of the IOMMU: the initiator may still reach it, "
                              "as query-p2p tells (stuck)" : "");

        p2p_grant_end(initiator, window, text);
    }
}

void p2p_grants_end(P2PMember *member)
{
    static const char why[] = "a device has left the group";
    P2PGroup *group = member->group;
    P2PMember *other;

    P2P_FOREACH_MEMBER(other, group) {
        for (guint i = 0; i < other->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(other->windows, i);

            p2p_grant_end(member, window, why);
            p2p_window_forget(group, window);
        }
    }
    for (guint i = 0; i < member->windows->len; i++) {
        p2p_window_grants_end(g_ptr_array_index(member->windows, i), why);
    }
}

/* --- Map --------------------------------------------------------------- */

typedef struct P2PMapBuild {
    GArray *windows;        /* of P2PWindow */
    uint64_t everybody;     /* all initiators, and all members */
} P2PMapBuild;

static void p2p_map_add_ram(MemoryRegion *mr, hwaddr gpa, hwaddr offset,
                            uint64_t size, bool readonly, void *opaque)
{
    P2PMapBuild *build = opaque;
    P2PWindow window = {
        .gpa.gpa = gpa, .size = size,
        .bus.bus = gpa, /* views hold RAM at its guest physical address */
        .host.hva = (uint8_t *)memory_region_get_ram_ptr(mr) + offset,
        .readers = build->everybody,
        .writers = readonly ? 0 : build->everybody,
        .owner = P2P_NO_OWNER,
        .kind = P2P_WINDOW_RAM,
    };

    g_array_append_val(build->windows, window);
}

static bool p2p_map_is_free(GArray *windows, uint64_t gpa, uint64_t size)
{
    for (guint i = 0; i < windows->len; i++) {
        P2PWindow *w = &g_array_index(windows, P2PWindow, i);

        if (w->gpa.gpa < gpa + size && gpa < w->gpa.gpa + w->size) {
            return false;
        }
    }
    return true;
}

static void p2p_map_add_window(P2PGroup *group, P2PBarWindow *bar,
                               bool revoked, P2PMapBuild *build)
{
    P2PMember *initiator;
    P2PWindow window = {
        .gpa.gpa = bar->gpa, .size = bar->size,
        .bus.bus = bar->gpa, /* an initiator is given the view's address */
        .owner = p2p_window_memory(bar).member->index,
        .kind = P2P_WINDOW_IO,
        .revoked = revoked,
    };

    P2P_FOREACH_MEMBER(initiator, group) {
        P2PGrant *grant = &bar->grants[initiator->index];

        if (!revoked && grant->installed) {
            window.readers |= 1ULL << initiator->index;
        }
        if (grant->has_path && !grant->path.verdict.routed_by_root_complex) {
            window.unrouted |= 1ULL << initiator->index;
        }
    }
    if (bar->access == P2P_ACCESS_RW) {
        window.writers = window.readers;
    }
    if (bar->mapping && p2p_bar_mapping_is_file(bar->mapping)) {
        window.host.hva = p2p_bar_mapping_hva(bar->mapping);
    }
    g_array_append_val(build->windows, window);
}

/*
 * Windows that are gone are told apart from addresses at which there never
 * was anything, as long as nothing else has taken their place.
 */
static void p2p_map_add_windows(P2PGroup *group, bool revoked,
                                P2PMapBuild *build)
{
    P2PMember *owner;

    P2P_FOREACH_MEMBER(owner, group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *bar = g_ptr_array_index(owner->windows, i);
            bool mapped = bar->state == P2P_WINDOW_STATE_MAPPED;

            if (mapped != revoked && bar->has_gpa &&
                (mapped || p2p_map_is_free(build->windows, bar->gpa,
                                           bar->size))) {
                p2p_map_add_window(group, bar, revoked, build);
            }
        }
    }
}

static gint p2p_map_compare(gconstpointer a, gconstpointer b)
{
    const P2PWindow *wa = a;
    const P2PWindow *wb = b;

    return (wa->gpa.gpa > wb->gpa.gpa) - (wa->gpa.gpa < wb->gpa.gpa);
}

/* From @old, what is different in @windows; both ascending. */
static P2PMap *p2p_map_follow(const P2PMapSnapshot *old, GArray *windows,
                              GError **error)
{
    g_autoptr(GArray) remove = g_array_new(false, false,
                                           sizeof(P2PGuestAddr));
    g_autoptr(GArray) add = g_array_new(false, false, sizeof(P2PWindow));
    guint i = 0, j = 0;

    while (i < old->windows->len || j < windows->len) {
        P2PWindow *was = i < old->windows->len
                         ? &g_array_index(old->windows, P2PWindow, i) : NULL;
        P2PWindow *is = j < windows->len
                        ? &g_array_index(windows, P2PWindow, j) : NULL;
        int order = !was ? 1 : !is ? -1 : p2p_map_compare(was, is);

        if (order || memcmp(was, is, sizeof(*was))) {
            if (order <= 0) {
                g_array_append_val(remove, was->gpa);
            }
            if (order >= 0) {
                g_array_append_val(add, *is);
            }
        }
        i += order <= 0;
        j += order >= 0;
    }
    return p2p_map_change(old->map,
                          (P2PGuestAddr *)remove->data, remove->len,
                          (P2PWindow *)add->data, add->len, error);
}

static void p2p_map_publish(P2PGroup *group)
{
    P2PMapSnapshot *old = group->snapshot;
    P2PMapSnapshot *new = g_new0(P2PMapSnapshot, 1);
    P2PMapBuild build = {
        .windows = g_array_new(false, false, sizeof(P2PWindow)),
    };
    P2PMember *member;
    g_autoptr(GError) error = NULL;

    P2P_FOREACH_MEMBER(member, group) {
        build.everybody |= 1ULL << member->index;
        if (!member->passthrough) {
            new->cpu_initiators |= 1ULL << member->index;
        }
    }
    p2p_foreach_ram(p2p_map_add_ram, &build);
    p2p_map_add_windows(group, false, &build);
    p2p_map_add_windows(group, true, &build);
    g_array_sort(build.windows, p2p_map_compare);
    new->windows = build.windows;

    if (old && old->cpu_initiators == new->cpu_initiators) {
        new->map = p2p_map_follow(old, new->windows, &error);
    } else {
        new->map = p2p_map_new((P2PWindow *)new->windows->data,
                               new->windows->len, new->cpu_initiators,
                               &error);
    }
    if (!new->map) {
        /* Cannot be: what is visible in one address space does not overlap. */
        error_report("p2p-group '%s': %s; nothing is translated",
                     p2p_group_id(group), error->message);
        g_array_set_size(new->windows, 0);
        new->map = p2p_map_new(NULL, 0, new->cpu_initiators, NULL);
    }
    trace_p2p_publish(p2p_group_id(group), p2p_map_size(new->map));
    p2p_group_publish(group, new);
}

void p2p_grants_update(P2PGroup *group)
{
    p2p_foreach_grant(group, p2p_grant_update);
    p2p_map_publish(group);
    p2p_bridges_changed(group);
}
