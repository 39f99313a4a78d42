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
}

/*
 * QEMU's NVMe driver with a drive of the lab.  Each may be taken once: the lab's
 * emulated drives raise no interrupt for the second one who drives them.
 */
static char *host_drive(unsigned drive)
{
    g_autofree char *host = lab_host(drive);

    return g_strdup_printf("-blockdev nvme,node-name=d,device=%s,namespace=1",
                           host);
}

/* A file with what is on the lab's second drive; the caller unlinks it. */
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
static void check_path(Fixture *f, const char *path)
{
    g_autoptr(QDict) window = p2p_monitor_window(f->machine->qts, "drive0",
                                                 LAB_CMB_BAR, 0);
    const QDict *grant = p2p_monitor_grant(window, "emulated");
    const QDict *drive = qobject_to(QDict, qlist_peek(
        qdict_get_qlist(grant, "drives")));
    const QListEntry *entry;

    g_assert_true(qdict_get_bool(grant, "installed"));
    g_assert_cmpstr(qdict_get_str(drive, "drive"), ==, "d");
    g_assert_cmpstr(qdict_get_str(drive, "data-path"), ==, path);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(window, "traffic"), entry) {
        const QDict *traffic = qobject_to(QDict, qlist_entry_obj(entry));
        bool taken = g_str_equal(qdict_get_str(traffic, "data-path"), path);

        g_assert_cmpuint(p2p_monitor_uint(traffic, "bytes"), ==,
                         taken ? 2 * SIZE : 0);
    }
    g_assert_cmpuint(p2p_monitor_uint(window, "failed-requests"), ==, 0);
}

/*
 * The hardware drive moves the data: no other way has counted a byte. When the
 * BAR goes, so does what QEMU's NVMe driver had of it in the IOMMU.
 */
static void test_direct(void)
{
    g_autofree char *blockdev = host_drive(1);
    Fixture f = start(blockdev, 1);

    check_both_ways(&f);
    check_path(&f, "direct");
    end(&f);
}

static void test_kernel_copy(void)
{
    g_autofree char *path = image_new();
    g_autofree char *blockdev = g_strdup_printf(
        "-blockdev file,node-name=d,filename=%s", path);
    Fixture f = start(blockdev, 1);

    check_both_ways(&f);
    check_path(&f, "kernel-copy");
    end(&f);
    unlink(path);
}

static void test_bounce(void)
{
    g_autofree char *path = image_new();
    g_autofree char *blockdev = g_strdup_printf(
        "-blockdev file,node-name=d,filename=%s,cache.direct=on", path);
    Fixture f = start(blockdev, 1);

    check_both_ways(&f);
    check_path(&f, "bounce");
    end(&f);
    unlink(path);
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
    g_autofree char *blockdev = host_drive(2);
    Fixture f = start(blockdev, 2);

    check_revoked(&f);
    end(&f);
}

static void test_kernel_copy_revoked(void)
{
    g_autofree char *path = image_new();
    g_autofree char *blockdev = g_strdup_printf(
        "-blockdev file,node-name=d,filename=%s", path);
    Fixture f = start(blockdev, 1);

    check_revoked(&f);
    end(&f);
    unlink(path);
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

static void test_model_ram(void)
{
    g_autoptr(LabMachine) m = start_ivshmem(
        IVSHMEM("memory-backend-memfd,share=on"));
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

static void test_model_ram_without_file(void)
{
    g_autoptr(LabMachine) m = start_ivshmem(IVSHMEM("memory-backend-ram"));
    g_autoptr(QDict) window = NULL;
    const QDict *grant = grant_of_shm(m, &window);

    g_assert_false(qdict_get_bool(grant, "installed"));
    g_assert_nonnull(strstr(qdict_get_str(grant, "reason"), "share=on"));
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
    qtest_add_func("p2p/lab/model-ram", test_model_ram);
    qtest_add_func("p2p/lab/model-ram-without-file",
                   test_model_ram_without_file);
    return g_test_run();
}
