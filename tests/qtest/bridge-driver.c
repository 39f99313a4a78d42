/*
 * A driver of the p2p-bridge, for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-driver.h"

/* Turns of the device's main loop that anything may take, and real time. */
#define POLLS     1000
#define TIMEOUT_S 60

/* --- The function ------------------------------------------------------ */

void bridge_place(Bridge *b)
{
    guest_pci_bar_map(&b->pci, P2P_BRIDGE_BAR_REGS,
                      (P2PGuestAddr) { b->registers });
    guest_pci_bar_map(&b->pci, P2P_BRIDGE_BAR_MSIX,
                      (P2PGuestAddr) { b->msix });
    guest_pci_bar_map(&b->pci, P2P_BRIDGE_BAR_STATUS,
                      (P2PGuestAddr) { b->page });
    guest_pci_bar_map(&b->pci, P2P_BRIDGE_BAR_APERTURE,
                      (P2PGuestAddr) { b->aperture });
    guest_pci_command(&b->pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

void bridge_probe(Bridge *b, QTestState *qts, uint8_t devfn, uint64_t bars,
                  uint64_t aperture, uint64_t memory)
{
    *b = (Bridge) {
        .qts = qts,
        .pci = { .qts = qts, .devfn = devfn },
        .registers = bars,
        .msix = bars + 0x10000,
        .page = bars + 0x20000,
        .aperture = aperture,
        .memory = memory,
    };
    g_assert_cmphex(guest_pci_readl(&b->pci, PCI_VENDOR_ID), ==,
                    (uint32_t)P2P_BRIDGE_DEVICE_ID << 16 |
                    P2P_BRIDGE_VENDOR_ID);
    bridge_place(b);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_MAGIC), ==,
                    P2P_BRIDGE_MAGIC_VALUE);
    g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_VERSION), ==,
                     P2P_BRIDGE_VERSION_VALUE);
}

/* --- Registers --------------------------------------------------------- */

uint32_t bridge_get(Bridge *b, unsigned offset)
{
    return qtest_readl(b->qts, b->registers + offset);
}

void bridge_set(Bridge *b, unsigned offset, uint32_t value)
{
    qtest_writel(b->qts, b->registers + offset, value);
}

uint64_t bridge_get64(Bridge *b, unsigned offset)
{
    return qtest_readq(b->qts, b->registers + offset);
}

void bridge_set64(Bridge *b, unsigned offset, uint64_t value)
{
    qtest_writeq(b->qts, b->registers + offset, value);
}

void bridge_rings(Bridge *b, uint32_t commands, uint32_t completions,
                  uint32_t events)
{
    bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES, 0);
    bridge_set64(b, P2P_BRIDGE_INDEX_BASE, b->memory + BRIDGE_INDEX);
    bridge_set64(b, P2P_BRIDGE_COMMAND_BASE, b->memory + BRIDGE_COMMANDS);
    bridge_set64(b, P2P_BRIDGE_COMPLETION_BASE,
                 b->memory + BRIDGE_COMPLETIONS);
    bridge_set64(b, P2P_BRIDGE_EVENT_BASE, b->memory + BRIDGE_EVENTS);
    bridge_set(b, P2P_BRIDGE_COMMAND_SIZE, commands);
    bridge_set(b, P2P_BRIDGE_COMPLETION_SIZE, completions);
    bridge_set(b, P2P_BRIDGE_EVENT_SIZE, events);
    bridge_set(b, P2P_BRIDGE_COMPLETION_VECTOR, P2P_BRIDGE_NO_VECTOR);
    bridge_set(b, P2P_BRIDGE_EVENT_VECTOR, P2P_BRIDGE_NO_VECTOR);
}

