/*
 * A machine with a p2p-group: one target, and an emulated device with a disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/memfd.h"
#include "qapi/error.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "tests/qtest/libqos/libqos-pc.h"
#include "p2p-monitor.h"
#include "peer-machine.h"

static char *bar2_path(PeerMachine *m)
{
    return g_strdup_printf("/proc/%d/fd/%d", getpid(), m->fd);
}

void peer_machine_plug(PeerMachine *m)
{
    g_autofree char *slot = g_strdup_printf("%u", PEER_SLOT);
    g_autofree char *file = bar2_path(m);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'p2p-testdev', 'id': 't0', 'addr': %s, "
        "'size': %" PRIu64 ", 'file': %s, 'p2p-group': 'g0', "
        "'p2p-share': 'bar2+bar4' } }", slot, (uint64_t)PEER_SIZE, file);
}

void peer_machine_place(PeerMachine *m)
{
    guest_pci_bar_map(&m->target, 0, (P2PGuestAddr) { PEER_REGISTERS });
    guest_pci_bar_map(&m->target, 2, (P2PGuestAddr) { PEER_BAR2 });
    guest_pci_bar_map(&m->target, 4, (P2PGuestAddr) { PEER_BAR4 });
    guest_pci_command(&m->target, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

static PeerMachine *machine_start(const char *machine, const DriveKind *kind,
                                  const char *group, const char *target,
                                  const char *options)
{
    PeerMachine *m = g_new0(PeerMachine, 1);
    g_autofree char *ram = NULL;
    g_autofree char *file = NULL;

    shared_ram_new(&m->ram, PEER_RAM_SIZE);
    ram = shared_ram_options(&m->ram);
    m->bar2 = qemu_memfd_alloc("p2p-bar2", PEER_SIZE, 0, &m->fd, &error_abort);
    file = bar2_path(m);
    m->qos = qtest_pc_boot("-machine %s,memory-backend=ram %s -nodefaults "
                           "-object p2p-group,id=g0%s "
                           "-device p2p-testdev,id=t0,addr=%u,size=%" PRIu64
                           ",file=%s,p2p-group=g0,%s %s %s",
                           machine, ram, group, PEER_SLOT, (uint64_t)PEER_SIZE,
                           file, target, options, kind->options);
    m->qts = m->qos->qts;
    m->target = (GuestPci) { .qts = m->qts, .devfn = PEER_SLOT << 3 };
    return m;
}

PeerMachine *peer_machine_new(const char *machine, const DriveKind *kind,
                              const char *group, const char *options)
{
    PeerMachine *m = machine_start(machine, kind, group,
                                   "p2p-share=bar2+bar4", options);

    peer_machine_place(m);
    m->drive = drive_start(kind, m->qos, &m->ram);
    return m;
}

PeerMachine *peer_machine_incoming(const char *machine, const DriveKind *kind,
                                   const char *group, const char *target,
                                   const char *options)
{
    g_autofree char *incoming = g_strdup_printf("-incoming defer %s", options);

    return machine_start(machine, kind, group, target, incoming);
}

void peer_machine_move(PeerMachine *from, PeerMachine *to)
{
    to->drive = g_steal_pointer(&from->drive);
    drive_move(to->drive, to->qos, &to->ram);
}

void peer_machine_end(PeerMachine *m)
{
    if (m->drive) {
        drive_end(m->drive);
    }
    qtest_shutdown(m->qos);
    shared_ram_free(&m->ram);
    qemu_memfd_free(m->bar2, PEER_SIZE, m->fd);
    g_free(m);
}

uint64_t peer_machine_requests(PeerMachine *m, int bar, const char *path)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "t0", bar, 0);
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(window, "traffic"), e) {
        const QDict *traffic = qobject_to(QDict, e->value);

        if (g_str_equal(qdict_get_str(traffic, "data-path"), path)) {
            return p2p_monitor_uint(traffic, "requests");
        }
    }
    return 0;
}

char *peer_machine_data_path(PeerMachine *m)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "t0", 2, 0);
    const QDict *grant = p2p_monitor_grant(window, DRIVE_ID);
    QList *drives = qdict_get_qlist(grant, "drives");
    const QDict *drive, *read;

    g_assert_nonnull(drives);
    g_assert_cmpuint(qlist_size(drives), ==, 1);
    drive = qobject_to(QDict, qlist_peek(drives));
    g_assert_cmpstr(qdict_get_str(drive, "drive"), ==, DRIVE_NODE);
    read = qdict_get_qdict(drive, "read");
    g_assert_cmpstr(qdict_get_str(read, "reason"), !=, "");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(drive, "write"),
                                  "data-path"), ==, "bounce");
    return g_strdup(qdict_get_str(read, "data-path"));
}
