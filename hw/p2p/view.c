/*
 * Views: what a member sees when it issues DMA
 *
 * A view is an allow-list, built up from nothing: guest RAM, the platform's
 * interrupt doorbells, granted windows. VFIO and device models obey it because
 * it is the address space that pci_device_iommu_address_space() names.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/qapi-events-p2p.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "hw/boards.h"
#include "hw/mem/memory-device.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/*
 * Where x86 devices write to raise an interrupt (Intel SDM vol. 3, 11.11.1).
 * A device model sends its MSI through its own DMA address space.
 */
#define P2P_DOORBELL_BASE 0xfee00000ULL
#define P2P_DOORBELL_SIZE 0x00100000ULL

/* An alias that stands in a view: part of guest RAM, or a window. */
typedef struct P2PSlice {
    MemoryRegion alias;
    MemoryRegion *target;
    Object *model;          /* stands between both; NULL: nothing does */
    hwaddr gpa;
    hwaddr offset;          /* in @target */
    uint64_t size;
    bool readonly;
    P2PBarWindow *window;   /* NULL: guest RAM */
    /*
     * No longer in the view; kept until all listeners were told, so that
     * their unmap calls find the window.
     */
    bool gone;
    bool fresh;             /* the listeners have not been told of it yet */
    bool trial;             /* put there by p2p_view_try() */
    bool wanted;            /* only while p2p_view_sync() runs */
    QTAILQ_ENTRY(P2PSlice) next;
} P2PSlice;

#define TYPE_P2P_VIEW "p2p-view"
OBJECT_DECLARE_SIMPLE_TYPE(P2PView, P2P_VIEW)

/*
 * The owner of its regions: FlatViews that were made of them may live on when
 * the view has been freed.
 */
struct P2PView {
    Object parent_obj;

    AddressSpace as;
    MemoryRegion root;
    MemoryRegion doorbells;
    P2PGroup *group;        /* NULL: no windows */
    P2PMember *member;      /* NULL: passthrough devices, or freed */
    char *name;
    QTAILQ_HEAD(, P2PSlice) slices;
    GHashTable *by_gpa;     /* gpa -> slice that is not gone */
    unsigned next_fault;    /* may be told then, in ms, modulo; atomic */
    QTAILQ_ENTRY(P2PView) next;
};

static QTAILQ_HEAD(, P2PView) p2p_views = QTAILQ_HEAD_INITIALIZER(p2p_views);

/* --- Guest RAM --------------------------------------------------------- */

/*
 * Whether the section is that of a memory device. A guest may move a BAR to
 * where no memory device is plugged, so lying in the device-memory region's
 * range proves nothing: look at the region alone.
 */
static bool p2p_is_device_memory(MachineState *ms, MemoryRegionSection *s)
{
    static Object *peek;
    hwaddr offset = s->offset_within_address_space;
    MemoryRegionSection found;
    bool same;

    if (!ms->device_memory ||
        !range_covers_byte(ms->device_memory->base,
                           memory_region_size(&ms->device_memory->mr),
                           offset)) {
        return false;
    }
    if (!peek) {
        peek = p2p_peek_new(&ms->device_memory->mr, 0,
                            memory_region_size(&ms->device_memory->mr));
    }
    offset -= ms->device_memory->base;
    found = p2p_peek_find(peek, offset, 1);
    if (!found.mr) {
        return false;
    }
    same = found.mr == s->mr && found.offset_within_address_space == offset &&
           found.offset_within_region == s->offset_within_region;
    memory_region_unref(found.mr);
    return same;
}

/*
 * RAM of the machine, and whatever is plugged as a memory device. RAM that
 * stands in a BAR, frame buffers and firmware are not.
 */
