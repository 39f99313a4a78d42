/*
 * p2p-bridge: by which a guest uses the peer-to-peer DMA of its group
 *
 * The PCI function: BARs, interrupts, when rings are looked at, life.  What the
 * registers and commands do is in hw/p2p/core/bridge-*.c; docs/specs/
 * p2p-bridge.rst is what drivers are told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "system/runstate.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "hw/p2p/bridge-internal.h"
#include "trace.h"

#define P2P_APERTURE_MIN (2 * MiB)
#define P2P_APERTURE_MAX (16 * TiB)
#define P2P_REVOKE_MS_MIN 10
#define P2P_REVOKE_MS_MAX 10000

/* --- The machine's side of the bridge ---------------------------------- */

/* Those who write there raise interrupts. */
static bool p2p_bridge_is_doorbell(uint64_t addr, uint32_t len)
{
    hwaddr base;
    uint64_t size = p2p_doorbells(&base);

    return ranges_overlap(addr, len, base, size);
}

static bool p2p_bridge_op_dma_read(void *opaque, uint64_t addr, void *buffer,
                                   uint32_t len)
{
    return !p2p_bridge_is_doorbell(addr, len) &&
           pci_dma_read(PCI_DEVICE(opaque), addr, buffer, len) == MEMTX_OK;
}

static bool p2p_bridge_op_dma_write(void *opaque, uint64_t addr,
                                    const void *buffer, uint32_t len)
{
    return !p2p_bridge_is_doorbell(addr, len) &&
           pci_dma_write(PCI_DEVICE(opaque), addr, buffer, len) == MEMTX_OK;
}

static void p2p_bridge_op_interrupt(void *opaque, unsigned vector)
{
    msix_notify(PCI_DEVICE(opaque), vector);
}

static const P2PBridgeInventory *p2p_bridge_op_inventory(void *opaque)
{
    return &P2P_BRIDGE(opaque)->inventory;
}

uint32_t p2p_bridge_rid(PCIDevice *dev)
{
    /* QEMU has one PCI segment, but for a few machines of other targets. */
    return pci_get_bdf(dev);
}

P2PMember *p2p_bridge_find_member(P2PBridgeDevice *dev, uint32_t rid)
{
    P2PMember *member;

    P2P_FOREACH_MEMBER(member, p2p_bridge_group(dev)) {
        if (member->realized && p2p_bridge_rid(member->dev) == rid) {
            return member;
        }
    }
    return NULL;
}

/* Between this and translate_end() the thread is an RCU reader. */
static const P2PMap *p2p_bridge_op_translate_begin(void *opaque, uint32_t rid,
                                                   unsigned *initiator)
{
    P2PBridgeDevice *dev = opaque;
    P2PMember *member = p2p_bridge_find_member(dev, rid);

    if (!member || !member->dev->p2p.initiate) {
        return NULL;
    }
    rcu_read_lock();
    *initiator = member->index;
    return qatomic_rcu_read(&p2p_bridge_group(dev)->snapshot)->map;
}

static void p2p_bridge_op_translate_end(void *opaque)
{
    rcu_read_unlock();
}

static unsigned p2p_bridge_op_bar_address(void *opaque, uint32_t rid,
                                          uint32_t bar, uint64_t offset,
                                          uint32_t len, uint64_t *gpa)
{
    P2PMember *member = p2p_bridge_find_member(opaque, rid);
    PCIIORegion *r;

    if (!member) {
        return P2P_BRIDGE_FAULT_NO_MEMBER;
    }
    r = bar < PCI_ROM_SLOT ? &member->dev->io_regions[bar] : NULL;
    if (!r || !r->size || r->type & PCI_BASE_ADDRESS_SPACE_IO ||
        offset >= r->size || len > r->size - offset) {
        return P2P_BRIDGE_FAULT_OUTSIDE;
    }
    if (r->addr == PCI_BAR_UNMAPPED) {
        return P2P_BRIDGE_FAULT_UNMAPPED;
    }
    *gpa = r->addr + offset;
    return 0;
}

