/*
 * A window that a device model may read, but not write
 *
 * The memory core honours the readonly flag of an alias for CPUs and tells it
 * to listeners, but a device model's DMA asks the region behind the alias
 * only.  So another region stands there, which refuses by itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "hw/p2p/internal.h"

#define TYPE_P2P_READ_ONLY "p2p-read-only"
OBJECT_DECLARE_SIMPLE_TYPE(P2PReadOnly, P2P_READ_ONLY)

/*
 * The owner of its regions, like P2PBarMapping: FlatViews may hold them for
 * longer than the view lives. Protected by the BQL.
 */
struct P2PReadOnly {
    Object parent_obj;

    MemoryRegion region;
    P2PView *view;          /* NULL: no longer in it */
    hwaddr gpa;
    void *hva;              /* a mapping of its own; NULL: reads use @peek */
    size_t size;
    Object *peek;           /* the window's part of the BAR */
};

static MemTxResult p2p_read_only_read(void *opaque, hwaddr addr,
                                      uint64_t *data, unsigned size,
                                      MemTxAttrs attrs)
{
    P2PReadOnly *ro = opaque;
    uint8_t buffer[8];
    MemTxResult result;

    *data = UINT64_MAX;
    if (!ro->view) {
        return MEMTX_DECODE_ERROR;
    }
    result = p2p_peek_read(ro->peek, addr, attrs, buffer, size);
    if (result == MEMTX_OK) {
        *data = ldn_le_p(buffer, size);
    }
    return result;
}

static MemTxResult p2p_read_only_write(void *opaque, hwaddr addr,
                                       uint64_t data, unsigned size,
                                       MemTxAttrs attrs)
{
    P2PReadOnly *ro = opaque;

    return ro->view ? p2p_view_fault(ro->view, ro->gpa + addr, true)
                    : MEMTX_DECODE_ERROR;
}

static const MemoryRegionOps p2p_read_only_ops = {
    .read_with_attrs = p2p_read_only_read,
    .write_with_attrs = p2p_read_only_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

Object *p2p_read_only_new(P2PView *view, P2PBarWindow *window)
{
    P2PReadOnly *ro = P2P_READ_ONLY(object_new(TYPE_P2P_READ_ONLY));
    PCIIORegion *bar = &window->owner->dev->io_regions[window->bar];

    ro->view = view;
    ro->gpa = window->gpa;
    ro->size = window->size;
    if (window->cpu_mapping) {
        ro->hva = p2p_bar_mmap(window->owner->dev, window->bar,
                               window->offset, window->size, true);
    }
    if (ro->hva) {
        /* Reads go to the mapping, writes to the operations. */
        memory_region_init_ram_ptr(&ro->region, OBJECT(ro), "p2p-read-only",
                                   ro->size, ro->hva);
        ro->region.ops = &p2p_read_only_ops;
        ro->region.opaque = ro;
        memory_region_set_readonly(&ro->region, true);
    } else {
        ro->peek = p2p_peek_new(bar->memory, window->offset, window->size);
        memory_region_init_io(&ro->region, OBJECT(ro), &p2p_read_only_ops, ro,
                              "p2p-read-only", ro->size);
    }
    return OBJECT(ro);
}

MemoryRegion *p2p_read_only_region(Object *read_only)
{
    return &P2P_READ_ONLY(read_only)->region;
}

void p2p_read_only_retire(Object *read_only)
{
    P2PReadOnly *ro = P2P_READ_ONLY(read_only);

    ro->view = NULL;
    if (ro->peek) {
        p2p_peek_free(ro->peek);
        ro->peek = NULL;
    }
}

static void p2p_read_only_finalize(Object *obj)
{
    P2PReadOnly *ro = P2P_READ_ONLY(obj);

    if (ro->hva) {
        munmap(ro->hva, ro->size);
    }
}

static const TypeInfo p2p_read_only_info = {
    .name = TYPE_P2P_READ_ONLY,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(P2PReadOnly),
    .instance_finalize = p2p_read_only_finalize,
};

static void p2p_read_only_register_types(void)
{
    type_register_static(&p2p_read_only_info);
}

type_init(p2p_read_only_register_types)
