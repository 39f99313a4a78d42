/*
 * Windows in the aperture of a p2p-bridge: in the lab, on real VFIO
 *
 * A drive reads and writes the CMB of another one at the address that it has in
 * the aperture.  Each event takes the window away while such transfers run, in
 * all the ways that there are; the IOMMU is asked what is left, by accesses.
 * Then everything is put back.  On one machine for each back end of VFIO.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-bridge.h"
#include "lab-faults.h"
#include "lab-probe.h"
#include "lab-traffic.h"
#include "p2p-monitor.h"

/* For the target's CMB: only the register's upper half is another one. */
#define ELSEWHERE          (LAB_CMB + TARGET * GiB + 32 * GiB)
#define APERTURE_ELSEWHERE (256 * GiB)

/* Commands that last longer than an event, if disks are slow; and few. */
#define MANY LAB_TRAFFIC_MAX
#define FEW  2

/* --- One machine for all cases of a back end ----------------------------- */

static LabBridge *lab;
static uint32_t window;     /* the target's CMB, in slot 0 */

static void machine_end(void)
{
    g_clear_pointer(&lab, lab_bridge_free);
}

static uint64_t aperture(uint64_t offset)
{
    return lab->b.aperture + offset;
}

static uint32_t share(unsigned drive, uint64_t offset, uint64_t size,
                      uint32_t access)
{
    return bridge_ok(bridge_share(&lab->b, lab_bridge_rid(lab, drive),
                                  LAB_CMB_BAR, offset, size, access));
}

static uint32_t show(unsigned drive, uint64_t offset, uint64_t size,
                     uint32_t access, unsigned slot)
{
    uint32_t shown = share(drive, offset, size, access);
    uint64_t at = bridge_ok(bridge_attach(&lab->b, shown, slot));

    g_assert_cmphex(at, ==, slot * BRIDGE_SLOT);
    return shown;
}

static void show_target(void)
{
    window = show(TARGET, 0, lab->m->drive[TARGET].cmb_size,
                  P2P_BRIDGE_ACCESS_RW, 0);
}

static void take_away(uint32_t shown)
{
    bridge_ok(bridge_detach(&lab->b, shown));
    bridge_ok(bridge_unshare(&lab->b, shown));
}

/* --- What a window is ---------------------------------------------------- */

/* What query-p2p says of the window at @at of the aperture. */
static void expect_told(uint64_t at, unsigned drive, uint64_t offset,
                        uint64_t size)
{
    g_autoptr(QDict) told = p2p_monitor_window(lab->m->qts, LAB_BRIDGE_ID,
                                               P2P_BRIDGE_BAR_APERTURE, at);
    const QDict *source, *grant;

    g_assert_nonnull(told);
    g_assert_cmpuint(p2p_monitor_uint(told, "size"), ==, size);
    g_assert_cmpstr(qdict_get_str(told, "state"), ==, "mapped");
    g_assert_cmphex(p2p_monitor_uint(told, "gpa"), ==, aperture(at));
    source = qdict_get_qdict(told, "source");
    g_assert_cmpstr(qdict_get_str(source, "target"), ==,
                    lab->m->drive[drive].id);
    g_assert_cmpuint(qdict_get_int(source, "bar"), ==, LAB_CMB_BAR);
    g_assert_cmpuint(p2p_monitor_uint(source, "offset"), ==, offset);
    for (unsigned i = 0; i < LAB_BRIDGE_DRIVES; i++) {
        if (i != drive) {
            grant = p2p_monitor_grant(told, lab->m->drive[i].id);
            g_assert_nonnull(grant);
            g_assert_true(qdict_get_bool(grant, "installed"));
            g_assert_cmpuint(p2p_monitor_uint(grant, "maps"), >=, 1);
            g_assert_cmpuint(p2p_monitor_uint(grant, "maps"), ==,
                             p2p_monitor_uint(grant, "unmaps") + 1);
            g_assert_cmpuint(p2p_monitor_uint(grant, "failures"), ==, 0);
        }
    }
}

static void expect_not_told(uint64_t at)
{
    g_autoptr(QDict) told = p2p_monitor_window(lab->m->qts, LAB_BRIDGE_ID,
                                               P2P_BRIDGE_BAR_APERTURE, at);

    g_assert_null(told);
}