static const P2PBridgeOps p2p_bridge_ops = {
    .dma_read = p2p_bridge_op_dma_read,
    .dma_write = p2p_bridge_op_dma_write,
    .interrupt = p2p_bridge_op_interrupt,
    .inventory = p2p_bridge_op_inventory,
    .share = p2p_bridge_op_share,
    .unshare = p2p_bridge_op_unshare,
    .attach = p2p_bridge_op_attach,
    .detach = p2p_bridge_op_detach,
    .clear = p2p_bridge_op_clear,
    .translate_begin = p2p_bridge_op_translate_begin,
    .translate_end = p2p_bridge_op_translate_end,
    .bar_address = p2p_bridge_op_bar_address,
    .bus_address = p2p_bridge_op_bus_address,
    .bus_end = p2p_bridge_op_bus_end,
    .bus_release = p2p_bridge_op_bus_release,
};

/* --- When something is done -------------------------------------------- */

void p2p_bridge_schedule(P2PBridgeDevice *dev)
{
    qemu_bh_schedule(dev->work);
}

void p2p_bridge_watch(P2PBridgeDevice *dev)
{
    int64_t deadline = p2p_bridge_deadline(&dev->bridge);

    if (deadline >= 0) {
        timer_mod(dev->timer, deadline);
    } else {
        timer_del(dev->timer);
    }
}

/* Something was done that may be what p2p-unshare waits for. */
static void p2p_bridge_after(P2PBridgeDevice *dev)
{
    p2p_bridge_watch(dev);
    p2p_group_wake(p2p_bridge_group(dev));
}

/* What has changed comes first, so that no completion tells of older times. */
static void p2p_bridge_work(void *opaque)
{
    P2PBridgeDevice *dev = opaque;

    /* Guest memory does not change while the machine stands still. */
    if (!runstate_is_running()) {
        return;
    }
    p2p_bridge_tell_lost(dev);
    if (dev->changed) {
        p2p_bridge_bus_check(dev->bus);
    }
    if (dev->changed || p2p_bridge_inventory_renumbered(dev)) {
        dev->changed = false;
        if (p2p_bridge_inventory_update(dev)) {
            p2p_bridge_changed(&dev->bridge);
        }
    }
    if (p2p_bridge_run(&dev->bridge)) {
        p2p_bridge_schedule(dev);
    }
    p2p_bridge_after(dev);
}

static void p2p_bridge_rung(EventNotifier *rung)
{
    P2PBridgeDevice *dev = container_of(rung, P2PBridgeDevice, rung);

    if (event_notifier_test_and_clear(rung)) {
        p2p_bridge_work(dev);
    }
}

static void p2p_bridge_timer(void *opaque)
{
    P2PBridgeDevice *dev = opaque;
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL);

    p2p_bridge_detach_expired(dev, now);
    p2p_bridge_timeout(&dev->bridge, now);
    p2p_bridge_after(dev);
}

/* A machine that stops answers no revocation. */
static void p2p_bridge_vm_change(void *opaque, bool running, RunState state)
{
    P2PBridgeDevice *dev = opaque;

    if (running) {
        p2p_bridge_schedule(dev);
    }
    p2p_group_wake(p2p_bridge_group(dev));
}

/* --- BARs -------------------------------------------------------------- */

static uint64_t p2p_bridge_regs_read(void *opaque, hwaddr addr, unsigned size)
{
    return p2p_bridge_read(&P2P_BRIDGE(opaque)->bridge, addr, size);
}

static void p2p_bridge_regs_write(void *opaque, hwaddr addr, uint64_t value,
                                  unsigned size)
{
    P2PBridgeDevice *dev = opaque;

    p2p_bridge_write(&dev->bridge, addr, value, size);
    p2p_bridge_after(dev);
}

