/*
 * VFIO's devices and IOMMU back ends, as the peer-to-peer code needs them
 *
 *   type1     takes the page frames of the BAR's CPU mapping
 *   iommufd   takes a dma-buf of the BAR; one for each window and each map
 *             call, for the kernel revokes it for good when the device is reset
 *             or stops decoding
 *   vfio-user sends a message to the device's server
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include <sys/ioctl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "system/iommufd.h"
#include "hw/p2p/internal.h"
#include "hw/vfio/pci.h"

#if __has_include("hw/vfio/vfio-device.h")
#include "hw/vfio/vfio-device.h"
#include "hw/vfio/vfio-container-legacy.h"
#include "hw/vfio/vfio-iommufd.h"
#define P2P_VFIO(dev) VFIO_PCI_DEVICE(dev)
typedef VFIOContainer P2PVFIOContainer;
typedef VFIOLegacyContainer P2PVFIOLegacyContainer;
#define p2p_vfio_region_fd(vbasedev, index) \
    vfio_device_get_region_fd(vbasedev, index)
#define p2p_vfio_dma_map(container, map) \
    vfio_container_dma_map(container, (map)->iova, (map)->size, (map)->hva, \
                           (map)->readonly, (map)->mr)
#define p2p_vfio_dma_unmap(container, iova, size) \
    vfio_container_dma_unmap(container, iova, size, NULL, false)
#include "hw/vfio-user/container.h"
#define P2P_VFIO_USER
#else
/* Before 10.1 all regions are in the device's fd. */
#define P2P_VFIO(dev) VFIO_PCI(dev)
typedef VFIOContainerBase P2PVFIOContainer;
typedef VFIOContainer P2PVFIOLegacyContainer;
#define p2p_vfio_region_fd(vbasedev, index) ((vbasedev)->fd)
#define p2p_vfio_dma_map(container, map) \
    vfio_container_dma_map(container, (map)->iova, (map)->size, (map)->hva, \
                           (map)->readonly)
#define p2p_vfio_dma_unmap(container, iova, size) \
    vfio_container_dma_unmap(container, iova, size, NULL)
#endif

/* --- A BAR as a dma-buf ------------------------------------------------ */

/* Linux 6.19, include/uapi/linux/vfio.h */
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
struct vfio_region_dma_range {
    __u64 offset;
    __u64 length;
};
struct vfio_device_feature_dma_buf {
    __u32 region_index;
    __u32 open_flags;
    __u32 flags;
    __u32 nr_ranges;
    struct vfio_region_dma_range dma_ranges[];
};
#endif

/* Returns a file descriptor, or -errno: -ENOTTY if the kernel cannot. */
static int p2p_vfio_dma_buf(const P2PIommuMap *map)
{
    struct {
        struct vfio_device_feature header;
        struct vfio_device_feature_dma_buf dma_buf;
        struct vfio_region_dma_range range;
    } feature = {
        .header.argsz = sizeof(feature),
        .header.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
        .dma_buf.region_index = VFIO_PCI_BAR0_REGION_INDEX + map->bar,
        .dma_buf.open_flags = O_RDWR | O_CLOEXEC,
        .dma_buf.nr_ranges = 1,
        .range = { .offset = map->offset, .length = map->size },
    };
    int fd = ioctl(P2P_VFIO(map->dev)->vbasedev.fd, VFIO_DEVICE_FEATURE,
                   &feature);

    return fd < 0 ? -errno : fd;
}

static int p2p_vfio_map_dma_buf(int iommufd, uint32_t ioas,
                                const P2PIommuMap *map)
{
    struct iommu_ioas_map_file request = {
        .size = sizeof(request),
        .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
                 (map->readonly ? 0 : IOMMU_IOAS_MAP_WRITEABLE),
        .ioas_id = ioas,
        .iova = map->iova,
        .length = map->size,
    };
    int ret;

    request.fd = p2p_vfio_dma_buf(map);
    if (request.fd < 0) {
        return request.fd;
    }
    ret = ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &request) ? -errno : 0;
    /* What is mapped holds a reference. */
    close(request.fd);
    return ret;
}

/* --- Containers -------------------------------------------------------- */

