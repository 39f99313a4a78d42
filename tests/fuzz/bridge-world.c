/*
 * A guest's memory and a machine for the core of the p2p-bridge
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "bridge-world.h"

uint64_t world_commands;
uint64_t world_statuses[P2P_BRIDGE_BUS_REFUSED + 1];

/* Each of its own, so that a byte too many is seen. */
static uint8_t *ram;
static uint8_t *top;
static P2PMap *map;

uint8_t *world_ram(uint64_t addr, uint64_t len)
{
    if (len > WORLD_RAM) {
        return NULL;
    }
    if (addr <= WORLD_RAM - len) {
        return ram + addr;
    }
    if (addr >= -(uint64_t)WORLD_TOP && len <= -addr) {
        return top + (addr + WORLD_TOP);
    }
    return NULL;
}

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static uint64_t load64(const uint8_t *at)
{
    return load32(at) | (uint64_t)load32(at + 4) << 32;
}

uint32_t world_count(World *world, unsigned offset)
{
    const uint8_t *at = world_ram(world->bridge.regs.index_base + offset, 4);

    return at ? load32(at) : 0;
}

void world_set_count(World *world, unsigned offset, uint32_t value)
{
    uint8_t *at = world_ram(world->bridge.regs.index_base + offset, 4);

    value = GUINT32_TO_LE(value);
    if (at) {
        memcpy(at, &value, sizeof(value));
    }
}

/* --- Completions ------------------------------------------------------- */

/* A command that failed has changed nothing. */
static void check_failed(World *world)
{
    g_assert_cmpuint(world->bridge.generation, ==, world->generation);
    g_assert_cmpint(memcmp(world->records, world->bridge.records,
                           sizeof(world->records)), ==, 0);
}

/*
 * The bridge counts a completion once it is written: what it wrote last then
 * was it, and it is that of the only command that it has read.
 */
static void look_at_completion(World *world)
{
    const P2PBridgeRegs *regs = &world->bridge.regs;
    const uint8_t *raw = world->completion;
    unsigned status = raw[P2P_BRIDGE_CPL_STATUS];

    if (world->bridge.rings.completion_tail == world->tail) {
        return;
    }
    g_assert_true(world->in_command);
    g_assert_cmpuint(world->bridge.rings.completion_tail, ==, world->tail + 1);
    g_assert_cmpuint(world->bridge.rings.command_head, ==, world->tail + 1);
    g_assert_cmpuint(world->written_len, ==, P2P_BRIDGE_COMPLETION_BYTES);
    g_assert_cmphex(world->written, ==, regs->completion_base +
                    world->tail % regs->completion_size *
                    P2P_BRIDGE_COMPLETION_BYTES);
    g_assert_cmpint(memcmp(raw + P2P_BRIDGE_CPL_ID,
                           world->command + P2P_BRIDGE_CMD_ID, 2), ==, 0);
    g_assert_cmpuint(raw[P2P_BRIDGE_CPL_STATUS + 1], ==, 0);
    g_assert_cmpuint(status, <=, P2P_BRIDGE_BUS_REFUSED);
    g_assert_cmphex(load32(raw + 0x1c), ==, 0);
    g_assert_cmphex(load32(raw + P2P_BRIDGE_CPL_GENERATION), ==,
                    world->bridge.generation);
    if (status == P2P_BRIDGE_OK) {
        g_assert_cmpuint(load32(raw + P2P_BRIDGE_CPL_OUT_LEN), <=,
                         load32(world->command + P2P_BRIDGE_CMD_OUT_LEN));
    } else {
        g_assert_cmpuint(load32(raw + P2P_BRIDGE_CPL_OUT_LEN), ==, 0);
        check_failed(world);
    }
    /* Who has got bus addresses is known, and nobody else has. */
    g_assert_false(world->bus_asked);
    g_assert_true(!world->bus_given || status == P2P_BRIDGE_OK);
    world->tail++;
    world->in_command = false;
    world_commands++;
    world_statuses[status]++;
}

/* --- DMA --------------------------------------------------------------- */

static void check_dma(World *world)
{
    g_assert_false(world->no_calls);
    g_assert_true(world->enabling ||
                  world->bridge.regs.status == P2P_BRIDGE_STATUS_READY);
    if (world->enabling) {
        world->tail = world->bridge.rings.completion_tail;
    }
    look_at_completion(world);
}

