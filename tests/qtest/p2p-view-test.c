/*
 * What an emulated member of a group can reach, and what it cannot
 *
 * The guest's own accesses tell where data really is; device models never
 * check each other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/resource.h>
#include "compat.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "p2p-monitor.h"
#include "p2p-testdev.h"

#define BAR_SIZE (1 * MiB)

/* Guest physical addresses of device N, which is in slot SLOT(N) */
#define SLOT(n)      (4 + (n))
#define REGISTERS(n) (0xc0000000ull + (n) * 0x10000)
#define BAR2(n)      (64 * GiB + (n) * 16 * MiB)
#define BAR4(n)      (65 * GiB + (n) * 16 * MiB)
#define ELSEWHERE    (80 * GiB)
#define NOWHERE      (96 * GiB)
#define RAM          (1 * MiB)

#define DEVICES 3

#define NO_WINDOW  "no window holds this address"
#define NO_RIGHT   "the initiator may neither read nor write this window"
#define READ_ONLY  "the initiator may read this window, but not write it"
#define REVOKED    "the window has been revoked"

/* t0 .. t2, as many as the command line has. */
typedef struct Machine {
    QTestState *qts;
    TestDev t[DEVICES];
} Machine;

static void place(Machine *m, unsigned n)
{
    m->t[n] = testdev_start(m->qts, SLOT(n) << 3,
                            (P2PGuestAddr) { REGISTERS(n) });
    guest_pci_bar_map(&m->t[n].pci, 2, (P2PGuestAddr) { BAR2(n) });
    guest_pci_bar_map(&m->t[n].pci, 4, (P2PGuestAddr) { BAR4(n) });
}

static void place_all(Machine *m)
{
    for (unsigned n = 0; n < DEVICES; n++) {
        GuestPci pci = { .qts = m->qts, .devfn = SLOT(n) << 3 };

        if (guest_pci_exists(&pci)) {
            place(m, n);
        }
    }
}

/* @options with %n for the properties that place device n. */
static Machine machine_new(const char *options, const char *t0,
                           const char *t1, const char *t2)
{
    const char *properties[DEVICES] = { t0, t1, t2 };
    g_autoptr(GString) args = g_string_new("-nodefaults "
                                           "-object p2p-group,id=g0 ");
    Machine m = {};

    g_string_append_printf(args, "%s ", options);
    for (unsigned n = 0; n < DEVICES; n++) {
        if (properties[n]) {
            g_string_append_printf(args, "-device p2p-testdev,id=t%u,"
                                   "addr=%u.0,%s ", n, SLOT(n),
                                   properties[n]);
        }
    }
    m.qts = qtest_init(args->str);
    place_all(&m);
    return m;
}

/* Two members, and a device that is none. */
static Machine machine_default(void)
{
    return machine_new("-machine q35 -m 128", "p2p-group=g0", "p2p-group=g0",
                       "size=1M");
}

static void machine_end(Machine *m)
{
    qtest_quit(m->qts);
}

/* --- Data -------------------------------------------------------------- */

/* Every call gives other data, and every word tells its place. */
static void fill(uint8_t *data, size_t len)
{
    static uint8_t seed;

    seed++;
    for (size_t i = 0; i < len; i++) {
        data[i] = seed ^ i ^ (i >> 8);
    }
}

/* Data that the guest put there reaches the device, and the reverse. */
static void expect_reach(Machine *m, const TestDev *dev, uint64_t gpa,
                         size_t len)
{
    g_autofree uint8_t *sent = g_malloc(len);
    g_autofree uint8_t *received = g_malloc0(len);

    g_test_message("%02x reaches 0x%" PRIx64, dev->pci.devfn, gpa);
    fill(sent, len);
    qtest_memwrite(m->qts, gpa, sent, len);
    g_assert_true(testdev_read(dev, (P2PBusAddr) { gpa }, received, len));
    g_assert_cmpmem(sent, len, received, len);

    fill(sent, len);
    g_assert_true(testdev_write(dev, (P2PBusAddr) { gpa }, sent, len));
    qtest_memread(m->qts, gpa, received, len);
    g_assert_cmpmem(sent, len, received, len);
}

/* --- Events ------------------------------------------------------------ */

/* All events that were sent before are in libqtest's list then. */
static void receive_events(Machine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'query-p2p' }");
}

static unsigned drop_events(Machine *m, const char *name)
{
    unsigned n = 0;
    QDict *event;

    receive_events(m);
    while ((event = qtest_qmp_event_ref(m->qts, name))) {
        qobject_unref(event);
        n++;
    }
    return n;
}

/* Longer than any rate limit. */
static void pass_time(Machine *m)
{
    qtest_clock_step(m->qts, 2 * NANOSECONDS_PER_SECOND);
}

static void expect_no_fault(Machine *m)
{
    g_assert_cmpuint(drop_events(m, "P2P_FAULT"), ==, 0);
}

static void expect_fault_event(Machine *m, const char *initiator,
                               uint64_t gpa, bool write, const char *reason)
{
    QDict *event, *data;

    receive_events(m);
    event = qtest_qmp_event_ref(m->qts, "P2P_FAULT");
    g_assert_nonnull(event);
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "initiator"), ==, initiator);
    g_assert_cmphex(compat_qdict_get_uint(data, "gpa"), ==, gpa);
    g_assert_cmpint(qdict_get_bool(data, "write"), ==, write);
    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, reason);
    qobject_unref(event);
}