static bool p2p_is_guest_ram(MachineState *ms, MemoryRegionSection *s)
{
    MemoryRegion *mr = s->mr;

    if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr) ||
        memory_region_is_rom(mr) || memory_region_is_romd(mr) ||
        memory_region_is_protected(mr)) {
        return false;
    }
    return mr == ms->ram || (ms->ram && mr->container == ms->ram) ||
           p2p_is_device_memory(ms, s);
}

void p2p_foreach_ram(P2PRamFn *fn, void *opaque)
{
    MachineState *ms = MACHINE(qdev_get_machine());
    MemoryRegion *system = get_system_memory();
    hwaddr at = 0;
    MemoryRegionSection s;

    /* Up to, not including, the last page: no machine has RAM there. */
    while ((s = memory_region_find(system, at, -at - 1)).mr) {
        hwaddr start = s.offset_within_address_space;
        uint64_t size = int128_get64(s.size);

        if (p2p_is_guest_ram(ms, &s)) {
            fn(s.mr, start, s.offset_within_region, size, s.readonly, opaque);
        }
        memory_region_unref(s.mr);
        at = start + size;
        if (!at || at == UINT64_MAX) {
            break;
        }
    }
}

/* --- Slices ------------------------------------------------------------ */

static const char *p2p_slice_name(P2PSlice *slice)
{
    return slice->window ? p2p_device_name(slice->window->owner->dev)
                         : memory_region_name(slice->target);
}

static bool p2p_slice_overlaps(P2PSlice *slice, hwaddr iova, uint64_t size)
{
    return slice->gpa < iova + size && iova < slice->gpa + slice->size;
}

/*
 * Call @fn for each window that a call concerns. One section may be several
 * adjacent windows, of which only one changes: VFIO unmaps all that was there,
 * gone or not, before it maps all that is there, new or not.
 */
static void p2p_note(P2PView *view, const void *container, hwaddr iova,
                     uint64_t size, int ret, bool mapped,
                     void (*fn)(P2PBarWindow *window, const void *container,
                                uint64_t bytes, int ret))
{
    P2PSlice *slice;

    if (!view) {
        return;
    }
    QTAILQ_FOREACH(slice, &view->slices, next) {
        bool concerned = mapped ? !slice->gone : !slice->fresh;

        if (slice->window && concerned &&
            p2p_slice_overlaps(slice, iova, size)) {
            hwaddr start = MAX(slice->gpa, iova);
            hwaddr end = MIN(slice->gpa + slice->size, iova + size);

            fn(slice->window, container, end - start, ret);
            p2p_changed();
        }
    }
}

static void p2p_note_map_window(P2PBarWindow *window, const void *container,
                                uint64_t bytes, int ret)
{
    P2PInstall *install = p2p_window_install_add(window, container);

    if (ret) {
        install->failures++;
        install->last_errno = -ret;
    } else {
        install->maps++;
        install->bytes += bytes;
    }
    install->failed = ret;
    trace_p2p_note_map(p2p_device_name(window->owner->dev), window->bar,
                       container, window->gpa, bytes, ret);
}

static void p2p_note_unmap_window(P2PBarWindow *window, const void *container,
                                  uint64_t bytes, int ret)
{
    P2PInstall *install = p2p_window_install(window, container);

    /* VFIO unmaps what it could not map, too: that is no event. */
    if (!install || !install->bytes) {
        return;
    }
    install->bytes -= MIN(install->bytes, bytes);
    if (ret) {
        install->failures++;
        install->last_errno = -ret;
        install->stuck += bytes;
        error_report("BAR %d of %s: VFIO could not take 0x%" PRIx64 " bytes "
                     "out of the IOMMU: %s; initiators may still reach them. "
                     "Unplug the initiators to be sure", window->bar,
                     p2p_device_name(window->owner->dev), bytes,
                     strerror(-ret));
    } else {
        install->unmaps++;
        install->failed = false;
    }
    trace_p2p_note_unmap(p2p_device_name(window->owner->dev), window->bar,
                         container, window->gpa, bytes, ret);
}

