/*
 * p2p-bridge: a guest that writes whatever comes to its mind
 *
 * Registers, rings, commands, configuration space and time at random; most of
 * it almost right, so that it gets somewhere.  The machine must go on, the
 * status page agree with itself, and what a window shows be the target's
 * memory.  In the end a driver that begins anew finds all as it should be.
 *
 * A failure prints the seed:
 *
 *   P2P_BRIDGE_SEED=SEED P2P_BRIDGE_COMMANDS=COMMANDS p2p-bridge-random-test
 *
 * does the same again, but for what the device is at when memory is written
 * under it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"

/* As many as a slow processor does in some ten seconds. */
#define COMMANDS 20000

typedef struct Random {
    BridgeMachine *m;
    GRand *rand;
    uint32_t tail;              /* commands given since it was enabled */
    uint32_t entries;           /* of the command ring */
    uint64_t commands;          /* given in all */
    uint64_t shown;             /* windows seen attached, over all steps */
    bool revoking;              /* a p2p-unshare waits */
} Random;

static uint32_t pick(Random *r, uint32_t end)
{
    return g_rand_int_range(r->rand, 0, end);
}

static uint64_t any(Random *r)
{
    return (uint64_t)g_rand_int(r->rand) << 32 | g_rand_int(r->rand);
}

static uint64_t any_number(Random *r)
{
    switch (pick(r, 5)) {
    case 0:
        return pick(r, 8);
    case 1:
        return 1ull << pick(r, 64);
    case 2:
        return -(uint64_t)pick(r, 8);
    case 3:
        return pick(r, 0x10000);
    }
    return any(r);
}

static uint64_t any_address(Random *r)
{
    const uint64_t places[] = {
        r->m->b.memory + BRIDGE_INPUT, r->m->b.memory + BRIDGE_OUTPUT,
        r->m->b.memory + BRIDGE_COMMANDS, r->m->b.memory + BRIDGE_INDEX,
        BM_RAM - 64, BM_RAM, BM_BAR2(0), BM_BAR4(1), BM_REGISTERS(0),
        bm_slot(r->m, 0), bm_slot(r->m, 3), r->m->b.registers, r->m->b.page,
        0xfee00000, any(r),
    };

    return places[pick(r, ARRAY_SIZE(places))] +
           (pick(r, 4) ? 0 : 64 * pick(r, 64));
}

static uint32_t any_rid(Random *r)
{
    return pick(r, 12) ? BM_RID(pick(r, 3))
                       : pick(r, 2) ? BM_BRIDGE_RID(0) : any_number(r);
}

/* --- Commands ---------------------------------------------------------- */

static uint32_t any_window(Random *r)
{
    unsigned record = pick(r, pick(r, 4) ? 8 : 64);
    uint32_t number = qtest_readl(r->m->qts, r->m->b.page +
                                  P2P_BRIDGE_PAGE_FIRST +
                                  record * P2P_BRIDGE_RECORD_BYTES);

    return pick(r, 10) ? number : any_number(r);
}

static BridgeCommand share_command(Random *r)
{
    bool right = pick(r, 5);

    return bridge_share_cmd(any_rid(r), right ? 2 * (1 + pick(r, 2))
                                              : any_number(r),
                            right ? pick(r, 240) * 4096 : any_number(r),
                            right ? (1 + pick(r, 16)) * 4096 : any_number(r),
                            right ? pick(r, 2) : any_number(r));
}

