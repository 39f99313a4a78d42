/*
 * drive.h for virtio-blk-pci and virtio-scsi-pci
 *
 * libqos finds the device and talks to its registers.  Each request is one
 * table of indirect descriptors.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_ring.h"
#include "standard-headers/linux/virtio_scsi.h"
#include "scsi/constants.h"
#include "tests/qtest/libqos/virtio.h"
#include "tests/qtest/libqos/virtio-pci.h"
#include "drive.h"

#define MAX_QUEUES 2
#define REQUESTS   8
#define FIRST_SCSI_QUEUE 2  /* VIRTIO 1.2, 5.6.2: control, event, requests */

/* A request's share of each part */
#define SHARE (DRIVE_VIRTIO_SIZE / REQUESTS)
#define MAX_DESCRIPTORS (SHARE / sizeof(struct vring_desc))

typedef struct VirtioDrive {
    Drive drive;
    QVirtioPCIDevice *device;
    QVirtQueue *queue[MAX_QUEUES];
    unsigned n_queues;
    bool scsi;
    uint64_t part[DRIVE_VIRTIO_PARTS];  /* where it is */
    bool done[REQUESTS];
} VirtioDrive;

typedef struct Table {
    struct vring_desc desc[MAX_DESCRIPTORS];
    unsigned n;
} Table;

static uint64_t part_gpa(const VirtioDrive *d, DriveVirtioPart part,
                         unsigned tag)
{
    return d->part[part] + tag * SHARE;
}

static void table_add(Table *table, uint64_t addr, uint32_t len, bool write)
{
    g_assert_cmpuint(table->n, <, MAX_DESCRIPTORS);
    if (table->n) {
        table->desc[table->n - 1].flags |= cpu_to_le16(VRING_DESC_F_NEXT);
    }
    table->desc[table->n] = (struct vring_desc) {
        .addr = cpu_to_le64(addr),
        .len = cpu_to_le32(len),
        .flags = cpu_to_le16(write ? VRING_DESC_F_WRITE : 0),
        .next = cpu_to_le16(table->n + 1),
    };
    table->n++;
}

static void table_add_vector(Table *table, const P2PBusVec *vec, size_t n,
                             bool write)
{
    for (size_t i = 0; i < n; i++) {
        table_add(table, vec[i].addr.bus, vec[i].len, write);
    }
}

void drive_virtio_repeat(Drive *drive, unsigned tag)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    QVirtQueue *queue = d->queue[tag % d->n_queues];
    struct vring_avail *avail = drive_ram(drive, queue->avail);
    uint16_t index = le16_to_cpu(avail->idx);

    avail->ring[index % queue->size] = cpu_to_le16(tag);
    qatomic_store_release(&avail->idx, cpu_to_le16(index + 1));
    d->done[tag] = false;
    d->device->vdev.bus->virtqueue_kick(&d->device->vdev, queue);
}

/* The table becomes descriptor @tag of one of the queues. */
static void virtio_kick(VirtioDrive *d, unsigned tag, const Table *table)
{
    QVirtQueue *queue = d->queue[tag % d->n_queues];
    struct vring_desc *desc = drive_ram(&d->drive, queue->desc);
    uint64_t at = part_gpa(d, DRIVE_VIRTIO_TABLE, tag);
    size_t size = table->n * sizeof(table->desc[0]);

    drive_mem_write(&d->drive, at, table->desc, size);
    desc[tag] = (struct vring_desc) {
        .addr = cpu_to_le64(at),
        .len = cpu_to_le32(size),
        .flags = cpu_to_le16(VRING_DESC_F_INDIRECT),
    };
    drive_virtio_repeat(&d->drive, tag);
}

bool drive_virtio_ended(Drive *drive, unsigned tag)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    QVirtQueue *queue = d->queue[tag % d->n_queues];
    const struct vring_used *used = drive_ram(&d->drive, queue->used);
    uint16_t end = le16_to_cpu(qatomic_load_acquire(&used->idx));

    while (queue->last_used_idx != end) {
        uint32_t ended = le32_to_cpu(used->ring[queue->last_used_idx++ %
                                                queue->size].id);

        g_assert_cmpuint(ended, <, REQUESTS);
        g_assert_false(d->done[ended]);
        d->done[ended] = true;
    }
    return d->done[tag];
}

void drive_virtio_loaded(Drive *drive)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);

    memset(d->done, 0, sizeof(d->done));
    for (unsigned i = 0; i < d->n_queues; i++) {
        const struct vring_used *used = drive_ram(drive, d->queue[i]->used);

        d->queue[i]->last_used_idx = le16_to_cpu(used->idx);
    }
}