static void expect_fault(Machine *m, unsigned n, uint64_t gpa, bool write,
                         const char *reason)
{
    g_autofree char *name = g_strdup_printf("t%u", n);
    P2PBusAddr bus = { gpa };
    uint64_t word = 0x1122334455667788;

    g_test_message("%s does not reach 0x%" PRIx64 " to %s: %s", name, gpa,
                   write ? "write" : "read", reason);
    pass_time(m);
    drop_events(m, "P2P_FAULT");
    if (write) {
        g_assert_false(testdev_write(&m->t[n], bus, &word, sizeof(word)));
    } else {
        g_assert_false(testdev_read(&m->t[n], bus, &word, sizeof(word)));
        g_assert_cmphex(word, ==, UINT64_MAX);
    }
    expect_fault_event(m, name, gpa, write, reason);
    expect_no_fault(m);
}

static void expect_no_reach(Machine *m, unsigned n, uint64_t gpa,
                            const char *reason)
{
    expect_fault(m, n, gpa, false, reason);
    expect_fault(m, n, gpa, true, reason);
}

/* The guest's own view of an address is not changed by such an attempt. */
static void expect_untouched(Machine *m, unsigned n, uint64_t gpa,
                             const char *reason)
{
    uint64_t before = 0xa5a5a5a500000000 | n;

    qtest_writeq(m->qts, gpa, before);
    expect_no_reach(m, n, gpa, reason);
    g_assert_cmphex(qtest_readq(m->qts, gpa), ==, before);
}

/* --- State ------------------------------------------------------------- */

static void expect_state(Machine *m, unsigned n, int bar, const char *state,
                         uint64_t gpa)
{
    g_autofree char *name = g_strdup_printf("t%u", n);
    g_autofree char *other = g_strdup_printf("t%u", !n);
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, name, bar, 0);
    const QDict *grant = p2p_monitor_grant(window, other);
    bool mapped = g_str_equal(state, "mapped");
    g_autofree char *hmp = qtest_hmp(m->qts, "info p2p");
    g_autofree char *line = NULL;

    g_assert_cmpstr(qdict_get_str(window, "state"), ==, state);
    g_assert_cmpint(qdict_haskey(window, "gpa"), ==, mapped);
    if (mapped) {
        g_assert_cmphex(compat_qdict_get_uint(window, "gpa"), ==, gpa);
        line = g_strdup_printf("BAR %d offset 0x0 size 1 MiB rw at 0x%016"
                               PRIx64, bar, gpa);
    } else {
        line = g_strdup_printf("BAR %d offset 0x0 size 1 MiB rw %s", bar,
                               state);
    }
    g_assert_nonnull(strstr(hmp, line));

    g_assert_nonnull(grant);
    g_assert_cmpint(qdict_get_bool(grant, "installed"), ==, mapped);
    g_assert_cmpint(qdict_haskey(grant, "reason"), ==, !mapped);
    g_assert_cmpstr(qdict_get_str(grant, "map-type"), ==, "cpu");
    g_assert_cmpuint(compat_qdict_get_uint(grant, "failures"), ==, 0);
    g_assert_cmpuint(compat_qdict_get_uint(grant, "maps"), ==,
                     compat_qdict_get_uint(grant, "unmaps") + mapped);
}

/* errno of p2p-translate for a read by t0. */
static int translate(Machine *m, uint64_t gpa)
{
    P2PGuestVec in = { .addr = { gpa }, .len = 4096, .flags = P2P_VEC_READ };
    P2PBusVec out[2];
    size_t n = ARRAY_SIZE(out);
    int ret = p2p_monitor_translate(m->qts, "t0", &in, 1, out, &n);

    if (!ret) {
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmphex(out[0].addr.bus, ==, gpa);
        g_assert_cmpuint(out[0].len, ==, 4096);
    }
    return -ret;
}

/* --- What can be reached ----------------------------------------------- */

static void test_ram(void)
{
    /* 2 GiB of it below 4 GiB, the rest above */
    Machine m = machine_new("-machine q35 -m 3G", "p2p-group=g0", NULL, NULL);

    expect_reach(&m, &m.t[0], 0, 4096);
    expect_reach(&m, &m.t[0], RAM + 123, 4001);
    expect_reach(&m, &m.t[0], 2 * GiB - 4096, 4096);
    expect_reach(&m, &m.t[0], 4 * GiB, 4096);
    expect_reach(&m, &m.t[0], 5 * GiB - 4096, 4096);
    expect_no_fault(&m);
    expect_no_reach(&m, 0, 2 * GiB, NO_WINDOW);
    expect_no_reach(&m, 0, 5 * GiB, NO_WINDOW);
    machine_end(&m);
}