static void write_vector(Random *r, BridgeCommand *c)
{
    unsigned n = pick(r, 50) ? 1 + pick(r, 8) : 4096;
    g_autofree uint8_t *raw = g_malloc0(n * P2P_BRIDGE_VEC_BYTES);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = raw + i * P2P_BRIDGE_VEC_BYTES;
        bool by_bar = !pick(r, 6);

        stq_le_p(p + P2P_BRIDGE_VEC_ADDR,
                 by_bar ? pick(r, 0x100000) : any_address(r));
        stl_le_p(p + P2P_BRIDGE_VEC_LEN,
                 pick(r, 6) ? 1 + pick(r, 9000) : any_number(r));
        stl_le_p(p + P2P_BRIDGE_VEC_FLAGS,
                 (pick(r, 20) ? 1 + pick(r, 7) : any_number(r)) |
                 (by_bar ? P2P_BRIDGE_VEC_BY_BAR : 0));
        if (by_bar) {
            stl_le_p(p + P2P_BRIDGE_VEC_RID, any_rid(r));
            stl_le_p(p + P2P_BRIDGE_VEC_BAR, pick(r, 6));
        }
    }
    c->in_addr = r->m->b.memory + BRIDGE_INPUT;
    c->in_len = n * P2P_BRIDGE_VEC_BYTES;
    qtest_memwrite(r->m->qts, c->in_addr, raw, c->in_len);
    bridge_arg32(c, P2P_BRIDGE_ARG_INITIATOR, any_rid(r));
    bridge_arg32(c, P2P_BRIDGE_ARG_KIND, pick(r, 3));
}

static BridgeCommand any_command(Random *r)
{
    static const uint16_t opcodes[] = {
        P2P_BRIDGE_OP_IDENTIFY, P2P_BRIDGE_OP_MEMBERS, P2P_BRIDGE_OP_WINDOWS,
        P2P_BRIDGE_OP_PAIRS, P2P_BRIDGE_OP_SHARE, P2P_BRIDGE_OP_SHARE,
        P2P_BRIDGE_OP_UNSHARE, P2P_BRIDGE_OP_ATTACH, P2P_BRIDGE_OP_ATTACH,
        P2P_BRIDGE_OP_DETACH, P2P_BRIDGE_OP_ACKNOWLEDGE,
        P2P_BRIDGE_OP_TRANSLATE, P2P_BRIDGE_OP_BUS_RELEASE,
    };
    uint16_t opcode = opcodes[pick(r, ARRAY_SIZE(opcodes))];
    BridgeCommand c = bridge_cmd(pick(r, 30) ? opcode : any(r));

    if (opcode == P2P_BRIDGE_OP_SHARE) {
        c = share_command(r);
    } else if (opcode == P2P_BRIDGE_OP_TRANSLATE) {
        write_vector(r, &c);
    } else if (opcode == P2P_BRIDGE_OP_BUS_RELEASE) {
        bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, any_rid(r));
        bridge_arg32(&c, P2P_BRIDGE_ARG_TARGET, any_rid(r));
    } else if (opcode >= P2P_BRIDGE_OP_UNSHARE) {
        bridge_arg32(&c, P2P_BRIDGE_ARG_WINDOW, any_window(r));
        if (opcode == P2P_BRIDGE_OP_ATTACH) {
            bridge_arg32(&c, P2P_BRIDGE_ARG_SLOT,
                         pick(r, 8) ? pick(r, 8) : any_number(r));
        }
    }
    if (opcode <= P2P_BRIDGE_OP_PAIRS || opcode == P2P_BRIDGE_OP_TRANSLATE) {
        c.out_addr = pick(r, 20) ? r->m->b.memory + BRIDGE_OUTPUT
                                 : any_address(r);
        c.out_len = pick(r, 20) ? 64 * 64 : any_number(r);
    }
    c.id = any(r);
    if (!pick(r, 40)) {
        ((uint8_t *)&c)[pick(r, sizeof(c))] = any(r);
    }
    return c;
}

static void step_commands(Random *r)
{
    Bridge *b = &r->m->b;
    unsigned n = 1 + pick(r, pick(r, 4) ? 8 : 64);

    /* The completions so far are taken; what they say is nothing to us. */
    qtest_writel(b->qts, b->index + P2P_BRIDGE_COMPLETION_HEAD,
                 bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL));
    qtest_writel(b->qts, b->index + P2P_BRIDGE_EVENT_HEAD,
                 bridge_count(b, P2P_BRIDGE_EVENT_TAIL));
    n = MIN(n, r->entries);
    for (unsigned i = 0; i < n; i++) {
        BridgeCommand c = any_command(r);

        bridge_write_command(b, (r->tail + i) % r->entries, &c);
    }
    r->tail += n;
    r->commands += n;
    qtest_writel(b->qts, b->index + P2P_BRIDGE_COMMAND_TAIL, r->tail);
    bridge_doorbell(b);
    if (pick(r, 3)) {
        bridge_settle(b);
    }
}