uint32_t bridge_enable(Bridge *b)
{
    uint32_t status;

    b->index = bridge_get64(b, P2P_BRIDGE_INDEX_BASE);
    b->commands = bridge_get64(b, P2P_BRIDGE_COMMAND_BASE);
    b->completions = bridge_get64(b, P2P_BRIDGE_COMPLETION_BASE);
    b->events = bridge_get64(b, P2P_BRIDGE_EVENT_BASE);
    b->n_commands = bridge_get(b, P2P_BRIDGE_COMMAND_SIZE);
    b->n_completions = bridge_get(b, P2P_BRIDGE_COMPLETION_SIZE);
    b->n_events = bridge_get(b, P2P_BRIDGE_EVENT_SIZE);
    b->given = 0;
    b->taken = 0;
    b->events_taken = 0;
    qtest_memset(b->qts, b->memory + BRIDGE_INDEX, 0, P2P_BRIDGE_INDEX_SIZE);

    bridge_set(b, P2P_BRIDGE_CONTROL, P2P_BRIDGE_CONTROL_ENABLE);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_CONTROL), ==,
                    P2P_BRIDGE_CONTROL_ENABLE);
    status = bridge_get(b, P2P_BRIDGE_STATUS);
    if (status == P2P_BRIDGE_STATUS_READY) {
        g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_ERROR), ==, 0);
        return 0;
    }
    g_assert_cmphex(status, ==, P2P_BRIDGE_STATUS_FAILED);
    g_assert_cmpuint(bridge_get(b, P2P_BRIDGE_ERROR), !=, 0);
    return bridge_get(b, P2P_BRIDGE_ERROR);
}

void bridge_disable(Bridge *b)
{
    bridge_set(b, P2P_BRIDGE_CONTROL, 0);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_CONTROL), ==, 0);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_STATUS), ==, 0);
}

void bridge_reset(Bridge *b)
{
    bridge_set(b, P2P_BRIDGE_CONTROL, P2P_BRIDGE_CONTROL_RESET);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_CONTROL), ==, 0);
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_STATUS), ==, 0);
}

void bridge_start(Bridge *b)
{
    bridge_rings(b, BRIDGE_ENTRIES, BRIDGE_ENTRIES, BRIDGE_ENTRIES);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
}

/* --- Waiting ----------------------------------------------------------- */

/*
 * Each access goes through the device's main loop, which comes round meanwhile,
 * so that a count of them bounds a wait without a clock.  The time is a second
 * bound for both: work of the device may be in another thread.
 */
typedef struct Wait {
    unsigned polls;
    gint64 end;
} Wait;

static Wait wait_begin(void)
{
    return (Wait) { 0, g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC };
}

static void wait_turn(Bridge *b, Wait *wait)
{
    if (wait->polls++ > POLLS) {
        g_assert_cmpint(g_get_monotonic_time(), <, wait->end);
    }
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_STATUS), ==,
                    P2P_BRIDGE_STATUS_READY);
}

uint32_t bridge_wait_failed(Bridge *b)
{
    Wait wait = wait_begin();

    while (!(bridge_get(b, P2P_BRIDGE_STATUS) & P2P_BRIDGE_STATUS_FAILED)) {
        wait_turn(b, &wait);
    }
    g_assert_cmphex(bridge_get(b, P2P_BRIDGE_STATUS), ==,
                    P2P_BRIDGE_STATUS_FAILED);
    return bridge_get(b, P2P_BRIDGE_ERROR);
}

void bridge_settle(Bridge *b)
{
    /* A doorbell is an event of the main loop, its work at most another. */
    for (unsigned i = 0; i < 20; i++) {
        qtest_readl(b->qts, b->memory);
    }
}

/* --- Rings ------------------------------------------------------------- */

uint32_t bridge_count(Bridge *b, unsigned offset)
{
    return qtest_readl(b->qts, b->index + offset);
}

static void set_count(Bridge *b, unsigned offset, uint32_t value)
{
    qtest_writel(b->qts, b->index + offset, value);
}