/* Several host backends, one container: another shape of guest RAM. */
static void test_numa_and_hotplug(void)
{
    Machine m = machine_new("-machine q35 -m 128,slots=2,maxmem=4G -smp 2 "
                            "-object memory-backend-ram,id=r0,size=64M "
                            "-object memory-backend-ram,id=r1,size=64M "
                            "-numa node,memdev=r0,cpus=0 "
                            "-numa node,memdev=r1,cpus=1 "
                            "-object memory-backend-ram,id=r2,size=128M "
                            "-device pc-dimm,id=d0,memdev=r2,addr=0x100000000",
                            "p2p-group=g0,p2p-share=none", NULL, NULL);

    expect_reach(&m, &m.t[0], 64 * MiB - 2048, 4096);
    expect_reach(&m, &m.t[0], 4 * GiB, 4096);
    expect_reach(&m, &m.t[0], 4 * GiB + 128 * MiB - 4096, 4096);
    expect_no_fault(&m);
    expect_no_reach(&m, 0, 4 * GiB + 128 * MiB, NO_WINDOW);

    /* Memory that is plugged later is guest RAM, too. */
    qtest_qmp_assert_success(m.qts, "{ 'execute': 'object-add', "
        "'arguments': { 'qom-type': 'memory-backend-ram', 'id': 'r3', "
        "'size': 134217728 } }");
    qtest_qmp_assert_success(m.qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'pc-dimm', 'id': 'd1', 'memdev': 'r3', "
        "'addr': 4429185024 } }");
    expect_reach(&m, &m.t[0], 4 * GiB + 128 * MiB, 4096);

    /* A BAR in the region for memory devices is not. */
    guest_pci_bar_map(&m.t[0].pci, 4,
                      (P2PGuestAddr) { 4 * GiB + 512 * MiB });
    g_assert_cmpint(translate(&m, 4 * GiB + 512 * MiB), ==, EFAULT);
    machine_end(&m);
}

static void test_doorbells(void)
{
    Machine m = machine_default();
    uint32_t message = 0x30;

    g_assert_true(testdev_write(&m.t[0], (P2PBusAddr) { 0xfee00000 },
                                &message, sizeof(message)));
    g_assert_true(testdev_write(&m.t[1], (P2PBusAddr) { 0xfee0100c },
                                &message, sizeof(message)) || true);
    expect_no_fault(&m);
    expect_no_reach(&m, 0, 0xfedffff8, NO_WINDOW);
    expect_no_reach(&m, 0, 0xfef00000, NO_WINDOW);
    machine_end(&m);
}

static void test_windows(void)
{
    Machine m = machine_default();

    for (unsigned from = 0; from < 2; from++) {
        for (unsigned to = 0; to < 2; to++) {
            expect_reach(&m, &m.t[from], BAR2(to), 4096);
            expect_reach(&m, &m.t[from], BAR2(to) + 12345, 3001);
            expect_reach(&m, &m.t[from], BAR2(to) + BAR_SIZE - 4096, 4096);
            expect_reach(&m, &m.t[from], BAR4(to), 4096);
            expect_reach(&m, &m.t[from], BAR4(to) + BAR_SIZE - 1, 1);
        }
        expect_state(&m, from, 2, "mapped", BAR2(from));
        expect_state(&m, from, 4, "mapped", BAR4(from));
    }
    expect_no_fault(&m);
    machine_end(&m);
}

/* A BAR whose registers QEMU emulates is shared when the user says so. */
static void test_registers(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=bar0", NULL);

    expect_reach(&m, &m.t[0], REGISTERS(1), 8);
    expect_no_reach(&m, 0, BAR2(1), NO_WINDOW);
    machine_end(&m);
}

/* --- What cannot be reached -------------------------------------------- */

static void test_nothing_else(void)
{
    Machine m = machine_new("-machine q35 -m 128 "
                            "-device VGA,addr=2.0,romfile=",
                            "p2p-group=g0", "p2p-group=g0", "size=1M");
    GuestPci vga = { .qts = m.qts, .devfn = 2 << 3 };

    guest_pci_bar_map(&vga, 0, (P2PGuestAddr) { 0xd0000000 });
    guest_pci_command(&vga, PCI_COMMAND_MEMORY, 0);

    expect_untouched(&m, 0, BAR2(2), NO_WINDOW);
    expect_untouched(&m, 0, BAR4(2) + BAR_SIZE - 8, NO_WINDOW);
    expect_untouched(&m, 1, BAR2(2), NO_WINDOW);
    expect_untouched(&m, 0, REGISTERS(1), NO_WINDOW);
    expect_untouched(&m, 0, REGISTERS(2), NO_WINDOW);
    expect_untouched(&m, 0, 0xd0000000, NO_WINDOW); /* frame buffer */
    expect_no_reach(&m, 0, 0xa0000, NO_WINDOW);
    expect_no_reach(&m, 0, 0xffff0, NO_WINDOW);     /* firmware */
    expect_no_reach(&m, 0, 0xfffffff0, NO_WINDOW);
    expect_no_reach(&m, 0, 0xfec00000, NO_WINDOW);  /* I/O APIC */
    expect_no_reach(&m, 0, 0xfed00000, NO_WINDOW);  /* HPET */
    expect_no_reach(&m, 0, 0xb0000000, NO_WINDOW);  /* PCI configuration */
    expect_no_reach(&m, 0, 128 * MiB, NO_WINDOW);
    expect_no_reach(&m, 0, BAR2(1) - 8, NO_WINDOW);
    expect_no_reach(&m, 0, BAR2(1) + BAR_SIZE, NO_WINDOW);
    expect_no_reach(&m, 0, NOWHERE, NO_WINDOW);
    expect_no_reach(&m, 0, -8ull, NO_WINDOW);

    /* A device without a group is as in stock QEMU. */
    expect_reach(&m, &m.t[2], BAR2(1), 4096);
    expect_reach(&m, &m.t[2], 0xd0000000, 4096);
    machine_end(&m);
}

