/*
 * Windows in the host's IOMMU
 *
 * VFIO's own listener maps what is RAM in a passthrough device's view.  The
 * windows are no part of that: they are put into the container, and taken out,
 * by the calls below, each by itself.  So what a call returned is known; a
 * window is out before its device stops decoding; and that one does not fit
 * ends no machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/range.h"
#include "hw/core/cpu.h"
#include "hw/p2p/internal.h"
#include "trace.h"

int (*p2p_fault_injector)(void);

/*
 * Counts successful unmap calls: a window for which there was no room is tried
 * again after one.
 */
static unsigned p2p_room;

int64_t p2p_iommu_unmap_ns;

/* Could not be taken out of a container, and belongs to no window any more. */
typedef struct P2PStuck {
    const P2PPassthrough *backend;
    void *container;
    char *name;             /* of the device, which may have gone */
    int bar;
    uint64_t offset;        /* in the BAR */
    hwaddr iova;
    uint64_t size;
    int err;                /* errno of the last attempt */
    QTAILQ_ENTRY(P2PStuck) next;
} P2PStuck;

/* Tried again each time, until it is out or the container has gone. */
static QTAILQ_HEAD(, P2PStuck) p2p_stuck = QTAILQ_HEAD_INITIALIZER(p2p_stuck);

/* --- Calls ------------------------------------------------------------- */

static int p2p_iommu_map(const P2PPassthrough *backend, void *container,
                         P2PBarWindow *window, hwaddr iova, uint64_t size)
{
    P2PMemoryPlace memory = p2p_window_memory(window);
    P2PIommuMap map = {
        .iova = iova, .size = size,
        .readonly = window->access == P2P_ACCESS_RO,
        .dev = memory.member->dev,
        .bar = memory.bar, .offset = memory.offset,
        .mr = window->mr,
        .hva = (uint8_t *)memory_region_get_ram_ptr(window->mr) +
               window->mr_offset,
    };
    int ret = p2p_inject_fault();

    if (!ret) {
        ret = backend->map(container, &map);
    }
    trace_p2p_iommu_map(p2p_device_name(window->owner->dev), window->bar,
                        container, iova, size, ret);
    return ret;
}

/* @name, @bar: whose it is */
static int p2p_iommu_unmap(const P2PPassthrough *backend, void *container,
                           const char *name, int bar, hwaddr iova,
                           uint64_t size)
{
    int64_t start = get_clock();
    int ret = p2p_inject_fault();
    int64_t ns;

    if (!ret) {
        ret = backend->unmap(container, iova, size);
    }
    if (!ret) {
        p2p_room++;
    }
    ns = get_clock() - start;
    p2p_iommu_unmap_ns += ns;
    trace_p2p_iommu_unmap(name, bar, container, iova, size, ret, ns);
    return ret;
}

/* --- Place ------------------------------------------------------------- */

/* Whether the container, whose ranges these are, translates it all. */
static P2PObstacle p2p_place_in(const GList *ranges, hwaddr gpa,
                                uint64_t size)
{
    P2PObstacle place = { .kind = P2P_OBSTACLE_NONE, .gpa = gpa };
    hwaddr last = gpa + size - 1;
    hwaddr free_from = 0;       /* behind the range before */

    if (!ranges) {
        return place;
    }
    for (; ranges; ranges = ranges->next) {
        Range *range = ranges->data;

        if (gpa < range_lob(range)) {
            /* It begins in, or covers, what is between two ranges. */
            place.kind = P2P_OBSTACLE_RESERVED;
            place.first = free_from;
            place.last = range_lob(range) - 1;
            return place;
        }
        if (last <= range_upb(range)) {
            return place;
        }
        free_from = range_upb(range) + 1;
        if (gpa < free_from && ranges->next) {
            place.kind = P2P_OBSTACLE_RESERVED;
            place.first = free_from;
            place.last = range_lob(ranges->next->data) - 1;
            return place;
        }
    }
    place.kind = P2P_OBSTACLE_BEYOND;
    place.last = free_from - 1;
    return place;
}

static const GList *p2p_ranges(const P2PPassthrough *backend, void *container)
{
    return backend->iova_ranges ? backend->iova_ranges(container) : NULL;
}

P2PObstacle p2p_iommu_place(P2PMember *initiator, P2PBarWindow *window)
{
    void *container = initiator->passthrough->container(initiator->dev);

    return p2p_place_in(container ? p2p_ranges(initiator->passthrough,
                                               container) : NULL,
                        window->gpa, window->size);
}