/* --- virtio-blk -------------------------------------------------------- */

static void blk_submit(Drive *drive, unsigned tag, DriveOp op,
                       uint64_t offset, const P2PBusVec *vec, size_t n)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    uint64_t head = part_gpa(d, DRIVE_VIRTIO_HEADER, tag);
    uint64_t status = part_gpa(d, DRIVE_VIRTIO_STATUS, tag);
    g_autofree Table *table = g_new0(Table, 1);
    struct virtio_blk_outhdr header = {
        .type = cpu_to_le32(op == DRIVE_READ ? VIRTIO_BLK_T_IN
                                             : VIRTIO_BLK_T_OUT),
        .sector = cpu_to_le64(offset / DRIVE_BLOCK),
    };

    const uint8_t none = 0xff;

    drive_mem_write(drive, head, &header, sizeof(header));
    drive_mem_write(drive, status, &none, sizeof(none));
    table_add(table, head, sizeof(header), false);
    table_add_vector(table, vec, n, op == DRIVE_READ);
    table_add(table, status, 1, true);
    virtio_kick(d, tag, table);
}

static int blk_poll(Drive *drive, unsigned tag)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    uint8_t status;

    if (!drive_virtio_ended(drive, tag)) {
        return -EAGAIN;
    }
    drive_mem_read(drive, part_gpa(d, DRIVE_VIRTIO_STATUS, tag), &status,
                   sizeof(status));
    return status == VIRTIO_BLK_S_OK ? 0 : -EIO;
}

/* --- virtio-scsi ------------------------------------------------------- */

static void scsi_command(VirtioDrive *d, unsigned tag, const uint8_t *cdb,
                         size_t cdb_len, bool write, const P2PBusVec *vec,
                         size_t n)
{
    uint64_t head = part_gpa(d, DRIVE_VIRTIO_HEADER, tag);
    uint64_t status = part_gpa(d, DRIVE_VIRTIO_STATUS, tag);
    g_autofree Table *table = g_new0(Table, 1);
    struct virtio_scsi_cmd_req request = {
        .lun = { 1 },               /* target 0, unit 0 */
        .tag = cpu_to_le64(tag),
    };

    struct virtio_scsi_cmd_resp response;

    memcpy(request.cdb, cdb, cdb_len);
    memset(&response, 0xff, sizeof(response));
    drive_mem_write(&d->drive, head, &request, sizeof(request));
    drive_mem_write(&d->drive, status, &response, sizeof(response));
    table_add(table, head, sizeof(request), false);
    if (!write) {
        table_add_vector(table, vec, n, false);
    }
    table_add(table, status, sizeof(response), true);
    if (write) {
        table_add_vector(table, vec, n, true);
    }
    virtio_kick(d, tag, table);
}

static void scsi_submit(Drive *drive, unsigned tag, DriveOp op,
                        uint64_t offset, const P2PBusVec *vec, size_t n)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    uint8_t cdb[10] = { op == DRIVE_READ ? READ_10 : WRITE_10 };
    uint64_t len = 0;

    for (size_t i = 0; i < n; i++) {
        len += vec[i].len;
    }
    stl_be_p(&cdb[2], offset / DRIVE_BLOCK);
    stw_be_p(&cdb[7], len / DRIVE_BLOCK);
    scsi_command(d, tag, cdb, sizeof(cdb), op == DRIVE_READ, vec, n);
}

static int scsi_poll(Drive *drive, unsigned tag)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    struct virtio_scsi_cmd_resp response;

    if (!drive_virtio_ended(drive, tag)) {
        return -EAGAIN;
    }
    drive_mem_read(drive, part_gpa(d, DRIVE_VIRTIO_STATUS, tag), &response,
                   sizeof(response));
    return response.response == VIRTIO_SCSI_S_OK && response.status == GOOD
           ? 0 : -EIO;
}

/* The first command of a unit is told that it was reset. */
static void scsi_ready(VirtioDrive *d)
{
    static const uint8_t test_unit_ready[6] = { TEST_UNIT_READY };
    int ret;

    for (unsigned i = 0; i < 2; i++) {
        scsi_command(d, 0, test_unit_ready, sizeof(test_unit_ready), false,
                     NULL, 0);
        ret = drive_wait(&d->drive, 0);
    }
    g_assert_cmpint(ret, ==, 0);
}