static const MemoryRegionOps p2p_bridge_regs_ops = {
    .read = p2p_bridge_regs_read,
    .write = p2p_bridge_regs_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/*
 * Any number of times, without the BQL: a guest that does nothing else does not
 * hold up the main loop by it. An ioeventfd, where there is one, comes first.
 */
static void p2p_bridge_doorbell_write(void *opaque, hwaddr addr,
                                      uint64_t value, unsigned size)
{
    if (addr == 0 && size == 4) {
        event_notifier_set(&P2P_BRIDGE(opaque)->rung);
    }
}

/* Slots without a window, and what is only written */
static uint64_t p2p_bridge_slot_read(void *opaque, hwaddr addr, unsigned size)
{
    return UINT64_MAX;
}

static const MemoryRegionOps p2p_bridge_doorbell_ops = {
    .read = p2p_bridge_slot_read,
    .write = p2p_bridge_doorbell_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

static void p2p_bridge_slot_write(void *opaque, hwaddr addr, uint64_t value,
                                  unsigned size)
{
}

static const MemoryRegionOps p2p_bridge_slot_ops = {
    .read = p2p_bridge_slot_read,
    .write = p2p_bridge_slot_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

static void p2p_bridge_add_registers(P2PBridgeDevice *dev)
{
    Object *obj = OBJECT(dev);

    memory_region_init(&dev->bar0, obj, "p2p-bridge-bar0",
                       P2P_BRIDGE_REGS_SIZE);
    memory_region_init_io(&dev->regs, obj, &p2p_bridge_regs_ops, dev,
                          "p2p-bridge-registers", P2P_BRIDGE_DOORBELL);
    memory_region_add_subregion(&dev->bar0, 0, &dev->regs);
    memory_region_init_io(&dev->doorbell, obj, &p2p_bridge_doorbell_ops, dev,
                          "p2p-bridge-doorbell",
                          P2P_BRIDGE_REGS_SIZE - P2P_BRIDGE_DOORBELL);
    p2p_enable_lockless_io(&dev->doorbell);
    memory_region_add_subregion(&dev->bar0, P2P_BRIDGE_DOORBELL,
                                &dev->doorbell);
    memory_region_add_eventfd(&dev->doorbell, 0, 4, false, 0, &dev->rung);
    pci_register_bar(PCI_DEVICE(dev), P2P_BRIDGE_BAR_REGS,
                     PCI_BASE_ADDRESS_SPACE_MEMORY, &dev->bar0);
}

static void p2p_bridge_del_registers(P2PBridgeDevice *dev)
{
    memory_region_del_eventfd(&dev->doorbell, 0, 4, false, 0, &dev->rung);
    /* Before 10.1 a region in one of the same owner kept the owner alive. */
    memory_region_del_subregion(&dev->bar0, &dev->regs);
    memory_region_del_subregion(&dev->bar0, &dev->doorbell);
}

static bool p2p_bridge_add_bars(P2PBridgeDevice *dev, Error **errp)
{
    PCIDevice *pci = PCI_DEVICE(dev);
    Object *obj = OBJECT(dev);

    p2p_bridge_add_registers(dev);
    /* Written by us alone, and made anew where a state is loaded. */
    if (!memory_region_init_rom_nomigrate(&dev->page, obj,
                                          "p2p-bridge-status",
                                          P2P_BRIDGE_PAGE_BYTES, errp)) {
        return false;
    }
    pci_register_bar(pci, P2P_BRIDGE_BAR_STATUS,
                     PCI_BASE_ADDRESS_SPACE_MEMORY, &dev->page);
    memory_region_init_io(&dev->aperture, obj, &p2p_bridge_slot_ops, dev,
                          "p2p-bridge-aperture", dev->aperture_size);
    pci_register_bar(pci, P2P_BRIDGE_BAR_APERTURE,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &dev->aperture);
    if (msix_init_exclusive_bar(pci, P2P_BRIDGE_VECTORS, P2P_BRIDGE_BAR_MSIX,
                                errp) < 0) {
        return false;
    }
    for (unsigned i = 0; i < P2P_BRIDGE_VECTORS; i++) {
        msix_vector_use(pci, i);
    }
    return true;
}

static void p2p_bridge_config_write(PCIDevice *pci, uint32_t addr,
                                    uint32_t value, int len)
{
    pci_default_write_config(pci, addr, value, len);
    if (pci->exp.exp_cap) {
        pcie_cap_flr_write_config(pci, addr, value, len);
    }
}

/* --- Life -------------------------------------------------------------- */

static bool p2p_bridge_check(P2PBridgeDevice *dev, Error **errp)
{
    PCIDevice *pci = PCI_DEVICE(dev);
    const char *name = p2p_device_name(pci);

    if (!pci->p2p.group) {
        error_setg(errp, "%s: a p2p-bridge needs p2p-group=: it serves the "
                   "members of a group", name);
    } else if (pci->p2p.share && !g_str_equal(pci->p2p.share, "none")) {
        error_setg(errp, "%s: p2p-share=%s: a p2p-bridge shows what others "
                   "share, and has nothing of its own to share; leave "
                   "p2p-share= out", name, pci->p2p.share);
    } else if (pci->p2p.initiate) {
        error_setg(errp, "%s: p2p-initiate=on: the DMA of a p2p-bridge is for "
                   "guest RAM only; leave p2p-initiate= out", name);
    } else if (!is_power_of_2(dev->aperture_size) ||
               dev->aperture_size < P2P_APERTURE_MIN ||
               dev->aperture_size > P2P_APERTURE_MAX) {
        error_setg(errp, "%s: aperture=%" PRIu64 ": it must be a power of two "
                   "from 2M to 16T", name, dev->aperture_size);
    } else if (dev->revoke_timeout < P2P_REVOKE_MS_MIN ||
               dev->revoke_timeout > P2P_REVOKE_MS_MAX) {
        error_setg(errp, "%s: revoke-timeout=%u: it must be %d to %d ms", name,
                   dev->revoke_timeout, P2P_REVOKE_MS_MIN, P2P_REVOKE_MS_MAX);
    } else {
        return true;
    }
    return false;
}

static void p2p_bridge_start(P2PBridgeDevice *dev)
{
    P2PBridgeConfig config = {
        .features = p2p_bridge_group(dev)->bus_address
                    ? P2P_BRIDGE_FEATURE_BUS_ADDRESS : 0,
        .slots = dev->aperture_size >> P2P_BRIDGE_SLOT_SHIFT_VALUE,
        .page_shift = ctz64(qemu_real_host_page_size()),
        .revoke_ms = dev->revoke_timeout,
    };

    dev->page_shift = config.page_shift;
    p2p_bridge_inventory_init(&dev->inventory);
    dev->changed = true;
    dev->bus = p2p_bridge_bus_new(dev);
    dev->work = qemu_bh_new_guarded(p2p_bridge_work, dev,
                                    &DEVICE(dev)->mem_reentrancy_guard);
    dev->timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, p2p_bridge_timer, dev);
    p2p_bridge_init(&dev->bridge, &p2p_bridge_ops, dev, &config,
                    memory_region_get_ram_ptr(&dev->page));
    event_notifier_set_handler(&dev->rung, p2p_bridge_rung);
    dev->change = qemu_add_vm_change_state_handler(p2p_bridge_vm_change, dev);
    p2p_bridges_add(dev);
}

static void p2p_bridge_realize(PCIDevice *pci, Error **errp)
{
    P2PBridgeDevice *dev = P2P_BRIDGE(pci);
    int ret;

    if (!p2p_bridge_check(dev, errp)) {
        return;
    }
    if (pci_bus_is_express(pci_get_bus(pci))) {
        ret = pcie_endpoint_cap_init(pci, 0x80);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "no room for the PCIe capability");
            return;
        }
        pcie_cap_flr_init(pci);
    }
    ret = event_notifier_init(&dev->rung, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "%s: cannot make an event for the "
                         "doorbell", p2p_device_name(pci));
        return;
    }
    if (p2p_bridge_add_bars(dev, errp)) {
        p2p_bridge_start(dev);
    } else {
        p2p_bridge_del_registers(dev);
    }
}