static bool p2p_is_vfio_pci(PCIDevice *dev)
{
    return object_dynamic_cast(OBJECT(dev), "vfio-pci");
}

/*
 * The address space of an iommufd that stands in for a VFIO container, as
 * /dev/vfio/vfio does in kernels with CONFIG_IOMMUFD_VFIO_CONTAINER.
 */
static bool p2p_vfio_compat_ioas(int fd, uint32_t *ioas)
{
    struct iommu_vfio_ioas request = {
        .size = sizeof(request),
        .op = IOMMU_VFIO_IOAS_GET,
    };

    if (ioctl(fd, IOMMU_VFIO_IOAS, &request)) {
        return false;
    }
    *ioas = request.ioas_id;
    return true;
}

/* Whether @container is an iommufd, and which. */
static bool p2p_vfio_ioas(void *container, int *fd, uint32_t *ioas)
{
    if (object_dynamic_cast(container, TYPE_VFIO_IOMMU_IOMMUFD)) {
        VFIOIOMMUFDContainer *iommufd = VFIO_IOMMU_IOMMUFD(container);

        *fd = iommufd->be->fd;
        *ioas = iommufd->ioas_id;
        return true;
    }
    if (object_dynamic_cast(container, TYPE_VFIO_IOMMU_LEGACY)) {
        *fd = ((P2PVFIOLegacyContainer *)VFIO_IOMMU_LEGACY(container))->fd;
        return p2p_vfio_compat_ioas(*fd, ioas);
    }
    return false;
}

static int p2p_vfio_map(void *container, const P2PIommuMap *map)
{
    uint32_t ioas;
    int fd;

    if (p2p_is_vfio_pci(map->dev) && p2p_vfio_ioas(container, &fd, &ioas)) {
        return p2p_vfio_map_dma_buf(fd, ioas, map);
    }
    return p2p_vfio_dma_map(container, map);
}

static int p2p_vfio_unmap(void *container, hwaddr iova, uint64_t size)
{
    return p2p_vfio_dma_unmap(container, iova, size);
}

static void *p2p_vfio_container(PCIDevice *dev)
{
    return P2P_VFIO(dev)->vbasedev.bcontainer;
}

static const GList *p2p_vfio_iova_ranges(void *container)
{
    return ((P2PVFIOContainer *)container)->iova_ranges;
}

/* --- Devices ----------------------------------------------------------- */

static P2PBackEnd p2p_vfio_backend(PCIDevice *dev)
{
    return P2P_VFIO(dev)->vbasedev.iommufd ? P2P_BACK_END_IOMMUFD
                                           : P2P_BACK_END_TYPE1;
}

static const char *p2p_vfio_map_hint(PCIDevice *dev, int err)
{
    switch (err) {
    case ENOTTY:
        return "; the host's kernel cannot give a BAR to iommufd, Linux 6.19 "
               "and later with CONFIG_VFIO_PCI_DMABUF can; leave iommufd= out "
               "to use VFIO's type1 back end";
    case EOPNOTSUPP:
        return "; the target's VFIO driver cannot give its BARs to iommufd; "
               "leave iommufd= out to use VFIO's type1 back end";
    case EINVAL:
        return "; the address may be beyond the IOMMU's width or reserved by "
               "the host";
    case EFAULT:
    case ENODEV:
        return "; the target does not decode its memory";
    case EEXIST:
        return "; something else is mapped there";
    case ENOSPC:
        return "; the container is full, see dma_entry_limit of "
               "vfio_iommu_type1";
    case ENOMEM:
        return "; the host's kernel has no memory for it, or the limit of "
               "locked memory (ulimit -l) is too low";
    }
    return "";
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

static char *p2p_vfio_host_bdf(PCIDevice *dev)
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

static int p2p_vfio_iommu_group(PCIDevice *dev)
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

static bool p2p_vfio_mapping_suspended(PCIDevice *dev, int bar)
{
    VFIORegion *region = &P2P_VFIO(dev)->bars[bar].region;

    for (unsigned i = 0; i < region->nr_mmaps; i++) {
        if (region->mmaps[i].mmap && !region->mmaps[i].mem.enabled) {
            return true;
        }
    }
    return false;
}

static bool p2p_vfio_intx_only(PCIDevice *dev)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);

    return vdev->interrupt == VFIO_INT_INTx && !vdev->intx.kvm_accel &&
           !pci_find_capability(dev, PCI_CAP_ID_MSI) &&
           !pci_find_capability(dev, PCI_CAP_ID_MSIX);
}

