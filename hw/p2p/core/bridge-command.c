/*
 * p2p-bridge: commands
 *
 * A command has been copied out of the guest's memory before it comes here, and
 * is not looked at there again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bridge-internal.h"

/* What a command has of a buffer. */
typedef enum Buffer {
    BUFFER_NONE,
    BUFFER_IDENTIFY,
    BUFFER_LIST,        /* whole entries, any number */
    BUFFER_VECTOR,      /* 1 to 4096 entries */
} Buffer;

typedef struct Command {
    uint8_t opcode;
    Buffer in, out;
    uint32_t arguments;     /* bit n: byte n of the arguments counts */
    uint32_t entry;         /* BUFFER_LIST: bytes of an entry */
    bool slow;              /* the guest's memory is laid out anew */
    /* Returns the status. */
    unsigned (*run)(P2PBridge *bridge, const uint8_t *command,
                    P2PBridgeCompletion *completion);
} Command;

/* Bytes of the fields at @offset of a command, as in Command.arguments */
#define ARGUMENT(offset, bytes) \
    ((uint32_t)((1ull << (bytes)) - 1) << ((offset) - P2P_BRIDGE_CMD_ARGS))

/* --- Identify and lists -------------------------------------------------- */

static unsigned write_out(P2PBridge *bridge, const uint8_t *command,
                          const void *data, uint32_t len,
                          P2PBridgeCompletion *completion)
{
    uint64_t addr = get64(command + P2P_BRIDGE_CMD_OUT_ADDR);

    if (len && !bridge->ops->dma_write(bridge->opaque, addr, data, len)) {
        completion->value = addr;
        return P2P_BRIDGE_DMA_ERROR;
    }
    completion->out_len = len;
    return P2P_BRIDGE_OK;
}

static unsigned command_identify(P2PBridge *bridge, const uint8_t *command,
                                 P2PBridgeCompletion *completion)
{
    const P2PBridgeInventory *inventory =
        bridge->ops->inventory(bridge->opaque);
    uint8_t raw[P2P_BRIDGE_IDENTIFY_BYTES] = { 0 };

    put32(raw + P2P_BRIDGE_ID_GENERATION, bridge->generation);
    put32(raw + P2P_BRIDGE_ID_MEMBERS, inventory->members->len);
    put32(raw + P2P_BRIDGE_ID_WINDOWS, inventory->windows->len);
    put32(raw + P2P_BRIDGE_ID_PAIRS, inventory->pairs->len);
    put32(raw + P2P_BRIDGE_ID_MAX_WINDOWS, P2P_BRIDGE_MAX_WINDOWS_VALUE);
    put32(raw + P2P_BRIDGE_ID_MAX_VECTOR, P2P_BRIDGE_MAX_VECTOR_VALUE);
    put32(raw + P2P_BRIDGE_ID_SLOTS, bridge->config.slots);
    put32(raw + P2P_BRIDGE_ID_SLOT_SHIFT, P2P_BRIDGE_SLOT_SHIFT_VALUE);
    put32(raw + P2P_BRIDGE_ID_PAGE_SHIFT, bridge->config.page_shift);
    put32(raw + P2P_BRIDGE_ID_REVOKE_MS, bridge->config.revoke_ms);
    return write_out(bridge, command, raw, sizeof(raw), completion);
}

static void encode_member(const P2PBridgeInventory *inventory, guint i,
                          uint8_t *raw)
{
    const P2PBridgeMember *member = &g_array_index(inventory->members,
                                                   P2PBridgeMember, i);

    put32(raw + P2P_BRIDGE_MEMBER_RID, member->rid);
    put32(raw + P2P_BRIDGE_MEMBER_FLAGS, member->flags);
    put32(raw + P2P_BRIDGE_MEMBER_WINDOWS, member->windows);
}

static void encode_window(const P2PBridgeInventory *inventory, guint i,
                          uint8_t *raw)
{
    const P2PBridgeHostWindow *window =
        &g_array_index(inventory->windows, P2PBridgeHostWindow, i);

    put32(raw + P2P_BRIDGE_WINDOW_RID, window->rid);
    raw[P2P_BRIDGE_WINDOW_BAR] = window->bar;
    raw[P2P_BRIDGE_WINDOW_ACCESS] = window->access;
    put16(raw + P2P_BRIDGE_WINDOW_FLAGS, window->flags);
    put64(raw + P2P_BRIDGE_WINDOW_OFFSET, window->offset);
    put64(raw + P2P_BRIDGE_WINDOW_SIZE, window->size);
    put64(raw + P2P_BRIDGE_WINDOW_GPA, window->gpa);
}