/* Both have the same bytes for the CPU. */
static void expect_same(uint64_t a, uint64_t b)
{
    uint8_t at_a[PROBE_SIZE], at_b[PROBE_SIZE];

    lab_pattern(probe_seed(), at_a, PROBE_SIZE);
    qtest_bufwrite(lab->m->qts, a, at_a, PROBE_SIZE);
    qtest_bufread(lab->m->qts, b, at_b, PROBE_SIZE);
    g_assert_cmpmem(at_a, PROBE_SIZE, at_b, PROBE_SIZE);
    lab_pattern(probe_seed(), at_b, PROBE_SIZE);
    qtest_bufwrite(lab->m->qts, b, at_b, PROBE_SIZE);
    qtest_bufread(lab->m->qts, a, at_a, PROBE_SIZE);
    g_assert_cmpmem(at_a, PROBE_SIZE, at_b, PROBE_SIZE);
}

/* @initiator and the CPU reach @drive's memory at @offset from @at on. */
static void expect_shown(unsigned initiator, uint64_t at, unsigned drive,
                         uint64_t offset, uint64_t size)
{
    uint64_t gpa = cmb(lab->m, drive) + offset;
    uint64_t last = size - PROBE_SIZE;

    g_assert_true(writes_at(lab->m, initiator, aperture(at), gpa));
    g_assert_true(reads_at(lab->m, initiator, aperture(at), gpa));
    g_assert_true(writes_at(lab->m, initiator, aperture(at) + last,
                            gpa + last));
    g_assert_true(reads_at(lab->m, initiator, aperture(at) + last,
                           gpa + last));
    expect_same(aperture(at), gpa);
    expect_same(aperture(at) + last, gpa + last);
    g_assert_cmpint(translate(lab->m, initiator, aperture(at), size,
                              P2P_VEC_WRITE), ==, 0);
}

static bool aperture_is_there(void)
{
    GuestPci pci = lab_bridge_pci(lab);

    return (guest_pci_readw(&pci, PCI_COMMAND) & PCI_COMMAND_MEMORY) &&
           guest_pci_bar_address(&pci, P2P_BRIDGE_BAR_APERTURE).gpa ==
           lab->b.aperture;
}

/* No drive and no CPU reaches anything in @size bytes from @at on. */
static void expect_nothing(uint64_t at, uint64_t size)
{
    uint64_t last = aperture(at) + size - PROBE_SIZE;

    expect_fault(lab->m, INITIATOR, QNVME_READ, aperture(at));
    expect_fault(lab->m, INITIATOR, QNVME_WRITE, last);
    expect_fault(lab->m, NEIGHBOUR, QNVME_READ, last);
    if (aperture_is_there()) {
        g_assert_cmphex(qtest_readq(lab->m->qts, aperture(at)), ==,
                        UINT64_MAX);
        g_assert_cmphex(qtest_readq(lab->m->qts, last), ==, UINT64_MAX);
    }
    g_assert_cmpint(translate(lab->m, INITIATOR, last, PROBE_SIZE,
                              P2P_VEC_READ), <, 0);
    g_assert_true(writes(lab->m, INITIATOR, LAB_DATA));
}

static void expect_all(void)
{
    uint64_t size = lab->m->drive[TARGET].cmb_size;
    LabTraffic traffic;

    g_assert_cmpuint(bridge_state(&lab->b, window), ==,
                     P2P_BRIDGE_STATE_ATTACHED);
    expect_told(0, TARGET, 0, size);
    expect_shown(INITIATOR, 0, TARGET, 0, size);
    expect_shown(NEIGHBOUR, 0, TARGET, 0, size);
    g_assert_true(writes(lab->m, INITIATOR, cmb(lab->m, TARGET)));

    traffic = lab_traffic_start(lab->m, INITIATOR, aperture(0), FEW);
    lab_traffic_end(&traffic);
    g_assert_cmpint(traffic.status, ==, QNVME_SUCCESS);
    g_assert_true(lab_traffic_arrived(&traffic, cmb(lab->m, TARGET)));
}

static void machine_for(const LabBackend *backend)
{
    if (lab && lab->backend != backend) {
        machine_end();
    }
    if (!lab) {
        lab = lab_bridge_new(backend, "", "", LAB_BRIDGE_DRIVES);
        lab_bridge_start(lab, 0);
        expect_fault(lab->m, INITIATOR, QNVME_READ, aperture(0));
        show_target();
        expect_all();
    }
}

/* --- Events: the driver -------------------------------------------------- */

