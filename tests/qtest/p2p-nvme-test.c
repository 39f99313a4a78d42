/*
 * Self test of the NVMe driver, with emulated drives
 *
 * Every word of the disk tells its own place, so that a block in the wrong
 * place shows, and memory is filled with another pattern before each command.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "nvme-driver.h"
#include "shared-ram.h"

#define BLOCK     512u
#define DISK_SIZE (8 * MiB)
#define CMB_SIZE  (2 * MiB)

/* Guest physical addresses */
#define DRIVER_RAM  (1 * MiB)
#define QUEUE_RAM   (2 * MiB)
#define DATA        (16 * MiB)
#define DATA_SIZE   (16 * MiB)
#define REGISTERS   (64 * GiB)
#define CMB         (65 * GiB)
#define NOWHERE     (96 * GiB)

#define CANARY 0x5a

typedef struct Machine {
    QTestState *qts;
    QNvme *nvme;
    GuestPci pci;
    char *disk;       /* path */
} Machine;

static void fill_disk(Machine *m)
{
    g_autofree uint64_t *words = g_malloc(DISK_SIZE);
    g_autoptr(GError) error = NULL;
    int fd = g_file_open_tmp("p2p-nvme-XXXXXX", &m->disk, &error);

    g_assert_no_error(error);
    for (uint64_t o = 0; o < DISK_SIZE; o += sizeof(*words)) {
        words[o / sizeof(*words)] = cpu_to_le64(1ull << 56 | o);
    }
    g_assert_cmpint(write(fd, words, DISK_SIZE), ==, DISK_SIZE);
    close(fd);
}

/* @options: what else is on the command line; @properties: of the drive */
static void machine_start(Machine *m, const char *options,
                          const char *properties)
{
    fill_disk(m);
    m->qts = qtest_initf("-machine q35 -m 64 -nodefaults %s "
                         "-drive if=none,id=d0,format=raw,file=%s "
                         "-device nvme,drive=d0,serial=s0,%s",
                         options, m->disk, properties);
}

static void machine_drive(Machine *m, uint8_t bus, uint8_t devfn,
                          uint64_t registers)
{
    g_autoptr(GError) error = NULL;

    m->pci = (GuestPci) { .qts = m->qts, .bus = bus, .devfn = devfn };
    m->nvme = qnvme_new(&m->pci, (P2PGuestAddr) { registers },
                        (P2PGuestAddr) { DRIVER_RAM }, &error);
    g_assert_no_error(error);
    g_assert_nonnull(m->nvme);
}

static void machine_new(Machine *m, const char *properties)
{
    g_autofree char *all = g_strdup_printf("addr=4,%s", properties);

    machine_start(m, "", all);
    machine_drive(m, 0, 4 << 3, REGISTERS);
}

static void machine_end(Machine *m)
{
    qnvme_free(m->nvme);
    qtest_quit(m->qts);
    g_assert_cmpint(unlink(m->disk), ==, 0);
    g_free(m->disk);
}

static void expect_disk_words(const void *data, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i += 8) {
        g_assert_cmphex(ldq_le_p((const uint8_t *)data + i), ==,
                        1ull << 56 | (offset + i));
    }
}

static void expect_byte(const uint8_t *data, size_t len, uint8_t byte)
{
    for (size_t i = 0; i < len; i++) {
        g_assert_cmphex(data[i], ==, byte);
    }
}

static P2PBusVec entry(uint64_t bus, uint32_t len)
{
    return (P2PBusVec) { .addr = { bus }, .len = len };
}

/* One read into @len bytes at @gpa, with a canary on both sides. */
static void check_read(Machine *m, uint64_t gpa, uint32_t len, uint64_t lba)
{
    size_t frame = QNVME_PAGE;
    g_autofree uint8_t *data = g_malloc(len + 2 * frame);
    P2PBusVec vec = entry(gpa, len);

    qtest_memset(m->qts, gpa - frame, CANARY, len + 2 * frame);
    g_assert_cmphex(qnvme_io(m->nvme, QNVME_READ, lba, &vec, 1), ==,
                    QNVME_SUCCESS);

    qtest_bufread(m->qts, gpa - frame, data, len + 2 * frame);
    expect_byte(data, frame, CANARY);
    expect_disk_words(data + frame, len, lba * BLOCK);
    expect_byte(data + frame + len, frame, CANARY);
}

