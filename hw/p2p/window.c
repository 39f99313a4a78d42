/*
 * Windows: which ranges of a device's BARs are shared, and where they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/range.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/* --- What stands behind a BAR ------------------------------------------ */

static P2PBacking p2p_backing_of(MemoryRegion *mr)
{
    if (!mr || !memory_region_is_ram(mr)) {
        return P2P_BACKING_IO;
    }
    return memory_region_is_ram_device(mr) ? P2P_BACKING_RAM_DEVICE
                                           : P2P_BACKING_RAM;
}

/*
 * The BAR as a list of page-aligned ranges, each with one kind of backing, in
 * ascending order. A page that is not of one kind counts as I/O.
 *
 * The BAR need not have an address: it is looked at through an address space
 * of its own.
 */
static GArray *p2p_bar_ranges(PCIDevice *dev, int bar)
{
    MemoryRegion *mr = dev->io_regions[bar].memory;
    uint64_t size = dev->io_regions[bar].size;
    uint64_t page = qemu_real_host_page_size();
    GArray *ranges = g_array_new(false, false, sizeof(P2PRange));
    Object *peek = p2p_peek_new(mr, 0, size);
    uint64_t at = 0;

    while (at < size) {
        MemoryRegionSection s = p2p_peek_find(peek, at, size - at);
        P2PRange range = { .offset = at, .size = size - at };

        if (s.mr) {
            uint64_t start = s.offset_within_address_space;

            if (start > at) {
                range.size = start - at; /* a hole */
                range.backing = P2P_BACKING_IO;
            } else {
                range.size = int128_get64(s.size);
                range.backing = p2p_backing_of(s.mr);
                range.mr = s.mr;
                range.mr_offset = s.offset_within_region;
            }
            memory_region_unref(s.mr);
        } else {
            range.backing = P2P_BACKING_IO;
        }
        at += range.size;

        if (range.backing != P2P_BACKING_IO) {
            uint64_t end = QEMU_ALIGN_DOWN(range.offset + range.size, page);

            range.mr_offset += QEMU_ALIGN_UP(range.offset, page) -
                               range.offset;
            range.offset = QEMU_ALIGN_UP(range.offset, page);
            range.size = end > range.offset ? end - range.offset : 0;
            if (range.size) {
                g_array_append_val(ranges, range);
            }
        }
    }

    p2p_peek_free(peek);
    return ranges;
}

/* --- p2p-share --------------------------------------------------------- */

static unsigned p2p_group_windows(P2PGroup *group)
{
    unsigned n = 0;
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        n += member->windows->len;
    }
    return n;
}

bool p2p_window_has_room(P2PMember *member, Error **errp)
{
    if (member->windows->len >= P2P_MAX_WINDOWS_PER_MEMBER) {
        error_setg(errp, "%s: p2p-share: more than %d windows; share fewer "
                   "and larger ranges", p2p_device_name(member->dev),
                   P2P_MAX_WINDOWS_PER_MEMBER);
        return false;
    }
    if (p2p_group_windows(member->group) >= P2P_MAX_WINDOWS_PER_GROUP) {
        error_setg(errp, "%s: p2p-share: p2p-group '%s' has %d windows "
                   "already, more are not supported; share fewer and larger "
                   "ranges", p2p_device_name(member->dev),
                   p2p_group_id(member->group), P2P_MAX_WINDOWS_PER_GROUP);
        return false;
    }
    return true;
}

P2PBarWindow *p2p_window_new(P2PMember *member, int bar, const P2PRange *range,
                             P2PAccess access)
{
    P2PBarWindow *window = g_new0(P2PBarWindow, 1);

    window->owner = member;
    window->bar = bar;
    window->offset = range->offset;
    window->size = range->size;
    window->access = access;
    window->backing = range->backing;
    window->mr = range->mr;
    window->mr_offset = range->mr_offset;
    window->state = P2P_WINDOW_STATE_UNMAPPED;
    window->installs = g_array_new(false, true, sizeof(P2PInstall));
    window->traffic = g_atomic_rc_box_new0(P2PTraffic);
    g_ptr_array_add(member->windows, window);
    member->unloaded_bars &= ~BIT(bar);
    trace_p2p_window_new(p2p_device_name(member->dev), bar, range->offset,
                         range->size, P2PAccess_str(access));
    return window;
}

