/*
 * p2p-bridge: each command, with each status and reason that it can end in
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "compat.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"
#include "p2p-monitor.h"

#define RW P2P_BRIDGE_ACCESS_RW
#define RO P2P_BRIDGE_ACCESS_RO

#define READ  P2P_BRIDGE_VEC_READ
#define WRITE P2P_BRIDGE_VEC_WRITE

/* A function that is no member, and one that is not there */
#define NO_RID 0xfff8

/*
 * t0 shares much; t1 initiates and shares for reading, and registers; t2 does
 * not initiate; t3 is no member.
 */
static BridgeMachine *machine_new(void)
{
    const BridgeMachineOptions options = {
        .more = "-object p2p-group,id=g1",
        .t = {
            ",p2p-share=bar2@0-0x80000+bar2:ro@0x80000-0xc0000+bar4",
            ",p2p-share=bar2:ro+bar0",
            ",p2p-share=bar2,p2p-initiate=off",
            ",p2p-group=g1,p2p-share=bar2",
        },
    };

    return bm_new(&options);
}

static void expect_reason(BridgeCompletion c, uint16_t status,
                          uint32_t reason)
{
    g_assert_cmphex(c.status, ==, status);
    g_assert_cmphex(c.reason, ==, reason);
}

/* --- Any command ------------------------------------------------------- */

static const uint16_t opcodes[] = {
    P2P_BRIDGE_OP_IDENTIFY, P2P_BRIDGE_OP_MEMBERS, P2P_BRIDGE_OP_WINDOWS,
    P2P_BRIDGE_OP_PAIRS, P2P_BRIDGE_OP_SHARE, P2P_BRIDGE_OP_UNSHARE,
    P2P_BRIDGE_OP_ATTACH, P2P_BRIDGE_OP_DETACH, P2P_BRIDGE_OP_ACKNOWLEDGE,
    P2P_BRIDGE_OP_TRANSLATE, P2P_BRIDGE_OP_BUS_RELEASE,
};

static bool is_opcode(unsigned opcode)
{
    for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
        if (opcodes[i] == opcode) {
            return true;
        }
    }
    return false;
}

static void test_opcodes(void)
{
    BridgeMachine *m = machine_new();

    for (unsigned opcode = 0; opcode < 0x10000; opcode += 1 + opcode / 300) {
        BridgeCommand c = bridge_cmd(opcode);

        if (!is_opcode(opcode)) {
            bridge_expect(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_OPCODE);
        }
    }
    bm_end(m);
}

/* Good but for what a test changes in it */
static BridgeCommand good_command(BridgeMachine *m, uint16_t opcode)
{
    BridgeCommand c = bridge_cmd(opcode);
    uint64_t output = m->b.memory + BRIDGE_OUTPUT;

    switch (opcode) {
    case P2P_BRIDGE_OP_IDENTIFY:
    case P2P_BRIDGE_OP_MEMBERS:
    case P2P_BRIDGE_OP_WINDOWS:
    case P2P_BRIDGE_OP_PAIRS:
        c.out_addr = output;
        c.out_len = 64 * 32;
        break;
    case P2P_BRIDGE_OP_SHARE:
        c = bridge_share_cmd(BM_RID(0), 2, 0, 4096, RW);
        break;
    case P2P_BRIDGE_OP_TRANSLATE:
        bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, BM_RID(1));
        c.in_addr = m->b.memory + BRIDGE_INPUT;
        c.in_len = P2P_BRIDGE_VEC_BYTES;
        c.out_addr = output;
        c.out_len = 64 * P2P_BRIDGE_VEC_BYTES;
        qtest_memset(m->qts, c.in_addr, 0, c.in_len);
        qtest_writel(m->qts, c.in_addr + P2P_BRIDGE_VEC_LEN, 4096);
        qtest_writel(m->qts, c.in_addr + P2P_BRIDGE_VEC_FLAGS, READ);
        break;
    case P2P_BRIDGE_OP_BUS_RELEASE:
        bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, BM_RID(1));
        bridge_arg32(&c, P2P_BRIDGE_ARG_TARGET, BM_RID(0));
        break;
    default:
        bridge_arg32(&c, P2P_BRIDGE_ARG_WINDOW, 0x1240);
    }
    return c;
}

/* The first byte of the arguments that a command does not have. */
static unsigned arguments(uint16_t opcode)
{
    switch (opcode) {
    case P2P_BRIDGE_OP_IDENTIFY:
        return 0x20;
    case P2P_BRIDGE_OP_SHARE:
        return 0x3c;
    case P2P_BRIDGE_OP_ATTACH:
    case P2P_BRIDGE_OP_TRANSLATE:
    case P2P_BRIDGE_OP_BUS_RELEASE:
        return 0x28;
    }
    return 0x24;
}

static void test_reserved(void)
{
    BridgeMachine *m = machine_new();

    for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
        BridgeCommand good = good_command(m, opcodes[i]);
        BridgeCommand c;

        g_test_message("opcode 0x%x", opcodes[i]);
        for (unsigned bit = 0; bit < 32; bit += 31) {
            c = good;
            c.flags = 1u << bit;
            expect_reason(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_FIELD,
                          P2P_BRIDGE_CMD_FLAGS);
        }
        for (unsigned at = arguments(opcodes[i]); at < 0x40; at++) {
            BridgeCompletion done;

            c = good;
            c.args[at - 0x20] = 0x80;
            done = bridge_run(&m->b, &c);
            g_assert_cmphex(done.status, ==, P2P_BRIDGE_BAD_FIELD);
            /* Bytes of a field, or where it begins */
            g_assert_cmphex(done.reason, <=, at);
            g_assert_cmphex(done.reason, >=, at & ~7);
        }
        if (!good.in_len) {
            c = good;
            c.in_addr = m->b.memory;
            expect_reason(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_FIELD,
                          P2P_BRIDGE_CMD_IN_ADDR);
            c = good;
            c.in_len = 32;
            bridge_expect(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_LENGTH);
        }
        if (!good.out_len) {
            c = good;
            c.out_addr = m->b.memory;
            expect_reason(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_FIELD,
                          P2P_BRIDGE_CMD_OUT_ADDR);
            c = good;
            c.out_len = 32;
            bridge_expect(bridge_run(&m->b, &c), P2P_BRIDGE_BAD_LENGTH);
        }
    }
    bm_end(m);
}