static void p2p_bridge_exit(PCIDevice *pci)
{
    P2PBridgeDevice *dev = P2P_BRIDGE(pci);

    qemu_del_vm_change_state_handler(dev->change);
    p2p_bridge_op_clear(dev);
    p2p_bridges_del(dev);
    p2p_group_wake(p2p_bridge_group(dev));
    event_notifier_set_handler(&dev->rung, NULL);
    p2p_bridge_del_registers(dev);
    qemu_bh_delete(dev->work);
    timer_free(dev->timer);
    p2p_bridge_bus_free(dev->bus);
    p2p_bridge_destroy(&dev->bridge);
    p2p_bridge_inventory_clear(&dev->inventory);
    msix_uninit_exclusive_bar(pci);
}

static void p2p_bridge_reset_hold(Object *obj, ResetType type)
{
    P2PBridgeDevice *dev = P2P_BRIDGE(obj);

    p2p_bridge_reset(&dev->bridge);
    p2p_bridge_after(dev);
}

static void p2p_bridge_instance_init(Object *obj)
{
    PCIDevice *pci = PCI_DEVICE(obj);

    pci->p2p.initiate = false;
    /* For the size of the configuration space; it shows on PCIe only. */
    pci->cap_present |= QEMU_PCI_CAP_EXPRESS;
}