void bridge_write_command(Bridge *b, uint32_t entry, const BridgeCommand *c)
{
    uint8_t raw[P2P_BRIDGE_COMMAND_BYTES];

    stw_le_p(raw + P2P_BRIDGE_CMD_OPCODE, c->opcode);
    stw_le_p(raw + P2P_BRIDGE_CMD_ID, c->id);
    stl_le_p(raw + P2P_BRIDGE_CMD_FLAGS, c->flags);
    stq_le_p(raw + P2P_BRIDGE_CMD_IN_ADDR, c->in_addr);
    stq_le_p(raw + P2P_BRIDGE_CMD_OUT_ADDR, c->out_addr);
    stl_le_p(raw + P2P_BRIDGE_CMD_IN_LEN, c->in_len);
    stl_le_p(raw + P2P_BRIDGE_CMD_OUT_LEN, c->out_len);
    memcpy(raw + P2P_BRIDGE_CMD_ARGS, c->args, sizeof(c->args));
    qtest_memwrite(b->qts, b->commands + entry * sizeof(raw), raw,
                   sizeof(raw));
}

uint16_t bridge_give(Bridge *b, const BridgeCommand *command)
{
    BridgeCommand c = *command;
    uint32_t entry = b->given % b->n_commands;

    c.id = ++b->next_id;
    b->ids[b->given % P2P_BRIDGE_RING_MAX_VALUE] = c.id;
    bridge_write_command(b, entry, &c);
    set_count(b, P2P_BRIDGE_COMMAND_TAIL, ++b->given);
    return c.id;
}

void bridge_doorbell(Bridge *b)
{
    bridge_set(b, P2P_BRIDGE_DOORBELL, b->given);
}

/* Counts keep their order: taken <= given, completed <= taken */
static uint32_t completions_given(Bridge *b)
{
    uint32_t tail = bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL);
    uint32_t head = bridge_count(b, P2P_BRIDGE_COMMAND_HEAD);

    g_assert_cmpuint(tail - b->taken, <=, b->n_completions);
    g_assert_cmpuint(b->given - tail, <=, b->n_commands + b->n_completions);
    g_assert_cmpuint(b->given - head, <=, b->n_commands);
    return tail;
}

bool bridge_poll(Bridge *b, BridgeCompletion *c)
{
    uint8_t raw[P2P_BRIDGE_COMPLETION_BYTES];
    uint32_t entry = b->taken % b->n_completions;

    if (completions_given(b) == b->taken) {
        return false;
    }
    qtest_memread(b->qts, b->completions + entry * sizeof(raw), raw,
                  sizeof(raw));
    *c = (BridgeCompletion) {
        .id = lduw_le_p(raw + P2P_BRIDGE_CPL_ID),
        .status = lduw_le_p(raw + P2P_BRIDGE_CPL_STATUS),
        .out_len = ldl_le_p(raw + P2P_BRIDGE_CPL_OUT_LEN),
        .index = ldl_le_p(raw + P2P_BRIDGE_CPL_INDEX),
        .reason = ldl_le_p(raw + P2P_BRIDGE_CPL_REASON),
        .value = ldq_le_p(raw + P2P_BRIDGE_CPL_VALUE),
        .generation = ldl_le_p(raw + P2P_BRIDGE_CPL_GENERATION),
    };
    g_assert_cmphex(ldl_le_p(raw + 0x1c), ==, 0);
    g_assert_cmpuint(c->id, ==, b->ids[b->taken % P2P_BRIDGE_RING_MAX_VALUE]);
    g_assert_cmphex(c->status, <=, P2P_BRIDGE_BUS_REFUSED);
    set_count(b, P2P_BRIDGE_COMPLETION_HEAD, ++b->taken);
    return true;
}

BridgeCompletion bridge_wait(Bridge *b)
{
    Wait wait = wait_begin();
    BridgeCompletion c;

    while (!bridge_poll(b, &c)) {
        wait_turn(b, &wait);
    }
    return c;
}

BridgeCompletion bridge_run(Bridge *b, const BridgeCommand *command)
{
    g_assert_cmpuint(b->given, ==, b->taken);
    bridge_give(b, command);
    bridge_doorbell(b);
    return bridge_wait(b);
}

