/*
 * p2p-bridge: what is in the aperture, for the CPU and for devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"
#include "p2p-monitor.h"

#define RW P2P_BRIDGE_ACCESS_RW
#define RO P2P_BRIDGE_ACCESS_RO

/* --- Data -------------------------------------------------------------- */

static void test_data(void)
{
    BridgeMachine *m = bm_default();

    bm_show(m, 0, 0, MiB, 0);
    bm_show(m, 1, 0x3000, 0x5000, 1);
    for (unsigned i = 0; i < 2; i++) {
        bm_expect_data(m, i, bm_slot(m, 0), 0, 0, 4096);
        bm_expect_data(m, i, bm_slot(m, 0) + 123, 0, 123, 3001);
        bm_expect_data(m, i, bm_slot(m, 0) + MiB - 4096, 0, MiB - 4096, 4096);
        bm_expect_data(m, i, bm_slot(m, 0) + MiB - 1, 0, MiB - 1, 1);
        bm_expect_data(m, i, bm_slot(m, 1), 1, 0x3000, 4096);
        bm_expect_data(m, i, bm_slot(m, 1) + 0x4ff8, 1, 0x7ff8, 8);
    }
    bm_end(m);
}

/* What is reached in the aperture is what is reached in the BAR. */
static void test_same_memory(void)
{
    BridgeMachine *m = bm_default();
    uint32_t ram = bm_share(m, 1, 4, 0x10000, 0x10000, RW);
    uint64_t word = 0;

    bm_show(m, 1, 0, 64 * KiB, 0);
    bridge_ok(bridge_attach(&m->b, ram, 1));
    qtest_writeq(m->qts, BM_BAR2(1) + 0x100, 0x1111);
    g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 0) + 0x100), ==, 0x1111);
    g_assert_true(testdev_read(&m->t[0], (P2PBusAddr) { bm_slot(m, 0) + 0x100
                               }, &word, 8));
    g_assert_cmphex(word, ==, 0x1111);

    qtest_writeq(m->qts, BM_BAR4(1) + 0x10200, 0x2222);
    g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 1) + 0x200), ==, 0x2222);
    word = 0x3333;
    g_assert_true(testdev_write(&m->t[0], (P2PBusAddr) { bm_slot(m, 1) + 0x200
                                }, &word, 8));
    g_assert_cmphex(qtest_readq(m->qts, BM_BAR4(1) + 0x10200), ==, 0x3333);
    bm_end(m);
}

/* Through the window of one device into another's, by DMA alone */
static void test_device_to_device(void)
{
    BridgeMachine *m = bm_default();
    uint8_t data[4096], received[4096];

    bm_show(m, 0, 0, 64 * KiB, 0);
    bm_show(m, 1, 0, 64 * KiB, 1);
    bm_fill(data, sizeof(data));
    memcpy(m->bar2[1] + 0x2000, data, sizeof(data));
    g_assert_true(testdev_read(&m->t[0], (P2PBusAddr) { bm_slot(m, 1) + 0x2000
                               }, received, sizeof(received)));
    g_assert_true(testdev_write(&m->t[0], (P2PBusAddr) { bm_slot(m, 0) },
                                received, sizeof(received)));
    g_assert_cmpmem(m->bar2[0], sizeof(data), data, sizeof(data));
    bm_end(m);
}

/* --- What is not there ------------------------------------------------- */

static void test_behind_a_window(void)
{
    BridgeMachine *m = bm_default();
    uint64_t end = bm_slot(m, 3) + 0x5000;
    uint64_t word[2] = { 1, 2 };

    bm_expect_nothing(m, 1, bm_slot(m, 3), 0);
    bm_show(m, 0, 0x8000, 0x5000, 3);
    bm_expect_nothing(m, 1, bm_slot(m, 2), 0);
    bm_expect_nothing(m, 1, bm_slot(m, 3) - 8, 0);
    bm_expect_nothing(m, 1, end, 0);
    bm_expect_nothing(m, 1, bm_slot(m, 4) - 8, 0);
    bm_expect_nothing(m, 1, bm_slot(m, 4), 0);
    bm_expect_nothing(m, 1, m->b.aperture + GiB - 8, 0);

    /* Half of it outside: none of it */
    m->bar2[0][0xcff8] = 0x77;
    g_assert_false(testdev_write(&m->t[1], (P2PBusAddr) { end - 8 }, word,
                                 16));
    g_assert_cmphex(m->bar2[0][0xd000], ==, 0);
    /* Before the window and behind it in the BAR itself */
    g_assert_cmphex(m->bar2[0][0x7fff], ==, 0);
    bm_end(m);
}