static void test_identify(void)
{
    const QNvmeInfo *info;
    Machine m = {};

    machine_new(&m, "mdts=5");
    info = qnvme_info(m.nvme);
    g_assert_cmpuint(info->block_size, ==, BLOCK);
    g_assert_cmpuint(info->blocks, ==, DISK_SIZE / BLOCK);
    g_assert_cmpuint(info->max_transfer, ==, 32 * QNVME_PAGE);
    machine_end(&m);
}

/* One PRP, two PRPs, a list; each with and without an offset in the page. */
static void test_read(void)
{
    static const uint32_t len[] = { 512, 4096, 8192, 12288, 131072 };
    static const uint32_t offset[] = { 0, 512, 2048, 4088 };
    Machine m = {};

    machine_new(&m, "mdts=7");
    for (unsigned l = 0; l < ARRAY_SIZE(len); l++) {
        for (unsigned o = 0; o < ARRAY_SIZE(offset); o++) {
            check_read(&m, DATA + MiB + offset[o], len[l], 7 * l + 100 * o);
        }
    }
    machine_end(&m);
}

static void test_write(void)
{
    static const uint32_t len[] = { 512, 4096, 8192, 65536 };
    g_autofree uint8_t *data = g_malloc(2 * MiB);
    Machine m = {};

    machine_new(&m, "mdts=7");
    for (unsigned l = 0; l < ARRAY_SIZE(len); l++) {
        uint64_t lba = 16 + 512 * l;
        P2PBusVec from = entry(DATA + 1024, len[l]);
        P2PBusVec back = entry(DATA + MiB, len[l] + 2 * BLOCK);

        qtest_memset(m.qts, DATA + 1024, 0xa0 + l, len[l]);
        g_assert_cmphex(qnvme_io(m.nvme, QNVME_WRITE, lba, &from, 1), ==,
                        QNVME_SUCCESS);

        /* Read back with the neighbours, which must be as before. */
        g_assert_cmphex(qnvme_io(m.nvme, QNVME_READ, lba - 1, &back, 1), ==,
                        QNVME_SUCCESS);
        qtest_bufread(m.qts, DATA + MiB, data, back.len);
        expect_disk_words(data, BLOCK, (lba - 1) * BLOCK);
        expect_byte(data + BLOCK, len[l], 0xa0 + l);
        expect_disk_words(data + BLOCK + len[l], BLOCK,
                          lba * BLOCK + len[l]);
    }
    machine_end(&m);
}

/* Up to the maximum transfer size, which fills the page of PRPs. */
static void test_long_lists(void)
{
    const QNvmeInfo *info;
    Machine m = {};
    P2PBusVec vec;

    machine_new(&m, "mdts=9");
    info = qnvme_info(m.nvme);
    check_read(&m, DATA + MiB, info->max_transfer, 1);
    check_read(&m, DATA + MiB + 512, info->max_transfer, 3);

    vec = entry(DATA, info->max_transfer + BLOCK);
    g_assert_cmphex(qnvme_io(m.nvme, QNVME_READ, 0, &vec, 1), ==,
                    QNVME_INVALID_FIELD);
    machine_end(&m);
}