bool bridge_poll_event(Bridge *b, BridgeEvent *e)
{
    uint32_t tail = bridge_count(b, P2P_BRIDGE_EVENT_TAIL);
    uint8_t raw[P2P_BRIDGE_EVENT_BYTES];

    g_assert_cmpuint(tail - b->events_taken, <=, b->n_events);
    if (tail == b->events_taken) {
        return false;
    }
    qtest_memread(b->qts, b->events + b->events_taken % b->n_events *
                  sizeof(raw), raw, sizeof(raw));
    *e = (BridgeEvent) {
        .type = lduw_le_p(raw + P2P_BRIDGE_EVT_TYPE),
        .reason = lduw_le_p(raw + P2P_BRIDGE_EVT_REASON),
        .generation = ldl_le_p(raw + P2P_BRIDGE_EVT_GENERATION),
        .window = ldl_le_p(raw + P2P_BRIDGE_EVT_WINDOW),
        .slot = ldl_le_p(raw + P2P_BRIDGE_EVT_SLOT),
        .rid = ldl_le_p(raw + P2P_BRIDGE_EVT_RID),
        .target = ldl_le_p(raw + P2P_BRIDGE_EVT_TARGET),
    };
    g_assert_cmpuint(ldq_le_p(raw + 0x18), ==, 0);
    g_assert_cmpuint(e->type, >=, P2P_BRIDGE_EVENT_CHANGED);
    g_assert_cmpuint(e->type, <=, P2P_BRIDGE_EVENT_BUS_REVOKED);
    set_count(b, P2P_BRIDGE_EVENT_HEAD, ++b->events_taken);
    return true;
}

BridgeEvent bridge_wait_event(Bridge *b)
{
    Wait wait = wait_begin();
    BridgeEvent e;

    while (!bridge_poll_event(b, &e)) {
        wait_turn(b, &wait);
    }
    return e;
}

BridgeEvent bridge_wait_event_of(Bridge *b, uint16_t type)
{
    for (;;) {
        BridgeEvent e = bridge_wait_event(b);

        if (e.type == type) {
            return e;
        }
        g_assert_cmpuint(e.type, ==, P2P_BRIDGE_EVENT_CHANGED);
    }
}

unsigned bridge_drop_events(Bridge *b)
{
    unsigned n = 0;
    BridgeEvent e;

    bridge_settle(b);
    while (bridge_poll_event(b, &e)) {
        n++;
    }
    return n;
}

/* --- Status page ------------------------------------------------------- */

static BridgeRecord parse_record(const uint8_t *raw)
{
    return (BridgeRecord) {
        .window = ldl_le_p(raw + P2P_BRIDGE_RECORD_WINDOW),
        .state = ldl_le_p(raw + P2P_BRIDGE_RECORD_STATE),
        .slot = ldl_le_p(raw + P2P_BRIDGE_RECORD_SLOT),
        .reason = ldl_le_p(raw + P2P_BRIDGE_RECORD_REASON),
        .size = ldq_le_p(raw + P2P_BRIDGE_RECORD_SIZE),
        .rid = ldl_le_p(raw + P2P_BRIDGE_RECORD_RID),
        .generation = ldl_le_p(raw + P2P_BRIDGE_RECORD_GENERATION),
    };
}

static void check_record(const BridgePage *page, unsigned n)
{
    const BridgeRecord *r = &page->records[n];
    bool revoking = r->state == P2P_BRIDGE_STATE_REVOKING;

    g_assert_cmpuint(r->state, <=, P2P_BRIDGE_STATE_REVOKED);
    g_assert_cmpint(page->pending >> n & 1, ==, revoking);
    if (r->state == P2P_BRIDGE_STATE_FREE) {
        g_assert_cmphex(r->window, ==, 0);
        return;
    }
    g_assert_cmphex(r->window, !=, 0);
    g_assert_cmphex(r->window & P2P_BRIDGE_WINDOW_RECORD_MASK, ==, n);
    g_assert_cmpuint(r->size, >, 0);
    /* A change of a record is one of the generation. */
    g_assert_cmpint((int32_t)(page->generation - r->generation), >=, 0);
    g_assert_cmpint(r->reason != 0, ==,
                    revoking || r->state == P2P_BRIDGE_STATE_REVOKED);
}