static void test_unaligned(void)
{
    BridgeMachine *m = bm_default();

    bm_show(m, 0, 0, 4096, 0);
    memset(m->bar2[0], 0x11, 4096);
    /* The CPU's access over the end: what is there, and ones */
    g_assert_cmphex(qtest_readl(m->qts, bm_slot(m, 0) + 0xffe), ==,
                    0xffff1111);
    qtest_writel(m->qts, bm_slot(m, 0) + 0xffe, 0x44332222);
    g_assert_cmphex(qtest_readw(m->qts, bm_slot(m, 0) + 0xffe), ==, 0x2222);
    g_assert_cmphex(m->bar2[0][4096], ==, 0);
    bm_end(m);
}

/* --- Read only --------------------------------------------------------- */

static void expect_read_only(BridgeMachine *m, unsigned i, uint64_t gpa,
                             unsigned n, uint64_t offset)
{
    uint64_t before = 0x1212121200000000 | offset, word = 0;
    uint64_t *file = (uint64_t *)(m->bar2[n] + offset);

    *file = before;
    g_assert_cmphex(qtest_readq(m->qts, gpa), ==, before);
    g_assert_true(testdev_read(&m->t[i], (P2PBusAddr) { gpa }, &word, 8));
    g_assert_cmphex(word, ==, before);
    word = 0x66;
    g_assert_false(testdev_write(&m->t[i], (P2PBusAddr) { gpa }, &word, 8));
    g_assert_cmphex(*file, ==, before);
}

static void test_read_only(void)
{
    const BridgeMachineOptions options = {
        .t = { ",p2p-share=bar2:ro@0-0x80000+bar2@0x80000-0x100000", "" },
    };
    BridgeMachine *m = bm_new(&options);
    uint32_t host = bm_share(m, 0, 2, 0, 64 * KiB, RO);
    uint32_t guest = bm_share(m, 0, 2, 0x80000, 64 * KiB, RO);
    uint32_t rw = bm_share(m, 0, 2, 0x80000, 64 * KiB, RW);

    bridge_ok(bridge_attach(&m->b, host, 0));
    bridge_ok(bridge_attach(&m->b, guest, 1));
    bridge_ok(bridge_attach(&m->b, rw, 2));
    expect_read_only(m, 1, bm_slot(m, 0), 0, 0);
    expect_read_only(m, 1, bm_slot(m, 0) + 0xfff8, 0, 0xfff8);
    expect_read_only(m, 1, bm_slot(m, 1) + 0x1000, 0, 0x81000);
    /* The same memory in another slot, for writing */
    bm_expect_data(m, 1, bm_slot(m, 2), 0, 0x80000, 4096);
    expect_read_only(m, 1, bm_slot(m, 1), 0, 0x80000);
    bm_end(m);
}

/* --- Many, large, often ------------------------------------------------ */

static void test_many(void)
{
    const BridgeMachineOptions options = {
        .bridge = ",aperture=128M", .t = { "", "" }, .size = { 64 * MiB },
    };
    BridgeMachine *m = bm_new(&options);
    uint32_t windows[64], whole;

    for (unsigned i = 0; i < 64; i++) {
        windows[i] = bm_show(m, 0, i * MiB, MiB, 63 - i);
    }
    for (unsigned i = 0; i < 64; i += 7) {
        bm_expect_data(m, 1, bm_slot(m, 63 - i) + 0x5000, 0,
                       i * MiB + 0x5000, 4096);
    }
    for (unsigned i = 0; i < 64; i++) {
        bridge_ok(bridge_detach(&m->b, windows[i]));
        bm_expect_nothing(m, 1, bm_slot(m, 63 - i), 1);
        bridge_ok(bridge_unshare(&m->b, windows[i]));
    }
    whole = bm_show(m, 0, 0, 64 * MiB, 32);
    bm_expect_data(m, 1, bm_slot(m, 63) + BRIDGE_SLOT - 4096, 0,
                   64 * MiB - 4096, 4096);
    bm_expect_nothing(m, 1, bm_slot(m, 31) + BRIDGE_SLOT - 8, 1);
    bridge_ok(bridge_detach(&m->b, whole));
    bm_end(m);
}