static void test_end_of_window(void)
{
    Machine m = machine_default();
    uint64_t words[2] = { 1, 2 };

    /* half of it inside: what is outside makes it fail */
    qtest_writeq(m.qts, BAR2(1) + BAR_SIZE - 8, 0x99);
    pass_time(&m);
    drop_events(&m, "P2P_FAULT");
    g_assert_false(testdev_write(&m.t[0],
                                 (P2PBusAddr) { BAR2(1) + BAR_SIZE - 8 },
                                 words, sizeof(words)));
    expect_fault_event(&m, "t0", BAR2(1) + BAR_SIZE, true, NO_WINDOW);
    g_assert_false(testdev_read(&m.t[0], (P2PBusAddr) { BAR2(1) - 8 }, words,
                                sizeof(words)));
    machine_end(&m);
}

static void test_two_groups(void)
{
    Machine m = machine_new("-machine q35 -m 128 -object p2p-group,id=g1",
                            "p2p-group=g0", "p2p-group=g0", "p2p-group=g1");

    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    expect_reach(&m, &m.t[2], BAR2(2), 4096);
    expect_untouched(&m, 2, BAR2(1), NO_WINDOW);
    expect_untouched(&m, 1, BAR4(2), NO_WINDOW);
    machine_end(&m);
}

static void test_sub_range(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=bar2@0x1000-0x4000+"
                            "bar4@0x8000-0x9000", "msix-hole=on,"
                            "p2p-group=g0,p2p-share=bar2");

    expect_reach(&m, &m.t[0], BAR2(1) + 0x1000, 4096);
    expect_reach(&m, &m.t[0], BAR2(1) + 0x1800, 4096);
    expect_reach(&m, &m.t[0], BAR2(1) + 0x3ff8, 8);
    expect_reach(&m, &m.t[0], BAR4(1) + 0x8000, 4096);
    expect_untouched(&m, 0, BAR2(1) + 0xff8, NO_WINDOW);
    expect_untouched(&m, 0, BAR2(1) + 0x4000, NO_WINDOW);
    expect_untouched(&m, 0, BAR4(1), NO_WINDOW);
    expect_untouched(&m, 0, BAR4(1) + 0x9000, NO_WINDOW);

    expect_reach(&m, &m.t[0], BAR2(2), 4096);
    expect_reach(&m, &m.t[0], BAR2(2) + 0x2000, 4096);
    expect_no_reach(&m, 0, BAR2(2) + 0x1000, NO_WINDOW);
    expect_no_reach(&m, 0, BAR2(2) + 0x1ff8, NO_WINDOW);
    machine_end(&m);
}

static void expect_read_only(Machine *m, uint64_t gpa)
{
    uint8_t guest[64], device[64];

    fill(guest, sizeof(guest));
    qtest_memwrite(m->qts, gpa, guest, sizeof(guest));
    g_assert_true(testdev_read(&m->t[0], (P2PBusAddr) { gpa }, device,
                               sizeof(device)));
    g_assert_cmpmem(guest, sizeof(guest), device, sizeof(device));

    expect_fault(m, 0, gpa, true, READ_ONLY);
    expect_fault(m, 0, gpa + 4096 - 8, true, READ_ONLY);
    qtest_memread(m->qts, gpa, device, sizeof(device));
    g_assert_cmpmem(guest, sizeof(guest), device, sizeof(device));
}

/* A BAR with a file behind it, one that is RAM, one that is registers. */
static void test_read_only(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=bar2:ro@0x2000-0x4000+"
                            "bar4:ro+bar0:ro+bar2:rw@0x4000-0x5000", NULL);
    uint64_t address;

    expect_read_only(&m, BAR2(1) + 0x2000);
    expect_read_only(&m, BAR4(1));
    expect_reach(&m, &m.t[0], BAR2(1) + 0x4000, 4096);

    qtest_writeq(m.qts, REGISTERS(1), 0x1234);
    g_assert_true(testdev_read(&m.t[0], (P2PBusAddr) { REGISTERS(1) },
                               &address, sizeof(address)));
    g_assert_cmphex(address, ==, 0x1234);
    expect_fault(&m, 0, REGISTERS(1), true, READ_ONLY);
    g_assert_cmphex(qtest_readq(m.qts, REGISTERS(1)), ==, 0x1234);

    /* It stays so when the window moves, and when it goes. */
    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { ELSEWHERE });
    expect_read_only(&m, ELSEWHERE + 0x2000);
    guest_pci_command(&m.t[1].pci, 0, PCI_COMMAND_MEMORY);
    expect_no_reach(&m, 0, ELSEWHERE + 0x2000, REVOKED);
    machine_end(&m);
}

static void test_no_initiator(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-initiate=off", NULL);
    g_autoptr(QDict) window = NULL;
    g_autoptr(QDict) member = NULL;

    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    expect_reach(&m, &m.t[1], RAM, 4096);
    expect_untouched(&m, 1, BAR2(0), NO_RIGHT);
    expect_untouched(&m, 1, BAR4(0), NO_RIGHT);

    window = p2p_monitor_window(m.qts, "t0", 2, 0);
    g_assert_null(p2p_monitor_grant(window, "t1"));
    member = p2p_monitor_member(m.qts, "t1");
    g_assert_false(qdict_get_bool(member, "initiate"));
    machine_end(&m);
}

