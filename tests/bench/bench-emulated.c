/*
 * Emulated disks whose data lies in a peer's BAR, side by side with stock QEMU
 *
 * Both QEMUs have the same devices, images and commands: emulated nvme and
 * virtio-blk as initiators, and a vfio-user-pci device as the target, whose
 * BAR is a mapped region like that of passthrough.  Only ours has them in a
 * p2p-group.  The guest's part is played by drivers in this program, whose
 * queues are in guest RAM that is mapped here: a command costs no round trip
 * of the qtest protocol, a doorbell costs one (or two); nvme gets one doorbell
 * for half of the queue depth at least, virtio-blk one for each request.
 *
 * Prints one line of JSON for each figure (see bench.h). Names are
 *
 *   emulated/DEVICE/OPERATION-SIZE/WHAT
 *
 * An argument is a pattern for DEVICE/OPERATION-SIZE: only those.
 * Environment: QTEST_QEMU_BINARY, P2P_STOCK_QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/prctl.h>
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "tests/qtest/libqos/pci-pc.h"
#include "bench.h"
#include "../qtest/drive.h"
#include "../qtest/nvme-driver.h"
#include "../qtest/shared-ram.h"
#include "../qtest/vfio-user-device.h"

#define IMAGE_SIZE (64 * MiB)

/* Guest physical addresses */
#define RAM_SIZE      (256 * MiB)
#define DRIVER_RAM(n) ((1 + (n)) * MiB) /* one for each */
#define DATA          (64 * MiB)        /* IMAGE_SIZE bytes */
#define BAR           (64 * GiB)        /* as many */
#define REGISTERS(n)  (65 * GiB + (n) * 16 * MiB)

#define TARGET_SLOT 4

/* Of each disk's queue */
#define MAX_DEPTH 32

/*
 * Turns, in seconds: far more than it takes to fill and drain the queue.  A
 * ratio near 1 wants many rounds, and more than one machine: how fast memory
 * is depends on which pages it has got.
 */
#define STOCK_TURN   0.2
#define STOCK_ROUNDS BENCH_ROUNDS
#define RAM_TURN     0.08
#define RAM_ROUNDS   8
#define RAM_MACHINES 5

#define POLL_US 20
#define TIMEOUT_S 60

/* --- Machines ---------------------------------------------------------- */

/* All with the same data */
typedef enum Disk {
    NVME,               /* buffered by the host */
    NVME_DIRECT,        /* O_DIRECT */
    VIRTIO_BLK,         /* buffered */
    DISKS,
} Disk;

/* Where drive.h has its one device */
QEMU_BUILD_BUG_ON(TARGET_SLOT + 1 + VIRTIO_BLK != DRIVE_SLOT);

static const char *const disk_device[] = {
    [NVME] = "nvme,serial=buffered,mdts=8",
    [NVME_DIRECT] = "nvme,serial=direct,mdts=8",
    [VIRTIO_BLK] = "virtio-blk-pci,disable-legacy=on,iommu_platform=on",
};

typedef struct Machine {
    QTestState *qts;
    SharedRam ram;
    char *socket;
    VfioUserServer server;
    QNvme *nvme[DISKS];
    QNvmeQueue *queue[DISKS];
    QOSState qos;               /* for blk only */
    Drive *blk;
    bool under_way[MAX_DEPTH];  /* of blk's requests */
} Machine;

typedef struct Files {
    char *folder;
    char *image;
    char *image_direct; /* of its own: no page of it is in the page cache */
    bool can_direct;    /* O_DIRECT */
} Files;

static Files files;

static uint64_t word_at(uint64_t offset)
{
    return 1ull << 56 | offset;
}

static char *image_new(const char *name)
{
    char *path = g_build_filename(files.folder, name, NULL);
    g_autofree uint64_t *words = g_malloc(IMAGE_SIZE);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    for (uint64_t o = 0; o < IMAGE_SIZE; o += sizeof(*words)) {
        words[o / sizeof(*words)] = cpu_to_le64(word_at(o));
    }
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, words, IMAGE_SIZE), ==, IMAGE_SIZE);
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
    return path;
}