static void test_again_and_again(void)
{
    BridgeMachine *m = bm_default();
    uint32_t window = bm_share(m, 0, 2, 0, 64 * KiB, RW);
    BridgePage before, after;

    bridge_drop_events(&m->b);
    bridge_page(&m->b, &before);
    for (unsigned i = 0; i < 300; i++) {
        bridge_ok(bridge_attach(&m->b, window, i % 5));
        if (i % 50 == 0) {
            bm_expect_data(m, 1, bm_slot(m, i % 5), 0, 0, 4096);
        }
        bridge_ok(bridge_detach(&m->b, window));
    }
    bm_expect_nothing(m, 1, bm_slot(m, 299 % 5), 0);
    /* The driver's own doing is no event. */
    g_assert_cmpuint(bridge_drop_events(&m->b), ==, 0);
    bridge_page(&m->b, &after);
    g_assert_cmpuint(after.events_lost, ==, before.events_lost);
    bm_end(m);
}

/* --- The aperture itself ----------------------------------------------- */

static void test_move(void)
{
    BridgeMachine *m = bm_default();

    bm_show(m, 0, 0, 64 * KiB, 1);
    m->b.aperture = BM_APERTURE(3);
    bridge_place(&m->b);
    bm_expect_data(m, 1, bm_slot(m, 1), 0, 0, 4096);
    bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
    g_assert_false(testdev_write(&m->t[1], (P2PBusAddr) {
                                 BM_APERTURE(0) + BRIDGE_SLOT }, "x", 1));

    /* Without decode nobody reaches it; the window stays attached. */
    guest_pci_command(&m->b.pci, 0, PCI_COMMAND_MEMORY);
    g_assert_false(testdev_write(&m->t[1], (P2PBusAddr) { bm_slot(m, 1) },
                                 "x", 1));
    guest_pci_command(&m->b.pci, PCI_COMMAND_MEMORY, 0);
    bm_expect_data(m, 1, bm_slot(m, 1), 0, 0, 4096);

    /* One that is attached while the aperture is nowhere */
    m->b.aperture = BM_APERTURE(0);
    bridge_place(&m->b);
    bm_show(m, 1, 0, 64 * KiB, 2);
    bm_expect_data(m, 0, bm_slot(m, 2), 1, 0, 4096);
    bm_expect_data(m, 1, bm_slot(m, 1), 0, 0, 4096);
    bm_end(m);
}

/* --- Who reaches it ---------------------------------------------------- */

static void test_who(void)
{
    const BridgeMachineOptions options = {
        .more = "-object p2p-group,id=g1",
        .t = { "", "", ",p2p-initiate=off", ",p2p-group=g1" },
    };
    BridgeMachine *m = bm_new(&options);
    uint64_t word = 1;

    bm_show(m, 0, 0, 64 * KiB, 0);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    for (unsigned i = 2; i < 4; i++) {
        P2PBusAddr bus = { bm_slot(m, 0) };

        g_assert_false(testdev_read(&m->t[i], bus, &word, 8));
        g_assert_false(testdev_write(&m->t[i], bus, &word, 8));
    }
    bm_end(m);
}

/* A bridge with nobody to talk of, and one whose group comes later */
static void test_alone(void)
{
    const BridgeMachineOptions options = { .machine = "pc" };
    BridgeMachine *m = bm_new(&options);
    BridgeIdentity id = bridge_identify(&m->b);

    g_assert_cmpuint(id.members, ==, 1);
    g_assert_cmpuint(id.windows, ==, 0);
    g_assert_cmpuint(id.pairs, ==, 0);
    bridge_expect(bridge_share(&m->b, BM_RID(0), 2, 0, 4096, RW),
                  P2P_BRIDGE_NO_MEMBER);
    g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 0)), ==, UINT64_MAX);
    bm_end(m);
}

static void test_two_bridges(void)
{
    const BridgeMachineOptions options = {
        .more = "-device p2p-bridge,id=br1,addr=b.0,p2p-group=g0,aperture=64M",
        .t = { "", "" },
    };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b, other;
    uint32_t window, again;
    BridgeMember list[8];

    bridge_probe(&other, m->qts, BM_BRIDGE_RID(1), BM_BARS(1),
                 BM_APERTURE(1), BM_MEMORY(1));
    bridge_start(&other);
    g_assert_cmpuint(bridge_identify(&other).slots, ==, 32);
    g_assert_cmpuint(bridge_members(b, 0, list, 8, NULL), ==, 4);

    window = bm_show(m, 0, 0, 64 * KiB, 0);
    again = bridge_ok(bridge_share(&other, BM_RID(0), 2, 0, 64 * KiB, RW));
    bridge_ok(bridge_attach(&other, again, 0));
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    bm_expect_data(m, 1, other.aperture, 0, 0, 4096);
    /* Neither shares the other's aperture. */
    bridge_expect(bridge_share(b, BM_BRIDGE_RID(1), 4, 0, 4096, RW),
                  P2P_BRIDGE_NOT_SHARED);
    bridge_expect(bridge_share(&other, BM_BRIDGE_RID(0), 4, 0, 4096, RW),
                  P2P_BRIDGE_NOT_SHARED);
    g_assert_cmpuint(bridge_identify(b).windows, ==,
                     bridge_identify(&other).windows);

    bridge_reset(&other);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    bm_expect_nothing(m, 1, other.aperture, 0);
    bridge_ok(bridge_detach(b, window));
    bm_end(m);
}

