/*
 * A library to preload into qemu-p2p verify: hosts that lose data, and what the
 * command has left behind
 *
 * As a witness it gives the window, BAR 2, known contents before they are first
 * read.  It writes to standard error what it finds at the end:
 *
 *   witness: window restored           (or: window NOT restored)
 *   witness: drive quiet before unmap  (or: drive NOT quiet ...)
 *
 * VERIFY_FAULT in the environment breaks something:
 *
 *   lost       memory is mapped into the IOMMU, instead of the BAR
 *   displaced  the BAR is, but a page further
 *   leak       nothing is taken out of the IOMMU
 *   refusal    the drive fails when something was taken out of the IOMMU
 *   unmap-none the kernel says that it took nothing out of the IOMMU
 *   stuck      the drive never sees a command for its I/O queue
 *   hang       nor does it when the window has been overwritten
 *   old-cmb    the drives are of NVMe 1.3, with a CMB from 1 MiB on in BAR 2
 *   no-windows the file with a port's windows cannot be read
 *   bad-windows  it is another file
 *   no-memory  what the CPU writes to the BAR has no effect
 *   signal     SIGTERM comes when the window has been overwritten
 *
 * Only VFIO's type1 back end is understood.  BAR n is at n << 40 of a device's
 * descriptor, as in all versions of Linux, drivers/vfio/pci/vfio_pci_priv.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
/* mmap() and mmap64() are two functions here, as in the C library. */
#undef _FILE_OFFSET_BITS
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#define REGION(n)   ((off_t)(n) << 40)
#define WINDOW      REGION(2)
#define CAP_HIGH    (REGION(0) + 0x04)
#define CC          (REGION(0) + 0x14)
#define CMBLOC      (REGION(0) + 0x38)
#define CMBSZ       (REGION(0) + 0x3c)
#define IO_DOORBELL (REGION(0) + 0x1008)
#define COMMAND     (REGION(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND)
#define PAGE        4096
#define KNOWN       (64 << 10)      /* bytes of known contents */

static int devices[2];      /* descriptors; 0: none */
static int target;          /* the one whose window is used; 0: none yet */
static bool overwritten;
static bool unmapped;
static uint64_t queues;     /* where the IOMMU has the drive's memory */
static uint8_t *submissions;    /* its I/O queue, as verify-nvme.c has it */

typedef int Ioctl(int fd, unsigned long request, ...);
typedef int Open(const char *path, int flags, ...);
typedef int Close(int fd);
typedef void *Mmap(void *at, size_t size, int prot, int flags, int fd,
                   off_t offset);
typedef ssize_t Pread(int fd, void *data, size_t size, off_t offset);
typedef ssize_t Pwrite(int fd, const void *data, size_t size, off_t offset);

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static bool fault(const char *name)
{
    const char *wanted = getenv("VERIFY_FAULT");

    return wanted && strcmp(wanted, name) == 0;
}

static bool is_device(int fd)
{
    return fd > 0 && (fd == devices[0] || fd == devices[1]);
}

/* --- The witness --------------------------------------------------------- */

static void fill_known(uint8_t *known)
{
    for (unsigned i = 0; i < KNOWN; i++) {
        known[i] = i * 7 + i / 256;
    }
}

static void prepare_window(int fd)
{
    Pwrite *real = next("pwrite");
    uint8_t known[KNOWN];

    fill_known(known);
    if (real(fd, known, sizeof(known), WINDOW) == KNOWN) {
        target = fd;
    }
}

static void check_window(int fd)
{
    uint8_t known[KNOWN], got[KNOWN];
    Pread *real = next("pread");
    bool same;

    fill_known(known);
    same = real(fd, got, sizeof(got), WINDOW) == KNOWN &&
           memcmp(got, known, KNOWN) == 0;
    fprintf(stderr, "witness: window %srestored\n", same ? "" : "NOT ");
}