static void p2p_slice_add(P2PView *view, const P2PSlice *want)
{
    P2PSlice *slice = g_memdup2(want, sizeof(*want));
    MemoryRegion *target = slice->target;
    hwaddr offset = slice->offset;
    g_autofree char *name = NULL;

    if (view->member && slice->window && slice->window->mapping) {
        slice->model = p2p_model_window_new(view, slice->window);
        target = p2p_model_window_region(slice->model);
        offset = 0;
    }
    name = g_strdup_printf("p2p:%s", p2p_slice_name(slice));
    memory_region_init_alias(&slice->alias, OBJECT(view), name, target,
                             offset, slice->size);
    memory_region_set_readonly(&slice->alias, slice->readonly);
    memory_region_add_subregion(&view->root, slice->gpa, &slice->alias);
    QTAILQ_INSERT_TAIL(&view->slices, slice, next);
    g_hash_table_insert(view->by_gpa, &slice->gpa, slice);
    slice->fresh = true;
    p2p_changed();
    trace_p2p_view_add(view->name, p2p_slice_name(slice), slice->gpa,
                       slice->size, slice->readonly);

    if (view->member && slice->window) {
        p2p_note(view, view, slice->gpa, slice->size, 0, true,
                 p2p_note_map_window);
    }
}

static void p2p_slice_remove(P2PView *view, P2PSlice *slice)
{
    memory_region_del_subregion(&view->root, &slice->alias);
    g_hash_table_remove(view->by_gpa, &slice->gpa);
    slice->gone = true;
    p2p_changed();
    trace_p2p_view_del(view->name, p2p_slice_name(slice), slice->gpa,
                       slice->size);

    if (view->member && slice->window) {
        p2p_note(view, view, slice->gpa, slice->size, 0, false,
                 p2p_note_unmap_window);
    }
}

static void p2p_view_reap(P2PView *view)
{
    P2PSlice *slice, *tmp;

    QTAILQ_FOREACH_SAFE(slice, &view->slices, next, tmp) {
        if (slice->gone) {
            QTAILQ_REMOVE(&view->slices, slice, next);
            object_unparent(OBJECT(&slice->alias));
            object_unref(slice->model);
            g_free(slice);
        } else {
            slice->fresh = false;
        }
    }
}

/* --- Synchronization --------------------------------------------------- */

typedef struct P2PSync {
    GArray *ram;            /* of P2PSlice, what is wanted in every view */
    P2PView *view;
    GArray *add;            /* of P2PSlice, what is missing in @view */
} P2PSync;

static void p2p_sync_collect_ram(MemoryRegion *mr, hwaddr gpa, hwaddr offset,
                                 uint64_t size, bool readonly, void *opaque)
{
    P2PSlice slice = {
        .target = mr, .gpa = gpa, .offset = offset, .size = size,
        .readonly = readonly,
    };

    g_array_append_val(((P2PSync *)opaque)->ram, slice);
}

static bool p2p_slice_equal(const P2PSlice *a, const P2PSlice *b)
{
    return a->target == b->target && a->gpa == b->gpa &&
           a->offset == b->offset && a->size == b->size &&
           a->readonly == b->readonly && a->window == b->window;
}

static void p2p_sync_want(P2PSync *sync, const P2PSlice *want)
{
    P2PSlice *slice = g_hash_table_lookup(sync->view->by_gpa, &want->gpa);

    if (slice && p2p_slice_equal(slice, want)) {
        slice->wanted = true;
    } else {
        g_array_append_val(sync->add, *want);
    }
}

static void p2p_slice_of_window(P2PView *view, P2PBarWindow *window,
                                P2PSlice *slice)
{
    P2PBarMapping *mapping;

    *slice = (P2PSlice) {
        .target = window->owner->dev->io_regions[window->bar].memory,
        .gpa = window->gpa, .offset = window->offset, .size = window->size,
        .readonly = window->access == P2P_ACCESS_RO,
        .window = window,
    };
    mapping = view->member ? window->mapping : window->ram_mapping;
    if (mapping) {
        slice->target = p2p_bar_mapping_region(mapping);
        slice->offset = 0;
    }
}