bool p2p_iommu_has_room(P2PMember *initiator, uint64_t size, hwaddr *limit)
{
    void *container = initiator->passthrough->container(initiator->dev);
    const GList *ranges = container ? p2p_ranges(initiator->passthrough,
                                                 container) : NULL;

    if (!ranges) {
        return true;
    }
    for (; ranges; ranges = ranges->next) {
        Range *range = ranges->data;
        hwaddr start = ROUND_UP(range_lob(range), size);

        *limit = range_upb(range);
        if (start >= range_lob(range) && start <= *limit &&
            *limit - start >= size - 1) {
            return true;
        }
    }
    return false;
}

void p2p_iommu_check_width(P2PGroup *group)
{
    uint64_t bits = first_cpu ? object_property_get_uint(OBJECT(first_cpu),
                                                         "phys-bits", NULL)
                              : 0;
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        void *container = member->passthrough
                          ? member->passthrough->container(member->dev) : NULL;
        const GList *last = container
            ? g_list_last((GList *)p2p_ranges(member->passthrough, container))
            : NULL;

        if (last && bits && bits < 64 &&
            range_upb(last->data) < MAKE_64BIT_MASK(0, bits)) {
            hwaddr limit = range_upb(last->data);

            warn_report("p2p-group '%s': the guest may place BARs up to 0x%"
                        PRIx64 ", but the host's IOMMU translates for %s only "
                        "up to 0x%" PRIx64 ": windows beyond cannot be "
                        "granted; give the guest -cpu ...,phys-bits=%d",
                        p2p_group_id(group),
                        (uint64_t)MAKE_64BIT_MASK(0, bits),
                        p2p_device_name(member->dev), limit,
                        63 - clz64(limit + 1));
            return;
        }
    }
}

/* --- What is to be where ----------------------------------------------- */

static bool p2p_window_wanted(P2PBarWindow *window)
{
    return window->state == P2P_WINDOW_STATE_MAPPED &&
           window->backing != P2P_BACKING_IO;
}

/* Whether windows are put into the container of @member for its sake. */
static bool p2p_member_wants(P2PMember *member)
{
    return member->passthrough && member->realized &&
           member->dev->p2p.initiate;
}

/*
 * With the last device that uses it, a container and all in it goes; members
 * take their windows out before (p2p_iommu_leave()).
 */
static bool p2p_container_is_used(const void *container)
{
    P2PGroup *group;
    P2PMember *member;

    QTAILQ_FOREACH(group, &p2p_groups, next) {
        P2P_FOREACH_MEMBER(member, group) {
            if (member->passthrough &&
                member->passthrough->container(member->dev) == container) {
                return true;
            }
        }
    }
    return false;
}

/* Each time that something gets stuck, not each time that it still is. */
static void p2p_stuck_tell(P2PBarWindow *window, uint64_t size, int err)
{
    error_report("BAR %d of %s: the host could not take 0x%" PRIx64 " bytes "
                 "out of the IOMMU: %s; initiators may still reach them, until "
                 "this succeeds with a later change or the initiators are "
                 "unplugged: see query-p2p", window->bar,
                 p2p_device_name(window->owner->dev), size, strerror(err));
}

static void p2p_install_unmap(P2PBarWindow *window, P2PInstall *install)
{
    const char *name = p2p_device_name(window->owner->dev);
    bool again = install->stuck;
    int ret = 0;

    if (again && install->backend->unmap_once &&
        p2p_container_is_used(install->container)) {
        return;
    }
    if (p2p_container_is_used(install->container)) {
        ret = p2p_iommu_unmap(install->backend, (void *)install->container,
                              name, window->bar, install->gpa, window->size);
    }
    install->mapped = false;
    if (!ret) {
        install->stuck = 0;
        install->unmaps++;
        p2p_changed();
        return;
    }
    install->stuck = window->size;
    install->failures++;
    install->last_errno = -ret;
    if (!again) {
        p2p_changed();
        p2p_stuck_tell(window, window->size, -ret);
    }
}

void p2p_iommu_revoke_window(P2PBarWindow *window)
{
    for (guint i = 0; i < window->installs->len; i++) {
        P2PInstall *install = &g_array_index(window->installs, P2PInstall, i);

        if (install->backend && (install->mapped || install->stuck)) {
            p2p_install_unmap(window, install);
        }
    }
}

static void p2p_stuck_add(const P2PPassthrough *backend, void *container,
                          P2PBarWindow *window, hwaddr iova, uint64_t size,
                          int err)
{
    P2PStuck *stuck = g_new(P2PStuck, 1);

    *stuck = (P2PStuck) {
        .backend = backend, .container = container,
        .name = g_strdup(p2p_device_name(window->owner->dev)),
        .bar = window->bar, .offset = window->offset,
        .iova = iova, .size = size, .err = err,
    };
    QTAILQ_INSERT_TAIL(&p2p_stuck, stuck, next);
}

