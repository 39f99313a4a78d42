/*
 * p2p-bridge: windows that go, and guests that do not answer
 *
 * Time is the virtual clock, which moves when a test says so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"
#include "p2p-monitor.h"

#define RW P2P_BRIDGE_ACCESS_RW

#define SIZE (64 * KiB)

static BridgeMachine *machine_new(const char *machine, const char *bridge)
{
    const BridgeMachineOptions options = {
        .machine = machine, .bridge = bridge,
        .t = { ",p2p-share=bar2+bar4", ",p2p-share=bar2", "" },
    };
    BridgeMachine *m = bm_new(&options);

    bridge_drop_events(&m->b);
    return m;
}

static void expect_event(Bridge *b, uint16_t type, uint16_t reason,
                         uint32_t window, uint32_t slot)
{
    BridgeEvent e = bridge_wait_event_of(b, type);

    g_assert_cmpuint(e.reason, ==, reason);
    g_assert_cmphex(e.window, ==, window);
    g_assert_cmpuint(e.slot, ==, slot);
    g_assert_cmphex(e.rid, ==, 0);
}

/* No event but "changed" is there, nor comes. */
static void expect_no_event(Bridge *b)
{
    BridgeEvent e;

    bridge_settle(b);
    while (bridge_poll_event(b, &e)) {
        g_assert_cmpuint(e.type, ==, P2P_BRIDGE_EVENT_CHANGED);
    }
}

static void expect_record(Bridge *b, uint32_t window, uint32_t state,
                          uint32_t reason)
{
    BridgeRecord r = bridge_record(b, window);

    g_assert_cmpuint(r.state, ==, state);
    g_assert_cmpuint(r.reason, ==, reason);
}

/* What is left of a window that has gone */
static void expect_revoked(BridgeMachine *m, uint32_t window, uint32_t slot,
                           unsigned n, uint32_t reason)
{
    Bridge *b = &m->b;
    BridgeCompletion done;

    expect_record(b, window, P2P_BRIDGE_STATE_REVOKED, reason);
    bm_expect_nothing(m, 2, bm_slot(m, slot), n);
    done = bridge_attach(b, window, 100);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_REVOKED);
    g_assert_cmpuint(done.reason, ==, reason);
    done = bridge_detach(b, window);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_REVOKED);
    g_assert_cmpuint(done.reason, ==, reason);
    bridge_expect(bridge_acknowledge(b, window), P2P_BRIDGE_NOT_REVOKED);
    bridge_ok(bridge_unshare(b, window));
    expect_no_event(b);
}

/* --- The host takes back ----------------------------------------------- */

static void begin(BridgeMachine *m, uint32_t window, uint32_t slot)
{
    bm_host_unshare_begin(m, 0);
    expect_event(&m->b, P2P_BRIDGE_EVENT_REVOKE, P2P_BRIDGE_REVOKE_UNSHARED,
                 window, slot);
    expect_record(&m->b, window, P2P_BRIDGE_STATE_REVOKING,
                  P2P_BRIDGE_REVOKE_UNSHARED);
    /* Until it is let go it works. */
    bm_expect_data(m, 1, bm_slot(m, slot), 0, 0, 4096);
}

static void test_acknowledge(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;

    for (unsigned i = 0; i < 4; i++) {
        uint32_t window = bm_show(m, 0, 0, SIZE, 3);

        begin(m, window, 3);
        bridge_expect(bridge_unshare(b, window), P2P_BRIDGE_ATTACHED);
        bridge_expect(bridge_attach(b, window, 4), P2P_BRIDGE_ATTACHED);
        /* Nothing new of it */
        bridge_expect(bridge_share(b, BM_RID(0), 2, 0, SIZE, RW),
                      P2P_BRIDGE_NOT_SHARED);
        bridge_ok(i % 2 ? bridge_detach(b, window)
                        : bridge_acknowledge(b, window));
        g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 3)), ==, UINT64_MAX);
        bm_host_unshare_end(m);
        expect_event(b, P2P_BRIDGE_EVENT_REVOKED,
                     P2P_BRIDGE_REVOKE_ACKNOWLEDGED, window, 3);
        expect_revoked(m, window, 3, 0, P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
        bm_host_share(m, 0, 0, m->size[0]);
    }
    bm_end(m);
}

