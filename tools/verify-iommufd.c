/*
 * qemu-p2p verify: iommufd and VFIO's character devices
 *
 * A BAR gets into an iommufd as a dma-buf, which VFIO exports from Linux 6.19
 * on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vfio.h>
#include "verify-backend.h"

/*
 * Linux 7.0, include/uapi/linux/iommufd.h and vfio.h.  Distributions' headers
 * are older, or have no iommufd.h at all; names of our own do not clash with
 * theirs.
 */
#define IOMMUFD_TYPE ';'
#define IOAS_ALLOC       _IO(IOMMUFD_TYPE, 0x81)
#define IOAS_IOVA_RANGES _IO(IOMMUFD_TYPE, 0x84)
#define IOAS_MAP         _IO(IOMMUFD_TYPE, 0x85)
#define IOAS_UNMAP       _IO(IOMMUFD_TYPE, 0x86)
#define IOAS_MAP_FILE    _IO(IOMMUFD_TYPE, 0x8f)

#define MAP_FIXED_IOVA 1
#define MAP_WRITEABLE  2
#define MAP_READABLE   4

typedef struct IoasAlloc {
    uint32_t size, flags, out_ioas_id;
} IoasAlloc;

typedef struct IoasIovaRanges {
    uint32_t size, ioas_id, num_iovas, reserved;
    uint64_t allowed_iovas;     /* pointer to VerifyRange[] */
    uint64_t out_iova_alignment;
} IoasIovaRanges;

typedef struct IoasMap {
    uint32_t size, flags, ioas_id, reserved;
    uint64_t user_va, length, iova;
} IoasMap;

typedef struct IoasMapFile {
    uint32_t size, flags, ioas_id;
    int32_t fd;
    uint64_t start, length, iova;
} IoasMapFile;

typedef struct IoasUnmap {
    uint32_t size, ioas_id;
    uint64_t iova, length;
} IoasUnmap;

#define DEVICE_BIND_IOMMUFD   _IO(VFIO_TYPE, VFIO_BASE + 18)
#define DEVICE_ATTACH_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 19)

typedef struct DeviceBind {
    uint32_t argsz, flags;
    int32_t iommufd;
    uint32_t out_devid;
} DeviceBind;

typedef struct DeviceAttach {
    uint32_t argsz, flags, pt_id;
} DeviceAttach;

#define FEATURE_DMA_BUF 11

typedef struct FeatureDmaBuf {
    uint32_t argsz, feature_flags;
    uint32_t region_index, open_flags, flags, nr_ranges;
    uint64_t offset, length;    /* of the one range */
} FeatureDmaBuf;

#define IOMMUFD "/dev/iommu"

/* A list that is longer than this has been made up. */
#define MAX_RANGES 1024

static bool present(void)
{
    return access(IOMMUFD, F_OK) == 0;
}

static bool begin(VerifySession *session, GError **error)
{
    session->iommufd = open(IOMMUFD, O_RDWR | O_CLOEXEC);
    if (session->iommufd < 0) {
        verify_error_errno(error, errno == ENOENT ? "the kernel has no iommufd "
                           "(CONFIG_IOMMUFD, \"modprobe iommufd\")" : NULL,
                           "%s", IOMMUFD);
        return false;
    }
    return true;
}

static bool open_domain(VerifySession *session, VerifyDomain *domain,
                        const P2PFunction *function, GError **error)
{
    IoasAlloc request = { .size = sizeof(request) };

    if (ioctl(session->iommufd, IOAS_ALLOC, &request)) {
        verify_error_errno(error, NULL, "%s: an address space of iommufd",
                           function->bdf);
        return false;
    }
    domain->ioas = request.out_ioas_id;
    return true;
}

/* "/dev/vfio/devices/vfio0", or NULL. */
static char *find_cdev(const P2PFunction *function)
{
    g_autofree char *path = g_strdup_printf(
        "/sys/bus/pci/devices/%s/vfio-dev", function->bdf);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name = dir ? g_dir_read_name(dir) : NULL;

    return name ? g_strdup_printf("/dev/vfio/devices/%s", name) : NULL;
}

static const char *bind_hint(int err)
{
    switch (err) {
    case EBUSY:
    case EPERM:
        return "another process, such as a VM, uses it, or other devices of "
               "its IOMMU group are in use by drivers of the host";
    case EINVAL:
        return "another process uses its IOMMU group";
    default:
        return NULL;
    }
}

static bool attach(VerifyDevice *device, GError **error)
{
    DeviceBind bind = {
        .argsz = sizeof(bind),
        .iommufd = device->session->iommufd,
    };
    DeviceAttach attach = {
        .argsz = sizeof(attach),
        .pt_id = device->domain->ioas,
    };

    if (ioctl(device->fd, DEVICE_BIND_IOMMUFD, &bind)) {
        verify_error_errno(error, bind_hint(errno),
                           "%s cannot be bound to iommufd",
                           device->function->bdf);
        return false;
    }
    if (ioctl(device->fd, DEVICE_ATTACH_IOMMUFD, &attach)) {
        verify_error_errno(error, NULL, "%s cannot be attached to an address "
                           "space of iommufd", device->function->bdf);
        return false;
    }
    return true;
}