static void files_new(void)
{
    int fd;

    files.folder = g_dir_make_tmp("p2p-bench-XXXXXX", NULL);
    g_assert_nonnull(files.folder);
    files.image = image_new("image");
    files.image_direct = image_new("image-direct");
    fd = open(files.image_direct, O_RDONLY | O_DIRECT);
    files.can_direct = fd >= 0;
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void files_free(void)
{
    unlink(files.image);
    unlink(files.image_direct);
    rmdir(files.folder);
    g_free(files.image);
    g_free(files.image_direct);
    g_free(files.folder);
}

static bool disk_exists(Disk disk)
{
    return disk != NVME_DIRECT || files.can_direct;
}

static void machine_nvme(Machine *m, Disk disk, const GuestPci *pci)
{
    P2PGuestAddr ram = { DRIVER_RAM(disk) };
    P2PGuestAddr queue_ram = { ram.gpa + QNVME_RAM_SIZE };
    g_autoptr(GError) error = NULL;

    m->nvme[disk] = qnvme_new(pci, (P2PGuestAddr) { REGISTERS(disk) }, ram,
                              &error);
    g_assert_no_error(error);
    m->queue[disk] = qnvme_queue_new(m->nvme[disk], queue_ram,
                                     m->ram.hva + queue_ram.gpa, MAX_DEPTH,
                                     &error);
    g_assert_no_error(error);
}

static void machine_blk(Machine *m)
{
    m->qos.qts = m->qts;
    alloc_init(&m->qos.alloc, ALLOC_NO_FLAGS, DRIVER_RAM(VIRTIO_BLK),
               DRIVER_RAM(VIRTIO_BLK + 1), QNVME_PAGE);
    m->qos.pcibus = qpci_new_pc(m->qts, &m->qos.alloc);
    m->blk = drive_start(&drive_virtio_blk, &m->qos, &m->ram);
}

static void machine_disks(Machine *m)
{
    for (Disk disk = 0; disk < DISKS; disk++) {
        GuestPci pci = {
            .qts = m->qts, .devfn = (TARGET_SLOT + 1 + disk) << 3,
        };

        if (!disk_exists(disk)) {
            continue;
        }
        if (disk == VIRTIO_BLK) {
            machine_blk(m);
        } else {
            machine_nvme(m, disk, &pci);
        }
    }
}

/* @binary: the environment variable that names QEMU */
static Machine *machine_new(const char *binary, bool group)
{
    Machine *m = g_new0(Machine, 1);
    GString *args = g_string_new("-machine q35,memory-backend=ram "
                                 "-nodefaults ");
    g_autofree char *ram = NULL, *target = NULL;
    GuestPci pci;

    shared_ram_new(&m->ram, RAM_SIZE);
    ram = shared_ram_options(&m->ram);
    m->socket = g_build_filename(files.folder, binary, NULL);
    vfio_user_server_start(&m->server, m->socket, IMAGE_SIZE, NULL);
    target = vfio_user_device_json("target", TARGET_SLOT, m->socket, group ?
                                   ",\"p2p-group\":\"g0\""
                                   ",\"p2p-share\":\"bar2\"" : "");
    g_string_append_printf(args, "%s %s -device '%s' ", ram,
                           group ? "-object p2p-group,id=g0" : "", target);
    for (Disk disk = 0; disk < DISKS; disk++) {
        bool direct = disk == NVME_DIRECT;

        if (disk_exists(disk)) {
            g_string_append_printf(args, "-drive if=none,id=d%u,format=raw,"
                                   "cache.direct=%s,file.locking=off,file=%s "
                                   "-device %s,drive=d%u,addr=%u%s ", disk,
                                   direct ? "on" : "off",
                                   direct ? files.image_direct : files.image,
                                   disk_device[disk], disk,
                                   TARGET_SLOT + 1 + disk,
                                   group ? ",p2p-group=g0" : "");
        }
    }
    m->qts = qtest_init_ext(binary, args->str, NULL, true);
    g_string_free(args, true);

    pci = (GuestPci) { .qts = m->qts, .devfn = TARGET_SLOT << 3 };
    guest_pci_bar_map(&pci, 2, (P2PGuestAddr) { BAR });
    guest_pci_command(&pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
    machine_disks(m);
    return m;
}

static void machine_free(Machine *m)
{
    for (Disk disk = 0; disk < DISKS; disk++) {
        qnvme_free(m->nvme[disk]);
        g_free(m->queue[disk]);
    }
    drive_end(m->blk);
    qpci_free_pc(m->qos.pcibus);
    alloc_destroy(&m->qos.alloc);
    qtest_quit(m->qts);
    vfio_user_server_wait(&m->server, m->socket);
    shared_ram_free(&m->ram);
    g_free(m->socket);
    g_free(m);
}

/* --- Transfers --------------------------------------------------------- */

/* As many as fit into the disk, and again, the memory's order the same */
typedef struct Transfers {
    Machine *machine;
    Disk disk;
    QNvmeOp op;
    uint32_t size;      /* bytes of one */
    unsigned depth;
    uint64_t memory;    /* DATA or BAR */
    unsigned count;     /* that are the work */
    uint64_t at;        /* the next one's offset */
} Transfers;

static void blk_add(Machine *m, DriveOp op, uint64_t offset,
                    const P2PBusVec *vec)
{
    unsigned tag = 0;

    while (m->under_way[tag]) {
        tag++;
    }
    m->under_way[tag] = true;
    drive_submit(m->blk, tag, op, offset, vec, 1);
}

static unsigned blk_reap(Machine *m, int *status)
{
    unsigned n = 0;

    for (unsigned tag = 0; tag < drive_virtio_blk.requests; tag++) {
        int ret = m->under_way[tag] ? drive_poll(m->blk, tag) : -EAGAIN;

        if (ret != -EAGAIN) {
            m->under_way[tag] = false;
            *status = ret ? ret : *status;
            n++;
        }
    }
    return n;
}

static void transfers_add(Transfers *t)
{
    Machine *m = t->machine;
    P2PBusVec vec = { .addr = { t->memory + t->at }, .len = t->size };

    if (t->disk == VIRTIO_BLK) {
        blk_add(m, t->op == QNVME_WRITE ? DRIVE_WRITE : DRIVE_READ, t->at,
                &vec);
    } else {
        uint64_t lba = t->at / qnvme_info(m->nvme[t->disk])->block_size;

        g_assert_cmpint(qnvme_queue_add(m->queue[t->disk], t->op, lba, &vec,
                                        1), ==, 0);
    }
    t->at = (t->at + t->size) % IMAGE_SIZE;
}

static void transfers_ring(Transfers *t)
{
    if (t->disk != VIRTIO_BLK) {
        qnvme_queue_ring(t->machine->queue[t->disk]);
    }
}

static unsigned transfers_reap(Transfers *t)
{
    int status = 0;
    unsigned n = t->disk == VIRTIO_BLK
                 ? blk_reap(t->machine, &status)
                 : qnvme_queue_reap(t->machine->queue[t->disk], &status);

    if (status) {
        g_error("disk %u: status 0x%x", t->disk, status);
    }
    return n;
}

static double run_transfers(void *opaque, unsigned times)
{
    Transfers *t = opaque;
    uint64_t todo = (uint64_t)times * t->count;
    unsigned under_way = 0;
    double late = bench_now() + TIMEOUT_S;

    while (todo || under_way) {
        unsigned more = MIN(todo, t->depth - under_way);
        unsigned n;

        if (more && (more == todo || more >= t->depth / 2)) {
            for (unsigned i = 0; i < more; i++) {
                transfers_add(t);
            }
            transfers_ring(t);
            under_way += more;
            todo -= more;
        }
        n = transfers_reap(t);
        if (n) {
            late = bench_now() + TIMEOUT_S;
            under_way -= n;
        } else {
            g_assert_cmpfloat(bench_now(), <, late);
            g_usleep(POLL_US);
        }
    }
    return -1;
}

/* What is measured is what is meant: the disk's data gets to the memory. */
static void check_read(Machine *m, Disk disk, uint64_t memory)
{
    Transfers t = {
        .machine = m, .disk = disk, .op = QNVME_READ, .size = MiB, .depth = 8,
        .memory = memory, .count = IMAGE_SIZE / MiB,
    };

    for (uint64_t o = 0; o < IMAGE_SIZE; o += MiB) {
        qtest_writeq(m->qts, memory + o, 0);
        qtest_writeq(m->qts, memory + o + MiB - 8, 0);
    }
    run_transfers(&t, 1);
    for (uint64_t o = 0; o < IMAGE_SIZE; o += MiB) {
        g_assert_cmphex(qtest_readq(m->qts, memory + o), ==, word_at(o));
        g_assert_cmphex(qtest_readq(m->qts, memory + o + MiB - 8), ==,
                        word_at(o + MiB - 8));
    }
}

/* --- Figures ----------------------------------------------------------- */

typedef struct Figure {
    const char *name;
    Disk disk;
    QNvmeOp op;
    uint32_t size;
    unsigned depth;
    bool vs_stock;
} Figure;

static const Figure figures[] = {
    { "nvme/read-1M", NVME, QNVME_READ, MiB, 8, true },
    { "nvme/write-1M", NVME, QNVME_WRITE, MiB, 8, true },
    { "nvme/read-4k-qd32", NVME, QNVME_READ, 4 * KiB, 32, true },
    { "nvme/o-direct-read-1M", NVME_DIRECT, QNVME_READ, MiB, 8, false },
    { "virtio-blk/read-1M", VIRTIO_BLK, QNVME_READ, MiB, 8, false },
};

/* The work of one side, enough for some doorbells */
static void prepare(const Figure *f, BenchSide *side, const char *name,
                    Transfers *t, Machine *m, uint64_t memory)
{
    *t = (Transfers) {
        .machine = m, .disk = f->disk, .op = f->op, .size = f->size,
        .depth = f->depth, .memory = memory,
        .count = MAX(f->depth, MiB / f->size),
    };
    *side = (BenchSide) { name, run_transfers, t };
    check_read(m, f->disk, memory);
}

static void measure(BenchSide *sides, unsigned rounds, double seconds)
{
    const Transfers *t = sides[0].opaque;

    bench_measure_rounds(sides, 2, (double)t->count * t->size / MiB, rounds,
                         seconds);
}

/* @sides: the BAR, and what it is compared with */
static void report(const Figure *f, const BenchSide *sides, const char *what,
                   const char *unit, const char *peer, const char *more)
{
    g_autofree char *text = g_strdup_printf(
        "%u rounds in turns, queue depth %u, one doorbell for %u%s",
        sides[0].rounds, f->depth, f->disk == VIRTIO_BLK ? 1 : f->depth / 2,
        more);
    g_autofree char *note = bench_ratio_note(&sides[1], &sides[0], text);

    bench_report(1e9 / bench_ns(&sides[0]), "MiB/s", NULL,
                 "a BAR, ours; as compared below", "emulated/%s/%s", f->name,
                 sides[0].name);
    bench_report(1e9 / bench_ns(&sides[1]), "MiB/s", peer, peer,
                 "emulated/%s/%s", f->name, sides[1].name);
    bench_report(bench_ratio(&sides[1], &sides[0]), unit, peer, note,
                 "emulated/%s/%s", f->name, what);
}

static void vs_stock(const Figure *f, Machine *ours, Machine *stock)
{
    Transfers transfers[2];
    BenchSide sides[2];

    prepare(f, &sides[0], "bar", &transfers[0], ours, BAR);
    prepare(f, &sides[1], "stock-bar", &transfers[1], stock, BAR);
    measure(sides, STOCK_ROUNDS, STOCK_TURN);
    report(f, sides, "vs-stock", "times faster", "stock QEMU", "");
}

/* Adds one machine's rounds to those in @all. */
static void over_ram(const Figure *f, Machine *ours, BenchSide *all)
{
    Transfers transfers[2];
    BenchSide sides[2];

    prepare(f, &sides[0], "bar-beside-ram", &transfers[0], ours, BAR);
    prepare(f, &sides[1], "ram", &transfers[1], ours, DATA);
    measure(sides, RAM_ROUNDS, RAM_TURN);
    for (unsigned i = 0; i < 2; i++) {
        all[i].name = sides[i].name;
        bench_add_rounds(&all[i], &sides[i]);
    }
}

/* What becomes of stock QEMU's virtio-blk when it is to read into a BAR. */
static const char *virtio_blk_of(Machine *stock)
{
    P2PBusVec vec = { .addr = { BAR }, .len = MiB };
    double late = bench_now() + 5;
    int status = 0;

    blk_add(stock, DRIVE_READ, 0, &vec);
    while (bench_now() < late) {
        if (blk_reap(stock, &status)) {
            return status ? "; stock QEMU: the request fails"
                          : "; stock QEMU: the request ends well";
        }
        if (drive_needs_reset(stock->blk)) {
            return "; stock QEMU: the first request ends in "
                   "DEVICE_NEEDS_RESET, the device is dead";
        }
        g_usleep(1000);
    }
    return "; stock QEMU: the request does not end";
}

static bool wanted(const Figure *f, const char *pattern)
{
    return g_pattern_match_simple(pattern, f->name) && disk_exists(f->disk);
}

int main(int argc, char **argv)
{
    const char *pattern = argc > 1 ? argv[1] : "*";
    BenchSide ram[ARRAY_SIZE(figures)][2] = {};
    const char *stock_blk;
    Machine *ours, *stock;

    /* So that a pause is as short as it says. */
    prctl(PR_SET_TIMERSLACK, 1);
    files_new();
    if (!files.can_direct) {
        fprintf(stderr, "bench: no O_DIRECT in %s; set TMPDIR\n",
                files.folder);
    }

    ours = machine_new("QTEST_QEMU_BINARY", true);
    stock = machine_new("P2P_STOCK_QEMU", false);
    stock_blk = virtio_blk_of(stock);
    for (unsigned i = 0; i < ARRAY_SIZE(figures); i++) {
        if (figures[i].vs_stock && wanted(&figures[i], pattern)) {
            vs_stock(&figures[i], ours, stock);
        }
    }
    machine_free(ours);
    machine_free(stock);

    for (unsigned m = 0; m < RAM_MACHINES; m++) {
        ours = machine_new("QTEST_QEMU_BINARY", true);
        for (unsigned i = 0; i < ARRAY_SIZE(figures); i++) {
            if (wanted(&figures[i], pattern)) {
                over_ram(&figures[i], ours, ram[i]);
            }
        }
        machine_free(ours);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(figures); i++) {
        if (wanted(&figures[i], pattern)) {
            report(&figures[i], ram[i], "over-ram", "throughput ratio",
                   "guest RAM of the same machine",
                   figures[i].disk == VIRTIO_BLK ? stock_blk : "");
        }
    }
    files_free();
    return 0;
}
