/*
 * p2p-fake-passthrough: a p2p-testdev that is taken for a passthrough device,
 * with an IOMMU of its own making; and p2p-fault-injector
 *
 * For tests: what the group has put into the IOMMU can be read, a device can
 * move data through it, and any call to the host can be made to fail.  The
 * device itself looks for windows that are still mapped when it stops decoding.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <malloc.h>
#include "block/aio.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "hw/p2p/internal.h"
#include "hw/p2p/testdev.h"

#define TYPE_P2P_FAKE_PASSTHROUGH "p2p-fake-passthrough"

/* More than a group has windows. */
#define P2P_FAKE_MAPPINGS 2048

/* What it translates: 39 bits, but for x86's interrupt doorbells. */
#define P2P_FAKE_LIMIT MAKE_64BIT_MASK(0, 39)

/* --- Containers -------------------------------------------------------- */

/* One for each address space that fake devices use. */
typedef struct P2PFakeContainer {
    AddressSpace *as;
    GPtrArray *users;       /* of PCIDevice */
    GList *ranges;          /* of Range */
    GArray *mappings;       /* of P2PIommuMap, in the order of their map() */
    QTAILQ_ENTRY(P2PFakeContainer) next;
} P2PFakeContainer;

static QTAILQ_HEAD(, P2PFakeContainer) p2p_fake_containers =
    QTAILQ_HEAD_INITIALIZER(p2p_fake_containers);

/* Devices of which the host's side decodes memory, whatever the guest's says */
static GHashTable *p2p_fake_decoding;

/* Windows still mapped when their device, or the last initiator, had gone. */
static uint64_t p2p_fake_late;

static GList *p2p_fake_range(GList *list, uint64_t first, uint64_t last)
{
    Range *range = g_new0(Range, 1);

    range_set_bounds(range, first, last);
    return g_list_append(list, range);
}

static P2PFakeContainer *p2p_fake_find(AddressSpace *as)
{
    P2PFakeContainer *container;

    QTAILQ_FOREACH(container, &p2p_fake_containers, next) {
        if (container->as == as) {
            return container;
        }
    }
    return NULL;
}

/* The one that @pci is in, be it that it has left its group. */
static P2PFakeContainer *p2p_fake_of(PCIDevice *pci)
{
    P2PFakeContainer *container;

    QTAILQ_FOREACH(container, &p2p_fake_containers, next) {
        if (g_ptr_array_find(container->users, pci, NULL)) {
            return container;
        }
    }
    return NULL;
}

/* A device that is not unplugged; or NULL. */
static PCIDevice *p2p_fake_user(P2PFakeContainer *container)
{
    for (guint i = 0; i < container->users->len; i++) {
        PCIDevice *pci = g_ptr_array_index(container->users, i);

        if (pci->qdev.realized) {
            return pci;
        }
    }
    return NULL;
}

static P2PIommuMap *p2p_fake_mapping(P2PFakeContainer *container, guint i)
{
    return &g_array_index(container->mappings, P2PIommuMap, i);
}

static void p2p_fake_attach(PCIDevice *pci)
{
    AddressSpace *as = pci->p2p.as;
    P2PFakeContainer *container = p2p_fake_find(as);

    if (!container) {
        container = g_new0(P2PFakeContainer, 1);
        container->as = as;
        container->users = g_ptr_array_new();
        container->mappings = g_array_new(false, false, sizeof(P2PIommuMap));
        container->ranges = p2p_fake_range(NULL, 0, 0xfedfffff);
        container->ranges = p2p_fake_range(container->ranges, 0xfef00000,
                                           P2P_FAKE_LIMIT);
        QTAILQ_INSERT_TAIL(&p2p_fake_containers, container, next);
    }
    g_ptr_array_add(container->users, pci);
    if (!p2p_fake_decoding) {
        p2p_fake_decoding = g_hash_table_new(NULL, NULL);
    }
}

