/*
 * Peer: libvfio-user, vfu_addr_to_sgl()
 *
 * It learns its regions from a client only, so there is one: a thread that
 * says what the protocol demands (vfio-user 0.1: negotiate, then DMA_MAP).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/un.h>
#include "libvfio-user.h"
#include "vfio-user.h"
#include "peer.h"

#define MAX_REGIONS 16      /* libvfio-user's MAX_DMA_REGIONS */

static vfu_ctx_t *ctx;
static dma_sg_t *sgl;
static char *folder, *path;
static int client = -1;

/* --- Client ------------------------------------------------------------ */

static void say(uint16_t command, const void *data, size_t size)
{
    static uint16_t id;
    struct vfio_user_header header = {
        .msg_id = ++id, .cmd = command,
        .msg_size = sizeof(header) + size,
    };
    struct iovec parts[] = {
        { &header, sizeof(header) }, { (void *)data, size },
    };

    if (writev(client, parts, 2) != header.msg_size) {
        g_error("vfio-user client: %s", strerror(errno));
    }
}

static void expect_reply(uint16_t command)
{
    struct vfio_user_header header;
    char data[4096];

    if (recv(client, &header, sizeof(header), MSG_WAITALL) !=
        sizeof(header) || header.cmd != command || header.flags.error ||
        header.msg_size - sizeof(header) > sizeof(data)) {
        g_error("vfio-user client: no good reply to command %u", command);
    }
    if (header.msg_size > sizeof(header) &&
        recv(client, data, header.msg_size - sizeof(header), MSG_WAITALL) <
        0) {
        g_error("vfio-user client: %s", strerror(errno));
    }
}

static gpointer client_main(gpointer opaque)
{
    static const char capabilities[] = "{\"capabilities\":{}}";
    const Workload *w = opaque;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char version[sizeof(struct vfio_user_version) + sizeof(capabilities)] = {
        0, 0, 1, 0,     /* 0.1 */
    };

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client, (struct sockaddr *)&address, sizeof(address))) {
        g_error("%s: %s", path, strerror(errno));
    }
    memcpy(version + sizeof(struct vfio_user_version), capabilities,
           sizeof(capabilities));
    say(VFIO_USER_VERSION, version, sizeof(version));
    expect_reply(VFIO_USER_VERSION);

    for (unsigned i = 0; i < w->n_windows; i++) {
        struct vfio_user_dma_map map = {
            .argsz = sizeof(map),
            .flags = VFIO_USER_F_DMA_REGION_READ | VFIO_USER_F_DMA_REGION_WRITE,
            .addr = w->windows[i].gpa.gpa,
            .size = w->windows[i].size,
        };

        say(VFIO_USER_DMA_MAP, &map, sizeof(map));
        expect_reply(VFIO_USER_DMA_MAP);
    }
    return NULL;
}

/* --- Server ------------------------------------------------------------ */

static unsigned regions;

static void dma_register(vfu_ctx_t *vfu, vfu_dma_info_t *info)
{
    regions++;
}

static void dma_unregister(vfu_ctx_t *vfu, vfu_dma_info_t *info)
{
    regions--;
}

/* It does not block, for it would not return while there is a client. */
static void wait_unless_error(void)
{
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        g_error("libvfio-user: %s", strerror(errno));
    }
    g_usleep(100);
}

static void open_ctx(const Workload *w)
{
    GThread *thread;

    folder = g_dir_make_tmp("p2p-bench-XXXXXX", NULL);
    path = g_build_filename(folder, "socket", NULL);
    ctx = vfu_create_ctx(VFU_TRANS_SOCK, path, LIBVFIO_USER_FLAG_ATTACH_NB,
                         NULL, VFU_DEV_TYPE_PCI);
    if (!ctx || vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL,
                             PCI_HEADER_TYPE_NORMAL, 0) ||
        vfu_setup_device_dma(ctx, dma_register, dma_unregister) ||
        vfu_realize_ctx(ctx)) {
        g_error("libvfio-user: %s", strerror(errno));
    }
    sgl = g_malloc(2 * dma_sg_size());

    thread = g_thread_new("client", client_main, (gpointer)w);
    while (vfu_attach_ctx(ctx)) {
        wait_unless_error();
    }
    while (regions < w->n_windows) {
        if (vfu_run_ctx(ctx) < 0) {
            wait_unless_error();
        }
    }
    g_thread_join(thread);
}

static double run(void *opaque, unsigned times)
{
    const Workload *w = opaque;
    size_t total = (size_t)w->n_vectors * w->n;

    while (times--) {
        for (size_t i = 0; i < total; i++) {
            vfu_dma_addr_t addr = (void *)(uintptr_t)w->entries[i].addr.gpa;

            if (vfu_addr_to_sgl(ctx, addr, w->entries[i].len, sgl, 2,
                                PROT_READ) != 1) {
                g_error("libvfio-user: entry %zu", i);
            }
        }
    }
    return -1;
}

static void close_ctx(void)
{
    close(client);
    vfu_destroy_ctx(ctx);
    unlink(path);
    rmdir(folder);
    g_free(path);
    g_free(folder);
    g_free(sgl);
    regions = 0;
}

const Peer peer_vfio_user = {
    .name = "libvfio-user",
    .function = "vfu_addr_to_sgl",
    .max_windows = MAX_REGIONS,
    .open = open_ctx,
    .run = run,
    .close = close_ctx,
};
