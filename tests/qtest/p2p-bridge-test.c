/*
 * p2p-bridge: the function, its registers, enable and reset, properties
 *
 * What the specification says of each, and what it answers to a driver that
 * does not keep to it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"
#include "p2p-monitor.h"

#define SLOTS (GiB / BRIDGE_SLOT)

/* --- The function ------------------------------------------------------ */

static void expect_function(const char *machine, bool express)
{
    const BridgeMachineOptions options = { .machine = machine };
    BridgeMachine *m = bm_new(&options);
    GuestPci *pci = &m->b.pci;
    uint8_t msix = guest_pci_capability(pci, PCI_CAP_ID_MSIX);
    uint32_t bar4;

    g_assert_cmphex(guest_pci_readl(pci, PCI_CLASS_REVISION) >> 16, ==,
                    0x0880);
    g_assert_cmphex(guest_pci_readw(pci, PCI_INTERRUPT_LINE) >> 8, ==, 0);
    g_assert_cmpint(guest_pci_capability(pci, PCI_CAP_ID_EXP) != 0, ==,
                    express);
    g_assert_cmphex(msix, !=, 0);
    g_assert_cmpuint((guest_pci_readw(pci, msix + PCI_MSIX_FLAGS) &
                      PCI_MSIX_FLAGS_QSIZE) + 1, ==, P2P_BRIDGE_VECTORS);
    g_assert_cmpuint(guest_pci_readl(pci, msix + PCI_MSIX_TABLE) &
                     PCI_MSIX_TABLE_BIR, ==, P2P_BRIDGE_BAR_MSIX);

    g_assert_cmphex(guest_pci_bar_size(pci, 0), ==, P2P_BRIDGE_REGS_SIZE);
    g_assert_cmphex(guest_pci_bar_size(pci, 1), >, 0);
    g_assert_cmphex(guest_pci_bar_size(pci, 2), ==, P2P_BRIDGE_PAGE_BYTES);
    g_assert_cmphex(guest_pci_bar_size(pci, 3), ==, 0);
    g_assert_cmphex(guest_pci_bar_size(pci, 4), ==, GiB);
    bar4 = guest_pci_readl(pci, PCI_BASE_ADDRESS_4);
    g_assert_cmphex(bar4 & ~PCI_BASE_ADDRESS_MEM_MASK, ==,
                    PCI_BASE_ADDRESS_MEM_TYPE_64 |
                    PCI_BASE_ADDRESS_MEM_PREFETCH);
    bm_end(m);
}

static void test_function(void)
{
    expect_function("q35", true);
    expect_function("pc", false);
}

static void test_apertures(void)
{
    static const struct {
        const char *property;
        uint64_t size;
    } sizes[] = {
        { ",aperture=2M", 2 * MiB }, { ",aperture=64M", 64 * MiB },
        { "", GiB }, { ",aperture=16T", 16 * TiB },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        const BridgeMachineOptions options = {
            .bridge = sizes[i].property, .t = { "" }, .stopped = true,
        };
        BridgeMachine *m = bm_new(&options);
        uint64_t at = MAX(sizes[i].size, 128 * GiB);

        bridge_probe(&m->b, m->qts, BM_BRIDGE_RID(0), BM_BARS(0), at,
                     BM_MEMORY(0));
        bridge_start(&m->b);
        g_assert_cmphex(guest_pci_bar_size(&m->b.pci, 4), ==, sizes[i].size);
        g_assert_cmpuint(bridge_identify(&m->b).slots, ==,
                         sizes[i].size / BRIDGE_SLOT);
        g_assert_cmphex(qtest_readq(m->qts, at), ==, UINT64_MAX);
        g_assert_cmphex(qtest_readq(m->qts, at + sizes[i].size - 8), ==,
                        UINT64_MAX);

        /* Its first and its last slot hold a window. */
        bm_place(m, 0);
        bm_show(m, 0, 0, 64 * KiB, 0);
        qtest_writeq(m->qts, at, 0x5a5a);
        g_assert_cmphex(*(uint64_t *)m->bar2[0], ==, 0x5a5a);
        if (sizes[i].size > BRIDGE_SLOT) {
            bm_show(m, 0, 64 * KiB, 64 * KiB,
                    sizes[i].size / BRIDGE_SLOT - 1);
            qtest_writeq(m->qts, at + sizes[i].size - BRIDGE_SLOT, 0x6b6b);
            g_assert_cmphex(*(uint64_t *)(m->bar2[0] + 64 * KiB), ==, 0x6b6b);
        }
        bm_end(m);
    }
}

