/*
 * qemu-p2p verify: devices that VFIO has given to this program, and what is
 * mapped into their IOMMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include "verify-backend.h"

G_DEFINE_QUARK(verify_error, verify_error)

void verify_error_errno(GError **error, const char *hint, const char *format,
                        ...)
{
    const char *reason = g_strerror(errno);
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, format);
    what = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED, "%s: %s%s%s", what,
                reason, hint ? "; " : "", hint ?: "");
}

/* --- Sessions ------------------------------------------------------------ */

static void device_free(gpointer data)
{
    VerifyDevice *device = data;

    if (device->fd >= 0) {
        close(device->fd);
    }
    g_free(device);
}

static void domain_free(gpointer data)
{
    VerifyDomain *domain = data;

    if (domain->group >= 0) {
        close(domain->group);
    }
    if (domain->container >= 0) {
        close(domain->container);
    }
    g_free(domain);
}

static const VerifyBackendOps *choose_backend(VerifyBackend backend)
{
    switch (backend) {
    case VERIFY_BACKEND_TYPE1:
        return &verify_type1;
    case VERIFY_BACKEND_IOMMUFD:
        return &verify_iommufd;
    default:
        return !verify_type1.present() && verify_iommufd.present()
               ? &verify_iommufd : &verify_type1;
    }
}

VerifySession *verify_session_new(VerifyBackend backend, GError **error)
{
    g_autoptr(VerifySession) session = g_new0(VerifySession, 1);

    session->ops = choose_backend(backend);
    session->iommufd = -1;
    session->devices = g_ptr_array_new_with_free_func(device_free);
    session->domains = g_ptr_array_new_with_free_func(domain_free);
    if (session->ops->begin && !session->ops->begin(session, error)) {
        return NULL;
    }
    return g_steal_pointer(&session);
}

void verify_session_free(VerifySession *session)
{
    if (!session) {
        return;
    }
    /* Devices first: a group that still has one open cannot be left. */
    g_ptr_array_unref(session->devices);
    g_ptr_array_unref(session->domains);
    if (session->iommufd >= 0) {
        close(session->iommufd);
    }
    g_free(session);
}

const char *verify_session_backend(const VerifySession *session)
{
    return session->ops->name;
}

/* --- Devices ------------------------------------------------------------- */

static VerifyDomain *get_domain(VerifySession *session,
                                const P2PFunction *function, GError **error)
{
    VerifyDomain *domain;

    for (guint i = 0; i < session->domains->len; i++) {
        domain = session->domains->pdata[i];
        if (domain->number == function->iommu_group->number) {
            return domain;
        }
    }
    domain = g_new0(VerifyDomain, 1);
    domain->number = function->iommu_group->number;
    domain->group = domain->container = -1;
    g_ptr_array_add(session->domains, domain);
    if (!session->ops->open_domain(session, domain, function, error)) {
        g_ptr_array_remove(session->domains, domain);
        return NULL;
    }
    return domain;
}

/* False, with errno, if the device has no such region. */
static bool get_region(VerifyDevice *device, unsigned index,
                       struct vfio_region_info *info)
{
    *info = (struct vfio_region_info) {
        .argsz = sizeof(*info),
        .index = index,
    };
    return ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, info) == 0;
}

static bool get_regions(VerifyDevice *device, GError **error)
{
    struct vfio_region_info info;

    if (!get_region(device, VFIO_PCI_CONFIG_REGION_INDEX, &info)) {
        verify_error_errno(error, NULL, "%s: its configuration space",
                           device->function->bdf);
        return false;
    }
    device->config = info.offset;
    for (unsigned i = 0; i < P2P_BARS; i++) {
        if (!get_region(device, VFIO_PCI_BAR0_REGION_INDEX + i, &info)) {
            verify_error_errno(error, NULL, "%s: BAR %u",
                               device->function->bdf, i);
            return false;
        }
        device->region[i].offset = info.offset;
        device->region[i].size = info.size;
        device->region[i].can_map = info.flags & VFIO_REGION_INFO_FLAG_MMAP;
    }
    return true;
}

VerifyDevice *verify_device_open(VerifySession *session,
                                 const P2PFunction *function, GError **error)
{
    VerifyDomain *domain = get_domain(session, function, error);
    VerifyDevice *device;

    if (!domain) {
        return NULL;
    }
    device = g_new0(VerifyDevice, 1);
    device->session = session;
    device->function = function;
    device->domain = domain;
    device->fd = -1;
    g_ptr_array_add(session->devices, device);
    if (!session->ops->open_device(device, error) ||
        !get_regions(device, error)) {
        g_ptr_array_remove(session->devices, device);
        return NULL;
    }
    return device;
}

const P2PFunction *verify_device_function(const VerifyDevice *device)
{
    return device->function;
}

/* --- Registers and memory ------------------------------------------------ */

