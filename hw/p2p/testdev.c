/*
 * p2p-testdev: a PCI function for the tests of peer-to-peer DMA
 *
 *   BAR 0  registers, below
 *   BAR 2  ram_device over a file, 64-bit prefetchable: what the BAR of a
 *          passthrough device looks like to the rest of QEMU.  A test that
 *          gives the file looks into the BAR from outside, and takes its
 *          pages away by truncating it
 *   BAR 4  RAM, 64-bit prefetchable: what ivshmem or a PMR looks like
 *   BAR 1  I/O ports
 *
 * It has D3, and on PCI Express a function level reset.
 *
 * It migrates, and notices what comes late: what is written into BAR 2 after
 * the device was told to stop would not arrive on the other side, or only in
 * part. Then it cannot be saved, and its property "late-writes" is true.
 *
 * It moves data through its DMA address space, at most a page at a time:
 * write ADDR, LEN and a command, read the result.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "system/runstate.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "hw/p2p/internal.h"
#include "hw/p2p/testdev.h"

#define P2P_TESTDEV_BUFFER 4096

/*
 * It stops before devices that write to it, and runs after them, as one behind
 * many bridges does.
 */
#define P2P_TESTDEV_DEPTH 100

/* A BAR of more bytes does not migrate. */
#define P2P_TESTDEV_MOVABLE (64 * MiB)

enum {
    REG_ADDR = 0x00,    /* rw: DMA address */
    REG_LEN = 0x08,     /* rw: bytes, at most P2P_TESTDEV_BUFFER */
    REG_COMMAND = 0x10, /* w: 1 memory to buffer, 2 buffer to memory */
    REG_RESULT = 0x18,  /* r: MemTxResult of the last command */
    REG_BUFFER = 0x1000,/* rw: the buffer */
    REG_SIZE = 0x2000,
};

struct P2PTestDev {
    PCIDevice parent_obj;

    /* Properties */
    uint64_t size;          /* of BARs 2 and 4 */
    uint32_t movable;       /* the same, if it can migrate */
    char *file;             /* of BAR 2, read and written; NULL: its own */
    bool msix_hole;         /* the second page of BAR 2 is registers */

    MemoryRegion registers;
    MemoryRegion ports;
    MemoryRegion bar2;      /* what stands in it are the next three */
    MemoryRegion low;
    MemoryRegion hole;
    MemoryRegion high;
    MemoryRegion bar4;
    int fd;
    void *hva;

    uint64_t addr;
    uint64_t len;
    uint64_t result;
    uint8_t buffer[P2P_TESTDEV_BUFFER];

    VMChangeStateEntry *change;
    bool stopped;
    char *checksum;         /* of BAR 2 at the stop point */
    bool late_writes;       /* it was another one when the device ran again */
};

/* --- Stop and go ------------------------------------------------------- */

/* By the file, which a test may have truncated. */
static char *p2p_testdev_checksum(P2PTestDev *dev)
{
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_MD5);
    g_autofree uint8_t *part = g_malloc(1 * MiB);
    off_t at = 0;
    ssize_t got;

    while (at < P2P_TESTDEV_MOVABLE &&
           (got = pread(dev->fd, part, 1 * MiB, at)) > 0) {
        g_checksum_update(checksum, part, got);
        at += got;
    }
    return g_strdup(g_checksum_get_string(checksum));
}

static bool p2p_testdev_get_late_writes(Object *obj, Error **errp)
{
    P2PTestDev *dev = P2P_TESTDEV(obj);

    if (dev->stopped && dev->checksum) {
        g_autofree char *now = p2p_testdev_checksum(dev);

        return dev->late_writes || !g_str_equal(now, dev->checksum);
    }
    return dev->late_writes;
}

static void p2p_testdev_change(P2PTestDev *dev, bool running)
{
    dev->late_writes = p2p_testdev_get_late_writes(OBJECT(dev), NULL);
    g_clear_pointer(&dev->checksum, g_free);
    dev->stopped = !running;
    if (dev->stopped) {
        dev->checksum = p2p_testdev_checksum(dev);
    }
}