/* A guest cannot flood whoever listens to the monitor. */
static void test_rate_limit(void)
{
    Machine m = machine_default();
    uint64_t word;

    drop_events(&m, "P2P_FAULT");
    for (unsigned i = 0; i < 100; i++) {
        g_assert_false(testdev_read(&m.t[0], (P2PBusAddr) { NOWHERE + 8 * i },
                                    &word, sizeof(word)));
    }
    expect_fault_event(&m, "t0", NOWHERE, false, NO_WINDOW);
    expect_no_fault(&m);

    /* Another device's faults do not wait for that. */
    g_assert_false(testdev_write(&m.t[1], (P2PBusAddr) { NOWHERE }, &word,
                                 sizeof(word)));
    expect_fault_event(&m, "t1", NOWHERE, true, NO_WINDOW);
    expect_no_fault(&m);

    pass_time(&m);
    expect_no_fault(&m);
    g_assert_false(testdev_read(&m.t[0], (P2PBusAddr) { NOWHERE + 8 }, &word,
                                sizeof(word)));
    expect_fault_event(&m, "t0", NOWHERE + 8, false, NO_WINDOW);
    expect_no_fault(&m);
    machine_end(&m);
}

/* --- Windows follow their BARs ----------------------------------------- */

static void test_move(void)
{
    Machine m = machine_default();

    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { ELSEWHERE });
    expect_state(&m, 1, 2, "mapped", ELSEWHERE);
    expect_reach(&m, &m.t[0], ELSEWHERE, 4096);
    expect_reach(&m, &m.t[1], ELSEWHERE + BAR_SIZE - 4096, 4096);
    expect_no_reach(&m, 0, BAR2(1), NO_WINDOW);
    g_assert_cmpint(translate(&m, BAR2(1)), ==, EFAULT);
    g_assert_cmpint(translate(&m, ELSEWHERE), ==, 0);

    /* Another BAR takes the place. */
    guest_pci_bar_map(&m.t[1].pci, 4, (P2PGuestAddr) { BAR2(1) });
    expect_state(&m, 1, 4, "mapped", BAR2(1));
    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    machine_end(&m);
}

static void test_decode(void)
{
    Machine m = machine_default();

    guest_pci_command(&m.t[1].pci, 0, PCI_COMMAND_MEMORY);
    expect_state(&m, 1, 2, "unmapped", 0);
    expect_no_reach(&m, 0, BAR2(1), REVOKED);
    expect_no_reach(&m, 0, BAR4(1), REVOKED);
    g_assert_cmpint(translate(&m, BAR2(1)), ==, ESTALE);

    guest_pci_command(&m.t[1].pci, PCI_COMMAND_MEMORY, 0);
    expect_state(&m, 1, 2, "mapped", BAR2(1));
    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    expect_reach(&m, &m.t[0], BAR4(1), 4096);
    g_assert_cmpint(translate(&m, BAR2(1)), ==, 0);

    /* What has gone and whose place is taken is not told of any more. */
    guest_pci_command(&m.t[1].pci, 0, PCI_COMMAND_MEMORY);
    guest_pci_bar_map(&m.t[0].pci, 2, (P2PGuestAddr) { BAR2(1) });
    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    g_assert_cmpint(translate(&m, BAR2(1)), ==, 0);
    machine_end(&m);
}

/* Of two BARs at one place, the guest's CPUs and members see the same one. */
static void test_two_bars_in_one_place(void)
{
    Machine m = machine_default();

    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { BAR2(0) });
    expect_state(&m, 1, 2, "mapped", BAR2(0));
    expect_state(&m, 0, 2, "hidden", 0);
    expect_reach(&m, &m.t[0], BAR2(0), 4096);

    /* One that is not shared hides those that are. */
    guest_pci_bar_map(&m.t[2].pci, 2, (P2PGuestAddr) { BAR2(0) });
    expect_state(&m, 1, 2, "hidden", 0);
    expect_state(&m, 0, 2, "hidden", 0);
    expect_untouched(&m, 0, BAR2(0), REVOKED);

    guest_pci_bar_map(&m.t[2].pci, 2, (P2PGuestAddr) { BAR2(2) });
    expect_state(&m, 1, 2, "mapped", BAR2(0));
    expect_reach(&m, &m.t[0], BAR2(0), 4096);
    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { BAR2(1) });
    expect_state(&m, 0, 2, "mapped", BAR2(0));
    expect_state(&m, 1, 2, "mapped", BAR2(1));
    expect_reach(&m, &m.t[1], BAR2(0), 4096);
    machine_end(&m);
}

/* Registers of another device over a single page of a window. */
static void test_partly_hidden(void)
{
    Machine m = machine_default();

    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { 0xd0000000 });
    expect_state(&m, 1, 2, "mapped", 0xd0000000);
    guest_pci_bar_map(&m.t[2].pci, 0, (P2PGuestAddr) { 0xd0010000 });
    expect_state(&m, 1, 2, "hidden", 0);
    expect_no_reach(&m, 0, 0xd0010000, REVOKED);
    expect_no_reach(&m, 0, 0xd0000000, REVOKED);
    guest_pci_bar_map(&m.t[2].pci, 0, (P2PGuestAddr) { REGISTERS(2) });
    expect_state(&m, 1, 2, "mapped", 0xd0000000);
    expect_reach(&m, &m.t[0], 0xd0010000, 4096);
    machine_end(&m);
}