static bool copy_failed(const VerifyDevice *device, const char *verb,
                        const char *what, ssize_t done, GError **error)
{
    /* The kernel copies less than it was asked for where a device is off. */
    errno = done < 0 ? errno : EIO;
    verify_error_errno(error, NULL, "%s: %s cannot be %s",
                       device->function->bdf, what, verb);
    return false;
}

static bool in_bar(const VerifyDevice *device, unsigned bar, uint64_t offset,
                   size_t size, GError **error)
{
    uint64_t bar_size = device->region[bar].size;

    if (offset > bar_size || size > bar_size - offset) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: BAR %u has %" G_GUINT64_FORMAT " bytes, none at 0x%"
                    G_GINT64_MODIFIER "x", device->function->bdf, bar,
                    bar_size, offset + size);
        return false;
    }
    return true;
}

bool verify_bar_read(VerifyDevice *device, unsigned bar, uint64_t offset,
                     void *data, size_t size, GError **error)
{
    uint64_t at = device->region[bar].offset + offset;

    if (!in_bar(device, bar, offset, size, error)) {
        return false;
    }
    for (size_t done = 0; done < size; ) {
        ssize_t n = pread(device->fd, (char *)data + done, size - done,
                          at + done);

        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return copy_failed(device, "read", "a BAR", n, error);
        }
        done += MAX(n, 0);
    }
    return true;
}

bool verify_bar_write(VerifyDevice *device, unsigned bar, uint64_t offset,
                      const void *data, size_t size, GError **error)
{
    uint64_t at = device->region[bar].offset + offset;

    if (!in_bar(device, bar, offset, size, error)) {
        return false;
    }
    for (size_t done = 0; done < size; ) {
        ssize_t n = pwrite(device->fd, (const char *)data + done, size - done,
                           at + done);

        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return copy_failed(device, "written", "a BAR", n, error);
        }
        done += MAX(n, 0);
    }
    return true;
}

bool verify_command(VerifyDevice *device, uint16_t set, uint16_t clear,
                    GError **error)
{
    uint16_t value;
    ssize_t n;

    n = pread(device->fd, &value, sizeof(value), device->config + PCI_COMMAND);
    if (n != sizeof(value)) {
        return copy_failed(device, "read", "its command register", n, error);
    }
    value = GUINT16_FROM_LE(value);
    value = GUINT16_TO_LE((value & ~clear) | set);
    n = pwrite(device->fd, &value, sizeof(value),
               device->config + PCI_COMMAND);
    if (n != sizeof(value)) {
        return copy_failed(device, "written", "its command register", n,
                           error);
    }
    return true;
}

/* --- The IOMMU ----------------------------------------------------------- */

GArray *verify_device_ranges(VerifyDevice *device, GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(false, false, sizeof(VerifyRange));

    if (!device->session->ops->ranges(device, ranges, error)) {
        return NULL;
    }
    return g_steal_pointer(&ranges);
}

bool verify_map_memory(VerifyDevice *device, uint64_t iova, void *memory,
                       uint64_t size, VerifyMapping *mapping, GError **error)
{
    if (!device->session->ops->map_memory(device, iova, memory, size,
                                          error)) {
        return false;
    }
    *mapping = (VerifyMapping) {
        .device = device, .iova = iova, .size = size,
    };
    return true;
}

bool verify_map_bar(VerifyDevice *device, uint64_t iova, VerifyDevice *target,
                    unsigned bar, uint64_t offset, uint64_t size,
                    VerifyMapping *mapping, GError **error)
{
    VerifyMapping made = { .device = device, .iova = iova, .size = size };

    if (!in_bar(target, bar, offset, size, error)) {
        return false;
    }
    if (!target->region[bar].can_map) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: BAR %u cannot be mapped: VFIO does not allow it for "
                    "BARs smaller than a page, or that share one with another "
                    "device's", target->function->bdf, bar);
        return false;
    }
    if (!device->session->ops->map_bar(target, bar, offset, &made, error)) {
        return false;
    }
    *mapping = made;
    return true;
}

/* What the kernel says that it took out has to be all of @mapping. */
static bool take_out(VerifyMapping *mapping, GError **error)
{
    const char *bdf = mapping->device->function->bdf;
    uint64_t size;

    if (!mapping->device->session->ops->unmap(mapping, &size)) {
        verify_error_errno(error, NULL, "%s: its IOMMU cannot be unmapped",
                           bdf);
        return false;
    }
    if (size != mapping->size) {
        g_set_error(error, VERIFY_ERROR, VERIFY_ERROR_FAILED,
                    "%s: the kernel took %" G_GUINT64_FORMAT " bytes out of "
                    "its IOMMU, not %" G_GUINT64_FORMAT ": what it reaches is "
                    "not known", bdf, size, mapping->size);
        return false;
    }
    return true;
}

bool verify_unmap(VerifyMapping *mapping, GError **error)
{
    VerifyMapping gone = *mapping;
    bool ok;

    if (!gone.device) {
        return true;
    }
    ok = take_out(&gone, error);
    if (gone.bar) {
        munmap(gone.bar, gone.size);
    }
    *mapping = (VerifyMapping) { 0 };
    return ok;
}