static void detach(void)
{
    bridge_ok(bridge_detach(&lab->b, window));
    g_assert_cmpuint(bridge_state(&lab->b, window), ==,
                     P2P_BRIDGE_STATE_SHARED);
}

static void attach(void)
{
    bridge_ok(bridge_attach(&lab->b, window, 0));
}

static void reset_bridge(void)
{
    bridge_reset(&lab->b);
}

static void start_bridge(void)
{
    lab_bridge_start(lab, 0);
    show_target();
}

static void flr_bridge(void)
{
    GuestPci pci = lab_bridge_pci(lab);

    lab_flr(&pci);
}

static void place_bridge(void)
{
    bridge_place(&lab->b);
    start_bridge();
}

static void aperture_off(void)
{
    GuestPci pci = lab_bridge_pci(lab);

    guest_pci_command(&pci, 0, PCI_COMMAND_MEMORY);
}

static void aperture_on(void)
{
    GuestPci pci = lab_bridge_pci(lab);

    guest_pci_command(&pci, PCI_COMMAND_MEMORY, 0);
}

static void aperture_moves(void)
{
    GuestPci pci = lab_bridge_pci(lab);

    guest_pci_bar_map(&pci, P2P_BRIDGE_BAR_APERTURE,
                      (P2PGuestAddr) { APERTURE_ELSEWHERE });
}

static void aperture_moves_back(void)
{
    GuestPci pci = lab_bridge_pci(lab);
    uint64_t home = lab->b.aperture;

    lab->b.aperture = APERTURE_ELSEWHERE;
    expect_all();
    lab->b.aperture = home;
    guest_pci_bar_map(&pci, P2P_BRIDGE_BAR_APERTURE, (P2PGuestAddr) { home });
}

/* --- Events: the host wants it back -------------------------------------- */

static void unshare_begins(void)
{
    BridgeEvent e;

    qtest_qmp_send(lab->m->qts, "{ 'execute': 'p2p-unshare', 'arguments': {"
                   "  'device': %s, 'bar': %u } }", lab->m->drive[TARGET].id,
                   LAB_CMB_BAR);
    e = bridge_wait_event_of(&lab->b, P2P_BRIDGE_EVENT_REVOKE);
    g_assert_cmphex(e.window, ==, window);
    g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_REVOKE_UNSHARED);
    g_assert_cmpuint(bridge_state(&lab->b, window), ==,
                     P2P_BRIDGE_STATE_REVOKING);
    /* Whoever has it may still use it. */
    g_assert_true(writes_at(lab->m, NEIGHBOUR, aperture(0),
                            cmb(lab->m, TARGET)));
}

static void unshare_ends(void)
{
    g_autoptr(QDict) reply = qtest_qmp_receive(lab->m->qts);

    g_assert_true(qdict_haskey(reply, "return"));
}

static void unshare_acknowledged(void)
{
    unshare_begins();
    bridge_ok(bridge_acknowledge(&lab->b, window));
    unshare_ends();
}

static void unshare_detached(void)
{
    unshare_begins();
    bridge_ok(bridge_detach(&lab->b, window));
    unshare_ends();
}

static void unshare_times_out(void)
{
    unshare_begins();
    lab_bridge_milliseconds(lab, LAB_BRIDGE_REVOKE_MS - 1);
    g_assert_cmpuint(bridge_state(&lab->b, window), ==,
                     P2P_BRIDGE_STATE_REVOKING);
    g_assert_true(writes_at(lab->m, NEIGHBOUR, aperture(0),
                            cmb(lab->m, TARGET)));
    lab_bridge_milliseconds(lab, 1);
    unshare_ends();
}

static void share_again(void)
{
    qtest_qmp_assert_success(lab->m->qts, "{ 'execute': 'p2p-share', "
                             "  'arguments': { 'device': %s, 'bar': %u } }",
                             lab->m->drive[TARGET].id, LAB_CMB_BAR);
}

/* --- Events: the target -------------------------------------------------- */

static void decode_off(void)
{
    lab_decode(lab, TARGET, false);
}

static void decode_on(void)
{
    lab_decode(lab, TARGET, true);
}

/* The window of the host is back before the driver can have been told. */
static void decode_off_and_on(void)
{
    decode_off();
    decode_on();
}

static void nothing(void)
{
}

static void power_d3(void)
{
    lab_power_state(lab, TARGET, 3);
}

static void power_d0(void)
{
    lab_power_state(lab, TARGET, 0);
}

