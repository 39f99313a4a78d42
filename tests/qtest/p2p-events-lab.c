/*
 * What happens to windows, while transfers run: in the lab, on real VFIO
 *
 * Each event takes the window of one drive away from another one, or moves it,
 * and then everything is put back.  Each is tried on each back end of VFIO, on
 * the same machine, one after the other.  Afterwards the IOMMU is asked what is
 * left, by accesses; meanwhile a witness (vfio-witness.c) looks that nothing is
 * left too long.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mount.h>
#include "qemu/bswap.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-faults.h"
#include "lab-machine.h"
#include "lab-probe.h"
#include "lab-traffic.h"
#include "p2p-monitor.h"

/* What the drives are for; all are members of the group. */
enum {
    INITIATOR,
    TARGET,
    NEIGHBOUR,      /* its BARs are in the way */
    DRIVES,
};

/* Guest physical addresses, beside those of lab-machine.h */
#define ELSEWHERE  (100 * GiB)

/*
 * Commands of the traffic during which something happens, or is undone, and of
 * that which has to arrive.  tests/lab/events-test makes the disks so slow that
 * the first last longer than the event.
 */
#define MANY LAB_TRAFFIC_MAX
#define SOME 6
#define FEW  2

/*
 * VFIO takes a BAR's mapping away when INTx comes, and back some time later: an
 * interrupt is told to QEMU never so late, and the time-out is shorter.
 */
#define INTX_TRIES   1000
#define INTX_WAIT_US 10000
#define INTX_STEP_NS INT64_C(2000000000)

/* The kernel asks for a device that it is to lose every now and then. */
#define REMOVAL_TIMEOUT_S 60
#define REMOVAL_WAIT_US   10000

typedef struct Backend {
    const char *name;
    const char *options;    /* of the machine */
    const char *properties; /* of a drive */
    bool emulated;          /* iommufd takes the place of VFIO's container */
    bool brief;             /* like the one before, but for a few calls */
} Backend;

static const Backend backends[] = {
    { "type1", "", "" },
    { "iommufd", " -object iommufd,id=i0", ",iommufd=i0" },
    { "container", "", "", .emulated = true, .brief = true },
};

/* --- One machine for all cases of a back end ------------------------------ */

static LabMachine *machine;
static const Backend *machine_backend;

static char *member_properties(void)
{
    return g_strconcat("p2p-group=g0", machine_backend->properties, NULL);
}

static void machine_end(void)
{
    if (machine) {
        lab_machine_free(machine);
        machine = NULL;
        if (machine_backend->emulated) {
            g_assert_cmpint(umount("/dev/vfio/vfio"), ==, 0);
        }
    }
}

/* The initiator reaches the target, and nothing has been left out. */
static void expect_all(LabMachine *m)
{
    LabTraffic traffic;

    expect_state(m, TARGET, "mapped");
    expect_installed(m, TARGET, 0, INITIATOR, true);
    expect_installed(m, INITIATOR, 0, TARGET, true);
    expect_installed(m, NEIGHBOUR, 0, INITIATOR, true);
    g_assert_true(writes(m, INITIATOR, cmb(m, TARGET)));
    g_assert_true(reads(m, INITIATOR, cmb(m, TARGET)));
    g_assert_true(writes(m, TARGET, cmb(m, INITIATOR)));

    traffic = lab_traffic_start(m, INITIATOR, cmb(m, TARGET), FEW);
    lab_traffic_end(&traffic);
    g_assert_cmpint(traffic.status, ==, QNVME_SUCCESS);
    g_assert_true(lab_traffic_arrived(&traffic, cmb(m, TARGET)));
}

/* @properties: of each drive, or NULL */
static LabMachine *machine_start(const char *const *properties)
{
    g_autofree char *options = g_strconcat(
        "-m slots=1,maxmem=1G -object p2p-group,id=g0",
        machine_backend->options, NULL);
    LabMachine *m;

    if (machine_backend->emulated) {
        g_assert_cmpint(mount("/dev/iommu", "/dev/vfio/vfio", NULL, MS_BIND,
                              NULL), ==, 0);
    }
    m = lab_machine_new_with_ports(options, properties, DRIVES);
    for (unsigned i = 0; i < DRIVES; i++) {
        if (properties[i]) {
            lab_drive_start(m, i);
        }
    }
    return m;
}

static LabMachine *machine_for(const Backend *backend)
{
    if (machine_backend != backend) {
        machine_end();
        machine_backend = backend;
    }
    if (!machine) {
        g_autofree char *member = member_properties();
        const char *const properties[DRIVES] = { member, member, member };

        machine = machine_start(properties);
        expect_all(machine);
    }
    return machine;
}

static void place(LabMachine *m, unsigned drive, uint64_t gpa)
{
    guest_pci_bar_map(&m->drive[drive].pci, LAB_CMB_BAR,
                      (P2PGuestAddr) { gpa });
    m->drive[drive].cmb.gpa = gpa;
}

static void place_home(LabMachine *m, unsigned drive)
{
    place(m, drive, LAB_CMB + drive * GiB);
}

/* Decode of the target's memory */
static void decode(LabMachine *m, bool on)
{
    guest_pci_command(&m->drive[TARGET].pci, on ? PCI_COMMAND_MEMORY : 0,
                      on ? 0 : PCI_COMMAND_MEMORY);
}

static void restart(LabMachine *m, unsigned drive)
{
    lab_drive_stop(m, drive);
    lab_drive_start(m, drive);
}

static bool is_member(LabMachine *m, unsigned drive)
{
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, m->drive[drive].id);

    return member;
}

