/*
 * Views: what a member sees when it issues DMA
 *
 * A view is an allow-list, built up from nothing: guest RAM, the platform's
 * interrupt doorbells, granted windows. VFIO and device models obey it because
 * it is the address space that pci_device_iommu_address_space() names. In that
 * of passthrough devices are no windows: iommu.c puts them into the IOMMU.
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

/* What stands in a view: part of guest RAM, or a window. */
typedef struct P2PSlice {
    MemoryRegion alias;
    MemoryRegion *target;
    Object *model;          /* stands between both; NULL: nothing does */
    hwaddr gpa;
    hwaddr offset;          /* in @target */
    uint64_t size;
    bool readonly;
    P2PBarWindow *window;   /* NULL: guest RAM */
    P2PBarMapping *mapping; /* of the window, when it was put there; to tell */
    bool gone;              /* to be freed at the end of the transaction */
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
    P2PGroup *group;        /* NULL: of none */
    P2PMember *member;      /* NULL: passthrough devices, or freed */
    char *name;
    QTAILQ_HEAD(, P2PSlice) slices;
    GHashTable *by_gpa;     /* gpa -> slice that is not gone */
    Stat64 faults;          /* any thread */
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

uint64_t p2p_doorbells(hwaddr *base)
{
    *base = P2P_DOORBELL_BASE;
    return P2P_DOORBELL_SIZE;
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

static void p2p_slice_add(P2PView *view, const P2PSlice *want)
{
    P2PSlice *slice = g_memdup2(want, sizeof(*want));
    MemoryRegion *target = slice->target;
    hwaddr offset = slice->offset;
    g_autofree char *name = NULL;

    if (slice->mapping) {
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
    p2p_changed();
    trace_p2p_view_add(view->name, p2p_slice_name(slice), slice->gpa,
                       slice->size, slice->readonly);

    if (slice->window) {
        P2PInstall *install = p2p_window_install_add(slice->window, view);

        install->mapped = true;
        install->gpa = slice->gpa;
        install->maps++;
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

    if (slice->window) {
        P2PInstall *install = p2p_window_install(slice->window, view);

        install->mapped = false;
        install->unmaps++;
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
           a->readonly == b->readonly && a->window == b->window &&
           a->mapping == b->mapping;
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

static void p2p_sync_want_windows(P2PSync *sync)
{
    P2PMember *user = sync->view->member;
    P2PMember *owner;

    if (!user || !user->dev->p2p.initiate) {
        return;
    }
    P2P_FOREACH_MEMBER(owner, sync->view->group) {
        for (guint i = 0; i < owner->windows->len; i++) {
            P2PBarWindow *window = g_ptr_array_index(owner->windows, i);
            P2PMemoryPlace memory = p2p_window_memory(window);
            P2PSlice slice = {
                .target = memory.member->dev->io_regions[memory.bar].memory,
                .gpa = window->gpa, .offset = memory.offset,
                .size = window->size,
                .readonly = window->access == P2P_ACCESS_RO,
                .window = window, .mapping = window->mapping,
            };

            if (window->state == P2P_WINDOW_STATE_MAPPED &&
                p2p_window_fits_view(window)) {
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
        if (!slice->wanted && !slice->gone) {
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
    p2p_apertures_sync();
    QTAILQ_FOREACH(view, &p2p_views, next) {
        p2p_view_sync(&sync, view);
    }
    memory_region_transaction_commit();

    QTAILQ_FOREACH(view, &p2p_views, next) {
        p2p_view_reap(view);
    }
    g_array_free(sync.ram, true);
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
    stat64_add(&view->faults, 1);
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

uint64_t p2p_view_faults(P2PView *view)
{
    return stat64_get(&view->faults);
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

bool p2p_is_view(AddressSpace *as)
{
    return object_dynamic_cast(memory_region_owner(as->root), TYPE_P2P_VIEW);
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
