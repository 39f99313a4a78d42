/*
 * Fuzz target: a guest, a host and time at the core of the p2p-bridge
 *
 * The input is a script of steps; see the step_*() functions.  Where it ends,
 * all that is still asked for is 0.  What must hold is in bridge-world.c.
 *
 * Prints how many commands were executed when it ends.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "bridge-world.h"

/* Of one script, so that none takes long: commands, and entries of vectors. */
#define MOST_WORK 20000

/* --- The input --------------------------------------------------------- */

typedef struct Input {
    const uint8_t *data;
    size_t n;
} Input;

static uint64_t read_bytes(Input *input, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n && input->n > 0; i++) {
        value |= (uint64_t)*input->data++ << 8 * i;
        input->n--;
    }
    return value;
}

static uint8_t read_byte(Input *input)
{
    return read_bytes(input, 1);
}

/* A byte says which kind: small, a power of two, one below it, any. */
static uint64_t read_number(Input *input)
{
    uint8_t how = read_byte(input);

    switch (how & 3) {
    case 0:
        return how >> 2;
    case 1:
        return 1ull << (how >> 2);
    case 2:
        return (1ull << (how >> 2)) - 1;
    default:
        return how & 4 ? read_bytes(input, 8) : read_bytes(input, 2);
    }
}

/* Where a driver has things, the ends of RAM, holes, odd places. */
static uint64_t read_address(Input *input)
{
    static const uint64_t places[] = {
        WORLD_INDEX, WORLD_COMMANDS, WORLD_COMPLETIONS, WORLD_EVENTS,
        WORLD_INPUT, WORLD_OUTPUT, WORLD_RAM - 64, WORLD_RAM,
        -(uint64_t)WORLD_TOP, -64ull, -(uint64_t)WORLD_TOP - 64,
        WORLD_BAR(0),
    };
    uint8_t how = read_byte(input);
    uint8_t which = how & 15;
    uint64_t place = which < G_N_ELEMENTS(places) ? places[which]
                                                  : read_number(input);

    return how & 16 ? place + 64 * (int8_t)read_byte(input)
                    : how & 32 ? place + 1 : place;
}

static uint32_t read_rid(Input *input)
{
    uint8_t how = read_byte(input);

    return how < 0xf0 ? WORLD_RID(how % (WORLD_MEMBERS + 1))
                      : read_number(input);
}

/* A window that there is, was, or may be. */
static uint32_t read_window(Input *input, World *world)
{
    uint8_t how = read_byte(input);
    const P2PBridgeRecord *record =
        &world->bridge.records[how % WORLD_RECORDS];

    switch (how >> 6) {
    case 0:
    case 1:
        return record->number;
    case 2:
        return record->number + WORLD_RECORDS;
    }
    return read_number(input);
}

/* --- The guest's driver ------------------------------------------------ */

static void set_up(World *world, uint8_t how)
{
    static const uint8_t sizes[] = { 64, 2, 4, 16 };
    unsigned entries = sizes[how & 3];
    const struct {
        uint64_t offset;
        uint64_t value;
        unsigned size;
    } values[] = {
        { P2P_BRIDGE_CONTROL, 0, 4 },
        { P2P_BRIDGE_DRIVER_FEATURES, how >> 2 & 1, 8 },
        { P2P_BRIDGE_INDEX_BASE, WORLD_INDEX, 8 },
        { P2P_BRIDGE_COMMAND_BASE, WORLD_COMMANDS, 8 },
        { P2P_BRIDGE_COMPLETION_BASE, WORLD_COMPLETIONS, 8 },
        { P2P_BRIDGE_EVENT_BASE, WORLD_EVENTS, 8 },
        { P2P_BRIDGE_COMMAND_SIZE, how & 8 ? 1024 : entries, 4 },
        { P2P_BRIDGE_COMPLETION_SIZE, how & 16 ? 1024 : entries, 4 },
        { P2P_BRIDGE_EVENT_SIZE, how & 32 ? 0 : entries, 4 },
        { P2P_BRIDGE_COMPLETION_VECTOR, how & 64 ? 0 : ~0u, 4 },
        { P2P_BRIDGE_EVENT_VECTOR, how & 128 ? 1 : ~0u, 4 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        world_write(world, values[i].offset, values[i].value, values[i].size);
    }
    memset(world_ram(WORLD_INDEX, P2P_BRIDGE_INDEX_SIZE), 0,
           P2P_BRIDGE_INDEX_SIZE);
    world_write(world, P2P_BRIDGE_CONTROL, P2P_BRIDGE_CONTROL_ENABLE, 4);
}

static void step_set_up(Input *input, World *world)
{
    set_up(world, read_byte(input));
}

static void step_register(Input *input, World *world)
{
    uint8_t how = read_byte(input);
    uint64_t offset = (how & 0x1f) < 23 ? 4 * (how & 0x1f)
                                        : read_number(input);
    unsigned size = 1u << (how >> 5 & 3);
    uint64_t value = how & 0x80 ? read_address(input) : read_number(input);

    p2p_bridge_read(&world->bridge, offset, size);
    world_write(world, offset, value, size);
}

static void put(uint8_t *at, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        at[i] = value >> 8 * i;
    }
}