static void test_scattered(void)
{
    static const struct {
        uint64_t bus;
        uint32_t len;
    } piece[] = {
        { DATA + 9 * MiB + 3584, 512 }, { DATA + 3 * MiB, 8192 },
        { DATA + 1 * MiB, 4096 }, { DATA + 5 * MiB, 512 },
    };
    P2PBusVec vec[ARRAY_SIZE(piece)];
    g_autofree uint8_t *data = g_malloc(2 * QNVME_PAGE);
    uint64_t offset = 44 * BLOCK;
    Machine m = {};

    machine_new(&m, "mdts=7");
    for (unsigned i = 0; i < ARRAY_SIZE(piece); i++) {
        vec[i] = entry(piece[i].bus, piece[i].len);
        qtest_memset(m.qts, piece[i].bus, CANARY, piece[i].len);
    }
    g_assert_cmphex(qnvme_io(m.nvme, QNVME_READ, offset / BLOCK, vec,
                             ARRAY_SIZE(piece)), ==, QNVME_SUCCESS);
    for (unsigned i = 0; i < ARRAY_SIZE(piece); i++) {
        qtest_bufread(m.qts, piece[i].bus, data, piece[i].len);
        expect_disk_words(data, piece[i].len, offset);
        offset += piece[i].len;
    }
    machine_end(&m);
}

/* More commands than a queue has entries, so that both ends wrap. */
static void test_many_commands(void)
{
    Machine m = {};

    machine_new(&m, "mdts=7");
    for (unsigned i = 0; i < 40; i++) {
        check_read(&m, DATA + MiB, BLOCK, i);
    }
    machine_end(&m);
}