/* --- Passthrough initiators -------------------------------------------- */

/* One entry of the fake IOMMU's table that is at @gpa; or NULL */
static char *iommu_entry(QTestState *qts, uint64_t gpa)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'qom-get', "
        "'arguments': { 'path': 'i', 'property': 'iommu-table' } }");
    const char *table = qdict_get_str(reply, "return");
    g_autofree char *at = g_strdup_printf("%" PRIx64, gpa);
    const char *found = strstr(table, at);

    g_test_message("%s", table);
    return found ? g_strndup(found, strcspn(found, "\n")) : NULL;
}

static uint64_t late_revokes(QTestState *qts)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'qom-get', "
        "'arguments': { 'path': 't', 'property': 'late-revokes' } }");

    return qdict_get_int(reply, "return");
}

/* What the IOMMU holds of the aperture is what is attached, and not longer. */
static void test_iommu(void)
{
    const BridgeMachineOptions options = {
        .more = "-device p2p-fake-passthrough,id=t,addr=4.0,p2p-group=g0 "
                "-device p2p-fake-passthrough,id=i,addr=5.0,p2p-group=g0",
    };
    BridgeMachine *m = bm_new(&options);
    GuestPci target = { .qts = m->qts, .devfn = BM_RID(0) };
    g_autofree char *before = NULL, *shown = NULL, *off = NULL, *gone = NULL;
    BridgeEvent e;
    uint32_t window;

    guest_pci_bar_map(&target, 2, (P2PGuestAddr) { BM_BAR2(0) });
    guest_pci_command(&target, PCI_COMMAND_MEMORY, 0);
    window = bm_share(m, 0, 2, 0, 64 * KiB, RW);
    before = iommu_entry(m->qts, bm_slot(m, 5));
    g_assert_cmpstr(before, ==, NULL);
    bridge_ok(bridge_attach(&m->b, window, 5));
    shown = iommu_entry(m->qts, bm_slot(m, 5));
    g_assert_nonnull(shown);
    g_assert_cmpuint(late_revokes(m->qts), ==, 0);

    guest_pci_command(&target, 0, PCI_COMMAND_MEMORY);
    off = iommu_entry(m->qts, bm_slot(m, 5));
    g_assert_cmpstr(off, ==, NULL);
    g_assert_cmpuint(late_revokes(m->qts), ==, 0);
    e = bridge_wait_event_of(&m->b, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmphex(e.window, ==, window);

    guest_pci_command(&target, PCI_COMMAND_MEMORY, 0);
    bridge_ok(bridge_unshare(&m->b, window));
    window = bm_share(m, 0, 2, 0, 64 * KiB, RW);
    bridge_ok(bridge_attach(&m->b, window, 5));
    bridge_ok(bridge_detach(&m->b, window));
    gone = iommu_entry(m->qts, bm_slot(m, 5));
    g_assert_cmpstr(gone, ==, NULL);
    bm_end(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge-aperture/data", test_data);
    qtest_add_func("p2p/bridge-aperture/same-memory", test_same_memory);
    qtest_add_func("p2p/bridge-aperture/device-to-device",
                   test_device_to_device);
    qtest_add_func("p2p/bridge-aperture/behind-a-window",
                   test_behind_a_window);
    qtest_add_func("p2p/bridge-aperture/unaligned", test_unaligned);
    qtest_add_func("p2p/bridge-aperture/read-only", test_read_only);
    qtest_add_func("p2p/bridge-aperture/many", test_many);
    qtest_add_func("p2p/bridge-aperture/again-and-again",
                   test_again_and_again);
    qtest_add_func("p2p/bridge-aperture/move", test_move);
    qtest_add_func("p2p/bridge-aperture/who", test_who);
    qtest_add_func("p2p/bridge-aperture/alone", test_alone);
    qtest_add_func("p2p/bridge-aperture/two-bridges", test_two_bridges);
    qtest_add_func("p2p/bridge-aperture/iommu", test_iommu);
    return g_test_run();
}