static void test_buffers(void)
{
    BridgeMachine *m = machine_new();

    bm_show(m, 0, 0, 64 * KiB, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(opcodes); i++) {
        const uint64_t places[] = {
            m->b.registers, m->b.page, m->b.aperture, bm_slot(m, 1),
            BM_BAR2(0), BM_BAR4(0), BM_REGISTERS(0), BM_RAM, BM_RAM - 16,
            BM_NOWHERE, -16ull, -64ull, 1ull << 63, 0xfee00000,
        };

        for (unsigned j = 0; j < ARRAY_SIZE(places); j++) {
            BridgeCommand c = good_command(m, opcodes[i]);
            BridgeCompletion done;

            if (c.out_len) {
                c.out_addr = places[j];
                done = bridge_run(&m->b, &c);
                g_test_message("opcode 0x%x, output at 0x%" PRIx64,
                               opcodes[i], places[j]);
                g_assert_cmphex(done.status, ==, P2P_BRIDGE_DMA_ERROR);
                g_assert_cmphex(done.value, ==, places[j]);
            }
            c = good_command(m, opcodes[i]);
            if (c.in_len) {
                c.in_addr = places[j];
                done = bridge_run(&m->b, &c);
                g_assert_cmphex(done.status, ==, P2P_BRIDGE_DMA_ERROR);
                g_assert_cmphex(done.value, ==, places[j]);
            }
        }
    }
    for (unsigned i = 0; i < 64 * KiB; i++) {
        g_assert_cmphex(m->bar2[0][i], ==, 0);
    }
    bm_end(m);
}

/* --- Identify and lists ------------------------------------------------ */

static void test_identify(void)
{
    BridgeMachine *m = machine_new();
    BridgeCommand c = good_command(m, P2P_BRIDGE_OP_IDENTIFY);
    BridgeIdentity id = bridge_identify(&m->b);
    BridgeCompletion done;

    g_assert_cmpuint(id.members, ==, 4);        /* with itself */
    g_assert_cmpuint(id.windows, ==, 6);
    /* t0 by t1; t1 by t0; t2 by t0 and t1 */
    g_assert_cmpuint(id.pairs, ==, 4);
    g_assert_cmpuint(id.max_windows, ==, P2P_BRIDGE_MAX_WINDOWS_VALUE);
    g_assert_cmpuint(id.max_vector, ==, P2P_BRIDGE_MAX_VECTOR_VALUE);
    g_assert_cmpuint(id.slots, ==, 512);
    g_assert_cmpuint(id.slot_shift, ==, P2P_BRIDGE_SLOT_SHIFT_VALUE);
    g_assert_cmpuint(id.page_shift, ==, 12);
    g_assert_cmpuint(id.revoke_ms, ==, 1000);

    c.out_len = P2P_BRIDGE_IDENTIFY_BYTES - 1;
    done = bridge_run(&m->b, &c);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_NO_SPACE);
    g_assert_cmpuint(done.value, ==, P2P_BRIDGE_IDENTIFY_BYTES);
    c.out_len = 0;
    done = bridge_run(&m->b, &c);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_NO_SPACE);
    c.out_len = 4096;
    done = bridge_run(&m->b, &c);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_OK);
    g_assert_cmpuint(done.out_len, ==, P2P_BRIDGE_IDENTIFY_BYTES);
    bm_end(m);
}

static const BridgeMember *find_member(const BridgeMember *list, unsigned n,
                                       uint32_t rid)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i].rid == rid) {
            return &list[i];
        }
    }
    return NULL;
}

static void test_members(void)
{
    BridgeMachine *m = machine_new();
    BridgeMember list[16];
    unsigned n = bridge_members(&m->b, 0, list, 16, NULL);
    const BridgeMember *t0 = find_member(list, n, BM_RID(0));
    const BridgeMember *t1 = find_member(list, n, BM_RID(1));
    const BridgeMember *t2 = find_member(list, n, BM_RID(2));
    const BridgeMember *self = find_member(list, n, BM_BRIDGE_RID(0));

    g_assert_cmpuint(n, ==, 4);
    g_assert_null(find_member(list, n, BM_RID(3)));
    g_assert_cmphex(t0->flags, ==, P2P_BRIDGE_MEMBER_INITIATES);
    g_assert_cmpuint(t0->windows, ==, 3);
    g_assert_cmphex(t1->flags, ==, P2P_BRIDGE_MEMBER_INITIATES);
    g_assert_cmpuint(t1->windows, ==, 2);
    g_assert_cmphex(t2->flags, ==, 0);
    g_assert_cmpuint(t2->windows, ==, 1);
    g_assert_cmphex(self->flags, ==, P2P_BRIDGE_MEMBER_SELF);
    g_assert_cmpuint(self->windows, ==, 0);

    /* Windows in the aperture are not among them. */
    bm_show(m, 0, 0, 64 * KiB, 0);
    g_assert_cmpuint(bridge_members(&m->b, 0, list, 16, NULL), ==, 4);
    self = find_member(list, n, BM_BRIDGE_RID(0));
    g_assert_cmpuint(self->windows, ==, 0);
    g_assert_cmpuint(bridge_identify(&m->b).windows, ==, 6);
    bm_end(m);
}

static void expect_window(const BridgeWindow *list, unsigned n, uint32_t rid,
                          uint8_t bar, uint64_t offset, uint64_t size,
                          uint8_t access, uint16_t flags, uint64_t gpa)
{
    for (unsigned i = 0; i < n; i++) {
        const BridgeWindow *w = &list[i];

        if (w->rid == rid && w->bar == bar && w->offset == offset) {
            g_assert_cmphex(w->size, ==, size);
            g_assert_cmpuint(w->access, ==, access);
            g_assert_cmphex(w->flags, ==, flags);
            g_assert_cmphex(w->gpa, ==, gpa);
            return;
        }
    }
    g_assert_not_reached();
}

static void test_windows(void)
{
    const uint16_t memory = P2P_BRIDGE_WINDOW_MEMORY |
                            P2P_BRIDGE_WINDOW_RAM_LIKE;
    const uint16_t there = memory | P2P_BRIDGE_WINDOW_DECODED;
    BridgeMachine *m = machine_new();
    BridgeWindow list[16];
    unsigned n = bridge_windows(&m->b, 0, list, 16, NULL);

    g_assert_cmpuint(n, ==, 6);
    expect_window(list, n, BM_RID(0), 2, 0, 0x80000, RW, there, BM_BAR2(0));
    expect_window(list, n, BM_RID(0), 2, 0x80000, 0x40000, RO, there,
                  BM_BAR2(0) + 0x80000);
    expect_window(list, n, BM_RID(0), 4, 0, MiB, RW, there, BM_BAR4(0));
    expect_window(list, n, BM_RID(1), 2, 0, MiB, RO, there, BM_BAR2(1));
    expect_window(list, n, BM_RID(1), 0, 0, TESTDEV_REGISTERS, RW,
                  P2P_BRIDGE_WINDOW_DECODED, BM_REGISTERS(1));
    expect_window(list, n, BM_RID(2), 2, 0, MiB, RW, there, BM_BAR2(2));

    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
    guest_pci_bar_map(&m->t[2].pci, 2, (P2PGuestAddr) { BM_ELSEWHERE });
    n = bridge_windows(&m->b, 0, list, 16, NULL);
    g_assert_cmpuint(n, ==, 6);
    expect_window(list, n, BM_RID(0), 2, 0, 0x80000, RW, memory, 0);
    expect_window(list, n, BM_RID(2), 2, 0, MiB, RW, there, BM_ELSEWHERE);
    bm_end(m);
}