/* --- Migration --------------------------------------------------------- */

static int p2p_bridge_pre_save(void *opaque)
{
    P2PBridgeDevice *dev = opaque;

    p2p_bridge_save_targets(dev);
    dev->sequence = p2p_bridge_get_sequence(&dev->bridge);
    return 0;
}

static int p2p_bridge_pre_load(void *opaque)
{
    p2p_bridge_op_clear(opaque);
    return 0;
}

static int p2p_bridge_post_load(void *opaque, int version_id)
{
    P2PBridgeDevice *dev = opaque;
    const char *wrong = p2p_bridge_loaded(
        &dev->bridge, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL));

    for (unsigned i = 0; !wrong && i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        if (dev->targets[i].lost > P2P_BRIDGE_REVOKE_ACKNOWLEDGED) {
            wrong = "a window was lost for no reason";
        }
    }

    if (wrong) {
        error_report("%s: the state of the p2p-bridge cannot be loaded: %s",
                     p2p_device_name(PCI_DEVICE(dev)), wrong);
        return -EINVAL;
    }
    /* A reader in the guest sees that the page is another one. */
    p2p_bridge_set_sequence(&dev->bridge, dev->sequence);
    /* The targets are not there yet: p2p_bridges_before_run(). */
    dev->loaded = true;
    /* What the guest was told may be older: it is told anew. */
    p2p_bridge_inventory_clear(&dev->inventory);
    p2p_bridge_inventory_init(&dev->inventory);
    dev->changed = true;
    return 0;
}