static void test_timeout(void)
{
    static const struct {
        const char *property;
        unsigned ms;
    } times[] = {
        { "", 1000 }, { ",revoke-timeout=10", 10 },
        { ",revoke-timeout=10000", 10000 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(times); i++) {
        BridgeMachine *m = machine_new("q35", times[i].property);
        uint32_t window = bm_show(m, 0, 0, SIZE, 3);

        begin(m, window, 3);
        bm_milliseconds(m, times[i].ms - 2);
        expect_no_event(&m->b);
        bm_expect_data(m, 1, bm_slot(m, 3), 0, 0, 4096);
        bm_milliseconds(m, 3);
        bm_host_unshare_end(m);
        expect_event(&m->b, P2P_BRIDGE_EVENT_REVOKED,
                     P2P_BRIDGE_REVOKE_TIMEOUT, window, 3);
        bm_milliseconds(m, 100000);
        expect_revoked(m, window, 3, 0, P2P_BRIDGE_REVOKE_TIMEOUT);
        bm_end(m);
    }
}

/* Twice, for another window, for one that is not there, and the right one */
static void test_wrong_answers(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;
    uint32_t other = bm_show(m, 1, 0, SIZE, 0);
    uint32_t same = bm_share(m, 0, 4, 0, SIZE, RW);
    uint32_t window = bm_show(m, 0, 0, SIZE, 3);

    bridge_ok(bridge_attach(b, same, 1));
    begin(m, window, 3);
    bridge_expect(bridge_acknowledge(b, other), P2P_BRIDGE_NOT_REVOKED);
    bridge_expect(bridge_acknowledge(b, same), P2P_BRIDGE_NOT_REVOKED);
    bridge_expect(bridge_acknowledge(b, window + 64), P2P_BRIDGE_NO_WINDOW);
    bridge_expect(bridge_acknowledge(b, 0), P2P_BRIDGE_NO_WINDOW);
    expect_record(b, window, P2P_BRIDGE_STATE_REVOKING,
                  P2P_BRIDGE_REVOKE_UNSHARED);
    expect_record(b, other, P2P_BRIDGE_STATE_ATTACHED, 0);
    bridge_ok(bridge_acknowledge(b, window));
    bridge_expect(bridge_acknowledge(b, window), P2P_BRIDGE_NOT_REVOKED);
    bm_host_unshare_end(m);
    expect_event(b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_ACKNOWLEDGED,
                 window, 3);
    bm_milliseconds(m, 5000);
    expect_no_event(b);

    expect_record(b, other, P2P_BRIDGE_STATE_ATTACHED, 0);
    expect_record(b, same, P2P_BRIDGE_STATE_ATTACHED, 0);
    bm_expect_data(m, 2, bm_slot(m, 0), 1, 0, 4096);
    qtest_writeq(m->qts, bm_slot(m, 1), 0x99);
    g_assert_cmphex(qtest_readq(m->qts, BM_BAR4(0)), ==, 0x99);
    bm_end(m);
}

/* Some of the windows are answered for, the rest run out of time. */
static void test_several(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;
    uint32_t windows[5], shared = bm_share(m, 0, 2, 0, SIZE, RW);

    for (unsigned i = 0; i < 5; i++) {
        windows[i] = bm_show(m, 0, i * SIZE, SIZE, i);
    }
    bm_host_unshare_begin(m, 0);
    for (unsigned i = 0; i < 5; i++) {
        expect_event(b, P2P_BRIDGE_EVENT_REVOKE, P2P_BRIDGE_REVOKE_UNSHARED,
                     windows[i], i);
    }
    bridge_ok(bridge_acknowledge(b, windows[3]));
    bridge_ok(bridge_acknowledge(b, windows[0]));
    expect_event(b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_ACKNOWLEDGED,
                 windows[3], 3);
    expect_event(b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_ACKNOWLEDGED,
                 windows[0], 0);
    bm_milliseconds(m, 999);
    bm_expect_data(m, 2, bm_slot(m, 1), 0, SIZE, 4096);
    bm_milliseconds(m, 2);
    bm_host_unshare_end(m);
    for (unsigned i = 0; i < 5; i++) {
        if (i != 3 && i != 0) {
            expect_event(b, P2P_BRIDGE_EVENT_REVOKED,
                         P2P_BRIDGE_REVOKE_TIMEOUT, windows[i], i);
        }
        bm_expect_nothing(m, 2, bm_slot(m, i), 0);
    }
    /* What was not attached went with the host's window. */
    expect_event(b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_UNSHARED,
                 shared, 0);
    bm_end(m);
}

static void test_only_shared(void)
{
    BridgeMachine *m = machine_new("q35", "");
    uint32_t window = bm_share(m, 0, 2, 0, SIZE, RW);

    bm_host_unshare(m, 0);
    expect_event(&m->b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_UNSHARED,
                 window, 0);
    expect_revoked(m, window, 0, 0, P2P_BRIDGE_REVOKE_UNSHARED);
    bm_end(m);
}

/* Who has no driver, or one that has failed, gets the time and no more. */
static void test_nobody_there(void)
{
    for (unsigned i = 0; i < 3; i++) {
        BridgeMachine *m = machine_new("q35", "");
        Bridge *b = &m->b;
        uint32_t window = bm_show(m, 0, 0, SIZE, 0);

        switch (i) {
        case 0:
            bridge_disable(b);
            break;
        case 1:
            qtest_writel(m->qts, b->index, 5000);
            bridge_doorbell(b);
            bridge_wait_failed(b);
            break;
        case 2:
            guest_pci_command(&b->pci, 0, PCI_COMMAND_MASTER);
            break;
        }
        bm_host_unshare_begin(m, 0);
        bm_milliseconds(m, 999);
        g_assert_cmpuint(bridge_state(b, window), ==,
                         P2P_BRIDGE_STATE_REVOKING);
        bm_milliseconds(m, 2);
        bm_host_unshare_end(m);
        expect_record(b, window, P2P_BRIDGE_STATE_REVOKED,
                      P2P_BRIDGE_REVOKE_TIMEOUT);
        bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
        guest_pci_command(&b->pci, PCI_COMMAND_MASTER, 0);
        bridge_disable(b);
        g_assert_cmpuint(bridge_enable(b), ==, 0);
        bridge_ok(bridge_unshare(b, window));
        bm_end(m);
    }
}

/* A window that is being revoked when the bridge is reset, or goes */
static void test_reset_meanwhile(void)
{
    for (unsigned i = 0; i < 3; i++) {
        BridgeMachine *m = machine_new("q35", "");
        Bridge *b = &m->b;
        uint8_t express = guest_pci_capability(&b->pci, PCI_CAP_ID_EXP);
        uint32_t window = bm_show(m, 0, 0, SIZE, 0);
        BridgePage page;

        begin(m, window, 0);
        switch (i) {
        case 0:
            bridge_reset(b);
            break;
        case 1:
            guest_pci_writew(&b->pci, express + PCI_EXP_DEVCTL,
                             PCI_EXP_DEVCTL_BCR_FLR);
            break;
        case 2:
            guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
            expect_event(b, P2P_BRIDGE_EVENT_REVOKED,
                         P2P_BRIDGE_REVOKE_NOT_DECODED, window, 0);
            break;
        }
        bm_host_unshare_end(m);
        bridge_place(b);
        bridge_page(b, &page);
        g_assert_cmphex(page.pending, ==, 0);
        guest_pci_command(&m->t[0].pci, PCI_COMMAND_MEMORY, 0);
        bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
        bm_end(m);
    }
}

/* QEMU ends while the command waits. */
static void test_quit_meanwhile(void)
{
    BridgeMachine *m = machine_new("q35", "");

    begin(m, bm_show(m, 0, 0, SIZE, 0), 0);
    bm_end(m);
}

/* It does not wait for a guest that cannot answer. */
static void test_stopped(void)
{
    BridgeMachine *m = machine_new("q35", "");
    uint32_t window = bm_show(m, 0, 0, SIZE, 0);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'stop' }");
    bm_host_unshare(m, 0);
    bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'cont' }");
    expect_event(&m->b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_UNSHARED,
                 window, 0);
    expect_revoked(m, window, 0, 0, P2P_BRIDGE_REVOKE_UNSHARED);
    bm_end(m);
}