static void p2p_sync_want_windows(P2PSync *sync)
{
    P2PMember *user = sync->view->member;
    P2PMember *owner;
    P2PSlice slice;

    if (!sync->view->group || (user && !user->dev->p2p.initiate)) {
        return;
    }
    P2P_FOREACH_MEMBER(owner, sync->view->group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);

            if (window->state == P2P_WINDOW_STATE_MAPPED &&
                p2p_window_fits(window, !user)) {
                p2p_slice_of_window(sync->view, window, &slice);
                p2p_sync_want(sync, &slice);
            }
        }
    }
}

/* Within a memory transaction. */
static void p2p_view_sync(P2PSync *sync, P2PView *view)
{
    P2PSlice *slice;

    sync->view = view;
    sync->add = g_array_new(false, false, sizeof(P2PSlice));
    QTAILQ_FOREACH(slice, &view->slices, next) {
        slice->wanted = false;
    }
    for (guint i = 0; i < sync->ram->len; i++) {
        p2p_sync_want(sync, &g_array_index(sync->ram, P2PSlice, i));
    }
    p2p_sync_want_windows(sync);

    QTAILQ_FOREACH(slice, &view->slices, next) {
        if (!slice->wanted && !slice->trial && !slice->gone) {
            p2p_slice_remove(view, slice);
        }
    }
    for (guint i = 0; i < sync->add->len; i++) {
        p2p_slice_add(view, &g_array_index(sync->add, P2PSlice, i));
    }
    g_array_free(sync->add, true);
}

void p2p_views_sync(void)
{
    P2PSync sync = { .ram = g_array_new(false, false, sizeof(P2PSlice)) };
    P2PView *view;

    p2p_foreach_ram(p2p_sync_collect_ram, &sync);

    /* Without a change the transaction costs nothing. */
    memory_region_transaction_begin();
    QTAILQ_FOREACH(view, &p2p_views, next) {
        p2p_view_sync(&sync, view);
    }
    memory_region_transaction_commit();

    QTAILQ_FOREACH(view, &p2p_views, next) {
        p2p_view_reap(view);
    }
    g_array_free(sync.ram, true);
}

/* --- What VFIO did ----------------------------------------------------- */

static P2PView *p2p_view_of_container(void *container)
{
    AddressSpace *as;
    P2PView *view;

    if (!p2p_views_exist()) {
        return NULL;
    }
    as = p2p_vfio_address_space(container);
    QTAILQ_FOREACH(view, &p2p_views, next) {
        if (&view->as == as) {
            return view;
        }
    }
    return NULL;
}

/*
 * A vfio-user client sends its map calls without waiting, and only prints
 * what the last answer says. For windows the answer is needed. A failure to map
 * anything else would end the VM, if VFIO knew of it.
 */
static bool p2p_map_waited;

static bool p2p_map_may_fail(P2PView *view, hwaddr iova, uint64_t size)
{
    P2PSlice *slice;

    QTAILQ_FOREACH(slice, &view->slices, next) {
        if (slice->window && !slice->gone &&
            p2p_slice_overlaps(slice, iova, size)) {
            /* Should the call fail, the VM goes on for these alone. */
            return true;
        }
    }
    return false;
}

void p2p_before_map(void *container, hwaddr iova, uint64_t size)
{
    P2PView *view = p2p_view_of_container(container);

    if (view && !view->member && p2p_map_may_fail(view, iova, size)) {
        p2p_map_waited = p2p_vfio_wait_for_map(container, true);
    }
}