static void p2p_fake_detach(PCIDevice *pci)
{
    P2PFakeContainer *container = p2p_fake_of(pci);

    if (!container) {
        return;
    }
    g_ptr_array_remove(container->users, pci);
    g_hash_table_remove(p2p_fake_decoding, pci);
    if (!container->users->len) {
        g_ptr_array_unref(container->users);
        QTAILQ_REMOVE(&p2p_fake_containers, container, next);
        for (guint i = 0; i < container->mappings->len; i++) {
            object_unref(OBJECT(p2p_fake_mapping(container, i)->dev));
        }
        g_array_free(container->mappings, true);
        g_list_free_full(container->ranges, g_free);
        g_free(container);
    }
}

static void *p2p_fake_container(PCIDevice *dev)
{
    return p2p_fake_of(dev);
}

/* As VFIO's kernel part sees it: the BAR of a device model is just RAM. */
static bool p2p_fake_answers(PCIDevice *pci)
{
    return !p2p_passthrough(pci) ||
           (g_hash_table_contains(p2p_fake_decoding, pci) &&
            !(pci_get_word(pci->config + pci->pm_cap + PCI_PM_CTRL) &
              PCI_PM_CTRL_STATE_MASK));
}

static bool p2p_fake_set_decode(PCIDevice *pci, bool on)
{
    return on ? !g_hash_table_add(p2p_fake_decoding, pci)
              : g_hash_table_remove(p2p_fake_decoding, pci);
}

static int p2p_fake_map(void *opaque, const P2PIommuMap *map)
{
    P2PFakeContainer *container = opaque;

    if (!p2p_fake_answers(map->dev)) {
        return -EFAULT;
    }
    if (map->iova + map->size - 1 > P2P_FAKE_LIMIT) {
        return -EINVAL;
    }
    if (container->mappings->len == P2P_FAKE_MAPPINGS) {
        return -ENOSPC;
    }
    for (guint i = 0; i < container->mappings->len; i++) {
        P2PIommuMap *other = p2p_fake_mapping(container, i);

        if (ranges_overlap(map->iova, map->size, other->iova, other->size)) {
            return -EEXIST;
        }
    }
    /* As the kernel does, that pins the pages. */
    object_ref(OBJECT(map->dev));
    g_array_append_val(container->mappings, *map);
    return 0;
}

static int p2p_fake_unmap(void *opaque, hwaddr iova, uint64_t size)
{
    P2PFakeContainer *container = opaque;

    for (guint i = 0; i < container->mappings->len; i++) {
        P2PIommuMap *map = p2p_fake_mapping(container, i);

        if (map->iova == iova && map->size == size) {
            object_unref(OBJECT(map->dev));
            g_array_remove_index(container->mappings, i);
            return 0;
        }
    }
    return -ENOENT;
}

static const GList *p2p_fake_ranges(void *container)
{
    return ((P2PFakeContainer *)container)->ranges;
}

/* As which it behaves. */
static P2PBackEnd p2p_fake_backend(PCIDevice *dev)
{
    return P2P_BACK_END_TYPE1;
}

static const char *p2p_fake_map_hint(PCIDevice *dev, int err)
{
    return "";
}

static const P2PPassthrough p2p_fake = {
    .backend = p2p_fake_backend,
    .container = p2p_fake_container,
    .map = p2p_fake_map,
    .unmap = p2p_fake_unmap,
    .iova_ranges = p2p_fake_ranges,
    .map_hint = p2p_fake_map_hint,
    .set_decode = p2p_fake_set_decode,
};

/* --- Device ------------------------------------------------------------ */

