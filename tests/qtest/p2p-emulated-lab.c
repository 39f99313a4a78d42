/*
 * Emulated drives and the BARs of real VFIO devices, in the lab
 *
 * The target is the CMB of a drive that is passed through. The initiator is an
 * emulated drive, whose data come from a file or from another one of the lab's
 * drives, which QEMU's own NVMe driver drives.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-machine.h"
#include "p2p-monitor.h"

#define BLOCK       512u
#define SIZE        (1 * MiB)
#define SCRATCH_LBA (8 * MiB / BLOCK)

#define GROUP       "-object p2p-group,id=g0 "
#define EMULATED    "-device nvme,id=emulated,drive=d,serial=s,addr=0x10," \
                    "p2p-group=g0 "

/* Guest physical addresses, beside those of lab-machine.h */
#define EMULATED_REGISTERS (LAB_REGISTERS + 64 * MiB)
#define EMULATED_RAM       (2 * MiB)
#define SHARED_MEMORY      (72 * GiB)

typedef struct Fixture {
    LabMachine *machine;
    QNvme *nvme;        /* of the emulated drive */
    uint64_t cmb;       /* of drive0 */
    unsigned disk;      /* of the lab, whose contents it has */
    char *image;        /* path of the file it is in; NULL: a drive */
} Fixture;

/* @options: with a -blockdev of the node name "d", which is like @disk. */
static Fixture start(const char *options, unsigned disk)
{
    static const char *const properties[] = { "p2p-group=g0" };
    g_autofree char *all = g_strconcat(GROUP, options, " ", EMULATED, NULL);
    g_autoptr(GError) error = NULL;
    Fixture f = { lab_machine_new(all, properties, 1), .disk = disk };
    GuestPci pci = { .qts = f.machine->qts, .devfn = 0x10 << 3 };

    lab_drive_start(f.machine, 0);
    f.cmb = f.machine->drive[0].cmb.gpa;
    f.nvme = qnvme_new(&pci, (P2PGuestAddr) { EMULATED_REGISTERS },
                       (P2PGuestAddr) { EMULATED_RAM }, &error);
    g_assert_no_error(error);
    return f;
}

static void end(Fixture *f)
{
    qnvme_free(f->nvme);
    lab_machine_free(f->machine);
    if (f->image) {
        unlink(f->image);
        g_free(f->image);
    }
}

/*
 * QEMU's NVMe driver with a drive of the lab.  Each may be taken once: the lab's
 * emulated drives raise no interrupt for the second one who drives them.
 */
static Fixture start_drive(unsigned drive)
{
    g_autofree char *host = lab_host(drive);
    g_autofree char *blockdev = g_strdup_printf(
        "-blockdev nvme,node-name=d,device=%s,namespace=1", host);

    return start(blockdev, drive);
}

/* A file with what is on the lab's second drive */
static char *image_new(void)
{
    g_autofree uint8_t *words = g_malloc(16 * MiB);
    g_autoptr(GError) error = NULL;
    char *path;
    int fd = g_file_open_tmp("p2p-image-XXXXXX", &path, &error);

    g_assert_no_error(error);
    lab_disk_words(1, 0, words, 16 * MiB);
    g_assert_cmpint(write(fd, words, 16 * MiB), ==, 16 * MiB);
    close(fd);
    return path;
}

/* @properties: of the file's node, @node; @more: options behind it */
static Fixture start_image(const char *node, const char *properties,
                           const char *more)
{
    char *image = image_new();
    g_autofree char *blockdev = g_strdup_printf(
        "-blockdev file,node-name=%s,filename=%s%s %s", node, image,
        properties, more);
    Fixture f = start(blockdev, 1);

    f.image = image;
    return f;
}

static int io(Fixture *f, QNvmeOp op, uint64_t lba, uint64_t bus, uint32_t len)
{
    const QNvmeInfo *info = qnvme_info(f->nvme);
    uint32_t piece = info->max_transfer ?: len;
    int status = QNVME_SUCCESS;

    for (uint32_t done = 0; done < len && !status; done += piece) {
        P2PBusVec vec = {
            .addr = { bus + done }, .len = MIN(piece, len - done),
        };

        status = qnvme_io(f->nvme, op, lba + done / BLOCK, &vec, 1);
    }
    return status;
}