/* --- Registers --------------------------------------------------------- */

static const struct {
    unsigned offset;
    unsigned size;
} settings[] = {
    { P2P_BRIDGE_DRIVER_FEATURES, 8 }, { P2P_BRIDGE_INDEX_BASE, 8 },
    { P2P_BRIDGE_COMMAND_BASE, 8 }, { P2P_BRIDGE_COMPLETION_BASE, 8 },
    { P2P_BRIDGE_EVENT_BASE, 8 }, { P2P_BRIDGE_COMMAND_SIZE, 4 },
    { P2P_BRIDGE_COMPLETION_SIZE, 4 }, { P2P_BRIDGE_EVENT_SIZE, 4 },
    { P2P_BRIDGE_COMPLETION_VECTOR, 4 }, { P2P_BRIDGE_EVENT_VECTOR, 4 },
};

static uint64_t read_setting(Bridge *b, unsigned i)
{
    return settings[i].size == 8 ? bridge_get64(b, settings[i].offset)
                                 : bridge_get(b, settings[i].offset);
}

static bool is_vector(unsigned i)
{
    return settings[i].offset == P2P_BRIDGE_COMPLETION_VECTOR ||
           settings[i].offset == P2P_BRIDGE_EVENT_VECTOR;
}

static void expect_reset_values(Bridge *b)
{
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_MAGIC), ==,
                    P2P_BRIDGE_MAGIC_VALUE);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_CONTROL), ==, 0);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_STATUS), ==, 0);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_ERROR), ==, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
        g_assert_cmphex(read_setting(b, i), ==,
                        is_vector(i) ? P2P_BRIDGE_NO_VECTOR : 0);
    }
}

static void test_registers(void)
{
    const BridgeMachineOptions options = { .stopped = true };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b;

    bridge_probe(b, m->qts, BM_BRIDGE_RID(0), BM_BARS(0), BM_APERTURE(0),
                 BM_MEMORY(0));
    expect_reset_values(b);
    g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_RING_MAX), ==,
                     P2P_BRIDGE_RING_MAX_VALUE);
    g_assert_cmphex(bridge_get64(b, P2P_BRIDGE_FEATURES), ==, 0);

    /* Whatever is written is there, in one piece and in halves. */
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
        unsigned offset = settings[i].offset;

        if (settings[i].size == 4) {
            bridge_set(b, offset, 0x81234567 + i);
            g_assert_cmphex(bridge_get(b, offset), ==, 0x81234567 + i);
            continue;
        }
        bridge_set64(b, offset, 0xfedcba9876543210 + i);
        g_assert_cmphex(bridge_get64(b, offset), ==, 0xfedcba9876543210 + i);
        g_assert_cmphex(bridge_get(b, offset), ==, 0x76543210 + i);
        g_assert_cmphex(bridge_get(b, offset + 4), ==, 0xfedcba98);
        bridge_set(b, offset, 0x11111111);
        g_assert_cmphex(bridge_get64(b, offset), ==, 0xfedcba9811111111);
        bridge_set(b, offset + 4, 0x22222222 + i);
        g_assert_cmphex(bridge_get64(b, offset), ==,
                        0x2222222211111111 + ((uint64_t)i << 32));
    }
    /* No register has changed another. */
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
        g_assert_cmphex(read_setting(b, i), ==, settings[i].size == 4
                        ? 0x81234567 + i
                        : 0x2222222211111111 + ((uint64_t)i << 32));
    }
    bridge_reset(b);
    expect_reset_values(b);
    bm_end(m);
}