/* Through the IOMMU where there is a window, and to guest RAM elsewhere. */
static MemTxResult p2p_fake_dma(PCIDevice *pci, dma_addr_t addr, void *buffer,
                                size_t len, bool is_write)
{
    P2PFakeContainer *container = p2p_fake_find(pci->p2p.as);

    for (guint i = 0; container && i < container->mappings->len; i++) {
        P2PIommuMap *map = p2p_fake_mapping(container, i);

        if (!ranges_overlap(addr, len, map->iova, map->size)) {
            continue;
        }
        if (addr < map->iova || addr + len > map->iova + map->size ||
            (is_write && map->readonly)) {
            return MEMTX_ACCESS_ERROR;
        }
        if (is_write) {
            memcpy((uint8_t *)map->hva + (addr - map->iova), buffer, len);
        } else {
            memcpy(buffer, (uint8_t *)map->hva + (addr - map->iova), len);
        }
        return MEMTX_OK;
    }
    return is_write ? pci_dma_write(pci, addr, buffer, len)
                    : pci_dma_read(pci, addr, buffer, len);
}

/* The hardware stops decoding: nobody may have its BARs in an IOMMU. */
static void p2p_fake_stop(PCIDevice *pci)
{
    P2PFakeContainer *container;

    QTAILQ_FOREACH(container, &p2p_fake_containers, next) {
        for (guint i = 0; i < container->mappings->len; i++) {
            p2p_fake_late += p2p_fake_mapping(container, i)->dev == pci;
        }
    }
}

static void p2p_fake_config_write(PCIDevice *pci, uint32_t addr,
                                  uint32_t value, int len)
{
    PCIDeviceClass *parent = PCI_DEVICE_CLASS(object_class_by_name(
                                                  TYPE_P2P_TESTDEV));
    uint8_t exp = pci->exp.exp_cap;
    bool stops = range_covers_byte(addr, len, PCI_COMMAND) &&
                 !(value >> 8 * (PCI_COMMAND - addr) & PCI_COMMAND_MEMORY);

    stops |= addr == pci->pm_cap + PCI_PM_CTRL &&
             value & PCI_PM_CTRL_STATE_MASK;
    stops |= exp && addr == exp + PCI_EXP_DEVCTL &&
             value & PCI_EXP_DEVCTL_BCR_FLR;

    p2p_before_config_write(pci, addr, value, len);
    if (stops) {
        p2p_fake_stop(pci);
    }
    if (range_covers_byte(addr, len, PCI_COMMAND)) {
        p2p_fake_set_decode(pci, !stops);
    }
    parent->config_write(pci, addr, value, len);
    p2p_after_config_write(pci, addr, len);
}

/* As VFIO does: decode goes off before the host's device is reset. */
static void p2p_fake_reset(DeviceState *dev)
{
    PCIDevice *pci = PCI_DEVICE(dev);

    p2p_fake_config_write(pci, PCI_COMMAND, 0, 2);
}

/* As VFIO does: the guest's side is loaded first, then the host's is written. */
static void p2p_fake_loaded(PCIDevice *pci)
{
    p2p_fake_config_write(pci, PCI_COMMAND,
                          pci_get_word(pci->config + PCI_COMMAND), 2);
}

static void p2p_fake_realize(PCIDevice *pci, Error **errp)
{
    PCIDeviceClass *parent = PCI_DEVICE_CLASS(object_class_by_name(
                                                  TYPE_P2P_TESTDEV));
    ERRP_GUARD();

    parent->realize(pci, errp);
    if (!*errp) {
        p2p_fake_attach(pci);
    }
}

/* As VFIO's devices, it is in its container for a while after it has left. */
static void p2p_fake_exited(void *opaque)
{
    P2PFakeContainer *container = p2p_fake_of(opaque);

    /* Its last member has left: nothing of the group may be in it. */
    if (!p2p_fake_user(container)) {
        p2p_fake_late += container->mappings->len;
    }
    p2p_fake_detach(opaque);
    object_unref(OBJECT(opaque));
}

static void p2p_fake_exit(PCIDevice *pci)
{
    PCIDeviceClass *parent = PCI_DEVICE_CLASS(object_class_by_name(
                                                  TYPE_P2P_TESTDEV));

    p2p_fake_stop(pci);
    object_ref(OBJECT(pci));
    aio_bh_schedule_oneshot(qemu_get_aio_context(), p2p_fake_exited, pci);
    parent->exit(pci);
}