static bool p2p_window_add(P2PMember *member, int bar, const P2PRange *range,
                           P2PAccess access, Error **errp)
{
    if (!p2p_window_has_room(member, errp)) {
        return false;
    }
    p2p_window_new(member, bar, range, access);
    return true;
}

P2PMemoryPlace p2p_window_memory(const P2PBarWindow *window)
{
    const P2PBarWindow *source = window->source ?: window;

    return (P2PMemoryPlace) {
        .member = source->owner,
        .bar = source->bar,
        .offset = source->offset + window->source_offset,
    };
}

/* From now on it is out of the device models' reach. */
static void p2p_window_unmap(P2PBarWindow *window)
{
    if (window->mapping) {
        p2p_bar_mapping_revoke(window->mapping);
        window->mapping = NULL;
    }
}

void p2p_window_free(P2PBarWindow *window)
{
    p2p_iommu_abandon_window(window);
    p2p_window_unmap(window);
    g_atomic_rc_box_release(window->traffic);
    for (int i = 0; i < P2P_MAX_INITIATORS; i++) {
        p2p_grant_clear(&window->grants[i]);
    }
    g_array_free(window->installs, true);
    g_free(window);
}

/* Each INTx interrupt that QEMU emulates takes the BARs' mappings away. */
static bool p2p_mapping_unsteady(P2PMember *member)
{
    return member->passthrough && p2p_passthrough_intx_only(member->dev);
}