static void read_share(Input *input, uint8_t *raw)
{
    uint8_t how = read_byte(input);

    put(raw + P2P_BRIDGE_ARG_RID, read_rid(input), 4);
    put(raw + P2P_BRIDGE_ARG_BAR, how & 1 ? read_byte(input) : 2, 4);
    put(raw + P2P_BRIDGE_ARG_OFFSET, how & 2
        ? read_number(input) : (uint64_t)read_byte(input) * WORLD_PAGE, 8);
    put(raw + P2P_BRIDGE_ARG_SIZE, how & 4
        ? read_number(input) : (uint64_t)(1 + (how >> 4)) << 19, 8);
    put(raw + P2P_BRIDGE_ARG_ACCESS, how & 8 ? read_byte(input) : 1, 4);
}

/* Entries that follow each other, or lie apart. */
static void write_vector(Input *input, uint8_t *raw)
{
    uint8_t how = read_byte(input);
    uint64_t n = how & 0x80 ? read_number(input) : 1 + (how & 7);
    uint64_t address = how & 8 ? WORLD_BAR(read_byte(input) % WORLD_MEMBERS)
                               : read_address(input);
    uint64_t len = read_number(input);
    uint32_t flags = how & 16 ? read_number(input) : 1 + read_byte(input) % 63;
    uint64_t step = how & 32 ? len : read_number(input);
    uint64_t rid = flags & P2P_BRIDGE_VEC_BY_BAR ? read_rid(input) : 0;
    uint64_t room = MIN(n, 4096);
    uint8_t *at = world_ram(WORLD_INPUT, room * P2P_BRIDGE_VEC_BYTES);

    for (uint64_t i = 0; i < room; i++, at += P2P_BRIDGE_VEC_BYTES) {
        memset(at, 0, P2P_BRIDGE_VEC_BYTES);
        put(at + P2P_BRIDGE_VEC_ADDR, address + i * step, 8);
        put(at + P2P_BRIDGE_VEC_LEN, len, 4);
        put(at + P2P_BRIDGE_VEC_FLAGS, flags, 4);
        put(at + P2P_BRIDGE_VEC_RID, rid, 4);
        put(at + P2P_BRIDGE_VEC_BAR, rid ? 2 : 0, 4);
    }
    put(raw + P2P_BRIDGE_CMD_IN_ADDR, WORLD_INPUT, 8);
    put(raw + P2P_BRIDGE_CMD_IN_LEN, n * P2P_BRIDGE_VEC_BYTES, 4);
}