static bool installed(LabMachine *m)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, m->drive[TARGET].id,
                                                 LAB_CMB_BAR, 0);
    const QDict *grant = window ? p2p_monitor_grant(
        window, m->drive[INITIATOR].id) : NULL;

    return grant && qdict_get_bool(grant, "installed");
}

/* A number that query-p2p has of the initiator's grant */
static uint64_t count(LabMachine *m, const char *key)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, m->drive[TARGET].id,
                                                 LAB_CMB_BAR, 0);

    return p2p_monitor_uint(
        p2p_monitor_grant(window, m->drive[INITIATOR].id), key);
}

/* --- Events: the guest moves BARs ----------------------------------------- */

static void move(LabMachine *m)
{
    place(m, TARGET, ELSEWHERE);
}

static void move_back(LabMachine *m)
{
    place_home(m, TARGET);
}

static void move_often(LabMachine *m)
{
    for (unsigned i = 0; i < 8; i++) {
        place(m, TARGET, ELSEWHERE + (8 - i) * GiB);
    }
}

/* As firmware must not: while the BAR is decoded. */
static void size_while_decoded(LabMachine *m)
{
    const GuestPci *pci = &m->drive[TARGET].pci;
    uint8_t low = PCI_BASE_ADDRESS_0 + 4 * LAB_CMB_BAR;

    for (unsigned i = 0; i < 4; i++) {
        guest_pci_writel(pci, low, UINT32_MAX);
        guest_pci_writel(pci, low + 4, UINT32_MAX);
        guest_pci_readl(pci, low);
        guest_pci_readl(pci, low + 4);
        place(m, TARGET, ELSEWHERE + i * GiB);
    }
}

/* Which one is seen: that whose port was set up last. */
static void put_under_neighbour(LabMachine *m)
{
    lab_port_open(m, NEIGHBOUR, (P2PGuestAddr) { LAB_REGISTERS });
    place(m, TARGET, cmb(m, NEIGHBOUR));
}

static void put_over_neighbour(LabMachine *m)
{
    place(m, TARGET, cmb(m, NEIGHBOUR));
    lab_port_open(m, TARGET, (P2PGuestAddr) { LAB_REGISTERS });
    expect_installed(m, NEIGHBOUR, 0, INITIATOR, false);
    expect_state(m, NEIGHBOUR, "hidden");
}

/* The neighbour's registers, which nobody shares, in the window's middle */
static void put_registers_over(LabMachine *m)
{
    guest_pci_bar_map(&m->drive[NEIGHBOUR].pci, 0,
                      (P2PGuestAddr) { cmb(m, TARGET) + 4 * MiB });
    lab_port_open(m, NEIGHBOUR, (P2PGuestAddr) { LAB_REGISTERS });
}

static void put_registers_back(LabMachine *m)
{
    guest_pci_bar_map(&m->drive[NEIGHBOUR].pci, 0,
                      (P2PGuestAddr) { LAB_REGISTERS + NEIGHBOUR * MiB });
}

static void put_under_ram(LabMachine *m)
{
    lab_port_open(m, TARGET, (P2PGuestAddr) { 0 });
    place(m, TARGET, LAB_DATA);
}

static void out_of_ram(LabMachine *m)
{
    place_home(m, TARGET);
    lab_port_open(m, TARGET, (P2PGuestAddr) { LAB_REGISTERS });
}

static void shut_port(LabMachine *m)
{
    GuestPci port = lab_port(m, TARGET);
    GuestPciWindow shut = { .size = 0 };

    guest_pci_bridge_open(&port, m->drive[TARGET].pci.bus, &shut, &shut);
}

static void open_port(LabMachine *m)
{
    lab_port_open(m, TARGET, (P2PGuestAddr) { LAB_REGISTERS });
}

/* --- Events: the guest switches the device off ---------------------------- */

static void decode_off(LabMachine *m)
{
    decode(m, false);
}

static void decode_on(LabMachine *m)
{
    decode(m, true);
}

static void decode_often(LabMachine *m)
{
    for (unsigned i = 0; i < 8; i++) {
        decode(m, false);
        decode(m, true);
    }
    decode(m, false);
}

/* PCI Power Management 1.2, 3.2.4 */
static void power_state(LabMachine *m, unsigned state)
{
    const GuestPci *pci = &m->drive[TARGET].pci;
    uint8_t at = guest_pci_capability(pci, PCI_CAP_ID_PM);

    g_assert_cmpuint(at, !=, 0);
    guest_pci_writew(pci, at + PCI_PM_CTRL, state);
    g_assert_cmpuint(guest_pci_readw(pci, at + PCI_PM_CTRL) &
                     PCI_PM_CTRL_STATE_MASK, ==, state);
}

static void power_d3(LabMachine *m)
{
    power_state(m, 3);
}

static void power_d0(LabMachine *m)
{
    power_state(m, 0);
}

static void intx_begin(LabMachine *m)
{
    g_autofree char *why = NULL;

    qnvme_allow_intx(m->drive[TARGET].nvme, true);
    for (unsigned i = 0; !why; i++) {
        g_assert_cmpuint(i, <, INTX_TRIES);
        command(m, TARGET, QNVME_READ, 0, LAB_DATA);
        g_usleep(INTX_WAIT_US);
        why = grant_reason(m, TARGET, INITIATOR);
    }
    g_assert_nonnull(strstr(why, "INTx"));
    g_assert_nonnull(strstr(why, "MSI"));
}

static void intx_end(LabMachine *m)
{
    qnvme_allow_intx(m->drive[TARGET].nvme, false);
    for (unsigned i = 0; !installed(m); i++) {
        g_assert_cmpuint(i, <, INTX_TRIES);
        qtest_clock_step(m->qts, INTX_STEP_NS);
    }
}