static void test_pairs(void)
{
    BridgeMachine *m = machine_new();
    BridgePair list[16];
    unsigned n = bridge_pairs(&m->b, 0, list, 16, NULL);
    bool seen[3][3] = {};

    g_assert_cmpuint(n, ==, 4);
    for (unsigned i = 0; i < n; i++) {
        unsigned from = (list[i].initiator - BM_RID(0)) / 8;
        unsigned to = (list[i].target - BM_RID(0)) / 8;

        g_assert_cmpuint(from, <, 2);
        g_assert_cmpuint(to, <, 3);
        g_assert_cmpuint(from, !=, to);
        g_assert_false(seen[from][to]);
        seen[from][to] = true;
        g_assert_cmpuint(list[i].path, ==, P2P_BRIDGE_PATH_UNKNOWN);
        g_assert_cmpuint(list[i].map_type, ==, P2P_BRIDGE_MAP_CPU);
        g_assert_true(list[i].flags & P2P_BRIDGE_PAIR_INSTALLED);
    }
    guest_pci_command(&m->t[2].pci, 0, PCI_COMMAND_MEMORY);
    n = bridge_pairs(&m->b, 0, list, 16, NULL);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpint(!!(list[i].flags & P2P_BRIDGE_PAIR_INSTALLED), ==,
                        list[i].target != BM_RID(2));
    }
    bm_end(m);
}

static void test_paging(void)
{
    BridgeMachine *m = machine_new();
    BridgeWindow whole[8], part[8];
    BridgeMember members[8], member;
    uint32_t all;

    bridge_windows(&m->b, 0, whole, 8, &all);
    g_assert_cmpuint(all, ==, 6);
    for (unsigned first = 0; first < 6; first++) {
        for (unsigned n = 0; n < 3; n++) {
            unsigned got = bridge_windows(&m->b, first, part, n, &all);

            g_assert_cmpuint(all, ==, 6);
            g_assert_cmpuint(got, ==, MIN(n, 6 - first));
            g_assert_cmpmem(part, got * sizeof(part[0]), whole + first,
                            got * sizeof(part[0]));
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        static const uint32_t beyond[] = { 6, 7, 0x80000000, UINT32_MAX };

        g_assert_cmpuint(bridge_windows(&m->b, beyond[i], part, 8, &all), ==,
                         0);
        g_assert_cmpuint(all, ==, 6);
    }
    bridge_members(&m->b, 0, members, 8, &all);
    g_assert_cmpuint(bridge_members(&m->b, 2, &member, 1, &all), ==, 1);
    g_assert_cmphex(member.rid, ==, members[2].rid);
    bm_end(m);
}

/* --- Share ------------------------------------------------------------- */

static const struct {
    const char *what;
    uint32_t rid;
    uint32_t bar;
    uint64_t offset;
    uint64_t size;
    uint32_t access;
    uint16_t status;
    uint32_t reason;
    uint64_t value;
} shares[] = {
    { "no such function", NO_RID, 2, 0, 4096, RW, P2P_BRIDGE_NO_MEMBER },
    { "a bus too many", 0x10000 | BM_RID(0), 2, 0, 4096, RW,
      P2P_BRIDGE_NO_MEMBER },
    { "no member", BM_RID(3), 2, 0, 4096, RW, P2P_BRIDGE_NO_MEMBER },
    { "itself", BM_BRIDGE_RID(0), 2, 0, 4096, RW, P2P_BRIDGE_NOT_SHARED },
    { "its aperture", BM_BRIDGE_RID(0), 4, 0, 4096, RW,
      P2P_BRIDGE_NOT_SHARED },
    { "bar 6", BM_RID(0), 6, 0, 4096, RW, P2P_BRIDGE_BAD_FIELD,
      P2P_BRIDGE_ARG_BAR },
    { "bar 2^31", BM_RID(0), 0x80000002, 0, 4096, RW, P2P_BRIDGE_BAD_FIELD,
      P2P_BRIDGE_ARG_BAR },
    { "upper half", BM_RID(0), 3, 0, 4096, RW, P2P_BRIDGE_NOT_SHARED },
    { "no such bar", BM_RID(0), 5, 0, 4096, RW, P2P_BRIDGE_NOT_SHARED },
    { "another bar", BM_RID(0), 0, 0, 4096, RW, P2P_BRIDGE_NOT_SHARED },
    { "offset", BM_RID(0), 2, 0x800, 4096, RW, P2P_BRIDGE_BAD_FIELD,
      P2P_BRIDGE_ARG_OFFSET },
    { "offset", BM_RID(0), 2, 1, 4096, RW, P2P_BRIDGE_BAD_FIELD,
      P2P_BRIDGE_ARG_OFFSET },
    { "nothing", BM_RID(0), 2, 0, 0, RW, P2P_BRIDGE_BAD_LENGTH, 0, 4096 },
    { "part of a page", BM_RID(0), 2, 0, 0x1001, RW, P2P_BRIDGE_BAD_LENGTH,
      0, 4096 },
    { "beyond 2^64", BM_RID(0), 2, -0x1000ull, 0x2000, RW,
      P2P_BRIDGE_BAD_LENGTH, 0, 4096 },
    { "to 2^64", BM_RID(0), 2, -0x2000ull, 0x1000, RW, P2P_BRIDGE_NOT_SHARED },
    { "access 2", BM_RID(0), 2, 0, 4096, 2, P2P_BRIDGE_BAD_FIELD,
      P2P_BRIDGE_ARG_ACCESS },
    { "access 2^32 - 1", BM_RID(0), 2, 0, 4096, UINT32_MAX,
      P2P_BRIDGE_BAD_FIELD, P2P_BRIDGE_ARG_ACCESS },
    { "two windows", BM_RID(0), 2, 0x7f000, 0x2000, RO,
      P2P_BRIDGE_NOT_SHARED },
    { "behind it", BM_RID(0), 2, 0xc0000, 4096, RO, P2P_BRIDGE_NOT_SHARED },
    { "beyond it", BM_RID(0), 4, 0, MiB + 4096, RW, P2P_BRIDGE_NOT_SHARED },
    { "read only", BM_RID(0), 2, 0x80000, 4096, RW, P2P_BRIDGE_NO_ACCESS },
    { "read only", BM_RID(1), 2, 0, 4096, RW, P2P_BRIDGE_NO_ACCESS },
};

static void test_share(void)
{
    BridgeMachine *m = machine_new();
    uint32_t a, b;

    for (unsigned i = 0; i < ARRAY_SIZE(shares); i++) {
        uint32_t generation = bridge_identify(&m->b).generation;
        BridgeCompletion done = bridge_share(
            &m->b, shares[i].rid, shares[i].bar, shares[i].offset,
            shares[i].size, shares[i].access);

        g_test_message("%s", shares[i].what);
        expect_reason(done, shares[i].status, shares[i].reason);
        g_assert_cmphex(done.value, ==, shares[i].value);
        g_assert_cmpuint(done.generation, ==, generation);
    }
    /* As much as there is, the last page, the same twice, less access */
    a = bm_share(m, 0, 2, 0, 0x80000, RW);
    b = bm_share(m, 0, 2, 0, 0x80000, RW);
    g_assert_cmphex(a, !=, b);
    bm_share(m, 0, 2, 0x7f000, 0x1000, RO);
    bm_share(m, 0, 2, 0x80000, 0x40000, RO);
    bm_share(m, 0, 4, 0, MiB, RW);
    bm_share(m, 2, 2, 0, MiB, RW);
    bm_end(m);
}

/* Nobody can show registers, whichever command says so. */
static void test_no_memory(void)
{
    BridgeMachine *m = machine_new();
    BridgeCompletion done = bridge_share(&m->b, BM_RID(1), 0, 0,
                                         TESTDEV_REGISTERS, RW);

    if (done.status == P2P_BRIDGE_OK) {
        done = bridge_attach(&m->b, done.value, 0);
    }
    bridge_expect(done, P2P_BRIDGE_NO_MEMORY);
    bm_end(m);
}

static void test_limit(void)
{
    BridgeMachine *m = machine_new();
    uint32_t windows[64];

    for (unsigned i = 0; i < 64; i++) {
        windows[i] = bm_share(m, 0, 2, i * 4096, 4096, RW);
        for (unsigned j = 0; j < i; j++) {
            g_assert_cmphex(windows[i], !=, windows[j]);
        }
    }
    for (unsigned i = 0; i < 64; i++) {
        bridge_ok(bridge_attach(&m->b, windows[i], 63 - i));
    }
    bridge_expect(bridge_share(&m->b, BM_RID(0), 2, 0, 4096, RW),
                  P2P_BRIDGE_LIMIT);
    for (unsigned i = 0; i < 64; i++) {
        bm_expect_data(m, 1, bm_slot(m, 63 - i), 0, i * 4096, 4096);
    }
    bridge_ok(bridge_detach(&m->b, windows[17]));
    bridge_expect(bridge_share(&m->b, BM_RID(0), 2, 0, 4096, RW),
                  P2P_BRIDGE_LIMIT);
    bridge_ok(bridge_unshare(&m->b, windows[17]));
    /* A number is not used again soon. */
    g_assert_cmphex(bm_share(m, 0, 2, 0, 4096, RW), !=, windows[17]);
    bridge_expect(bridge_unshare(&m->b, windows[17]), P2P_BRIDGE_NO_WINDOW);
    bm_end(m);
}

static void test_numbers(void)
{
    BridgeMachine *m = machine_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; i < 1000; i++) {
        uint32_t window = bm_share(m, 0, 2, 0, 4096, RW);

        g_assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(window)));
        bridge_ok(bridge_unshare(&m->b, window));
    }
    bm_end(m);
}

