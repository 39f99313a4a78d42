/*
 * p2p-bridge: rings, and drivers that do not keep to their rules
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"

#define BAD_OPCODE 0x7777

/* Whose completion tells which of them it is: window n does not exist. */
static BridgeCommand numbered(uint32_t n)
{
    return bridge_window_cmd(P2P_BRIDGE_OP_DETACH, n);
}

static BridgeCommand identify(Bridge *b)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_IDENTIFY);

    c.out_addr = b->memory + BRIDGE_OUTPUT;
    c.out_len = P2P_BRIDGE_IDENTIFY_BYTES;
    return c;
}

static void restart(Bridge *b, uint32_t commands, uint32_t completions,
                    uint32_t events)
{
    bridge_disable(b);
    bridge_rings(b, commands, completions, events);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
}

/* --- In order ---------------------------------------------------------- */

/* bridge_wait() checks the ids, and that a ring's counts stay in bounds. */
static void expect_batches(Bridge *b, unsigned batches, unsigned size)
{
    for (unsigned i = 0; i < batches; i++) {
        for (unsigned j = 0; j < size; j++) {
            BridgeCommand c = j % 3 ? identify(b) : bridge_cmd(BAD_OPCODE);

            bridge_give(b, &c);
        }
        bridge_doorbell(b);
        for (unsigned j = 0; j < size; j++) {
            bridge_expect(bridge_wait(b), j % 3 ? P2P_BRIDGE_OK
                                                : P2P_BRIDGE_BAD_OPCODE);
        }
    }
}

static void test_sizes(void)
{
    BridgeMachine *m = bm_default();

    for (unsigned size = 2; size <= P2P_BRIDGE_RING_MAX_VALUE; size *= 2) {
        unsigned rounds = MAX(3, 64 / size);

        g_test_message("%u entries", size);
        restart(&m->b, size, size, 0);
        expect_batches(&m->b, rounds, 1);
        expect_batches(&m->b, 2, size);
        expect_batches(&m->b, 3, MAX(size / 2 + 1, 2));
        g_assert_cmpuint(bridge_count(&m->b, P2P_BRIDGE_COMMAND_HEAD), ==,
                         m->b.given);
    }
    bm_end(m);
}

/* Many times round the ring, with commands given while others run. */
static void test_wrap(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    unsigned taken = 0;
    BridgeCompletion c;

    restart(b, 16, 8, 2);
    for (unsigned given = 0; given < 1000;) {
        BridgeCommand command = numbered(given);
        unsigned n = 1 + given % 13;

        for (; n && given - taken < 16; n--, given++) {
            bridge_give(b, &command);
        }
        bridge_doorbell(b);
        for (n = 1 + given % 7; n && bridge_poll(b, &c); n--, taken++) {
            g_assert_cmphex(c.status, ==, P2P_BRIDGE_NO_WINDOW);
        }
    }
    while (taken < b->given) {
        bridge_doorbell(b);
        c = bridge_wait(b);
        taken++;
    }
    bm_end(m);
}

static void test_completions_full(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    restart(b, 64, 4, 0);
    for (unsigned i = 0; i < 64; i++) {
        BridgeCommand c = identify(b);

        bridge_give(b, &c);
    }
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 4);
    /* Nothing moves by itself, nor by a doorbell before there is room. */
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 4);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 4);

    bridge_ok(bridge_wait(b));
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 5);
    for (unsigned i = 1; i < 64; i++) {
        bridge_ok(bridge_wait(b));
        bridge_doorbell(b);
    }
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 64);
    bm_end(m);
}

static void test_events_full(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    BridgePage before, after;
    BridgeEvent e;
    unsigned n = 0;

    restart(b, 16, 16, 4);
    bridge_page(b, &before);
    for (unsigned i = 0; i < 10; i++) {
        bm_host_unshare(m, 0);
        bridge_settle(b);
        bm_host_share(m, 0, 0, 64 * KiB);
        bridge_settle(b);
    }
    bridge_page(b, &after);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_EVENT_TAIL), ==, 4);
    g_assert_cmpuint(after.events_lost - before.events_lost, >=, 10);
    while (bridge_poll_event(b, &e)) {
        g_assert_cmpuint(e.type, ==, P2P_BRIDGE_EVENT_CHANGED);
        n++;
    }
    g_assert_cmpuint(n, ==, 4);
    /* With room they come again. */
    bm_host_unshare(m, 0);
    e = bridge_wait_event(b);
    g_assert_cmpuint(e.generation, ==, bridge_identify(b).generation);
    bm_end(m);
}

static void test_no_events(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint32_t window;

    restart(b, 16, 16, 0);
    window = bm_show(m, 0, 0, 64 * KiB, 0);
    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
    bridge_settle(b);
    g_assert_cmpuint(bridge_state(b, window), ==, P2P_BRIDGE_STATE_REVOKED);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_EVENT_TAIL), ==, 0);
    bridge_ok(bridge_unshare(b, window));
    bm_end(m);
}