static bool is_entry(uint64_t base, uint32_t size, uint32_t count,
                     uint32_t bytes, uint64_t addr, uint32_t len)
{
    return size && len == bytes && addr == base + count % size * bytes;
}

/* The whole block when it is enabled only: a command may be at its place. */
static bool is_index(World *world, uint64_t addr, uint32_t len)
{
    return addr == world->bridge.regs.index_base &&
           (len == 12 || (len == P2P_BRIDGE_INDEX_SIZE && world->enabling));
}

static void check_read(World *world, uint64_t addr, uint32_t len)
{
    const P2PBridgeRegs *regs = &world->bridge.regs;
    const uint8_t *command = world->command;

    if (is_index(world, addr, len)) {
        return;
    }
    if (!world->in_command) {
        g_assert_true(is_entry(regs->command_base, regs->command_size,
                               world->bridge.rings.command_head,
                               P2P_BRIDGE_COMMAND_BYTES, addr, len));
        return;
    }
    /* The only other thing, and that once. */
    g_assert_cmpuint(command[P2P_BRIDGE_CMD_OPCODE], ==,
                     P2P_BRIDGE_OP_TRANSLATE);
    g_assert_cmphex(addr, ==, load64(command + P2P_BRIDGE_CMD_IN_ADDR));
    g_assert_cmphex(len, ==, load32(command + P2P_BRIDGE_CMD_IN_LEN));
    g_assert_cmpuint(world->inputs, ==, 0);
    world->inputs++;
    world->entries += len / P2P_BRIDGE_VEC_BYTES;
}

static void begin_command(World *world, const uint8_t *raw)
{
    memcpy(world->command, raw, sizeof(world->command));
    memcpy(world->records, world->bridge.records, sizeof(world->records));
    world->generation = world->bridge.generation;
    world->in_command = true;
    world->bus_given = false;
    world->inputs = 0;
    world->entries++;
}

static bool dma_read(void *opaque, uint64_t addr, void *buffer, uint32_t len)
{
    World *world = opaque;
    uint8_t *at = world_ram(addr, len);

    check_dma(world);
    check_read(world, addr, len);
    if (!at || world->no_dma) {
        return false;
    }
    memcpy(buffer, at, len);
    if (!is_index(world, addr, len)) {
        if (!world->in_command) {
            begin_command(world, buffer);
        }
        /* Whoever looks there again sees something else. */
        if (world->races) {
            world->races--;
            for (uint32_t i = 0; i < len; i++) {
                at[i] = ~at[i] + i;
            }
        }
    }
    return true;
}

static void check_write(World *world, uint64_t addr, uint32_t len)
{
    const P2PBridgeRegs *regs = &world->bridge.regs;
    const P2PBridgeRings *rings = &world->bridge.rings;
    uint64_t out = load64(world->command + P2P_BRIDGE_CMD_OUT_ADDR);
    uint32_t out_len = load32(world->command + P2P_BRIDGE_CMD_OUT_LEN);

    if ((addr == regs->index_base + P2P_BRIDGE_COMMAND_HEAD && len == 12) ||
        is_entry(regs->event_base, regs->event_size, rings->event_tail,
                 P2P_BRIDGE_EVENT_BYTES, addr, len)) {
        return;
    }
    g_assert_true(world->in_command);
    if (!is_entry(regs->completion_base, regs->completion_size,
                  rings->completion_tail, P2P_BRIDGE_COMPLETION_BYTES, addr,
                  len)) {
        g_assert_cmphex(addr, ==, out);
        g_assert_cmpuint(len, <=, out_len);
        /* No command has more than the longest vector that comes out. */
        g_assert_cmpuint(len, <=, 2 * P2P_BRIDGE_MAX_VECTOR_VALUE *
                                  P2P_BRIDGE_VEC_BYTES);
    }
}

static bool dma_write(void *opaque, uint64_t addr, const void *buffer,
                      uint32_t len)
{
    World *world = opaque;
    uint8_t *at = world_ram(addr, len);

    check_dma(world);
    check_write(world, addr, len);
    world->written = addr;
    world->written_len = len;
    memcpy(world->completion, buffer, MIN(len, sizeof(world->completion)));
    if (!at || world->no_dma) {
        return false;
    }
    memcpy(at, buffer, len);
    return true;
}

