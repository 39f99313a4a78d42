/*
 * Windows in the aperture of a p2p-bridge
 *
 * The aperture is a BAR that reads as ones.  A window in it is an alias of the
 * memory that the source has in its own BAR, and is put into IOMMUs and views
 * as any other window.  It ends with what it shows: the alias goes in the same
 * transaction as the window from the views, before the source's device stops
 * decoding.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/mem/memory-device.h"
#include "hw/virtio/vhost.h"
#include "system/kvm.h"
#include "hw/p2p/internal.h"
#include "trace.h"

struct P2PShown {
    P2PBarWindow *window;
    MemoryRegion *aperture;
    MemoryRegion alias;
    bool visible;
    QTAILQ_ENTRY(P2PShown) next;
};

static QTAILQ_HEAD(, P2PShown) p2p_shown = QTAILQ_HEAD_INITIALIZER(p2p_shown);

void p2p_apertures_sync(void)
{
    P2PShown *shown;

    QTAILQ_FOREACH(shown, &p2p_shown, next) {
        bool wanted = !shown->window->lost;

        if (wanted && !shown->visible) {
            memory_region_add_subregion_overlap(shown->aperture,
                                                shown->window->offset,
                                                &shown->alias, 1);
        } else if (!wanted && shown->visible) {
            memory_region_del_subregion(shown->aperture, &shown->alias);
        }
        shown->visible = wanted;
    }
}

bool p2p_aperture_is_empty_at(P2PBarWindow *window, MemoryRegionSection *s,
                              uint64_t at)
{
    return s->mr == window->shown->aperture &&
           s->offset_within_region == window->offset + at;
}

/*
 * KVM and vhost take each window for memory, and have room for so many ranges:
 * not the guest decides that the host can plug no memory any more.
 */
#define P2P_SPARE_MEMSLOTS 8

static bool p2p_aperture_has_memslot(void)
{
    unsigned spare = memory_devices_get_reserved_memslots() +
                     P2P_SPARE_MEMSLOTS;

    return vhost_get_free_memslots() > spare &&
           (!kvm_enabled() || kvm_get_free_memslots() > spare);
}

P2PBarWindow *p2p_aperture_attach(P2PMember *member, int bar,
                                  MemoryRegion *aperture, uint64_t offset,
                                  P2PBarWindow *source,
                                  uint64_t source_offset, uint64_t size,
                                  P2PAccess access)
{
    P2PRange range = {
        .offset = offset, .size = size, .backing = source->backing,
        .mr = source->mr, .mr_offset = source->mr_offset + source_offset,
    };
    P2PShown *shown;

    if (!p2p_window_has_room(member, NULL) || !p2p_aperture_has_memslot()) {
        return NULL;
    }
    shown = g_new0(P2PShown, 1);
    shown->window = p2p_window_new(member, bar, &range, access);
    shown->window->source = source;
    shown->window->source_offset = source_offset;
    shown->window->source_moves = source->moves;
    shown->window->shown = shown;
    shown->aperture = aperture;
    QTAILQ_INSERT_TAIL(&p2p_shown, shown, next);

    memory_region_init_alias(&shown->alias, memory_region_owner(aperture),
                             "p2p-aperture", range.mr, range.mr_offset, size);
    memory_region_set_readonly(&shown->alias, access == P2P_ACCESS_RO);
    p2p_changed();
    p2p_update();
    trace_p2p_aperture_attach(p2p_device_name(member->dev), offset, size,
                              p2p_device_name(source->owner->dev), source->bar,
                              source->offset + source_offset);
    return shown->window;
}

static void p2p_shown_free(P2PShown *shown)
{
    QTAILQ_REMOVE(&p2p_shown, shown, next);
    /* FlatViews hold what is behind an alias, not the alias. */
    object_unparent(OBJECT(&shown->alias));
    g_free(shown);
}

void p2p_aperture_detach(GPtrArray *windows)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(
                                   (GDestroyNotify)p2p_shown_free);

    for (guint i = 0; i < windows->len; i++) {
        P2PBarWindow *window = windows->pdata[i];

        trace_p2p_aperture_detach(p2p_device_name(window->owner->dev),
                                  window->offset, window->size);
        g_ptr_array_add(all, window->shown);
        window->lost = true;
    }
    if (windows->len) {
        P2PBarWindow *first = windows->pdata[0];

        /* Out of IOMMUs, views and the aperture, all in one. */
        p2p_windows_remove(first->owner, windows, NULL);
    }
}