static const VMStateDescription p2p_bridge_record_vmsd = {
    .name = "p2p-bridge/record",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(number, P2PBridgeRecord),
        VMSTATE_UINT32(state, P2PBridgeRecord),
        VMSTATE_UINT32(reason, P2PBridgeRecord),
        VMSTATE_UINT32(rid, P2PBridgeRecord),
        VMSTATE_UINT32(bar, P2PBridgeRecord),
        VMSTATE_UINT32(access, P2PBridgeRecord),
        VMSTATE_UINT64(offset, P2PBridgeRecord),
        VMSTATE_UINT64(size, P2PBridgeRecord),
        VMSTATE_UINT32(slot, P2PBridgeRecord),
        VMSTATE_UINT32(generation, P2PBridgeRecord),
        VMSTATE_INT64(deadline, P2PBridgeRecord),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription p2p_bridge_target_vmsd = {
    .name = "p2p-bridge/target",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(rid, P2PBridgeTarget),
        VMSTATE_UINT32(lost, P2PBridgeTarget),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription p2p_bridge_vmsd = {
    .name = TYPE_P2P_BRIDGE,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = p2p_bridge_pre_save,
    .pre_load = p2p_bridge_pre_load,
    .post_load = p2p_bridge_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, P2PBridgeDevice),
        VMSTATE_MSIX(parent_obj, P2PBridgeDevice),
        /* The driver was told. */
        VMSTATE_UINT64_EQUAL(aperture_size, P2PBridgeDevice,
                             "aperture= must be the same"),
        VMSTATE_UINT32_EQUAL(revoke_timeout, P2PBridgeDevice,
                             "revoke-timeout= must be the same"),
        VMSTATE_UINT32_EQUAL(page_shift, P2PBridgeDevice,
                             "the hosts' page sizes must be the same"),
        VMSTATE_UINT32(sequence, P2PBridgeDevice),
        VMSTATE_UINT64(bridge.regs.driver_features, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.control, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.status, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.error, P2PBridgeDevice),
        VMSTATE_UINT64(bridge.regs.index_base, P2PBridgeDevice),
        VMSTATE_UINT64(bridge.regs.command_base, P2PBridgeDevice),
        VMSTATE_UINT64(bridge.regs.completion_base, P2PBridgeDevice),
        VMSTATE_UINT64(bridge.regs.event_base, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.command_size, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.completion_size, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.event_size, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.completion_vector, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.regs.event_vector, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.rings.command_head, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.rings.completion_tail, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.rings.event_tail, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.generation, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.events_lost, P2PBridgeDevice),
        VMSTATE_UINT32(bridge.last_number, P2PBridgeDevice),
        VMSTATE_STRUCT_ARRAY(bridge.records, P2PBridgeDevice,
                             P2P_BRIDGE_MAX_WINDOWS_VALUE, 1,
                             p2p_bridge_record_vmsd, P2PBridgeRecord),
        VMSTATE_STRUCT_ARRAY(targets, P2PBridgeDevice,
                             P2P_BRIDGE_MAX_WINDOWS_VALUE, 1,
                             p2p_bridge_target_vmsd, P2PBridgeTarget),
        VMSTATE_END_OF_LIST()
    },
};

/* --- QOM --------------------------------------------------------------- */

static const Property p2p_bridge_properties[] = {
    DEFINE_PROP_SIZE("aperture", P2PBridgeDevice, aperture_size, 1 * GiB),
    DEFINE_PROP_UINT32("revoke-timeout", P2PBridgeDevice, revoke_timeout,
                       1000),
};

/* A processor may still ring, without the BQL, when the device has gone. */
static void p2p_bridge_finalize(Object *obj)
{
    event_notifier_cleanup(&P2P_BRIDGE(obj)->rung);
}

static void p2p_bridge_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->realize = p2p_bridge_realize;
    pc->exit = p2p_bridge_exit;
    pc->config_write = p2p_bridge_config_write;
    pc->vendor_id = P2P_BRIDGE_VENDOR_ID;
    pc->device_id = P2P_BRIDGE_DEVICE_ID;
    pc->revision = 1;
    pc->class_id = PCI_CLASS_SYSTEM_OTHER;
    RESETTABLE_CLASS(oc)->phases.hold = p2p_bridge_reset_hold;
    dc->vmsd = &p2p_bridge_vmsd;
    dc->desc = "Peer-to-peer DMA for the guest: windows of a p2p-group";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, p2p_bridge_properties);
}

static const TypeInfo p2p_bridge_info = {
    .name = TYPE_P2P_BRIDGE,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(P2PBridgeDevice),
    .instance_init = p2p_bridge_instance_init,
    .instance_finalize = p2p_bridge_finalize,
    .class_init = p2p_bridge_class_init,
    .interfaces = (P2P_INTERFACES[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { INTERFACE_PCIE_DEVICE },
        { }
    },
};

static void p2p_bridge_register_types(void)
{
    type_register_static(&p2p_bridge_info);
}

type_init(p2p_bridge_register_types)