/* Guest RAM stays reachable, and stays RAM. */
static void test_bar_over_ram(void)
{
    Machine m = machine_default();
    uint64_t word = 0x5555;

    qtest_writeq(m.qts, BAR2(1), 0x1111);
    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { 16 * MiB });
    expect_state(&m, 1, 2, "hidden", 0);
    expect_reach(&m, &m.t[0], 16 * MiB, 4096);
    g_assert_true(testdev_write(&m.t[0], (P2PBusAddr) { 16 * MiB }, &word,
                                sizeof(word)));
    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { BAR2(1) });
    g_assert_cmphex(qtest_readq(m.qts, BAR2(1)), ==, 0x1111);
    g_assert_cmphex(qtest_readq(m.qts, 16 * MiB), ==, 0x5555);
    machine_end(&m);
}

static void test_reset(void)
{
    Machine m = machine_default();

    for (unsigned i = 0; i < 3; i++) {
        expect_reach(&m, &m.t[0], BAR2(1), 4096);
        qtest_system_reset(m.qts);
        expect_state(&m, 0, 2, "unmapped", 0);
        expect_state(&m, 1, 4, "unmapped", 0);
        g_assert_cmpint(translate(&m, BAR2(1)), ==, ESTALE);
        g_assert_cmpint(translate(&m, RAM), ==, 0);
        place_all(&m);
        expect_state(&m, 1, 4, "mapped", BAR4(1));
    }
    expect_reach(&m, &m.t[1], BAR4(0), 4096);
    machine_end(&m);
}

static void eject(Machine *m, unsigned n)
{
    g_autofree char *name = g_strdup_printf("t%u", n);

    qtest_qmp_device_del_send(m->qts, name);
    qtest_outl(m->qts, 0xae08, 1u << SLOT(n)); /* PIIX4: the guest's part */
    qtest_qmp_eventwait(m->qts, "DEVICE_DELETED");
}

static void plug(Machine *m, unsigned n)
{
    g_autofree char *name = g_strdup_printf("t%u", n);
    g_autofree char *slot = g_strdup_printf("%u.0", SLOT(n));

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'p2p-testdev', 'id': %s, 'addr': %s, "
        "'p2p-group': 'g0' } }", name, slot);
    place(m, n);
}

static void test_hotplug(void)
{
    Machine m = machine_new("-machine pc -m 128", "p2p-group=g0",
                            "p2p-group=g0", NULL);

    for (unsigned i = 0; i < 3; i++) {
        expect_reach(&m, &m.t[0], BAR2(1), 4096);
        eject(&m, 1);
        g_assert_null(p2p_monitor_member(m.qts, "t1"));
        expect_no_reach(&m, 0, BAR2(1), NO_WINDOW);
        expect_reach(&m, &m.t[0], RAM, 4096);
        expect_reach(&m, &m.t[0], BAR2(0), 4096);

        plug(&m, 2);
        expect_reach(&m, &m.t[0], BAR2(2), 4096);
        expect_reach(&m, &m.t[2], BAR4(0), 4096);
        eject(&m, 2);
        plug(&m, 1);
        expect_reach(&m, &m.t[1], BAR2(0), 4096);
    }
    /* The first member goes, the last stays. */
    eject(&m, 0);
    expect_reach(&m, &m.t[1], BAR2(1), 4096);
    expect_no_reach(&m, 1, BAR2(0), NO_WINDOW);
    plug(&m, 0);
    expect_reach(&m, &m.t[1], BAR2(0), 4096);
    expect_reach(&m, &m.t[0], BAR2(1), 4096);
    machine_end(&m);
}

/* --- P2P_GRANT_CHANGED ------------------------------------------------- */

/* The next event about a window of t1, as "installed" or the reason. */
static char *next_change(Machine *m, int bar)
{
    QDict *event;

    receive_events(m);
    while ((event = qtest_qmp_event_ref(m->qts, "P2P_GRANT_CHANGED"))) {
        QDict *data = qdict_get_qdict(event, "data");
        char *text = NULL;

        if (g_str_equal(qdict_get_str(data, "target"), "t1") &&
            qdict_get_int(data, "bar") == bar) {
            g_assert_cmpstr(qdict_get_str(data, "group"), ==, "g0");
            g_assert_cmpstr(qdict_get_str(data, "initiator"), ==, "t0");
            g_assert_cmphex(compat_qdict_get_uint(data, "offset"), ==, 0);
            g_assert_cmphex(compat_qdict_get_uint(data, "size"), ==, BAR_SIZE);
            g_assert_cmpint(qdict_get_bool(data, "installed"), ==,
                            !qdict_haskey(data, "reason"));
            text = g_strdup(qdict_get_try_str(data, "reason") ?:
                            "installed");
        }
        qobject_unref(event);
        if (text) {
            return text;
        }
    }
    return NULL;
}