/* What a full ring did not tell stands in the page. */
static void test_lost_events(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;
    uint32_t window;
    BridgePage before, after;

    bridge_disable(b);
    bridge_rings(b, 16, 16, 2);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    window = bm_show(m, 0, 0, SIZE, 9);
    for (unsigned i = 0; i < 4; i++) {
        bm_host_unshare(m, 1);
        bridge_settle(b);
        bm_host_share(m, 1, 0, SIZE);
        bridge_settle(b);
    }
    bridge_page(b, &before);
    bm_host_unshare_begin(m, 0);
    bridge_settle(b);
    bridge_page(b, &after);
    g_assert_cmpuint(after.events_lost, >, before.events_lost);
    g_assert_cmphex(after.pending, ==,
                    1ull << (window & P2P_BRIDGE_WINDOW_RECORD_MASK));
    bridge_ok(bridge_acknowledge(b, window));
    bm_host_unshare_end(m);
    expect_record(b, window, P2P_BRIDGE_STATE_REVOKED,
                  P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
    bm_end(m);
}

/* --- The target goes, sleeps, moves ------------------------------------ */

static void decode_off(BridgeMachine *m)
{
    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
}

static void sleep_d3(BridgeMachine *m)
{
    uint8_t pm = guest_pci_capability(&m->t[0].pci, PCI_CAP_ID_PM);

    guest_pci_writew(&m->t[0].pci, pm + PCI_PM_CTRL, 3);
}

static void function_reset(BridgeMachine *m)
{
    uint8_t express = guest_pci_capability(&m->t[0].pci, PCI_CAP_ID_EXP);

    guest_pci_writew(&m->t[0].pci, express + PCI_EXP_DEVCTL,
                     PCI_EXP_DEVCTL_BCR_FLR);
}

static void move_bar(BridgeMachine *m)
{
    guest_pci_bar_map(&m->t[0].pci, 2, (P2PGuestAddr) { BM_ELSEWHERE });
}

static void move_upper_half(BridgeMachine *m)
{
    guest_pci_writel(&m->t[0].pci, PCI_BASE_ADDRESS_3, BM_ELSEWHERE >> 32);
}

static const struct {
    const char *name;
    void (*act)(BridgeMachine *m);
    uint32_t reason;
} losses[] = {
    { "decode off", decode_off, P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "D3", sleep_d3, P2P_BRIDGE_REVOKE_NOT_DECODED },
    { "function level reset", function_reset, P2P_BRIDGE_REVOKE_NOT_DECODED },
    /* 3 or 4: see test_move_reason(); in between it may be nowhere */
    { "move", move_upper_half, 0 },
    { "move in two writes", move_bar, 0 },
};

static void wake_up(BridgeMachine *m)
{
    uint8_t pm = guest_pci_capability(&m->t[0].pci, PCI_CAP_ID_PM);

    guest_pci_writew(&m->t[0].pci, pm + PCI_PM_CTRL, 0);
    bm_place(m, 0);
}

static void test_losses(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;

    for (unsigned i = 0; i < ARRAY_SIZE(losses); i++) {
        uint32_t shared = bm_share(m, 0, 2, 0, SIZE, RW);
        uint32_t other = bm_show(m, 1, 0, SIZE, 1);
        uint32_t window = bm_show(m, 0, 0, SIZE, 6);
        BridgeEvent e;

        g_test_message("%s", losses[i].name);
        losses[i].act(m);
        /* When the write is done it has gone, for all. */
        bm_expect_nothing(m, 1, bm_slot(m, 6), 0);
        e = bridge_wait_event_of(b, P2P_BRIDGE_EVENT_REVOKED);
        g_assert_cmphex(e.window, ==, window);
        g_assert_cmpuint(e.slot, ==, 6);
        g_assert_cmphex(e.target, ==, BM_RID(0));
        if (losses[i].reason) {
            g_assert_cmpuint(e.reason, ==, losses[i].reason);
        }
        wake_up(m);
        expect_revoked(m, window, 6, 0, e.reason);
        expect_record(b, shared, P2P_BRIDGE_STATE_SHARED, 0);
        expect_record(b, other, P2P_BRIDGE_STATE_ATTACHED, 0);
        bm_expect_data(m, 2, bm_slot(m, 1), 1, 0, 4096);

        /* It can be shown anew. */
        bridge_ok(bridge_attach(b, shared, 6));
        bm_expect_data(m, 2, bm_slot(m, 6), 0, 0, 4096);
        bridge_ok(bridge_detach(b, shared));
        bridge_ok(bridge_unshare(b, shared));
        bridge_ok(bridge_detach(b, other));
        bridge_ok(bridge_unshare(b, other));
        bridge_drop_events(b);
    }
    bm_end(m);
}

/* One write, after which the BAR decodes as it did before, elsewhere */
static void test_move_reason(void)
{
    BridgeMachine *m = machine_new("q35", "");
    uint32_t window = bm_show(m, 0, 0, SIZE, 6);

    move_upper_half(m);
    expect_event(&m->b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_MOVED,
                 window, 6);
    bm_end(m);
}

/* Off and on before the driver looks: it went, and does not come back. */
static void test_off_and_on(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;
    uint32_t window = bm_show(m, 0, 0, SIZE, 0);

    decode_off(m);
    guest_pci_command(&m->t[0].pci, PCI_COMMAND_MEMORY, 0);
    bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
    expect_event(b, P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_NOT_DECODED,
                 window, 0);
    expect_revoked(m, window, 0, 0, P2P_BRIDGE_REVOKE_NOT_DECODED);
    bm_end(m);
}

/* Registers of another device over it, while it decodes */
static void test_hidden(void)
{
    BridgeMachine *m = machine_new("q35", "");
    Bridge *b = &m->b;
    uint32_t window;
    BridgeEvent e;

    guest_pci_bar_map(&m->t[0].pci, 2, (P2PGuestAddr) { 0xe0000000 });
    bridge_drop_events(b);
    window = bm_show(m, 0, 0, SIZE, 0);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    guest_pci_bar_map(&m->t[2].pci, 0, (P2PGuestAddr) { 0xe0004000 });
    bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
    e = bridge_wait_event_of(b, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmphex(e.window, ==, window);
    bm_end(m);
}

/* --- Hot-plug ---------------------------------------------------------- */

static void test_unplug_target(void)
{
    BridgeMachine *m = machine_new("pc", "");
    Bridge *b = &m->b;

    for (unsigned i = 0; i < 3; i++) {
        uint32_t attached = bm_show(m, 0, 0, SIZE, 2);
        uint32_t shared = bm_share(m, 0, 2, SIZE, SIZE, RW);
        uint32_t other = bm_show(m, 1, 0, SIZE, 4);
        unsigned seen = 0;

        bm_unplug(m, "t0", BM_SLOT(0));
        for (unsigned n = 0; n < 2; n++) {
            BridgeEvent e = bridge_wait_event_of(b, P2P_BRIDGE_EVENT_REVOKED);

            g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_REVOKE_GONE);
            g_assert_cmphex(e.target, ==, BM_RID(0));
            seen |= e.window == attached ? 1 : e.window == shared ? 2 : 0;
        }
        g_assert_cmpuint(seen, ==, 3);
        expect_no_event(b);
        bridge_expect(bridge_share(b, BM_RID(0), 2, 0, SIZE, RW),
                      P2P_BRIDGE_NO_MEMBER);
        g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 2)), ==, UINT64_MAX);

        /* Another function with this RID has nothing to do with them. */
        bm_plug(m, 0, "bar2");
        expect_revoked(m, attached, 2, 0, P2P_BRIDGE_REVOKE_GONE);
        bridge_expect(bridge_attach(b, shared, 3), P2P_BRIDGE_REVOKED);
        bridge_ok(bridge_unshare(b, shared));
        bm_expect_data(m, 2, bm_slot(m, 4), 1, 0, 4096);
        bridge_ok(bridge_detach(b, other));
        bridge_ok(bridge_unshare(b, other));
        bridge_drop_events(b);
    }
    bm_end(m);
}