/* --- Events: resets ------------------------------------------------------- */

/* PCIe 6.0, 7.5.3.4 */
static void function_level_reset(LabMachine *m, unsigned drive)
{
    const GuestPci *pci = &m->drive[drive].pci;
    uint8_t at = guest_pci_capability(pci, PCI_CAP_ID_EXP);
    uint16_t control;

    g_assert_cmpuint(at, !=, 0);
    control = guest_pci_readw(pci, at + PCI_EXP_DEVCTL);
    guest_pci_writew(pci, at + PCI_EXP_DEVCTL,
                     control | PCI_EXP_DEVCTL_BCR_FLR);
}

/* It was out meanwhile, even if nobody can have seen that. */
static void flr(LabMachine *m)
{
    uint64_t maps = count(m, "maps");
    uint64_t unmaps = count(m, "unmaps");

    function_level_reset(m, TARGET);
    g_assert_cmpuint(count(m, "maps"), ==, maps + 1);
    g_assert_cmpuint(count(m, "unmaps"), ==, unmaps + 1);
}

static void flr_while_off(LabMachine *m)
{
    decode(m, false);
    function_level_reset(m, TARGET);
}

static void flr_initiator(LabMachine *m)
{
    function_level_reset(m, INITIATOR);
    restart(m, INITIATOR);
}

static void nothing(LabMachine *m)
{
}

static void restart_target(LabMachine *m)
{
    restart(m, TARGET);
}

static void bus_reset(LabMachine *m)
{
    GuestPci port = lab_port(m, TARGET);

    guest_pci_writew(&port, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET);
}

static void bus_reset_end(LabMachine *m)
{
    GuestPci port = lab_port(m, TARGET);

    guest_pci_writew(&port, PCI_BRIDGE_CONTROL, 0);
    restart(m, TARGET);
}

static void system_reset(LabMachine *m)
{
    qtest_system_reset(m->qts);
    restart(m, INITIATOR);
    restart(m, NEIGHBOUR);
}

/* --- Events: devices come and go ------------------------------------------ */

static void plug_member(LabMachine *m, unsigned drive)
{
    g_autofree char *member = member_properties();

    lab_plug(m, drive, member);
    lab_drive_start(m, drive);
}

static void unplug_target(LabMachine *m)
{
    lab_unplug(m, TARGET);
    g_assert_false(is_member(m, TARGET));
}

static void plug_target(LabMachine *m)
{
    plug_member(m, TARGET);
}

/* It comes back as a stranger, which must not have what it had. */
static void unplug_initiator(LabMachine *m)
{
    const char *properties = machine_backend->properties;

    lab_unplug(m, INITIATOR);
    g_assert_false(is_member(m, INITIATOR));
    lab_plug(m, INITIATOR, *properties ? properties + 1 : properties);
    lab_drive_start(m, INITIATOR);
}

static void plug_initiator(LabMachine *m)
{
    lab_unplug(m, INITIATOR);
    plug_member(m, INITIATOR);
}

static void host_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
    close(fd);
}

/* The kernel waits until QEMU has let the device go. */
static gpointer host_removes(gpointer path)
{
    host_write(path, "1");
    return NULL;
}

static void wait_for_attention(LabMachine *m, unsigned drive)
{
    GuestPci port = lab_port(m, drive);
    uint8_t at = guest_pci_capability(&port, PCI_CAP_ID_EXP);
    gint64 end = g_get_monotonic_time() + REMOVAL_TIMEOUT_S * G_USEC_PER_SEC;

    while (!(guest_pci_readw(&port, at + PCI_EXP_SLTSTA) &
             PCI_EXP_SLTSTA_ABP)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(REMOVAL_WAIT_US);
    }
}

static void remove_target_on_host(LabMachine *m)
{
    g_autofree char *path = g_strdup_printf("/sys/bus/pci/devices/%s/remove",
                                            m->drive[TARGET].host);
    GThread *thread = g_thread_new("remove", host_removes, path);

    wait_for_attention(m, TARGET);
    lab_eject(m, TARGET);
    g_thread_join(thread);
    g_assert_false(is_member(m, TARGET));
}

static void find_target_on_host(LabMachine *m)
{
    const char *host = m->drive[TARGET].host;
    g_autofree char *override = g_strdup_printf(
        "/sys/bus/pci/devices/%s/driver_override", host);

    host_write("/sys/bus/pci/drivers_autoprobe", "0");
    host_write("/sys/bus/pci/rescan", "1");
    host_write("/sys/bus/pci/drivers_autoprobe", "1");
    host_write(override, "vfio-pci");
    host_write("/sys/bus/pci/drivers_probe", host);
    plug_member(m, TARGET);
}

/* --- Events: the user changes what is shared ------------------------------ */

static void unshare_all(LabMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare', "
                             "  'arguments': { 'device': %s, 'bar': %u } }",
                             m->drive[TARGET].id, LAB_CMB_BAR);
}

static void share_all(LabMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share', "
                             "  'arguments': { 'device': %s, 'bar': %u } }",
                             m->drive[TARGET].id, LAB_CMB_BAR);
}

/* --- All events ----------------------------------------------------------- */

typedef enum After {
    GONE,           /* the initiator reaches the window nowhere */
    MOVED,          /* it does at its new place, not at the old one */
    STAYS,          /* the window is back at once */
} After;