void p2p_note_map(void *container, hwaddr iova, uint64_t size, int ret)
{
    P2PView *view = p2p_view_of_container(container);

    if (view && !view->member && p2p_map_may_fail(view, iova, size)) {
        p2p_vfio_wait_for_map(container, p2p_map_waited);
    }
    p2p_note(view, container, iova, size, ret, true, p2p_note_map_window);
}

void p2p_note_unmap(void *container, hwaddr iova, uint64_t size, int ret)
{
    p2p_note(p2p_view_of_container(container), container, iova, size, ret,
             false, p2p_note_unmap_window);
}

/* Where nothing is in the view, nor may come while the BQL is held. */
static hwaddr p2p_view_end(P2PView *view)
{
    hwaddr end = P2P_DOORBELL_BASE + P2P_DOORBELL_SIZE;
    P2PSlice *slice;

    QTAILQ_FOREACH(slice, &view->slices, next) {
        end = MAX(end, slice->gpa + slice->size);
    }
    return end;
}

int p2p_view_try(P2PView *view, P2PBarWindow *window, const void *container)
{
    GArray *before = window->installs;
    P2PInstall *install;
    P2PSlice slice, *trial;
    int ret = -ENXIO; /* VFIO did not even try */

    /* What is noted is about the trial alone, for every user of the view. */
    window->installs = g_array_new(false, true, sizeof(P2PInstall));
    p2p_slice_of_window(view, window, &slice);
    slice.gpa = p2p_view_end(view);
    slice.size = qemu_real_host_page_size();
    slice.trial = true;

    /* The slice must be in the list when the listeners are called. */
    memory_region_transaction_begin();
    p2p_slice_add(view, &slice);
    trial = QTAILQ_LAST(&view->slices);
    memory_region_transaction_commit();

    install = p2p_window_install(window, container);
    if (install && install->failures) {
        ret = -install->last_errno;
    } else if (install && install->maps) {
        ret = 0;
    }
    trace_p2p_view_try(p2p_device_name(window->owner->dev), window->bar,
                       slice.gpa, ret);

    memory_region_transaction_begin();
    p2p_slice_remove(view, trial);
    memory_region_transaction_commit();
    p2p_view_reap(view);

    g_array_free(window->installs, true);
    window->installs = before;
    return ret;
}

/* --- Faults of device models ------------------------------------------- */

/*
 * One fault a second of each member: a guest causes as many as it likes.  Not
 * by the monitor, which has one limit for the faults of all.
 */
static bool p2p_view_may_tell(P2PView *view)
{
    unsigned now = qemu_clock_get_ms(p2p_event_clock());
    unsigned next = qatomic_read(&view->next_fault);

    return (int)(now - next) >= 0 &&
           qatomic_cmpxchg(&view->next_fault, next,
                           now + P2P_TELL_INTERVAL_MS) == next;
}

MemTxResult p2p_view_fault(P2PView *view, hwaddr gpa, bool write)
{
    P2PMember *member = view->member;
    P2PGuestVec entry = {
        .addr.gpa = gpa, .len = 1,
        .flags = write ? P2P_VEC_WRITE : P2P_VEC_READ,
    };
    P2PFault fault = { .reason = P2P_FAULT_UNMAPPED };
    P2PBusVec out;
    P2PMapSnapshot *snapshot;
    const char *name;
    size_t room = 1;

    if (!member) {
        return MEMTX_DECODE_ERROR;
    }
    name = p2p_device_name(member->dev);
    RCU_READ_LOCK_GUARD();
    snapshot = qatomic_rcu_read(&view->group->snapshot);
    if (snapshot) {
        p2p_translate(snapshot->map, member->index, &entry, 1, &out, &room,
                      &fault);
    }
    trace_p2p_view_fault(name, gpa, write,
                         p2p_fault_reason_str(fault.reason));
    if (p2p_view_may_tell(view)) {
        qapi_event_send_p2p_fault(name, gpa, write,
                                  p2p_fault_reason_str(fault.reason));
    }
    return MEMTX_DECODE_ERROR;
}

