/*
 * Reads and writes of block devices whose buffers lie in a peer's BAR
 *
 * Three ways lead from a drive to a BAR:
 *
 *   direct       the host's NVMe drive moves the data, QEMU's user space
 *                driver gives it the BAR's address
 *   kernel-copy  the kernel copies from its page cache into the BAR
 *   bounce       through a buffer of the group, with a copy by the kernel
 *                between the buffer and the BAR: where the kernel does not
 *                take a BAR as a buffer (O_DIRECT), a driver looks at the
 *                data itself, or what is written must not be cut in a block
 *
 * No processor touches the BAR outside of the kernel, whose copies fail with
 * EFAULT if it is gone.  A request that has seen a mapping go fails, whatever
 * became of the rest of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/block_int.h"
#include "block/thread-pool.h"
#include "qemu/bitmap.h"
#include "qemu/coroutine.h"
#include "qemu/main-loop.h"
#include "qemu/memfd.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "hw/p2p/block.h"
#include "hw/p2p/internal.h"
#include "trace.h"

/* A request is cut into pieces of this for its bounce buffers. */
#define P2P_BOUNCE_PIECE (1 * MiB)

/* What takes longer to copy than to hand to another thread. */
#define P2P_COPY_INLINE (32 * KiB)

/* Ranges of a vector for which the file is read, or written, one by one. */
#define P2P_KERNEL_COPY_RANGES 4

/* --- Bounce buffers ---------------------------------------------------- */

struct P2PBounce {
    int fd;                 /* the buffers, as a file for the kernel's copies */
    uint8_t *hva;           /* the same as memory: block drivers use that */
    size_t page;
    size_t pages;
    QemuMutex lock;         /* of what follows */
    unsigned long *used;    /* by page */
    CoQueue waiters;
    unsigned n_waiters;
};

P2PBounce *p2p_bounce_new(uint64_t size, Error **errp)
{
    P2PBounce *bounce = g_new0(P2PBounce, 1);

    bounce->page = qemu_real_host_page_size();
    bounce->pages = size / bounce->page;
    bounce->hva = qemu_memfd_alloc("p2p-bounce", size, 0, &bounce->fd, errp);
    if (!bounce->hva) {
        g_free(bounce);
        return NULL;
    }
    bounce->used = bitmap_new(bounce->pages);
    qemu_mutex_init(&bounce->lock);
    qemu_co_queue_init(&bounce->waiters);
    return bounce;
}

void p2p_bounce_free(P2PBounce *bounce)
{
    if (bounce) {
        qemu_memfd_free(bounce->hva, bounce->pages * bounce->page, bounce->fd);
        qemu_mutex_destroy(&bounce->lock);
        g_free(bounce->used);
        g_free(bounce);
    }
}

/* Who comes later waits behind those who wait: none is passed by for ever. */
static size_t coroutine_fn p2p_bounce_get(P2PBounce *bounce, size_t size)
{
    size_t n = DIV_ROUND_UP(size, bounce->page);
    bool waited = false;
    size_t at;

    QEMU_LOCK_GUARD(&bounce->lock);
    while ((!waited && bounce->n_waiters) ||
           (at = bitmap_find_next_zero_area(bounce->used, bounce->pages, 0, n,
                                            0)) >= bounce->pages) {
        bounce->n_waiters++;
        if (waited) {
            qemu_co_queue_wait_flags(&bounce->waiters, &bounce->lock,
                                     CO_QUEUE_WAIT_FRONT);
        } else {
            qemu_co_queue_wait(&bounce->waiters, &bounce->lock);
        }
        bounce->n_waiters--;
        waited = true;
    }
    bitmap_set(bounce->used, at, n);
    if (bounce->n_waiters) {
        qemu_co_enter_next(&bounce->waiters, &bounce->lock);
    }
    return at * bounce->page;
}

static void coroutine_fn p2p_bounce_put(P2PBounce *bounce, size_t offset,
                                        size_t size)
{
    QEMU_LOCK_GUARD(&bounce->lock);
    bitmap_clear(bounce->used, offset / bounce->page,
                 DIV_ROUND_UP(size, bounce->page));
    qemu_co_enter_next(&bounce->waiters, &bounce->lock);
}