typedef struct Event {
    const char *name;
    void (*happen)(LabMachine *m);
    void (*undo)(LabMachine *m);
    After after;
    const char *state;  /* of the window; NULL: there is none */
    bool seen;          /* the guest's processors see the BAR at cmb() */
    /*
     * The initiator is reset.  The lab's drives do not survive a reset while
     * transfers of their own wait for a peer: another drive's go on.
     */
    bool initiator;
    bool all;           /* All drives are reset: there is no traffic. */
    bool brief;         /* also for back ends that are like another one */
} Event;

static const Event events[] = {
    { "move", move, move_back, MOVED, "mapped", .seen = true, .brief = true },
    { "move-often", move_often, move_back, MOVED, "mapped", .seen = true },
    { "size-while-decoded", size_while_decoded, move_back, MOVED, "mapped",
      .seen = true },
    { "under-neighbour", put_under_neighbour, move_back, GONE, "hidden" },
    { "over-neighbour", put_over_neighbour, move_back, MOVED, "mapped",
      .seen = true },
    { "under-registers", put_registers_over, put_registers_back, GONE,
      "hidden" },
    { "under-ram", put_under_ram, out_of_ram, GONE, "hidden" },
    { "shut-port", shut_port, open_port, GONE, "hidden" },
    { "decode-off", decode_off, decode_on, GONE, "unmapped", .brief = true },
    { "decode-often", decode_often, decode_on, GONE, "unmapped" },
    { "d3", power_d3, power_d0, GONE, "unmapped" },
    { "intx", intx_begin, intx_end, GONE, "hidden", .seen = true },
    { "flr", flr, restart_target, STAYS, "mapped", .brief = true },
    { "flr-while-off", flr_while_off, restart_target, GONE, "unmapped" },
    { "flr-initiator", flr_initiator, nothing, STAYS, "mapped",
      .seen = true, .initiator = true },
    { "bus-reset", bus_reset, bus_reset_end, GONE, "unmapped" },
    { "system-reset", system_reset, restart_target, GONE, "unmapped",
      .all = true },
    { "unshare", unshare_all, share_all, GONE, NULL, .seen = true },
    { "unplug-target", unplug_target, plug_target, GONE, NULL, .brief = true },
    { "unplug-initiator", unplug_initiator, plug_initiator, GONE, "mapped",
      .seen = true, .initiator = true },
    { "host-removes-target", remove_target_on_host, find_target_on_host, GONE,
      NULL },
};

typedef struct Case {
    const Backend *backend;
    const Event *event;
} Case;

/* Faults of the initiator anywhere in the window's old place */
static unsigned faults_at(LabMachine *m, LabFaults from, uint64_t old)
{
    DmarAccess access = {
        .bdf = m->drive[INITIATOR].host, .first = { old },
        .size = LAB_TRAFFIC_MAX * LAB_TRAFFIC_PIECE,
    };
    unsigned n = lab_faults_count(from, &access);

    access.write = true;
    return n + lab_faults_count(from, &access);
}

/* What is under way now must not arrive any more, and must come to an end. */
static void expect_traffic_stops(LabMachine *m, const Event *event,
                                 LabTraffic *traffic)
{
    LabFaults from = lab_faults_from_now();
    unsigned under_way = lab_traffic_poll(traffic);

    if (event->seen) {
        lab_traffic_mark(traffic, cmb(m, TARGET));
    }
    lab_traffic_end(traffic);
    if (event->seen) {
        g_assert_true(lab_traffic_marked(traffic, cmb(m, TARGET)));
    }
    g_test_message("%s: %u of %u commands were under way", event->name,
                   under_way, traffic->commands);
    /* They take turns: each of them has something left to move. */
    if (under_way == traffic->commands) {
        g_assert_cmpuint(faults_at(m, from, traffic->bus), >, 0);
    }
}

static void expect_nothing_at(LabMachine *m, uint64_t old)
{
    expect_fault(m, INITIATOR, QNVME_READ, old);
    expect_fault(m, INITIATOR, QNVME_WRITE, old + m->drive[TARGET].cmb_size -
                                            PROBE_SIZE);
    g_assert_true(writes(m, INITIATOR, LAB_DATA));
}

static void expect_after(LabMachine *m, const Event *event, uint64_t old)
{
    g_assert_cmpint(installed(m), ==, event->after != GONE);
    if (event->state) {
        expect_state(m, TARGET, event->state);
    }
    if (event->after != STAYS) {
        expect_nothing_at(m, old);
    }
    if (event->after != STAYS && is_member(m, INITIATOR)) {
        int ret = translate(m, INITIATOR, old, PROBE_SIZE, P2P_VEC_WRITE);

        /* A window that is away is told from one that is no more. */
        if (event->state && cmb(m, TARGET) == old) {
            g_assert_cmpint(ret, ==, -ESTALE);
        } else {
            g_assert_cmpint(ret, <, 0);
        }
    }
    if (event->after == MOVED) {
        g_assert_true(writes(m, INITIATOR, cmb(m, TARGET)));
        g_assert_true(reads(m, INITIATOR, cmb(m, TARGET)));
    }
    if (event->after != STAYS && event->seen) {
        g_assert_false(writes_at(m, INITIATOR, old, cmb(m, TARGET)));
        g_assert_false(reads_at(m, INITIATOR, old, cmb(m, TARGET)));
    }
}

/* Of another initiator, whom the event must not disturb. */
static void expect_traffic_goes_on(LabMachine *m, LabTraffic *traffic)
{
    lab_traffic_end(traffic);
    g_assert_cmpint(traffic->status, ==, QNVME_SUCCESS);
    g_assert_true(lab_traffic_arrived(traffic, cmb(m, TARGET)));
}