/* What it tells of is in memory by then, unless it tells of a failure. */
static void interrupt(void *opaque, unsigned vector)
{
    World *world = opaque;
    const P2PBridgeRings *rings = &world->bridge.rings;

    g_assert_false(world->no_calls);
    g_assert_cmpuint(vector, <, P2P_BRIDGE_VECTORS);
    if (world->bridge.regs.status == P2P_BRIDGE_STATUS_FAILED) {
        return;
    }
    check_dma(world);
    g_assert_cmpuint(world_count(world, P2P_BRIDGE_COMMAND_HEAD), ==,
                     rings->command_head);
    g_assert_cmpuint(world_count(world, P2P_BRIDGE_COMPLETION_TAIL), ==,
                     rings->completion_tail);
    g_assert_cmpuint(world_count(world, P2P_BRIDGE_EVENT_TAIL), ==,
                     rings->event_tail);
}

/* --- Windows ----------------------------------------------------------- */

static const P2PBridgeMember members[] = {
    { WORLD_RID(0), P2P_BRIDGE_MEMBER_INITIATES, 1 },
    { WORLD_RID(1), P2P_BRIDGE_MEMBER_INITIATES, 2 },
    { WORLD_RID(2), 0, 1 },
    { WORLD_RID(3), P2P_BRIDGE_MEMBER_SELF, 0 },
};

#define SHOWN (P2P_BRIDGE_WINDOW_DECODED | P2P_BRIDGE_WINDOW_MEMORY)

static const P2PBridgeHostWindow host_windows[] = {
    { WORLD_RID(0), 2, P2P_BRIDGE_ACCESS_RW, SHOWN, 0, WORLD_BAR_SIZE,
      WORLD_BAR(0) },
    { WORLD_RID(1), 2, P2P_BRIDGE_ACCESS_RO, SHOWN, 0, WORLD_BAR_SIZE / 2,
      WORLD_BAR(1) },
    { WORLD_RID(1), 4, P2P_BRIDGE_ACCESS_RW, 0, WORLD_PAGE, WORLD_PAGE, 0 },
    { WORLD_RID(2), 2, P2P_BRIDGE_ACCESS_RW, SHOWN, 0, WORLD_BAR_SIZE,
      WORLD_BAR(2) },
};

static const P2PBridgePair pairs[] = {
    { WORLD_RID(0), WORLD_RID(1), P2P_BRIDGE_PATH_PIX, P2P_BRIDGE_MAP_CPU, 3 },
    { WORLD_RID(1), WORLD_RID(0), P2P_BRIDGE_PATH_PHB, P2P_BRIDGE_MAP_CPU, 0 },
};

/* More than the device can hold at once */
#define MORE_WINDOWS 9000

static void add_windows(GArray *windows)
{
    for (unsigned i = 0; i < MORE_WINDOWS; i++) {
        P2PBridgeHostWindow window = {
            WORLD_RID(2), 4, P2P_BRIDGE_ACCESS_RO, 0,
            (uint64_t)i * WORLD_PAGE, WORLD_PAGE, 0,
        };

        g_array_append_val(windows, window);
    }
}

static GArray *array_of(const void *data, guint n, guint size)
{
    return g_array_append_vals(g_array_new(false, false, size), data, n);
}

static const P2PBridgeInventory *inventory(void *opaque)
{
    static P2PBridgeInventory all;
    World *world = opaque;

    g_assert_false(world->no_calls);
    if (!all.members) {
        all.members = array_of(members, G_N_ELEMENTS(members),
                               sizeof(*members));
        all.windows = array_of(host_windows, G_N_ELEMENTS(host_windows),
                               sizeof(*host_windows));
        add_windows(all.windows);
        all.pairs = array_of(pairs, G_N_ELEMENTS(pairs), sizeof(*pairs));
    }
    return &all;
}

/* A refusal that the script has asked for, once. */
static unsigned refusal(World *world)
{
    unsigned status = world->refusal;

    world->refusal = 0;
    return status;
}