/* --- Copies ------------------------------------------------------------ */

typedef struct P2PCopy {
    int fd;
    off_t offset;
    uint8_t *hva;
    size_t size;
    bool to_file;
} P2PCopy;

/* In any thread, without the BQL: the kernel touches @hva, not we. */
static int p2p_copy_worker(void *opaque)
{
    P2PCopy copy = *(P2PCopy *)opaque;

    while (copy.size) {
        ssize_t done = copy.to_file
                       ? pwrite(copy.fd, copy.hva, copy.size, copy.offset)
                       : pread(copy.fd, copy.hva, copy.size, copy.offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done ? -errno : -EFAULT;
        }
        copy.hva += done;
        copy.offset += done;
        copy.size -= done;
    }
    return 0;
}

/*
 * Between the BAR behind @mapping, at @hva, and the bounce buffer at @offset.
 */
static int coroutine_fn p2p_copy(P2PBounce *bounce, size_t offset,
                                 P2PBarMapping *mapping, uint8_t *hva,
                                 size_t size, bool to_bar)
{
    P2PCopy copy = {
        .fd = bounce->fd, .offset = offset, .hva = hva, .size = size,
        .to_file = !to_bar,
    };
    AioContext *ctx = qemu_get_current_aio_context();
    int ret = 0;

    if (p2p_bar_mapping_is_file(mapping)) {
        return size <= P2P_COPY_INLINE
               ? p2p_copy_worker(&copy)
               : thread_pool_submit_co(p2p_copy_worker, &copy);
    }
    /*
     * A device model's registers: with the BQL, which an I/O thread must not
     * wait for while who has it waits for the request.
     */
    aio_co_reschedule_self(qemu_get_aio_context());
    ret = p2p_bar_mapping_copy(mapping, hva, bounce->hva + offset, size,
                               to_bar);
    aio_co_reschedule_self(ctx);
    return ret;
}

/* --- Which way --------------------------------------------------------- */

/* The way to the file, and why no better one. */
static P2PDataPath GRAPH_RDLOCK p2p_file_path(BlockDriverState *bs,
                                              bool is_write, const char **why)
{
    const char *aio = qdict_get_try_str(bs->options, "aio");

    if (bs->open_flags & BDRV_O_NOCACHE) {
        *why = "the image is opened with cache.direct=on (O_DIRECT), for "
               "which the kernel does not take a BAR as a buffer";
        return P2P_DATA_PATH_BOUNCE;
    }
    if ((aio && !g_str_equal(aio, "threads")) ||
        bs->open_flags & (BDRV_O_NATIVE_AIO | BDRV_O_IO_URING)) {
        *why = "the image is opened with another aio= than threads";
        return P2P_DATA_PATH_BOUNCE;
    }
    if (is_write) {
        *why = "if the BAR goes while the kernel copies, no block of the image "
               "shall be part old, part new";
        return P2P_DATA_PATH_BOUNCE;
    }
    *why = "the kernel copies from its page cache into the BAR";
    return P2P_DATA_PATH_KERNEL_COPY;
}

P2PDataPath GRAPH_RDLOCK p2p_data_path(BlockDriverState *bs, bool is_write,
                                       const char **why)
{
    while (bs && bs->drv) {
        const char *driver = bs->drv->format_name;

        if (qatomic_read(&bs->copy_on_read) ||
            bs->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) {
            *why = "copy-on-read or detect-zeroes looks at the data";
            return P2P_DATA_PATH_BOUNCE;
        }
        if (g_str_equal(driver, "nvme")) {
            *why = "the host's drive reads and writes the BAR itself";
            return P2P_DATA_PATH_DIRECT;
        }
        if (g_str_equal(driver, "file") ||
            g_str_equal(driver, "host_device")) {
            return p2p_file_path(bs, is_write, why);
        }
        if (!g_str_equal(driver, "raw") && !g_str_equal(driver, "throttle")) {
            *why = "the image's format, protocol or filter may look at the "
                   "data itself";
            return P2P_DATA_PATH_BOUNCE;
        }
        bs = bdrv_primary_bs(bs);
    }
    *why = "there is no image";
    return P2P_DATA_PATH_BOUNCE;
}

