/*
 * A CPU mapping of a BAR range for the views of device models
 *
 * The mapping is made anew from the device's file, although the device has
 * one already: memory_region_from_host() finds the owner of a pointer by
 * address, so one address must not stand in two RAM blocks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "hw/p2p/internal.h"

#define TYPE_P2P_BAR_MAPPING "p2p-bar-mapping"
OBJECT_DECLARE_SIMPLE_TYPE(P2PBarMapping, P2P_BAR_MAPPING)

/*
 * The owner of its region: a FlatView that still holds the region when the
 * window has gone keeps the mapping alive, too.
 */
struct P2PBarMapping {
    Object parent_obj;

    MemoryRegion region;
    void *hva;
    size_t size;
};

static int p2p_bar_fd(PCIDevice *dev, int bar, off_t *offset)
{
    if (object_dynamic_cast(OBJECT(dev), TYPE_P2P_BAR_FILE)) {
        return P2P_BAR_FILE_GET_CLASS(dev)->get_fd(dev, bar, offset);
    }
    if (p2p_device_is_passthrough(dev)) {
        return p2p_vfio_bar_fd(dev, bar, offset);
    }
    return -1;
}

void *p2p_bar_mmap(PCIDevice *dev, int bar, uint64_t offset, uint64_t size,
                   bool readonly)
{
    off_t start;
    int fd = p2p_bar_fd(dev, bar, &start);
    void *hva;

    if (fd < 0) {
        return NULL;
    }
    hva = mmap(NULL, size, PROT_READ | (readonly ? 0 : PROT_WRITE),
               MAP_SHARED, fd, start + offset);
    return hva == MAP_FAILED ? NULL : hva;
}

Object *p2p_bar_mapping_new(PCIDevice *dev, int bar, uint64_t offset,
                            uint64_t size, bool readonly)
{
    P2PBarMapping *mapping;
    void *hva = p2p_bar_mmap(dev, bar, offset, size, readonly);

    if (!hva) {
        return NULL;
    }

    mapping = P2P_BAR_MAPPING(object_new(TYPE_P2P_BAR_MAPPING));
    mapping->hva = hva;
    mapping->size = size;
    memory_region_init_ram_ptr(&mapping->region, OBJECT(mapping),
                               "p2p-bar-mapping", size, hva);
    return OBJECT(mapping);
}

MemoryRegion *p2p_bar_mapping_region(Object *mapping)
{
    return &P2P_BAR_MAPPING(mapping)->region;
}

static void p2p_bar_mapping_finalize(Object *obj)
{
    P2PBarMapping *mapping = P2P_BAR_MAPPING(obj);

    if (mapping->hva) {
        munmap(mapping->hva, mapping->size);
    }
}

static const TypeInfo p2p_bar_mapping_types[] = {
    {
        .name = TYPE_P2P_BAR_MAPPING,
        .parent = TYPE_OBJECT,
        .instance_size = sizeof(P2PBarMapping),
        .instance_finalize = p2p_bar_mapping_finalize,
    }, {
        .name = TYPE_P2P_BAR_FILE,
        .parent = TYPE_INTERFACE,
        .class_size = sizeof(P2PBarFileClass),
    },
};

DEFINE_TYPES(p2p_bar_mapping_types)