static int p2p_vfio_bar_fd(PCIDevice *dev, int bar, off_t *offset)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);
    VFIORegion *region = &vdev->bars[bar].region;

    *offset = region->fd_offset;
    return p2p_vfio_region_fd(&vdev->vbasedev, region->nr);
}

static bool p2p_vfio_set_decode(PCIDevice *dev, bool on)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);
    int fd = vdev->vbasedev.fd;
    off_t at = vdev->config_offset + PCI_COMMAND;
    uint16_t command, new;

    if (pread(fd, &command, sizeof(command), at) != sizeof(command)) {
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

static void p2p_vfio_stop_mastering(PCIDevice *dev)
{
    VFIOPCIDevice *vdev = P2P_VFIO(dev);
    int fd = vdev->vbasedev.fd;
    off_t at = vdev->config_offset + PCI_COMMAND;
    uint16_t command;

    if (pread(fd, &command, sizeof(command), at) == sizeof(command)) {
        command &= cpu_to_le16((uint16_t)~PCI_COMMAND_MASTER);
        if (pwrite(fd, &command, sizeof(command), at) == sizeof(command)) {
            return;
        }
    }
    error_report("%s: bus mastering cannot be switched off: %s; unplug the "
                 "device", p2p_device_name(dev), strerror(errno));
}

static const P2PPassthrough p2p_vfio_pci = {
    .hardware = true,
    .backend = p2p_vfio_backend,
    .container = p2p_vfio_container,
    .map = p2p_vfio_map,
    .unmap = p2p_vfio_unmap,
    .iova_ranges = p2p_vfio_iova_ranges,
    .map_hint = p2p_vfio_map_hint,
    .host_bdf = p2p_vfio_host_bdf,
    .iommu_group = p2p_vfio_iommu_group,
    .mapping_suspended = p2p_vfio_mapping_suspended,
    .intx_only = p2p_vfio_intx_only,
    .bar_fd = p2p_vfio_bar_fd,
    .set_decode = p2p_vfio_set_decode,
    .stop_mastering = p2p_vfio_stop_mastering,
};

/* --- vfio-user --------------------------------------------------------- */

#ifdef P2P_VFIO_USER
static P2PBackEnd p2p_vfio_user_backend(PCIDevice *dev)
{
    return P2P_BACK_END_VFIO_USER;
}

static const char *p2p_vfio_user_map_hint(PCIDevice *dev, int err)
{
    return "; its vfio-user server has refused it";
}

/*
 * Outside of a memory transaction the client waits for each answer.  If there
 * was none the server may have mapped it all the same, or will.
 */
static int p2p_vfio_user_map(void *container, const P2PIommuMap *map)
{
    int ret = p2p_vfio_dma_map(container, map);

    if (ret == -EFAULT) {
        p2p_vfio_dma_unmap(container, map->iova, map->size);
    }
    return ret;
}

static const P2PPassthrough p2p_vfio_user = {
    .backend = p2p_vfio_user_backend,
    .container = p2p_vfio_container,
    .map = p2p_vfio_user_map,
    .unmap = p2p_vfio_unmap,
    .unmap_once = true,
    .iova_ranges = p2p_vfio_iova_ranges,
    .map_hint = p2p_vfio_user_map_hint,
    .mapping_suspended = p2p_vfio_mapping_suspended,
    .intx_only = p2p_vfio_intx_only,
    .bar_fd = p2p_vfio_bar_fd,
};
#endif

static void p2p_vfio_register(void)
{
    p2p_passthrough_register("vfio-pci", &p2p_vfio_pci);
#ifdef P2P_VFIO_USER
    p2p_passthrough_register("vfio-user-pci", &p2p_vfio_user);
#endif
}

type_init(p2p_vfio_register)
