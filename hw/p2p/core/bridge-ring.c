/*
 * p2p-bridge: rings
 *
 * A ring is in memory that the guest may write at any time.  Counts of the
 * device are kept here and only written there; those of the driver are read
 * once in a round and checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bridge-internal.h"

/* What is done before others get their turn. */
#define BUDGET_COMMANDS 64
#define BUDGET_ENTRIES  P2P_BRIDGE_MAX_VECTOR_VALUE

typedef struct DriverCounts {
    uint32_t command_tail;
    uint32_t completion_head;
    uint32_t event_head;
} DriverCounts;

static bool dma_read(P2PBridge *bridge, uint64_t addr, void *buffer,
                     uint32_t len)
{
    return bridge->ops->dma_read(bridge->opaque, addr, buffer, len);
}

static bool dma_write(P2PBridge *bridge, uint64_t addr, const void *buffer,
                      uint32_t len)
{
    return bridge->ops->dma_write(bridge->opaque, addr, buffer, len);
}

void p2p_bridge_interrupt(P2PBridge *bridge, uint32_t vector)
{
    if (vector != P2P_BRIDGE_NO_VECTOR) {
        bridge->ops->interrupt(bridge->opaque, vector);
    }
}

/* Those of the device are one behind the other. */
static bool write_counts(P2PBridge *bridge)
{
    uint8_t counts[12];

    put32(counts, bridge->rings.command_head);
    put32(counts + 4, bridge->rings.completion_tail);
    put32(counts + 8, bridge->rings.event_tail);
    return dma_write(bridge, bridge->regs.index_base + P2P_BRIDGE_COMMAND_HEAD,
                     counts, sizeof(counts));
}

/* Fails the device if they cannot be read, or cannot be right. */
static bool read_counts(P2PBridge *bridge, DriverCounts *counts)
{
    const P2PBridgeRegs *regs = &bridge->regs;
    const P2PBridgeRings *rings = &bridge->rings;
    uint8_t raw[12];

    if (!dma_read(bridge, regs->index_base, raw, sizeof(raw))) {
        p2p_bridge_fail(bridge, P2P_BRIDGE_ERROR_DMA);
        return false;
    }
    counts->command_tail = get32(raw + P2P_BRIDGE_COMMAND_TAIL);
    counts->completion_head = get32(raw + P2P_BRIDGE_COMPLETION_HEAD);
    counts->event_head = get32(raw + P2P_BRIDGE_EVENT_HEAD);
    if (counts->command_tail - rings->command_head > regs->command_size ||
        rings->completion_tail - counts->completion_head >
            regs->completion_size ||
        rings->event_tail - counts->event_head > regs->event_size) {
        p2p_bridge_fail(bridge, P2P_BRIDGE_ERROR_INDEX);
        return false;
    }
    return true;
}

bool p2p_bridge_start_rings(P2PBridge *bridge)
{
    uint8_t raw[P2P_BRIDGE_INDEX_SIZE];

    bridge->rings = (P2PBridgeRings) { 0 };
    return dma_read(bridge, bridge->regs.index_base, raw, sizeof(raw)) &&
           write_counts(bridge);
}

/* --- Commands and completions -------------------------------------------- */

static bool complete(P2PBridge *bridge, uint16_t id,
                     const P2PBridgeCompletion *completion)
{
    uint32_t at = bridge->rings.completion_tail &
                  (bridge->regs.completion_size - 1);
    uint8_t raw[P2P_BRIDGE_COMPLETION_BYTES] = { 0 };

    put16(raw + P2P_BRIDGE_CPL_ID, id);
    put16(raw + P2P_BRIDGE_CPL_STATUS, completion->status);
    put32(raw + P2P_BRIDGE_CPL_OUT_LEN, completion->out_len);
    put32(raw + P2P_BRIDGE_CPL_INDEX, completion->index);
    put32(raw + P2P_BRIDGE_CPL_REASON, completion->reason);
    put64(raw + P2P_BRIDGE_CPL_VALUE, completion->value);
    put32(raw + P2P_BRIDGE_CPL_GENERATION, bridge->generation);
    if (!dma_write(bridge, bridge->regs.completion_base +
                           at * P2P_BRIDGE_COMPLETION_BYTES, raw,
                   sizeof(raw))) {
        return false;
    }
    bridge->rings.completion_tail++;
    return true;
}

