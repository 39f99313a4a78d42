/*
 * p2p-bridge: registers, enable and reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bridge-internal.h"

/* Where a register's value is, and whether the guest may write it. */
typedef struct Register {
    void *value;            /* NULL: there is none */
    bool is_64bit;
} Register;

/* Those that may be written while the device is not enabled. */
static Register setting(P2PBridgeRegs *regs, uint64_t offset)
{
    switch (offset) {
    case P2P_BRIDGE_DRIVER_FEATURES:
        return (Register) { &regs->driver_features, true };
    case P2P_BRIDGE_INDEX_BASE:
        return (Register) { &regs->index_base, true };
    case P2P_BRIDGE_COMMAND_BASE:
        return (Register) { &regs->command_base, true };
    case P2P_BRIDGE_COMPLETION_BASE:
        return (Register) { &regs->completion_base, true };
    case P2P_BRIDGE_EVENT_BASE:
        return (Register) { &regs->event_base, true };
    case P2P_BRIDGE_COMMAND_SIZE:
        return (Register) { &regs->command_size, false };
    case P2P_BRIDGE_COMPLETION_SIZE:
        return (Register) { &regs->completion_size, false };
    case P2P_BRIDGE_EVENT_SIZE:
        return (Register) { &regs->event_size, false };
    case P2P_BRIDGE_COMPLETION_VECTOR:
        return (Register) { &regs->completion_vector, false };
    case P2P_BRIDGE_EVENT_VECTOR:
        return (Register) { &regs->event_vector, false };
    }
    return (Register) { NULL, false };
}

/* --- Enable and reset ---------------------------------------------------- */

static bool base_is_good(uint64_t base, uint64_t size)
{
    return base % P2P_BRIDGE_INDEX_ALIGN == 0 && base + size - 1 >= base;
}

static bool size_is_good(uint32_t size)
{
    return size >= 2 && size <= P2P_BRIDGE_RING_MAX_VALUE &&
           (size & (size - 1)) == 0;
}

static bool vector_is_good(uint32_t vector)
{
    return vector < P2P_BRIDGE_VECTORS || vector == P2P_BRIDGE_NO_VECTOR;
}

unsigned p2p_bridge_check_regs(const P2PBridge *bridge)
{
    const P2PBridgeRegs *regs = &bridge->regs;

    if (regs->driver_features & ~bridge->config.features) {
        return P2P_BRIDGE_ERROR_FEATURES;
    }
    if (!size_is_good(regs->command_size) ||
        !size_is_good(regs->completion_size) ||
        (regs->event_size && !size_is_good(regs->event_size))) {
        return P2P_BRIDGE_ERROR_SIZE;
    }
    if (!base_is_good(regs->index_base, P2P_BRIDGE_INDEX_SIZE) ||
        !base_is_good(regs->command_base,
                      regs->command_size * P2P_BRIDGE_COMMAND_BYTES) ||
        !base_is_good(regs->completion_base,
                      regs->completion_size * P2P_BRIDGE_COMPLETION_BYTES) ||
        (regs->event_size &&
         !base_is_good(regs->event_base,
                       regs->event_size * P2P_BRIDGE_EVENT_BYTES))) {
        return P2P_BRIDGE_ERROR_ALIGNMENT;
    }
    if (!vector_is_good(regs->completion_vector) ||
        !vector_is_good(regs->event_vector)) {
        return P2P_BRIDGE_ERROR_VECTOR;
    }
    return P2P_BRIDGE_ERROR_NONE;
}

void p2p_bridge_fail(P2PBridge *bridge, unsigned error)
{
    bool was_ready = p2p_bridge_is_ready(bridge);

    bridge->regs.status = P2P_BRIDGE_STATUS_FAILED;
    bridge->regs.error = error;
    if (was_ready) {
        p2p_bridge_interrupt(bridge, bridge->regs.completion_vector);
        p2p_bridge_interrupt(bridge, bridge->regs.event_vector);
    }
}