/* --- Life of a window -------------------------------------------------- */

static void test_life(void)
{
    BridgeMachine *m = machine_new();
    Bridge *b = &m->b;
    uint32_t window = bm_share(m, 0, 2, 0, 64 * KiB, RW);
    uint32_t never[] = { 0, window + 64, window - 64, window ^ 1, UINT32_MAX,
                         window | 0x80000000 };

    for (unsigned i = 0; i < ARRAY_SIZE(never); i++) {
        bridge_expect(bridge_unshare(b, never[i]), P2P_BRIDGE_NO_WINDOW);
        bridge_expect(bridge_attach(b, never[i], 0), P2P_BRIDGE_NO_WINDOW);
        bridge_expect(bridge_detach(b, never[i]), P2P_BRIDGE_NO_WINDOW);
        bridge_expect(bridge_acknowledge(b, never[i]), P2P_BRIDGE_NO_WINDOW);
    }
    for (unsigned i = 0; i < 3; i++) {
        bridge_expect(bridge_detach(b, window), P2P_BRIDGE_NOT_ATTACHED);
        bridge_expect(bridge_acknowledge(b, window),
                      P2P_BRIDGE_NOT_REVOKED);
        g_assert_cmphex(bridge_ok(bridge_attach(b, window, i)), ==,
                        i * BRIDGE_SLOT);
        bridge_expect(bridge_attach(b, window, i), P2P_BRIDGE_ATTACHED);
        bridge_expect(bridge_attach(b, window, 9), P2P_BRIDGE_ATTACHED);
        bridge_expect(bridge_unshare(b, window), P2P_BRIDGE_ATTACHED);
        bridge_expect(bridge_acknowledge(b, window),
                      P2P_BRIDGE_NOT_REVOKED);
        bm_expect_data(m, 1, bm_slot(m, i), 0, 0, 4096);
        bridge_ok(bridge_detach(b, window));
        bm_expect_nothing(m, 1, bm_slot(m, i), 0);
    }
    bridge_ok(bridge_unshare(b, window));
    bridge_expect(bridge_unshare(b, window), P2P_BRIDGE_NO_WINDOW);
    bridge_expect(bridge_attach(b, window, 0), P2P_BRIDGE_NO_WINDOW);
    bm_end(m);
}