static MemTxResult p2p_view_read(void *opaque, hwaddr addr, uint64_t *data,
                                 unsigned size, MemTxAttrs attrs)
{
    *data = UINT64_MAX;
    return p2p_view_fault(opaque, addr, false);
}

static MemTxResult p2p_view_write(void *opaque, hwaddr addr, uint64_t data,
                                  unsigned size, MemTxAttrs attrs)
{
    return p2p_view_fault(opaque, addr, true);
}

static const MemoryRegionOps p2p_view_ops = {
    .read_with_attrs = p2p_view_read,
    .write_with_attrs = p2p_view_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* --- Life -------------------------------------------------------------- */

P2PView *p2p_view_new(P2PGroup *group, P2PMember *member)
{
    P2PView *view = P2P_VIEW(object_new(TYPE_P2P_VIEW));
    Object *owner = OBJECT(view);

    view->group = group;
    view->member = member;
    view->name = g_strdup_printf("p2p:%s%s%s",
                                 group ? p2p_group_id(group) : "confined",
                                 member ? ":" : "",
                                 member ? p2p_device_name(member->dev) : "");
    QTAILQ_INIT(&view->slices);
    view->by_gpa = g_hash_table_new(g_int64_hash, g_int64_equal);

    if (member) {
        memory_region_init_io(&view->root, owner, &p2p_view_ops, view,
                              view->name, UINT64_MAX);
        p2p_enable_lockless_io(&view->root);
        view->next_fault = qemu_clock_get_ms(p2p_event_clock());
    } else {
        memory_region_init(&view->root, owner, view->name, UINT64_MAX);
    }
    memory_region_init_alias(&view->doorbells, owner, "p2p:doorbells",
                             get_system_memory(), P2P_DOORBELL_BASE,
                             P2P_DOORBELL_SIZE);
    memory_region_add_subregion(&view->root, P2P_DOORBELL_BASE,
                                &view->doorbells);
    address_space_init(&view->as, &view->root, view->name);
    QTAILQ_INSERT_TAIL(&p2p_views, view, next);
    return view;
}

static void p2p_view_finalize(Object *obj)
{
    g_free(P2P_VIEW(obj)->name);
}

void p2p_view_free(P2PView *view)
{
    P2PSlice *slice;

    /* First of all, or the end of the transaction would fill it again. */
    QTAILQ_REMOVE(&p2p_views, view, next);

    memory_region_transaction_begin();
    QTAILQ_FOREACH(slice, &view->slices, next) {
        p2p_slice_remove(view, slice);
    }
    memory_region_del_subregion(&view->root, &view->doorbells);
    /* Before the end of the transaction, which would make it a FlatView. */
    address_space_destroy(&view->as);
    memory_region_transaction_commit();
    p2p_view_reap(view);
    g_hash_table_destroy(view->by_gpa);
    view->member = NULL;
    object_unref(OBJECT(view));
}

AddressSpace *p2p_view_address_space(P2PView *view)
{
    return &view->as;
}

P2PMember *p2p_view_member(P2PView *view)
{
    return view->member;
}

P2PView *p2p_view_from_root(MemoryRegion *mr)
{
    return mr->ops == &p2p_view_ops ? mr->opaque : NULL;
}

bool p2p_views_exist(void)
{
    return !QTAILQ_EMPTY(&p2p_views);
}

P2PView *p2p_view_confined(void)
{
    static P2PView *confined;

    if (!confined) {
        confined = p2p_view_new(NULL, NULL);
    }
    return confined;
}

static const TypeInfo p2p_view_info = {
    .name = TYPE_P2P_VIEW,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(P2PView),
    .instance_finalize = p2p_view_finalize,
};

static void p2p_view_register_types(void)
{
    type_register_static(&p2p_view_info);
}

type_init(p2p_view_register_types)