static void read_arguments(Input *input, World *world, unsigned opcode,
                           uint8_t *raw)
{
    switch (opcode) {
    case P2P_BRIDGE_OP_MEMBERS:
    case P2P_BRIDGE_OP_WINDOWS:
    case P2P_BRIDGE_OP_PAIRS:
        put(raw + P2P_BRIDGE_ARG_FIRST, read_number(input), 4);
        break;
    case P2P_BRIDGE_OP_SHARE:
        read_share(input, raw);
        break;
    case P2P_BRIDGE_OP_ATTACH:
        put(raw + P2P_BRIDGE_ARG_SLOT, read_number(input), 4);
        /* fall through */
    case P2P_BRIDGE_OP_UNSHARE:
    case P2P_BRIDGE_OP_DETACH:
    case P2P_BRIDGE_OP_ACKNOWLEDGE:
        put(raw + P2P_BRIDGE_ARG_WINDOW, read_window(input, world), 4);
        break;
    case P2P_BRIDGE_OP_TRANSLATE:
        put(raw + P2P_BRIDGE_ARG_KIND, read_byte(input) % 3, 4);
        put(raw + P2P_BRIDGE_ARG_INITIATOR, read_rid(input), 4);
        write_vector(input, raw);
        break;
    case P2P_BRIDGE_OP_BUS_RELEASE:
        put(raw + P2P_BRIDGE_ARG_INITIATOR, read_rid(input), 4);
        put(raw + P2P_BRIDGE_ARG_TARGET, read_rid(input), 4);
        break;
    }
}

static bool has_output(unsigned opcode)
{
    return opcode <= P2P_BRIDGE_OP_PAIRS ||
           opcode == P2P_BRIDGE_OP_TRANSLATE;
}

/* Good ones for the most part, then bytes of it that are others */
static void read_command(Input *input, World *world, uint8_t *raw)
{
    static const uint8_t opcodes[] = {
        P2P_BRIDGE_OP_IDENTIFY, P2P_BRIDGE_OP_MEMBERS, P2P_BRIDGE_OP_WINDOWS,
        P2P_BRIDGE_OP_PAIRS, P2P_BRIDGE_OP_SHARE, P2P_BRIDGE_OP_SHARE,
        P2P_BRIDGE_OP_UNSHARE, P2P_BRIDGE_OP_ATTACH, P2P_BRIDGE_OP_ATTACH,
        P2P_BRIDGE_OP_DETACH, P2P_BRIDGE_OP_ACKNOWLEDGE,
        P2P_BRIDGE_OP_TRANSLATE, P2P_BRIDGE_OP_TRANSLATE,
        P2P_BRIDGE_OP_BUS_RELEASE,
    };
    uint8_t how = read_byte(input);
    unsigned which = how & 15;
    unsigned opcode = which < G_N_ELEMENTS(opcodes) ? opcodes[which]
                                                    : read_number(input);

    memset(raw, 0, P2P_BRIDGE_COMMAND_BYTES);
    put(raw + P2P_BRIDGE_CMD_OPCODE, opcode, 2);
    if (has_output(opcode)) {
        put(raw + P2P_BRIDGE_CMD_OUT_ADDR,
            how & 16 ? read_address(input) : WORLD_OUTPUT, 8);
        put(raw + P2P_BRIDGE_CMD_OUT_LEN,
            how & 32 ? read_number(input) : 64 * 32, 4);
    }
    read_arguments(input, world, opcode, raw);
    for (unsigned n = how >> 6; n > 1; n--) {
        uint8_t at = read_byte(input);

        raw[at % P2P_BRIDGE_COMMAND_BYTES] = read_byte(input);
    }
}

/* To the ring, once or many times, with a tail and maybe a doorbell. */
static void step_command(Input *input, World *world)
{
    const P2PBridgeRegs *regs = &world->bridge.regs;
    uint8_t raw[P2P_BRIDGE_COMMAND_BYTES];
    uint8_t how = read_byte(input);
    unsigned copies = how & 0x80 ? 1 + (how & 0x3f) : 1;
    uint32_t tail = world_count(world, P2P_BRIDGE_COMMAND_TAIL);

    read_command(input, world, raw);
    for (unsigned i = 0; i < copies && regs->command_size; i++) {
        uint8_t *at = world_ram(regs->command_base +
                                (tail + i) % regs->command_size *
                                P2P_BRIDGE_COMMAND_BYTES,
                                P2P_BRIDGE_COMMAND_BYTES);

        put(raw + P2P_BRIDGE_CMD_ID, tail + i, 2);
        if (at) {
            memcpy(at, raw, sizeof(raw));
        }
    }
    world_set_count(world, P2P_BRIDGE_COMMAND_TAIL, tail + copies);
    if (!(how & 0x40)) {
        world_run(world);
    }
}