static void check_quiet(void)
{
    Pread *real = next("pread");
    bool quiet = true;
    uint16_t command;
    uint32_t cc;

    for (unsigned i = 0; i < 2; i++) {
        quiet &= real(devices[i], &command, 2, COMMAND) == 2 &&
                 !(command & PCI_COMMAND_MASTER) &&
                 real(devices[i], &cc, 4, CC) == 4 && !(cc & 1);
    }
    fprintf(stderr, "witness: drive %squiet before unmap\n",
            quiet ? "" : "NOT ");
}

/* --- What the command calls ---------------------------------------------- */

static void add_device(int fd)
{
    for (unsigned i = 0; i < 2 && !is_device(fd); i++) {
        if (!devices[i]) {
            devices[i] = fd;
        }
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *argument;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);
    if (request == VFIO_DEVICE_GET_REGION_INFO) {
        add_device(fd);
    } else if (request == VFIO_IOMMU_MAP_DMA && !queues) {
        const struct vfio_iommu_type1_dma_map *map = argument;

        queues = map->iova;
        submissions = (uint8_t *)(uintptr_t)map->vaddr + 2 * PAGE;
    } else if (request == VFIO_IOMMU_UNMAP_DMA) {
        if (((struct vfio_iommu_type1_dma_unmap *)argument)->iova == queues) {
            check_quiet();
            queues = 0;
        }
        if (fault("leak")) {
            return 0;
        }
        if (fault("unmap-none")) {
            ((struct vfio_iommu_type1_dma_unmap *)argument)->size = 0;
            return 0;
        }
        unmapped = true;
    }
    return ((Ioctl *)next("ioctl"))(fd, request, argument);
}

/* The tool reads "resource" before it has devices, too: not that. */
static bool is_windows(const char *path)
{
    const char *name = strrchr(path, '/');

    return devices[0] && name && strcmp(name, "/resource") == 0;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    if (is_windows(path) && fault("no-windows")) {
        errno = EACCES;
        return -1;
    }
    if (is_windows(path) && fault("bad-windows")) {
        path = "/proc/self/cmdline";
    }
    return ((Open *)next("open"))(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    return open(path, flags, mode);
}

int close(int fd)
{
    if (fd && fd == target) {
        check_window(fd);
        target = 0;
    }
    return ((Close *)next("close"))(fd);
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    Mmap *real = next("mmap");

    if (is_device(fd) && fault("lost")) {
        return real(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (is_device(fd) && fault("displaced")) {
        offset += PAGE;
    }
    return real(at, size, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    return mmap(at, size, prot, flags, fd, offset);
}

/* NVMe 1.3, 3.1.11 and 3.1.12; CAP.CMBS was reserved then. */
static void make_old_cmb(uint32_t *value, off_t offset)
{
    if (offset == CAP_HIGH) {
        *value &= ~(1u << (57 - 32));
    } else if (offset == CMBLOC) {
        *value = 256u << 12 | 2;
    } else if (offset == CMBSZ) {
        *value = 512u << 12;
    }
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    ssize_t done;

    if (is_device(fd) && offset == WINDOW && !target) {
        prepare_window(fd);
    }
    done = ((Pread *)next("pread"))(fd, data, size, offset);
    if (is_device(fd) && done == sizeof(uint32_t) && fault("old-cmb")) {
        make_old_cmb(data, offset);
    }
    return done;
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
    return pread(fd, data, size, offset);
}

/* The last command that was submitted reads blocks that no drive has. */
static void spoil_command(uint32_t tail)
{
    memset(submissions + (tail + 15) % 16 * 64 + 40, 0x7f, 8);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (is_device(fd)) {
        if (offset == IO_DOORBELL && fault("stuck")) {
            return size;
        }
        if (offset == IO_DOORBELL && overwritten && fault("hang")) {
            return size;
        }
        if (offset == IO_DOORBELL && unmapped && fault("refusal")) {
            spoil_command(*(const uint32_t *)data);
        }
        if (offset == IO_DOORBELL && overwritten && fault("signal")) {
            raise(SIGTERM);
        }
        if (offset == WINDOW) {
            overwritten = true;
            if (fault("no-memory")) {
                return size;
            }
        }
    }
    return ((Pwrite *)next("pwrite"))(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}