static void test_event(const void *opaque)
{
    const Case *c = opaque;
    const Event *event = c->event;
    LabMachine *m = machine_for(c->backend);
    unsigned mover = event->initiator ? NEIGHBOUR : INITIATOR;
    uint64_t old = cmb(m, TARGET);
    LabTraffic traffic = lab_traffic_start(m, mover, old, MANY);

    if (event->all) {
        lab_traffic_end(&traffic);
    }
    event->happen(m);
    if (event->initiator) {
        expect_traffic_goes_on(m, &traffic);
    } else if (event->after == STAYS) {
        lab_traffic_end(&traffic);
    } else {
        expect_traffic_stops(m, event, &traffic);
    }
    expect_after(m, event, old);

    traffic = lab_traffic_start(m, mover, old, SOME);
    event->undo(m);
    if (event->initiator) {
        expect_traffic_goes_on(m, &traffic);
    } else {
        lab_traffic_end(&traffic);
    }
    g_assert_cmphex(cmb(m, TARGET), ==, old);
    expect_all(m);
}

/* --- Enumeration ---------------------------------------------------------- */

/*
 * Firmware and kernel size and place each BAR, some of them several times; that
 * costs one call for where the BAR is in the end.
 */
static void test_enumeration(const void *backend)
{
    LabMachine *m = machine_for(backend);
    const GuestPci *pci = &m->drive[TARGET].pci;
    uint64_t maps, unmaps;

    maps = count(m, "maps");
    unmaps = count(m, "unmaps");

    decode(m, false);
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(guest_pci_bar_size(pci, LAB_CMB_BAR), ==,
                        m->drive[TARGET].cmb_size);
        place(m, TARGET, ELSEWHERE + i * GiB);
    }
    g_assert_cmpuint(count(m, "maps"), ==, maps);
    decode(m, true);
    g_assert_cmpuint(count(m, "maps"), ==, maps + 1);
    g_assert_cmpuint(count(m, "unmaps"), ==, unmaps + 1);
    expect_installed(m, TARGET, 0, INITIATOR, true);

    /* A 64-bit BAR is two registers, of which each write is a move. */
    for (unsigned i = 0; i < 8; i++) {
        place(m, TARGET, ELSEWHERE + i * 32 * MiB);
    }
    place_home(m, TARGET);
    g_assert_cmpuint(count(m, "maps"), <=, maps + 1 + 9 * 2);
    g_assert_cmpuint(count(m, "failures"), ==, 0);
    expect_all(m);
}

/* --- Memory is plugged ---------------------------------------------------- */

#define DIMM_SIZE (16 * MiB)

/* docs/specs/acpi_mem_hotplug.rst */
#define MEMORY_SLOT  0xa00
#define MEMORY_FLAGS 0xa14
#define MEMORY_EJECT 8

static uint64_t dimm_address(LabMachine *m)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts,
                                       "{ 'execute': 'query-memory-devices' }");
    const QListEntry *e = qlist_first(qdict_get_qlist(reply, "return"));
    const QDict *dimm = qobject_to(QDict, e->value);

    return p2p_monitor_uint(qdict_get_qdict(dimm, "data"), "addr");
}

static void test_memory(const void *backend)
{
    LabMachine *m = machine_for(backend);
    LabTraffic traffic = lab_traffic_start(m, INITIATOR, cmb(m, TARGET), SOME);
    uint64_t gpa;

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'object-add', 'arguments':"
                             "  { 'qom-type': 'memory-backend-ram',"
                             "    'id': 'ram1', 'size': %" PRIu64 " } }",
                             (uint64_t)DIMM_SIZE);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', 'arguments':"
                             "  { 'driver': 'pc-dimm', 'id': 'dimm1',"
                             "    'memdev': 'ram1' } }");
    gpa = dimm_address(m);
    lab_traffic_end(&traffic);
    g_assert_cmpint(traffic.status, ==, QNVME_SUCCESS);
    g_assert_true(lab_traffic_arrived(&traffic, cmb(m, TARGET)));
    g_assert_true(writes(m, INITIATOR, gpa));
    g_assert_true(reads(m, TARGET, gpa + DIMM_SIZE - PROBE_SIZE));
    expect_all(m);

    traffic = lab_traffic_start(m, INITIATOR, gpa, SOME);
    qtest_qmp_device_del_send(m->qts, "dimm1");
    qtest_outl(m->qts, MEMORY_SLOT, 0);
    qtest_outb(m->qts, MEMORY_FLAGS, MEMORY_EJECT);
    qtest_qmp_eventwait(m->qts, "DEVICE_DELETED");
    lab_traffic_end(&traffic);
    expect_nothing_at(m, gpa);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'ram1' } }");
    expect_all(m);
}

/* --- Sharing at run time -------------------------------------------------- */

static void share_range(LabMachine *m, uint64_t offset, uint64_t size,
                        const char *access)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share', 'arguments': {"
                             "  'device': %s, 'bar': %u, 'access': %s,"
                             "  'offset': %" PRIu64 ", 'size': %" PRIu64 " } }",
                             m->drive[TARGET].id, LAB_CMB_BAR, access, offset,
                             size);
}

static void unshare_range(LabMachine *m, uint64_t offset, uint64_t size)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare',"
                             "  'arguments': { 'device': %s, 'bar': %u,"
                             "  'offset': %" PRIu64 ", 'size': %" PRIu64 " } }",
                             m->drive[TARGET].id, LAB_CMB_BAR, offset, size);
}