void bridge_page(Bridge *b, BridgePage *page)
{
    uint8_t raw[P2P_BRIDGE_PAGE_BYTES];
    Wait wait = wait_begin();

    do {
        if (wait.polls++ > POLLS) {
            g_assert_cmpint(g_get_monotonic_time(), <, wait.end);
        }
        page->sequence = qtest_readl(b->qts,
                                     b->page + P2P_BRIDGE_PAGE_SEQUENCE);
        qtest_memread(b->qts, b->page, raw, sizeof(raw));
    } while (page->sequence % 2 ||
             qtest_readl(b->qts, b->page + P2P_BRIDGE_PAGE_SEQUENCE) !=
             page->sequence);

    g_assert_cmphex(ldl_le_p(raw + P2P_BRIDGE_PAGE_MAGIC), ==,
                    P2P_BRIDGE_MAGIC_VALUE);
    g_assert_cmpuint(ldl_le_p(raw + P2P_BRIDGE_PAGE_RECORDS), ==,
                     P2P_BRIDGE_MAX_WINDOWS_VALUE);
    page->generation = ldl_le_p(raw + P2P_BRIDGE_PAGE_GENERATION);
    page->events_lost = ldl_le_p(raw + P2P_BRIDGE_PAGE_EVENTS_LOST);
    page->pending = ldq_le_p(raw + P2P_BRIDGE_PAGE_PENDING);
    for (unsigned n = 0; n < P2P_BRIDGE_MAX_WINDOWS_VALUE; n++) {
        page->records[n] = parse_record(raw + P2P_BRIDGE_PAGE_FIRST +
                                        n * P2P_BRIDGE_RECORD_BYTES);
        check_record(page, n);
    }
}

BridgeRecord bridge_record(Bridge *b, uint32_t window)
{
    BridgePage page;
    const BridgeRecord *r;

    bridge_page(b, &page);
    r = &page.records[window & P2P_BRIDGE_WINDOW_RECORD_MASK];
    g_assert_cmphex(r->window, ==, window);
    return *r;
}

uint32_t bridge_state(Bridge *b, uint32_t window)
{
    return bridge_record(b, window).state;
}

/* --- Commands ---------------------------------------------------------- */

uint64_t bridge_expect_at(BridgeCompletion completion, uint16_t status,
                          const char *file, unsigned line)
{
    if (completion.status != status) {
        g_error("%s:%u: status 0x%02x (index %u, reason %u, value 0x%" PRIx64
                "), not 0x%02x", file, line, completion.status,
                completion.index, completion.reason, completion.value,
                status);
    }
    return completion.value;
}

BridgeCommand bridge_cmd(uint16_t opcode)
{
    return (BridgeCommand) { .opcode = opcode };
}

void bridge_arg32(BridgeCommand *c, unsigned offset, uint32_t value)
{
    g_assert_cmpuint(offset - P2P_BRIDGE_CMD_ARGS, <=, sizeof(c->args) - 4);
    stl_le_p(c->args + offset - P2P_BRIDGE_CMD_ARGS, value);
}

void bridge_arg64(BridgeCommand *c, unsigned offset, uint64_t value)
{
    g_assert_cmpuint(offset - P2P_BRIDGE_CMD_ARGS, <=, sizeof(c->args) - 8);
    stq_le_p(c->args + offset - P2P_BRIDGE_CMD_ARGS, value);
}