/* --- Registers and memory ---------------------------------------------- */

static void step_enable(Random *r)
{
    Bridge *b = &r->m->b;

    bridge_set(b, P2P_BRIDGE_CONTROL, pick(r, 6) ? 0
                                                 : P2P_BRIDGE_CONTROL_RESET);
    r->entries = 1u << (1 + pick(r, 10));
    bridge_rings(b, r->entries, 1u << (1 + pick(r, 10)),
                 pick(r, 4) ? 1u << (1 + pick(r, 6)) : 0);
    if (!pick(r, 4)) {
        bridge_set(b, P2P_BRIDGE_COMPLETION_VECTOR, pick(r, 2));
        bridge_set(b, P2P_BRIDGE_EVENT_VECTOR, pick(r, 2));
    }
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    r->tail = 0;
}

static void step_register(Random *r)
{
    Bridge *b = &r->m->b;
    uint64_t gpa = b->registers + (pick(r, 5) ? 4 * pick(r, 24)
                                              : pick(r, 0x2000));

    switch (pick(r, 8)) {
    case 0:
        qtest_writeb(b->qts, gpa, any(r));
        qtest_readb(b->qts, gpa);
        break;
    case 1:
        qtest_writew(b->qts, gpa, any(r));
        qtest_readw(b->qts, gpa);
        break;
    case 2:
        qtest_writeq(b->qts, gpa, pick(r, 2) ? any_address(r)
                                             : any_number(r));
        qtest_readq(b->qts, gpa);
        break;
    default:
        qtest_writel(b->qts, gpa, pick(r, 2) ? any_address(r)
                                             : any_number(r));
        qtest_readl(b->qts, gpa);
    }
}

static void step_memory(Random *r)
{
    Bridge *b = &r->m->b;
    uint64_t at = b->memory + (pick(r, 2) ? 4 * pick(r, 16)
                                          : 4 * pick(r, 0x10000));

    qtest_writel(b->qts, at, any_number(r));
    if (pick(r, 2)) {
        bridge_doorbell(b);
    }
}

/* --- The machine ------------------------------------------------------- */

static void step_target(Random *r)
{
    TestDev *t = &r->m->t[pick(r, 2)];
    uint8_t pm = guest_pci_capability(&t->pci, PCI_CAP_ID_PM);
    uint8_t express = guest_pci_capability(&t->pci, PCI_CAP_ID_EXP);
    unsigned n = (t->pci.devfn - BM_RID(0)) / 8;

    switch (pick(r, 4)) {
    case 0:
        guest_pci_command(&t->pci, 0, PCI_COMMAND_MEMORY);
        break;
    case 1:
        guest_pci_writew(&t->pci, pm + PCI_PM_CTRL, 3);
        break;
    case 2:
        guest_pci_writew(&t->pci, express + PCI_EXP_DEVCTL,
                         PCI_EXP_DEVCTL_BCR_FLR);
        break;
    case 3:
        guest_pci_bar_map(&t->pci, 2, (P2PGuestAddr) { BM_ELSEWHERE });
        break;
    }
    if (pick(r, 2)) {
        bridge_doorbell(&r->m->b);
    }
    guest_pci_writew(&t->pci, pm + PCI_PM_CTRL, 0);
    bm_place(r->m, n);
}

static void step_bridge(Random *r)
{
    Bridge *b = &r->m->b;

    guest_pci_command(&b->pci, 0, pick(r, 2) ? PCI_COMMAND_MASTER
                                             : PCI_COMMAND_MEMORY);
    bridge_doorbell(b);
    bridge_place(b);
}

/*
 * The monitor is a connection of its own: it may begin late, and time must go
 * on until it is done. A member reaches the window so long.
 */
static void wait_unshared(BridgeMachine *m)
{
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    uint8_t byte;

    while (testdev_read(&m->t[2], (P2PBusAddr) { BM_BAR2(0) }, &byte, 1)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        bm_milliseconds(m, 2000);
    }
}