static void expect_change(Machine *m, int bar, const char *words)
{
    g_autofree char *text = next_change(m, bar);

    g_assert_nonnull(text);
    g_assert_nonnull(strstr(text, words));
}

static void expect_no_change(Machine *m, int bar)
{
    g_autofree char *text = next_change(m, bar);

    g_assert_cmpstr(text, ==, NULL);
}

static void test_grant_events(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=bar2", NULL);
    GuestPci *t1 = &m.t[1].pci;

    /* Starting up has told already: "not decoded", then the place. */
    pass_time(&m);
    drop_events(&m, "P2P_GRANT_CHANGED");

    pass_time(&m);
    guest_pci_command(t1, 0, PCI_COMMAND_MEMORY);
    expect_change(&m, 2, "not decoded");
    expect_no_change(&m, 2);

    /* What follows at once waits, and only its last state is told. */
    guest_pci_command(t1, PCI_COMMAND_MEMORY, 0);
    guest_pci_command(t1, 0, PCI_COMMAND_MEMORY);
    guest_pci_command(t1, PCI_COMMAND_MEMORY, 0);
    qtest_clock_step(m.qts, 500 * SCALE_MS);
    expect_no_change(&m, 2);
    qtest_clock_step(m.qts, 501 * SCALE_MS);
    expect_change(&m, 2, "installed");
    expect_no_change(&m, 2);

    /* Back to what was told: nothing to tell. */
    guest_pci_command(t1, 0, PCI_COMMAND_MEMORY);
    guest_pci_command(t1, PCI_COMMAND_MEMORY, 0);
    expect_no_change(&m, 2);
    pass_time(&m);
    expect_no_change(&m, 2);

    /* A BAR that moves is nowhere for a moment. */
    guest_pci_bar_map(t1, 2, (P2PGuestAddr) { ELSEWHERE });
    expect_change(&m, 2, "not decoded");
    expect_no_change(&m, 2);
    pass_time(&m);
    expect_change(&m, 2, "installed");
    expect_no_change(&m, 2);

    /* A reason that changes is told. */
    guest_pci_bar_map(t1, 2, (P2PGuestAddr) { 16 * MiB });
    expect_change(&m, 2, "not decoded");
    pass_time(&m);
    expect_change(&m, 2, "not visible");
    pass_time(&m);
    guest_pci_command(t1, 0, PCI_COMMAND_MEMORY);
    expect_change(&m, 2, "not decoded");
    pass_time(&m);
    expect_no_change(&m, 2);
    machine_end(&m);
}

/* --- Sharing at run time ----------------------------------------------- */

static void G_GNUC_PRINTF(3, 4)
expect_refused(Machine *m, const char *why, const char *command, ...)
{
    const QDict *error;
    QDict *response;
    va_list ap;

    va_start(ap, command);
    response = qtest_vqmp(m->qts, command, ap);
    va_end(ap);
    error = qdict_get_qdict(response, "error");
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), why));
    qobject_unref(response);
}

static void test_share_at_run_time(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=bar4", NULL);

    expect_untouched(&m, 0, BAR2(1), NO_WINDOW);
    qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-share', 'arguments': {"
                             " 'device': 't1', 'bar': 2, 'offset': 4096,"
                             " 'size': 8192 } }");
    expect_reach(&m, &m.t[0], BAR2(1) + 4096, 4096);
    expect_reach(&m, &m.t[0], BAR2(1) + 8192, 4096);
    expect_untouched(&m, 0, BAR2(1), NO_WINDOW);

    qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-share', 'arguments': {"
                             " 'device': 't1', 'bar': 2, 'offset': 65536,"
                             " 'access': 'ro' } }");
    expect_read_only(&m, BAR2(1) + 65536);
    g_assert_cmpint(translate(&m, BAR2(1) + 65536), ==, 0);

    expect_refused(&m, "overlaps another one",
                   "{ 'execute': 'p2p-share', "
                   "'arguments': { 'device': 't1', 'bar': 2 } }");
    expect_refused(&m, "has no BAR 9",
                   "{ 'execute': 'p2p-share', "
                   "'arguments': { 'device': 't1', 'bar': 9 } }");
    expect_refused(&m, "no PCI device 't7'",
                   "{ 'execute': 'p2p-share', "
                   "'arguments': { 'device': 't7', 'bar': 2 } }");
    expect_refused(&m, "cuts the window 0x1000-0x3000",
                   "{ 'execute': 'p2p-unshare', "
                   "'arguments': { 'device': 't1', 'bar': 2, 'offset': 4096, 'size': 4096 } }");
    expect_refused(&m, "no window of BAR 0",
                   "{ 'execute': 'p2p-unshare', "
                   "'arguments': { 'device': 't1', 'bar': 0 } }");

    qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-unshare',"
                             " 'arguments': { 'device': 't1', 'bar': 2 } }");
    expect_untouched(&m, 0, BAR2(1) + 4096, NO_WINDOW);
    expect_no_reach(&m, 0, BAR2(1) + 65536, NO_WINDOW);
    expect_reach(&m, &m.t[0], BAR4(1), 4096);
    g_assert_cmpint(translate(&m, BAR2(1) + 4096), ==, EFAULT);

    /* And again, as often as you like. */
    for (unsigned i = 0; i < 100; i++) {
        qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-share',"
                                 " 'arguments': { 'device': 't1', 'bar': 2 }"
                                 " }");
        g_assert_cmpint(translate(&m, BAR2(1)), ==, 0);
        drop_events(&m, "P2P_GRANT_CHANGED");
        qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-unshare',"
                                 " 'arguments': { 'device': 't1', 'bar': 2 }"
                                 " }");
        g_assert_cmpint(translate(&m, BAR2(1)), ==, EFAULT);
        expect_change(&m, 2, "no longer shared");
    }
    machine_end(&m);
}