int drive_scsi_inquiry(Drive *drive, const P2PBusVec *vec)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);
    const uint8_t cdb[6] = { INQUIRY, 0, 0, 0, vec->len };

    scsi_command(d, 0, cdb, sizeof(cdb), true, vec, 1);
    return drive_wait(drive, 0);
}

/* --- Both -------------------------------------------------------------- */

static Drive *virtio_start(const DriveKind *kind, QOSState *qos,
                           const SharedRam *ram)
{
    VirtioDrive *d = g_new0(VirtioDrive, 1);
    QPCIAddress address = { .devfn = QPCI_DEVFN(DRIVE_SLOT, 0) };
    QVirtioDevice *vdev;
    unsigned first;

    d->drive = (Drive) { .kind = kind, .qos = qos, .ram = ram };
    d->device = virtio_pci_new(qos->pcibus, &address);
    g_assert_nonnull(d->device);
    vdev = &d->device->vdev;
    d->scsi = vdev->device_type == VIRTIO_ID_SCSI;
    for (unsigned i = 0; i < DRIVE_VIRTIO_PARTS; i++) {
        d->part[i] = qmalloc(qos, DRIVE_VIRTIO_SIZE);
    }

    qvirtio_pci_device_enable(d->device);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                               (1ull << VIRTIO_F_VERSION_1 |
                                1ull << VIRTIO_F_ACCESS_PLATFORM |
                                1ull << VIRTIO_RING_F_INDIRECT_DESC));
    d->n_queues = kind == &drive_virtio_blk_multiqueue ? 2 : 1;
    first = d->scsi ? FIRST_SCSI_QUEUE : 0;
    for (unsigned i = 0; i < first; i++) {
        qvirtqueue_setup(vdev, &qos->alloc, i);
    }
    for (unsigned i = 0; i < d->n_queues; i++) {
        d->queue[i] = qvirtqueue_setup(vdev, &qos->alloc, first + i);
    }
    qvirtio_set_driver_ok(vdev);
    if (d->scsi) {
        scsi_ready(d);
    }
    return &d->drive;
}

void drive_virtio_place(Drive *drive, DriveVirtioPart part, uint64_t gpa)
{
    container_of(drive, VirtioDrive, drive)->part[part] = gpa;
}

static bool virtio_needs_reset(Drive *drive)
{
    QVirtioDevice *vdev = &container_of(drive, VirtioDrive,
                                        drive)->device->vdev;

    return vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void virtio_move(Drive *drive)
{
    container_of(drive, VirtioDrive, drive)->device->pdev->bus =
        drive->qos->pcibus;
}

static void virtio_end(Drive *drive)
{
    VirtioDrive *d = container_of(drive, VirtioDrive, drive);

    qvirtio_pci_device_disable(d->device);
    g_free(d->device->pdev);
    g_free(d->device);
    g_free(d);
}

#define VIRTIO "id=drive0,addr=7,disable-legacy=on,iommu_platform=on," \
               "p2p-group=g0"
#define SCSI_DISK "-device scsi-hd,bus=drive0.0,drive=disk "
#define IOTHREAD "-object iothread,id=io0 "

#define FUNCTIONS(type)                 \
    .requests = REQUESTS,               \
    .align = 1,                         \
    .start = virtio_start,              \
    .submit = type##_submit,            \
    .poll = type##_poll,                \
    .needs_reset = virtio_needs_reset,  \
    .move = virtio_move,                \
    .end = virtio_end

const DriveKind drive_virtio_blk = {
    .name = "virtio-blk",
    .options = "-device virtio-blk-pci,drive=disk," VIRTIO " ",
    FUNCTIONS(blk),
};

const DriveKind drive_virtio_blk_iothread = {
    .name = "virtio-blk-iothread",
    .options = IOTHREAD
               "-device virtio-blk-pci,drive=disk,iothread=io0," VIRTIO " ",
    FUNCTIONS(blk),
};

const DriveKind drive_virtio_blk_multiqueue = {
    .name = "virtio-blk-multiqueue",
    .options = "-device virtio-blk-pci,drive=disk,num-queues=2," VIRTIO " ",
    FUNCTIONS(blk),
};

const DriveKind drive_virtio_scsi = {
    .name = "virtio-scsi",
    .options = "-device virtio-scsi-pci," VIRTIO " " SCSI_DISK,
    FUNCTIONS(scsi),
};

const DriveKind drive_virtio_scsi_iothread = {
    .name = "virtio-scsi-iothread",
    .options = IOTHREAD
               "-device virtio-scsi-pci,iothread=io0," VIRTIO " " SCSI_DISK,
    FUNCTIONS(scsi),
};