static void test_slots(void)
{
    const BridgeMachineOptions options = {
        .bridge = ",aperture=16M",      /* 8 slots */
        .t = { ",p2p-share=bar2" }, .size = { 32 * MiB },
    };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b;
    uint32_t one = bm_share(m, 0, 2, 0, 2 * MiB, RW);
    uint32_t more = bm_share(m, 0, 2, 2 * MiB, 2 * MiB + 4096, RW);
    uint32_t all = bm_share(m, 0, 2, 0, 16 * MiB, RW);
    uint32_t over = bm_share(m, 0, 2, 0, 16 * MiB + 4096, RW);

    bridge_expect(bridge_attach(b, one, 8), P2P_BRIDGE_BAD_SLOT);
    bridge_expect(bridge_attach(b, one, UINT32_MAX), P2P_BRIDGE_BAD_SLOT);
    bridge_expect(bridge_attach(b, one, 0x80000000), P2P_BRIDGE_BAD_SLOT);
    bridge_expect(bridge_attach(b, more, 7), P2P_BRIDGE_BAD_SLOT);
    bridge_expect(bridge_attach(b, all, 1), P2P_BRIDGE_BAD_SLOT);
    bridge_expect(bridge_attach(b, over, 0), P2P_BRIDGE_BAD_SLOT);

    bridge_ok(bridge_attach(b, more, 3));       /* 3 and 4 */
    for (unsigned slot = 3; slot <= 4; slot++) {
        BridgeCompletion done = bridge_attach(b, one, slot);

        g_assert_cmphex(done.status, ==, P2P_BRIDGE_SLOT_TAKEN);
        g_assert_cmphex(done.value, ==, more);
    }
    g_assert_cmphex(bridge_expect(bridge_attach(b, all, 0),
                                  P2P_BRIDGE_SLOT_TAKEN), ==, more);
    bridge_ok(bridge_attach(b, one, 5));
    bridge_ok(bridge_detach(b, more));
    g_assert_cmphex(bridge_expect(bridge_attach(b, more, 4),
                                  P2P_BRIDGE_SLOT_TAKEN), ==, one);
    bridge_ok(bridge_attach(b, more, 6));
    bridge_ok(bridge_detach(b, one));
    bridge_ok(bridge_detach(b, more));
    bridge_ok(bridge_attach(b, all, 0));
    bm_expect_data(m, 0, bm_slot(m, 7) + BRIDGE_SLOT - 4096, 0,
                   16 * MiB - 4096, 4096);
    bridge_ok(bridge_detach(b, all));
    bridge_ok(bridge_attach(b, one, 7));
    bm_end(m);
}

static void test_not_decoded(void)
{
    BridgeMachine *m = machine_new();
    Bridge *b = &m->b;
    uint32_t window = bm_share(m, 0, 2, 0, 64 * KiB, RW);
    uint8_t pm = guest_pci_capability(&m->t[0].pci, PCI_CAP_ID_PM);

    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
    bridge_expect(bridge_attach(b, window, 0), P2P_BRIDGE_NOT_DECODED);
    /* Decode is nothing to a window that is only shared. */
    g_assert_cmpuint(bridge_state(b, window), ==, P2P_BRIDGE_STATE_SHARED);
    bm_share(m, 0, 4, 0, 4096, RW);
    guest_pci_command(&m->t[0].pci, PCI_COMMAND_MEMORY, 0);
    bridge_ok(bridge_attach(b, window, 0));
    bridge_ok(bridge_detach(b, window));

    guest_pci_writew(&m->t[0].pci, pm + PCI_PM_CTRL, 3);
    bridge_expect(bridge_attach(b, window, 0), P2P_BRIDGE_NOT_DECODED);
    guest_pci_writew(&m->t[0].pci, pm + PCI_PM_CTRL, 0);
    bridge_ok(bridge_attach(b, window, 0));
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
    bm_end(m);
}

/* --- Translate --------------------------------------------------------- */

#define CPU_MAP ((uint32_t)P2P_BRIDGE_MAP_CPU << P2P_BRIDGE_VEC_MAP_SHIFT)
#define IO_OUT  (P2P_BRIDGE_VEC_IO | P2P_BRIDGE_VEC_REVOCABLE | CPU_MAP)
#define RAM_OUT (P2P_BRIDGE_VEC_RAM | P2P_BRIDGE_VEC_REVOCABLE)

typedef struct Translation {
    const char *what;
    BridgeVec in[4];
    unsigned n_out;
    BridgeVec out[4];
} Translation;

static const Translation translations[] = {
    { "RAM", { { 0x1000, 4096, READ } }, 1,
      { { 0x1000, 4096, READ | RAM_OUT } } },
    { "a window", { { BM_BAR2(0), 4096, READ | WRITE } }, 1,
      { { BM_BAR2(0), 4096, READ | WRITE | IO_OUT } } },
    { "a BAR of its own", { { BM_BAR2(1), 4096, READ } }, 1,
      { { BM_BAR2(1), 4096, READ | IO_OUT | P2P_BRIDGE_VEC_SELF } } },
    { "by BAR", { { 0x1000, 8, WRITE | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0), 2 } },
      1, { { BM_BAR2(0) + 0x1000, 8, WRITE | IO_OUT } } },
    { "joined", { { BM_BAR2(0), 4096, READ },
                  { BM_BAR2(0) + 4096, 4096, READ },
                  { 0x2000, 512,
                    READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0), 2 } }, 1,
      { { BM_BAR2(0), 8704, READ | IO_OUT } } },
    { "not to be joined", { { BM_BAR2(0), 4096, READ },
                            { BM_BAR2(0) + 4096, 4096,
                              READ | P2P_BRIDGE_VEC_NO_MERGE } }, 2,
      { { BM_BAR2(0), 4096, READ | IO_OUT },
        { BM_BAR2(0) + 4096, 4096, READ | IO_OUT } } },
    { "not alike", { { 0x1000, 4096, READ }, { 0x2000, 4096, WRITE } }, 2,
      { { 0x1000, 4096, READ | RAM_OUT }, { 0x2000, 4096, WRITE | RAM_OUT } }
    },
    { "must be a BAR",
      { { BM_BAR4(0), 1, READ | P2P_BRIDGE_VEC_MUST_BE_IO } }, 1,
      { { BM_BAR4(0), 1, READ | IO_OUT } } },
    { "must be RAM",
      { { 0x1234, 77, WRITE | P2P_BRIDGE_VEC_MUST_BE_RAM } }, 1,
      { { 0x1234, 77, WRITE | RAM_OUT } } },
};

static unsigned count_in(const Translation *t)
{
    unsigned n = 0;

    while (n < ARRAY_SIZE(t->in) && t->in[n].len) {
        n++;
    }
    return n;
}

