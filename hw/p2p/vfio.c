/*
 * What the peer-to-peer code needs to know of VFIO devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/p2p/internal.h"
#include "hw/vfio/pci.h"

#if __has_include("hw/vfio/vfio-device.h")
#include "hw/vfio/vfio-device.h"
#define P2P_VFIO(dev) VFIO_PCI_DEVICE(dev)
typedef VFIOContainer P2PVFIOContainer;
#define p2p_vfio_region_fd(vbasedev, index) \
    vfio_device_get_region_fd(vbasedev, index)
#include "hw/vfio-user/container.h"
#define P2P_VFIO_USER
#else
/* Before 10.1 all regions are in the device's fd. */
#define P2P_VFIO(dev) VFIO_PCI(dev)
typedef VFIOContainerBase P2PVFIOContainer;
#define p2p_vfio_region_fd(vbasedev, index) ((vbasedev)->fd)
#endif

AddressSpace *p2p_vfio_address_space(void *container)
{
    return ((P2PVFIOContainer *)container)->space->as;
}

const void *p2p_vfio_container(PCIDevice *dev)
{
    return P2P_VFIO(dev)->vbasedev.bcontainer;
}

bool p2p_vfio_uses_iommufd(PCIDevice *dev)
{
    return P2P_VFIO(dev)->vbasedev.iommufd;
}

const char *p2p_vfio_backend(PCIDevice *dev)
{
    static const char type1[] = "VFIO's type1 back end";
    static const char iommufd[] = "iommufd";
    static const char vfio_user[] = "vfio-user";

    if (!p2p_vfio_is_hardware(dev)) {
        return vfio_user;
    }
    return p2p_vfio_uses_iommufd(dev) ? iommufd : type1;
}

bool p2p_vfio_is_hardware(PCIDevice *dev)
{
    return object_dynamic_cast(OBJECT(dev), "vfio-pci");
}

/* The sysfs folder of a function of this host; NULL: it is none. */
static char *p2p_vfio_sysfs(PCIDevice *dev)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);

    if (vdev->vbasedev.sysfsdev) {
        return g_strdup(vdev->vbasedev.sysfsdev);
    }
    if (~vdev->host.domain && ~vdev->host.bus &&
        ~vdev->host.slot && ~vdev->host.function) {
        return g_strdup_printf("/sys/bus/pci/devices/%04x:%02x:%02x.%x",
                               vdev->host.domain, vdev->host.bus,
                               vdev->host.slot, vdev->host.function);
    }
    return NULL;
}

char *p2p_vfio_host_bdf(PCIDevice *dev)
{
    g_autofree char *sysfs = p2p_vfio_sysfs(dev);
    g_autofree char *real = sysfs ? realpath(sysfs, NULL) : NULL;
    g_autofree char *bdf = real ? g_path_get_basename(real) : NULL;
    unsigned domain, bus, slot, function;
    char end;

    /* A mediated device has a folder, but no function of its own. */
    if (!bdf || sscanf(bdf, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function,
                       &end) != 4) {
        return NULL;
    }
    return g_steal_pointer(&bdf);
}

int p2p_vfio_iommu_group(PCIDevice *dev)
{
    g_autofree char *sysfs = p2p_vfio_sysfs(dev);
    g_autofree char *path = NULL;
    g_autofree char *target = NULL;
    g_autofree char *name = NULL;

    if (!sysfs) {
        return -1;
    }
    path = g_build_filename(sysfs, "iommu_group", NULL);
    target = g_file_read_link(path, NULL);
    if (!target) {
        return -1;
    }
    name = g_path_get_basename(target);
    return atoi(name);
}

bool p2p_vfio_mapping_suspended(PCIDevice *dev, int bar)
{
    VFIORegion *region = &P2P_VFIO(dev)->bars[bar].region;

    for (unsigned i = 0; i < region->nr_mmaps; i++) {
        if (region->mmaps[i].mmap && !region->mmaps[i].mem.enabled) {
            return true;
        }
    }
    return false;
}

bool p2p_vfio_intx_only(PCIDevice *dev)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);

    return vdev->interrupt == VFIO_INT_INTx && !vdev->intx.kvm_accel &&
           !pci_find_capability(dev, PCI_CAP_ID_MSI) &&
           !pci_find_capability(dev, PCI_CAP_ID_MSIX);
}

int p2p_vfio_bar_fd(PCIDevice *dev, int bar, off_t *offset)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);
    VFIORegion *region = &vdev->bars[bar].region;

    *offset = region->fd_offset;
    return p2p_vfio_region_fd(&vdev->vbasedev, region->nr);
}

bool p2p_vfio_wait_for_map(void *container, bool wait)
{
#ifdef P2P_VFIO_USER
    if (object_dynamic_cast(container, TYPE_VFIO_IOMMU_USER)) {
        VFIOUserProxy *proxy = VFIO_IOMMU_USER(container)->proxy;
        bool waits = !proxy->async_ops;

        proxy->async_ops = !wait;
        return waits;
    }
#endif
    return true;
}

bool p2p_vfio_set_decode(PCIDevice *dev, bool on)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);
    int fd = vdev->vbasedev.fd;
    off_t at = vdev->config_offset + PCI_COMMAND;
    uint16_t command, new;

    /* A vfio-user device has no such file, and no decode that matters. */
    if (fd < 0 || pread(fd, &command, sizeof(command), at) !=
                  sizeof(command)) {
        return false;
    }
    command = le16_to_cpu(command);
    new = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
    new = cpu_to_le16(new);
    if (pwrite(fd, &new, sizeof(new), at) != sizeof(new)) {
        return false;
    }
    return command & PCI_COMMAND_MEMORY;
}