/* --- A transfer -------------------------------------------------------- */

/* Part of the vector that is contiguous, and all in one mapping or in none. */
typedef struct P2PExtent {
    uint8_t *hva;
    size_t size;
    P2PBarMapping *mapping;     /* NULL: not a peer's */
} P2PExtent;

typedef struct P2PTransfer {
    BdrvChild *child;
    int64_t offset;
    int64_t bytes;
    BdrvRequestFlags flags;
    bool is_write;
    GArray *ranges;             /* of P2PExtent */
    P2PBarMapping *peer;        /* one of the mappings; NULL: none */
} P2PTransfer;

/* The mappings stay, because the request holds them mapped. */
static void p2p_transfer_add(P2PTransfer *t, uint8_t *hva, size_t size)
{
    P2PExtent range = { .hva = hva, .size = size };
    P2PExtent *last = t->ranges->len
                     ? &g_array_index(t->ranges, P2PExtent, t->ranges->len - 1)
                     : NULL;

    WITH_RCU_READ_LOCK_GUARD() {
        range.mapping = p2p_bar_mapping_find(hva);
    }
    if (range.mapping) {
        t->peer = range.mapping;
    }
    if (last && last->mapping == range.mapping &&
        last->hva + last->size == hva) {
        last->size += size;
    } else {
        g_array_append_val(t->ranges, range);
    }
}

static void p2p_transfer_add_vector(P2PTransfer *t, QEMUIOVector *qiov,
                                    size_t skip)
{
    size_t left = t->bytes;

    for (int i = 0; i < qiov->niov && left; i++) {
        size_t size = qiov->iov[i].iov_len;

        if (skip >= size) {
            skip -= size;
            continue;
        }
        size = MIN(size - skip, left);
        p2p_transfer_add(t, (uint8_t *)qiov->iov[i].iov_base + skip, size);
        left -= size;
        skip = 0;
    }
}

/* The worst that has become of any mapping. */
static P2PMappingState p2p_transfer_state(P2PTransfer *t)
{
    P2PMappingState state = P2P_MAPPING_LIVE;

    for (guint i = 0; i < t->ranges->len; i++) {
        P2PExtent *r = &g_array_index(t->ranges, P2PExtent, i);

        if (r->mapping) {
            state = MAX(state, p2p_bar_mapping_state(r->mapping));
        }
    }
    return state;
}

/*
 * Whether the request goes beyond the end of a file that ends within a sector:
 * what is missing of the sector, QEMU fills up with zeros itself.
 */
static bool coroutine_fn GRAPH_RDLOCK p2p_transfer_beyond_file(P2PTransfer *t)
{
    BlockDriverState *bs = t->child->bs;

    if (t->offset + t->bytes <= (bs->total_sectors - 1) * BDRV_SECTOR_SIZE) {
        return false;
    }
    for (; bs; bs = bdrv_primary_bs(bs)) {
        int64_t length = bs->drv->bdrv_co_getlength(bs);

        if (length < 0 || !QEMU_IS_ALIGNED(length, BDRV_SECTOR_SIZE)) {
            return true;
        }
    }
    return false;
}

/* What the vector allows of what the drive's back end allows. */
static P2PDataPath coroutine_fn GRAPH_RDLOCK p2p_transfer_path(P2PTransfer *t)
{
    BlockDriverState *bs = t->child->bs;
    size_t page = qemu_real_host_page_size();
    const char *why;
    P2PDataPath path = p2p_data_path(bs, t->is_write, &why);
    /* What is not a multiple of it is padded, which makes a vector of it. */
    size_t align = path == P2P_DATA_PATH_DIRECT ? page
                                                : bs->bl.request_alignment;

    if (path == P2P_DATA_PATH_KERNEL_COPY &&
        (t->ranges->len > P2P_KERNEL_COPY_RANGES ||
         p2p_transfer_beyond_file(t))) {
        return P2P_DATA_PATH_BOUNCE;
    }
    for (guint i = 0; i < t->ranges->len; i++) {
        P2PExtent *r = &g_array_index(t->ranges, P2PExtent, i);

        if ((r->mapping && !p2p_bar_mapping_is_file(r->mapping)) ||
            !QEMU_IS_ALIGNED(r->size, align) ||
            (path == P2P_DATA_PATH_DIRECT &&
             (!QEMU_PTR_IS_ALIGNED(r->hva, align) ||
              (r->mapping && !p2p_bar_mapping_is_direct(r->mapping))))) {
            return P2P_DATA_PATH_BOUNCE;
        }
    }
    return QEMU_IS_ALIGNED(t->offset, align) ? path : P2P_DATA_PATH_BOUNCE;
}