/* Bytes of address space that the QEMU has. */
static uint64_t address_space_of(Machine *m)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            (int)qtest_pid(m->qts));
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10) * getpagesize();
}

/* What QEMU cannot map, no device model reaches by another way. */
static void test_no_mapping(void)
{
    Machine m = machine_new("-machine q35 -m 128", "p2p-group=g0",
                            "p2p-group=g0,p2p-share=none,size=16M", NULL);
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
    g_autoptr(QDict) window = NULL;
    const QDict *grant;

    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { ELSEWHERE });
    limit.rlim_cur = address_space_of(&m) + 8 * MiB;
    g_assert_cmpint(prlimit(qtest_pid(m.qts), RLIMIT_AS, &limit, NULL), ==,
                    0);
    qtest_qmp_assert_success(m.qts, "{ 'execute': 'p2p-share', 'arguments': {"
                             " 'device': 't1', 'bar': 2 } }");
    window = p2p_monitor_window(m.qts, "t1", 2, 0);
    grant = p2p_monitor_grant(window, "t0");
    g_assert_false(qdict_get_bool(grant, "installed"));
    g_assert_nonnull(strstr(qdict_get_str(grant, "reason"),
                            "could not map BAR 2 of t1"));
    expect_untouched(&m, 0, ELSEWHERE, NO_RIGHT);

    /* With room it comes by itself when the window moves. */
    limit.rlim_cur = RLIM_INFINITY;
    g_assert_cmpint(prlimit(qtest_pid(m.qts), RLIMIT_AS, &limit, NULL), ==,
                    0);
    guest_pci_bar_map(&m.t[1].pci, 2, (P2PGuestAddr) { ELSEWHERE + GiB });
    expect_reach(&m, &m.t[0], ELSEWHERE + GiB, 4096);
    machine_end(&m);
}

static QDict *property(QTestState *qts, const char *device, const char *name)
{
    return qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': { 'path': %s,"
                     " 'property': %s } }", device, name);
}

/*
 * VFIO's devices are in their container for a while after they have left: it
 * is empty by then.
 */
static void test_last_initiator(void)
{
    QTestState *qts = qtest_init("-machine pc -nodefaults "
        "-object p2p-group,id=g0 "
        "-device p2p-fake-passthrough,id=t,addr=4.0,p2p-group=g0,"
        "p2p-initiate=off "
        "-device p2p-fake-passthrough,id=i,addr=5.0,p2p-group=g0");
    GuestPci target = { .qts = qts, .devfn = 4 << 3 };
    g_autoptr(QDict) table = NULL, late = NULL;

    guest_pci_bar_map(&target, 2, (P2PGuestAddr) { 64 * GiB });
    guest_pci_command(&target, PCI_COMMAND_MEMORY, 0);
    table = property(qts, "i", "iommu-table");
    g_assert_nonnull(strstr(qdict_get_str(table, "return"), " t 2 0x0"));

    qtest_qmp_device_del_send(qts, "i");
    qtest_outl(qts, 0xae08, 1u << 5);       /* PIIX4: the guest's part */
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    late = property(qts, "t", "late-revokes");
    g_assert_cmpint(qdict_get_int(late, "return"), ==, 0);
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/view/ram", test_ram);
    qtest_add_func("p2p/view/numa-and-hotplug", test_numa_and_hotplug);
    qtest_add_func("p2p/view/doorbells", test_doorbells);
    qtest_add_func("p2p/view/windows", test_windows);
    qtest_add_func("p2p/view/registers", test_registers);
    qtest_add_func("p2p/view/nothing-else", test_nothing_else);
    qtest_add_func("p2p/view/end-of-window", test_end_of_window);
    qtest_add_func("p2p/view/two-groups", test_two_groups);
    qtest_add_func("p2p/view/sub-range", test_sub_range);
    qtest_add_func("p2p/view/read-only", test_read_only);
    qtest_add_func("p2p/view/no-initiator", test_no_initiator);
    qtest_add_func("p2p/view/rate-limit", test_rate_limit);
    qtest_add_func("p2p/view/move", test_move);
    qtest_add_func("p2p/view/decode", test_decode);
    qtest_add_func("p2p/view/two-bars-in-one-place",
                   test_two_bars_in_one_place);
    qtest_add_func("p2p/view/partly-hidden", test_partly_hidden);
    qtest_add_func("p2p/view/bar-over-ram", test_bar_over_ram);
    qtest_add_func("p2p/view/reset", test_reset);
    qtest_add_func("p2p/view/hotplug", test_hotplug);
    qtest_add_func("p2p/view/last-initiator", test_last_initiator);
    qtest_add_func("p2p/view/grant-events", test_grant_events);
    qtest_add_func("p2p/view/share-at-run-time", test_share_at_run_time);
    qtest_add_func("p2p/view/no-mapping", test_no_mapping);
    return g_test_run();
}