/* From the disk into the CMB, and back to another place of the disk. */
static void check_both_ways(Fixture *f)
{
    g_autofree uint8_t *expected = g_malloc(SIZE);
    g_autofree uint8_t *seen = g_malloc(SIZE);
    QTestState *qts = f->machine->qts;

    qtest_memset(qts, f->cmb, 0x5a, SIZE);
    g_assert_cmphex(io(f, QNVME_READ, 64, f->cmb, SIZE), ==, QNVME_SUCCESS);
    lab_disk_words(f->disk, 64 * BLOCK, expected, SIZE);
    qtest_bufread(qts, f->cmb, seen, SIZE);
    g_assert_cmpmem(seen, SIZE, expected, SIZE);

    lab_pattern(7, expected, SIZE);
    qtest_bufwrite(qts, f->cmb, expected, SIZE);
    g_assert_cmphex(io(f, QNVME_WRITE, SCRATCH_LBA, f->cmb, SIZE), ==,
                    QNVME_SUCCESS);
    g_assert_cmphex(io(f, QNVME_READ, SCRATCH_LBA, LAB_DATA, SIZE), ==,
                    QNVME_SUCCESS);
    qtest_bufread(qts, LAB_DATA, seen, SIZE);
    g_assert_cmpmem(seen, SIZE, expected, SIZE);
}

/* What went which way; it must be what the monitor says that it would. */
static void check_path(Fixture *f, const char *read, const char *write)
{
    g_autoptr(QDict) window = p2p_monitor_window(f->machine->qts, "drive0",
                                                 LAB_CMB_BAR, 0);
    const QDict *grant = p2p_monitor_grant(window, "emulated");
    const QDict *drive = qobject_to(QDict, qlist_peek(
        qdict_get_qlist(grant, "drives")));
    const QListEntry *entry;

    g_assert_true(qdict_get_bool(grant, "installed"));
    g_assert_cmpstr(qdict_get_str(drive, "drive"), ==, "d");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(drive, "read"),
                                  "data-path"), ==, read);
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(drive, "write"),
                                  "data-path"), ==, write);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(window, "traffic"), entry) {
        const QDict *traffic = qobject_to(QDict, qlist_entry_obj(entry));
        const char *path = qdict_get_str(traffic, "data-path");

        g_assert_cmpuint(p2p_monitor_uint(traffic, "bytes"), ==,
                         SIZE * (g_str_equal(path, read) +
                                 g_str_equal(path, write)));
    }
    g_assert_cmpuint(p2p_monitor_uint(window, "failed-requests"), ==, 0);
}

/*
 * The hardware drive moves the data: no other way has counted a byte. When the
 * BAR goes, so does what QEMU's NVMe driver had of it in the IOMMU.
 */
static void test_direct(void)
{
    Fixture f = start_drive(1);

    check_both_ways(&f);
    check_path(&f, "direct", "direct");
    end(&f);
}

static void test_kernel_copy(void)
{
    Fixture f = start_image("d", "", "");

    check_both_ways(&f);
    check_path(&f, "kernel-copy", "bounce");
    end(&f);
}

static void test_bounce(void)
{
    Fixture f = start_image("d", ",cache.direct=on", "");

    check_both_ways(&f);
    check_path(&f, "bounce", "bounce");
    end(&f);
}

/* Whatever the way: an error while the BAR is away, and then it works again. */
static void check_revoked(Fixture *f)
{
    GuestPci *target = &f->machine->drive[0].pci;

    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(io(f, QNVME_READ, 0, f->cmb, 4096), ==,
                        QNVME_SUCCESS);
        guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
        g_assert_cmphex(io(f, QNVME_READ, 0, f->cmb, 4096), !=,
                        QNVME_SUCCESS);
        g_assert_cmphex(io(f, QNVME_WRITE, SCRATCH_LBA, f->cmb, 4096), !=,
                        QNVME_SUCCESS);
        g_assert_cmphex(io(f, QNVME_READ, 0, LAB_DATA, 4096), ==,
                        QNVME_SUCCESS);
        guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
    }
    check_both_ways(f);
}

static void test_direct_revoked(void)
{
    Fixture f = start_drive(2);

    check_revoked(&f);
    end(&f);
}

static void test_kernel_copy_revoked(void)
{
    Fixture f = start_image("d", "", "");

    check_revoked(&f);
    end(&f);
}

/* --- Revocation under load ------------------------------------------------ */

#define ROUNDS  60
#define SLOT    4096u           /* of the CMB, and of the disk, a request */
#define SLOTS   8

/*
 * The back end takes its time, so that requests are under way: it follows the
 * virtual clock, which the test moves.
 */
#define SLOWLY  "-object throttle-group,id=slowly,x-iops-total=20 " \
                "-blockdev throttle,node-name=d,throttle-group=slowly,file=f "
#define PACE_NS (NANOSECONDS_PER_SECOND / 20)

typedef struct Slot {
    QNvmeOp op;
    int tag;
    int status;
} Slot;

static uint64_t slot_lba(unsigned i)
{
    return SCRATCH_LBA + i * (SLOT / BLOCK);
}