static int coroutine_fn GRAPH_RDLOCK
p2p_transfer_io(P2PTransfer *t, int64_t offset, QEMUIOVector *qiov)
{
    BdrvRequestFlags flags = t->flags & ~BDRV_REQ_REGISTERED_BUF;

    return t->is_write
           ? bdrv_co_pwritev(t->child, offset, qiov->size, qiov, flags)
           : bdrv_co_preadv(t->child, offset, qiov->size, qiov, flags);
}

/* All at once: an NVMe command has a list of pages. */
static int coroutine_fn GRAPH_RDLOCK p2p_transfer_direct(P2PTransfer *t)
{
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init(&qiov, t->ranges->len);
    for (guint i = 0; i < t->ranges->len; i++) {
        P2PExtent *r = &g_array_index(t->ranges, P2PExtent, i);

        qemu_iovec_add(&qiov, r->hva, r->size);
    }
    ret = p2p_transfer_io(t, t->offset, &qiov);
    qemu_iovec_destroy(&qiov);
    return ret;
}

/*
 * Range by range.  When a system call for a whole vector ends early, the block
 * layer goes on with a buffer, which it copies itself.
 */
static int coroutine_fn GRAPH_RDLOCK p2p_transfer_kernel_copy(P2PTransfer *t)
{
    int64_t offset = t->offset;

    for (guint i = 0; i < t->ranges->len; i++) {
        P2PExtent *r = &g_array_index(t->ranges, P2PExtent, i);
        QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, r->hva, r->size);
        int ret = p2p_transfer_io(t, offset, &qiov);

        if (ret < 0) {
            return ret;
        }
        offset += r->size;
    }
    return 0;
}