static unsigned share(void *opaque, unsigned record,
                      const P2PBridgeRecord *window)
{
    World *world = opaque;
    unsigned status = refusal(world);

    g_assert_false(world->no_calls);
    g_assert_true(world->in_command);
    g_assert_cmpuint(record, <, WORLD_RECORDS);
    g_assert_false(world->windows[record].shared);
    g_assert_cmphex(window->size, !=, 0);
    g_assert_cmphex((window->offset | window->size) % WORLD_PAGE, ==, 0);
    g_assert_cmphex(window->offset + window->size, >, window->offset);
    g_assert_cmpuint(window->bar, <=, 5);
    g_assert_cmpuint(window->access, <=, P2P_BRIDGE_ACCESS_RW);
    if (!status) {
        world->windows[record] = (WorldWindow) {
            .shared = true, .size = window->size,
        };
    }
    return status;
}

static void unshare(void *opaque, unsigned record)
{
    World *world = opaque;

    g_assert_false(world->no_calls);
    g_assert_cmpuint(record, <, WORLD_RECORDS);
    g_assert_true(world->windows[record].shared);
    g_assert_false(world->windows[record].attached);
    world->windows[record].shared = false;
}

static unsigned attach(void *opaque, unsigned record, uint64_t offset)
{
    World *world = opaque;
    WorldWindow *window = &world->windows[record];
    unsigned status = refusal(world);

    g_assert_false(world->no_calls);
    g_assert_true(world->in_command);
    g_assert_cmpuint(record, <, WORLD_RECORDS);
    g_assert_true(window->shared);
    g_assert_false(window->attached);
    if (!status) {
        window->attached = true;
        window->offset = offset;
    }
    return status;
}

static void detach(void *opaque, unsigned record)
{
    World *world = opaque;

    g_assert_false(world->no_calls);
    g_assert_cmpuint(record, <, WORLD_RECORDS);
    g_assert_true(world->windows[record].attached);
    world->windows[record].attached = false;
}

static void clear(void *opaque)
{
    World *world = opaque;

    g_assert_false(world->no_calls);
    memset(world->windows, 0, sizeof(world->windows));
}

/* --- Addresses --------------------------------------------------------- */

static const P2PMap *translate_begin(void *opaque, uint32_t rid,
                                     unsigned *initiator)
{
    World *world = opaque;

    g_assert_false(world->no_calls);
    g_assert_false(world->translating);
    for (unsigned i = 0; i < G_N_ELEMENTS(members); i++) {
        if (members[i].rid == rid &&
            members[i].flags & P2P_BRIDGE_MEMBER_INITIATES) {
            *initiator = i;
            world->translating = true;
            return map;
        }
    }
    return NULL;
}

static void translate_end(void *opaque)
{
    World *world = opaque;

    g_assert_true(world->translating);
    world->translating = false;
}

static unsigned bar_address(void *opaque, uint32_t rid, uint32_t bar,
                            uint64_t offset, uint32_t len, uint64_t *gpa)
{
    unsigned n = (rid - WORLD_RID(0)) / 8;

    g_assert_cmpuint(len, >, 0);
    if (rid % 8 || n >= WORLD_MEMBERS) {
        return P2P_BRIDGE_FAULT_NO_MEMBER;
    }
    if (bar != 2 || offset >= WORLD_BAR_SIZE ||
        len > WORLD_BAR_SIZE - offset) {
        return P2P_BRIDGE_FAULT_OUTSIDE;
    }
    *gpa = WORLD_BAR(n) + offset;
    return 0;
}

static unsigned bus_address(void *opaque, uint32_t rid, uint64_t gpa,
                            uint32_t len, uint64_t *bus)
{
    World *world = opaque;

    g_assert_cmphex(world->bridge.regs.driver_features, ==,
                    P2P_BRIDGE_FEATURE_BUS_ADDRESS);
    g_assert_cmpuint(len, >, 0);
    g_assert_cmphex(gpa, >=, WORLD_BAR(0));
    world->bus_asked = true;
    if (gpa / WORLD_PAGE % 16 == 15) {
        return 1 + gpa / WORLD_PAGE / 16 % 12;
    }
    *bus = gpa ^ 0x8000000000000000;
    return 0;
}

static void bus_end(void *opaque, bool given)
{
    World *world = opaque;

    g_assert_true(world->in_command);
    g_assert_true(world->bus_asked || !given);
    world->bus_asked = false;
    world->bus_given = given;
}

static bool bus_release(void *opaque, uint32_t initiator, uint32_t target)
{
    return initiator == WORLD_RID(0) && target == WORLD_RID(1);
}