static void move(void)
{
    lab_place(lab, TARGET, ELSEWHERE);
}

static void move_back(void)
{
    lab_place_home(lab, TARGET);
}

static void flr(void)
{
    lab_flr(&lab->m->drive[TARGET].pci);
}

static void restart_target(void)
{
    lab_restart(lab, TARGET);
}

static void bus_reset(void)
{
    GuestPci port = lab_port(lab->m, TARGET);

    guest_pci_writew(&port, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET);
}

static void bus_reset_ends(void)
{
    GuestPci port = lab_port(lab->m, TARGET);

    guest_pci_writew(&port, PCI_BRIDGE_CONTROL, 0);
    restart_target();
}

static void unplug(void)
{
    lab_bridge_unplug(lab, TARGET);
}

static void plug(void)
{
    lab_bridge_plug(lab, TARGET);
}

/* --- Events: everything -------------------------------------------------- */

static void system_reset(void)
{
    qtest_system_reset(lab->m->qts);
    lab_restart(lab, INITIATOR);
    lab_restart(lab, NEIGHBOUR);
}

static void system_starts(void)
{
    restart_target();
    place_bridge();
}

/* --- All events ---------------------------------------------------------- */

typedef enum After {
    REVOKED,        /* the driver is told, and makes the window anew */
    GONE,           /* the driver did it itself */
    HIDDEN,         /* still attached, but the aperture is not where it was */
} After;

typedef struct Event {
    const char *name;
    void (*happen)(void);
    void (*undo)(void);
    After after;
    unsigned reason;    /* if revoked */
    bool seen;          /* the guest's processors see the BAR at cmb() */
    bool all;           /* All drives are reset: there is no traffic. */
} Event;

static const Event events[] = {
    { "detach", detach, attach, GONE, .seen = true },
    { "reset", reset_bridge, start_bridge, GONE, .seen = true },
    { "flr-of-bridge", flr_bridge, place_bridge, GONE, .seen = true },
    { "aperture-off", aperture_off, aperture_on, HIDDEN, .seen = true },
    { "aperture-moves", aperture_moves, aperture_moves_back, HIDDEN,
      .seen = true },
    { "unshare-acknowledged", unshare_acknowledged, share_again, REVOKED,
      P2P_BRIDGE_REVOKE_ACKNOWLEDGED, .seen = true },
    { "unshare-detached", unshare_detached, share_again, REVOKED,
      P2P_BRIDGE_REVOKE_ACKNOWLEDGED, .seen = true },
    { "unshare-times-out", unshare_times_out, share_again, REVOKED,
      P2P_BRIDGE_REVOKE_TIMEOUT, .seen = true },
    { "decode-off", decode_off, decode_on, REVOKED,
      P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "decode-off-and-on", decode_off_and_on, nothing, REVOKED,
      P2P_BRIDGE_REVOKE_NOT_DECODED, .seen = true },
    { "d3", power_d3, power_d0, REVOKED, P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "flr", flr, restart_target, REVOKED, P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "bus-reset", bus_reset, bus_reset_ends, REVOKED,
      P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "move", move, move_back, REVOKED, P2P_BRIDGE_REVOKE_MOVED,
      .seen = true },
    { "unplug", unplug, plug, REVOKED, P2P_BRIDGE_REVOKE_GONE },
    { "system-reset", system_reset, system_starts, GONE, .all = true },
};

typedef struct Case {
    const LabBackend *backend;
    const Event *event;
} Case;

/* Faults of the initiator where the traffic goes */
static unsigned faults_of(LabFaults from, const LabTraffic *traffic)
{
    DmarAccess access = {
        .bdf = lab->m->drive[INITIATOR].host, .first = { traffic->bus },
        .size = LAB_TRAFFIC_MAX * LAB_TRAFFIC_PIECE,
    };
    unsigned n = lab_faults_count(from, &access);

    access.write = true;
    return n + lab_faults_count(from, &access);
}

/* What is under way now must not arrive any more, and must come to an end. */
static void expect_traffic_stops(const Event *event, LabTraffic *traffic)
{
    LabFaults from = lab_faults_from_now();
    unsigned under_way = lab_traffic_poll(traffic);

    if (event->seen) {
        lab_traffic_mark(traffic, cmb(lab->m, TARGET));
    }
    lab_traffic_end(traffic);
    if (event->seen) {
        g_assert_true(lab_traffic_marked(traffic, cmb(lab->m, TARGET)));
    }
    g_test_message("%s: %u of %u commands were under way", event->name,
                   under_way, traffic->commands);
    /* They take turns: each of them has something left to move. */
    if (under_way == traffic->commands) {
        g_assert_cmpuint(faults_of(from, traffic), >, 0);
    }
}