/* A piece of the transfer: ranges, with a place in the buffer for a peer's. */
static int coroutine_fn GRAPH_RDLOCK
p2p_transfer_piece(P2PTransfer *t, P2PBounce *bounce, size_t buffer,
                   int64_t offset, GArray *ranges)
{
    QEMUIOVector qiov;
    size_t at = buffer;
    int ret = 0;

    qemu_iovec_init(&qiov, ranges->len);
    for (guint i = 0; i < ranges->len; i++) {
        P2PExtent *r = &g_array_index(ranges, P2PExtent, i);

        if (!r->mapping) {
            qemu_iovec_add(&qiov, r->hva, r->size);
            continue;
        }
        qemu_iovec_add(&qiov, bounce->hva + at, r->size);
        if (t->is_write && !ret) {
            ret = p2p_copy(bounce, at, r->mapping, r->hva, r->size, false);
        }
        at += r->size;
    }
    /* Nothing of a window that has gone meanwhile is written. */
    if (!ret && p2p_transfer_state(t) != P2P_MAPPING_LIVE) {
        ret = -EFAULT;
    }
    if (!ret) {
        ret = p2p_transfer_io(t, offset, &qiov);
    }
    at = buffer;
    for (guint i = 0; i < ranges->len && !t->is_write; i++) {
        P2PExtent *r = &g_array_index(ranges, P2PExtent, i);

        if (r->mapping) {
            if (ret >= 0) {
                ret = p2p_copy(bounce, at, r->mapping, r->hva, r->size, true);
            }
            at += r->size;
        }
    }
    qemu_iovec_destroy(&qiov);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK p2p_transfer_bounce(P2PTransfer *t)
{
    P2PBounce *bounce = p2p_group_bounce(p2p_bar_mapping_group(t->peer));
    g_autoptr(GArray) piece = g_array_new(false, false, sizeof(P2PExtent));
    size_t piece_max = MIN(P2P_BOUNCE_PIECE, bounce->pages * bounce->page);
    size_t buffer_size = MIN(t->bytes, piece_max);
    size_t buffer = p2p_bounce_get(bounce, buffer_size);
    int64_t offset = t->offset;
    size_t done = 0;            /* of the range */
    int ret = 0;

    for (guint i = 0; i < t->ranges->len && ret >= 0; ) {
        size_t filled = 0;

        g_array_set_size(piece, 0);
        while (i < t->ranges->len && filled < piece_max) {
            P2PExtent part = g_array_index(t->ranges, P2PExtent, i);

            part.hva += done;
            part.size = MIN(part.size - done, piece_max - filled);
            g_array_append_val(piece, part);
            filled += part.size;
            done += part.size;
            if (done == g_array_index(t->ranges, P2PExtent, i).size) {
                done = 0;
                i++;
            }
        }
        ret = p2p_transfer_piece(t, bounce, buffer, offset, piece);
        offset += filled;
    }
    p2p_bounce_put(bounce, buffer, buffer_size);
    return ret;
}

/* Whose drive it is that @dev uses; NULL: cannot be told by way of buses. */
static P2PMember *p2p_transfer_initiator(DeviceState *dev)
{
    while (dev) {
        BusState *bus = qdev_get_parent_bus(dev);

        /* Quicker to ask for than the device's type */
        if (!g_strcmp0(DEVICE_GET_CLASS(dev)->bus_type, TYPE_PCI_BUS)) {
            return PCI_DEVICE(dev)->p2p.member;
        }
        dev = bus ? bus->parent : NULL;
    }
    return NULL;
}

static void p2p_transfer_count(P2PTransfer *t, DeviceState *dev,
                               P2PDataPath path, int ret)
{
    P2PMember *initiator = p2p_transfer_initiator(dev);

    p2p_traffic_add(p2p_bar_mapping_traffic(t->peer), path, t->bytes, ret);
    if (ret < 0 || !initiator || !initiator->by_request) {
        return;
    }
    for (guint i = 0; i < t->ranges->len; i++) {
        P2PExtent *r = &g_array_index(t->ranges, P2PExtent, i);
        guint first = 0;

        while (g_array_index(t->ranges, P2PExtent, first).mapping !=
               r->mapping) {
            first++;
        }
        if (r->mapping) {
            p2p_traffic_add_of(p2p_bar_mapping_traffic(r->mapping),
                               initiator->index, first == i, r->size);
        }
    }
}

static int coroutine_fn GRAPH_RDLOCK
p2p_transfer(BdrvChild *child, DeviceState *dev, int64_t offset,
             int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
             BdrvRequestFlags flags, bool is_write)
{
    P2PTransfer t = {
        .child = child, .offset = offset, .bytes = bytes, .flags = flags,
        .is_write = is_write,
        .ranges = g_array_new(false, false, sizeof(P2PExtent)),
    };
    P2PMappingState state;
    P2PDataPath path = P2P_DATA_PATH_BOUNCE;
    int ret = -EFAULT;

    p2p_transfer_add_vector(&t, qiov, qiov_offset);
    if (!t.peer) {
        g_array_unref(t.ranges);
        return P2P_NO_PEER;
    }

    state = p2p_transfer_state(&t);
    if (state == P2P_MAPPING_LIVE && !p2p_quiesced()) {
        path = p2p_transfer_path(&t);
        switch (path) {
        case P2P_DATA_PATH_DIRECT:
            ret = p2p_transfer_direct(&t);
            break;
        case P2P_DATA_PATH_KERNEL_COPY:
            ret = p2p_transfer_kernel_copy(&t);
            break;
        default:
            ret = p2p_transfer_bounce(&t);
        }
        state = p2p_transfer_state(&t);
    }
    if (state != P2P_MAPPING_LIVE) {
        ret = -EFAULT;
    }
    p2p_transfer_count(&t, dev, path, ret);
    trace_p2p_transfer(offset, bytes, is_write, P2PDataPath_str(path), ret);
    g_array_unref(t.ranges);
    return MIN(ret, 0);
}

void p2p_transfer_init(void)
{
    qatomic_set(&p2p_block_transfer, p2p_transfer);
}