/* Ranges and rights change beside a window in use, and under it. */
static void test_ranges(const void *backend)
{
    LabMachine *m = machine_for(backend);
    uint64_t base = cmb(m, TARGET);
    uint64_t more = base + 8 * MiB;
    LabTraffic traffic;

    unshare_all(m);
    share_range(m, 0, 4 * MiB, "rw");
    traffic = lab_traffic_start(m, INITIATOR, base, SOME);
    for (unsigned i = 0; i < 4; i++) {
        share_range(m, 8 * MiB, 8 * KiB, "rw");
        expect_installed(m, TARGET, 8 * MiB, INITIATOR, true);
        unshare_range(m, 8 * MiB, 8 * KiB);
        share_range(m, 8 * MiB, 8 * KiB, "ro");
        expect_installed(m, TARGET, 8 * MiB, INITIATOR, true);
        unshare_range(m, 8 * MiB, 8 * KiB);
    }
    share_range(m, 4 * MiB, 4 * MiB, "rw");
    lab_traffic_end(&traffic);
    g_assert_cmpint(traffic.status, ==, QNVME_SUCCESS);
    g_assert_true(lab_traffic_arrived(&traffic, base));

    /* Three windows beside each other, and behind them nothing. */
    share_range(m, 8 * MiB, 8 * KiB, "ro");
    g_assert_true(writes(m, INITIATOR, more - PROBE_SIZE));
    g_assert_false(writes(m, INITIATOR, more));
    g_assert_true(reads(m, INITIATOR, more));
    g_assert_false(reads(m, INITIATOR, more + 8 * KiB));
    expect_fault(m, INITIATOR, QNVME_WRITE, more + 8 * KiB);

    /* The one in the middle goes. */
    traffic = lab_traffic_start(m, INITIATOR, base + 4 * MiB, SOME);
    unshare_range(m, 4 * MiB, 4 * MiB);
    lab_traffic_mark(&traffic, base + 4 * MiB);
    lab_traffic_end(&traffic);
    g_assert_true(lab_traffic_marked(&traffic, base + 4 * MiB));
    g_assert_true(writes(m, INITIATOR, base + 4 * MiB - PROBE_SIZE));
    g_assert_false(writes(m, INITIATOR, base + 4 * MiB));
    g_assert_false(reads(m, INITIATOR, more - PROBE_SIZE));
    g_assert_true(reads(m, INITIATOR, more));

    /* From read and write to read only */
    traffic = lab_traffic_start(m, INITIATOR, base, SOME);
    unshare_range(m, 0, 4 * MiB);
    share_range(m, 0, 4 * MiB, "ro");
    lab_traffic_mark(&traffic, base);
    lab_traffic_end(&traffic);
    g_assert_true(lab_traffic_marked(&traffic, base));
    g_assert_false(writes(m, INITIATOR, base));
    g_assert_true(reads(m, INITIATOR, base));

    unshare_all(m);
    share_all(m);
    expect_all(m);
}

/*
 * The registers' BAR has the MSI-X table in its middle, which nobody may share:
 * a drive that could write it would raise other interrupts.
 */
static void test_registers(const void *backend)
{
    LabMachine *m = machine_for(backend);
    const GuestPci *pci = &m->drive[TARGET].pci;
    uint8_t msix = guest_pci_capability(pci, PCI_CAP_ID_MSIX);
    uint32_t table = guest_pci_readl(pci, msix + PCI_MSIX_TABLE);
    uint64_t gpa = guest_pci_bar_address(pci, 0).gpa;
    uint64_t capabilities = qtest_readq(m->qts, gpa);
    g_autoptr(QDict) member = NULL;
    unsigned windows = 0;
    const QListEntry *w;
    uint64_t seen;

    g_assert_cmpuint(table & PCI_MSIX_TABLE_BIR, ==, 0);
    table &= PCI_MSIX_TABLE_OFFSET;
    g_assert_cmpuint(table, >, 0);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share', 'arguments':"
                             "  { 'device': %s, 'bar': 0, 'access': 'ro' } }",
                             m->drive[TARGET].id);
    member = p2p_monitor_member(m->qts, m->drive[TARGET].id);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(member, "windows"), w) {
        const QDict *window = qobject_to(QDict, w->value);
        uint64_t offset = p2p_monitor_uint(window, "offset");
        uint64_t size = p2p_monitor_uint(window, "size");
        const QDict *grant;

        if (qdict_get_int(window, "bar") == 0) {
            grant = p2p_monitor_grant(window, m->drive[INITIATOR].id);
            g_assert_true(qdict_get_bool(grant, "installed"));
            g_assert_true(offset + size <= table || offset > table);
            windows++;
        }
    }
    g_assert_cmpuint(windows, >=, 1);

    command(m, INITIATOR, QNVME_WRITE, PROBE_SCRATCH_LBA, gpa);
    g_assert_cmpint(command(m, INITIATOR, QNVME_READ, PROBE_SCRATCH_LBA,
                            LAB_DATA), ==, QNVME_SUCCESS);
    qtest_memread(m->qts, LAB_DATA, &seen, sizeof(seen));
    g_assert_cmphex(le64_to_cpu(seen), ==, capabilities);
    expect_fault(m, INITIATOR, QNVME_WRITE, gpa + table);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare', 'arguments':"
                             "  { 'device': %s, 'bar': 0 } }",
                             m->drive[TARGET].id);
    expect_fault(m, INITIATOR, QNVME_WRITE, gpa);
    expect_all(m);
}

/* --- Where no window can be ----------------------------------------------- */