static void p2p_testdev_vm_change(void *opaque, bool running, RunState state)
{
    p2p_testdev_change(opaque, running);
}

static int p2p_testdev_pre_save(void *opaque)
{
    P2PTestDev *dev = opaque;

    if (dev->size > P2P_TESTDEV_MOVABLE) {
        error_report("p2p-testdev: BARs are too large to migrate");
        return -EFBIG;
    }
    dev->movable = dev->size;
    if (p2p_testdev_get_late_writes(opaque, NULL)) {
        error_report("p2p-testdev: written to after it had stopped");
        return -EIO;
    }
    return 0;
}

static int p2p_testdev_pre_load(void *opaque)
{
    P2PTestDev *dev = opaque;

    dev->movable = MIN(dev->size, P2P_TESTDEV_MOVABLE);
    return 0;
}

static int p2p_testdev_post_load(void *opaque, int version_id)
{
    P2PTestDev *dev = opaque;

    if (dev->stopped) {
        g_free(dev->checksum);
        dev->checksum = p2p_testdev_checksum(dev);
    }
    if (P2P_TESTDEV_GET_CLASS(dev)->loaded) {
        P2P_TESTDEV_GET_CLASS(dev)->loaded(PCI_DEVICE(dev));
    }
    return 0;
}

static const VMStateDescription p2p_testdev_vmsd = {
    .name = "p2p-testdev",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = p2p_testdev_pre_save,
    .pre_load = p2p_testdev_pre_load,
    .post_load = p2p_testdev_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, P2PTestDev),
        VMSTATE_UINT64_EQUAL(size, P2PTestDev, "size= must be the same"),
        VMSTATE_VBUFFER_UINT32(hva, P2PTestDev, 0, NULL, movable),
        VMSTATE_UINT64(addr, P2PTestDev),
        VMSTATE_UINT64(len, P2PTestDev),
        VMSTATE_UINT64(result, P2PTestDev),
        VMSTATE_BUFFER(buffer, P2PTestDev),
        VMSTATE_END_OF_LIST()
    },
};

/* --- Registers --------------------------------------------------------- */

static void p2p_testdev_command(P2PTestDev *dev, uint64_t command)
{
    PCIDevice *pci = PCI_DEVICE(dev);

    if (dev->len > P2P_TESTDEV_BUFFER) {
        dev->result = MEMTX_ERROR;
    } else if (command == 1 || command == 2) {
        dev->result = P2P_TESTDEV_GET_CLASS(dev)->dma(pci, dev->addr,
                                                      dev->buffer, dev->len,
                                                      command == 2);
    }
}

static MemTxResult p2p_testdev_dma(PCIDevice *pci, dma_addr_t addr,
                                   void *buffer, size_t len, bool is_write)
{
    return is_write ? pci_dma_write(pci, addr, buffer, len)
                    : pci_dma_read(pci, addr, buffer, len);
}

static uint64_t p2p_testdev_read(void *opaque, hwaddr addr, unsigned size)
{
    P2PTestDev *dev = opaque;

    switch (addr) {
    case REG_ADDR:
        return dev->addr;
    case REG_LEN:
        return dev->len;
    case REG_RESULT:
        return dev->result;
    }
    if (addr >= REG_BUFFER) {
        return ldn_le_p(dev->buffer + (addr - REG_BUFFER), size);
    }
    return 0;
}

static void p2p_testdev_write(void *opaque, hwaddr addr, uint64_t data,
                              unsigned size)
{
    P2PTestDev *dev = opaque;

    switch (addr) {
    case REG_ADDR:
        dev->addr = data;
        break;
    case REG_LEN:
        dev->len = data;
        break;
    case REG_COMMAND:
        p2p_testdev_command(dev, data);
        break;
    default:
        if (addr >= REG_BUFFER) {
            stn_le_p(dev->buffer + (addr - REG_BUFFER), size, data);
        }
    }
}