static bool p2p_share_auto(P2PMember *member, Error **errp)
{
    if (p2p_mapping_unsteady(member)) {
        return true;
    }
    for (int bar = 0; bar < PCI_ROM_SLOT; bar++) {
        PCIIORegion *r = &member->dev->io_regions[bar];
        g_autoptr(GArray) ranges = NULL;

        if (!r->size || (r->type & PCI_BASE_ADDRESS_SPACE_IO) ||
            !(r->type & PCI_BASE_ADDRESS_MEM_PREFETCH)) {
            continue;
        }
        ranges = p2p_bar_ranges(member->dev, bar);
        member->memory_bars |= ranges->len ? BIT(bar) : 0;
        for (guint i = 0; i < ranges->len; i++) {
            if (!p2p_window_add(member, bar,
                                &g_array_index(ranges, P2PRange, i),
                                P2P_ACCESS_RW, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* One item of p2p-share, taken apart: barN[:ro|rw][@OFFSET-END] */
typedef struct P2PShareItem {
    const char *text;   /* for messages: who asks, and for what */
    bool by_command;    /* p2p-share with offset and size, not the property */
    int bar;
    P2PAccess access;
    bool has_range;
    uint64_t start;
    uint64_t end;   /* first byte behind the range */
} P2PShareItem;

static bool p2p_share_parse(const char *text, P2PShareItem *item)
{
    const char *p;

    *item = (P2PShareItem) { .access = P2P_ACCESS_RW };

    if (!strstart(text, "bar", &p) || *p < '0' || *p > '9') {
        return false;
    }
    item->bar = *p++ - '0';
    if (strstart(p, ":ro", &p)) {
        item->access = P2P_ACCESS_RO;
    } else {
        strstart(p, ":rw", &p);
    }
    if (*p == '@') {
        item->has_range = true;
        /* A size may begin with a blank, but not here. */
        if (!g_ascii_isdigit(p[1]) ||
            qemu_strtosz(p + 1, &p, &item->start) < 0 ||
            *p != '-' || !g_ascii_isdigit(p[1]) ||
            qemu_strtosz(p + 1, &p, &item->end) < 0) {
            return false;
        }
    }
    return !*p;
}

static bool p2p_share_check_bar(P2PMember *member, const P2PShareItem *item,
                                Error **errp)
{
    const char *name = p2p_device_name(member->dev);
    const char *text = item->text;
    int bar = item->bar;
    PCIIORegion *r;

    if (object_dynamic_cast(OBJECT(member->dev), TYPE_P2P_BRIDGE)) {
        error_setg(errp, "%s: %s: a p2p-bridge shows what others share, and "
                   "has nothing of its own to share", name, text);
        return false;
    }
    if (bar >= PCI_ROM_SLOT || !member->dev->io_regions[bar].size) {
        g_autoptr(GString) bars = g_string_new("");

        for (int i = 0; i < PCI_ROM_SLOT; i++) {
            r = &member->dev->io_regions[i];
            if (r->size && !(r->type & PCI_BASE_ADDRESS_SPACE_IO)) {
                g_string_append_printf(bars, " bar%d", i);
            }
        }
        error_setg(errp, "%s: %s: the device has no BAR %d; its "
                   "memory BARs are:%s", name, text, bar,
                   bars->len ? bars->str : " none");
        return false;
    }
    r = &member->dev->io_regions[bar];
    if (r->type & PCI_BASE_ADDRESS_SPACE_IO) {
        error_setg(errp, "%s: %s: BAR %d is an I/O port BAR, only "
                   "memory can be a peer-to-peer target", name, text, bar);
        return false;
    }
    if (r->size < qemu_real_host_page_size()) {
        error_setg(errp, "%s: %s: BAR %d has %" PRIu64 " bytes, "
                   "less than a page of %" PRIu64 ", which is the least that "
                   "an IOMMU can grant", name, text, bar, (uint64_t)r->size,
                   (uint64_t)qemu_real_host_page_size());
        return false;
    }
    if (member->passthrough &&
        p2p_passthrough_mapping_suspended(member->dev, bar)) {
        error_setg(errp, "%s: %s: BAR %d is not mapped while the "
                   "device uses INTx; try again when the guest's driver uses "
                   "MSI or MSI-X", name, text, bar);
        return false;
    }
    if (p2p_mapping_unsteady(member)) {
        error_setg(errp, "%s: %s: the device has neither MSI nor "
                   "MSI-X; each INTx interrupt takes the mapping of BAR %d "
                   "away; use p2p-share=none, the device can still reach "
                   "others", name, text, bar);
        return false;
    }
    return true;
}

static bool p2p_share_check_range(P2PMember *member, const P2PShareItem *item,
                                  Error **errp)
{
    const char *name = p2p_device_name(member->dev);
    const char *text = item->text;
    uint64_t page = qemu_real_host_page_size();
    uint64_t size = member->dev->io_regions[item->bar].size;

    if (item->start >= item->end || item->end > size) {
        error_setg(errp, "%s: %s: range is empty or ends beyond BAR %d, which "
                   "has 0x%" PRIx64 " bytes; %s", name, text, item->bar, size,
                   item->by_command
                   ? "offset and size together must not be more"
                   : "the number behind the '-' is the first byte behind the "
                     "range");
        return false;
    }
    if (!QEMU_IS_ALIGNED(item->start, page) ||
        !QEMU_IS_ALIGNED(item->end, page)) {
        uint64_t start = QEMU_ALIGN_DOWN(item->start, page);
        uint64_t end = QEMU_ALIGN_UP(item->end, page);
        g_autofree char *next = item->by_command
            ? g_strdup_printf("one has offset 0x%" PRIx64 ", size 0x%" PRIx64,
                              start, end - start)
            : g_strdup_printf("range is 0x%" PRIx64 "-0x%" PRIx64, start, end);

        error_setg(errp, "%s: %s: range is not aligned to the page size of %"
                   PRIu64 "; the next aligned %s", name, text, page, next);
        return false;
    }
    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *w = g_ptr_array_index(member->windows, i);

        if (w->bar == item->bar &&
            ranges_overlap(w->offset, w->size, item->start,
                           item->end - item->start)) {
            error_setg(errp, "%s: %s: range overlaps another one "
                       "of BAR %d: 0x%" PRIx64 "-0x%" PRIx64, name, text,
                       item->bar, w->offset, w->offset + w->size);
            return false;
        }
    }
    return true;
}

/*
 * A BAR without any CPU mapping is shared as it is: device models can reach
 * it, and query-p2p tells why others cannot. In a BAR that has one, parts
 * that have none (an MSI-X table, say) are left out, but not if the user
 * named the range.
 */
static bool p2p_share_item(P2PMember *member, P2PShareItem *item,
                           Error **errp)
{
    g_autoptr(GArray) ranges = NULL;
    uint64_t covered = 0;

    if (!p2p_share_check_bar(member, item, errp)) {
        return false;
    }
    if (!item->has_range) {
        item->end = QEMU_ALIGN_DOWN(member->dev->io_regions[item->bar].size,
                                    qemu_real_host_page_size());
    }
    if (!p2p_share_check_range(member, item, errp)) {
        return false;
    }

    ranges = p2p_bar_ranges(member->dev, item->bar);
    if (!ranges->len) {
        P2PRange whole = { item->start, item->end - item->start,
                           P2P_BACKING_IO };

        return p2p_window_add(member, item->bar, &whole, item->access, errp);
    }
    for (guint i = 0; i < ranges->len; i++) {
        P2PRange range = g_array_index(ranges, P2PRange, i);
        uint64_t start = MAX(range.offset, item->start);
        uint64_t end = MIN(range.offset + range.size, item->end);

        if (start < end) {
            range.mr_offset += start - range.offset;
            range.offset = start;
            range.size = end - start;
            covered += range.size;
            if (!p2p_window_add(member, item->bar, &range, item->access,
                                errp)) {
                return false;
            }
        }
    }
    if (covered < (item->has_range ? item->end - item->start : 1)) {
        error_setg(errp, "%s: %s: part of the range has no CPU "
                   "mapping (an MSI-X table, or registers that QEMU "
                   "emulates); BAR %d without %s: all parts that can be are "
                   "shared", p2p_device_name(member->dev), item->text,
                   item->bar, item->by_command ? "offset and size"
                                               : "a range");
        return false;
    }
    return true;
}

bool p2p_windows_create(P2PMember *member, const char *share, Error **errp)
{
    g_auto(GStrv) items = NULL;

    if (!share || g_str_equal(share, "auto")) {
        return p2p_share_auto(member, errp);
    }
    if (g_str_equal(share, "none")) {
        return true;
    }
    items = g_strsplit(*share ? share : "+", "+", -1);
    for (int i = 0; items[i]; i++) {
        g_autofree char *text = NULL;
        P2PShareItem item;

        if (!p2p_share_parse(items[i], &item)) {
            error_setg(errp, "%s: p2p-share=%s: cannot understand '%s'; it is "
                       "auto, none, or a '+'-separated list of "
                       "barN[:ro|:rw][@OFFSET-END]",
                       p2p_device_name(member->dev), share, items[i]);
            return false;
        }
        text = g_strdup_printf("p2p-share=%s", items[i]);
        item.text = text;
        if (!p2p_share_item(member, &item, errp)) {
            return false;
        }
    }
    return true;
}

static bool p2p_bar_has_window(P2PMember *member, int bar)
{
    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *window = g_ptr_array_index(member->windows, i);

        if (window->bar == bar) {
            return true;
        }
    }
    return false;
}

const char *p2p_bar_why_unshared(P2PMember *member, int bar)
{
    const char *share = member->dev->p2p.share ?: "auto";
    PCIIORegion *r = &member->dev->io_regions[bar];

    if (!r->size || (r->type & PCI_BASE_ADDRESS_SPACE_IO) ||
        object_dynamic_cast(OBJECT(member->dev), TYPE_P2P_BRIDGE) ||
        p2p_bar_has_window(member, bar)) {
        return NULL;
    }
    if (r->size < qemu_real_host_page_size()) {
        return "it is smaller than a page, which is the least that an IOMMU "
               "can grant";
    }
    if (p2p_mapping_unsteady(member)) {
        return "the device has neither MSI nor MSI-X; each INTx interrupt "
               "takes the mapping of its BARs away";
    }
    if (member->unloaded_bars & BIT(bar)) {
        return "it was not shared where the state that was loaded comes from";
    }
    if (!g_str_equal(share, "auto")) {
        return "p2p-share does not name it, or p2p-unshare took it back";
    }
    if (!(r->type & PCI_BASE_ADDRESS_MEM_PREFETCH)) {
        return "it is not prefetchable; to share it, name it in p2p-share";
    }
    return member->memory_bars & BIT(bar) ? "p2p-unshare took it back"
                                          : "it has no CPU mapping";
}

/* --- Sharing at run time ----------------------------------------------- */

static void p2p_error_stuck(P2PMember *member, uint64_t stuck, Error **errp)
{
    error_setg(errp, "%s: the host could not take 0x%" PRIx64 " bytes out of "
               "the IOMMU; initiators may still reach them, query-p2p shows "
               "them as stuck. Any later change tries again, the same "
               "p2p-unshare too; unplug the initiators to be sure",
               p2p_device_name(member->dev), stuck);
}

bool p2p_windows_remove(P2PMember *member, GPtrArray *windows, Error **errp)
{
    int64_t start = get_clock();
    int64_t unmap_ns = p2p_iommu_unmap_ns;
    int64_t end;
    uint64_t stuck = 0;

    for (guint i = 0; i < windows->len; i++) {
        p2p_bridges_source_ends(windows->pdata[i], false);
    }
    for (guint i = 0; i < windows->len; i++) {
        P2PBarWindow *window = windows->pdata[i];
        guint index;

        g_ptr_array_find(member->windows, window, &index);
        g_ptr_array_steal_index(member->windows, index);
        p2p_iommu_revoke_window(window);
        p2p_window_unmap(window);
    }
    p2p_changed();
    end = p2p_update();
    trace_p2p_windows_remove(p2p_device_name(member->dev), windows->len,
                             end - start, p2p_iommu_unmap_ns - unmap_ns);

    for (guint i = 0; i < windows->len; i++) {
        P2PBarWindow *window = windows->pdata[i];

        for (guint j = 0; j < window->installs->len; j++) {
            stuck += g_array_index(window->installs, P2PInstall, j).stuck;
        }
        p2p_window_grants_end(window, "the window is no longer shared");
        p2p_window_free(window);
    }
    if (stuck) {
        p2p_error_stuck(member, stuck, errp);
    }
    return !stuck;
}

/* Those that @item does not cut. */
static GPtrArray *p2p_windows_in(P2PMember *member, const P2PShareItem *item,
                                 Error **errp)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new();

    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *w = g_ptr_array_index(member->windows, i);
        uint64_t end = w->offset + w->size;

        if (w->bar != item->bar || w->offset >= item->end ||
            end <= item->start || w->source) {
            continue;
        }
        if (w->offset < item->start || end > item->end) {
            error_setg(errp, "%s: the range cuts the window 0x%" PRIx64
                       "-0x%" PRIx64 " of BAR %d; windows can be taken back "
                       "as a whole only", p2p_device_name(member->dev),
                       w->offset, end, w->bar);
            return NULL;
        }
        g_ptr_array_add(found, w);
    }
    return g_steal_pointer(&found);
}

static P2PShareItem p2p_share_range(uint8_t bar, uint64_t offset,
                                    uint64_t size)
{
    P2PShareItem item = {
        .bar = bar, .has_range = offset || size, .start = offset,
        .end = offset + size,
    };

    if (!size || item.end < offset) {
        item.end = UINT64_MAX;
    }
    return item;
}

static void p2p_windows_set_trial(P2PMember *member, guint first, bool on)
{
    for (guint i = first; i < member->windows->len; i++) {
        ((P2PBarWindow *)member->windows->pdata[i])->on_trial = on;
    }
}

static char *p2p_share_command(uint8_t bar, uint64_t offset, uint64_t size)
{
    g_autofree char *end = size ? g_strdup_printf(", size 0x%" PRIx64, size)
                                : g_strdup("");

    return g_strdup_printf("p2p-share of BAR %u, offset 0x%" PRIx64 "%s", bar,
                           offset, end);
}

bool p2p_windows_share(P2PMember *member, uint8_t bar, uint64_t offset,
                       uint64_t size, P2PAccess access, Error **errp)
{
    P2PShareItem item = p2p_share_range(bar, offset, size);
    g_autofree char *text = p2p_share_command(bar, offset, size);
    g_autoptr(GPtrArray) added = g_ptr_array_new();
    P2PGroup *group = member->group;
    guint before = member->windows->len;
    ERRP_GUARD();

    item.text = text;
    item.by_command = true;
    item.access = access;
    if (item.has_range && !size && bar < PCI_ROM_SLOT) {
        item.end = member->dev->io_regions[bar].size;
    }
    if (p2p_share_item(member, &item, errp)) {
        p2p_windows_set_trial(member, before, group->policy ==
                                              P2P_POLICY_REQUIRE);
        p2p_changed();
        p2p_update();
        p2p_windows_check_required(member, before, errp);
    }
    if (*errp) {
        for (guint i = before; i < member->windows->len; i++) {
            g_ptr_array_add(added, member->windows->pdata[i]);
        }
        p2p_windows_remove(member, added, NULL);
        return false;
    }
    p2p_windows_set_trial(member, before, false);
    return true;
}

/* What p2p-unshare could not do before. */
static bool p2p_windows_unstick(P2PMember *member, const P2PShareItem *item,
                                Error **errp)
{
    uint64_t stuck;

    p2p_update();
    stuck = p2p_iommu_stuck(member, item->bar, item->start, item->end);
    if (stuck) {
        p2p_error_stuck(member, stuck, errp);
    }
    return !stuck;
}

GPtrArray *p2p_windows_to_unshare(P2PMember *member, uint8_t bar,
                                  uint64_t offset, uint64_t size,
                                  Error **errp)
{
    P2PShareItem item = p2p_share_range(bar, offset, size);

    return p2p_windows_in(member, &item, errp);
}

P2PBarWindow *p2p_window_holding(P2PMember *member, uint8_t bar,
                                 uint64_t offset, uint64_t size)
{
    for (guint i = 0; i < member->windows->len; i++) {
        P2PBarWindow *w = g_ptr_array_index(member->windows, i);

        if (w->bar == bar && !w->source && offset >= w->offset &&
            size <= w->size && offset - w->offset <= w->size - size) {
            return w;
        }
    }
    return NULL;
}

bool p2p_windows_unshare(P2PMember *member, uint8_t bar, uint64_t offset,
                         uint64_t size, Error **errp)
{
    P2PShareItem item = p2p_share_range(bar, offset, size);
    g_autoptr(GPtrArray) windows = p2p_windows_in(member, &item, errp);

    if (!windows) {
        return false;
    }
    if (!windows->len && p2p_iommu_stuck(member, bar, offset, item.end)) {
        return p2p_windows_unstick(member, &item, errp);
    }
    if (!windows->len) {
        error_setg(errp, "%s: no window of BAR %u is shared there; query-p2p "
                   "shows those that are", p2p_device_name(member->dev), bar);
        return false;
    }
    return p2p_windows_remove(member, windows, errp);
}

/* --- Where a window is ------------------------------------------------- */

/*
 * The offset in @bar of a byte of @mr, which is @bar or stands somewhere in
 * it. False if it does not.
 */
static bool p2p_offset_in_bar(MemoryRegion *bar, MemoryRegion *mr,
                              hwaddr offset_in_mr, uint64_t *offset)
{
    for (; mr != bar; mr = mr->container) {
        if (!mr) {
            return false;
        }
        offset_in_mr += mr->addr;
    }
    *offset = offset_in_mr;
    return true;
}

/* Whether @s, which is at @at of the window, is part of it. */
static bool p2p_window_is_at(P2PBarWindow *window, MemoryRegionSection *s,
                             uint64_t at)
{
    MemoryRegion *bar = window->owner->dev->io_regions[window->bar].memory;
    uint64_t offset;

    /* What stands in an aperture stands in the source's BAR. */
    if (window->source) {
        return (s->mr == window->mr &&
                s->offset_within_region == window->mr_offset + at) ||
               p2p_aperture_is_empty_at(window, s, at);
    }
    return p2p_offset_in_bar(bar, s->mr, s->offset_within_region, &offset) &&
           offset == window->offset + at &&
           (window->mr ? s->mr == window->mr
                       : p2p_backing_of(s->mr) == P2P_BACKING_IO);
}

/* Whether the guest's CPUs see the whole window at @gpa, and nothing else. */
static bool p2p_window_visible(P2PBarWindow *window, hwaddr gpa)
{
    uint64_t done = 0;

    while (done < window->size) {
        MemoryRegionSection s = memory_region_find(get_system_memory(),
                                                   gpa + done,
                                                   window->size - done);
        bool ok;

        if (!s.mr) {
            return false;
        }
        ok = s.offset_within_address_space == gpa + done &&
             p2p_window_is_at(window, &s, done);
        memory_region_unref(s.mr);
        if (!ok) {
            return false;
        }
        done += int128_get64(s.size);
    }
    return true;
}

static bool p2p_group_has_models(P2PGroup *group)
{
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, group) {
        if (!member->passthrough && member->dev->p2p.initiate) {
            return true;
        }
    }
    return false;
}