/* What a slot of the CMB, or of the disk, has before a round */
static void slot_pattern(unsigned round, unsigned i, bool disk, uint8_t *words)
{
    lab_pattern(1 + (round * SLOTS + i) * 2 + disk, words, SLOT);
}

static void read_image(const char *image, unsigned i, uint8_t *words)
{
    int fd = open(image, O_RDONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, words, SLOT, slot_lba(i) * BLOCK), ==, SLOT);
    close(fd);
}

static void write_image(const char *image, unsigned i, const uint8_t *words)
{
    int fd = open(image, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, words, SLOT, slot_lba(i) * BLOCK), ==, SLOT);
    close(fd);
}

static void begin_round(Fixture *f, unsigned round, Slot *slots)
{
    g_autofree uint8_t *words = g_malloc(SLOT);

    for (unsigned i = 0; i < SLOTS; i++) {
        P2PBusVec vec = { .addr = { f->cmb + i * SLOT }, .len = SLOT };

        slot_pattern(round, i, true, words);
        write_image(f->image, i, words);
        slot_pattern(round, i, false, words);
        qtest_bufwrite(f->machine->qts, vec.addr.bus, words, SLOT);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        P2PBusVec vec = { .addr = { f->cmb + i * SLOT }, .len = SLOT };

        slots[i].op = g_test_rand_int_range(0, 2) ? QNVME_READ : QNVME_WRITE;
        slots[i].tag = qnvme_submit(f->nvme, slots[i].op, slot_lba(i), &vec,
                                    1);
        g_assert_cmpint(slots[i].tag, >=, 0);
    }
}

static void reap(Fixture *f, Slot *slots)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        gint64 end = g_get_monotonic_time() +
                     QNVME_TIMEOUT_S * G_USEC_PER_SEC;

        do {
            qtest_clock_step(f->machine->qts, PACE_NS);
            slots[i].status = qnvme_poll(f->nvme, slots[i].tag);
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        } while (slots[i].status == -EAGAIN);
        g_assert_cmpint(slots[i].status, >=, 0);
    }
}

/* Success, and the data is there; or an error, and nothing is made up. */
static void classify(Fixture *f, unsigned round, const Slot *slots,
                     unsigned *n_success, unsigned *n_error)
{
    g_autofree uint8_t *cmb = g_malloc(SLOT);
    g_autofree uint8_t *disk = g_malloc(SLOT);
    g_autofree uint8_t *cmb_before = g_malloc(SLOT);
    g_autofree uint8_t *disk_before = g_malloc(SLOT);

    for (unsigned i = 0; i < SLOTS; i++) {
        bool success = slots[i].status == QNVME_SUCCESS;

        read_image(f->image, i, disk);
        qtest_bufread(f->machine->qts, f->cmb + i * SLOT, cmb, SLOT);
        slot_pattern(round, i, true, disk_before);
        slot_pattern(round, i, false, cmb_before);
        *n_success += success;
        *n_error += !success;
        if (success) {
            g_assert_cmpmem(cmb, SLOT, disk, SLOT);
        }
        if (slots[i].op == QNVME_READ) {
            g_assert_cmpmem(disk, SLOT, disk_before, SLOT);
            continue;
        }
        g_assert_cmpmem(cmb, SLOT, cmb_before, SLOT);
        for (unsigned b = 0; b < SLOT; b += BLOCK) {
            g_assert_true(!memcmp(disk + b, disk_before + b, BLOCK) ||
                          !memcmp(disk + b, cmb_before + b, BLOCK));
        }
    }
}

static void share(Fixture *f, const char *command)
{
    qtest_qmp_assert_success(f->machine->qts, "{ 'execute': %s, 'arguments':"
                             " { 'device': 'drive0', 'bar': 2 } }", command);
}

/* Returns when some, or all, or none of the round's requests have ended. */
static void wait_a_little(Fixture *f)
{
    for (int i = g_test_rand_int_range(0, SLOTS + 1); i > 0; i--) {
        qtest_clock_step(f->machine->qts, PACE_NS);
    }
}

static void revoke_and_restore(Fixture *f, Slot *slots, unsigned kind)
{
    GuestPci *target = &f->machine->drive[0].pci;

    wait_a_little(f);
    switch (kind) {
    case 0:
        guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
        reap(f, slots);
        guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
        break;
    case 1:     /* and on again, while requests are under way */
        guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
        guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
        reap(f, slots);
        break;
    case 2:
        share(f, "p2p-unshare");
        reap(f, slots);
        share(f, "p2p-share");
        break;
    default:    /* somewhere else */
        f->cmb ^= 16 * MiB;
        guest_pci_bar_map(target, LAB_CMB_BAR, (P2PGuestAddr) { f->cmb });
        reap(f, slots);
    }
}