static const P2PBridgeOps ops = {
    .dma_read = dma_read,
    .dma_write = dma_write,
    .interrupt = interrupt,
    .inventory = inventory,
    .share = share,
    .unshare = unshare,
    .attach = attach,
    .detach = detach,
    .clear = clear,
    .translate_begin = translate_begin,
    .translate_end = translate_end,
    .bar_address = bar_address,
    .bus_address = bus_address,
    .bus_end = bus_end,
    .bus_release = bus_release,
};

/* --- Invariants -------------------------------------------------------- */

static void check_state(World *world, unsigned n)
{
    const P2PBridgeRecord *record = &world->bridge.records[n];
    const WorldWindow *window = &world->windows[n];
    bool shown = record->state == P2P_BRIDGE_STATE_ATTACHED ||
                 record->state == P2P_BRIDGE_STATE_REVOKING;

    g_assert_cmpint(window->attached, ==, shown);
    g_assert_cmpint(window->shared, ==,
                    record->state != P2P_BRIDGE_STATE_FREE);
    g_assert_cmpint(record->number != 0, ==, window->shared);
    if (!window->shared) {
        return;
    }
    g_assert_cmpuint(record->number & P2P_BRIDGE_WINDOW_RECORD_MASK, ==, n);
    g_assert_cmphex(record->size, ==, window->size);
    if (shown) {
        g_assert_cmphex(window->offset, ==, (uint64_t)record->slot <<
                                            P2P_BRIDGE_SLOT_SHIFT_VALUE);
        g_assert_cmphex(window->offset, <, (uint64_t)WORLD_SLOTS <<
                                           P2P_BRIDGE_SLOT_SHIFT_VALUE);
        g_assert_cmphex(window->size, <=, ((uint64_t)WORLD_SLOTS <<
                                           P2P_BRIDGE_SLOT_SHIFT_VALUE) -
                                          window->offset);
    }
}

/* No two windows in one slot */
static void check_slots(World *world)
{
    bool taken[WORLD_SLOTS] = { false };

    for (unsigned n = 0; n < WORLD_RECORDS; n++) {
        const WorldWindow *window = &world->windows[n];
        uint64_t slot = window->offset >> P2P_BRIDGE_SLOT_SHIFT_VALUE;

        if (!window->attached) {
            continue;
        }
        for (uint64_t i = 0; i < p2p_bridge_slots(window->size); i++) {
            g_assert_false(taken[slot + i]);
            taken[slot + i] = true;
        }
    }
}

static void check_page(World *world)
{
    const P2PBridge *bridge = &world->bridge;
    const uint8_t *page = world->page;
    uint64_t pending = load64(page + P2P_BRIDGE_PAGE_PENDING);

    g_assert_cmphex(load32(page + P2P_BRIDGE_PAGE_MAGIC), ==,
                    P2P_BRIDGE_MAGIC_VALUE);
    g_assert_cmpuint(load32(page + P2P_BRIDGE_PAGE_SEQUENCE) % 2, ==, 0);
    g_assert_cmpuint(load32(page + P2P_BRIDGE_PAGE_GENERATION), ==,
                     bridge->generation);
    g_assert_cmpuint(load32(page + P2P_BRIDGE_PAGE_EVENTS_LOST), ==,
                     bridge->events_lost);
    for (unsigned n = 0; n < WORLD_RECORDS; n++) {
        const uint8_t *raw = page + P2P_BRIDGE_PAGE_FIRST +
                             n * P2P_BRIDGE_RECORD_BYTES;
        const P2PBridgeRecord *record = &bridge->records[n];

        g_assert_cmpuint(load32(raw + P2P_BRIDGE_RECORD_WINDOW), ==,
                         record->number);
        g_assert_cmpuint(load32(raw + P2P_BRIDGE_RECORD_STATE), ==,
                         record->state);
        g_assert_cmpuint(load32(raw + P2P_BRIDGE_RECORD_REASON), ==,
                         record->reason);
        g_assert_cmpuint(load32(raw + P2P_BRIDGE_RECORD_GENERATION), ==,
                         record->generation);
        g_assert_cmphex(load64(raw + P2P_BRIDGE_RECORD_SIZE), ==,
                        record->size);
        g_assert_cmpint(pending >> n & 1, ==,
                        record->state == P2P_BRIDGE_STATE_REVOKING);
    }
}