static void test_translate(void)
{
    BridgeMachine *m = machine_new();
    uint32_t generation = bridge_identify(&m->b).generation;

    for (unsigned i = 0; i < ARRAY_SIZE(translations); i++) {
        const Translation *t = &translations[i];
        BridgeVec out[8];
        BridgeCompletion done;

        g_test_message("%s", t->what);
        done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, t->in,
                                count_in(t), out, 8);
        bridge_ok(done);
        g_assert_cmpuint(done.out_len / P2P_BRIDGE_VEC_BYTES, ==, t->n_out);
        for (unsigned j = 0; j < t->n_out; j++) {
            g_assert_cmphex(out[j].addr, ==, t->out[j].addr);
            g_assert_cmpuint(out[j].len, ==, t->out[j].len);
            g_assert_cmphex(out[j].flags, ==, t->out[j].flags);
            g_assert_cmpuint(out[j].generation, ==, generation);
        }
        /* One too few, and none at all */
        for (unsigned room = 0; room < t->n_out; room++) {
            done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA,
                                    t->in, count_in(t), out, room);
            g_assert_cmphex(done.status, ==, P2P_BRIDGE_NO_SPACE);
            g_assert_cmpuint(done.value, ==,
                             t->n_out * P2P_BRIDGE_VEC_BYTES);
        }
    }
    bm_end(m);
}

static const struct {
    const char *what;
    BridgeVec in;
    uint32_t reason;
    uint64_t value;
} faults[] = {
    { "nothing", { BM_NOWHERE, 4096, READ }, P2P_BRIDGE_FAULT_UNMAPPED,
      BM_NOWHERE },
    { "end of RAM", { BM_RAM - 4096, 8192, READ }, P2P_BRIDGE_FAULT_UNMAPPED,
      BM_RAM },
    { "not shared", { BM_BAR2(0) + 0xc0000, 4096, READ },
      P2P_BRIDGE_FAULT_UNMAPPED, BM_BAR2(0) + 0xc0000 },
    { "end of a window", { BM_BAR2(0) + 0xbf000, 0x1001, READ },
      P2P_BRIDGE_FAULT_UNMAPPED, BM_BAR2(0) + 0xc0000 },
    { "another group", { BM_BAR2(3), 4096, READ }, P2P_BRIDGE_FAULT_UNMAPPED,
      BM_BAR2(3) },
    { "empty slot", { BM_APERTURE(0) + 4 * MiB, 4096, READ },
      P2P_BRIDGE_FAULT_UNMAPPED, BM_APERTURE(0) + 4 * MiB },
    { "registers of the bridge", { BM_BARS(0), 4, READ },
      P2P_BRIDGE_FAULT_UNMAPPED, BM_BARS(0) },
    { "read only", { BM_BAR2(0) + 0x80000, 4096, WRITE },
      P2P_BRIDGE_FAULT_WRITE_DENIED, BM_BAR2(0) + 0x80000 },
    { "into read only", { BM_BAR2(0) + 0x7f000, 8192, READ | WRITE },
      P2P_BRIDGE_FAULT_WRITE_DENIED, BM_BAR2(0) + 0x80000 },
    { "no bytes", { BM_BAR2(0), 0, READ }, P2P_BRIDGE_FAULT_ZERO_LENGTH },
    { "beyond 2^64", { -4096ull, 8192, READ }, P2P_BRIDGE_FAULT_WRAPS },
    { "no direction", { 0x1000, 4096, 0 }, P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "unknown flag", { 0x1000, 4096, READ | 1u << 6 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "unknown flag", { 0x1000, 4096, READ | 1u << 31 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "flag of the output", { 0x1000, 4096, READ | P2P_BRIDGE_VEC_RAM },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "both", { 0x1000, 4096, READ | P2P_BRIDGE_VEC_MUST_BE_IO |
                P2P_BRIDGE_VEC_MUST_BE_RAM }, P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "RAM, not a BAR", { 0x1000, 4096, READ | P2P_BRIDGE_VEC_MUST_BE_IO },
      P2P_BRIDGE_FAULT_WRONG_KIND, 0x1000 },
    { "a BAR, not RAM", { BM_BAR2(0), 1, READ | P2P_BRIDGE_VEC_MUST_BE_RAM },
      P2P_BRIDGE_FAULT_WRONG_KIND, BM_BAR2(0) },
    { "by BAR: no member", { 0, 4096, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(3),
                             2 }, P2P_BRIDGE_FAULT_NO_MEMBER },
    { "by BAR: no function", { 0, 4096, READ | P2P_BRIDGE_VEC_BY_BAR, NO_RID,
                               2 }, P2P_BRIDGE_FAULT_NO_MEMBER },
    { "by BAR: I/O ports", { 0, 4, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0),
                             1 }, P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: upper half", { 0, 4, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0),
                              3 }, P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: no BAR", { 0, 4, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0), 6 },
      P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: no BAR", { 0, 4, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0),
                          UINT32_MAX }, P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: its end", { MiB - 4, 8, READ | P2P_BRIDGE_VEC_BY_BAR,
                           BM_RID(0), 2 }, P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: beyond", { -4096ull, 8192, READ | P2P_BRIDGE_VEC_BY_BAR,
                          BM_RID(0), 2 }, P2P_BRIDGE_FAULT_OUTSIDE },
    { "by BAR: not shared", { 0xc0000, 4096, READ | P2P_BRIDGE_VEC_BY_BAR,
                              BM_RID(0), 2 }, P2P_BRIDGE_FAULT_UNMAPPED },
    { "by BAR: no bytes", { 0, 0, READ | P2P_BRIDGE_VEC_BY_BAR, BM_RID(0), 2 },
      P2P_BRIDGE_FAULT_ZERO_LENGTH },
    { "RID without by BAR", { 0x1000, 4096, READ, BM_RID(0), 0 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "BAR without by BAR", { 0x1000, 4096, READ, 0, 2 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "generation in", { 0x1000, 4096, READ, 0, 0, 1 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
    { "reserved", { 0x1000, 4096, READ, 0, 0, 0, 1 },
      P2P_BRIDGE_FAULT_BAD_FLAGS },
};

/* Wherever it stands among good ones, it is found, and nothing is written. */
static void test_faults(void)
{
    BridgeMachine *m = machine_new();
    uint64_t output = m->b.memory + BRIDGE_OUTPUT;

    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        for (unsigned at = 0; at < 5; at += 2) {
            BridgeVec in[5], out[16];
            BridgeCompletion done;

            for (unsigned j = 0; j < ARRAY_SIZE(in); j++) {
                in[j] = (BridgeVec) { j * 0x2000, 4096, READ };
            }
            in[at] = faults[i].in;
            qtest_memset(m->qts, output, 0x5a, 512);
            done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in,
                                    ARRAY_SIZE(in), out, 16);
            g_test_message("%s", faults[i].what);
            expect_reason(done, P2P_BRIDGE_FAULT, faults[i].reason);
            g_assert_cmpuint(done.index, ==, at);
            if (faults[i].value) {
                g_assert_cmphex(done.value, ==, faults[i].value);
            }
        }
    }
    bm_end(m);
}

static void test_translate_fields(void)
{
    BridgeMachine *m = machine_new();
    BridgeVec in = { 0x1000, 4096, READ }, out[4];
    static const struct {
        uint32_t rid;
        uint32_t kind;
        uint16_t status;
        uint32_t reason;
    } cases[] = {
        { NO_RID, 0, P2P_BRIDGE_NO_MEMBER },
        { BM_RID(3), 0, P2P_BRIDGE_NO_MEMBER },
        { 0x40000000 | BM_RID(0), 0, P2P_BRIDGE_NO_MEMBER },
        { BM_RID(2), 0, P2P_BRIDGE_NO_MEMBER },
        { BM_BRIDGE_RID(0), 0, P2P_BRIDGE_NO_MEMBER },
        { BM_RID(0), 2, P2P_BRIDGE_BAD_FIELD, P2P_BRIDGE_ARG_KIND },
        { BM_RID(0), UINT32_MAX, P2P_BRIDGE_BAD_FIELD, P2P_BRIDGE_ARG_KIND },
        /* A feature that the driver does not have */
        { BM_RID(0), P2P_BRIDGE_KIND_BUS, P2P_BRIDGE_BAD_FIELD,
          P2P_BRIDGE_ARG_KIND },
    };
    static const uint32_t lengths[] = { 0, 1, 31, 33, 4097 * 32, UINT32_MAX,
                                        0x80000000 };
    BridgeCompletion done;

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        done = bridge_translate(&m->b, cases[i].rid, cases[i].kind, &in, 1,
                                out, 4);
        expect_reason(done, cases[i].status, cases[i].reason);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        BridgeCommand c = good_command(m, P2P_BRIDGE_OP_TRANSLATE);

        c.in_len = lengths[i];
        done = bridge_run(&m->b, &c);
        g_assert_cmphex(done.status, ==, P2P_BRIDGE_BAD_LENGTH);
        g_assert_cmpuint(done.value, ==, P2P_BRIDGE_VEC_BYTES);
    }
    bm_end(m);
}