static void encode_pair(const P2PBridgeInventory *inventory, guint i,
                        uint8_t *raw)
{
    const P2PBridgePair *pair = &g_array_index(inventory->pairs,
                                               P2PBridgePair, i);

    put32(raw + P2P_BRIDGE_PAIR_INITIATOR, pair->initiator);
    put32(raw + P2P_BRIDGE_PAIR_TARGET, pair->target);
    raw[P2P_BRIDGE_PAIR_PATH] = pair->path;
    raw[P2P_BRIDGE_PAIR_MAP_TYPE] = pair->map_type;
    put16(raw + P2P_BRIDGE_PAIR_FLAGS, pair->flags);
}

typedef void EncodeFn(const P2PBridgeInventory *inventory, guint i,
                      uint8_t *raw);

/* Entries of @bytes, @total in all, from the first one that is wanted on. */
static unsigned command_list(P2PBridge *bridge, const uint8_t *command,
                             guint total, uint32_t bytes,
                             EncodeFn *encode,
                             P2PBridgeCompletion *completion)
{
    const P2PBridgeInventory *inventory =
        bridge->ops->inventory(bridge->opaque);
    uint32_t first = get32(command + P2P_BRIDGE_ARG_FIRST);
    uint32_t room = get32(command + P2P_BRIDGE_CMD_OUT_LEN) / bytes;
    uint8_t *raw = bridge->scratch->raw;
    uint32_t n = first < total ? total - first : 0;

    n = MIN(n, MIN(room, sizeof(bridge->scratch->raw) / bytes));
    memset(raw, 0, n * bytes);
    for (uint32_t i = 0; i < n; i++) {
        encode(inventory, first + i, raw + i * bytes);
    }
    completion->index = total;
    return write_out(bridge, command, raw, n * bytes, completion);
}

static unsigned list_members(P2PBridge *bridge, const uint8_t *command,
                             P2PBridgeCompletion *completion)
{
    return command_list(bridge, command,
                        bridge->ops->inventory(bridge->opaque)->members->len,
                        P2P_BRIDGE_MEMBER_BYTES, encode_member, completion);
}

static unsigned list_windows(P2PBridge *bridge, const uint8_t *command,
                             P2PBridgeCompletion *completion)
{
    return command_list(bridge, command,
                        bridge->ops->inventory(bridge->opaque)->windows->len,
                        P2P_BRIDGE_WINDOW_BYTES, encode_window, completion);
}

static unsigned list_pairs(P2PBridge *bridge, const uint8_t *command,
                           P2PBridgeCompletion *completion)
{
    return command_list(bridge, command,
                        bridge->ops->inventory(bridge->opaque)->pairs->len,
                        P2P_BRIDGE_PAIR_BYTES, encode_pair, completion);
}

/* --- Guest windows ------------------------------------------------------- */

static unsigned bad_field(P2PBridgeCompletion *completion, uint32_t offset)
{
    completion->reason = offset;
    return P2P_BRIDGE_BAD_FIELD;
}

static unsigned command_share(P2PBridge *bridge, const uint8_t *command,
                              P2PBridgeCompletion *completion)
{
    uint64_t page = 1ull << bridge->config.page_shift;
    P2PBridgeRecord window = {
        .rid = get32(command + P2P_BRIDGE_ARG_RID),
        .bar = get32(command + P2P_BRIDGE_ARG_BAR),
        .access = get32(command + P2P_BRIDGE_ARG_ACCESS),
        .offset = get64(command + P2P_BRIDGE_ARG_OFFSET),
        .size = get64(command + P2P_BRIDGE_ARG_SIZE),
    };

    if (window.bar > 5) {
        return bad_field(completion, P2P_BRIDGE_ARG_BAR);
    }
    if (window.access > P2P_BRIDGE_ACCESS_RW) {
        return bad_field(completion, P2P_BRIDGE_ARG_ACCESS);
    }
    if (window.offset % page) {
        return bad_field(completion, P2P_BRIDGE_ARG_OFFSET);
    }
    if (!window.size || window.size % page ||
        window.offset + window.size < window.offset) {
        completion->value = page;
        return P2P_BRIDGE_BAD_LENGTH;
    }
    return p2p_bridge_share(bridge, &window, completion);
}