static void check_regs(World *world)
{
    const P2PBridgeRegs *regs = &world->bridge.regs;
    const P2PBridgeRings *rings = &world->bridge.rings;
    bool ready = regs->status == P2P_BRIDGE_STATUS_READY;

    if (ready) {
        g_assert_cmpuint(rings->completion_tail, ==, rings->command_head);
    }
    if (world->loaded) {
        return;
    }
    g_assert_cmpint(regs->error != 0, ==,
                    regs->status == P2P_BRIDGE_STATUS_FAILED);
    g_assert_cmpint(regs->control == P2P_BRIDGE_CONTROL_ENABLE, ==,
                    ready || regs->error);
}

static void check_time(World *world)
{
    int64_t deadline = p2p_bridge_deadline(&world->bridge);
    bool revoking = load64(world->page + P2P_BRIDGE_PAGE_PENDING);

    g_assert_cmpint(deadline >= 0, ==, revoking);
    if (revoking && !world->loaded) {
        g_assert_cmpint(deadline, <=, world->now + WORLD_REVOKE_MS);
    }
}

static void check(World *world)
{
    look_at_completion(world);
    g_assert_false(world->translating);
    /* One that the device failed with stays without a completion. */
    g_assert_true(!world->in_command ||
                  world->bridge.regs.status != P2P_BRIDGE_STATUS_READY);
    world->in_command = false;
    for (unsigned n = 0; n < WORLD_RECORDS; n++) {
        check_state(world, n);
    }
    check_slots(world);
    check_page(world);
    check_regs(world);
    check_time(world);
}

/* --- What happens ------------------------------------------------------ */

void world_write(World *world, uint64_t offset, uint64_t value, unsigned size)
{
    world->enabling = true;
    p2p_bridge_write(&world->bridge, offset, value, size);
    world->enabling = false;
    /* Enable and reset begin with empty rings. */
    if (!world->bridge.rings.completion_tail) {
        world->tail = 0;
    }
    check(world);
}

bool world_run(World *world)
{
    bool more = p2p_bridge_run(&world->bridge);

    g_assert_true(!more || p2p_bridge_read(&world->bridge, P2P_BRIDGE_STATUS,
                                           4) == P2P_BRIDGE_STATUS_READY);
    check(world);
    return more;
}

void world_revoke(World *world, unsigned record)
{
    unsigned before = world->bridge.records[record].state;
    bool wait = p2p_bridge_revoke(&world->bridge, record, world->now);
    unsigned state = world->bridge.records[record].state;

    g_assert_cmpint(wait, ==, state == P2P_BRIDGE_STATE_REVOKING);
    g_assert_cmpint(wait, ==, before == P2P_BRIDGE_STATE_ATTACHED ||
                              before == P2P_BRIDGE_STATE_REVOKING);
    if (before == P2P_BRIDGE_STATE_SHARED) {
        /* Nobody has it; it goes with what the host takes back. */
        g_assert_cmpuint(state, ==, P2P_BRIDGE_STATE_SHARED);
    }
    check(world);
}

void world_lose(World *world, unsigned record, unsigned reason)
{
    unsigned before = world->bridge.records[record].state;

    p2p_bridge_lose(&world->bridge, record, reason);
    g_assert_cmpuint(world->bridge.records[record].state, ==,
                     before == P2P_BRIDGE_STATE_FREE
                     ? P2P_BRIDGE_STATE_FREE : P2P_BRIDGE_STATE_REVOKED);
    check(world);
}

void world_changed(World *world)
{
    uint32_t before = world->bridge.generation;

    p2p_bridge_changed(&world->bridge);
    g_assert_cmpuint(world->bridge.generation, !=, before);
    check(world);
}

void world_time(World *world, int64_t ms)
{
    int64_t deadline;

    world->now += ms;
    p2p_bridge_timeout(&world->bridge, world->now);
    deadline = p2p_bridge_deadline(&world->bridge);
    g_assert_true(deadline < 0 || deadline > world->now);
    check(world);
}

/* --- To another machine ------------------------------------------------ */

static P2PBridgeConfig config = {
    .features = P2P_BRIDGE_FEATURE_BUS_ADDRESS,
    .slots = WORLD_SLOTS,
    .page_shift = 12,
    .revoke_ms = WORLD_REVOKE_MS,
};