static void test_unplug_initiator(void)
{
    BridgeMachine *m = machine_new("pc", "");
    Bridge *b = &m->b;
    BridgeVec in = { 0x1000, 4096, P2P_BRIDGE_VEC_READ }, out[2];
    uint32_t window = bm_show(m, 0, 0, SIZE, 2);
    uint32_t generation = bridge_identify(b).generation;

    bm_unplug(m, "t2", BM_SLOT(2));
    bridge_wait_event_of(b, P2P_BRIDGE_EVENT_CHANGED);
    g_assert_cmpuint(bridge_identify(b).generation, !=, generation);
    g_assert_cmpuint(bridge_identify(b).members, ==, 3);
    bridge_expect(bridge_translate(b, BM_RID(2), 0, &in, 1, out, 2),
                  P2P_BRIDGE_NO_MEMBER);
    bm_expect_data(m, 1, bm_slot(m, 2), 0, 0, 4096);
    bm_plug(m, 2, "auto");
    bridge_ok(bridge_translate(b, BM_RID(2), 0, &in, 1, out, 2));
    bm_expect_data(m, 2, bm_slot(m, 2), 0, 0, 4096);
    bridge_ok(bridge_detach(b, window));
    bm_end(m);
}

static void plug_bridge(BridgeMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'p2p-bridge', 'id': 'br0', 'addr': 'a.0', "
        "'p2p-group': 'g0' } }");
    bridge_probe(&m->b, m->qts, BM_BRIDGE_RID(0), BM_BARS(0), BM_APERTURE(0),
                 BM_MEMORY(0));
    bridge_start(&m->b);
}