static void expect_revoked(const Event *event)
{
    BridgeEvent e = bridge_wait_event_of(&lab->b, P2P_BRIDGE_EVENT_REVOKED);
    BridgeRecord r = bridge_record(&lab->b, window);

    g_assert_cmphex(e.window, ==, window);
    g_assert_cmpuint(e.reason, ==, event->reason);
    g_assert_cmpuint(r.state, ==, P2P_BRIDGE_STATE_REVOKED);
    g_assert_cmpuint(r.reason, ==, event->reason);
    bridge_expect(bridge_attach(&lab->b, window, 0), P2P_BRIDGE_REVOKED);
}

/* Reads and writes through the place where the window was */
static void expect_after(const Event *event)
{
    uint64_t size = lab->m->drive[TARGET].cmb_size;

    expect_nothing(0, size);
    if (event->after != HIDDEN) {
        expect_not_told(0);
    }
    if (event->seen) {
        g_assert_false(writes_at(lab->m, INITIATOR, aperture(0),
                                 cmb(lab->m, TARGET)));
        g_assert_false(reads_at(lab->m, INITIATOR, aperture(0),
                                cmb(lab->m, TARGET)));
    }
}

static void test_event(const void *opaque)
{
    const Case *c = opaque;
    const Event *event = c->event;
    LabTraffic traffic;

    machine_for(c->backend);
    bridge_drop_events(&lab->b);
    traffic = lab_traffic_start(lab->m, INITIATOR, aperture(0), MANY);
    if (event->all) {
        lab_traffic_end(&traffic);
    }
    event->happen();
    if (!event->all) {
        expect_traffic_stops(event, &traffic);
    }
    if (event->after == REVOKED) {
        expect_revoked(event);
    }
    expect_after(event);

    event->undo();
    if (event->after == REVOKED) {
        /* It does not come back by itself. */
        expect_nothing(0, lab->m->drive[TARGET].cmb_size);
        bridge_ok(bridge_unshare(&lab->b, window));
        show_target();
    }
    expect_all();
}

/* --- Each byte ----------------------------------------------------------- */

#define LARGE (256 * KiB)

/* The first @len bytes of @gpa */
static uint8_t *memory(uint64_t gpa, size_t len)
{
    uint8_t *data = g_malloc(len);

    qtest_bufread(lab->m->qts, gpa, data, len);
    return data;
}

/* One command whose pages are in two windows, by turns, and odd places */
static unsigned scatter(P2PBusVec *vec, uint64_t a, uint64_t b)
{
    unsigned n = LARGE / PROBE_SIZE;

    for (unsigned i = 0; i < n; i++) {
        vec[i] = (P2PBusVec) {
            .addr = { (i % 2 ? b : a) + (uint64_t)(n - 1 - i) * PROBE_SIZE },
            .len = PROBE_SIZE,
        };
    }
    return n;
}

