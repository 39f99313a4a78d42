/*
 * A window as it stands in the view of a device model
 *
 * It is not RAM to the memory core: an access is checked when it is made, and
 * address_space_map() asks p2p_dma_map().
 *
 * The memory core honours the readonly flag of an alias for CPUs and tells it
 * to listeners, but a device model's DMA asks the region behind the alias
 * only.  So it is this region that refuses to be written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "hw/p2p/internal.h"

#define TYPE_P2P_MODEL_WINDOW "p2p-model-window"
OBJECT_DECLARE_SIMPLE_TYPE(P2PModelWindow, P2P_MODEL_WINDOW)

/*
 * The owner of its region, which FlatViews may hold for longer than the view
 * lives.
 */
struct P2PModelWindow {
    Object parent_obj;

    MemoryRegion region;
    P2PView *view;              /* owned reference */
    P2PBarMapping *mapping;     /* owned reference */
    unsigned initiator;         /* of the group's map */
    hwaddr gpa;
    bool readonly;
};

static MemTxResult p2p_model_window_access(P2PModelWindow *window,
                                           hwaddr addr, uint64_t *data,
                                           unsigned size, bool is_write)
{
    MemTxResult result;

    if ((is_write && window->readonly) || p2p_quiesced()) {
        return p2p_view_fault(window->view, window->gpa + addr, is_write);
    }
    result = p2p_bar_mapping_access(window->mapping, addr, data, size,
                                    is_write);
    if (result != MEMTX_OK) {
        p2p_view_fault(window->view, window->gpa + addr, is_write);
    } else {
        p2p_traffic_add_of(p2p_bar_mapping_traffic(window->mapping),
                           window->initiator, 1, size);
    }
    return result;
}

static MemTxResult p2p_model_window_read(void *opaque, hwaddr addr,
                                         uint64_t *data, unsigned size,
                                         MemTxAttrs attrs)
{
    uint64_t value = 0;
    MemTxResult result = p2p_model_window_access(opaque, addr, &value, size,
                                                 false);

    *data = result == MEMTX_OK ? ldn_he_p(&value, size) : UINT64_MAX;
    return result;
}

static MemTxResult p2p_model_window_write(void *opaque, hwaddr addr,
                                          uint64_t data, unsigned size,
                                          MemTxAttrs attrs)
{
    uint64_t value = 0;

    stn_he_p(&value, size, data);
    return p2p_model_window_access(opaque, addr, &value, size, true);
}

static const MemoryRegionOps p2p_model_window_ops = {
    .read_with_attrs = p2p_model_window_read,
    .write_with_attrs = p2p_model_window_write,
    .endianness = HOST_BIG_ENDIAN ? DEVICE_BIG_ENDIAN : DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

Object *p2p_model_window_new(P2PView *view, P2PBarWindow *window)
{
    P2PModelWindow *model = P2P_MODEL_WINDOW(object_new(TYPE_P2P_MODEL_WINDOW));

    model->view = view;
    object_ref(OBJECT(view));
    model->mapping = window->mapping;
    object_ref(OBJECT(window->mapping));
    model->initiator = p2p_view_member(view)->index;
    model->gpa = window->gpa;
    model->readonly = window->access == P2P_ACCESS_RO;
    memory_region_init_io(&model->region, OBJECT(model), &p2p_model_window_ops,
                          model, "p2p-model-window", window->size);
    if (p2p_bar_mapping_is_file(model->mapping)) {
        p2p_enable_lockless_io(&model->region);
    }
    return OBJECT(model);
}

MemoryRegion *p2p_model_window_region(Object *obj)
{
    return &P2P_MODEL_WINDOW(obj)->region;
}

bool p2p_model_window_find(MemoryRegion *mr, hwaddr addr, bool is_write,
                           P2PView **view, P2PBarMapping **mapping,
                           hwaddr *gpa)
{
    P2PModelWindow *model = mr->opaque;

    if (mr->ops != &p2p_model_window_ops) {
        return false;
    }
    *view = model->view;
    *mapping = is_write && model->readonly ? NULL : model->mapping;
    *gpa = model->gpa + addr;
    return true;
}

static void p2p_model_window_finalize(Object *obj)
{
    P2PModelWindow *model = P2P_MODEL_WINDOW(obj);

    object_unref(OBJECT(model->mapping));
    object_unref(OBJECT(model->view));
}

static const TypeInfo p2p_model_window_info = {
    .name = TYPE_P2P_MODEL_WINDOW,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(P2PModelWindow),
    .instance_finalize = p2p_model_window_finalize,
};

static void p2p_model_window_register_types(void)
{
    type_register_static(&p2p_model_window_info);
}

type_init(p2p_model_window_register_types)
