/*
 * A library to preload into QEMU: what it asks of VFIO, and in which order
 *
 * A BAR must be out of every IOMMU before its device stops decoding, is reset
 * or is closed.  The witness knows which BARs are in an IOMMU, from the calls
 * that put them there, and aborts QEMU if one of them still is.
 *
 * With VFIO_WITNESS_NO_DMA_BUF in the environment the kernel seems to be one
 * before Linux 6.19, which cannot export a BAR as a dma-buf.
 *
 * QEMU makes the calls that matter with its big lock held, so there is none
 * here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include "standard-headers/linux/pci_regs.h"

/* Linux 6.19, include/uapi/linux/vfio.h */
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
#endif

#define SLOTS 256

typedef struct Device {
    int fd;                 /* 0: none */
    uint64_t config;        /* where its configuration space is in @fd */
    uint8_t pm;             /* where the capability is; 0: there is none */
    uint8_t express;
} Device;

/* A BAR's bytes, as this process sees them */
typedef struct Window {
    int device;             /* its descriptor; 0: none */
    uintptr_t start;
    size_t size;
} Window;

/* A BAR's bytes, as an IOMMU has them */
typedef struct Mapping {
    int device;             /* its descriptor; 0: none */
    int iommu;              /* a VFIO container or an iommufd */
    uint64_t iova;
    uint64_t size;
} Mapping;

static Device devices[SLOTS];
static Window windows[SLOTS];
static Mapping mappings[SLOTS];

/* The last dma-buf, and whose it is */
static int dma_buf;
static int dma_buf_device;

typedef int Ioctl(int fd, unsigned long request, ...);
typedef int Close(int fd);
typedef void *Mmap(void *at, size_t size, int prot, int flags, int fd,
                   off_t offset);
typedef int Munmap(void *at, size_t size);
typedef ssize_t Pwrite(int fd, const void *data, size_t size, off_t offset);

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void no_room(void)
{
    fprintf(stderr, "vfio-witness: too much to remember\n");
    abort();
}

static Device *find_device(int fd)
{
    for (unsigned i = 0; fd > 0 && i < SLOTS; i++) {
        if (devices[i].fd == fd) {
            return &devices[i];
        }
    }
    return NULL;
}

static void expect_unmapped(int device, const char *what)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (mappings[i].device == device) {
            fprintf(stderr, "vfio-witness: %s, but 0x%llx bytes at 0x%llx "
                    "are in the IOMMU\n", what,
                    (unsigned long long)mappings[i].size,
                    (unsigned long long)mappings[i].iova);
            abort();
        }
    }
}

/* --- Devices ------------------------------------------------------------ */

static uint8_t read_config(const Device *device, uint8_t at)
{
    uint8_t value = 0;

    if (pread(device->fd, &value, 1, device->config + at) != 1) {
        return 0;
    }
    return value;
}

static uint8_t find_capability(const Device *device, uint8_t id)
{
    uint8_t at = read_config(device, PCI_CAPABILITY_LIST);

    while (at && read_config(device, at) != id) {
        at = read_config(device, at + 1);
    }
    return at;
}

static void add_device(int fd, uint64_t config)
{
    Device *device = find_device(fd);

    for (unsigned i = 0; !device && i < SLOTS; i++) {
        if (!devices[i].fd) {
            device = &devices[i];
        }
    }
    if (!device) {
        no_room();
    }
    *device = (Device) { .fd = fd, .config = config };
    device->pm = find_capability(device, PCI_CAP_ID_PM);
    device->express = find_capability(device, PCI_CAP_ID_EXP);
}

/* The byte at @at of what is written, if it is; else 0. */
static uint8_t written(const uint8_t *data, size_t size, uint64_t first,
                       uint64_t at)
{
    return at >= first && at - first < size ? data[at - first] : 0;
}

static void config_written(const Device *device, const uint8_t *data,
                           size_t size, uint64_t first)
{
    uint64_t flr = device->express + PCI_EXP_DEVCTL + 1;

    if (first <= PCI_COMMAND && first + size > PCI_COMMAND &&
        !(data[PCI_COMMAND - first] & PCI_COMMAND_MEMORY)) {
        expect_unmapped(device->fd, "memory decode goes off");
    }
    if (device->pm && written(data, size, first, device->pm + PCI_PM_CTRL) &
                      PCI_PM_CTRL_STATE_MASK) {
        expect_unmapped(device->fd, "the device leaves D0");
    }
    if (device->express && written(data, size, first, flr) &
                           PCI_EXP_DEVCTL_BCR_FLR >> 8) {
        expect_unmapped(device->fd, "the function is reset");
    }
}

/* --- Mappings ----------------------------------------------------------- */