/* --- Counts out of range ----------------------------------------------- */

static void expect_index_error(BridgeMachine *m, unsigned offset,
                               uint32_t count, bool event)
{
    Bridge *b = &m->b;
    BridgeCommand c = identify(b);

    g_test_message("count 0x%x: 0x%x", offset, count);
    restart(b, 8, 8, 8);
    bridge_give(b, &c);
    qtest_writel(m->qts, b->index + offset, count);
    bridge_doorbell(b);
    if (event) {
        bm_host_unshare(m, 1);
        bm_host_share(m, 1, 0, 64 * KiB);
    }
    g_assert_cmpuint(bridge_wait_failed(b), ==, P2P_BRIDGE_ERROR_INDEX);
    g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_CONTROL), ==,
                     P2P_BRIDGE_CONTROL_ENABLE);
}

static void test_index_errors(void)
{
    BridgeMachine *m = bm_default();

    expect_index_error(m, P2P_BRIDGE_COMMAND_TAIL, 9, false);
    expect_index_error(m, P2P_BRIDGE_COMMAND_TAIL, 0x80000000, false);
    expect_index_error(m, P2P_BRIDGE_COMMAND_TAIL, UINT32_MAX, false);
    expect_index_error(m, P2P_BRIDGE_COMPLETION_HEAD, 1, false);
    expect_index_error(m, P2P_BRIDGE_COMPLETION_HEAD, 0x7fffffff, false);
    expect_index_error(m, P2P_BRIDGE_COMPLETION_HEAD, -9, false);
    expect_index_error(m, P2P_BRIDGE_EVENT_HEAD, 1, true);
    expect_index_error(m, P2P_BRIDGE_EVENT_HEAD, -9, true);
    /* As far as it may be */
    restart(&m->b, 8, 8, 8);
    expect_batches(&m->b, 2, 8);
    bm_end(m);
}

/* What the device counts it does not read back. */
static void test_device_counts(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    for (unsigned i = 0; i < 8; i++) {
        qtest_writel(m->qts, b->index + P2P_BRIDGE_COMMAND_HEAD, i * 77);
        qtest_writel(m->qts, b->index + P2P_BRIDGE_COMPLETION_TAIL, b->taken);
        bridge_identify(b);
        g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, i + 1);
    }
    bm_end(m);
}

/* --- Memory that changes, and overlaps --------------------------------- */

/* A driver that writes over what it has given gets one or the other. */
static void test_changed_while_processed(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    unsigned done = 0;

    restart(b, 1024, 1024, 0);
    for (unsigned round = 0; round < 3; round++) {
        BridgeCommand first = numbered(0), other = bridge_cmd(BAD_OPCODE);

        for (unsigned i = 0; i < 1024; i++) {
            bridge_give(b, &first);
        }
        bridge_doorbell(b);
        for (unsigned i = 1024; i-- > 0;) {
            other.id = b->ids[i];
            bridge_write_command(b, i, &other);
        }
        for (unsigned i = 0; i < 1024; i++) {
            BridgeCompletion c = bridge_wait(b);

            g_assert_true(c.status == P2P_BRIDGE_NO_WINDOW ||
                          c.status == P2P_BRIDGE_BAD_OPCODE);
            done += c.status == P2P_BRIDGE_NO_WINDOW;
        }
    }
    /* It did not wait for us, nor was it through before we began. */
    g_test_message("%u of 3072 were executed as they were given", done);
    bm_end(m);
}

/* Whatever becomes of them, the machine goes on. */
static void test_overlapping_rings(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint64_t memory = b->memory;

    for (unsigned i = 0; i < 32; i++) {
        BridgeCommand c = identify(b);

        bridge_disable(b);
        bridge_rings(b, 8, 8, 8);
        bridge_set64(b, P2P_BRIDGE_INDEX_BASE, memory);
        bridge_set64(b, P2P_BRIDGE_COMMAND_BASE, memory + (i & 1) * 64);
        bridge_set64(b, P2P_BRIDGE_COMPLETION_BASE, memory + (i & 2) * 32);
        bridge_set64(b, P2P_BRIDGE_EVENT_BASE, memory + (i & 4) * 16);
        qtest_memset(m->qts, memory, 0, 4096);
        if (bridge_enable(b)) {
            continue;
        }
        /* Output over the index block, and over the ring itself */
        c.out_addr = i & 8 ? memory : i & 16 ? b->commands : c.out_addr;
        for (unsigned j = 0; j < 8; j++) {
            bridge_write_command(b, j, &c);
        }
        qtest_writel(m->qts, memory, 1 + i % 8);
        bm_host_unshare(m, 0);
        bridge_set(b, P2P_BRIDGE_DOORBELL, 0);
        bridge_settle(b);
        bm_host_share(m, 0, 0, 64 * KiB);
        bridge_set(b, P2P_BRIDGE_DOORBELL, 0);
        bridge_settle(b);
    }
    restart(b, 64, 64, 64);
    bridge_identify(b);
    bm_end(m);
}