/* Bits of an address that the lab's IOMMU translates */
static unsigned iommu_width(void)
{
    g_autofree char *text = NULL;

    /* Intel VT-d 4.1, 11.4.2: the maximum guest address width, less one */
    g_assert_true(g_file_get_contents(
        "/sys/class/iommu/dmar0/intel-iommu/cap", &text, NULL, NULL));
    return (g_ascii_strtoull(text, NULL, 16) >> 16 & 0x3f) + 1;
}

static void test_beyond_width(const void *backend)
{
    LabMachine *m = machine_for(backend);
    uint64_t limit = UINT64_C(1) << iommu_width();
    uint64_t last = limit - m->drive[TARGET].cmb_size;
    g_autofree char *first_text = g_strdup_printf("0x%" PRIx64, limit);
    g_autofree char *limit_text = g_strdup_printf("0x%" PRIx64, limit - 1);
    g_autofree char *why = NULL;
    uint64_t old = cmb(m, TARGET);
    LabTraffic traffic = lab_traffic_start(m, INITIATOR, old, SOME);

    place(m, TARGET, limit);
    lab_traffic_end(&traffic);
    expect_state(m, TARGET, "mapped");
    expect_installed(m, TARGET, 0, INITIATOR, false);
    why = grant_reason(m, TARGET, INITIATOR);
    g_test_message("%s", why);
    g_assert_nonnull(strstr(why, first_text));
    g_assert_nonnull(strstr(why, limit_text));
    expect_nothing_at(m, old);
    expect_nothing_at(m, limit);
    g_assert_cmpint(translate(m, INITIATOR, limit, PROBE_SIZE, P2P_VEC_READ),
                    ==, -EACCES);
    g_assert_true(writes(m, INITIATOR, cmb(m, NEIGHBOUR)));

    place(m, TARGET, last);
    expect_installed(m, TARGET, 0, INITIATOR, true);
    g_assert_true(writes(m, INITIATOR, last));
    place_home(m, TARGET);
    expect_all(m);
}

/* Where interrupts are raised, host and guest have no memory. */
static void test_reserved(const void *backend)
{
    LabMachine *m = machine_for(backend);
    uint64_t old = cmb(m, TARGET);

    lab_port_open(m, TARGET, (P2PGuestAddr) { 0x80000000 });
    place(m, TARGET, 0xfe000000);
    expect_state(m, TARGET, "hidden");
    expect_installed(m, TARGET, 0, INITIATOR, false);
    expect_nothing_at(m, old);
    expect_fault(m, INITIATOR, QNVME_READ, cmb(m, TARGET));

    /* The part below them is fine. */
    unshare_all(m);
    share_range(m, 0, 4 * MiB, "rw");
    expect_state(m, TARGET, "mapped");
    expect_installed(m, TARGET, 0, INITIATOR, true);
    g_assert_true(writes(m, INITIATOR, cmb(m, TARGET)));
    unshare_all(m);
    share_all(m);

    out_of_ram(m);
    expect_all(m);
}

/* --- What is refused ------------------------------------------------------ */

/* A kernel that cannot give a BAR to iommufd */
static void test_no_dma_buf(void)
{
    const Backend *backend = &backends[1];
    g_autofree char *require = g_strconcat(
        "-object p2p-group,id=g0,policy=require", backend->options, NULL);
    const char *properties[DRIVES] = { NULL };
    g_autofree char *messages = NULL;
    g_autofree char *member = NULL;
    g_autofree char *why = NULL;
    LabMachine *m;

    machine_end();
    machine_backend = backend;
    member = member_properties();
    properties[INITIATOR] = properties[TARGET] = member;

    g_setenv("VFIO_WITNESS_NO_DMA_BUF", "1", true);
    messages = lab_machine_refused(require, properties, DRIVES);
    machine = m = machine_start(properties);
    g_unsetenv("VFIO_WITNESS_NO_DMA_BUF");

    expect_state(m, TARGET, "mapped");
    expect_installed(m, TARGET, 0, INITIATOR, false);
    why = grant_reason(m, TARGET, INITIATOR);
    g_test_message("%s", why);
    g_assert_nonnull(strstr(why, "Linux 6.19"));
    g_assert_nonnull(strstr(why, "leave iommufd= out"));
    g_assert_nonnull(strstr(messages, "drive1: p2p-group 'g0' has "
                                      "policy=require"));
    g_assert_nonnull(strstr(messages, "Linux 6.19"));

    expect_fault(m, INITIATOR, QNVME_READ, cmb(m, TARGET));
    expect_fault(m, INITIATOR, QNVME_WRITE, cmb(m, TARGET));
    g_assert_cmpint(translate(m, INITIATOR, cmb(m, TARGET), PROBE_SIZE,
                              P2P_VEC_READ), ==, -EACCES);
    g_assert_true(writes(m, INITIATOR, LAB_DATA));
    g_assert_true(reads(m, TARGET, LAB_DATA));
    machine_end();
}

static void test_group_in_use(const void *backend)
{
    LabMachine *m = machine_for(backend);
    LabTraffic traffic = lab_traffic_start(m, INITIATOR, cmb(m, TARGET), SOME);
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        m->qts, "{ 'execute': 'object-del', 'arguments': { 'id': 'g0' } }");

    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "in use"));
    lab_traffic_end(&traffic);
    g_assert_cmpint(traffic.status, ==, QNVME_SUCCESS);
    expect_all(m);
}

/* --- The power of a drive is cut ------------------------------------------ */