static void test_unplug_bridge(void)
{
    BridgeMachine *m = machine_new("pc", "");

    for (unsigned i = 0; i < 4; i++) {
        uint64_t word = 0;

        bm_show(m, 0, 0, SIZE, 0);
        bm_show(m, 1, 0, SIZE, 1);
        bm_share(m, 1, 2, SIZE, SIZE, RW);
        bm_expect_data(m, 2, bm_slot(m, 1), 1, 0, 4096);
        bridge_doorbell(&m->b);
        bm_unplug(m, "br0", BM_BRIDGE_SLOT(0));
        g_assert_null(p2p_monitor_member(m->qts, "br0"));
        g_assert_false(testdev_read(&m->t[2], (P2PBusAddr) { bm_slot(m, 0) },
                                    &word, 8));
        /* The host's own windows are as they were. */
        g_assert_true(testdev_read(&m->t[2], (P2PBusAddr) { BM_BAR2(0) },
                                   &word, 8));
        bm_host_unshare(m, 1);
        bm_host_share(m, 1, 0, m->size[1]);
        plug_bridge(m);
        bm_expect_nothing(m, 2, bm_slot(m, 0), 0);
    }
    bm_end(m);
}

/* A bridge that comes to a machine whose guest runs tells what there is. */
static void test_plug_second(void)
{
    BridgeMachine *m = machine_new("pc", "");
    Bridge second;

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
        "'arguments': { 'driver': 'p2p-bridge', 'id': 'br1', 'addr': 'b.0', "
        "'p2p-group': 'g0', 'aperture': 2097152 } }");
    bridge_wait_event_of(&m->b, P2P_BRIDGE_EVENT_CHANGED);
    bridge_probe(&second, m->qts, BM_BRIDGE_RID(1), BM_BARS(1),
                 BM_APERTURE(1), BM_MEMORY(1));
    bridge_start(&second);
    g_assert_cmpuint(bridge_identify(&second).members, ==, 5);
    bm_unplug(m, "br1", BM_BRIDGE_SLOT(1));
    bridge_wait_event_of(&m->b, P2P_BRIDGE_EVENT_CHANGED);
    g_assert_cmpuint(bridge_identify(&m->b).members, ==, 4);
    bm_end(m);
}

