/*
 * qemu-p2p verify: VFIO's groups and type1 containers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/vfio.h>
#include "verify-backend.h"

#define CONTAINER "/dev/vfio/vfio"

/* Of VFIO_IOMMU_GET_INFO's answer; there are a few capabilities. */
#define MAX_INFO (64 * 1024)

static bool present(void)
{
    return access(CONTAINER, F_OK) == 0;
}

static bool open_container(VerifyDomain *domain, GError **error)
{
    domain->container = open(CONTAINER, O_RDWR | O_CLOEXEC);
    if (domain->container < 0) {
        verify_error_errno(error, errno == ENOENT ? "\"modprobe vfio-pci\" "
                           "brings it" : NULL, "%s", CONTAINER);
        return false;
    }
    if (ioctl(domain->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
        ioctl(domain->container, VFIO_CHECK_EXTENSION,
              VFIO_TYPE1v2_IOMMU) <= 0) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s has no type1 (version 2) IOMMU; \"modprobe "
                    "vfio_iommu_type1\" may bring it", CONTAINER);
        return false;
    }
    return true;
}

static bool open_group(VerifyDomain *domain, const P2PFunction *function,
                       GError **error)
{
    g_autofree char *path = g_strdup_printf("/dev/vfio/%d", domain->number);
    struct vfio_group_status status = { .argsz = sizeof(status) };
    const char *hint = NULL;

    domain->group = open(path, O_RDWR | O_CLOEXEC);
    if (domain->group < 0) {
        if (errno == EBUSY) {
            hint = "another process, such as a VM, uses it: stop that first";
        } else if (errno == ENOENT) {
            hint = "VFIO has no such group: it runs without an IOMMU, or no "
                   "device of it is bound to vfio-pci";
        }
        verify_error_errno(error, hint, "%s: its IOMMU group, %s",
                           function->bdf, path);
        return false;
    }
    if (ioctl(domain->group, VFIO_GROUP_GET_STATUS, &status)) {
        verify_error_errno(error, NULL, "%s", path);
        return false;
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: IOMMU group %d is not viable: others of its devices "
                    "are in use by drivers of the host; \"ls /sys/kernel/"
                    "iommu_groups/%d/devices\" names them, and each has to be "
                    "bound to vfio-pci, too", function->bdf, domain->number,
                    domain->number);
        return false;
    }
    return true;
}

static bool open_domain(VerifySession *session, VerifyDomain *domain,
                        const P2PFunction *function, GError **error)
{
    (void)session;
    if (!open_container(domain, error) ||
        !open_group(domain, function, error)) {
        return false;
    }
    if (ioctl(domain->group, VFIO_GROUP_SET_CONTAINER, &domain->container)) {
        verify_error_errno(error, errno == EBUSY ? "another process uses it"
                           : NULL, "%s: IOMMU group %d", function->bdf,
                           domain->number);
        return false;
    }
    if (ioctl(domain->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) {
        verify_error_errno(error, errno == EPERM ? "the platform has no "
                           "interrupt remapping, see the kernel's log" : NULL,
                           "%s: its IOMMU", function->bdf);
        return false;
    }
    return true;
}

static bool open_device(VerifyDevice *device, GError **error)
{
    device->fd = ioctl(device->domain->group, VFIO_GROUP_GET_DEVICE_FD,
                       device->function->bdf);
    if (device->fd < 0) {
        verify_error_errno(error, errno == ENODEV ? "it is not bound to "
                           "vfio-pci" : NULL, "%s: VFIO does not give it",
                           device->function->bdf);
        return false;
    }
    return true;
}

/* --- Address ranges ------------------------------------------------------ */

/* The kernel's answer, @size bytes of it; NULL with errno. */
static struct vfio_iommu_type1_info *get_info(int container, size_t *size)
{
    struct vfio_iommu_type1_info probe = { .argsz = sizeof(probe) };
    g_autofree struct vfio_iommu_type1_info *info = NULL;

    if (ioctl(container, VFIO_IOMMU_GET_INFO, &probe)) {
        return NULL;
    }
    *size = CLAMP(probe.argsz, sizeof(probe), MAX_INFO);
    info = g_malloc0(*size);
    info->argsz = *size;
    if (ioctl(container, VFIO_IOMMU_GET_INFO, info)) {
        return NULL;
    }
    return g_steal_pointer(&info);
}

static void add_ranges(const struct vfio_iommu_type1_info_cap_iova_range *cap,
                       size_t room, GArray *ranges)
{
    room = (room - MIN(room, sizeof(*cap))) / sizeof(cap->iova_ranges[0]);
    for (size_t i = 0; i < MIN(room, cap->nr_iovas); i++) {
        VerifyRange range = { cap->iova_ranges[i].start,
                              cap->iova_ranges[i].end };

        g_array_append_val(ranges, range);
    }
}

static bool get_ranges(VerifyDevice *device, GArray *ranges, GError **error)
{
    g_autofree struct vfio_iommu_type1_info *info = NULL;
    const struct vfio_info_cap_header *cap;
    size_t size, next;

    info = get_info(device->domain->container, &size);
    if (!info) {
        verify_error_errno(error, NULL, "%s: its IOMMU's addresses",
                           device->function->bdf);
        return false;
    }
    next = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
    while (next && next + sizeof(*cap) <= size) {
        cap = (void *)((char *)info + next);
        if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            add_ranges((const void *)cap, size - next, ranges);
        }
        /* A list that goes back would have no end. */
        next = cap->next > next ? cap->next : 0;
    }
    if (!ranges->len) {
        /* Before Linux 5.4 nobody told; 32 bits are what all have. */
        VerifyRange all = { 0, UINT32_MAX };

        g_array_append_val(ranges, all);
    }
    return true;
}