BridgeIdentity bridge_identify(Bridge *b)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_IDENTIFY);
    uint8_t raw[P2P_BRIDGE_IDENTIFY_BYTES];
    BridgeCompletion done;

    c.out_addr = b->memory + BRIDGE_OUTPUT;
    c.out_len = sizeof(raw);
    done = bridge_run(b, &c);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len, ==, sizeof(raw));
    qtest_memread(b->qts, c.out_addr, raw, sizeof(raw));
    g_assert_cmphex(ldl_le_p(raw + P2P_BRIDGE_ID_GENERATION), ==,
                    done.generation);
    return (BridgeIdentity) {
        .generation = ldl_le_p(raw + P2P_BRIDGE_ID_GENERATION),
        .members = ldl_le_p(raw + P2P_BRIDGE_ID_MEMBERS),
        .windows = ldl_le_p(raw + P2P_BRIDGE_ID_WINDOWS),
        .pairs = ldl_le_p(raw + P2P_BRIDGE_ID_PAIRS),
        .max_windows = ldl_le_p(raw + P2P_BRIDGE_ID_MAX_WINDOWS),
        .max_vector = ldl_le_p(raw + P2P_BRIDGE_ID_MAX_VECTOR),
        .slots = ldl_le_p(raw + P2P_BRIDGE_ID_SLOTS),
        .slot_shift = ldl_le_p(raw + P2P_BRIDGE_ID_SLOT_SHIFT),
        .page_shift = ldl_le_p(raw + P2P_BRIDGE_ID_PAGE_SHIFT),
        .revoke_ms = ldl_le_p(raw + P2P_BRIDGE_ID_REVOKE_MS),
    };
}

/* The raw list, for g_free(); *@n: how many came */
static uint8_t *list(Bridge *b, uint16_t opcode, uint32_t first, size_t size,
                     unsigned *n, uint32_t *all)
{
    BridgeCommand c = bridge_cmd(opcode);
    uint8_t *raw = g_malloc0(*n * size + 1);
    BridgeCompletion done;

    g_assert_cmpuint(*n * size, <=, BRIDGE_BUFFER);
    bridge_arg32(&c, P2P_BRIDGE_ARG_FIRST, first);
    c.out_addr = b->memory + BRIDGE_OUTPUT;
    c.out_len = *n * size;
    done = bridge_run(b, &c);
    bridge_ok(done);
    g_assert_cmpuint(done.out_len % size, ==, 0);
    g_assert_cmpuint(done.out_len, <=, c.out_len);
    g_assert_cmpuint(done.out_len / size, ==,
                     first < done.index ? MIN(done.index - first, *n) : 0);
    *n = done.out_len / size;
    if (all) {
        *all = done.index;
    }
    qtest_memread(b->qts, c.out_addr, raw, done.out_len);
    return raw;
}

unsigned bridge_members(Bridge *b, uint32_t first, BridgeMember *members,
                        unsigned n, uint32_t *all)
{
    g_autofree uint8_t *raw = list(b, P2P_BRIDGE_OP_MEMBERS, first,
                                   P2P_BRIDGE_MEMBER_BYTES, &n, all);

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = raw + i * P2P_BRIDGE_MEMBER_BYTES;

        members[i] = (BridgeMember) {
            .rid = ldl_le_p(p + P2P_BRIDGE_MEMBER_RID),
            .flags = ldl_le_p(p + P2P_BRIDGE_MEMBER_FLAGS),
            .windows = ldl_le_p(p + P2P_BRIDGE_MEMBER_WINDOWS),
        };
        g_assert_cmphex(ldl_le_p(p + 0x0c), ==, 0);
    }
    return n;
}

unsigned bridge_windows(Bridge *b, uint32_t first, BridgeWindow *windows,
                        unsigned n, uint32_t *all)
{
    g_autofree uint8_t *raw = list(b, P2P_BRIDGE_OP_WINDOWS, first,
                                   P2P_BRIDGE_WINDOW_BYTES, &n, all);

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = raw + i * P2P_BRIDGE_WINDOW_BYTES;

        windows[i] = (BridgeWindow) {
            .rid = ldl_le_p(p + P2P_BRIDGE_WINDOW_RID),
            .bar = p[P2P_BRIDGE_WINDOW_BAR],
            .access = p[P2P_BRIDGE_WINDOW_ACCESS],
            .flags = lduw_le_p(p + P2P_BRIDGE_WINDOW_FLAGS),
            .offset = ldq_le_p(p + P2P_BRIDGE_WINDOW_OFFSET),
            .size = ldq_le_p(p + P2P_BRIDGE_WINDOW_SIZE),
            .gpa = ldq_le_p(p + P2P_BRIDGE_WINDOW_GPA),
        };
    }
    return n;
}