static void test_read_only(void)
{
    static const unsigned offsets[] = {
        P2P_BRIDGE_MAGIC, P2P_BRIDGE_VERSION, P2P_BRIDGE_FEATURES,
        P2P_BRIDGE_FEATURES + 4, P2P_BRIDGE_STATUS, P2P_BRIDGE_ERROR,
        P2P_BRIDGE_RING_MAX,
    };
    BridgeMachine *m = bm_default();

    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        uint32_t before = bridge_get(&m->b, offsets[i]);

        bridge_set(&m->b, offsets[i], ~before);
        g_assert_cmphex(bridge_get(&m->b, offsets[i]), ==, before);
    }
    bridge_set64(&m->b, P2P_BRIDGE_FEATURES, UINT64_MAX);
    g_assert_cmphex(bridge_get64(&m->b, P2P_BRIDGE_FEATURES), ==, 0);
    bridge_identify(&m->b);
    bm_end(m);
}

/* "Others read as ones and write nothing." */
static void test_access_sizes(void)
{
    const BridgeMachineOptions options = { .stopped = true };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b;

    bridge_probe(b, m->qts, BM_BRIDGE_RID(0), BM_BARS(0), BM_APERTURE(0),
                 BM_MEMORY(0));
    for (unsigned offset = 0; offset < 0x60; offset++) {
        uint64_t gpa = b->registers + offset;
        bool whole = offset == P2P_BRIDGE_FEATURES;

        for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
            whole |= settings[i].offset == offset && settings[i].size == 8;
        }
        g_assert_cmphex(qtest_readb(m->qts, gpa), ==, UINT8_MAX);
        g_assert_cmphex(qtest_readw(m->qts, gpa), ==, UINT16_MAX);
        qtest_writeb(m->qts, gpa, 0x55);
        qtest_writew(m->qts, gpa, 0x5555);
        if (offset % 4) {
            g_assert_cmphex(qtest_readl(m->qts, gpa), ==, UINT32_MAX);
            qtest_writel(m->qts, gpa, 0x55555555);
        }
        if (!whole) {
            g_assert_cmphex(qtest_readq(m->qts, gpa), ==, UINT64_MAX);
            qtest_writeq(m->qts, gpa, 0x5555555555555555);
        }
    }
    expect_reset_values(b);
    bm_end(m);
}

static void test_enabled(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint64_t before[ARRAY_SIZE(settings)];

    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
        before[i] = read_setting(b, i);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
        bridge_set(b, settings[i].offset, 0x1000);
        if (settings[i].size == 8) {
            bridge_set(b, settings[i].offset + 4, 0x1000);
            bridge_set64(b, settings[i].offset, 0x1000);
        }
        g_assert_cmphex(read_setting(b, i), ==, before[i]);
    }
    /* To enable what is enabled does nothing. */
    bridge_identify(b);
    bridge_set(b, P2P_BRIDGE_CONTROL, P2P_BRIDGE_CONTROL_ENABLE);
    bridge_identify(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 2);
    bm_end(m);
}

/* --- Enable ------------------------------------------------------------ */

static const struct {
    unsigned offset;
    uint64_t value;
    uint32_t error;             /* 0: none */
} enables[] = {
    { P2P_BRIDGE_DRIVER_FEATURES, 1, P2P_BRIDGE_ERROR_FEATURES },
    { P2P_BRIDGE_DRIVER_FEATURES, 2, P2P_BRIDGE_ERROR_FEATURES },
    { P2P_BRIDGE_DRIVER_FEATURES, 1ull << 63, P2P_BRIDGE_ERROR_FEATURES },
    { P2P_BRIDGE_INDEX_BASE, 0x1001, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_INDEX_BASE, 0x1020, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_COMMAND_BASE, 0x1020, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_COMMAND_BASE, -64ull, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_COMPLETION_BASE, 0x1004, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_COMPLETION_BASE, -64ull, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_EVENT_BASE, 0x1002, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_EVENT_BASE, -64ull, P2P_BRIDGE_ERROR_ALIGNMENT },
    { P2P_BRIDGE_COMMAND_SIZE, 0, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMMAND_SIZE, 1, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMMAND_SIZE, 3, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMMAND_SIZE, 2048, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMMAND_SIZE, 0x80000000, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMPLETION_SIZE, 0, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMPLETION_SIZE, 65, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMPLETION_SIZE, UINT32_MAX, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_EVENT_SIZE, 1, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_EVENT_SIZE, 1025, P2P_BRIDGE_ERROR_SIZE },
    { P2P_BRIDGE_COMPLETION_VECTOR, 2, P2P_BRIDGE_ERROR_VECTOR },
    { P2P_BRIDGE_COMPLETION_VECTOR, 0xfffffffe, P2P_BRIDGE_ERROR_VECTOR },
    { P2P_BRIDGE_EVENT_VECTOR, 2, P2P_BRIDGE_ERROR_VECTOR },
    { P2P_BRIDGE_EVENT_VECTOR, 0x80000000, P2P_BRIDGE_ERROR_VECTOR },
    { P2P_BRIDGE_COMMAND_SIZE, 2, 0 },
    { P2P_BRIDGE_COMMAND_SIZE, 1024, 0 },
    { P2P_BRIDGE_COMPLETION_SIZE, 2, 0 },
    { P2P_BRIDGE_COMPLETION_SIZE, 1024, 0 },
    { P2P_BRIDGE_EVENT_SIZE, 0, 0 },
    { P2P_BRIDGE_EVENT_SIZE, 1024, 0 },
    { P2P_BRIDGE_COMPLETION_VECTOR, 0, 0 },
    { P2P_BRIDGE_EVENT_VECTOR, 1, 0 },
};