/* Rings @q, and waits for @n commands; returns a status that is no success. */
static int ring_and_reap(QNvmeQueue *q, unsigned n)
{
    gint64 end = g_get_monotonic_time() + QNVME_TIMEOUT_S * G_USEC_PER_SEC;
    int status = QNVME_SUCCESS;

    qnvme_queue_ring(q);
    for (unsigned ended = 0; ended < n; ) {
        ended += qnvme_queue_reap(q, &status);
        g_assert_cmpuint(ended, <=, n);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    return status;
}

/* As many as the queue takes at a time, and more than it has entries. */
static void test_queue(void)
{
    enum { DEPTH = 8, ROUNDS = 5, LEN = 65536 };
    SharedRam ram;
    g_autofree char *ram_options = NULL, *options = NULL;
    g_autofree QNvmeQueue *q = NULL;
    g_autoptr(GError) error = NULL;
    P2PBusVec vec = entry(DATA, LEN);
    Machine m = {};

    shared_ram_new(&ram, 64 * MiB);
    ram_options = shared_ram_options(&ram);
    options = g_strdup_printf("-machine memory-backend=ram %s", ram_options);
    machine_start(&m, options, "addr=4,mdts=7");
    machine_drive(&m, 0, 4 << 3, REGISTERS);
    q = qnvme_queue_new(m.nvme, (P2PGuestAddr) { QUEUE_RAM },
                        ram.hva + QUEUE_RAM, DEPTH, &error);
    g_assert_no_error(error);

    for (unsigned i = 0; i < ROUNDS * DEPTH; ) {
        do {
            vec = entry(DATA + i * LEN, LEN);
            g_assert_cmpint(qnvme_queue_add(q, QNVME_READ, 3 * i, &vec, 1),
                            ==, 0);
        } while (++i % DEPTH);
        g_assert_cmpint(qnvme_queue_add(q, QNVME_READ, 0, &vec, 1), ==,
                        -EAGAIN);
        g_assert_cmphex(ring_and_reap(q, DEPTH), ==, QNVME_SUCCESS);
    }
    for (unsigned i = 0; i < ROUNDS * DEPTH; i++) {
        expect_disk_words(ram.hva + DATA + i * LEN, LEN, 3 * i * BLOCK);
    }

    g_assert_cmpint(qnvme_queue_add(q, QNVME_READ, DISK_SIZE / BLOCK, &vec, 1),
                    ==, 0);
    g_assert_cmpint(qnvme_queue_add(q, QNVME_READ, 0, &vec, 1), ==, 0);
    g_assert_cmphex(ring_and_reap(q, 2), ==, QNVME_LBA_OUT_OF_RANGE);
    machine_end(&m);
    shared_ram_free(&ram);
}

/* The status is told, and the next command works. */
static void test_errors(void)
{
    static const struct {
        uint64_t lba;
        uint64_t bus;
        uint32_t len;
        int result;
    } step[] = {
        { DISK_SIZE / BLOCK,     DATA,     512,  QNVME_LBA_OUT_OF_RANGE },
        { DISK_SIZE / BLOCK - 1, DATA,     1024, QNVME_LBA_OUT_OF_RANGE },
        { 0, UINT64_MAX - 4096,            8192, -EINVAL },
        { 0, DATA,                         100,  -EINVAL },
        { 0, DATA,                         0,    -EINVAL },
        { 0, DATA, (QNVME_MAX_PAGES + 1) * QNVME_PAGE, -ENOSPC },
    };
    P2PBusVec hole[] = { entry(DATA, 512), entry(DATA + 4096, 512) };
    Machine m = {};

    machine_new(&m, "mdts=9");
    for (unsigned i = 0; i < ARRAY_SIZE(step); i++) {
        P2PBusVec vec = entry(step[i].bus, step[i].len);

        g_assert_cmpint(qnvme_io(m.nvme, QNVME_READ, step[i].lba, &vec, 1),
                        ==, step[i].result);
        check_read(&m, DATA + MiB, 4096, i);
    }
    g_assert_cmpint(qnvme_io(m.nvme, QNVME_READ, 0, hole, 2), ==, -EINVAL);
    g_assert_cmpint(qnvme_io(m.nvme, QNVME_READ, 0, hole, 0), ==, -EINVAL);
    check_read(&m, DATA + MiB, 4096, 8);
    machine_end(&m);
}

static void test_prps(void)
{
    P2PBusVec vec[] = {
        entry(0x10000e00, 0x1200), entry(0x2000000000, 0x1000),
        entry(0x30000000, 0x200),
    };
    uint64_t prps[4];

    g_assert_cmpint(qnvme_prps(vec, 3, prps, 4), ==, 4);
    g_assert_cmphex(prps[0], ==, 0x10000e00);
    g_assert_cmphex(prps[1], ==, 0x10001000);
    g_assert_cmphex(prps[2], ==, 0x2000000000);
    g_assert_cmphex(prps[3], ==, 0x30000000);
    g_assert_cmpint(qnvme_prps(vec, 3, prps, 3), ==, -ENOSPC);

    /* only the first may begin, only the last may end within a page */
    vec[0].len -= 0x200;
    g_assert_cmpint(qnvme_prps(vec, 3, prps, 4), ==, -EINVAL);
    g_assert_cmpint(qnvme_prps(vec, 1, prps, 4), ==, 2);
    vec[0] = entry(0x10000000, 0x1000);
    vec[1].addr.bus += 0x200;
    g_assert_cmpint(qnvme_prps(vec, 2, prps, 4), ==, -EINVAL);
}

/* Another drive reaches the CMB through its BAR, its owner through base. */
static void test_cmb(void)
{
    g_autofree uint8_t *data = g_malloc(8192);
    P2PBusVec own = entry(NOWHERE + 4096, 8192);
    P2PBusVec mixed[] = { entry(NOWHERE, 4096), entry(DATA, 4096) };
    QNvmeCmb cmb;
    Machine m = {};

    machine_new(&m, "mdts=7,cmb_size_mb=2");
    g_assert_cmpint(qnvme_cmb_enable(m.nvme, (P2PBusAddr) { NOWHERE }, &cmb),
                    ==, 0);
    g_assert_cmpuint(cmb.bar, ==, 2);
    g_assert_cmpuint(cmb.offset, ==, 0);
    g_assert_cmpuint(cmb.size, ==, CMB_SIZE);
    g_assert_cmpuint(guest_pci_bar_size(&m.pci, cmb.bar), ==, CMB_SIZE);

    guest_pci_bar_map(&m.pci, cmb.bar, (P2PGuestAddr) { CMB });
    g_assert_cmphex(guest_pci_bar_address(&m.pci, cmb.bar).gpa, ==, CMB);
    qtest_memset(m.qts, CMB, CANARY, 16384);
    g_assert_cmphex(qnvme_io(m.nvme, QNVME_READ, 24, &own, 1), ==,
                    QNVME_SUCCESS);
    qtest_bufread(m.qts, CMB + 4096, data, 8192);
    expect_disk_words(data, 8192, 24 * BLOCK);
    qtest_bufread(m.qts, CMB, data, 4096);
    expect_byte(data, 4096, CANARY);
    qtest_bufread(m.qts, CMB + 12288, data, 4096);
    expect_byte(data, 4096, CANARY);

    g_assert_cmphex(qnvme_io(m.nvme, QNVME_READ, 0, mixed, 2), ==,
                    QNVME_INVALID_CMB_USE);
    g_assert_cmpint(qnvme_cmb_enable(m.nvme,
                                     (P2PBusAddr) { -(uint64_t)QNVME_PAGE },
                                     &cmb), ==, -EINVAL);
    machine_end(&m);

    m = (Machine) {};
    machine_new(&m, "mdts=7");
    g_assert_cmpint(qnvme_cmb_enable(m.nvme, (P2PBusAddr) { NOWHERE }, &cmb),
                    ==, -ENODEV);
    machine_end(&m);
}

static void test_behind_root_port(void)
{
    static const GuestPciWindow low = { { 0xc0000000 }, 2 * MiB };
    static const GuestPciWindow high = { { CMB }, 4 * MiB };
    static const GuestPciWindow shut = { { 0 }, 0 };
    GuestPci port;
    Machine m = {};

    machine_start(&m, "-device pcie-root-port,id=port0,chassis=1,addr=3",
                  "bus=port0,mdts=7,cmb_size_mb=2");
    port = (GuestPci) { .qts = m.qts, .bus = 0, .devfn = 3 << 3 };
    guest_pci_bridge_open(&port, 1, &low, &high);
    machine_drive(&m, 1, 0, low.gpa.gpa);
    check_read(&m, DATA + MiB, 65536, 9);

    guest_pci_bar_map(&m.pci, 2, high.gpa);
    qtest_writel(m.qts, CMB, 0x12345678);
    g_assert_cmphex(qtest_readl(m.qts, CMB), ==, 0x12345678);
    guest_pci_bridge_open(&port, 1, &low, &shut);
    g_assert_cmphex(qtest_readl(m.qts, CMB), !=, 0x12345678);
    guest_pci_bridge_open(&port, 1, &low, &high);
    g_assert_cmphex(qtest_readl(m.qts, CMB), ==, 0x12345678);
    machine_end(&m);
}

static void test_no_drive(void)
{
    QTestState *qts = qtest_init("-machine q35 -m 64 -nodefaults "
                                 "-device edu,addr=4");
    GuestPci empty = { .qts = qts, .devfn = 5 << 3 };
    GuestPci other = { .qts = qts, .devfn = 4 << 3 };
    const GuestPci *all[] = { &empty, &other };

    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(qnvme_new(all[i], (P2PGuestAddr) { REGISTERS },
                                (P2PGuestAddr) { DRIVER_RAM }, &error));
        g_assert_error(error, QNVME_ERROR, QNVME_ERROR_NO_DRIVE);
    }
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/nvme/identify", test_identify);
    qtest_add_func("p2p/nvme/read", test_read);
    qtest_add_func("p2p/nvme/write", test_write);
    qtest_add_func("p2p/nvme/long-lists", test_long_lists);
    qtest_add_func("p2p/nvme/scattered", test_scattered);
    qtest_add_func("p2p/nvme/many-commands", test_many_commands);
    qtest_add_func("p2p/nvme/queue", test_queue);
    qtest_add_func("p2p/nvme/errors", test_errors);
    qtest_add_func("p2p/nvme/prps", test_prps);
    qtest_add_func("p2p/nvme/cmb", test_cmb);
    qtest_add_func("p2p/nvme/behind-root-port", test_behind_root_port);
    qtest_add_func("p2p/nvme/no-drive", test_no_drive);
    return g_test_run();
}