static void copy_state(P2PBridge *to, const P2PBridge *from)
{
    to->regs = from->regs;
    to->rings = from->rings;
    to->generation = from->generation;
    to->events_lost = from->events_lost;
    to->last_number = from->last_number;
    memcpy(to->records, from->records, sizeof(to->records));
}

/* The machine there shows what the state says. */
static void adopt(World *world)
{
    for (unsigned n = 0; n < WORLD_RECORDS; n++) {
        const P2PBridgeRecord *record = &world->bridge.records[n];
        bool shown = record->state == P2P_BRIDGE_STATE_ATTACHED ||
                     record->state == P2P_BRIDGE_STATE_REVOKING;

        world->windows[n] = (WorldWindow) {
            .shared = record->number, .attached = shown,
            .offset = (uint64_t)record->slot << P2P_BRIDGE_SLOT_SHIFT_VALUE,
            .size = record->size,
        };
    }
    /* Deadlines are by another clock. */
    world->tail = world->bridge.rings.completion_tail;
    world->loaded = true;
}

void world_move(World *world, const uint16_t *at, const uint8_t *value,
                unsigned n)
{
    const size_t begin = offsetof(P2PBridge, regs);
    const size_t end = sizeof(P2PBridge);
    P2PBridge there, before = world->bridge;
    uint8_t page[P2P_BRIDGE_PAGE_BYTES] = { 0 };

    world->no_calls = true;
    p2p_bridge_init(&there, &ops, world, &config, page);
    copy_state(&there, &world->bridge);
    for (unsigned i = 0; i < n; i++) {
        ((uint8_t *)&there)[begin + at[i] % (end - begin)] = value[i];
    }
    if (!p2p_bridge_loaded(&there, world->now)) {
        copy_state(&world->bridge, &there);
        p2p_bridge_write_page(&world->bridge);
        adopt(world);
    } else {
        /* A state that nobody changed is always good. */
        g_assert_cmpuint(n, >, 0);
        g_assert_cmpint(memcmp(&before, &world->bridge, sizeof(before)), ==,
                        0);
    }
    p2p_bridge_destroy(&there);
    world->no_calls = false;
    check(world);
}

/* --- Life -------------------------------------------------------------- */

static void make_map(void)
{
    P2PWindow windows[] = {
        { .gpa = { 0 }, .size = WORLD_RAM, .bus = { 0 }, .readers = ~0ull,
          .writers = ~0ull, .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM },
        { .gpa = { WORLD_BAR(0) }, .size = WORLD_BAR_SIZE / 2,
          .bus = { WORLD_BAR(0) }, .readers = 2, .writers = 2, .owner = 0,
          .kind = P2P_WINDOW_IO },
        { .gpa = { WORLD_BAR(0) + WORLD_BAR_SIZE / 2 },
          .size = WORLD_BAR_SIZE / 2, .bus = { WORLD_BAR(3) }, .readers = 3,
          .writers = 2, .owner = 0, .kind = P2P_WINDOW_IO },
        { .gpa = { WORLD_BAR(1) }, .size = WORLD_BAR_SIZE,
          .bus = { WORLD_BAR(1) }, .readers = 1, .owner = 1,
          .kind = P2P_WINDOW_IO },
        { .gpa = { WORLD_BAR(2) }, .size = WORLD_BAR_SIZE,
          .bus = { WORLD_BAR(2) }, .readers = 3, .writers = 3, .owner = 2,
          .kind = P2P_WINDOW_IO, .revoked = true },
    };

    map = p2p_map_new(windows, G_N_ELEMENTS(windows), 1, NULL);
    g_assert_nonnull(map);
}

World *world_new(void)
{
    World *world = g_new0(World, 1);

    if (!ram) {
        ram = g_malloc(WORLD_RAM);
        top = g_malloc(WORLD_TOP);
        make_map();
    }
    memset(ram, 0, WORLD_RAM);
    memset(top, 0, WORLD_TOP);
    p2p_bridge_init(&world->bridge, &ops, world, &config, world->page);
    check(world);
    return world;
}

void world_free(World *world)
{
    p2p_bridge_reset(&world->bridge);
    world->tail = 0;
    check(world);
    p2p_bridge_destroy(&world->bridge);
    g_free(world);
}