static void test_enable(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    for (unsigned i = 0; i < ARRAY_SIZE(enables); i++) {
        g_test_message("register 0x%x: 0x%" PRIx64, enables[i].offset,
                       enables[i].value);
        bridge_disable(b);
        bridge_rings(b, 64, 64, 64);
        if (enables[i].offset < P2P_BRIDGE_COMMAND_SIZE) {
            bridge_set64(b, enables[i].offset, enables[i].value);
        } else {
            bridge_set(b, enables[i].offset, enables[i].value);
        }
        g_assert_cmpuint(bridge_enable(b), ==, enables[i].error);
        if (!enables[i].error) {
            bridge_identify(b);
        }
    }
    /* The base of a ring that is not there does not count. */
    bridge_disable(b);
    bridge_rings(b, 64, 64, 0);
    bridge_set64(b, P2P_BRIDGE_EVENT_BASE, 0x33);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bm_end(m);
}

/* --- Rings where there is no guest RAM --------------------------------- */

/* Enable, or else the first thing that needs the ring, ends in error 5. */
static void expect_dma_error(BridgeMachine *m, unsigned reg, uint64_t gpa)
{
    Bridge *b = &m->b;
    BridgeCommand identify = bridge_cmd(P2P_BRIDGE_OP_IDENTIFY);
    uint32_t error;

    g_test_message("register 0x%x: 0x%" PRIx64, reg, gpa);
    identify.out_addr = b->memory + BRIDGE_OUTPUT;
    identify.out_len = P2P_BRIDGE_IDENTIFY_BYTES;
    bridge_disable(b);
    bridge_rings(b, 64, 64, 64);
    bridge_set64(b, reg, gpa);
    error = bridge_enable(b);
    /* The driver writes where RAM would be, be it only to try. */
    b->index = b->memory + BRIDGE_INDEX;
    b->commands = b->memory + BRIDGE_COMMANDS;
    if (!error && reg == P2P_BRIDGE_EVENT_BASE) {
        bm_host_share(m, 1, 0, 64 * KiB);
        error = bridge_wait_failed(b);
    } else if (!error) {
        bridge_give(b, &identify);
        bridge_doorbell(b);
        error = bridge_wait_failed(b);
    }
    g_assert_cmpuint(error, ==, P2P_BRIDGE_ERROR_DMA);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 0);
    if (reg == P2P_BRIDGE_EVENT_BASE) {
        bm_host_unshare(m, 1);
    }
}