unsigned bridge_pairs(Bridge *b, uint32_t first, BridgePair *pairs,
                      unsigned n, uint32_t *all)
{
    g_autofree uint8_t *raw = list(b, P2P_BRIDGE_OP_PAIRS, first,
                                   P2P_BRIDGE_PAIR_BYTES, &n, all);

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = raw + i * P2P_BRIDGE_PAIR_BYTES;

        pairs[i] = (BridgePair) {
            .initiator = ldl_le_p(p + P2P_BRIDGE_PAIR_INITIATOR),
            .target = ldl_le_p(p + P2P_BRIDGE_PAIR_TARGET),
            .path = p[P2P_BRIDGE_PAIR_PATH],
            .map_type = p[P2P_BRIDGE_PAIR_MAP_TYPE],
            .flags = lduw_le_p(p + P2P_BRIDGE_PAIR_FLAGS),
        };
        g_assert_cmphex(ldl_le_p(p + 0x0c), ==, 0);
    }
    return n;
}

BridgeCommand bridge_share_cmd(uint32_t rid, uint32_t bar, uint64_t offset,
                               uint64_t size, uint32_t access)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_SHARE);

    bridge_arg32(&c, P2P_BRIDGE_ARG_RID, rid);
    bridge_arg32(&c, P2P_BRIDGE_ARG_BAR, bar);
    bridge_arg64(&c, P2P_BRIDGE_ARG_OFFSET, offset);
    bridge_arg64(&c, P2P_BRIDGE_ARG_SIZE, size);
    bridge_arg32(&c, P2P_BRIDGE_ARG_ACCESS, access);
    return c;
}

BridgeCompletion bridge_share(Bridge *b, uint32_t rid, uint32_t bar,
                              uint64_t offset, uint64_t size, uint32_t access)
{
    BridgeCommand c = bridge_share_cmd(rid, bar, offset, size, access);

    return bridge_run(b, &c);
}

BridgeCommand bridge_window_cmd(uint16_t opcode, uint32_t window)
{
    BridgeCommand c = bridge_cmd(opcode);

    bridge_arg32(&c, P2P_BRIDGE_ARG_WINDOW, window);
    return c;
}

static BridgeCompletion window_command(Bridge *b, uint16_t opcode,
                                       uint32_t window)
{
    BridgeCommand c = bridge_window_cmd(opcode, window);

    return bridge_run(b, &c);
}

BridgeCompletion bridge_unshare(Bridge *b, uint32_t window)
{
    return window_command(b, P2P_BRIDGE_OP_UNSHARE, window);
}

BridgeCommand bridge_attach_cmd(uint32_t window, uint32_t slot)
{
    BridgeCommand c = bridge_window_cmd(P2P_BRIDGE_OP_ATTACH, window);

    bridge_arg32(&c, P2P_BRIDGE_ARG_SLOT, slot);
    return c;
}

BridgeCompletion bridge_attach(Bridge *b, uint32_t window, uint32_t slot)
{
    BridgeCommand c = bridge_attach_cmd(window, slot);

    return bridge_run(b, &c);
}

BridgeCompletion bridge_detach(Bridge *b, uint32_t window)
{
    return window_command(b, P2P_BRIDGE_OP_DETACH, window);
}

BridgeCompletion bridge_acknowledge(Bridge *b, uint32_t window)
{
    return window_command(b, P2P_BRIDGE_OP_ACKNOWLEDGE, window);
}