static void test_end_of_ram(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    bridge_disable(b);
    bridge_rings(b, 8, 8, 8);
    bridge_set64(b, P2P_BRIDGE_COMMAND_BASE, BM_RAM - 8 * 64);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    expect_batches(b, 3, 8);

    bridge_disable(b);
    bridge_rings(b, 8, 8, 8);
    bridge_set64(b, P2P_BRIDGE_COMPLETION_BASE, BM_RAM - 8 * 32);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    expect_batches(b, 3, 8);
    bm_end(m);
}

/* --- Doorbell ---------------------------------------------------------- */

static void test_doorbell(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint64_t doorbell = b->registers + P2P_BRIDGE_DOORBELL;
    static const uint32_t values[] = { 0, 1, 64, 0xffffffff, 0x12345678 };

    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        BridgeCommand c = identify(b);

        bridge_give(b, &c);
        qtest_writel(m->qts, doorbell, values[i]);
        bridge_ok(bridge_wait(b));
    }
    for (unsigned i = 0; i < 4; i++) {
        BridgeCommand c = identify(b);

        bridge_give(b, &c);
        switch (i) {
        case 0:
            qtest_writeb(m->qts, doorbell, 1);
            break;
        case 1:
            qtest_writew(m->qts, doorbell, 1);
            break;
        case 2:
            qtest_writeq(m->qts, doorbell, 1);
            break;
        case 3:
            qtest_writel(m->qts, doorbell + 4, 1);
            break;
        }
        bridge_settle(b);
        g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==,
                         b->taken);
        bridge_doorbell(b);
        bridge_ok(bridge_wait(b));
    }
    bm_end(m);
}

/* While it is rung all the time the monitor answers, and so does the device. */
static void test_doorbell_storm(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    for (unsigned i = 0; i < 50; i++) {
        BridgeCommand c = identify(b);

        for (unsigned j = 0; j < 400; j++) {
            bridge_set(b, P2P_BRIDGE_DOORBELL, j);
        }
        qtest_qmp_assert_success(m->qts, "{ 'execute': 'query-status' }");
        bridge_give(b, &c);
        bridge_doorbell(b);
        bridge_ok(bridge_wait(b));
    }
    /* Disabled, and reset */
    bridge_disable(b);
    for (unsigned j = 0; j < 400; j++) {
        bridge_set(b, P2P_BRIDGE_DOORBELL, j);
    }
    bridge_reset(b);
    for (unsigned j = 0; j < 400; j++) {
        bridge_set(b, P2P_BRIDGE_DOORBELL, j);
    }
    bridge_settle(b);
    bridge_start(b);
    bridge_identify(b);
    bm_end(m);
}

/* --- Enable again ------------------------------------------------------ */

static void test_enable_again(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    for (unsigned i = 0; i < 50; i++) {
        BridgeCommand c = identify(b);

        for (unsigned j = 0; j < 64; j++) {
            bridge_give(b, &c);
        }
        bridge_doorbell(b);
        /* In the middle of it, for the most part */
        bridge_disable(b);
        g_assert_cmpuint(bridge_enable(b), ==, 0);
        g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 0);
        bridge_settle(b);
        g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 0);
        expect_batches(b, 1, 5);
    }
    bm_end(m);
}

/* Commands go on when the machine does. */
static void test_stop(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    BridgeCommand c = identify(b);

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'stop' }");
    bridge_give(b, &c);
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 0);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'cont' }");
    bridge_ok(bridge_wait(b));
    bm_end(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge-ring/sizes", test_sizes);
    qtest_add_func("p2p/bridge-ring/wrap", test_wrap);
    qtest_add_func("p2p/bridge-ring/completions-full", test_completions_full);
    qtest_add_func("p2p/bridge-ring/events-full", test_events_full);
    qtest_add_func("p2p/bridge-ring/no-events", test_no_events);
    qtest_add_func("p2p/bridge-ring/index-errors", test_index_errors);
    qtest_add_func("p2p/bridge-ring/device-counts", test_device_counts);
    qtest_add_func("p2p/bridge-ring/changed-while-processed",
                   test_changed_while_processed);
    qtest_add_func("p2p/bridge-ring/overlapping-rings",
                   test_overlapping_rings);
    qtest_add_func("p2p/bridge-ring/end-of-ram", test_end_of_ram);
    qtest_add_func("p2p/bridge-ring/doorbell", test_doorbell);
    qtest_add_func("p2p/bridge-ring/doorbell-storm", test_doorbell_storm);
    qtest_add_func("p2p/bridge-ring/enable-again", test_enable_again);
    qtest_add_func("p2p/bridge-ring/stop", test_stop);
    return g_test_run();
}
