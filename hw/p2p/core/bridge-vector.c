/*
 * p2p-bridge: translate, from the guest's vector to one that it can use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include "bridge-internal.h"

#define IN_FLAGS (P2P_BRIDGE_VEC_READ | P2P_BRIDGE_VEC_WRITE | \
                  P2P_BRIDGE_VEC_NO_MERGE | P2P_BRIDGE_VEC_MUST_BE_IO | \
                  P2P_BRIDGE_VEC_MUST_BE_RAM)

/* The flags of the interface are those of the vectors. */
G_STATIC_ASSERT(IN_FLAGS == P2P_VEC_IN_MASK);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_READ == P2P_VEC_READ);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_MUST_BE_RAM == P2P_VEC_MUST_BE_RAM);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_RAM == P2P_VEC_RAM);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_IO == P2P_VEC_IO);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_SELF == P2P_VEC_SELF);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_MAP_SHIFT == P2P_VEC_MAP_SHIFT);
G_STATIC_ASSERT(P2P_BRIDGE_VEC_MAP_MASK == P2P_VEC_MAP_MASK);
G_STATIC_ASSERT((int)P2P_BRIDGE_MAP_CPU == (int)P2P_MAP_CPU);
G_STATIC_ASSERT((int)P2P_BRIDGE_MAP_BUS_ADDR == (int)P2P_MAP_BUS_ADDR);

static const uint8_t fault_codes[P2P_FAULT__MAX] = {
    [P2P_FAULT_UNMAPPED] = P2P_BRIDGE_FAULT_UNMAPPED,
    [P2P_FAULT_NOT_GRANTED] = P2P_BRIDGE_FAULT_NOT_GRANTED,
    [P2P_FAULT_READ_DENIED] = P2P_BRIDGE_FAULT_READ_DENIED,
    [P2P_FAULT_WRITE_DENIED] = P2P_BRIDGE_FAULT_WRITE_DENIED,
    [P2P_FAULT_REVOKED] = P2P_BRIDGE_FAULT_REVOKED,
    [P2P_FAULT_ZERO_LENGTH] = P2P_BRIDGE_FAULT_ZERO_LENGTH,
    [P2P_FAULT_WRAPS] = P2P_BRIDGE_FAULT_WRAPS,
    [P2P_FAULT_BAD_FLAGS] = P2P_BRIDGE_FAULT_BAD_FLAGS,
    [P2P_FAULT_WRONG_KIND] = P2P_BRIDGE_FAULT_WRONG_KIND,
};

static unsigned fault(P2PBridgeCompletion *completion, size_t index,
                      unsigned reason, uint64_t value)
{
    completion->index = index;
    completion->reason = reason;
    completion->value = value;
    return P2P_BRIDGE_FAULT;
}

/* --- In ------------------------------------------------------------------ */

static unsigned decode_by_bar(P2PBridge *bridge, const uint8_t *raw,
                              P2PGuestVec *entry)
{
    uint64_t offset = entry->addr.gpa;

    if (!entry->len) {
        return P2P_BRIDGE_FAULT_ZERO_LENGTH;
    }
    return bridge->ops->bar_address(bridge->opaque,
                                    get32(raw + P2P_BRIDGE_VEC_RID),
                                    get32(raw + P2P_BRIDGE_VEC_BAR), offset,
                                    entry->len, &entry->addr.gpa);
}

/* Returns 0, or a reason. */
static unsigned decode(P2PBridge *bridge, const uint8_t *raw,
                       P2PGuestVec *entry)
{
    uint32_t flags = get32(raw + P2P_BRIDGE_VEC_FLAGS);

    *entry = (P2PGuestVec) {
        .addr.gpa = get64(raw + P2P_BRIDGE_VEC_ADDR),
        .len = get32(raw + P2P_BRIDGE_VEC_LEN),
        .flags = flags & ~P2P_BRIDGE_VEC_BY_BAR,
    };
    if (flags & ~(IN_FLAGS | P2P_BRIDGE_VEC_BY_BAR) ||
        get64(raw + P2P_BRIDGE_VEC_GENERATION)) {
        return P2P_BRIDGE_FAULT_BAD_FLAGS;
    }
    if (flags & P2P_BRIDGE_VEC_BY_BAR) {
        return decode_by_bar(bridge, raw, entry);
    }
    return get64(raw + P2P_BRIDGE_VEC_RID) ? P2P_BRIDGE_FAULT_BAD_FLAGS : 0;
}

/*
 * Entries read, of which there is one at least; 0: @completion tells.
 *
 * @more: flags of the vector's entries besides the guest's
 */
static size_t read_in(P2PBridge *bridge, const uint8_t *command,
                      uint32_t more, P2PBridgeCompletion *completion)
{
    P2PBridgeScratch *scratch = bridge->scratch;
    uint64_t addr = get64(command + P2P_BRIDGE_CMD_IN_ADDR);
    uint32_t len = get32(command + P2P_BRIDGE_CMD_IN_LEN);
    size_t n = len / P2P_BRIDGE_VEC_BYTES;

    if (!bridge->ops->dma_read(bridge->opaque, addr, scratch->raw, len)) {
        completion->status = P2P_BRIDGE_DMA_ERROR;
        completion->value = addr;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *raw = scratch->raw + i * P2P_BRIDGE_VEC_BYTES;
        unsigned reason = decode(bridge, raw, &scratch->in[i]);

        if (reason) {
            completion->status = fault(completion, i, reason,
                                       get64(raw + P2P_BRIDGE_VEC_ADDR));
            return 0;
        }
        scratch->in[i].flags |= more;
    }
    return n;
}

/* --- Out ----------------------------------------------------------------- */

