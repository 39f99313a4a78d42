/*
 * A BAR vanishes before QEMU is told
 *
 * As a device that is reset, sleeps or has left: a processor that touches its
 * BAR gets SIGBUS, the kernel EFAULT.  Here the file that is the BAR is
 * truncated.  Whatever a guest has put there, QEMU lives on, a request ends in
 * an error where the device has one to give, and when the BAR is back so is
 * the window.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "image.h"
#include "nvme-driver.h"
#include "p2p-monitor.h"
#include "peer-machine.h"

#define DISK_SIZE (1 * MiB)
#define LEN       (64 * KiB)

typedef struct Bench {
    PeerMachine *m;
    Image *image;
} Bench;

static void bench_start(Bench *b, const DriveKind *kind, const char *image,
                        const char *more)
{
    g_autofree uint8_t *disk = g_malloc0(DISK_SIZE);
    g_autofree char *why = NULL;
    g_autofree char *node = NULL;
    g_autofree char *options = NULL;

    memset(disk, 0x44, DISK_SIZE);
    b->image = image_new(image_kind(image), disk, DISK_SIZE, &why);
    g_assert_cmpstr(why, ==, NULL);
    node = image_options(b->image);
    options = g_strdup_printf("%s%s", node, more);
    b->m = peer_machine_new("q35", kind, "", options);
}

static void bench_end(Bench *b)
{
    peer_machine_end(b->m);
    image_free(b->image);
}

static void vanish(Bench *b)
{
    g_assert_cmpint(ftruncate(b->m->fd, 0), ==, 0);
}

static void come_back(Bench *b)
{
    g_assert_cmpint(ftruncate(b->m->fd, PEER_SIZE), ==, 0);
}

static void expect_alive(Bench *b)
{
    g_autoptr(QDict) window = p2p_monitor_window(b->m->qts, "t0", 2, 0);

    g_assert_cmpstr(qdict_get_str(window, "state"), ==, "mapped");
}

static P2PBusVec in_bar(uint32_t len)
{
    return (P2PBusVec) { .addr = { PEER_BAR2 }, .len = len };
}

static void expect_io(Bench *b, int result)
{
    P2PBusVec vec = in_bar(LEN);

    for (DriveOp op = DRIVE_READ; op <= DRIVE_WRITE; op++) {
        g_assert_cmpint(drive_io(b->m->drive, op, 0, &vec, 1), ==, result);
    }
}

static void expect_disk(Bench *b, uint8_t byte)
{
    g_autofree uint8_t *disk = image_read(b->image, DISK_SIZE);

    for (size_t i = 0; i < DISK_SIZE; i++) {
        g_assert_cmphex(disk[i], ==, byte);
    }
}

/* --- Data -------------------------------------------------------------- */

typedef struct DataCase {
    const DriveKind *drive;
    const char *image;
} DataCase;

static void test_data(const void *opaque)
{
    const DataCase *c = opaque;
    Bench b;

    bench_start(&b, c->drive, c->image, "");
    for (unsigned i = 0; i < 3; i++) {
        expect_io(&b, 0);
        vanish(&b);
        expect_io(&b, -EIO);
        expect_io(&b, -EIO);
        expect_alive(&b);
        g_assert_false(drive_needs_reset(b.m->drive));
        come_back(&b);
    }
    expect_io(&b, 0);
    bench_end(&b);
}

/* Nothing of it gets to the disk. */
static void test_disk(void)
{
    static const char *const images[] = { "raw", "raw-o-direct", "qcow2" };
    P2PBusVec vec = in_bar(LEN);
    Bench b;

    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        bench_start(&b, &drive_nvme, images[i], "");
        vanish(&b);
        g_assert_cmpint(drive_io(b.m->drive, DRIVE_WRITE, 0, &vec, 1), ==,
                        -EIO);
        peer_machine_end(b.m);
        expect_disk(&b, 0x44);
        image_free(b.image);
    }
}

/* --- NVMe: what the controller itself reads and writes ----------------- */

static void test_nvme_identify(void)
{
    NvmeCmd cmd = {
        .opcode = NVME_ADM_CMD_IDENTIFY,
        .dptr.prp1 = cpu_to_le64(PEER_BAR2),
        .cdw10 = cpu_to_le32(NVME_ID_CNS_CTRL),
    };
    Bench b;

    bench_start(&b, &drive_nvme, "raw", "");
    g_assert_cmphex(qnvme_admin(drive_get_nvme(b.m->drive), &cmd), ==, 0);
    vanish(&b);
    g_assert_cmphex(qnvme_admin(drive_get_nvme(b.m->drive), &cmd), >, 0);
    expect_alive(&b);
    come_back(&b);
    expect_io(&b, 0);
    bench_end(&b);
}

