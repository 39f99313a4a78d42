/*
 * A virtual machine in the lab, with the lab's NVMe drives passed through
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-machine.h"

/* The driver's memory is below LAB_DATA. */
#define DRIVER_RAM (1 * MiB)
#define QUEUE_RAM  (2 * MiB)

QEMU_BUILD_BUG_ON(LAB_MAX_DRIVES * QNVME_RAM_SIZE > 1 * MiB);
QEMU_BUILD_BUG_ON(LAB_MAX_DRIVES * QNVME_QUEUE_RAM_SIZE(LAB_QUEUE_DEPTH) >
                  1 * MiB);

/*
 * Where a drive itself has its CMB: an address that no test gives to a drive.
 * Else the drive would serve its own BAR itself, and no IOMMU would be asked.
 */
#define OWN_CMB (UINT64_C(1) << 46)

#define FAULT_RETRY_US 100000

/* QEMU lets a device go some time after it has told that it is deleted. */
#define PLUG_TRIES    100
#define PLUG_RETRY_US 50000

static const char *const ids[LAB_MAX_DRIVES] = {
    "drive0", "drive1", "drive2", "drive3",
};

char *lab_host(unsigned drive)
{
    g_auto(GStrv) hosts = g_strsplit(g_getenv("P2P_LAB_DRIVES") ?: "", " ", 0);

    return drive < g_strv_length(hosts) ? g_strdup(hosts[drive]) : NULL;
}

/* @ports: as in LabMachine; the caller frees the text. */
static char *command_line(const char *options, const char *const *properties,
                          unsigned n, bool ports)
{
    GString *line = g_string_new(NULL);

    g_assert_cmpuint(n, <=, LAB_MAX_DRIVES);
    g_string_printf(line, "-machine q35 -nodefaults -m %u %s",
                    (unsigned)(LAB_RAM_SIZE / MiB), options);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *host = lab_host(i);

        if (ports) {
            g_string_append_printf(line, " -device pcie-root-port,id=port%u,"
                                   "chassis=%u,addr=%u", i, i + 1,
                                   LAB_FIRST_SLOT + i);
        }
        if (!properties[i]) {
            continue;
        }
        g_assert_nonnull(host);
        g_string_append_printf(line, " -device vfio-pci,host=%s,id=%s,", host,
                               ids[i]);
        if (ports) {
            g_string_append_printf(line, "bus=port%u", i);
        } else {
            g_string_append_printf(line, "addr=%u", LAB_FIRST_SLOT + i);
        }
        g_string_append_printf(line, "%s%s", *properties[i] ? "," : "",
                               properties[i]);
    }
    return g_string_free(line, FALSE);
}

char *lab_command_line(const char *options, const char *const *properties,
                       unsigned n)
{
    return command_line(options, properties, n, false);
}

/* @ram: what it has, or NULL */
static LabMachine *machine_new(const char *options,
                               const char *const *properties, unsigned n,
                               bool ports, const SharedRam *ram)
{
    g_autofree char *line = command_line(options, properties, n, ports);
    LabMachine *machine = g_new0(LabMachine, 1);

    machine->qts = qtest_init(line);
    machine->ports = ports;
    if (ram) {
        machine->ram = *ram;
    }
    for (unsigned i = 0; i < LAB_MAX_DRIVES; i++) {
        LabDrive *drive = &machine->drive[i];

        drive->id = ids[i];
        drive->host = lab_host(i);
        drive->pci = (GuestPci) {
            .qts = machine->qts,
            .bus = ports ? i + 1 : 0,
            .devfn = ports ? 0 : (LAB_FIRST_SLOT + i) << 3,
        };
        drive->port = (LAB_FIRST_SLOT + i) << 3;
        drive->cmb = (P2PGuestAddr) { LAB_CMB + i * GiB };
    }
    return machine;
}

LabMachine *lab_machine_new(const char *options,
                            const char *const *properties, unsigned n)
{
    return machine_new(options, properties, n, false, NULL);
}

LabMachine *lab_machine_new_with_ports(const char *options,
                                       const char *const *properties,
                                       unsigned n)
{
    g_autofree char *ram_options = NULL;
    g_autofree char *all = NULL;
    SharedRam ram;

    shared_ram_new(&ram, LAB_RAM_SIZE);
    ram_options = shared_ram_options(&ram);
    /* Unless ACPI leaves the slots alone, the root ports refuse to unplug. */
    all = g_strjoin(" ", "-machine memory-backend=ram", ram_options,
                    "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                    options, NULL);
    return machine_new(all, properties, n, true, &ram);
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
        g_free(machine->drive[i].queue);
        g_free(machine->drive[i].host);
    }
    qtest_quit(machine->qts);
    if (machine->ram.hva) {
        shared_ram_free(&machine->ram);
    }
    g_free(machine);
}

/* Commands for which the drive is rung once */
static void start_queue(LabMachine *machine, unsigned i)
{
    LabDrive *drive = &machine->drive[i];
    uint64_t ram = QUEUE_RAM + i * QNVME_QUEUE_RAM_SIZE(LAB_QUEUE_DEPTH);
    g_autoptr(GError) error = NULL;

    drive->queue = qnvme_queue_new(drive->nvme, (P2PGuestAddr) { ram },
                                   machine->ram.hva + ram, LAB_QUEUE_DEPTH,
                                   &error);
    g_assert_no_error(error);
}