/* The next command; false: a ring is not there. */
static bool run_one(P2PBridge *bridge, unsigned *entries)
{
    uint32_t at = bridge->rings.command_head &
                  (bridge->regs.command_size - 1);
    P2PBridgeCompletion completion = { 0 };
    uint8_t command[P2P_BRIDGE_COMMAND_BYTES];

    if (!dma_read(bridge, bridge->regs.command_base +
                          at * P2P_BRIDGE_COMMAND_BYTES, command,
                  sizeof(command))) {
        return false;
    }
    bridge->rings.command_head++;
    *entries += p2p_bridge_execute(bridge, command, &completion);
    /* It may have posted an event, to a ring that is not there. */
    if (!p2p_bridge_is_ready(bridge)) {
        return false;
    }
    return complete(bridge, get16(command + P2P_BRIDGE_CMD_ID), &completion);
}

bool p2p_bridge_run(P2PBridge *bridge)
{
    P2PBridgeRings *rings = &bridge->rings;
    unsigned commands = 0, entries = 0;
    DriverCounts counts;
    bool good = true;

    if (!p2p_bridge_is_ready(bridge) || !read_counts(bridge, &counts)) {
        return false;
    }
    /* A command may post an event, which may fail the device. */
    while (good && p2p_bridge_is_ready(bridge) &&
           rings->command_head != counts.command_tail &&
           rings->completion_tail - counts.completion_head <
               bridge->regs.completion_size) {
        if (commands == BUDGET_COMMANDS || entries >= BUDGET_ENTRIES) {
            break;
        }
        good = run_one(bridge, &entries);
        commands++;
    }
    if (!commands || !p2p_bridge_is_ready(bridge)) {
        return false;
    }
    if (!good || !write_counts(bridge)) {
        p2p_bridge_fail(bridge, P2P_BRIDGE_ERROR_DMA);
        return false;
    }
    p2p_bridge_interrupt(bridge, bridge->regs.completion_vector);
    return rings->command_head != counts.command_tail &&
           rings->completion_tail - counts.completion_head <
               bridge->regs.completion_size;
}

/* --- Events -------------------------------------------------------------- */

/* False: there is no room, or the device has failed. */
static bool write_event(P2PBridge *bridge, const uint8_t *event)
{
    uint32_t at = bridge->rings.event_tail & (bridge->regs.event_size - 1);
    DriverCounts counts;

    if (!read_counts(bridge, &counts) ||
        bridge->rings.event_tail - counts.event_head ==
            bridge->regs.event_size) {
        return false;
    }
    if (!dma_write(bridge, bridge->regs.event_base +
                           at * P2P_BRIDGE_EVENT_BYTES, event,
                   P2P_BRIDGE_EVENT_BYTES)) {
        p2p_bridge_fail(bridge, P2P_BRIDGE_ERROR_DMA);
        return false;
    }
    bridge->rings.event_tail++;
    if (!write_counts(bridge)) {
        p2p_bridge_fail(bridge, P2P_BRIDGE_ERROR_DMA);
        return false;
    }
    return true;
}

void p2p_bridge_post(P2PBridge *bridge, uint8_t *event)
{
    put32(event + P2P_BRIDGE_EVT_GENERATION, bridge->generation);
    if (p2p_bridge_is_ready(bridge) && bridge->regs.event_size &&
        write_event(bridge, event)) {
        p2p_bridge_interrupt(bridge, bridge->regs.event_vector);
    } else if (bridge->regs.control) {
        bridge->events_lost++;
        p2p_bridge_write_page(bridge);
    }
}