static void check_campaign(const char *properties)
{
    Fixture f = start_image("f", properties, SLOWLY);
    unsigned n_success = 0, n_error = 0;
    Slot slots[SLOTS];

    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_round(&f, round, slots);
        revoke_and_restore(&f, slots, g_test_rand_int_range(0, 4));
        classify(&f, round, slots, &n_success, &n_error);
    }
    g_test_message("%u revocations, %u requests: %u succeeded, %u failed",
                   ROUNDS, n_success + n_error, n_success, n_error);
    /* Else the moments were not among the requests. */
    g_assert_cmpuint(n_error, >, 0);
    g_assert_cmpuint(n_success, >, 0);
    end(&f);
}

static void test_campaign_kernel_copy(void)
{
    check_campaign("");
}

static void test_campaign_bounce(void)
{
    check_campaign(",cache.direct=on");
}

/* --- The reverse: RAM of a device model as a target ----------------------- */

#define IVSHMEM(memory) \
    GROUP "-object " memory ",id=m,size=4M " \
    "-device ivshmem-plain,id=shm,memdev=m,addr=0x11,p2p-group=g0 "

static LabMachine *start_ivshmem(const char *options)
{
    static const char *const properties[] = { "p2p-group=g0" };
    LabMachine *machine = lab_machine_new(options, properties, 1);
    GuestPci pci = { .qts = machine->qts, .devfn = 0x11 << 3 };

    lab_drive_start(machine, 0);
    guest_pci_bar_map(&pci, 2, (P2PGuestAddr) { SHARED_MEMORY });
    guest_pci_command(&pci, PCI_COMMAND_MEMORY, 0);
    return machine;
}

static const QDict *grant_of_shm(LabMachine *machine, QDict **window)
{
    *window = p2p_monitor_window(machine->qts, "shm", 2, 0);
    g_assert_nonnull(*window);
    return p2p_monitor_grant(*window, "drive0");
}

static void test_model_ram(const void *backend)
{
    g_autoptr(LabMachine) m = start_ivshmem(backend);
    P2PBusVec vec = { .addr = { SHARED_MEMORY + 8192 }, .len = 65536 };
    g_autofree uint8_t *expected = g_malloc(vec.len);
    g_autofree uint8_t *seen = g_malloc(vec.len);
    g_autoptr(QDict) window = NULL;
    const QDict *grant = grant_of_shm(m, &window);

    g_assert_true(qdict_get_bool(grant, "installed"));
    g_assert_cmphex(qnvme_io(m->drive[0].nvme, QNVME_READ, 3, &vec, 1), ==,
                    QNVME_SUCCESS);
    lab_disk_words(0, 3 * BLOCK, expected, vec.len);
    qtest_bufread(m->qts, vec.addr.bus, seen, vec.len);
    g_assert_cmpmem(seen, vec.len, expected, vec.len);

    lab_pattern(9, expected, vec.len);
    qtest_bufwrite(m->qts, vec.addr.bus, expected, vec.len);
    g_assert_cmphex(qnvme_io(m->drive[0].nvme, QNVME_WRITE, SCRATCH_LBA, &vec,
                             1), ==, QNVME_SUCCESS);
    vec.addr.bus = LAB_DATA;
    g_assert_cmphex(qnvme_io(m->drive[0].nvme, QNVME_READ, SCRATCH_LBA, &vec,
                             1), ==, QNVME_SUCCESS);
    qtest_bufread(m->qts, LAB_DATA, seen, vec.len);
    g_assert_cmpmem(seen, vec.len, expected, vec.len);
}

int main(int argc, char **argv)
{
    g_autofree char *last = lab_host(2);

    g_test_init(&argc, &argv, NULL);
    if (!last) {
        g_printerr("%s: run me in the lab, with three drives\n", argv[0]);
        return 1;
    }
    qtest_add_func("p2p/lab/emulated/direct", test_direct);
    qtest_add_func("p2p/lab/emulated/kernel-copy", test_kernel_copy);
    qtest_add_func("p2p/lab/emulated/bounce", test_bounce);
    qtest_add_func("p2p/lab/emulated/direct-revoked", test_direct_revoked);
    qtest_add_func("p2p/lab/emulated/kernel-copy-revoked",
                   test_kernel_copy_revoked);
    qtest_add_func("p2p/lab/emulated/campaign/kernel-copy",
                   test_campaign_kernel_copy);
    qtest_add_func("p2p/lab/emulated/campaign/bounce", test_campaign_bounce);
    qtest_add_data_func("p2p/lab/model-ram/memfd",
                        IVSHMEM("memory-backend-memfd,share=on"),
                        test_model_ram);
    qtest_add_data_func("p2p/lab/model-ram/private",
                        IVSHMEM("memory-backend-ram"), test_model_ram);
    return g_test_run();
}