void lab_drive_start(LabMachine *machine, unsigned i)
{
    LabDrive *drive = &machine->drive[i];
    uint64_t ram = DRIVER_RAM + i * QNVME_RAM_SIZE;
    g_autoptr(GError) error = NULL;
    QNvmeCmb cmb;

    if (machine->ports) {
        lab_port_open(machine, i, (P2PGuestAddr) { LAB_REGISTERS });
    }
    guest_pci_bar_map(&drive->pci, LAB_CMB_BAR, drive->cmb);
    drive->nvme = qnvme_new(&drive->pci,
                            (P2PGuestAddr) { LAB_REGISTERS + i * MiB },
                            (P2PGuestAddr) { ram }, &error);
    g_assert_no_error(error);
    if (machine->ram.hva) {
        qnvme_map_ram(drive->nvme, machine->ram.hva + ram);
        start_queue(machine, i);
    }

    g_assert_cmpint(qnvme_cmb_enable(drive->nvme, (P2PBusAddr) { OWN_CMB },
                                     &cmb), ==, 0);
    g_assert_cmpuint(cmb.bar, ==, LAB_CMB_BAR);
    g_assert_cmpuint(cmb.offset, ==, 0);
    drive->cmb_size = cmb.size;
}

void lab_drive_stop(LabMachine *machine, unsigned i)
{
    LabDrive *drive = &machine->drive[i];

    qnvme_forget(drive->nvme);
    drive->nvme = NULL;
    g_free(drive->queue);
    drive->queue = NULL;
}

/* --- Root ports ----------------------------------------------------------- */

GuestPci lab_port(const LabMachine *machine, unsigned i)
{
    g_assert_true(machine->ports);
    return (GuestPci) {
        .qts = machine->qts,
        .devfn = machine->drive[i].port,
    };
}

void lab_port_open(const LabMachine *machine, unsigned i, P2PGuestAddr first)
{
    GuestPci port = lab_port(machine, i);
    GuestPciWindow shut = { .size = 0 };
    GuestPciWindow window = { .gpa = first, .size = LAB_END - first.gpa };

    guest_pci_bridge_open(&port, machine->drive[i].pci.bus, &shut, &window);
}

/* PCIe 6.0, 7.5.3.10: power and its indicator are controlled separately. */
void lab_slot_power(const LabMachine *machine, unsigned i, bool on)
{
    GuestPci port = lab_port(machine, i);
    uint8_t at = guest_pci_capability(&port, PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL;
    uint16_t control = guest_pci_readw(&port, at) &
                       ~(PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_PCC);

    guest_pci_writew(&port, at, control |
                     (on ? PCI_EXP_SLTCTL_PWR_IND_ON | PCI_EXP_SLTCTL_PWR_ON
                         : PCI_EXP_SLTCTL_PWR_IND_OFF |
                           PCI_EXP_SLTCTL_PWR_OFF));
}

void lab_eject(LabMachine *machine, unsigned i)
{
    lab_slot_power(machine, i, false);
    /* The port's own event has no device, nor has one of another device. */
    while (true) {
        g_autoptr(QDict) event = qtest_qmp_eventwait_ref(machine->qts,
                                                         "DEVICE_DELETED");
        const QDict *data = qdict_get_qdict(event, "data");

        if (!g_strcmp0(qdict_get_try_str(data, "device"),
                       machine->drive[i].id)) {
            break;
        }
    }
    lab_drive_stop(machine, i);
}

void lab_unplug(LabMachine *machine, unsigned i)
{
    qtest_qmp_device_del_send(machine->qts, machine->drive[i].id);
    lab_eject(machine, i);
}

static bool device_add(LabMachine *machine, unsigned i, const char *properties)
{
    g_auto(GStrv) pairs = g_strsplit(properties, ",", 0);
    g_autofree char *bus = g_strdup_printf("port%u", i);
    QDict *arguments = qdict_new();
    g_autoptr(QDict) reply = NULL;

    qdict_put_str(arguments, "driver", "vfio-pci");
    qdict_put_str(arguments, "id", machine->drive[i].id);
    qdict_put_str(arguments, "host", machine->drive[i].host);
    qdict_put_str(arguments, "bus", bus);
    for (unsigned p = 0; pairs[p]; p++) {
        g_auto(GStrv) pair = g_strsplit(pairs[p], "=", 2);

        g_assert_cmpuint(g_strv_length(pair), ==, 2);
        qdict_put_str(arguments, pair[0], pair[1]);
    }
    reply = qtest_qmp(machine->qts,
                      "{ 'execute': 'device_add', 'arguments': %p }",
                      QOBJECT(arguments));
    if (qdict_haskey(reply, "error")) {
        const QDict *error = qdict_get_qdict(reply, "error");

        g_test_message("device_add: %s", qdict_get_str(error, "desc"));
        return false;
    }
    return true;
}

void lab_plug(LabMachine *machine, unsigned i, const char *properties)
{
    for (unsigned n = 0; !device_add(machine, i, properties); n++) {
        g_assert_cmpuint(n, <, PLUG_TRIES);
        g_usleep(PLUG_RETRY_US);
    }
    lab_slot_power(machine, i, true);
}

/* --- Memory that must not be reached -------------------------------------- */

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
