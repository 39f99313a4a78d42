/*
 * p2p-benchdev: what QEMU's own translation costs
 *
 * It makes an address space with as many sections as asked for, takes
 * addresses from guest RAM, where its user has put vectors (P2PGuestVec), and
 * tells by its property "ns" how many nanoseconds address_space_translate()
 * took for each. For tests/bench only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/module.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "hw/p2p/compat.h"
#include "hw/p2p/vec.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"

#define TYPE_P2P_BENCHDEV "p2p-benchdev"
OBJECT_DECLARE_SIMPLE_TYPE(P2PBenchDev, P2P_BENCHDEV)

/* A FlatView may have 4096, of which two are its own; QEMU asserts it. */
#define P2P_BENCHDEV_SECTIONS 4094

struct P2PBenchDev {
    DeviceState parent_obj;

    /* Properties */
    uint32_t sections;
    uint64_t base;          /* of the first section */
    uint64_t stride;        /* from one to the next */
    uint64_t size;          /* of each */
    uint64_t vector;        /* guest physical address of the entries */
    uint32_t entries;
    uint32_t times;         /* that "ns" goes through them */

    AddressSpace as;
    MemoryRegion root;
    MemoryRegion target;
    MemoryRegion *alias;
};

static uint64_t p2p_benchdev_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void p2p_benchdev_write(void *opaque, hwaddr addr, uint64_t data,
                               unsigned size)
{
}

static const MemoryRegionOps p2p_benchdev_ops = {
    .read = p2p_benchdev_read,
    .write = p2p_benchdev_write,
};

static void p2p_benchdev_realize(DeviceState *qdev, Error **errp)
{
    P2PBenchDev *dev = P2P_BENCHDEV(qdev);
    Object *obj = OBJECT(dev);

    if (dev->sections > P2P_BENCHDEV_SECTIONS) {
        error_setg(errp, "sections: QEMU has %d at most",
                   P2P_BENCHDEV_SECTIONS);
        return;
    }
    if (!dev->sections || !dev->size || dev->size > dev->stride ||
        dev->sections > (UINT64_MAX - dev->base) / dev->stride) {
        error_setg(errp, "sections, base, stride and size do not fit");
        return;
    }
    memory_region_init(&dev->root, obj, "p2p-benchdev", UINT64_MAX);
    memory_region_init_io(&dev->target, obj, &p2p_benchdev_ops, dev,
                          "p2p-benchdev-target", dev->size);
    dev->alias = g_new0(MemoryRegion, dev->sections);

    memory_region_transaction_begin();
    for (uint32_t i = 0; i < dev->sections; i++) {
        memory_region_init_alias(&dev->alias[i], obj, "p2p-benchdev-section",
                                 &dev->target, 0, dev->size);
        memory_region_add_subregion(&dev->root, dev->base + i * dev->stride,
                                    &dev->alias[i]);
    }
    memory_region_transaction_commit();
    address_space_init(&dev->as, &dev->root, "p2p-benchdev");
}

static void p2p_benchdev_measure(Object *obj, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    P2PBenchDev *dev = P2P_BENCHDEV(obj);
    g_autofree P2PGuestVec *vec = g_try_new(P2PGuestVec, dev->entries);
    uint64_t misses = 0;
    int64_t start;
    double ns;

    if (!dev->alias || !vec || !dev->times ||
        address_space_read(&address_space_memory, dev->vector,
                           MEMTXATTRS_UNSPECIFIED, vec,
                           dev->entries * sizeof(*vec)) != MEMTX_OK) {
        error_setg(errp, "realize the device, and put entries into RAM");
        return;
    }

    start = get_clock();
    for (uint32_t t = 0; t < dev->times; t++) {
        RCU_READ_LOCK_GUARD();

        for (uint32_t i = 0; i < dev->entries; i++) {
            hwaddr len = vec[i].len;
            hwaddr xlat;
            MemoryRegion *mr = address_space_translate(&dev->as,
                                                       vec[i].addr.gpa, &xlat,
                                                       &len, false,
                                                       MEMTXATTRS_UNSPECIFIED);

            misses += mr != &dev->target || len != vec[i].len;
        }
    }
    ns = (double)(get_clock() - start) / dev->times / dev->entries;

    if (misses) {
        error_setg(errp, "%" PRIu64 " addresses were not in a section",
                   misses);
        return;
    }
    visit_type_number(v, name, &ns, errp);
}

static const Property p2p_benchdev_properties[] = {
    DEFINE_PROP_UINT32("sections", P2PBenchDev, sections, 1),
    DEFINE_PROP_UINT64("base", P2PBenchDev, base, 0),
    DEFINE_PROP_UINT64("stride", P2PBenchDev, stride, 4096),
    DEFINE_PROP_UINT64("size", P2PBenchDev, size, 4096),
    DEFINE_PROP_UINT64("vector", P2PBenchDev, vector, 0),
    DEFINE_PROP_UINT32("entries", P2PBenchDev, entries, 0),
    DEFINE_PROP_UINT32("times", P2PBenchDev, times, 1),
};

static void p2p_benchdev_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->realize = p2p_benchdev_realize;
    dc->desc = "Measures QEMU's address translation";
    dc->hotpluggable = false;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, p2p_benchdev_properties);
    object_class_property_add(oc, "ns", "number", p2p_benchdev_measure, NULL,
                              NULL, NULL);
}

static const TypeInfo p2p_benchdev_info = {
    .name = TYPE_P2P_BENCHDEV,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(P2PBenchDev),
    .class_init = p2p_benchdev_class_init,
};

static void p2p_benchdev_register_types(void)
{
    type_register_static(&p2p_benchdev_info);
}

type_init(p2p_benchdev_register_types)