/* The slot control register of the lab's port above a drive, as a file */
static int host_slot(const char *host, off_t *control)
{
    g_autofree char *link = g_strdup_printf("/sys/bus/pci/devices/%s", host);
    g_autofree char *device = realpath(link, NULL);
    g_autofree char *port = g_path_get_dirname(device);
    g_autofree char *path = g_build_filename(port, "config", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t at = PCI_CAPABILITY_LIST;
    uint8_t head[2];

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, &at, 1, at), ==, 1);
    while (true) {
        g_assert_cmpuint(at, !=, 0);
        g_assert_cmpint(pread(fd, head, 2, at), ==, 2);
        if (head[0] == PCI_CAP_ID_EXP) {
            *control = at + PCI_EXP_SLTCTL;
            return fd;
        }
        at = head[1];
    }
}

/*
 * Off and on again: an empty slot with power is what surprises Linux.  It is
 * not told in between, for a slot without power it expects to be empty.
 */
static void cut_power(const char *host)
{
    uint16_t on, off;
    off_t control;
    int fd = host_slot(host, &control);

    g_assert_cmpint(pread(fd, &on, 2, control), ==, 2);
    off = le16_to_cpu(on) & ~(PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_HPIE);
    off = cpu_to_le16(off | PCI_EXP_SLTCTL_PWR_IND_OFF |
                      PCI_EXP_SLTCTL_PWR_OFF);
    g_assert_cmpint(pwrite(fd, &off, 2, control), ==, 2);
    g_assert_cmpint(pwrite(fd, &on, 2, control), ==, 2);
    close(fd);
}

static void wait_for_absence(const char *host)
{
    g_autofree char *path = g_strdup_printf("/sys/bus/pci/devices/%s", host);
    gint64 end = g_get_monotonic_time() + REMOVAL_TIMEOUT_S * G_USEC_PER_SEC;

    while (g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(REMOVAL_WAIT_US);
    }
}

/*
 * A drive of the lab vanishes, and never comes back: each back end has one to
 * lose.  The kernel tells QEMU, QEMU asks the guest.
 */
static void test_power_cut(const Backend *backend, unsigned victim)
{
    const char *properties[DRIVES] = { NULL };
    g_autofree char *member = NULL;
    LabTraffic traffic;
    LabMachine *m;
    uint64_t old;

    machine_end();
    machine_backend = backend;
    member = member_properties();
    properties[INITIATOR] = properties[victim] = member;
    machine = m = machine_start(properties);
    old = cmb(m, victim);
    g_assert_true(writes(m, INITIATOR, old));

    traffic = lab_traffic_start(m, INITIATOR, old, MANY);
    cut_power(m->drive[victim].host);
    lab_traffic_end(&traffic);
    /* Whatever it reads: it goes on. */
    qtest_readl(m->qts, old);
    wait_for_attention(m, victim);
    traffic = lab_traffic_start(m, INITIATOR, old, MANY);
    lab_eject(m, victim);
    lab_traffic_end(&traffic);
    g_assert_false(is_member(m, victim));
    wait_for_absence(m->drive[victim].host);

    expect_fault(m, INITIATOR, QNVME_READ, old);
    expect_fault(m, INITIATOR, QNVME_WRITE, old);
    g_assert_true(writes(m, INITIATOR, LAB_DATA));
}

static void test_power_cut_type1(void)
{
    test_power_cut(&backends[0], NEIGHBOUR);
}

static void test_power_cut_iommufd(void)
{
    test_power_cut(&backends[1], TARGET);
}

/* --- All cases ------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*test)(const void *backend);
} others[] = {
    { "enumeration", test_enumeration },
    { "memory", test_memory },
    { "ranges", test_ranges },
    { "registers", test_registers },
    { "beyond-width", test_beyond_width },
    { "reserved", test_reserved },
    { "group-in-use", test_group_in_use },
};

static void add_cases(const Backend *backend)
{
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        if (!backend->brief || events[i].brief) {
            g_autofree char *path = g_strdup_printf(
                "p2p/lab/%s/%s", backend->name, events[i].name);
            Case *c = g_new(Case, 1);

            *c = (Case) { backend, &events[i] };
            qtest_add_data_func_full(path, c, test_event, g_free);
        }
    }
    for (unsigned i = 0; !backend->brief && i < ARRAY_SIZE(others); i++) {
        g_autofree char *path = g_strdup_printf("p2p/lab/%s/%s", backend->name,
                                                others[i].name);

        qtest_add_data_func(path, backend, others[i].test);
    }
}

/* With the argument "layout": what may depend on the lab's layout. */
int main(int argc, char **argv)
{
    g_autofree char *last = lab_host(DRIVES - 1);
    g_autofree char *folder = NULL;
    g_autofree char *witness = NULL;    /* see vfio-witness.c */
    bool layout;
    int ret;

    g_test_init(&argc, &argv, NULL);
    if (!last) {
        g_printerr("%s: run me in the lab, with three drives\n", argv[0]);
        return 1;
    }

    layout = argc > 1 && g_str_equal(argv[1], "layout");
    folder = g_path_get_dirname(argv[0]);
    witness = g_build_filename(folder, "vfio-witness.so", NULL);
    g_assert_true(g_file_test(witness, G_FILE_TEST_EXISTS));
    g_setenv("LD_PRELOAD", witness, true);
    for (unsigned b = 0; b < ARRAY_SIZE(backends); b++) {
        if (!layout || !backends[b].brief) {
            add_cases(&backends[b]);
        }
    }
    if (!layout) {
        qtest_add_func("p2p/lab/old-kernel/no-dma-buf", test_no_dma_buf);
        qtest_add_func("p2p/lab/power-cut/type1", test_power_cut_type1);
        qtest_add_func("p2p/lab/power-cut/iommufd", test_power_cut_iommufd);
    }
    ret = g_test_run();
    machine_end();
    return ret;
}