/*
 * Device models reach RAM as it is, if they may write it, and all else by a
 * mapping that can be taken away.  A request that began before the window
 * moved must not end in it: there is a new one each time.
 */
bool p2p_window_needs_mapping(P2PBarWindow *window)
{
    return window->backing != P2P_BACKING_RAM ||
           window->access == P2P_ACCESS_RO;
}

static void p2p_window_remap(P2PBarWindow *window, bool moved)
{
    bool wanted = window->state == P2P_WINDOW_STATE_MAPPED &&
                  p2p_window_needs_mapping(window) &&
                  p2p_group_has_models(window->owner->group);
    bool broken = window->mapping && p2p_bar_mapping_state(window->mapping) !=
                                     P2P_MAPPING_LIVE;

    if (moved || !wanted || broken) {
        p2p_window_unmap(window);
    }
    if (wanted && !window->mapping) {
        window->mapping = p2p_bar_mapping_new(window, moved || !broken);
    }
}

/* Its memory is the source's for as long as that stays where it is. */
static void p2p_window_follow(P2PBarWindow *window)
{
    P2PBarWindow *source = window->source;

    if (source && !window->lost &&
        (source->state != P2P_WINDOW_STATE_MAPPED ||
         source->moves != window->source_moves)) {
        window->lost = true;
        p2p_bridge_window_lost(window);
    }
}

