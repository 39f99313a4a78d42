/*
 * A PCI function without hardware: the server of a vfio-user device
 *
 * It has one BAR, number 2, 64-bit and prefetchable, which the client can map
 * into its address space: for QEMU that is a passthrough device's BAR. It
 * never issues DMA, and tells on its standard output what it would be allowed
 * to reach, one line for each event:
 *
 *   ready                      the socket is there, connect
 *   map IOVA SIZE r|rw|- fd|-  DMA_MAP: access, and whether a file came along
 *   unmap IOVA SIZE            DMA_UNMAP
 *
 * A line is written before the client gets its answer: who made the client
 * do something, and waited for that, finds all lines in the pipe. It serves
 * one client and ends, with status 0, when that has gone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <err.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "libvfio-user.h"

/* PCI 3.0, 6.2.5.1: memory, 64 bits wide, prefetchable */
#define BAR_TYPE 0xc

/* Not assigned to anybody, as is the class: no guest driver binds to it. */
#define VENDOR_ID 0x1b36
#define DEVICE_ID 0xffee
#define CLASS_UNKNOWN 0xff

static uint8_t *bar_memory;

static void tell(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void tell(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

static void dma_register(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
    const char *access = !(info->prot & PROT_READ) ? "-" :
                         info->prot & PROT_WRITE ? "rw" : "r";

    tell("map 0x%" PRIx64 " 0x%" PRIx64 " %s %s\n",
         (uint64_t)(uintptr_t)info->iova.iov_base,
         (uint64_t)info->iova.iov_len, access, info->vaddr ? "fd" : "-");
}

static void dma_unregister(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
    tell("unmap 0x%" PRIx64 " 0x%" PRIx64 "\n",
         (uint64_t)(uintptr_t)info->iova.iov_base,
         (uint64_t)info->iova.iov_len);
}

/* The library has checked the range. */
static ssize_t bar_access(vfu_ctx_t *ctx, char *buf, size_t count,
                          loff_t offset, bool is_write)
{
    if (is_write) {
        memcpy(bar_memory + offset, buf, count);
    } else {
        memcpy(buf, bar_memory + offset, count);
    }
    return count;
}

static void log_message(vfu_ctx_t *ctx, int level, const char *message)
{
    fprintf(stderr, "vfio-user-server: %s\n", message);
}

/*
 * @secret: the kernel copies to and from a mapping of it, but never gets
 * hold of its pages, as with a BAR of hardware
 */
static int memory_file(bool secret)
{
    if (!secret) {
        return memfd_create("vfio-user-bar2", MFD_CLOEXEC);
    }
#ifdef SYS_memfd_secret
    return syscall(SYS_memfd_secret, O_CLOEXEC);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static void add_bar(vfu_ctx_t *ctx, size_t size, bool secret)
{
    int fd = memory_file(secret);

    if (fd < 0 || ftruncate(fd, size) < 0) {
        err(1, "memory of the BAR");
    }
    bar_memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bar_memory == MAP_FAILED) {
        err(1, "memory of the BAR");
    }
    if (vfu_setup_region(ctx, VFU_PCI_DEV_BAR2_REGION_IDX, size, bar_access,
                         VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL, 0,
                         fd, 0) < 0) {
        err(1, "BAR 2");
    }
    vfu_pci_get_config_space(ctx)->hdr.bars[2].raw = htole32(BAR_TYPE);
}

static vfu_ctx_t *create_device(const char *path, size_t bar_size, bool secret,
                                bool intx)
{
    vfu_ctx_t *ctx = vfu_create_ctx(VFU_TRANS_SOCK, path, 0, NULL,
                                    VFU_DEV_TYPE_PCI);

    if (!ctx) {
        err(1, "%s", path);
    }
    if (vfu_setup_log(ctx, log_message, LOG_ERR) < 0 ||
        vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL,
                     0) < 0) {
        err(1, "configuration space");
    }
    vfu_pci_set_id(ctx, VENDOR_ID, DEVICE_ID, 0, 0);
    vfu_pci_set_class(ctx, CLASS_UNKNOWN, 0, 0);
    add_bar(ctx, bar_size, secret);
    if (vfu_setup_device_nr_irqs(ctx, VFU_DEV_INTX_IRQ, intx) < 0 ||
        vfu_setup_device_dma(ctx, dma_register, dma_unregister) < 0 ||
        vfu_realize_ctx(ctx) < 0) {
        err(1, "device");
    }
    return ctx;
}

int main(int argc, char **argv)
{
    gint64 bar_size = 1 << 20;
    gboolean secret = false;
    gboolean intx = false;
    const GOptionEntry options[] = {
        { "bar-size", 0, 0, G_OPTION_ARG_INT64, &bar_size,
          "size of BAR 2, a power of two, at least a page (1 MiB)", "BYTES" },
        { "secret", 0, 0, G_OPTION_ARG_NONE, &secret,
          "direct I/O with BAR 2 gets EFAULT, as with hardware", NULL },
        { "intx", 0, 0, G_OPTION_ARG_NONE, &intx,
          "have an interrupt, INTA#; there is none otherwise", NULL },
        {}
    };
    g_autoptr(GOptionContext) context = g_option_context_new("SOCKET");
    g_autoptr(GError) error = NULL;
    vfu_ctx_t *ctx;
    int ret;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        errx(2, "%s", error->message);
    }
    if (argc != 2) {
        errx(2, "which socket?");
    }
    if (bar_size < qemu_real_host_page_size() || bar_size & (bar_size - 1)) {
        errx(2, "--bar-size: not a power of two, or less than a page");
    }

    /* A test that aborts before it connects must not leave it waiting. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);

    ctx = create_device(argv[1], bar_size, secret, intx);
    tell("ready\n");
    if (vfu_attach_ctx(ctx) < 0) {
        err(1, "%s", argv[1]);
    }
    do {
        ret = vfu_run_ctx(ctx);
    } while (ret >= 0 || errno == EINTR);
    if (errno != ENOTCONN) {
        err(1, "%s", argv[1]);
    }
    vfu_destroy_ctx(ctx);
    return 0;
}