/* With a list, of PRPs or of SGL descriptors, in the window. */
static void nvme_list(const DriveKind *kind)
{
    P2PBusVec vec[3];
    uint64_t ram;
    int ret;
    Bench b;

    bench_start(&b, kind, "raw", "");
    ram = qmalloc(b.m->qos, sizeof(vec) / sizeof(vec[0]) * QNVME_PAGE);
    for (unsigned i = 0; i < ARRAY_SIZE(vec); i++) {
        vec[i] = (P2PBusVec) {
            .addr = { ram + i * QNVME_PAGE }, .len = QNVME_PAGE,
        };
    }
    qnvme_place_lists(drive_get_nvme(b.m->drive), (P2PGuestAddr) { PEER_BAR2 });
    g_assert_cmpint(drive_io(b.m->drive, DRIVE_READ, 0, vec, 3), ==, 0);

    /* Nothing can be written to a list that is not there: the same again. */
    qnvme_keep_lists(drive_get_nvme(b.m->drive), true);
    g_assert_cmpint(drive_io(b.m->drive, DRIVE_READ, 0, vec, 3), ==, 0);
    vanish(&b);
    ret = drive_io(b.m->drive, DRIVE_READ, 0, vec, 3);
    g_assert_cmpint(ret, ==, -EIO);
    expect_alive(&b);
    bench_end(&b);
}

static void test_nvme_prp_list(void)
{
    nvme_list(&drive_nvme);
}

static void test_nvme_sgl_list(void)
{
    nvme_list(&drive_nvme_sgl);
}

static void test_nvme_metadata(void)
{
    NvmeRwCmd cmd = {
        .opcode = NVME_CMD_READ,
        .nsid = cpu_to_le32(2),
        .mptr = cpu_to_le64(PEER_BAR2),
        .nlb = cpu_to_le16(7),
    };
    g_autofree char *options = g_strdup_printf(
        "%s -device nvme-ns,bus=" DRIVE_ID ",nsid=2,ms=8,drive=disk2",
        drive_nvme.options);
    DriveKind kind = drive_nvme;
    QNvme *nvme;
    Bench b;

    kind.options = options;
    bench_start(&b, &kind, "raw",
                "-blockdev driver=null-co,read-zeroes=on,size=1048576,"
                "node-name=disk2 ");
    nvme = drive_get_nvme(b.m->drive);
    cmd.dptr.prp1 = cpu_to_le64(qmalloc(b.m->qos, QNVME_PAGE));
    for (unsigned write = 0; write < 2; write++) {
        cmd.opcode = write ? NVME_CMD_WRITE : NVME_CMD_READ;
        g_assert_cmphex(qnvme_command(nvme, (NvmeCmd *)&cmd), ==, 0);
        vanish(&b);
        g_assert_cmphex(qnvme_command(nvme, (NvmeCmd *)&cmd), >, 0);
        expect_alive(&b);
        come_back(&b);
        expect_io(&b, 0);
    }
    bench_end(&b);
}

/* --- virtio: what a request has besides data --------------------------- */

static void virtio_part(const DriveKind *kind, DriveVirtioPart part)
{
    P2PBusVec vec = { .len = DRIVE_BLOCK };
    gint64 end;
    int ret;
    Bench b;

    bench_start(&b, kind, "raw", "");
    vec.addr.bus = qmalloc(b.m->qos, vec.len);
    drive_virtio_place(b.m->drive, part, PEER_BAR2);
    g_assert_cmpint(drive_io(b.m->drive, DRIVE_READ, 0, &vec, 1), ==, 0);

    vanish(&b);
    drive_virtio_repeat(b.m->drive, 0);
    /* It ends, or the device says that it cannot tell. */
    end = g_get_monotonic_time() + DRIVE_TIMEOUT_S * G_USEC_PER_SEC;
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        ret = drive_virtio_ended(b.m->drive, 0) ? 0 : -EAGAIN;
    } while (ret == -EAGAIN && !drive_needs_reset(b.m->drive));
    expect_alive(&b);
    come_back(&b);
    bench_end(&b);
}

static void test_virtio_parts(const void *kind)
{
    for (unsigned part = 0; part < DRIVE_VIRTIO_PARTS; part++) {
        virtio_part(kind, part);
    }
}

/* --- Data that goes through the device model's own hands --------------- */

static void test_scsi_inquiry(void)
{
    P2PBusVec vec = in_bar(36);
    Bench b;

    bench_start(&b, &drive_virtio_scsi, "raw", "");
    g_assert_cmpint(drive_scsi_inquiry(b.m->drive, &vec), ==, 0);
    vanish(&b);
    g_test_message("INQUIRY: %d", drive_scsi_inquiry(b.m->drive, &vec));
    expect_alive(&b);
    come_back(&b);
    expect_io(&b, 0);
    bench_end(&b);
}