/* What is stuck of @install is no longer the window's matter. */
static void p2p_install_abandon(P2PBarWindow *window, P2PInstall *install)
{
    if (install->stuck && p2p_container_is_used(install->container)) {
        p2p_stuck_add(install->backend, (void *)install->container, window,
                      install->gpa, install->stuck, install->last_errno);
    }
}

void p2p_iommu_abandon_window(P2PBarWindow *window)
{
    for (guint i = 0; i < window->installs->len; i++) {
        p2p_install_abandon(window, &g_array_index(window->installs,
                                                   P2PInstall, i));
    }
}

static void p2p_stuck_try_again(void)
{
    P2PStuck *stuck, *tmp;

    QTAILQ_FOREACH_SAFE(stuck, &p2p_stuck, next, tmp) {
        bool used = p2p_container_is_used(stuck->container);
        int ret = 0;

        if (used && stuck->backend->unmap_once) {
            continue;
        }
        if (used) {
            ret = p2p_iommu_unmap(stuck->backend, stuck->container,
                                  stuck->name, stuck->bar, stuck->iova,
                                  stuck->size);
        }
        if (ret) {
            stuck->err = -ret;
        } else {
            QTAILQ_REMOVE(&p2p_stuck, stuck, next);
            g_free(stuck->name);
            g_free(stuck);
        }
    }
}

uint64_t p2p_iommu_stuck(P2PMember *member, int bar, uint64_t start,
                         uint64_t end)
{
    uint64_t size = 0;
    P2PStuck *stuck;

    QTAILQ_FOREACH(stuck, &p2p_stuck, next) {
        if (stuck->bar == bar && stuck->offset < end &&
            start < stuck->offset + stuck->size &&
            g_str_equal(stuck->name, p2p_device_name(member->dev))) {
            size += stuck->size;
        }
    }
    return size;
}

/* Who of @group may reach it; NULL: nobody. */
static strList *p2p_stuck_initiators(P2PGroup *group, const P2PStuck *stuck)
{
    strList *list = NULL, **tail = &list;
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        if (p2p_member_container(member) == stuck->container) {
            QAPI_LIST_APPEND(tail, g_strdup(p2p_device_name(member->dev)));
        }
    }
    return list;
}

P2PStuckInfoList *p2p_iommu_stuck_info(P2PGroup *group)
{
    P2PStuckInfoList *list = NULL, **tail = &list;
    P2PStuck *stuck;

    QTAILQ_FOREACH(stuck, &p2p_stuck, next) {
        strList *initiators = p2p_stuck_initiators(group, stuck);

        if (initiators) {
            P2PStuckInfo *info = g_new0(P2PStuckInfo, 1);

            info->target = g_strdup(stuck->name);
            info->bar = stuck->bar;
            info->offset = stuck->offset;
            info->size = stuck->size;
            info->gpa = stuck->iova;
            info->q_errno = stuck->err;
            info->initiators = initiators;
            QAPI_LIST_APPEND(tail, info);
        }
    }
    return list;
}

static void p2p_revoke_stale(P2PGroup *group, P2PBarWindow *window)
{
    for (guint i = 0; i < window->installs->len; i++) {
        P2PInstall *install = &g_array_index(window->installs, P2PInstall, i);

        if (install->backend &&
            (install->stuck ||
             (install->mapped && (!p2p_window_wanted(window) ||
                                  install->gpa != window->gpa)))) {
            p2p_install_unmap(window, install);
        }
    }
}

void p2p_iommu_leave(P2PMember *leaver)
{
    const void *container = leaver->passthrough
                            ? leaver->passthrough->container(leaver->dev)
                            : NULL;
    P2PMember *member, *owner;

    P2P_FOREACH_MEMBER(member, leaver->group) {
        if (member != leaver && member->passthrough &&
            member->passthrough->container(member->dev) == container) {
            return;
        }
    }
    P2P_FOREACH_MEMBER(owner, leaver->group) {
        for (guint i = 0; container && i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);
            P2PInstall *install = p2p_window_install(window, container);

            if (install && (install->mapped || install->stuck)) {
                p2p_install_unmap(window, install);
            }
        }
    }
}

bool p2p_iommu_retry(P2PMember *member)
{
    bool found = false;

    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(member->windows, i);

        for (guint j = 0; j < window->installs->len; j++) {
            P2PInstall *install = &g_array_index(window->installs, P2PInstall,
                                                 j);

            if (install->failed && (install->last_errno == EFAULT ||
                                    install->last_errno == ENODEV)) {
                install->failed = false;
                found = true;
            }
        }
    }
    return found;
}

void p2p_iommu_revoke(void)
{
    p2p_stuck_try_again();
    p2p_foreach_window(p2p_revoke_stale);
}