static gint p2p_fake_compare(gconstpointer a, gconstpointer b)
{
    const P2PIommuMap *ma = a, *mb = b;

    return (ma->iova > mb->iova) - (ma->iova < mb->iova);
}

/*
 * A line for each mapping, ascending: IOVA SIZE ro|rw DEVICE BAR OFFSET.  The
 * device is "-" if it has gone.
 */
static void p2p_fake_print(P2PFakeContainer *container, GString *text)
{
    g_autoptr(GArray) sorted = g_array_copy(container->mappings);

    g_array_sort(sorted, p2p_fake_compare);
    for (guint i = 0; i < sorted->len; i++) {
        P2PIommuMap *map = &g_array_index(sorted, P2PIommuMap, i);

        g_string_append_printf(text, "0x%" PRIx64 " 0x%" PRIx64
                               " %s %s %d 0x%" PRIx64 "\n", map->iova,
                               map->size, map->readonly ? "ro" : "rw",
                               map->dev->qdev.realized
                               ? p2p_device_name(map->dev) : "-",
                               map->bar, map->offset);
    }
}

static char *p2p_fake_get_table(Object *obj, Error **errp)
{
    P2PFakeContainer *container = p2p_fake_find(PCI_DEVICE(obj)->p2p.as);
    GString *text = g_string_new("");

    if (container) {
        p2p_fake_print(container, text);
    }
    return g_string_free(text, FALSE);
}

static void p2p_fake_get_late(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    visit_type_uint64(v, name, &p2p_fake_late, errp);
}

static void p2p_fake_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    dc->desc = "Test device that stands in for a passthrough device";
    pc->realize = p2p_fake_realize;
    pc->exit = p2p_fake_exit;
    pc->config_write = p2p_fake_config_write;
    device_class_set_legacy_reset(dc, p2p_fake_reset);
    P2P_TESTDEV_CLASS(oc)->dma = p2p_fake_dma;
    P2P_TESTDEV_CLASS(oc)->loaded = p2p_fake_loaded;
    object_class_property_add_str(oc, "iommu-table", p2p_fake_get_table, NULL);
    object_class_property_set_description(oc, "iommu-table",
        "what the device's IOMMU holds");
    object_class_property_add(oc, "late-revokes", "uint64", p2p_fake_get_late,
                              NULL, NULL, NULL);
    object_class_property_set_description(oc, "late-revokes",
        "windows still mapped when their device stopped decoding");
}

/* --- Faults ------------------------------------------------------------ */

#define TYPE_P2P_FAULT_INJECTOR "p2p-fault-injector"
OBJECT_DECLARE_SIMPLE_TYPE(P2PFaultInjector, P2P_FAULT_INJECTOR)

/*
 * -device p2p-fault-injector,id=ID[,fail-at=N][,count=N][,errno=N]
 *
 * The N-th call to the host (to map a window into an IOMMU, to unmap one, to
 * map a BAR for device models) from when fail-at is set fails, and count - 1
 * after it.  All can be changed with qom-set.  One at a time.
 */
struct P2PFaultInjector {
    DeviceState parent_obj;

    uint64_t calls;
    uint64_t fail_at;       /* of calls since it was set; 0: none */
    uint64_t count;
    uint64_t since;         /* calls since fail_at was set */
    uint64_t error;
};

static P2PFaultInjector *p2p_injector;

static int p2p_injector_call(void)
{
    P2PFaultInjector *fi = p2p_injector;

    fi->calls++;
    fi->since++;
    if (fi->fail_at && fi->since >= fi->fail_at &&
        fi->since < fi->fail_at + fi->count) {
        return -(int)fi->error;
    }
    return 0;
}

static void p2p_injector_set_fail_at(Object *obj, Visitor *v,
                                     const char *name, void *opaque,
                                     Error **errp)
{
    P2PFaultInjector *fi = P2P_FAULT_INJECTOR(obj);

    if (visit_type_uint64(v, name, &fi->fail_at, errp)) {
        fi->since = 0;
    }
}