static void test_ahci_pio(void)
{
    static const struct {
        uint8_t command;
        bool write;
    } pio[] = { { 0x24, false }, { 0x34, true } };  /* ATA: EXT commands */
    P2PBusVec vec = in_bar(2 * DRIVE_BLOCK);
    Bench b;

    bench_start(&b, &drive_ahci, "raw", "");
    for (unsigned i = 0; i < ARRAY_SIZE(pio); i++) {
        g_assert_cmpint(drive_ahci_command(b.m->drive, pio[i].command,
                                           pio[i].write, 0, &vec), ==, 0);
        vanish(&b);
        g_test_message("command 0x%02x: %d", pio[i].command,
                       drive_ahci_command(b.m->drive, pio[i].command,
                                          pio[i].write, 0, &vec));
        expect_alive(&b);
        come_back(&b);
        expect_io(&b, 0);
    }
    bench_end(&b);
}

/* --- bounce-limit ------------------------------------------------------ */

/* As many as there can be at a time, of which one fills half the limit. */
static void test_flood(void)
{
    const unsigned rounds = 20;
    g_autofree uint8_t *disk = g_malloc(4 * MiB);
    g_autofree char *why = NULL;
    g_autofree char *options = NULL;
    Image *image;
    PeerMachine *m;

    for (size_t i = 0; i < 4 * MiB; i++) {
        disk[i] = i >> 12 ^ i;
    }
    image = image_new(image_kind("raw-o-direct"), disk, 4 * MiB, &why);
    g_assert_cmpstr(why, ==, NULL);
    options = image_options(image);
    m = peer_machine_new("q35", &drive_nvme, ",bounce-limit=1M", options);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned n = m->drive->kind->requests;

        memset(m->bar2, 0, PEER_SIZE);
        for (unsigned tag = 0; tag < n; tag++) {
            P2PBusVec vec = {
                .addr = { PEER_BAR2 + tag * 256 * KiB }, .len = 256 * KiB,
            };

            drive_submit(m->drive, tag, DRIVE_READ, tag * 256 * KiB, &vec, 1);
        }
        for (unsigned tag = 0; tag < n; tag++) {
            g_assert_cmpint(drive_wait(m->drive, tag), ==, 0);
        }
        g_assert_true(!memcmp(m->bar2, disk, n * 256 * KiB));
    }
    g_assert_cmpuint(peer_machine_requests(m, 2, "bounce"), ==,
                     rounds * m->drive->kind->requests);
    peer_machine_end(m);
    image_free(image);
}

/* What QEMU says to a machine that it does not start. */
static char *start_message(const char *limit)
{
    g_autofree char *command = g_strdup_printf(
        "%s -machine none -accel qtest -display none "
        "-object p2p-group,id=g0,bounce-limit=%s", getenv("QTEST_QEMU_BINARY"),
        limit);
    g_autoptr(GError) error = NULL;
    char *message = NULL;
    int status;

    g_spawn_command_line_sync(command, NULL, &message, &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    return message;
}

static void test_wrong_limits(void)
{
    static const char *const wrong[] = { "0", "4K", "1M+1", "1049600B", "2G" };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_autofree char *message = start_message(wrong[i]);

        g_test_message("%s: %s", wrong[i], message);
        g_assert_nonnull(strstr(message, "bounce-limit"));
    }
}

int main(int argc, char **argv)
{
    static const DataCase data[] = {
        { &drive_nvme, "raw" }, { &drive_nvme, "raw-o-direct" },
        { &drive_virtio_blk, "raw" }, { &drive_virtio_blk, "raw-o-direct" },
        { &drive_virtio_blk_iothread, "raw" },
        { &drive_virtio_blk_iothread, "qcow2" },
        { &drive_virtio_scsi, "raw" }, { &drive_virtio_scsi, "raw-o-direct" },
        { &drive_ahci, "raw" }, { &drive_ahci, "raw-o-direct" },
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        g_autofree char *path = g_strdup_printf("p2p/vanish/data/%s/%s",
                                                data[i].drive->name,
                                                data[i].image);

        qtest_add_data_func(path, &data[i], test_data);
    }
    qtest_add_func("p2p/vanish/disk", test_disk);
    qtest_add_func("p2p/vanish/nvme-identify", test_nvme_identify);
    qtest_add_func("p2p/vanish/nvme-prp-list", test_nvme_prp_list);
    qtest_add_func("p2p/vanish/nvme-sgl-list", test_nvme_sgl_list);
    qtest_add_func("p2p/vanish/nvme-metadata", test_nvme_metadata);
    qtest_add_data_func("p2p/vanish/virtio-blk", &drive_virtio_blk,
                        test_virtio_parts);
    qtest_add_data_func("p2p/vanish/virtio-blk-iothread",
                        &drive_virtio_blk_iothread, test_virtio_parts);
    qtest_add_data_func("p2p/vanish/virtio-scsi", &drive_virtio_scsi,
                        test_virtio_parts);
    qtest_add_func("p2p/vanish/scsi-inquiry", test_scsi_inquiry);
    qtest_add_func("p2p/vanish/ahci-pio", test_ahci_pio);
    qtest_add_func("p2p/bounce-limit/flood", test_flood);
    qtest_add_func("p2p/bounce-limit/wrong", test_wrong_limits);
    return g_test_run();
}