/* --- Events of changes ------------------------------------------------- */

static void expect_changed(Bridge *b, uint32_t *generation)
{
    BridgeEvent e = bridge_wait_event(b);

    g_assert_cmpuint(e.type, ==, P2P_BRIDGE_EVENT_CHANGED);
    g_assert_cmpuint(e.reason, ==, 0);
    g_assert_cmphex(e.window | e.slot | e.rid | e.target, ==, 0);
    g_assert_cmpuint(e.generation, !=, *generation);
    bridge_drop_events(b);
    *generation = bridge_identify(b).generation;
}

static void test_changed(void)
{
    BridgeMachine *m = machine_new("pc", "");
    Bridge *b = &m->b;
    uint32_t generation = bridge_identify(b).generation;

    bm_host_unshare(m, 1);
    expect_changed(b, &generation);
    bm_host_share(m, 1, 0x1000, 0x2000);
    expect_changed(b, &generation);
    decode_off(m);
    expect_changed(b, &generation);
    guest_pci_command(&m->t[0].pci, PCI_COMMAND_MEMORY, 0);
    expect_changed(b, &generation);
    move_upper_half(m);
    expect_changed(b, &generation);
    bm_unplug(m, "t1", BM_SLOT(1));
    expect_changed(b, &generation);
    bm_plug(m, 1, "none");
    expect_changed(b, &generation);
    /* Nothing of this is any change. */
    guest_pci_command(&b->pci, 0, PCI_COMMAND_MEMORY);
    guest_pci_command(&b->pci, PCI_COMMAND_MEMORY, 0);
    bridge_doorbell(b);
    g_assert_cmpuint(bridge_drop_events(b), ==, 0);
    g_assert_cmpuint(bridge_identify(b).generation, ==, generation);
    bm_end(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge-revoke/acknowledge", test_acknowledge);
    qtest_add_func("p2p/bridge-revoke/timeout", test_timeout);
    qtest_add_func("p2p/bridge-revoke/wrong-answers", test_wrong_answers);
    qtest_add_func("p2p/bridge-revoke/several", test_several);
    qtest_add_func("p2p/bridge-revoke/only-shared", test_only_shared);
    qtest_add_func("p2p/bridge-revoke/nobody-there", test_nobody_there);
    qtest_add_func("p2p/bridge-revoke/reset-meanwhile", test_reset_meanwhile);
    qtest_add_func("p2p/bridge-revoke/quit-meanwhile", test_quit_meanwhile);
    qtest_add_func("p2p/bridge-revoke/stopped", test_stopped);
    qtest_add_func("p2p/bridge-revoke/lost-events", test_lost_events);
    qtest_add_func("p2p/bridge-revoke/losses", test_losses);
    qtest_add_func("p2p/bridge-revoke/off-and-on", test_off_and_on);
    qtest_add_func("p2p/bridge-revoke/hidden", test_hidden);
    qtest_add_func("p2p/bridge-revoke/unplug-target", test_unplug_target);
    qtest_add_func("p2p/bridge-revoke/unplug-initiator",
                   test_unplug_initiator);
    qtest_add_func("p2p/bridge-revoke/unplug-bridge", test_unplug_bridge);
    qtest_add_func("p2p/bridge-revoke/plug-second", test_plug_second);
    qtest_add_func("p2p/bridge-revoke/changed", test_changed);
    qtest_add_func("p2p/bridge-revoke/move-reason", test_move_reason);
    return g_test_run();
}