static unsigned command_unshare(P2PBridge *bridge, const uint8_t *command,
                                P2PBridgeCompletion *completion
                                G_GNUC_UNUSED)
{
    return p2p_bridge_unshare(bridge, get32(command + P2P_BRIDGE_ARG_WINDOW));
}

static unsigned command_attach(P2PBridge *bridge, const uint8_t *command,
                               P2PBridgeCompletion *completion)
{
    return p2p_bridge_attach(bridge, get32(command + P2P_BRIDGE_ARG_WINDOW),
                             get32(command + P2P_BRIDGE_ARG_SLOT), completion);
}

static unsigned command_detach(P2PBridge *bridge, const uint8_t *command,
                               P2PBridgeCompletion *completion)
{
    return p2p_bridge_detach(bridge, get32(command + P2P_BRIDGE_ARG_WINDOW),
                             completion);
}

static unsigned command_acknowledge(P2PBridge *bridge, const uint8_t *command,
                                    P2PBridgeCompletion *completion
                                    G_GNUC_UNUSED)
{
    return p2p_bridge_acknowledge(bridge,
                                  get32(command + P2P_BRIDGE_ARG_WINDOW));
}

static unsigned command_bus_release(P2PBridge *bridge, const uint8_t *command,
                                    P2PBridgeCompletion *completion
                                    G_GNUC_UNUSED)
{
    bool known = bridge->ops->bus_release(
        bridge->opaque, get32(command + P2P_BRIDGE_ARG_INITIATOR),
        get32(command + P2P_BRIDGE_ARG_TARGET));

    return known ? P2P_BRIDGE_OK : P2P_BRIDGE_NO_MEMBER;
}

/* --- Table --------------------------------------------------------------- */

static const Command commands[] = {
    { P2P_BRIDGE_OP_IDENTIFY, BUFFER_NONE, BUFFER_IDENTIFY, 0, 0, false,
      command_identify },
    { P2P_BRIDGE_OP_MEMBERS, BUFFER_NONE, BUFFER_LIST,
      ARGUMENT(P2P_BRIDGE_ARG_FIRST, 4), P2P_BRIDGE_MEMBER_BYTES, false,
      list_members },
    { P2P_BRIDGE_OP_WINDOWS, BUFFER_NONE, BUFFER_LIST,
      ARGUMENT(P2P_BRIDGE_ARG_FIRST, 4), P2P_BRIDGE_WINDOW_BYTES, false,
      list_windows },
    { P2P_BRIDGE_OP_PAIRS, BUFFER_NONE, BUFFER_LIST,
      ARGUMENT(P2P_BRIDGE_ARG_FIRST, 4), P2P_BRIDGE_PAIR_BYTES, false,
      list_pairs },
    { P2P_BRIDGE_OP_SHARE, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_RID, 4) | ARGUMENT(P2P_BRIDGE_ARG_BAR, 4) |
      ARGUMENT(P2P_BRIDGE_ARG_OFFSET, 8) | ARGUMENT(P2P_BRIDGE_ARG_SIZE, 8) |
      ARGUMENT(P2P_BRIDGE_ARG_ACCESS, 4), 0, false, command_share },
    { P2P_BRIDGE_OP_UNSHARE, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_WINDOW, 4), 0, false, command_unshare },
    { P2P_BRIDGE_OP_ATTACH, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_WINDOW, 4) | ARGUMENT(P2P_BRIDGE_ARG_SLOT, 4),
      0, true, command_attach },
    { P2P_BRIDGE_OP_DETACH, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_WINDOW, 4), 0, true, command_detach },
    { P2P_BRIDGE_OP_ACKNOWLEDGE, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_WINDOW, 4), 0, true, command_acknowledge },
    { P2P_BRIDGE_OP_TRANSLATE, BUFFER_VECTOR, BUFFER_LIST,
      ARGUMENT(P2P_BRIDGE_ARG_INITIATOR, 4) |
      ARGUMENT(P2P_BRIDGE_ARG_KIND, 4), P2P_BRIDGE_VEC_BYTES, false,
      p2p_bridge_translate },
    { P2P_BRIDGE_OP_BUS_RELEASE, BUFFER_NONE, BUFFER_NONE,
      ARGUMENT(P2P_BRIDGE_ARG_INITIATOR, 4) |
      ARGUMENT(P2P_BRIDGE_ARG_TARGET, 4), 0, false, command_bus_release },
};