static void test_ring_places(void)
{
    static const unsigned regs[] = {
        P2P_BRIDGE_INDEX_BASE, P2P_BRIDGE_COMMAND_BASE,
        P2P_BRIDGE_COMPLETION_BASE, P2P_BRIDGE_EVENT_BASE,
    };
    const BridgeMachineOptions options = {
        .t = { ",p2p-share=bar2+bar4+bar0", ",p2p-share=none" },
    };
    BridgeMachine *m = bm_new(&options);
    uint64_t before;

    bm_show(m, 0, 0, 512 * KiB, 1);
    memset(m->bar2[0], 0, m->size[0]);
    before = qtest_readq(m->qts, BM_REGISTERS(0));
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        const uint64_t places[] = {
            m->b.registers, m->b.msix, m->b.page,
            m->b.aperture,              /* an empty slot */
            bm_slot(m, 1),              /* one with a window */
            BM_BAR2(0), BM_BAR4(0), BM_REGISTERS(0),
            BM_BAR2(1), BM_RAM, BM_NOWHERE, 0xfee00000, 0xffff0000,
            1ull << 63, -0x10000ull,
        };

        for (unsigned j = 0; j < ARRAY_SIZE(places); j++) {
            expect_dma_error(m, regs[i], places[j]);
        }
    }
    /* Begins in RAM, ends outside */
    expect_dma_error(m, P2P_BRIDGE_INDEX_BASE, BM_RAM);
    for (uint64_t i = 0; i < m->size[0]; i++) {
        g_assert_cmphex(m->bar2[0][i], ==, 0);
    }
    g_assert_cmphex(qtest_readq(m->qts, BM_REGISTERS(0)), ==, before);
    bm_end(m);
}

static void test_no_bus_master(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    BridgeCommand c = bridge_window_cmd(P2P_BRIDGE_OP_DETACH, 77);
    uint32_t window = bm_show(m, 0, 0, 64 * KiB, 0);
    uint32_t error;

    guest_pci_command(&b->pci, 0, PCI_COMMAND_MASTER);
    bridge_give(b, &c);
    bridge_doorbell(b);
    g_assert_cmpuint(bridge_wait_failed(b), ==, P2P_BRIDGE_ERROR_DMA);

    /* Nor does it start. */
    bridge_disable(b);
    error = bridge_enable(b);
    if (!error) {
        bridge_give(b, &c);
        bridge_doorbell(b);
        error = bridge_wait_failed(b);
    }
    g_assert_cmpuint(error, ==, P2P_BRIDGE_ERROR_DMA);

    guest_pci_command(&b->pci, PCI_COMMAND_MASTER, 0);
    bridge_disable(b);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bridge_identify(b);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    bridge_ok(bridge_detach(b, window));
    bm_end(m);
}

/* --- Failed, disabled, reset ------------------------------------------- */

static void test_failed(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint32_t window = bm_show(m, 0, 0, 64 * KiB, 0);
    BridgeCommand c = bridge_window_cmd(P2P_BRIDGE_OP_DETACH, window);
    BridgePage page;

    qtest_writel(m->qts, b->index + P2P_BRIDGE_COMMAND_TAIL, 1000);
    bridge_doorbell(b);
    g_assert_cmpuint(bridge_wait_failed(b), ==, P2P_BRIDGE_ERROR_INDEX);

    /* It takes no command ... */
    b->given = 2;
    bridge_give(b, &c);
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 2);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    /* ... its registers are as they were ... */
    bridge_set(b, P2P_BRIDGE_COMMAND_SIZE, 4);
    g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_COMMAND_SIZE), ==, 64);
    /* ... and what is taken back goes, without an event. */
    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
    g_assert_cmpuint(bridge_state(b, window), ==, P2P_BRIDGE_STATE_REVOKED);
    bridge_page(b, &page);
    g_assert_cmpuint(page.events_lost, >, 0);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_EVENT_TAIL), ==, 0);
    guest_pci_command(&m->t[0].pci, PCI_COMMAND_MEMORY, 0);
    bm_expect_nothing(m, 1, bm_slot(m, 0), 0);

    bridge_disable(b);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bridge_expect(bridge_detach(b, window), P2P_BRIDGE_REVOKED);
    bridge_ok(bridge_unshare(b, window));
    bm_end(m);
}