void p2p_window_locate(P2PBarWindow *window)
{
    PCIIORegion *r = &window->owner->dev->io_regions[window->bar];
    P2PWindowState state = P2P_WINDOW_STATE_UNMAPPED;
    hwaddr before = window->gpa;
    bool moved;

    p2p_window_follow(window);
    /* A BAR is taken out of its container before its address changes. */
    if (!window->lost && !window->owner->suspended && r->addr != PCI_BAR_UNMAPPED &&
        r->memory->container) {
        hwaddr gpa = r->addr + window->offset;

        if (p2p_window_visible(window, gpa)) {
            state = P2P_WINDOW_STATE_MAPPED;
            window->gpa = gpa;
            window->has_gpa = true;
        } else {
            state = P2P_WINDOW_STATE_HIDDEN;
        }
    }
    moved = state != window->state || window->gpa != before;
    if (moved) {
        window->state = state;
        window->moves++;
        p2p_changed();
        trace_p2p_window_state(p2p_device_name(window->owner->dev),
                               window->bar, window->offset,
                               P2PWindowState_str(state), window->gpa);
    }
    p2p_window_remap(window, moved);
}

bool p2p_window_fits_view(P2PBarWindow *window)
{
    return window->mapping || !p2p_window_needs_mapping(window);
}

P2PInstall *p2p_window_install(P2PBarWindow *window, const void *container)
{
    for (guint i = 0; i < window->installs->len; i++) {
        P2PInstall *install = &g_array_index(window->installs, P2PInstall, i);

        if (install->container == container) {
            return install;
        }
    }
    return NULL;
}

P2PInstall *p2p_window_install_add(P2PBarWindow *window,
                                   const void *container)
{
    P2PInstall *install = p2p_window_install(window, container);

    if (!install) {
        P2PInstall fresh = { .container = container };

        g_array_append_val(window->installs, fresh);
        install = &g_array_index(window->installs, P2PInstall,
                                 window->installs->len - 1);
    }
    return install;
}