static void take_all(World *world)
{
    world_set_count(world, P2P_BRIDGE_COMPLETION_HEAD,
                    world_count(world, P2P_BRIDGE_COMPLETION_TAIL));
    world_set_count(world, P2P_BRIDGE_EVENT_HEAD,
                    world_count(world, P2P_BRIDGE_EVENT_TAIL));
}

static void step_doorbell(Input *input, World *world)
{
    unsigned turns = read_byte(input) % 16;

    while (world_run(world) && turns-- > 0) {
        take_all(world);
    }
}

static void step_take(Input *input, World *world)
{
    take_all(world);
    world_run(world);
}

/* A count that is wrong, or only late */
static void step_count(Input *input, World *world)
{
    uint8_t how = read_byte(input);
    unsigned offset = 4 * (how % 12);

    world_set_count(world, offset, how & 0x80
                    ? read_number(input)
                    : world_count(world, offset) + (how >> 4) - 4);
}

/* The guest's other processors */
static void step_memory(Input *input, World *world)
{
    uint64_t address = read_address(input);
    uint64_t value = read_number(input);
    uint8_t *at = world_ram(address, 8);

    if (at) {
        put(at, value, 8);
    }
}

/* --- The host and the machine ------------------------------------------ */

static void step_host(Input *input, World *world)
{
    uint8_t how = read_byte(input);
    unsigned record = read_byte(input) % WORLD_RECORDS;

    switch (how & 3) {
    case 0:
        world_revoke(world, record % 4);
        break;
    case 1:
        world_lose(world, record % 8, 1 + (how >> 2) % 5);
        break;
    case 2:
        world_changed(world);
        break;
    case 3:
        p2p_bridge_bus_revoked(&world->bridge, read_rid(input),
                               read_rid(input), 1 + (how >> 2) % 13);
        break;
    }
}

static void step_time(Input *input, World *world)
{
    world_time(world, read_byte(input) * 10);
}

static void step_machine(Input *input, World *world)
{
    static const uint8_t refusals[] = {
        P2P_BRIDGE_NOT_SHARED, P2P_BRIDGE_NO_ACCESS, P2P_BRIDGE_NO_MEMORY,
        P2P_BRIDGE_NOT_DECODED,
    };
    uint8_t how = read_byte(input);

    world->no_dma = (how & 15) == 1;
    world->races = (how & 15) == 2 ? how >> 4 : 0;
    world->refusal = (how & 15) == 3
                     ? refusals[(how >> 4) % G_N_ELEMENTS(refusals)] : 0;
}

static void step_move(Input *input, World *world)
{
    uint8_t how = read_byte(input);
    unsigned n = how >> 6;
    uint16_t at[3];
    uint8_t value[3];

    for (unsigned i = 0; i < n; i++) {
        at[i] = read_bytes(input, 2);
        value[i] = read_byte(input);
    }
    world_move(world, at, value, n);
}

static void step(Input *input, World *world)
{
    static void (*const steps[])(Input *input, World *world) = {
        step_command, step_command, step_command, step_command,
        step_command, step_command, step_doorbell, step_take, step_take,
        step_register, step_count, step_memory, step_host, step_time,
        step_machine, step_set_up,
    };
    uint8_t which = read_byte(input);

    if (which == 0xff) {
        step_move(input, world);
    } else {
        steps[which % G_N_ELEMENTS(steps)](input, world);
    }
}

/* --- The program ------------------------------------------------------- */

static void __attribute__((destructor)) print_commands(void)
{
    fprintf(stderr, "fuzz-bridge: %" PRIu64 " commands", world_commands);
    for (unsigned i = 0; i < G_N_ELEMENTS(world_statuses); i++) {
        fprintf(stderr, "%s%" PRIu64, i ? " " : "; by status: ",
                world_statuses[i]);
    }
    fprintf(stderr, "\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };
    World *world = world_new();

    set_up(world, read_byte(&input));
    while (input.n > 0 && world->entries < MOST_WORK) {
        step(&input, world);
    }
    world->no_dma = false;
    world_free(world);
    return 0;
}