static void test_disabled(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint32_t window = bm_show(m, 0, 0, 64 * KiB, 3);
    BridgeCommand c = bridge_window_cmd(P2P_BRIDGE_OP_DETACH, window);
    uint8_t before[0x40000], after[0x40000];

    bridge_give(b, &c);
    bridge_disable(b);
    qtest_memread(m->qts, b->memory, before, sizeof(before));
    bridge_doorbell(b);
    bm_host_unshare(m, 1);
    bridge_settle(b);
    qtest_memread(m->qts, b->memory, after, sizeof(after));
    g_assert_cmpmem(before, sizeof(before), after, sizeof(after));

    g_assert_cmpuint(bridge_state(b, window), ==, P2P_BRIDGE_STATE_ATTACHED);
    bm_expect_data(m, 1, bm_slot(m, 3), 0, 0, 4096);
    bridge_rings(b, 2, 2, 2);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 0);
    bridge_ok(bridge_detach(b, window));
    bm_end(m);
}

/* What every kind of reset leaves: nothing. */
static void expect_clean(BridgeMachine *m)
{
    BridgePage page;

    bridge_page(&m->b, &page);
    g_assert_cmphex(page.pending, ==, 0);
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        g_assert_cmpuint(page.records[i].state, ==, P2P_BRIDGE_STATE_FREE);
    }
    g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 0)), ==, UINT64_MAX);
    g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, 7)), ==, UINT64_MAX);
}

static void test_reset(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint8_t express = guest_pci_capability(&b->pci, PCI_CAP_ID_EXP);
    BridgePage before, after;
    uint32_t window = 0, last;

    for (unsigned i = 0; i < 9; i++) {
        last = window;
        window = bm_show(m, 0, 0, 64 * KiB, 0);
        g_assert_cmphex(window, !=, last);
        bm_show(m, 0, 64 * KiB, 64 * KiB, 7);
        bm_share(m, 1, 4, 0, 4096, P2P_BRIDGE_ACCESS_RO);
        bridge_page(b, &before);
        switch (i % 3) {
        case 0:
            bridge_set(b, P2P_BRIDGE_CONTROL, P2P_BRIDGE_CONTROL_RESET |
                       (i ? P2P_BRIDGE_CONTROL_ENABLE : 0));
            break;
        case 1:
            if (!(guest_pci_readl(&b->pci, express + PCI_EXP_DEVCAP) &
                  PCI_EXP_DEVCAP_FLR)) {
                g_test_message("no function level reset");
                bridge_reset(b);
                break;
            }
            guest_pci_writew(&b->pci, express + PCI_EXP_DEVCTL,
                             PCI_EXP_DEVCTL_BCR_FLR);
            bridge_place(b);
            break;
        case 2:
            qtest_system_reset(m->qts);
            bridge_place(b);
            bm_place(m, 0);
            bm_place(m, 1);
            break;
        }
        expect_reset_values(b);
        expect_clean(m);
        bridge_page(b, &after);
        g_assert_cmpuint(after.generation, !=, before.generation);
        bridge_start(b);
        bridge_expect(bridge_detach(b, window), P2P_BRIDGE_NO_WINDOW);
        bm_expect_nothing(m, 1, bm_slot(m, 0), 0);
    }
    bm_end(m);
}

/* --- Status page ------------------------------------------------------- */

static void test_page(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;
    uint32_t window;
    BridgePage page;
    BridgeRecord r;

    bridge_page(b, &page);
    for (unsigned offset = 0; offset < P2P_BRIDGE_PAGE_BYTES; offset += 64) {
        uint64_t before = qtest_readq(m->qts, b->page + offset);

        qtest_writeq(m->qts, b->page + offset, ~before);
        qtest_writeb(m->qts, b->page + offset + 3, ~before);
        g_assert_cmphex(qtest_readq(m->qts, b->page + offset), ==, before);
    }

    window = bm_share(m, 1, 2, 0x4000, 0x3000, P2P_BRIDGE_ACCESS_RW);
    r = bridge_record(b, window);
    g_assert_cmpuint(r.state, ==, P2P_BRIDGE_STATE_SHARED);
    g_assert_cmphex(r.size, ==, 0x3000);
    g_assert_cmphex(r.rid, ==, BM_RID(1));
    g_assert_cmpuint(r.generation, !=, page.generation);
    bridge_ok(bridge_attach(b, window, 17));
    r = bridge_record(b, window);
    g_assert_cmpuint(r.state, ==, P2P_BRIDGE_STATE_ATTACHED);
    g_assert_cmpuint(r.slot, ==, 17);
    bridge_ok(bridge_detach(b, window));
    g_assert_cmpuint(bridge_state(b, window), ==, P2P_BRIDGE_STATE_SHARED);
    bridge_ok(bridge_unshare(b, window));
    bridge_page(b, &page);
    g_assert_cmpuint(page.records[window & 63].state, ==,
                     P2P_BRIDGE_STATE_FREE);
    bm_end(m);
}