/* Whether a call that failed would fail again. */
static bool p2p_install_hopeless(P2PBarWindow *window, P2PInstall *install)
{
    bool no_room = install->last_errno == ENOMEM ||
                   install->last_errno == ENOSPC ||
                   install->last_errno == EEXIST;

    return install->failed && install->moves == window->moves &&
           !(no_room && install->room != p2p_room);
}

static void p2p_install_in(P2PBarWindow *window, P2PMember *member,
                           void *container)
{
    P2PInstall *install = p2p_window_install_add(window, container);
    int ret;

    install->backend = member->passthrough;
    /* A window is in a container once: what a guest can do has a bound. */
    if (install->mapped || install->stuck ||
        p2p_install_hopeless(window, install)) {
        return;
    }
    install->failed = false;
    if (p2p_iommu_place(member, window).kind != P2P_OBSTACLE_NONE) {
        return;
    }
    install->gpa = window->gpa;
    install->moves = window->moves;
    install->room = p2p_room;
    ret = p2p_iommu_map(install->backend, container, window, window->gpa,
                        window->size);
    if (ret) {
        install->failures++;
        install->last_errno = -ret;
        install->failed = true;
    } else {
        install->maps++;
        install->mapped = true;
    }
    p2p_changed();
}

static void p2p_install_missing(P2PGroup *group, P2PBarWindow *window)
{
    P2PMember *member;

    if (!p2p_window_wanted(window)) {
        return;
    }
    P2P_FOREACH_MEMBER(member, group) {
        void *container = p2p_member_wants(member)
                          ? member->passthrough->container(member->dev) : NULL;

        if (container) {
            p2p_install_in(window, member, container);
        }
    }
}

static bool p2p_waiting;

void p2p_iommu_set_waiting(bool waiting)
{
    p2p_waiting = waiting;
    p2p_changed();
}

bool p2p_iommu_is_waiting(void)
{
    return p2p_waiting;
}

void p2p_iommu_install(void)
{
    if (!p2p_waiting) {
        p2p_foreach_window(p2p_install_missing);
    }
}

/* --- Trial ------------------------------------------------------------- */

/* A page, which goes down until it meets nothing. */
typedef struct P2PFreePage {
    const void *container;
    hwaddr at;
    bool moved;
} P2PFreePage;

static P2PFreePage p2p_free_page;

static void p2p_page_avoid(hwaddr start, uint64_t size)
{
    uint64_t page = qemu_real_host_page_size();

    if (ranges_overlap(start, size, p2p_free_page.at, page)) {
        p2p_free_page.at = QEMU_ALIGN_DOWN(start, page) - page;
        p2p_free_page.moved = true;
    }
}

static void p2p_page_avoid_ram(MemoryRegion *mr, hwaddr gpa, hwaddr offset,
                               uint64_t size, bool readonly, void *opaque)
{
    p2p_page_avoid(gpa, size);
}

static void p2p_page_avoid_window(P2PGroup *group, P2PBarWindow *window)
{
    P2PInstall *install = p2p_window_install(window, p2p_free_page.container);

    if (install && (install->mapped || install->stuck)) {
        p2p_page_avoid(install->gpa, window->size);
    }
}

/* The highest page of @container where nothing is. */
static hwaddr p2p_iommu_free_page(const P2PPassthrough *backend,
                                  void *container)
{
    const GList *last = g_list_last((GList *)p2p_ranges(backend, container));
    hwaddr end = last ? range_upb(last->data) : MAKE_64BIT_MASK(0, 39);
    P2PStuck *stuck;

    p2p_free_page = (P2PFreePage) {
        .container = container,
        .at = QEMU_ALIGN_DOWN(end, qemu_real_host_page_size()),
    };
    do {
        p2p_free_page.moved = false;
        p2p_foreach_ram(p2p_page_avoid_ram, NULL);
        p2p_foreach_window(p2p_page_avoid_window);
        QTAILQ_FOREACH(stuck, &p2p_stuck, next) {
            p2p_page_avoid(stuck->iova, stuck->size);
        }
    } while (p2p_free_page.moved);
    return p2p_free_page.at;
}

int p2p_iommu_try(P2PMember *initiator, P2PBarWindow *window)
{
    const P2PPassthrough *backend = initiator->passthrough;
    void *container = backend->container(initiator->dev);
    uint64_t page = qemu_real_host_page_size();
    hwaddr iova;
    int ret;

    if (!container || window->backing == P2P_BACKING_IO) {
        return -ENXIO;
    }
    iova = p2p_iommu_free_page(backend, container);
    ret = p2p_iommu_map(backend, container, window, iova, page);
    if (!ret) {
        ret = p2p_iommu_unmap(backend, container,
                              p2p_device_name(window->owner->dev),
                              window->bar, iova, page);
        if (ret) {
            p2p_stuck_tell(window, page, -ret);
            p2p_stuck_add(backend, container, window, iova, page, -ret);
        }
    }
    return ret;
}