static void test_translate_most(void)
{
    BridgeMachine *m = machine_new();
    g_autofree BridgeVec *in = g_new0(BridgeVec, 4096);
    g_autofree BridgeVec *out = g_new0(BridgeVec, 8192);
    BridgeCompletion done;

    /* One that comes out as one, and one that comes out as many */
    for (unsigned i = 0; i < 4096; i++) {
        in[i] = (BridgeVec) { BM_BAR2(0) + i * 64, 64, READ };
    }
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in, 4096,
                            out, 4096);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, P2P_BRIDGE_VEC_BYTES);
    g_assert_cmpuint(out[0].len, ==, 256 * KiB);

    for (unsigned i = 0; i < 4096; i++) {
        in[i].addr = BM_BAR2(0) + (i % 2 ? 0 : 0x40000) + i * 64;
    }
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in, 4096,
                            out, 4096);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, 4096 * P2P_BRIDGE_VEC_BYTES);
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_cmphex(out[i].addr, ==, in[i].addr);
    }
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in, 4096,
                            out, 4095);
    g_assert_cmpuint(bridge_expect(done, P2P_BRIDGE_NO_SPACE), ==,
                     4096 * P2P_BRIDGE_VEC_BYTES);

    /* All of them over the border of two windows: twice as many */
    for (unsigned i = 0; i < 4096; i++) {
        in[i] = (BridgeVec) { BM_BAR2(0) + 0x80000 - 64, 128,
                              READ | P2P_BRIDGE_VEC_NO_MERGE };
    }
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in, 4096,
                            out, 8192);
    bridge_ok(done);
    /* The last of them is wrong. */
    in[4095].addr = BM_NOWHERE;
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, in, 4096,
                            out, 8192);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_FAULT);
    g_assert_cmpuint(done.index, ==, 4095);
    bm_end(m);
}

/* What a window in the aperture is for an initiator, and once was */
static void test_translate_aperture(void)
{
    BridgeMachine *m = machine_new();
    BridgeVec in = { bm_slot(m, 2) + 0x1000, 8192, READ | WRITE }, out[4];
    BridgeVec by_bar = { 2 * BRIDGE_SLOT, 4096, READ | P2P_BRIDGE_VEC_BY_BAR,
                         BM_BRIDGE_RID(0), 4 };
    uint32_t window = bm_show(m, 0, 0, 64 * KiB, 2);
    BridgeCompletion done;

    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in, 1,
                            out, 4);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, P2P_BRIDGE_VEC_BYTES);
    g_assert_cmphex(out[0].addr, ==, in.addr);
    g_assert_cmphex(out[0].flags, ==, READ | WRITE | IO_OUT);
    g_assert_cmpuint(out[0].generation, ==, done.generation);

    bridge_ok(bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &by_bar,
                               1, out, 4));
    g_assert_cmphex(out[0].addr, ==, bm_slot(m, 2));

    /* Behind its end */
    in = (BridgeVec) { bm_slot(m, 2) + 0xf000, 8192, READ };
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in, 1,
                            out, 4);
    expect_reason(done, P2P_BRIDGE_FAULT, P2P_BRIDGE_FAULT_UNMAPPED);
    g_assert_cmphex(done.value, ==, bm_slot(m, 2) + 0x10000);

    bridge_ok(bridge_detach(&m->b, window));
    in = (BridgeVec) { bm_slot(m, 2), 4096, READ };
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in, 1,
                            out, 4);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_FAULT);
    g_assert_true(done.reason == P2P_BRIDGE_FAULT_UNMAPPED ||
                  done.reason == P2P_BRIDGE_FAULT_REVOKED);

    /* A window of a BAR that does not decode any more */
    guest_pci_command(&m->t[0].pci, 0, PCI_COMMAND_MEMORY);
    in.addr = BM_BAR2(0);
    done = bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in, 1,
                            out, 4);
    expect_reason(done, P2P_BRIDGE_FAULT, P2P_BRIDGE_FAULT_REVOKED);
    bm_end(m);
}

/* A read only window of the guest in one that the host shares for writing */
static void test_translate_read_only(void)
{
    BridgeMachine *m = machine_new();
    uint32_t window = bm_share(m, 0, 2, 0, 64 * KiB, RO);
    BridgeVec in = { bm_slot(m, 0), 4096, WRITE }, out[4];

    bridge_ok(bridge_attach(&m->b, window, 0));
    expect_reason(bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in,
                                   1, out, 4),
                  P2P_BRIDGE_FAULT, P2P_BRIDGE_FAULT_WRITE_DENIED);
    in.flags = READ;
    bridge_ok(bridge_translate(&m->b, BM_RID(1), P2P_BRIDGE_KIND_GPA, &in, 1,
                               out, 4));
    bm_end(m);
}

/* --- Bus addresses ----------------------------------------------------- */