static void mapped(int device, int iommu, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!mappings[i].device) {
            mappings[i] = (Mapping) { device, iommu, iova, size };
            return;
        }
    }
    no_room();
}

static void unmapped(int iommu, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (mappings[i].device && mappings[i].iommu == iommu &&
            mappings[i].iova >= iova && mappings[i].iova - iova < size) {
            mappings[i].device = 0;
        }
    }
}

static void add_window(int device, uintptr_t start, size_t size)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!windows[i].device) {
            windows[i] = (Window) { device, start, size };
            return;
        }
    }
    no_room();
}

/* Something else is there now, or nothing. */
static void remove_windows(uintptr_t start, size_t size)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (windows[i].device && windows[i].start < start + size &&
            start < windows[i].start + windows[i].size) {
            windows[i].device = 0;
        }
    }
}

/* Whose BAR is seen at @address; 0: it is no BAR. */
static int device_at(uintptr_t address)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (windows[i].device && address >= windows[i].start &&
            address - windows[i].start < windows[i].size) {
            return windows[i].device;
        }
    }
    return 0;
}

/* --- Calls -------------------------------------------------------------- */

static bool is_dma_buf(unsigned long request, const void *argument)
{
    const struct vfio_device_feature *feature = argument;

    return request == VFIO_DEVICE_FEATURE &&
           (feature->flags & VFIO_DEVICE_FEATURE_MASK) ==
           VFIO_DEVICE_FEATURE_DMA_BUF;
}

static void after_ioctl(int fd, unsigned long request, const void *argument,
                        int result)
{
    if (request == VFIO_DEVICE_GET_REGION_INFO) {
        const struct vfio_region_info *info = argument;

        if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
            add_device(fd, info->offset);
        }
    } else if (is_dma_buf(request, argument)) {
        dma_buf = result;
        dma_buf_device = fd;
    } else if (request == IOMMU_IOAS_MAP_FILE) {
        const struct iommu_ioas_map_file *map = argument;

        if (map->fd == dma_buf && dma_buf_device) {
            mapped(dma_buf_device, fd, map->iova, map->length);
        }
    } else if (request == IOMMU_IOAS_UNMAP) {
        const struct iommu_ioas_unmap *unmap = argument;

        unmapped(fd, unmap->iova, unmap->length);
    } else if (request == VFIO_IOMMU_MAP_DMA) {
        const struct vfio_iommu_type1_dma_map *map = argument;
        int device = device_at(map->vaddr);

        if (device) {
            mapped(device, fd, map->iova, map->size);
        }
    } else if (request == VFIO_IOMMU_UNMAP_DMA) {
        const struct vfio_iommu_type1_dma_unmap *unmap = argument;

        unmapped(fd, unmap->iova, unmap->size);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    static Ioctl *real;
    void *argument;
    va_list ap;
    int result;

    if (!real) {
        real = (Ioctl *)next("ioctl");
    }
    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);

    if (is_dma_buf(request, argument) && getenv("VFIO_WITNESS_NO_DMA_BUF")) {
        errno = ENOTTY;
        return -1;
    }
    if (request == VFIO_DEVICE_RESET || request == VFIO_DEVICE_PCI_HOT_RESET) {
        expect_unmapped(fd, "the device is reset");
    }
    result = real(fd, request, argument);
    if (result >= 0) {
        after_ioctl(fd, request, argument, result);
    }
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    const Device *device = find_device(fd);
    static Pwrite *real;

    if (!real) {
        real = (Pwrite *)next("pwrite64");
    }
    if (device && offset >= device->config) {
        config_written(device, data, size, offset - device->config);
    }
    return real(fd, data, size, offset);
}

void *mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    static Mmap *real;
    void *result;

    if (!real) {
        real = (Mmap *)next("mmap64");
    }
    result = real(at, size, prot, flags, fd, offset);
    if (result != MAP_FAILED) {
        remove_windows((uintptr_t)result, size);
        if (find_device(fd)) {
            add_window(fd, (uintptr_t)result, size);
        }
    }
    return result;
}

int munmap(void *at, size_t size)
{
    static Munmap *real;

    if (!real) {
        real = (Munmap *)next("munmap");
    }
    remove_windows((uintptr_t)at, size);
    return real(at, size);
}

int close(int fd)
{
    Device *device = find_device(fd);
    static Close *real;

    if (!real) {
        real = (Close *)next("close");
    }
    if (device) {
        expect_unmapped(fd, "the device is closed");
        for (unsigned i = 0; i < SLOTS; i++) {
            if (windows[i].device == fd) {
                windows[i].device = 0;
            }
        }
        device->fd = 0;
    }
    if (fd == dma_buf) {
        dma_buf_device = 0;
    }
    return real(fd);
}