/* --- Mappings ------------------------------------------------------------ */

static bool dma_map(VerifyDevice *device, uint64_t iova, void *address,
                    uint64_t size)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)address,
        .iova = iova,
        .size = size,
    };

    return ioctl(device->domain->container, VFIO_IOMMU_MAP_DMA, &map) == 0;
}

static bool map_memory(VerifyDevice *device, uint64_t iova, void *memory,
                       uint64_t size, GError **error)
{
    if (!dma_map(device, iova, memory, size)) {
        verify_error_errno(error, errno == ENOMEM ? "more memory has to be "
                           "lockable, see \"ulimit -l\"" : NULL,
                           "%s: memory cannot be mapped into its IOMMU",
                           device->function->bdf);
        return false;
    }
    return true;
}

static const char *map_bar_hint(int err)
{
    switch (err) {
    case EFAULT:
        return "the target does not decode its memory, or /dev/vfio/vfio is "
               "iommufd's stand-in, which takes no BARs: try "
               "--backend iommufd";
    case EINVAL:
        return "the IOMMU does not take the address";
    default:
        return NULL;
    }
}

static bool map_bar(VerifyDevice *target, unsigned bar, uint64_t offset,
                    VerifyMapping *mapping, GError **error)
{
    void *address = mmap(NULL, mapping->size, PROT_READ | PROT_WRITE,
                         MAP_SHARED, target->fd,
                         target->region[bar].offset + offset);

    if (address == MAP_FAILED) {
        verify_error_errno(error, errno == EINVAL ? "the MSI-X table may be "
                           "in this part; choose another with --offset" : NULL,
                           "%s: BAR %u cannot be mapped",
                           target->function->bdf, bar);
        return false;
    }
    if (!dma_map(mapping->device, mapping->iova, address, mapping->size)) {
        verify_error_errno(error, map_bar_hint(errno), "BAR %u of %s cannot "
                           "be mapped into the IOMMU of %s", bar,
                           target->function->bdf,
                           mapping->device->function->bdf);
        munmap(address, mapping->size);
        return false;
    }
    mapping->bar = address;
    return true;
}

static bool unmap(VerifyMapping *mapping, uint64_t *size)
{
    struct vfio_iommu_type1_dma_unmap request = {
        .argsz = sizeof(request),
        .iova = mapping->iova,
        .size = mapping->size,
    };
    bool ok = !ioctl(mapping->device->domain->container, VFIO_IOMMU_UNMAP_DMA,
              &request);

    *size = request.size;
    return ok;
}

const VerifyBackendOps verify_type1 = {
    .name = "type1",
    .present = present,
    .open_domain = open_domain,
    .open_device = open_device,
    .ranges = get_ranges,
    .map_memory = map_memory,
    .map_bar = map_bar,
    .unmap = unmap,
};