static bool open_device(VerifyDevice *device, GError **error)
{
    g_autofree char *path = find_cdev(device->function);

    if (!path) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: VFIO has no character device for it (Linux 6.6 and "
                    "later with CONFIG_VFIO_DEVICE_CDEV); try --backend "
                    "type1", device->function->bdf);
        return false;
    }
    device->fd = open(path, O_RDWR | O_CLOEXEC);
    if (device->fd < 0) {
        verify_error_errno(error, errno == EBUSY ? "another process, such as "
                           "a VM, uses it" : NULL, "%s: %s",
                           device->function->bdf, path);
        return false;
    }
    return attach(device, error);
}

static bool get_ranges(VerifyDevice *device, GArray *ranges, GError **error)
{
    IoasIovaRanges request = {
        .size = sizeof(request),
        .ioas_id = device->domain->ioas,
        .num_iovas = MAX_RANGES,
    };

    G_STATIC_ASSERT(sizeof(VerifyRange) == 2 * sizeof(uint64_t));

    g_array_set_size(ranges, MAX_RANGES);
    request.allowed_iovas = (uintptr_t)ranges->data;
    if (ioctl(device->session->iommufd, IOAS_IOVA_RANGES, &request)) {
        verify_error_errno(error, NULL, "%s: its IOMMU's addresses",
                           device->function->bdf);
        return false;
    }
    g_array_set_size(ranges, MIN(request.num_iovas, MAX_RANGES));
    return true;
}

static bool map_memory(VerifyDevice *device, uint64_t iova, void *memory,
                       uint64_t size, GError **error)
{
    IoasMap request = {
        .size = sizeof(request),
        .flags = MAP_FIXED_IOVA | MAP_READABLE | MAP_WRITEABLE,
        .ioas_id = device->domain->ioas,
        .user_va = (uintptr_t)memory,
        .length = size,
        .iova = iova,
    };

    if (ioctl(device->session->iommufd, IOAS_MAP, &request)) {
        verify_error_errno(error, NULL,
                           "%s: memory cannot be mapped into its IOMMU",
                           device->function->bdf);
        return false;
    }
    return true;
}

/* A descriptor, or -1 with errno. */
static int export_bar(VerifyDevice *target, unsigned bar, uint64_t offset,
                      uint64_t size)
{
    FeatureDmaBuf request = {
        .argsz = sizeof(request),
        .feature_flags = VFIO_DEVICE_FEATURE_GET | FEATURE_DMA_BUF,
        .region_index = VFIO_PCI_BAR0_REGION_INDEX + bar,
        .open_flags = O_RDWR | O_CLOEXEC,
        .nr_ranges = 1,
        .offset = offset,
        .length = size,
    };

    return ioctl(target->fd, VFIO_DEVICE_FEATURE, &request);
}

static bool map_bar(VerifyDevice *target, unsigned bar, uint64_t offset,
                    VerifyMapping *mapping, GError **error)
{
    VerifyDevice *device = mapping->device;
    IoasMapFile request = {
        .size = sizeof(request),
        .flags = MAP_FIXED_IOVA | MAP_READABLE | MAP_WRITEABLE,
        .ioas_id = device->domain->ioas,
        .length = mapping->size,
        .iova = mapping->iova,
    };
    bool ok;

    request.fd = export_bar(target, bar, offset, mapping->size);
    if (request.fd < 0) {
        verify_error_errno(error, errno == ENOTTY ? "the kernel cannot export "
                           "a BAR, Linux 6.19 and later with "
                           "CONFIG_VFIO_PCI_DMABUF can; try --backend type1"
                           : NULL, "%s: BAR %u cannot be exported",
                           target->function->bdf, bar);
        return false;
    }
    ok = ioctl(device->session->iommufd, IOAS_MAP_FILE, &request) == 0;
    if (!ok) {
        verify_error_errno(error, NULL, "BAR %u of %s cannot be mapped into "
                           "the IOMMU of %s", bar, target->function->bdf,
                           device->function->bdf);
    }
    /* What is mapped holds a reference. */
    close(request.fd);
    return ok;
}

static bool unmap(VerifyMapping *mapping, uint64_t *size)
{
    VerifyDevice *device = mapping->device;
    IoasUnmap request = {
        .size = sizeof(request),
        .ioas_id = device->domain->ioas,
        .iova = mapping->iova,
        .length = mapping->size,
    };
    bool ok = !ioctl(device->session->iommufd, IOAS_UNMAP, &request);

    *size = request.length;
    return ok;
}

const VerifyBackendOps verify_iommufd = {
    .name = "iommufd",
    .present = present,
    .begin = begin,
    .open_domain = open_domain,
    .open_device = open_device,
    .ranges = get_ranges,
    .map_memory = map_memory,
    .map_bar = map_bar,
    .unmap = unmap,
};
