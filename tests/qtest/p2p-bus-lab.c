/*
 * Bus addresses by a p2p-bridge: in the lab, on real VFIO, below a switch
 *
 * The lab's switch routes nothing by itself: an emulated device has one way to
 * memory, which is the IOMMU's.  So what is looked at is which addresses are
 * given, and when they are not, or not any more.  All drives are below one
 * switch; the last one is no drive of the virtual machine, and is taken off the
 * lab's bus, to come back as a stranger.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-bridge.h"
#include "lab-probe.h"
#include "p2p-monitor.h"

/* The lab's drive that is no drive of the machine's */
#define STRANGER LAB_BRIDGE_DRIVES

/* The host is looked at as often as this: see P2P_BUS_CHECK_MS. */
#define CHECK_MS 1000

/* More than it takes to notice and to lose patience, together */
#define LATER_MS (2 * CHECK_MS + 2 * LAB_BRIDGE_REVOKE_MS)

#define READ_WRITE (P2P_BRIDGE_VEC_READ | P2P_BRIDGE_VEC_WRITE)

/* An emulated member */
#define MODEL_SLOT 9
#define MODEL_CMB  (90 * GiB)
#define MODEL      "-device nvme,id=model,serial=model,cmb_size_mb=2," \
                   "addr=9.0,p2p-group=g0"

/* What QEMU has to say since it was started: a shell starts it. */
#define LOG    "/tmp/p2p-bus-lab-log"
#define TO_LOG " 2>" LOG

static LabBridge *lab;
static char *stranger;      /* address of the lab's drive */

/* --- The lab ------------------------------------------------------------- */

static char *host_file(const char *host, const char *name)
{
    return g_strdup_printf("/sys/bus/pci/devices/%s/%s", host, name);
}

/* Where a drive's CMB is on the lab's bus */
static uint64_t host_cmb(unsigned drive)
{
    g_autofree char *path = host_file(lab->m->drive[drive].host, "resource");
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    uint64_t address;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", 0);
    g_assert_cmpuint(g_strv_length(lines), >, LAB_CMB_BAR);
    address = g_ascii_strtoull(lines[LAB_CMB_BAR], NULL, 0);
    g_assert_cmphex(address, !=, 0);
    return address;
}