/* The address of the BAR on the host's bus, in place of the guest's. */
static unsigned make_bus(P2PBridge *bridge, uint32_t initiator,
                         P2PBusVec *entry)
{
    uint64_t gpa = entry->addr.bus;

    if (entry->flags & P2P_VEC_RAM) {
        return P2P_BRIDGE_BUS_RAM;
    }
    return bridge->ops->bus_address(bridge->opaque, initiator, gpa,
                                    entry->len, &entry->addr.bus);
}

/*
 * The entry of the guest's vector that output @i begins in: what was split and
 * joined is still as many bytes, in their order.
 */
static size_t input_of(const P2PBridgeScratch *scratch, size_t i)
{
    uint64_t before = 0;
    size_t index = 0;

    for (size_t j = 0; j < i; j++) {
        before += scratch->out[j].len;
    }
    while (before >= scratch->in[index].len) {
        before -= scratch->in[index++].len;
    }
    return index;
}

static unsigned make_all_bus(P2PBridge *bridge, const uint8_t *command,
                             size_t m, P2PBridgeCompletion *completion)
{
    uint32_t initiator = get32(command + P2P_BRIDGE_ARG_INITIATOR);

    for (size_t i = 0; i < m; i++) {
        unsigned reason = make_bus(bridge, initiator,
                                   &bridge->scratch->out[i]);

        if (reason) {
            completion->index = input_of(bridge->scratch, i);
            completion->reason = reason;
            return P2P_BRIDGE_BUS_REFUSED;
        }
    }
    return P2P_BRIDGE_OK;
}

static void encode(P2PBridge *bridge, size_t n, bool bus)
{
    uint32_t kind = bus ? P2P_BRIDGE_VEC_BUS : P2P_BRIDGE_VEC_REVOCABLE;
    uint8_t *raw = bridge->scratch->raw;

    memset(raw, 0, n * P2P_BRIDGE_VEC_BYTES);
    for (size_t i = 0; i < n; i++, raw += P2P_BRIDGE_VEC_BYTES) {
        const P2PBusVec *entry = &bridge->scratch->out[i];

        put64(raw + P2P_BRIDGE_VEC_ADDR, entry->addr.bus);
        put32(raw + P2P_BRIDGE_VEC_LEN, entry->len);
        put32(raw + P2P_BRIDGE_VEC_FLAGS, entry->flags | kind);
        put32(raw + P2P_BRIDGE_VEC_GENERATION, bridge->generation);
    }
}

static unsigned translate(P2PBridge *bridge, const uint8_t *command,
                          size_t n, size_t *m,
                          P2PBridgeCompletion *completion)
{
    P2PBridgeScratch *scratch = bridge->scratch;
    size_t room = get32(command + P2P_BRIDGE_CMD_OUT_LEN) /
                  P2P_BRIDGE_VEC_BYTES;
    P2PFault where = { 0 };
    const P2PMap *map;
    unsigned initiator;
    int ret;

    map = bridge->ops->translate_begin(
        bridge->opaque, get32(command + P2P_BRIDGE_ARG_INITIATOR), &initiator);
    if (!map) {
        return P2P_BRIDGE_NO_MEMBER;
    }
    *m = MIN(room, P2P_BRIDGE_MAX_OUT);
    ret = p2p_translate(map, initiator, scratch->in, n, scratch->out, m,
                        &where);
    bridge->ops->translate_end(bridge->opaque);
    if (ret == -ENOSPC) {
        completion->value = *m * (uint64_t)P2P_BRIDGE_VEC_BYTES;
        return P2P_BRIDGE_NO_SPACE;
    }
    return ret ? fault(completion, where.index, fault_codes[where.reason],
                       where.addr.gpa) : P2P_BRIDGE_OK;
}

/* What is one range for the guest need not be one on the bus. */
static unsigned translate_and_write(P2PBridge *bridge, const uint8_t *command,
                                    bool bus, P2PBridgeCompletion *completion)
{
    uint64_t out = get64(command + P2P_BRIDGE_CMD_OUT_ADDR);
    size_t n = read_in(bridge, command, bus ? P2P_VEC_NO_MERGE : 0,
                       completion);
    size_t m;
    unsigned status;

    if (!n) {
        return completion->status;
    }
    status = translate(bridge, command, n, &m, completion);
    if (status == P2P_BRIDGE_OK && bus) {
        status = make_all_bus(bridge, command, m, completion);
    }
    if (status != P2P_BRIDGE_OK) {
        return status;
    }
    encode(bridge, m, bus);
    if (!bridge->ops->dma_write(bridge->opaque, out, bridge->scratch->raw,
                                m * P2P_BRIDGE_VEC_BYTES)) {
        completion->value = out;
        return P2P_BRIDGE_DMA_ERROR;
    }
    completion->out_len = m * P2P_BRIDGE_VEC_BYTES;
    return P2P_BRIDGE_OK;
}

unsigned p2p_bridge_translate(P2PBridge *bridge, const uint8_t *command,
                              P2PBridgeCompletion *completion)
{
    uint32_t kind = get32(command + P2P_BRIDGE_ARG_KIND);
    bool bus = kind == P2P_BRIDGE_KIND_BUS;
    unsigned status;

    if (kind > P2P_BRIDGE_KIND_BUS ||
        (bus && !(bridge->regs.driver_features &
                  P2P_BRIDGE_FEATURE_BUS_ADDRESS))) {
        completion->reason = P2P_BRIDGE_ARG_KIND;
        return P2P_BRIDGE_BAD_FIELD;
    }
    status = translate_and_write(bridge, command, bus, completion);
    if (bus) {
        bridge->ops->bus_end(bridge->opaque, status == P2P_BRIDGE_OK);
    }
    return status;
}