/* --- Features ---------------------------------------------------------- */

static void test_features(void)
{
    const BridgeMachineOptions options = {
        .group = ",bus-address=on", .t = { "" },
    };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b;

    g_assert_cmphex(bridge_get64(b, P2P_BRIDGE_FEATURES), ==,
                    P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    bridge_disable(b);
    bridge_rings(b, 64, 64, 64);
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES, 3);
    g_assert_cmpuint(bridge_enable(b), ==, P2P_BRIDGE_ERROR_FEATURES);
    bridge_disable(b);
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES,
                 P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bridge_identify(b);
    bm_end(m);
}

/* --- Interrupts -------------------------------------------------------- */

/* A message is a write to guest RAM here, as in libqos. */
static void msix_set_up(Bridge *b)
{
    uint8_t msix = guest_pci_capability(&b->pci, PCI_CAP_ID_MSIX);

    for (unsigned i = 0; i < P2P_BRIDGE_VECTORS; i++) {
        uint64_t entry = b->msix + i * PCI_MSIX_ENTRY_SIZE;

        qtest_writel(b->qts, entry + PCI_MSIX_ENTRY_LOWER_ADDR,
                     BM_SCRATCH + 64 * i);
        qtest_writel(b->qts, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
        qtest_writel(b->qts, entry + PCI_MSIX_ENTRY_DATA, 0x1000 + i);
        qtest_writel(b->qts, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
        qtest_writel(b->qts, BM_SCRATCH + 64 * i, 0);
    }
    guest_pci_writew(&b->pci, msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

/* Whether the vector's message came; takes it away. */
static bool msix_came(Bridge *b, unsigned vector)
{
    uint64_t gpa = BM_SCRATCH + 64 * vector;
    bool came = qtest_readl(b->qts, gpa) == 0x1000 + vector;

    qtest_writel(b->qts, gpa, 0);
    return came;
}

static void test_interrupts(void)
{
    BridgeMachine *m = bm_default();
    Bridge *b = &m->b;

    msix_set_up(b);
    /* No vector: none comes. */
    bridge_identify(b);
    g_assert_false(msix_came(b, 0));

    bridge_disable(b);
    bridge_set(b, P2P_BRIDGE_COMPLETION_VECTOR, 1);
    bridge_set(b, P2P_BRIDGE_EVENT_VECTOR, 0);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    bridge_settle(b);
    g_assert_false(msix_came(b, 0));
    g_assert_false(msix_came(b, 1));

    bridge_identify(b);
    bridge_settle(b);
    g_assert_true(msix_came(b, 1));
    g_assert_false(msix_came(b, 0));
    bm_host_unshare(m, 0);
    bridge_wait_event_of(b, P2P_BRIDGE_EVENT_CHANGED);
    bridge_settle(b);
    g_assert_true(msix_came(b, 0));
    g_assert_false(msix_came(b, 1));

    /* A masked vector is pending, and comes when it is not. */
    qtest_writel(m->qts, b->msix + PCI_MSIX_ENTRY_SIZE +
                 PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    bridge_identify(b);
    bridge_settle(b);
    g_assert_false(msix_came(b, 1));
    qtest_writel(m->qts, b->msix + PCI_MSIX_ENTRY_SIZE +
                 PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    g_assert_true(msix_came(b, 1));
    bm_end(m);
}

/* --- Properties -------------------------------------------------------- */

static const struct {
    const char *device;
    const char *words[3];
} refusals[] = {
    { "p2p-bridge,id=b", { "b", "p2p-group" } },
    { "p2p-bridge,id=b,p2p-group=none", { "b", "p2p-group" } },
    { "p2p-bridge,id=b,p2p-group=g0,aperture=3M", { "b", "aperture" } },
    { "p2p-bridge,id=b,p2p-group=g0,aperture=1M", { "b", "aperture" } },
    { "p2p-bridge,id=b,p2p-group=g0,aperture=0", { "b", "aperture" } },
    { "p2p-bridge,id=b,p2p-group=g0,aperture=32T", { "b", "aperture" } },
    { "p2p-bridge,id=b,p2p-group=g0,revoke-timeout=9",
      { "b", "revoke-timeout" } },
    { "p2p-bridge,id=b,p2p-group=g0,revoke-timeout=10001",
      { "b", "revoke-timeout" } },
    { "p2p-bridge,id=b,p2p-group=g0,revoke-timeout=0",
      { "b", "revoke-timeout" } },
    { "p2p-bridge,id=b,p2p-group=g0,p2p-share=bar4", { "b", "p2p-share" } },
    { "p2p-bridge,id=b,p2p-group=g0,p2p-share=bar2", { "b", "p2p-share" } },
    { "p2p-bridge,id=b,p2p-group=g0,p2p-initiate=on",
      { "b", "p2p-initiate" } },
};

static void expect_refused(const char *device, const char *const *words)
{
    g_autofree char *command = g_strdup_printf(
        "echo '{\"execute\":\"qmp_capabilities\"} {\"execute\":\"quit\"}' | "
        "%s -accel qtest -display none -nodefaults -m 16 -qmp stdio "
        "-machine q35 -object p2p-group,id=g0 -device '%s' >/dev/null",
        getenv("QTEST_QEMU_BINARY"), device);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };
    g_autofree char *errors = NULL;
    int status;

    g_assert_true(g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, NULL, &errors,
                               &status, NULL));
    g_test_message("%s: %s", device, errors);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    for (; *words; words++) {
        g_assert_nonnull(strstr(errors, *words));
    }
}

static void test_refused(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        expect_refused(refusals[i].device, refusals[i].words);
    }
}

static void test_accepted(void)
{
    static const struct {
        const char *properties;
        uint32_t ms;
    } good[] = {
        { "", 1000 }, { ",revoke-timeout=10", 10 },
        { ",revoke-timeout=10000", 10000 },
        { ",p2p-share=none", 1000 }, { ",p2p-initiate=off", 1000 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        const BridgeMachineOptions options = {
            .bridge = good[i].properties, .t = { "" },
        };
        BridgeMachine *m = bm_new(&options);
        g_autoptr(QDict) member = p2p_monitor_member(m->qts, "br0");

        g_test_message("p2p-bridge%s", good[i].properties);
        g_assert_cmpuint(bridge_identify(&m->b).revoke_ms, ==, good[i].ms);
        g_assert_nonnull(member);
        g_assert_cmpstr(qdict_get_str(member, "kind"), ==, "emulated");
        g_assert_true(qlist_empty(qdict_get_qlist(member, "windows")));
        bm_end(m);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge/function", test_function);
    qtest_add_func("p2p/bridge/apertures", test_apertures);
    qtest_add_func("p2p/bridge/registers", test_registers);
    qtest_add_func("p2p/bridge/read-only", test_read_only);
    qtest_add_func("p2p/bridge/access-sizes", test_access_sizes);
    qtest_add_func("p2p/bridge/enabled", test_enabled);
    qtest_add_func("p2p/bridge/enable", test_enable);
    qtest_add_func("p2p/bridge/ring-places", test_ring_places);
    qtest_add_func("p2p/bridge/no-bus-master", test_no_bus_master);
    qtest_add_func("p2p/bridge/failed", test_failed);
    qtest_add_func("p2p/bridge/disabled", test_disabled);
    qtest_add_func("p2p/bridge/reset", test_reset);
    qtest_add_func("p2p/bridge/page", test_page);
    qtest_add_func("p2p/bridge/features", test_features);
    qtest_add_func("p2p/bridge/interrupts", test_interrupts);
    qtest_add_func("p2p/bridge/refused", test_refused);
    qtest_add_func("p2p/bridge/accepted", test_accepted);
    return g_test_run();
}