/* Registers of a function, which has a folder of this name; little-endian */
static void host_config(const char *folder, off_t at, void *data, size_t size,
                        bool write)
{
    g_autofree char *path = g_build_filename(folder, "config", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ssize_t done = write ? pwrite(fd, data, size, at)
                         : pread(fd, data, size, at);

    g_assert_cmpint(done, ==, size);
    close(fd);
}

static uint16_t host_command(const char *folder)
{
    uint16_t value;

    host_config(folder, PCI_COMMAND, &value, 2, false);
    return le16_to_cpu(value);
}

static void set_host_command(const char *folder, uint16_t value)
{
    value = cpu_to_le16(value);
    host_config(folder, PCI_COMMAND, &value, 2, true);
}

static bool masters(unsigned drive)
{
    g_autofree char *folder = host_file(lab->m->drive[drive].host, "");

    return host_command(folder) & PCI_COMMAND_MASTER;
}

/* The folder of the port above a drive */
static char *host_port(unsigned drive)
{
    g_autofree char *link = host_file(lab->m->drive[drive].host, "");
    g_autofree char *real = realpath(link, NULL);

    g_assert_nonnull(real);
    return g_path_get_dirname(real);
}

static bool stranger_is_there(void)
{
    g_autofree char *path = host_file(stranger, "vendor");

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void remove_stranger(void)
{
    g_autofree char *path = host_file(stranger, "remove");

    lab_host_write(path, "1");
    g_assert_false(stranger_is_there());
}

/* It gets no driver. */
static void find_stranger(void)
{
    lab_host_write("/sys/bus/pci/drivers_autoprobe", "0");
    lab_host_write("/sys/bus/pci/rescan", "1");
    lab_host_write("/sys/bus/pci/drivers_autoprobe", "1");
    g_assert_true(stranger_is_there());
}

/* --- One machine for most cases ------------------------------------------ */

static void machine_end(void)
{
    g_clear_pointer(&lab, lab_bridge_free);
}

static bool warned(const char *text)
{
    g_autofree char *log = NULL;

    g_assert_true(g_file_get_contents(LOG, &log, NULL, NULL));
    g_test_message("%s", log);
    return strstr(log, text);
}

static void machine_for(const LabBackend *backend)
{
    if (lab && lab->backend != backend) {
        machine_end();
    }
    if (!lab) {
        lab = lab_bridge_new(backend, ",bus-address=on", MODEL TO_LOG,
                             LAB_BRIDGE_DRIVES);
        g_assert_cmphex(bridge_get64(&lab->b, P2P_BRIDGE_FEATURES), ==,
                        P2P_BRIDGE_FEATURE_BUS_ADDRESS);
        lab_bridge_start(lab, P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    }
    bridge_drop_events(&lab->b);
}

/* --- Questions ----------------------------------------------------------- */

static uint32_t rid(unsigned drive)
{
    return lab_bridge_rid(lab, drive);
}

static BridgeCompletion ask(uint32_t initiator, uint64_t gpa, uint32_t len,
                            BridgeVec *out)
{
    BridgeVec in = { .addr = gpa, .len = len, .flags = READ_WRITE };

    return bridge_translate(&lab->b, initiator, P2P_BRIDGE_KIND_BUS, &in, 1,
                            out, 1);
}

static void expect_address(const BridgeVec *out, uint64_t address,
                           uint32_t len)
{
    g_assert_cmphex(out->addr, ==, address);
    g_assert_cmpuint(out->len, ==, len);
    g_assert_cmphex(out->flags & ~P2P_BRIDGE_VEC_MAP_MASK, ==,
                    READ_WRITE | P2P_BRIDGE_VEC_IO | P2P_BRIDGE_VEC_BUS);
}

static void expect_given(unsigned initiator, unsigned target, uint64_t offset,
                         uint32_t len)
{
    BridgeCompletion done;
    BridgeVec out;

    done = ask(rid(initiator), cmb(lab->m, target) + offset, len, &out);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, P2P_BRIDGE_VEC_BYTES);
    expect_address(&out, host_cmb(target) + offset, len);
}

static void expect_refused_at(uint32_t initiator, uint64_t gpa,
                              uint32_t reason)
{
    BridgeCompletion done;
    BridgeVec out;

    done = ask(initiator, gpa, PROBE_SIZE, &out);
    bridge_expect(done, P2P_BRIDGE_BUS_REFUSED);
    g_assert_cmpuint(done.index, ==, 0);
    g_assert_cmpuint(done.reason, ==, reason);
}

static void expect_refused(unsigned initiator, unsigned target,
                           uint32_t reason)
{
    expect_refused_at(rid(initiator), cmb(lab->m, target), reason);
}

static void release(unsigned initiator, unsigned target)
{
    bridge_ok(bridge_bus_release(&lab->b, rid(initiator), rid(target)));
}

/* Whether addresses that were given are why it does not migrate */
static bool migration_is_blocked(void)
{
    g_autoptr(QDict) reply = qtest_qmp(lab->m->qts,
                                       "{ 'execute': 'query-migrate' }");
    const QDict *migration = qdict_get_qdict(reply, "return");
    const QListEntry *e;

    if (!qdict_haskey(migration, "blocked-reasons")) {
        return false;
    }
    QLIST_FOREACH_ENTRY(qdict_get_qlist(migration, "blocked-reasons"), e) {
        const char *reason = qstring_get_str(qobject_to(QString, e->value));

        if (strstr(reason, "bus addresses")) {
            g_assert_nonnull(strstr(reason, LAB_BRIDGE_ID));
            return true;
        }
    }
    return false;
}

static void expect_no_events(void)
{
    BridgeEvent e;

    bridge_settle(&lab->b);
    while (bridge_poll_event(&lab->b, &e)) {
        g_assert_cmpuint(e.type, ==, P2P_BRIDGE_EVENT_CHANGED);
    }
}

/* Nothing is in use: all stays as it is, however long. */
static void expect_quiet(void)
{
    g_assert_false(migration_is_blocked());
    lab_bridge_milliseconds(lab, LATER_MS);
    expect_no_events();
    for (unsigned i = 0; i < LAB_BRIDGE_DRIVES; i++) {
        /* One that is plugged in has a driver. */
        g_assert_cmpint(masters(i), ==, lab->m->drive[i].nvme != NULL);
    }
}

/* --- Given --------------------------------------------------------------- */

static void test_given(const void *backend)
{
    uint64_t last;

    machine_for(backend);
    last = lab->m->drive[TARGET].cmb_size - PROBE_SIZE;
    g_assert_false(migration_is_blocked());
    for (unsigned i = 0; i < LAB_BRIDGE_DRIVES; i++) {
        for (unsigned j = 0; j < LAB_BRIDGE_DRIVES; j++) {
            if (i != j) {
                expect_given(i, j, 0, PROBE_SIZE);
                expect_given(i, j, last + 1, PROBE_SIZE - 1);
                expect_given(i, j, 0, lab->m->drive[j].cmb_size);
            }
        }
    }
    g_assert_true(migration_is_blocked());
    lab_bridge_milliseconds(lab, LATER_MS);
    expect_no_events();

    for (unsigned i = 0; i < LAB_BRIDGE_DRIVES; i++) {
        for (unsigned j = 0; j < LAB_BRIDGE_DRIVES; j++) {
            if (i != j) {
                g_assert_true(migration_is_blocked());
                release(i, j);
            }
        }
    }
    expect_quiet();
}

/* An entry by BAR, and one in the aperture: both are the target's memory. */
static void test_places(const void *backend)
{
    BridgeVec in[2] = {
        { .addr = 5 * PROBE_SIZE, .len = PROBE_SIZE, .bar = LAB_CMB_BAR,
          .flags = READ_WRITE | P2P_BRIDGE_VEC_BY_BAR },
        { .len = PROBE_SIZE, .flags = READ_WRITE },
    };
    uint32_t window;
    BridgeVec out[2];

    machine_for(backend);
    window = bridge_ok(bridge_share(&lab->b, rid(TARGET), LAB_CMB_BAR, MiB,
                                    MiB, P2P_BRIDGE_ACCESS_RW));
    bridge_ok(bridge_attach(&lab->b, window, 3));
    in[0].rid = rid(NEIGHBOUR);
    in[1].addr = lab->b.aperture + 3 * BRIDGE_SLOT + 7 * PROBE_SIZE;
    bridge_ok(bridge_translate(&lab->b, rid(INITIATOR), P2P_BRIDGE_KIND_BUS,
                               in, 2, out, 2));
    expect_address(&out[0], host_cmb(NEIGHBOUR) + 5 * PROBE_SIZE, PROBE_SIZE);
    expect_address(&out[1], host_cmb(TARGET) + MiB + 7 * PROBE_SIZE,
                   PROBE_SIZE);
    release(INITIATOR, NEIGHBOUR);
    g_assert_true(migration_is_blocked());
    release(INITIATOR, TARGET);
    bridge_ok(bridge_detach(&lab->b, window));
    bridge_ok(bridge_unshare(&lab->b, window));
    expect_quiet();
}

/* Windows that are neighbours for the guest are none on the bus. */
static void test_neighbours(const void *backend)
{
    uint64_t size, border;
    BridgeVec in = { .len = 2 * PROBE_SIZE, .flags = READ_WRITE };
    BridgeVec out[2];
    BridgeCompletion done;

    machine_for(backend);
    size = lab->m->drive[TARGET].cmb_size;
    border = cmb(lab->m, TARGET) + size;
    lab_place(lab, NEIGHBOUR, border);
    in.addr = border - PROBE_SIZE;
    done = bridge_translate(&lab->b, rid(INITIATOR), P2P_BRIDGE_KIND_BUS, &in,
                            1, out, 2);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, 2 * P2P_BRIDGE_VEC_BYTES);
    expect_address(&out[0], host_cmb(TARGET) + size - PROBE_SIZE, PROBE_SIZE);
    expect_address(&out[1], host_cmb(NEIGHBOUR), PROBE_SIZE);
    release(INITIATOR, TARGET);
    release(INITIATOR, NEIGHBOUR);
    lab_place_home(lab, NEIGHBOUR);
    expect_quiet();
}

/* A command that fails has changed nothing. */
static void test_failed_vector(const void *backend)
{
    BridgeVec in[2] = {
        { .len = PROBE_SIZE, .flags = READ_WRITE },
        { .addr = LAB_DATA, .len = PROBE_SIZE, .flags = READ_WRITE },
    };
    BridgeVec out[2];
    BridgeCompletion done;

    machine_for(backend);
    in[0].addr = cmb(lab->m, TARGET);
    done = bridge_translate(&lab->b, rid(INITIATOR), P2P_BRIDGE_KIND_BUS, in,
                            2, out, 2);
    bridge_expect(done, P2P_BRIDGE_BUS_REFUSED);
    g_assert_cmpuint(done.index, ==, 1);
    g_assert_cmpuint(done.reason, ==, P2P_BRIDGE_BUS_RAM);
    expect_quiet();
}

/* --- Refused ------------------------------------------------------------- */

static void test_models(const void *backend)
{
    GuestPci model;

    machine_for(backend);
    model = (GuestPci) { .qts = lab->m->qts, .devfn = MODEL_SLOT << 3 };
    guest_pci_bar_map(&model, LAB_CMB_BAR, (P2PGuestAddr) { MODEL_CMB });
    guest_pci_command(&model, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
    expect_refused_at(MODEL_SLOT << 3, cmb(lab->m, TARGET),
                      P2P_BRIDGE_BUS_NOT_PASSTHROUGH);
    expect_refused_at(MODEL_SLOT << 3, LAB_DATA, P2P_BRIDGE_BUS_RAM);
    expect_refused_at(rid(INITIATOR), LAB_DATA, P2P_BRIDGE_BUS_RAM);
    expect_quiet();
}

static void test_feature(const void *backend)
{
    BridgeCompletion done;
    BridgeVec out;

    machine_for(backend);
    bridge_disable(&lab->b);
    lab_bridge_start(lab, 0);
    done = ask(rid(INITIATOR), cmb(lab->m, TARGET), PROBE_SIZE, &out);
    bridge_expect(done, P2P_BRIDGE_BAD_FIELD);
    g_assert_cmphex(done.reason, ==, P2P_BRIDGE_ARG_KIND);
    bridge_disable(&lab->b);
    lab_bridge_start(lab, P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    release(INITIATOR, TARGET);
}

static void test_off(void)
{
    Bridge *b;

    machine_end();
    lab = lab_bridge_new(&lab_backends[0], "", "", LAB_BRIDGE_DRIVES);
    b = &lab->b;
    g_assert_cmphex(bridge_get64(b, P2P_BRIDGE_FEATURES), ==, 0);
    bridge_rings(b, BRIDGE_ENTRIES, BRIDGE_ENTRIES, BRIDGE_ENTRIES);
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES,
                 P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    g_assert_cmpuint(bridge_enable(b), ==, P2P_BRIDGE_ERROR_FEATURES);
    machine_end();
}

/* --- Events: conditions that cease to hold ------------------------------- */

static void decode_off(void)
{
    lab_decode(lab, TARGET, false);
}

static void decode_on(void)
{
    lab_decode(lab, TARGET, true);
}

static void target_asleep(void)
{
    lab_power_state(lab, TARGET, 3);
}

static void target_awake(void)
{
    lab_power_state(lab, TARGET, 0);
}

/* What the initiator reaches in the guest is where a drive's BAR is. */
static void overlap(void)
{
    lab_port_open(lab->m, NEIGHBOUR, (P2PGuestAddr) { LAB_RAM_SIZE });
    lab_place(lab, NEIGHBOUR, host_cmb(TARGET));
    expect_installed(lab->m, NEIGHBOUR, 0, INITIATOR, true);
}

static void no_overlap(void)
{
    lab_place_home(lab, NEIGHBOUR);
    lab_port_open(lab->m, NEIGHBOUR, (P2PGuestAddr) { LAB_REGISTERS });
}

static void neighbour_leaves(void)
{
    lab_bridge_unplug(lab, NEIGHBOUR);
}

static void neighbour_comes(void)
{
    lab_bridge_plug(lab, NEIGHBOUR);
}

static void initiator_asleep(void)
{
    lab_power_state(lab, INITIATOR, 3);
}

static void initiator_awake(void)
{
    lab_power_state(lab, INITIATOR, 0);
}

static void port_off(void)
{
    g_autofree char *port = host_port(TARGET);

    set_host_command(port, host_command(port) & ~PCI_COMMAND_MEMORY);
}

static void port_on(void)
{
    g_autofree char *port = host_port(TARGET);

    set_host_command(port, host_command(port) | PCI_COMMAND_MEMORY);
}

/* The port's window for what is prefetchable, as it is. */
static uint32_t port_window;

/* A base above the limit: nothing passes. */
static void port_shut(void)
{
    g_autofree char *port = host_port(TARGET);
    uint32_t shut = cpu_to_le32(0x0000fff0);

    host_config(port, PCI_PREF_MEMORY_BASE, &port_window, 4, false);
    host_config(port, PCI_PREF_MEMORY_BASE, &shut, 4, true);
}

static void port_open(void)
{
    g_autofree char *port = host_port(TARGET);

    host_config(port, PCI_PREF_MEMORY_BASE, &port_window, 4, true);
}

typedef struct Event {
    const char *name;
    void (*happen)(void);
    void (*undo)(void);
    uint32_t reason;
    bool host;          /* nobody tells QEMU: it has to look */
} Event;

static const Event events[] = {
    { "decode-off", decode_off, decode_on, P2P_BRIDGE_BUS_NO_DECODE },
    { "asleep", target_asleep, target_awake, P2P_BRIDGE_BUS_ASLEEP },
    { "initiator-asleep", initiator_asleep, initiator_awake,
      P2P_BRIDGE_BUS_ASLEEP },
    { "overlap", overlap, no_overlap, P2P_BRIDGE_BUS_OVERLAP },
    { "neighbour-leaves", neighbour_leaves, neighbour_comes,
      P2P_BRIDGE_BUS_STRANGER },
    { "stranger-comes", find_stranger, remove_stranger,
      P2P_BRIDGE_BUS_STRANGER, .host = true },
    { "port-off", port_off, port_on, P2P_BRIDGE_BUS_NO_DECODE, .host = true },
    { "port-shut", port_shut, port_open, P2P_BRIDGE_BUS_OUTSIDE_PORT,
      .host = true },
};

typedef struct Case {
    const LabBackend *backend;
    const Event *event;
} Case;

/* The initiator has an address of the target; then @event. */
static void begin(const Case *c)
{
    BridgeEvent e;

    machine_for(c->backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    g_assert_true(migration_is_blocked());
    lab_bridge_milliseconds(lab, LATER_MS);
    expect_no_events();

    c->event->happen();
    if (c->event->host) {
        lab_bridge_milliseconds(lab, CHECK_MS);
    }
    e = bridge_wait_event_of(&lab->b, P2P_BRIDGE_EVENT_BUS_REVOKED);
    g_assert_cmphex(e.rid, ==, rid(INITIATOR));
    g_assert_cmphex(e.target, ==, rid(TARGET));
    g_assert_cmpuint(e.reason, ==, c->event->reason);
    g_assert_true(migration_is_blocked());
    g_assert_true(masters(INITIATOR));
}

/* What QEMU knows of the host may be a moment old when nothing is given. */
static void wait_until_given(void)
{
    gint64 end = g_get_monotonic_time() + QNVME_TIMEOUT_S * G_USEC_PER_SEC;
    BridgeVec out;

    while (ask(rid(INITIATOR), cmb(lab->m, TARGET), PROBE_SIZE,
               &out).status != P2P_BRIDGE_OK) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void expect_warning(bool expected)
{
    g_assert_cmpint(warned("drive0 has bus addresses of drive1"), ==,
                    expected);
}

static void end(const Case *c)
{
    bridge_drop_events(&lab->b);
    c->event->undo();
    if (c->event->host) {
        wait_until_given();
    }
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    release(INITIATOR, TARGET);
    g_assert_true(writes(lab->m, INITIATOR, cmb(lab->m, TARGET)));
    expect_quiet();
}

static void test_released(const void *opaque)
{
    const Case *c = opaque;

    begin(c);
    lab_bridge_milliseconds(lab, LAB_BRIDGE_REVOKE_MS - 1);
    release(INITIATOR, TARGET);
    expect_quiet();
    if (c->event->host || c->event->reason == P2P_BRIDGE_BUS_STRANGER) {
        expect_refused(INITIATOR, TARGET, c->event->reason);
    }
    expect_warning(false);
    end(c);
}

static void test_kept(const void *opaque)
{
    const Case *c = opaque;
    const GuestPci *pci;

    begin(c);
    pci = &lab->m->drive[INITIATOR].pci;
    lab_bridge_milliseconds(lab, LAB_BRIDGE_REVOKE_MS - 1);
    g_assert_true(masters(INITIATOR));
    expect_warning(false);
    lab_bridge_milliseconds(lab, 1);
    g_assert_false(masters(INITIATOR));
    g_assert_true(masters(TARGET));
    g_assert_false(guest_pci_readw(pci, PCI_COMMAND) & PCI_COMMAND_MASTER);
    expect_warning(true);
    g_assert_false(migration_is_blocked());

    guest_pci_command(pci, PCI_COMMAND_MASTER, 0);
    expect_quiet();
    end(c);
    /* With another log. */
    machine_end();
}

/* --- Others -------------------------------------------------------------- */

/* Who has let go is left alone; an answer of another pair is none. */
static void test_two_pairs(const void *backend)
{
    uint32_t initiators = 0;

    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    expect_given(NEIGHBOUR, TARGET, 0, PROBE_SIZE);
    expect_given(NEIGHBOUR, INITIATOR, 0, PROBE_SIZE);
    decode_off();
    for (unsigned i = 0; i < 2; i++) {
        BridgeEvent e = bridge_wait_event_of(&lab->b,
                                             P2P_BRIDGE_EVENT_BUS_REVOKED);

        g_assert_cmphex(e.target, ==, rid(TARGET));
        initiators += e.rid;
    }
    g_assert_cmphex(initiators, ==, rid(INITIATOR) + rid(NEIGHBOUR));
    expect_no_events();

    release(INITIATOR, TARGET);
    release(INITIATOR, TARGET);
    release(TARGET, NEIGHBOUR);
    bridge_expect(bridge_bus_release(&lab->b, rid(NEIGHBOUR), 0xfff8),
                  P2P_BRIDGE_NO_MEMBER);
    lab_bridge_milliseconds(lab, LAB_BRIDGE_REVOKE_MS);
    g_assert_true(masters(INITIATOR));
    g_assert_true(masters(TARGET));
    g_assert_false(masters(NEIGHBOUR));
    g_assert_true(warned("drive2 has bus addresses of drive1"));
    g_assert_false(warned("drive0 has bus addresses"));
    /* What it has of another target is still in use. */
    g_assert_true(migration_is_blocked());
    release(NEIGHBOUR, INITIATOR);
    g_assert_false(migration_is_blocked());
    machine_end();
}

/* What holds again does not bring back what was revoked. */
static void test_again(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    decode_off();
    bridge_wait_event_of(&lab->b, P2P_BRIDGE_EVENT_BUS_REVOKED);
    decode_on();
    expect_refused(INITIATOR, TARGET, P2P_BRIDGE_BUS_NOT_NOW);
    release(INITIATOR, TARGET);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    expect_warning(false);
    release(INITIATOR, TARGET);
    expect_quiet();
}

/* By its address in the guest */
static bool target_is_reached(void)
{
    return writes(lab->m, NEIGHBOUR, cmb(lab->m, TARGET));
}

static void unshare_begins(void)
{
    BridgeEvent e;

    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    qtest_qmp_send(lab->m->qts, "{ 'execute': 'p2p-unshare', 'arguments': {"
                   "  'device': %s, 'bar': %u } }", lab->m->drive[TARGET].id,
                   LAB_CMB_BAR);
    e = bridge_wait_event_of(&lab->b, P2P_BRIDGE_EVENT_BUS_REVOKED);
    g_assert_cmphex(e.rid, ==, rid(INITIATOR));
    g_assert_cmphex(e.target, ==, rid(TARGET));
    g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_BUS_UNSHARED);
    expect_refused(INITIATOR, TARGET, P2P_BRIDGE_BUS_UNSHARED);
    lab_bridge_milliseconds(lab, LAB_BRIDGE_REVOKE_MS - 1);
    g_assert_true(masters(INITIATOR));
    /* It waits for the driver. */
    g_assert_true(target_is_reached());
}

static void unshare_ends(void)
{
    g_autoptr(QDict) reply = qtest_qmp_receive(lab->m->qts);

    g_assert_true(qdict_haskey(reply, "return"));
    g_assert_false(target_is_reached());
    g_assert_false(migration_is_blocked());
    qtest_qmp_assert_success(lab->m->qts, "{ 'execute': 'p2p-share', "
                             "  'arguments': { 'device': %s, 'bar': %u } }",
                             lab->m->drive[TARGET].id, LAB_CMB_BAR);
    bridge_drop_events(&lab->b);
}

/* When the host has taken a window back, it is out of use on the bus, too. */
static void test_unshare(const void *backend)
{
    machine_for(backend);
    unshare_begins();
    release(INITIATOR, TARGET);
    unshare_ends();
    g_assert_true(masters(INITIATOR));
    expect_warning(false);

    unshare_begins();
    lab_bridge_milliseconds(lab, 1);
    unshare_ends();
    g_assert_false(masters(INITIATOR));
    expect_warning(true);
    machine_end();
}

/* The guest moves it: on the host's bus it is where it was. */
static void test_guest_moves_bar(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    lab_place(lab, TARGET, LAB_CMB + TARGET * GiB + 32 * GiB);
    lab_bridge_milliseconds(lab, LATER_MS);
    expect_no_events();
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    lab_place_home(lab, TARGET);
    release(INITIATOR, TARGET);
    expect_quiet();
}

/* The target leaves, with or without its addresses. */
static void test_unplug_target(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    release(INITIATOR, TARGET);
    lab_bridge_unplug(lab, TARGET);
    expect_no_events();
    g_assert_true(masters(INITIATOR));
    expect_warning(false);

    lab_bridge_plug(lab, TARGET);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    lab_bridge_unplug(lab, TARGET);
    g_assert_false(masters(INITIATOR));
    expect_warning(true);
    g_assert_false(migration_is_blocked());
    machine_end();
}

/* The initiator leaves: it is reset, and nobody has anything. */
static void test_unplug_initiator(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    lab_bridge_unplug(lab, INITIATOR);
    g_assert_false(migration_is_blocked());
    lab_bridge_plug(lab, INITIATOR);
    expect_warning(false);
    expect_quiet();
}

/* The machine begins anew, and knows of nothing. */
static void test_system_reset(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    qtest_system_reset(lab->m->qts);
    g_assert_false(migration_is_blocked());
    for (unsigned i = 0; i < LAB_BRIDGE_DRIVES; i++) {
        lab_restart(lab, i);
    }
    bridge_place(&lab->b);
    lab_bridge_start(lab, P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    expect_warning(false);
    expect_quiet();
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    release(INITIATOR, TARGET);
}

/* A driver that is gone does not answer; its transfers may still run. */
static void test_bridge_reset(const void *backend)
{
    machine_for(backend);
    expect_given(INITIATOR, TARGET, 0, PROBE_SIZE);
    bridge_reset(&lab->b);
    g_assert_true(migration_is_blocked());
    decode_off();
    lab_bridge_milliseconds(lab, LATER_MS);
    g_assert_false(masters(INITIATOR));
    expect_warning(true);
    machine_end();
}

/* --- All cases ----------------------------------------------------------- */

static const struct {
    const char *name;
    void (*test)(const void *backend);
} others[] = {
    { "given", test_given },
    { "places", test_places },
    { "neighbours", test_neighbours },
    { "failed-vector", test_failed_vector },
    { "models", test_models },
    { "feature", test_feature },
    { "guest-moves-bar", test_guest_moves_bar },
    { "unplug-initiator", test_unplug_initiator },
    { "system-reset", test_system_reset },
    { "again", test_again },
    { "unshare", test_unshare },
    { "two-pairs", test_two_pairs },
    { "unplug-target", test_unplug_target },
    { "bridge-reset", test_bridge_reset },
};

static void add_event(const LabBackend *backend, const Event *event,
                      const char *how, void (*test)(const void *))
{
    g_autofree char *path = g_strdup_printf("p2p/lab/bus-address/%s/%s/%s",
                                            backend->name, event->name, how);
    Case *c = g_new(Case, 1);

    *c = (Case) { backend, event };
    qtest_add_data_func_full(path, c, test, g_free);
}

/* What does not depend on the back end is tried on one. */
static void add_cases(void)
{
    const LabBackend *backend = &lab_backends[0];

    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        g_autofree char *path = g_strdup_printf(
            "p2p/lab/bus-address/%s/%s", backend->name, others[i].name);

        qtest_add_data_func(path, backend, others[i].test);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        add_event(backend, &events[i], "released", test_released);
        add_event(backend, &events[i], "kept", test_kept);
    }
    backend++;
    qtest_add_data_func("p2p/lab/bus-address/iommufd/given", backend,
                        test_given);
    add_event(backend, &events[0], "released", test_released);
    add_event(backend, &events[0], "kept", test_kept);
    qtest_add_func("p2p/lab/bus-address/off", test_off);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    stranger = lab_host(STRANGER);
    if (!stranger) {
        g_printerr("%s: run me in the lab, with four drives\n", argv[0]);
        return 1;
    }
    remove_stranger();
    add_cases();
    ret = g_test_run();
    machine_end();
    g_free(stranger);
    return ret;
}
