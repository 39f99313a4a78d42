/*
 * What the files of the p2p-bridge share
 *
 *   bridge-regs.c     registers, enable and reset
 *   bridge-ring.c     rings: commands in, completions and events out
 *   bridge-command.c  commands, but translate: decode, check, do
 *   bridge-vector.c   translate
 *   bridge-record.c   guest windows, their revocation, and the status page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_BRIDGE_INTERNAL_H
#define HW_P2P_CORE_BRIDGE_INTERNAL_H

#include <string.h>
#include "hw/p2p/bridge.h"

/*
 * More than this come out of one vector only if its entries cross many windows:
 * the driver gives a shorter one.
 */
#define P2P_BRIDGE_MAX_OUT (2 * P2P_BRIDGE_MAX_VECTOR_VALUE)

/* Too large for a stack; holds nothing from one command to the next. */
typedef struct P2PBridgeScratch {
    uint8_t raw[P2P_BRIDGE_MAX_OUT * P2P_BRIDGE_VEC_BYTES];
    P2PGuestVec in[P2P_BRIDGE_MAX_VECTOR_VALUE];
    P2PBusVec out[P2P_BRIDGE_MAX_OUT];
} P2PBridgeScratch;

typedef struct P2PBridgeCompletion {
    unsigned status;
    uint32_t out_len;
    uint32_t index;
    uint32_t reason;
    uint64_t value;
} P2PBridgeCompletion;

/* --- Little-endian fields ------------------------------------------------ */

static inline uint16_t get16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT16_FROM_LE(value);
}

static inline uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static inline uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static inline void put16(uint8_t *at, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

static inline void put32(uint8_t *at, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

static inline void put64(uint8_t *at, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

/* --- bridge-regs.c ------------------------------------------------------- */

static inline bool p2p_bridge_is_ready(const P2PBridge *bridge)
{
    return bridge->regs.status & P2P_BRIDGE_STATUS_READY;
}

/* What is wrong with the registers that were set; P2P_BRIDGE_ERROR_NONE. */
unsigned p2p_bridge_check_regs(const P2PBridge *bridge);

void p2p_bridge_fail(P2PBridge *bridge, unsigned error);

/* --- bridge-ring.c ------------------------------------------------------- */

/* Begin with empty rings; false: the index block cannot be written. */
bool p2p_bridge_start_rings(P2PBridge *bridge);

/* @vector: P2P_BRIDGE_NO_VECTOR for none */
void p2p_bridge_interrupt(P2PBridge *bridge, uint32_t vector);

/* @event: P2P_BRIDGE_EVENT_BYTES, but for the generation */
void p2p_bridge_post(P2PBridge *bridge, uint8_t *event);

/* --- bridge-command.c ---------------------------------------------------- */

/* Returns what it cost, in entries of vectors. */
unsigned p2p_bridge_execute(P2PBridge *bridge, const uint8_t *command,
                            P2PBridgeCompletion *completion);

/* --- bridge-vector.c ----------------------------------------------------- */

unsigned p2p_bridge_translate(P2PBridge *bridge, const uint8_t *command,
                              P2PBridgeCompletion *completion);

/* --- bridge-record.c ----------------------------------------------------- */

/* Something that the guest can ask for is another one now. */
void p2p_bridge_next_generation(P2PBridge *bridge);

/* These are the commands of the same names. */
unsigned p2p_bridge_share(P2PBridge *bridge, const P2PBridgeRecord *window,
                          P2PBridgeCompletion *completion);
unsigned p2p_bridge_unshare(P2PBridge *bridge, uint32_t number);
unsigned p2p_bridge_attach(P2PBridge *bridge, uint32_t number, uint32_t slot,
                           P2PBridgeCompletion *completion);
unsigned p2p_bridge_detach(P2PBridge *bridge, uint32_t number,
                           P2PBridgeCompletion *completion);
unsigned p2p_bridge_acknowledge(P2PBridge *bridge, uint32_t number);

#endif /* HW_P2P_CORE_BRIDGE_INTERNAL_H */