static void p2p_injector_get_fail_at(Object *obj, Visitor *v,
                                     const char *name, void *opaque,
                                     Error **errp)
{
    visit_type_uint64(v, name, &P2P_FAULT_INJECTOR(obj)->fail_at, errp);
}

/*
 * All at once: "calls N", "late N" as late-revokes, and for each container
 * "iommu DEVICE", one of its devices, with its lines as in iommu-table below.
 * Of containers whose devices are all unplugged, only those that are not empty.
 */
static char *p2p_injector_get_state(Object *obj, Error **errp)
{
    GString *text = g_string_new("");
    P2PFakeContainer *container;

    g_string_append_printf(text, "calls %" PRIu64 "\nlate %" PRIu64 "\n",
                           P2P_FAULT_INJECTOR(obj)->calls, p2p_fake_late);
    QTAILQ_FOREACH(container, &p2p_fake_containers, next) {
        PCIDevice *user = p2p_fake_user(container);

        if (user || container->mappings->len) {
            g_string_append_printf(text, "iommu %s\n",
                                   user ? p2p_device_name(user) : "-");
            p2p_fake_print(container, text);
        }
    }
    return g_string_free(text, FALSE);
}

/*
 * "heap": bytes that are allocated, without what RCU was yet to free, which the
 * getter waits for; 0 if the C library does not tell.
 */
static void p2p_injector_get_heap(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    uint64_t bytes = 0;
#ifdef __GLIBC__
    struct mallinfo2 info;

    drain_call_rcu();
    info = mallinfo2();
    bytes = info.uordblks + info.hblkhd;
#else
    drain_call_rcu();
#endif
    visit_type_uint64(v, name, &bytes, errp);
}

static void p2p_injector_realize(DeviceState *dev, Error **errp)
{
    if (p2p_injector) {
        error_setg(errp, "there is a p2p-fault-injector already");
        return;
    }
    p2p_injector = P2P_FAULT_INJECTOR(dev);
    p2p_fault_injector = p2p_injector_call;
}

static void p2p_injector_unrealize(DeviceState *dev)
{
    p2p_injector = NULL;
    p2p_fault_injector = NULL;
}

static void p2p_injector_init(Object *obj)
{
    P2PFaultInjector *fi = P2P_FAULT_INJECTOR(obj);

    fi->count = 1;
    fi->error = ENOMEM;
    object_property_add_uint64_ptr(obj, "calls", &fi->calls,
                                   OBJ_PROP_FLAG_READ);
    object_property_add_uint64_ptr(obj, "count", &fi->count,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "errno", &fi->error,
                                   OBJ_PROP_FLAG_READWRITE);
}

static void p2p_injector_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->desc = "Makes calls to the host fail";
    dc->realize = p2p_injector_realize;
    dc->unrealize = p2p_injector_unrealize;
    dc->user_creatable = true;
    dc->hotpluggable = false;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    object_class_property_add(oc, "fail-at", "uint64",
                              p2p_injector_get_fail_at,
                              p2p_injector_set_fail_at, NULL, NULL);
    object_class_property_add_str(oc, "state", p2p_injector_get_state, NULL);
    object_class_property_add(oc, "heap", "uint64", p2p_injector_get_heap,
                              NULL, NULL, NULL);
}

static const TypeInfo p2p_fake_types[] = {
    {
        .name = TYPE_P2P_FAKE_PASSTHROUGH,
        .parent = TYPE_P2P_TESTDEV,
        .class_init = p2p_fake_class_init,
    }, {
        .name = TYPE_P2P_FAULT_INJECTOR,
        .parent = TYPE_DEVICE,
        .instance_size = sizeof(P2PFaultInjector),
        .instance_init = p2p_injector_init,
        .class_init = p2p_injector_class_init,
    },
};

static void p2p_fake_register_types(void)
{
    type_register_static_array(p2p_fake_types, ARRAY_SIZE(p2p_fake_types));
    p2p_passthrough_register(TYPE_P2P_FAKE_PASSTHROUGH, &p2p_fake);
}

type_init(p2p_fake_register_types)