static const MemoryRegionOps p2p_testdev_ops = {
    .read = p2p_testdev_read,
    .write = p2p_testdev_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 1, .max_access_size = 8 },
};

static void p2p_testdev_config_write(PCIDevice *pci, uint32_t addr,
                                     uint32_t value, int len)
{
    pci_default_write_config(pci, addr, value, len);
    if (pci->exp.exp_cap) {
        pcie_cap_flr_write_config(pci, addr, value, len);
    }
}

/* --- Life -------------------------------------------------------------- */

static bool p2p_testdev_add_capabilities(PCIDevice *pci, Error **errp)
{
    if (pci_pm_init(pci, 0, errp) < 0) {
        return false;
    }
    pci_set_word(pci->config + pci->pm_cap + PCI_PM_PMC, PCI_PM_CAP_VER_1_2);
    pci_set_word(pci->config + pci->pm_cap + PCI_PM_CTRL,
                 PCI_PM_CTRL_NO_SOFT_RESET);
    pci_set_word(pci->wmask + pci->pm_cap + PCI_PM_CTRL,
                 PCI_PM_CTRL_STATE_MASK);
    if (pci_bus_is_express(pci_get_bus(pci))) {
        int ret = pcie_endpoint_cap_init(pci, 0x80);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "no room for the PCIe capability");
            return false;
        }
        pcie_cap_flr_init(pci);
    }
    return true;
}

static int p2p_testdev_open(P2PTestDev *dev, Error **errp)
{
    return dev->file
           ? qemu_open(dev->file, O_RDWR, errp)
           : qemu_memfd_create("p2p-testdev", dev->size, false, 0, 0, errp);
}

static void p2p_testdev_realize(PCIDevice *pci, Error **errp)
{
    P2PTestDev *dev = P2P_TESTDEV(pci);
    Object *obj = OBJECT(dev);
    uint64_t page = qemu_real_host_page_size();
    uint64_t low = dev->msix_hole ? page : dev->size;
    const uint8_t prefetch = PCI_BASE_ADDRESS_SPACE_MEMORY |
                             PCI_BASE_ADDRESS_MEM_TYPE_64 |
                             PCI_BASE_ADDRESS_MEM_PREFETCH;

    if (!is_power_of_2(dev->size) || (dev->msix_hole && dev->size < 4 * page)) {
        error_setg(errp, "size must be a power of two, and four pages or "
                   "more with msix-hole=on");
        return;
    }
    if (!p2p_testdev_add_capabilities(pci, errp)) {
        return;
    }
    dev->fd = p2p_testdev_open(dev, errp);
    if (dev->fd < 0) {
        return;
    }
    dev->hva = mmap(NULL, dev->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                    dev->fd, 0);
    if (dev->hva == MAP_FAILED) {
        dev->hva = NULL;
        error_setg_errno(errp, errno, "cannot map %" PRIu64 " bytes",
                         dev->size);
        return;
    }

    pci_config_set_interrupt_pin(pci->config, 1);
    memory_region_init_io(&dev->registers, obj, &p2p_testdev_ops, dev,
                          "p2p-testdev-registers", REG_SIZE);
    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &dev->registers);

    memory_region_init_io(&dev->ports, obj, &p2p_testdev_ops, dev,
                          "p2p-testdev-ports", 16);
    pci_register_bar(pci, 1, PCI_BASE_ADDRESS_SPACE_IO, &dev->ports);

    memory_region_init(&dev->bar2, obj, "p2p-testdev-bar2", dev->size);
    memory_region_init_ram_device_ptr(&dev->low, obj, "p2p-testdev-low", low,
                                      dev->hva);
    memory_region_add_subregion(&dev->bar2, 0, &dev->low);
    if (dev->msix_hole) {
        memory_region_init_io(&dev->hole, obj, &p2p_testdev_ops, dev,
                              "p2p-testdev-hole", page);
        memory_region_add_subregion(&dev->bar2, page, &dev->hole);
        memory_region_init_ram_device_ptr(&dev->high, obj, "p2p-testdev-high",
                                          dev->size - 2 * page,
                                          (uint8_t *)dev->hva + 2 * page);
        memory_region_add_subregion(&dev->bar2, 2 * page, &dev->high);
    }
    pci_register_bar(pci, 2, prefetch, &dev->bar2);

    if (memory_region_init_ram(&dev->bar4, obj, "p2p-testdev-ram", dev->size,
                               errp)) {
        pci_register_bar(pci, 4, prefetch, &dev->bar4);
    }
    dev->change = p2p_add_vm_change_state_handler(p2p_testdev_vm_change, NULL,
                                                  dev, P2P_TESTDEV_DEPTH);
}