static void test_bus(void)
{
    const BridgeMachineOptions options = {
        .group = ",bus-address=on",
        .t = { ",p2p-share=bar2", ",p2p-share=none" },
    };
    BridgeMachine *m = bm_new(&options);
    Bridge *b = &m->b;
    BridgeVec in[] = { { BM_BAR2(0), 4096, READ }, { 0x1000, 4096, READ } };
    BridgeVec out[4];
    BridgeCompletion done;

    /* The feature is there, and the driver did not ask for it. */
    expect_reason(bridge_translate(b, BM_RID(1), P2P_BRIDGE_KIND_BUS, in, 1,
                                   out, 4), P2P_BRIDGE_BAD_FIELD,
                  P2P_BRIDGE_ARG_KIND);
    bridge_disable(b);
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES,
                 P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    g_assert_cmpuint(bridge_enable(b), ==, 0);

    /* A device model's DMA does not travel on any bus. */
    done = bridge_translate(b, BM_RID(1), P2P_BRIDGE_KIND_BUS, in, 1, out, 4);
    expect_reason(done, P2P_BRIDGE_BUS_REFUSED, P2P_BRIDGE_BUS_NOT_PASSTHROUGH);
    g_assert_cmpuint(done.index, ==, 0);
    done = bridge_translate(b, BM_RID(1), P2P_BRIDGE_KIND_BUS, in + 1, 1, out,
                            4);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_BUS_REFUSED);
    g_assert_true(done.reason == P2P_BRIDGE_BUS_RAM ||
                  done.reason == P2P_BRIDGE_BUS_NOT_PASSTHROUGH);
    /* A fault comes first. */
    in[1].addr = BM_NOWHERE;
    done = bridge_translate(b, BM_RID(1), P2P_BRIDGE_KIND_BUS, in, 2, out, 4);
    expect_reason(done, P2P_BRIDGE_FAULT, P2P_BRIDGE_FAULT_UNMAPPED);
    g_assert_cmpuint(done.index, ==, 1);

    /* *index* is the entry that was given, not one that comes out. */
    in[0] = (BridgeVec) { 0x1000, 4096, READ };
    in[1] = (BridgeVec) { 0x2000, 4096, READ };
    done = bridge_translate(b, BM_RID(1), P2P_BRIDGE_KIND_BUS, in, 2, out, 4);
    g_assert_cmphex(done.status, ==, P2P_BRIDGE_BUS_REFUSED);
    g_assert_cmpuint(done.index, ==, 0);

    bridge_ok(bridge_bus_release(b, BM_RID(1), BM_RID(0)));
    bridge_ok(bridge_bus_release(b, BM_RID(1), BM_RID(0)));
    bridge_expect(bridge_bus_release(b, NO_RID, BM_RID(0)),
                  P2P_BRIDGE_NO_MEMBER);
    bridge_expect(bridge_bus_release(b, BM_RID(1), NO_RID),
                  P2P_BRIDGE_NO_MEMBER);
    bm_end(m);
}

/* --- query-p2p --------------------------------------------------------- */

static void expect_shown(BridgeMachine *m, uint32_t slot, const char *target,
                         int bar, uint64_t offset, uint64_t size)
{
    g_autoptr(QDict) w = p2p_monitor_window(m->qts, "br0",
                                            P2P_BRIDGE_BAR_APERTURE,
                                            slot * BRIDGE_SLOT);
    const QDict *source;

    g_assert_nonnull(w);
    g_assert_cmphex(compat_qdict_get_uint(w, "size"), ==, size);
    g_assert_cmpstr(qdict_get_str(w, "state"), ==, "mapped");
    g_assert_cmphex(compat_qdict_get_uint(w, "gpa"), ==, bm_slot(m, slot));
    source = qdict_get_qdict(w, "source");
    g_assert_cmpstr(qdict_get_str(source, "target"), ==, target);
    g_assert_cmpint(qdict_get_int(source, "bar"), ==, bar);
    g_assert_cmphex(compat_qdict_get_uint(source, "offset"), ==, offset);
    g_assert_true(qdict_get_bool(p2p_monitor_grant(w, "t1"), "installed"));
}

static void test_query(void)
{
    BridgeMachine *m = machine_new();
    uint32_t window = bm_show(m, 0, 0x3000, 0x5000, 4);
    uint32_t other = bm_share(m, 0, 4, 0x1000, 0x1000, RO);
    g_autoptr(QDict) gone = NULL;

    bridge_ok(bridge_attach(&m->b, other, 11));
    expect_shown(m, 4, "t0", 2, 0x3000, 0x5000);
    expect_shown(m, 11, "t0", 4, 0x1000, 0x1000);
    bridge_ok(bridge_detach(&m->b, window));
    gone = p2p_monitor_window(m->qts, "br0", 4, 4 * BRIDGE_SLOT);
    g_assert_null(gone);
    expect_shown(m, 11, "t0", 4, 0x1000, 0x1000);
    bm_end(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge-command/opcodes", test_opcodes);
    qtest_add_func("p2p/bridge-command/reserved", test_reserved);
    qtest_add_func("p2p/bridge-command/buffers", test_buffers);
    qtest_add_func("p2p/bridge-command/identify", test_identify);
    qtest_add_func("p2p/bridge-command/members", test_members);
    qtest_add_func("p2p/bridge-command/windows", test_windows);
    qtest_add_func("p2p/bridge-command/pairs", test_pairs);
    qtest_add_func("p2p/bridge-command/paging", test_paging);
    qtest_add_func("p2p/bridge-command/share", test_share);
    qtest_add_func("p2p/bridge-command/no-memory", test_no_memory);
    qtest_add_func("p2p/bridge-command/limit", test_limit);
    qtest_add_func("p2p/bridge-command/numbers", test_numbers);
    qtest_add_func("p2p/bridge-command/life", test_life);
    qtest_add_func("p2p/bridge-command/slots", test_slots);
    qtest_add_func("p2p/bridge-command/not-decoded", test_not_decoded);
    qtest_add_func("p2p/bridge-command/translate", test_translate);
    qtest_add_func("p2p/bridge-command/faults", test_faults);
    qtest_add_func("p2p/bridge-command/translate-fields",
                   test_translate_fields);
    qtest_add_func("p2p/bridge-command/translate-most", test_translate_most);
    qtest_add_func("p2p/bridge-command/translate-aperture",
                   test_translate_aperture);
    qtest_add_func("p2p/bridge-command/translate-read-only",
                   test_translate_read_only);
    qtest_add_func("p2p/bridge-command/bus", test_bus);
    qtest_add_func("p2p/bridge-command/query", test_query);
    return g_test_run();
}
