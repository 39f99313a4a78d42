/*
 * A virtual machine in the lab, with the lab's NVMe drives passed through
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-machine.h"

/* The driver's memory is below LAB_DATA. */
#define DRIVER_RAM (1 * MiB)

/*
 * Where a drive itself has its CMB: an address that no test gives to a drive.
 * Else the drive would serve its own BAR itself, and no IOMMU would be asked.
 */
#define OWN_CMB (UINT64_C(1) << 46)

#define FAULT_RETRY_US 100000

static const char *const ids[LAB_MAX_DRIVES] = {
    "drive0", "drive1", "drive2", "drive3",
};

char *lab_host(unsigned drive)
{
    g_auto(GStrv) hosts = g_strsplit(g_getenv("P2P_LAB_DRIVES") ?: "", " ", 0);

    return drive < g_strv_length(hosts) ? g_strdup(hosts[drive]) : NULL;
}

char *lab_command_line(const char *options, const char *const *properties,
                       unsigned n)
{
    GString *line = g_string_new(NULL);

    g_assert_cmpuint(n, <=, LAB_MAX_DRIVES);
    g_string_printf(line, "-machine q35 -nodefaults -m %u %s",
                    (unsigned)(LAB_RAM_SIZE / MiB), options);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *host = lab_host(i);

        if (properties[i]) {
            g_assert_nonnull(host);
            g_string_append_printf(line, " -device vfio-pci,host=%s,id=%s,"
                                   "addr=%u%s%s", host, ids[i],
                                   LAB_FIRST_SLOT + i,
                                   *properties[i] ? "," : "", properties[i]);
        }
    }
    return g_string_free(line, FALSE);
}

LabMachine *lab_machine_new(const char *options,
                            const char *const *properties, unsigned n)
{
    g_autofree char *line = lab_command_line(options, properties, n);
    LabMachine *machine = g_new0(LabMachine, 1);

    machine->qts = qtest_init(line);
    for (unsigned i = 0; i < LAB_MAX_DRIVES; i++) {
        LabDrive *drive = &machine->drive[i];

        drive->id = ids[i];
        drive->host = lab_host(i);
        drive->pci = (GuestPci) {
            .qts = machine->qts,
            .devfn = (LAB_FIRST_SLOT + i) << 3,
        };
        drive->cmb = (P2PGuestAddr) { LAB_CMB + i * GiB };
    }
    return machine;
}

char *lab_machine_refused(const char *options, const char *const *properties,
                          unsigned n)
{
    g_autofree char *line = lab_command_line(options, properties, n);
    /* A machine that does start ends at once, with status 0. */
    g_autofree char *script = g_strdup_printf(
        "echo '{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}' |"
        "exec %s -accel qtest -display none -qmp stdio %s",
        g_getenv("QTEST_QEMU_BINARY"), line);
    char *argv[] = { (char *)"sh", (char *)"-c", script, NULL };
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;
    char *messages = NULL;
    int status;

    g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output,
                 &messages, &status, &error);
    g_assert_no_error(error);
    g_test_message("refused: %s", messages);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    return messages;
}

void lab_machine_free(LabMachine *machine)
{
    if (!machine) {
        return;
    }
    for (unsigned i = 0; i < LAB_MAX_DRIVES; i++) {
        qnvme_free(machine->drive[i].nvme);
        g_free(machine->drive[i].host);
    }
    qtest_quit(machine->qts);
    g_free(machine);
}

void lab_drive_start(LabMachine *machine, unsigned i)
{
    LabDrive *drive = &machine->drive[i];
    g_autoptr(GError) error = NULL;
    QNvmeCmb cmb;

    guest_pci_bar_map(&drive->pci, LAB_CMB_BAR, drive->cmb);
    drive->nvme = qnvme_new(&drive->pci,
                            (P2PGuestAddr) { LAB_REGISTERS + i * MiB },
                            (P2PGuestAddr) { DRIVER_RAM + i * QNVME_RAM_SIZE },
                            &error);
    g_assert_no_error(error);

    g_assert_cmpint(qnvme_cmb_enable(drive->nvme, (P2PBusAddr) { OWN_CMB },
                                     &cmb), ==, 0);
    g_assert_cmpuint(cmb.bar, ==, LAB_CMB_BAR);
    g_assert_cmpuint(cmb.offset, ==, 0);
    drive->cmb_size = cmb.size;
}

char *lab_provoke_fault(LabMachine *machine, DmarLog *log, unsigned i,
                        QNvmeOp op, uint64_t lba, const P2PBusVec *vec,
                        int *result)
{
    gint64 end = g_get_monotonic_time() +
                 LAB_FAULT_TIMEOUT_S * G_USEC_PER_SEC;
    DmarAccess access = {
        .bdf = machine->drive[i].host,
        .write = op == QNVME_READ,
        .first = { vec->addr.bus },
        .size = vec->len,
    };
    char *line;

    dmar_log_flush(log);
    do {
        *result = qnvme_io(machine->drive[i].nvme, op, lba, vec, 1);
        g_usleep(FAULT_RETRY_US);
        line = dmar_log_find(log, &access);
    } while (!line && g_get_monotonic_time() < end);

    return line;
}

void lab_disk_words(unsigned drive, uint64_t offset, void *words, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        stq_le_p((uint8_t *)words + i,
                 (uint64_t)(drive + 1) << 56 | (offset + i));
    }
}

/* The high byte is none of the disks'; odd multipliers lose no seed. */
void lab_pattern(uint64_t seed, void *words, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = seed * 0x9e3779b97f4a7c15 ^ i * 0xff51afd7ed558ccd;

        stq_le_p((uint8_t *)words + i, word | UINT64_C(0x80) << 56);
    }
}