/* BAR 2 of t0 is taken away; the guest answers, or time does. */
static void step_host(Random *r)
{
    BridgeMachine *m = r->m;

    if (r->revoking) {
        wait_unshared(m);
        bm_host_unshare_end(m);
        r->revoking = false;
        bm_host_share(m, 0, 0, m->size[0]);
    } else {
        qtest_qmp_send(m->qts, "{ 'execute': 'p2p-unshare', 'arguments': "
                       "{ 'device': 't0', 'bar': 2 } }");
        r->revoking = true;
    }
}

static void step_time(Random *r)
{
    bm_milliseconds(r->m, 1 + pick(r, 700));
}

/* --- What must be ------------------------------------------------------ */

/* The page while the device works: it agrees with itself, that is all. */
static void check(Random *r)
{
    BridgePage page;

    bridge_page(&r->m->b, &page);
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        const BridgeRecord *a = &page.records[i];

        if (a->state != P2P_BRIDGE_STATE_ATTACHED &&
            a->state != P2P_BRIDGE_STATE_REVOKING) {
            continue;
        }
        r->shown++;
        g_assert_cmpuint(a->slot, <, GiB / BRIDGE_SLOT);
        for (unsigned j = 0; j < i; j++) {
            const BridgeRecord *b = &page.records[j];

            /* No window here takes more than one slot. */
            g_assert_true((b->state != P2P_BRIDGE_STATE_ATTACHED &&
                           b->state != P2P_BRIDGE_STATE_REVOKING) ||
                          a->slot != b->slot);
        }
    }
}

/* A device may fail, and is enabled again. */
static void recover(Random *r)
{
    if (bridge_get(&r->m->b, P2P_BRIDGE_STATUS) !=
        P2P_BRIDGE_STATUS_READY) {
        step_enable(r);
    }
}

static void expect_sane(Random *r)
{
    BridgeMachine *m = r->m;
    BridgePage page;

    if (r->revoking) {
        step_host(r);
    }
    bridge_reset(&m->b);
    bridge_start(&m->b);
    bridge_page(&m->b, &page);
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        g_assert_cmpuint(page.records[i].state, ==, P2P_BRIDGE_STATE_FREE);
    }
    for (unsigned i = 0; i < 10; i++) {
        g_assert_cmphex(qtest_readq(m->qts, bm_slot(m, i)), ==, UINT64_MAX);
    }
    g_assert_cmpuint(bridge_identify(&m->b).members, ==, 4);
    bm_show(m, 0, 0, 64 * KiB, 0);
    bm_expect_data(m, 1, bm_slot(m, 0), 0, 0, 4096);
}

static void test_random(void)
{
    static void (*const steps[])(Random *r) = {
        step_commands, step_commands, step_commands, step_commands,
        step_commands, step_commands, step_commands, step_commands,
        step_commands, step_commands, step_commands, step_commands,
        step_enable, step_register, step_memory, step_target, step_bridge,
        step_host, step_time,
    };
    const BridgeMachineOptions options = {
        .t = { ",p2p-share=bar2+bar4", ",p2p-share=bar2:ro+bar4", "" },
    };
    const char *asked = getenv("P2P_BRIDGE_SEED");
    const char *limit = getenv("P2P_BRIDGE_COMMANDS");
    uint32_t seed = asked && *asked ? g_ascii_strtoull(asked, NULL, 0)
                                    : g_random_int();
    uint64_t end = limit && *limit ? g_ascii_strtoull(limit, NULL, 0)
                                   : COMMANDS;
    Random r = { .rand = g_rand_new_with_seed(seed) };

    g_test_message("P2P_BRIDGE_SEED=%u P2P_BRIDGE_COMMANDS=%" PRIu64, seed,
                   end);
    r.m = bm_new(&options);
    step_enable(&r);
    while (r.commands < end) {
        steps[pick(&r, ARRAY_SIZE(steps))](&r);
        check(&r);
        recover(&r);
    }
    expect_sane(&r);
    g_test_message("%" PRIu64 " commands, %" PRIu64 " windows seen",
                   r.commands, r.shown);
    g_assert_cmpuint(r.shown, >, 0);
    bm_end(r.m);
    g_rand_free(r.rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/bridge-random/commands", test_random);
    return g_test_run();
}