static void test_bytes(const void *backend)
{
    g_autofree P2PBusVec *vec = g_new(P2PBusVec, LARGE / PROBE_SIZE);
    g_autofree uint8_t *disk = g_malloc(LARGE);
    P2PBusVec whole = { .addr = { LAB_DATA }, .len = LARGE };
    g_autofree uint8_t *a = NULL, *b = NULL, *ram = NULL;
    uint64_t gpa_a, gpa_b;
    uint32_t second;
    QNvme *nvme;
    unsigned n;

    machine_for(backend);
    nvme = lab->m->drive[INITIATOR].nvme;
    second = show(NEIGHBOUR, 3 * MiB, LARGE, P2P_BRIDGE_ACCESS_RW, 20);
    n = scatter(vec, aperture(0), aperture(20 * BRIDGE_SLOT));
    gpa_a = cmb(lab->m, TARGET);
    gpa_b = cmb(lab->m, NEIGHBOUR) + 3 * MiB;
    qtest_memset(lab->m->qts, gpa_a, 0x55, LARGE);
    qtest_memset(lab->m->qts, gpa_b, 0x55, LARGE);

    /* From the disk into both windows: each byte, and none beside them */
    g_assert_cmpint(qnvme_io(nvme, QNVME_READ, 16, vec, n), ==,
                    QNVME_SUCCESS);
    a = memory(gpa_a, LARGE);
    b = memory(gpa_b, LARGE);
    lab_disk_words(INITIATOR, 16 * LAB_BLOCK, disk, LARGE);
    for (unsigned i = 0; i < n; i++) {
        size_t at = (n - 1 - i) * PROBE_SIZE;
        uint8_t *hit = (i % 2 ? b : a) + at, *other = (i % 2 ? a : b) + at;

        g_assert_cmpmem(hit, PROBE_SIZE, disk + i * PROBE_SIZE, PROBE_SIZE);
        for (unsigned j = 0; j < PROBE_SIZE; j++) {
            g_assert_cmphex(other[j], ==, 0x55);
        }
    }

    /* And from both windows onto the disk */
    lab_pattern(probe_seed(), disk, LARGE);
    for (unsigned i = 0; i < n; i++) {
        qtest_bufwrite(lab->m->qts, vec[i].addr.bus, disk + i * PROBE_SIZE,
                       PROBE_SIZE);
    }
    g_assert_cmpint(qnvme_io(nvme, QNVME_WRITE, PROBE_SCRATCH_LBA, vec, n), ==,
                    QNVME_SUCCESS);
    g_assert_cmpint(qnvme_io(nvme, QNVME_READ, PROBE_SCRATCH_LBA, &whole, 1),
                    ==, QNVME_SUCCESS);
    ram = memory(LAB_DATA, LARGE);
    g_assert_cmpmem(ram, LARGE, disk, LARGE);
    take_away(second);
    expect_all();
}

/* --- Ranges and rights --------------------------------------------------- */

static void test_ranges(const void *backend)
{
    enum { MIDDLE = 10, READ_ONLY = 12, OTHER = 13 };
    uint64_t middle = MIDDLE * BRIDGE_SLOT;
    uint64_t ro = READ_ONLY * BRIDGE_SLOT;
    uint64_t other = OTHER * BRIDGE_SLOT;
    uint64_t page = PROBE_SIZE;
    uint32_t shown[3];

    machine_for(backend);
    shown[0] = show(TARGET, MiB + page, 3 * MiB, P2P_BRIDGE_ACCESS_RW, MIDDLE);
    shown[1] = show(TARGET, 8 * MiB, 2 * page, P2P_BRIDGE_ACCESS_RO,
                    READ_ONLY);
    shown[2] = show(INITIATOR, 4 * page, page, P2P_BRIDGE_ACCESS_RW, OTHER);

    expect_shown(INITIATOR, middle, TARGET, MiB + page, 3 * MiB);
    expect_told(middle, TARGET, MiB + page, 3 * MiB);
    expect_nothing(middle + 3 * MiB, MiB);
    g_assert_cmpint(translate(lab->m, INITIATOR, aperture(middle),
                              3 * MiB + 1, P2P_VEC_READ), <, 0);

    g_assert_true(reads_at(lab->m, INITIATOR, aperture(ro) + page,
                           cmb(lab->m, TARGET) + 8 * MiB + page));
    g_assert_false(writes_at(lab->m, INITIATOR, aperture(ro),
                             cmb(lab->m, TARGET) + 8 * MiB));
    expect_fault(lab->m, INITIATOR, QNVME_READ, aperture(ro));
    g_assert_cmpint(translate(lab->m, INITIATOR, aperture(ro), page,
                              P2P_VEC_WRITE), ==, -EACCES);
    expect_nothing(ro + 2 * page, page);

    expect_shown(TARGET, other, INITIATOR, 4 * page, page);
    expect_shown(NEIGHBOUR, other, INITIATOR, 4 * page, page);

    take_away(shown[0]);
    expect_nothing(middle, 3 * MiB);
    expect_shown(TARGET, other, INITIATOR, 4 * page, page);
    take_away(shown[1]);
    take_away(shown[2]);
    expect_nothing(other, page);
    expect_all();
}

/* --- Who may ------------------------------------------------------------- */

/* A drive leaves the group, and comes back as nobody's member. */
static void test_stranger(const void *backend)
{
    const char *properties;

    machine_for(backend);
    properties = lab->backend->properties;
    lab_bridge_unplug(lab, INITIATOR);
    lab_plug(lab->m, INITIATOR, *properties ? properties + 1 : properties);
    lab_drive_start(lab->m, INITIATOR);
    expect_fault(lab->m, INITIATOR, QNVME_READ, aperture(0));
    expect_fault(lab->m, INITIATOR, QNVME_WRITE, aperture(0));
    expect_shown(NEIGHBOUR, 0, TARGET, 0, lab->m->drive[TARGET].cmb_size);

    lab_bridge_unplug(lab, INITIATOR);
    lab_bridge_plug(lab, INITIATOR);
    expect_all();
}