static void enable(P2PBridge *bridge)
{
    unsigned error = p2p_bridge_check_regs(bridge);

    bridge->regs.control = P2P_BRIDGE_CONTROL_ENABLE;
    if (!error && !p2p_bridge_start_rings(bridge)) {
        error = P2P_BRIDGE_ERROR_DMA;
    }
    if (error) {
        p2p_bridge_fail(bridge, error);
    } else {
        bridge->regs.status = P2P_BRIDGE_STATUS_READY;
    }
}

static void write_control(P2PBridge *bridge, uint32_t value)
{
    bool enabled = bridge->regs.control & P2P_BRIDGE_CONTROL_ENABLE;

    if (value & P2P_BRIDGE_CONTROL_RESET) {
        p2p_bridge_reset(bridge);
    } else if (!(value & P2P_BRIDGE_CONTROL_ENABLE)) {
        bridge->regs.control = 0;
        bridge->regs.status = 0;
        bridge->regs.error = P2P_BRIDGE_ERROR_NONE;
    } else if (!enabled) {
        enable(bridge);
    }
}

/* --- Access -------------------------------------------------------------- */

static uint64_t read_value(P2PBridge *bridge, uint64_t offset)
{
    Register reg = setting(&bridge->regs, offset);

    if (reg.value) {
        return reg.is_64bit ? *(uint64_t *)reg.value : *(uint32_t *)reg.value;
    }
    switch (offset) {
    case P2P_BRIDGE_MAGIC:
        return P2P_BRIDGE_MAGIC_VALUE;
    case P2P_BRIDGE_VERSION:
        return P2P_BRIDGE_VERSION_VALUE;
    case P2P_BRIDGE_FEATURES:
        return bridge->config.features;
    case P2P_BRIDGE_CONTROL:
        return bridge->regs.control;
    case P2P_BRIDGE_STATUS:
        return bridge->regs.status;
    case P2P_BRIDGE_ERROR:
        return bridge->regs.error;
    case P2P_BRIDGE_RING_MAX:
        return P2P_BRIDGE_RING_MAX_VALUE;
    }
    return 0;
}

static bool is_64bit(P2PBridge *bridge, uint64_t offset)
{
    return offset == P2P_BRIDGE_FEATURES ||
           setting(&bridge->regs, offset).is_64bit;
}

/*
 * The register that an access of @size bytes at @offset is for, or half of
 * which: then @shift is 32 for the upper one.  False: it is for none.
 */
static bool find_register(P2PBridge *bridge, uint64_t *offset, unsigned size,
                          unsigned *shift)
{
    uint64_t below = *offset - 4;

    *shift = 0;
    if ((size != 4 && size != 8) || *offset % 4 ||
        (size == 8 && !is_64bit(bridge, *offset))) {
        return false;
    }
    if (*offset >= 4 && is_64bit(bridge, below)) {
        *offset = below;
        *shift = 32;
    }
    return *shift == 0 || size == 4;
}

uint64_t p2p_bridge_read(P2PBridge *bridge, uint64_t offset, unsigned size)
{
    unsigned shift;
    uint64_t value;

    if (!find_register(bridge, &offset, size, &shift)) {
        return UINT64_MAX;
    }
    value = read_value(bridge, offset) >> shift;
    return size == 4 ? (uint32_t)value : value;
}

void p2p_bridge_write(P2PBridge *bridge, uint64_t offset, uint64_t value,
                      unsigned size)
{
    Register reg;
    unsigned shift;

    if (!find_register(bridge, &offset, size, &shift)) {
        return;
    }
    if (offset == P2P_BRIDGE_CONTROL) {
        write_control(bridge, value);
        return;
    }
    reg = setting(&bridge->regs, offset);
    if (!reg.value || bridge->regs.control & P2P_BRIDGE_CONTROL_ENABLE) {
        return;
    }
    if (!reg.is_64bit) {
        *(uint32_t *)reg.value = value;
    } else if (size == 8) {
        *(uint64_t *)reg.value = value;
    } else {
        uint64_t *whole = reg.value;

        *whole = (*whole & ~((uint64_t)UINT32_MAX << shift)) |
                 (uint64_t)(uint32_t)value << shift;
    }
}