static void p2p_testdev_exit(PCIDevice *pci)
{
    P2PTestDev *dev = P2P_TESTDEV(pci);

    qemu_del_vm_change_state_handler(dev->change);

    /* RCU frees the region later; another device may come to the slot now. */
    vmstate_unregister_ram(&dev->bar4, DEVICE(dev));

    /* Before 10.1 a region in one of the same owner kept the owner alive. */
    memory_region_del_subregion(&dev->bar2, &dev->low);
    if (dev->msix_hole) {
        memory_region_del_subregion(&dev->bar2, &dev->hole);
        memory_region_del_subregion(&dev->bar2, &dev->high);
    }
}

static int p2p_testdev_get_fd(PCIDevice *pci, int bar, off_t *offset)
{
    *offset = 0;
    return bar == 2 ? P2P_TESTDEV(pci)->fd : -1;
}

static void p2p_testdev_init(Object *obj)
{
    P2P_TESTDEV(obj)->fd = -1;
    /* For the size of the configuration space; it shows on PCIe only. */
    PCI_DEVICE(obj)->cap_present |= QEMU_PCI_CAP_EXPRESS;
}

/* The regions go after exit(), so the memory behind them goes here. */
static void p2p_testdev_finalize(Object *obj)
{
    P2PTestDev *dev = P2P_TESTDEV(obj);

    if (dev->hva) {
        munmap(dev->hva, dev->size);
    }
    if (dev->fd >= 0) {
        close(dev->fd);
    }
    g_free(dev->checksum);
}

static const Property p2p_testdev_properties[] = {
    DEFINE_PROP_SIZE("size", P2PTestDev, size, 1 * MiB),
    DEFINE_PROP_STRING("file", P2PTestDev, file),
    DEFINE_PROP_BOOL("msix-hole", P2PTestDev, msix_hole, false),
};

static void p2p_testdev_class_init(ObjectClass *oc, P2P_CLASS_DATA *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->realize = p2p_testdev_realize;
    pc->exit = p2p_testdev_exit;
    pc->config_write = p2p_testdev_config_write;
    pc->vendor_id = PCI_VENDOR_ID_REDHAT;
    pc->device_id = PCI_DEVICE_ID_REDHAT_TEST;
    pc->class_id = PCI_CLASS_OTHERS;
    dc->vmsd = &p2p_testdev_vmsd;
    object_class_property_add_bool(oc, "late-writes",
                                   p2p_testdev_get_late_writes, NULL);
    dc->desc = "Peer-to-peer DMA test device";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, p2p_testdev_properties);
    P2P_BAR_FILE_CLASS(oc)->get_fd = p2p_testdev_get_fd;
    P2P_TESTDEV_CLASS(oc)->dma = p2p_testdev_dma;
}

static const TypeInfo p2p_testdev_info = {
    .name = TYPE_P2P_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(P2PTestDev),
    .class_size = sizeof(P2PTestDevClass),
    .instance_init = p2p_testdev_init,
    .instance_finalize = p2p_testdev_finalize,
    .class_init = p2p_testdev_class_init,
    .interfaces = (P2P_INTERFACES[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { INTERFACE_PCIE_DEVICE },
        { TYPE_P2P_BAR_FILE },
        { }
    },
};

static void p2p_testdev_register_types(void)
{
    type_register_static(&p2p_testdev_info);
}

type_init(p2p_testdev_register_types)