/* --- An aperture that the IOMMU cannot address --------------------------- */

static void test_beyond_width(const void *backend)
{
    GuestPci pci;
    uint64_t home;

    machine_for(backend);
    pci = lab_bridge_pci(lab);
    home = lab->b.aperture;
    lab->b.aperture = UINT64_C(1) << 48;
    guest_pci_bar_map(&pci, P2P_BRIDGE_BAR_APERTURE,
                      (P2PGuestAddr) { lab->b.aperture });
    expect_fault(lab->m, INITIATOR, QNVME_READ, home);
    expect_same(aperture(0), cmb(lab->m, TARGET));
    g_assert_cmpint(translate(lab->m, INITIATOR, aperture(0), PROBE_SIZE,
                              P2P_VEC_READ), ==, -EACCES);
    /* The driver can attach it all the same. */
    bridge_ok(bridge_detach(&lab->b, window));
    bridge_ok(bridge_attach(&lab->b, window, 0));
    g_assert_cmpint(translate(lab->m, INITIATOR, aperture(0), PROBE_SIZE,
                              P2P_VEC_READ), ==, -EACCES);

    lab->b.aperture = home;
    guest_pci_bar_map(&pci, P2P_BRIDGE_BAR_APERTURE, (P2PGuestAddr) { home });
    expect_all();
}

/* --- Below root ports there are no bus addresses ------------------------- */

static void test_no_switch(void)
{
    BridgeVec in = {
        .len = PROBE_SIZE, .flags = P2P_BRIDGE_VEC_READ,
    };
    BridgeCompletion done;
    BridgeVec out;

    machine_end();
    lab = lab_bridge_new(&lab_backends[0], ",bus-address=on", "",
                         LAB_BRIDGE_DRIVES);
    lab_bridge_start(lab, P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    in.addr = cmb(lab->m, TARGET);
    done = bridge_translate(&lab->b, lab_bridge_rid(lab, INITIATOR),
                            P2P_BRIDGE_KIND_BUS, &in, 1, &out, 1);
    bridge_expect(done, P2P_BRIDGE_BUS_REFUSED);
    g_assert_cmpuint(done.index, ==, 0);
    g_assert_cmpuint(done.reason, ==, P2P_BRIDGE_BUS_NO_SWITCH);
    machine_end();
}

/* --- All cases ----------------------------------------------------------- */

static const struct {
    const char *name;
    void (*test)(const void *backend);
} others[] = {
    { "bytes", test_bytes },
    { "ranges", test_ranges },
    { "stranger", test_stranger },
    { "beyond-width", test_beyond_width },
};

static void add_cases(const LabBackend *backend)
{
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        g_autofree char *path = g_strdup_printf(
            "p2p/lab/bridge/%s/%s", backend->name, events[i].name);
        Case *c = g_new(Case, 1);

        *c = (Case) { backend, &events[i] };
        qtest_add_data_func_full(path, c, test_event, g_free);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        g_autofree char *path = g_strdup_printf(
            "p2p/lab/bridge/%s/%s", backend->name, others[i].name);

        qtest_add_data_func(path, backend, others[i].test);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *last = lab_host(LAB_BRIDGE_DRIVES - 1);
    g_autofree char *folder = g_path_get_dirname(argv[0]);
    g_autofree char *witness = g_build_filename(folder, "vfio-witness.so",
                                                NULL);
    int ret;

    g_test_init(&argc, &argv, NULL);
    if (!last) {
        g_printerr("%s: run me in the lab, with three drives\n", argv[0]);
        return 1;
    }
    /* It aborts QEMU if a window is in an IOMMU for too long. */
    g_assert_true(g_file_test(witness, G_FILE_TEST_EXISTS));
    g_setenv("LD_PRELOAD", witness, true);
    for (const LabBackend *backend = lab_backends; backend->name; backend++) {
        add_cases(backend);
    }
    qtest_add_func("p2p/lab/bridge/no-switch", test_no_switch);
    ret = g_test_run();
    machine_end();
    return ret;
}