static void write_vector(Bridge *b, uint64_t gpa, const BridgeVec *in,
                         unsigned n)
{
    g_autofree uint8_t *raw = g_malloc0(n * P2P_BRIDGE_VEC_BYTES + 1);

    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = raw + i * P2P_BRIDGE_VEC_BYTES;

        stq_le_p(p + P2P_BRIDGE_VEC_ADDR, in[i].addr);
        stl_le_p(p + P2P_BRIDGE_VEC_LEN, in[i].len);
        stl_le_p(p + P2P_BRIDGE_VEC_FLAGS, in[i].flags);
        stl_le_p(p + P2P_BRIDGE_VEC_RID, in[i].rid);
        stl_le_p(p + P2P_BRIDGE_VEC_BAR, in[i].bar);
        stl_le_p(p + P2P_BRIDGE_VEC_GENERATION, in[i].generation);
        stl_le_p(p + 0x1c, in[i].reserved);
    }
    qtest_memwrite(b->qts, gpa, raw, n * P2P_BRIDGE_VEC_BYTES);
}

static void read_vector(Bridge *b, uint64_t gpa, BridgeVec *out, unsigned n)
{
    g_autofree uint8_t *raw = g_malloc0(n * P2P_BRIDGE_VEC_BYTES + 1);

    qtest_memread(b->qts, gpa, raw, n * P2P_BRIDGE_VEC_BYTES);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = raw + i * P2P_BRIDGE_VEC_BYTES;

        out[i] = (BridgeVec) {
            .addr = ldq_le_p(p + P2P_BRIDGE_VEC_ADDR),
            .len = ldl_le_p(p + P2P_BRIDGE_VEC_LEN),
            .flags = ldl_le_p(p + P2P_BRIDGE_VEC_FLAGS),
            .rid = ldl_le_p(p + P2P_BRIDGE_VEC_RID),
            .bar = ldl_le_p(p + P2P_BRIDGE_VEC_BAR),
            .generation = ldl_le_p(p + P2P_BRIDGE_VEC_GENERATION),
            .reserved = ldl_le_p(p + 0x1c),
        };
        g_assert_cmphex(out[i].rid | out[i].bar | out[i].reserved, ==, 0);
        g_assert_cmpuint(out[i].len, >, 0);
    }
}

BridgeCompletion bridge_translate(Bridge *b, uint32_t rid, uint32_t kind,
                                  const BridgeVec *in, unsigned n,
                                  BridgeVec *out, unsigned m)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_TRANSLATE);
    BridgeCompletion done;

    g_assert_cmpuint(n * P2P_BRIDGE_VEC_BYTES, <=, BRIDGE_BUFFER);
    g_assert_cmpuint(m * P2P_BRIDGE_VEC_BYTES, <=, BRIDGE_BUFFER);
    bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, rid);
    bridge_arg32(&c, P2P_BRIDGE_ARG_KIND, kind);
    c.in_addr = b->memory + BRIDGE_INPUT;
    c.in_len = n * P2P_BRIDGE_VEC_BYTES;
    c.out_addr = b->memory + BRIDGE_OUTPUT;
    c.out_len = m * P2P_BRIDGE_VEC_BYTES;
    write_vector(b, c.in_addr, in, n);
    done = bridge_run(b, &c);
    if (done.status == P2P_BRIDGE_OK) {
        g_assert_cmpuint(done.out_len % P2P_BRIDGE_VEC_BYTES, ==, 0);
        g_assert_cmpuint(done.out_len, <=, c.out_len);
        read_vector(b, c.out_addr, out, done.out_len / P2P_BRIDGE_VEC_BYTES);
    }
    return done;
}

BridgeCompletion bridge_bus_release(Bridge *b, uint32_t initiator,
                                    uint32_t target)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_BUS_RELEASE);

    bridge_arg32(&c, P2P_BRIDGE_ARG_INITIATOR, initiator);
    bridge_arg32(&c, P2P_BRIDGE_ARG_TARGET, target);
    return bridge_run(b, &c);
}