static const Command *find_command(uint16_t opcode)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (commands[i].opcode == opcode) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Reserved fields are for later, and must not mean anything by then. */
static unsigned check_fields(const Command *which, const uint8_t *command,
                             P2PBridgeCompletion *completion)
{
    if (get32(command + P2P_BRIDGE_CMD_FLAGS)) {
        return bad_field(completion, P2P_BRIDGE_CMD_FLAGS);
    }
    if (which->in == BUFFER_NONE && get64(command + P2P_BRIDGE_CMD_IN_ADDR)) {
        return bad_field(completion, P2P_BRIDGE_CMD_IN_ADDR);
    }
    if (which->out == BUFFER_NONE &&
        get64(command + P2P_BRIDGE_CMD_OUT_ADDR)) {
        return bad_field(completion, P2P_BRIDGE_CMD_OUT_ADDR);
    }
    for (unsigned i = 0; i < 32; i++) {
        if (command[P2P_BRIDGE_CMD_ARGS + i] &&
            !(which->arguments & 1u << i)) {
            return bad_field(completion, P2P_BRIDGE_CMD_ARGS + i);
        }
    }
    return P2P_BRIDGE_OK;
}

static bool in_len_is_good(const Command *which, uint32_t len)
{
    return which->in == BUFFER_NONE
           ? len == 0
           : len > 0 && len % P2P_BRIDGE_VEC_BYTES == 0 &&
             len / P2P_BRIDGE_VEC_BYTES <= P2P_BRIDGE_MAX_VECTOR_VALUE;
}

static unsigned check_lengths(const Command *which, const uint8_t *command,
                              P2PBridgeCompletion *completion)
{
    uint32_t in_len = get32(command + P2P_BRIDGE_CMD_IN_LEN);
    uint32_t out_len = get32(command + P2P_BRIDGE_CMD_OUT_LEN);

    if (!in_len_is_good(which, in_len)) {
        completion->value = which->in == BUFFER_NONE ? 0
                                                     : P2P_BRIDGE_VEC_BYTES;
        return P2P_BRIDGE_BAD_LENGTH;
    }
    if (which->out == BUFFER_NONE && out_len) {
        return P2P_BRIDGE_BAD_LENGTH;
    }
    if (which->out == BUFFER_LIST && out_len % which->entry) {
        completion->value = which->entry;
        return P2P_BRIDGE_BAD_LENGTH;
    }
    if (which->out == BUFFER_IDENTIFY && out_len < P2P_BRIDGE_IDENTIFY_BYTES) {
        completion->value = P2P_BRIDGE_IDENTIFY_BYTES;
        return P2P_BRIDGE_NO_SPACE;
    }
    return P2P_BRIDGE_OK;
}

unsigned p2p_bridge_execute(P2PBridge *bridge, const uint8_t *command,
                            P2PBridgeCompletion *completion)
{
    const Command *which = find_command(get16(command +
                                              P2P_BRIDGE_CMD_OPCODE));

    if (!which) {
        completion->status = P2P_BRIDGE_BAD_OPCODE;
        return 0;
    }
    completion->status = check_fields(which, command, completion);
    if (completion->status == P2P_BRIDGE_OK) {
        completion->status = check_lengths(which, command, completion);
    }
    if (completion->status != P2P_BRIDGE_OK) {
        return 0;
    }
    completion->status = which->run(bridge, command, completion);
    /* To ask the host for bus addresses takes as long. */
    if (which->slow || (which->opcode == P2P_BRIDGE_OP_TRANSLATE &&
                        get32(command + P2P_BRIDGE_ARG_KIND))) {
        return P2P_BRIDGE_MAX_VECTOR_VALUE;
    }
    return (get32(command + P2P_BRIDGE_CMD_IN_LEN) +
            completion->out_len) / P2P_BRIDGE_VEC_BYTES;
}
