/*
 * p2p-bridge: what the device does, without the machine around it
 *
 * Concepts
 *   The *guest* writes registers, rings in its memory and commands in them;
 *   all that is believed of it is checked here.  *Records* are the guest's
 *   windows: 64 at most.  What needs the machine (memory, windows, IOMMU) is
 *   done by the P2PBridgeOps of whoever has the bridge.
 *
 * docs/specs/p2p-bridge.rst is what this implements, and bridge-regs.h has its
 * numbers.  One thread at a time uses a bridge.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_BRIDGE_H
#define HW_P2P_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include "hw/p2p/bridge-regs.h"
#include "hw/p2p/map.h"

typedef struct P2PBridgeMember {
    uint32_t rid;
    uint32_t flags;         /* P2P_BRIDGE_MEMBER_* */
    uint32_t windows;
} P2PBridgeMember;

typedef struct P2PBridgeHostWindow {
    uint32_t rid;
    uint8_t bar;
    uint8_t access;         /* P2P_BRIDGE_ACCESS_* */
    uint16_t flags;         /* P2P_BRIDGE_WINDOW_* */
    uint64_t offset;        /* in the BAR, bytes */
    uint64_t size;
    uint64_t gpa;           /* 0 unless decoded */
} P2PBridgeHostWindow;

typedef struct P2PBridgePair {
    uint32_t initiator;     /* RID */
    uint32_t target;
    uint8_t path;           /* P2P_BRIDGE_PATH_* */
    uint8_t map_type;       /* P2P_BRIDGE_MAP_* */
    uint16_t flags;         /* P2P_BRIDGE_PAIR_* */
} P2PBridgePair;

/* What there is in the group. */
typedef struct P2PBridgeInventory {
    GArray *members;        /* of P2PBridgeMember */
    GArray *windows;        /* of P2PBridgeHostWindow */
    GArray *pairs;          /* of P2PBridgePair */
} P2PBridgeInventory;

/*
 * A guest window.  Its target is whoever had the RID when it was shared, which
 * the machine's side keeps by the record's number.
 */
typedef struct P2PBridgeRecord {
    uint32_t number;        /* 0: the record is free */
    uint32_t state;         /* P2P_BRIDGE_STATE_* */
    uint32_t reason;        /* P2P_BRIDGE_REVOKE_*; 0: none */
    uint32_t rid;
    uint32_t bar;
    uint32_t access;        /* P2P_BRIDGE_ACCESS_* */
    uint64_t offset;        /* in the BAR, bytes, multiples of a page */
    uint64_t size;
    uint32_t slot;          /* first one, if attached or being revoked */
    uint32_t generation;    /* of its last change */
    int64_t deadline;       /* being revoked: ms, see p2p_bridge_revoke() */
} P2PBridgeRecord;

/*
 * What the machine does.  A status is P2P_BRIDGE_OK or what the command fails
 * with.  None of them may call back but p2p_bridge_record().
 */
typedef struct P2PBridgeOps {
    /* DMA of the device: guest RAM only. */
    bool (*dma_read)(void *opaque, uint64_t addr, void *buffer, uint32_t len);
    bool (*dma_write)(void *opaque, uint64_t addr, const void *buffer,
                      uint32_t len);
    void (*interrupt)(void *opaque, unsigned vector);

    /* Valid until the next call of the bridge. */
    const P2PBridgeInventory *(*inventory)(void *opaque);

    /* Whether the host shares it; if so, whose window @record is. */
    unsigned (*share)(void *opaque, unsigned record,
                      const P2PBridgeRecord *window);
    /* Forget it; it is not attached. */
    void (*unshare)(void *opaque, unsigned record);
    /* Show it at @offset of the aperture, bytes. */
    unsigned (*attach)(void *opaque, unsigned record, uint64_t offset);
    /* When this returns no device reaches it there. */
    void (*detach)(void *opaque, unsigned record);
    /* Both, for all that there are. */
    void (*clear)(void *opaque);

    /*
     * The map by which the function @rid translates, and its number there;
     * NULL: it is no initiator. Valid until translate_end().
     */
    const P2PMap *(*translate_begin)(void *opaque, uint32_t rid,
                                     unsigned *initiator);
    void (*translate_end)(void *opaque);
    /* Guest physical address; 0, or P2P_BRIDGE_FAULT_*. */
    unsigned (*bar_address)(void *opaque, uint32_t rid, uint32_t bar,
                            uint64_t offset, uint32_t len, uint64_t *gpa);
    /* 0, or the condition (P2P_BRIDGE_BUS_*) that does not hold. */
    unsigned (*bus_address)(void *opaque, uint32_t rid, uint64_t gpa,
                            uint32_t len, uint64_t *bus);
    /* After all of a vector: whether the guest has got what they returned. */
    void (*bus_end)(void *opaque, bool given);
    /* False: one of them is no member. */
    bool (*bus_release)(void *opaque, uint32_t initiator, uint32_t target);
} P2PBridgeOps;

typedef struct P2PBridgeConfig {
    uint64_t features;      /* P2P_BRIDGE_FEATURE_* */
    uint32_t slots;         /* of the aperture */
    uint32_t page_shift;
    uint32_t revoke_ms;
} P2PBridgeConfig;

/* Counts as in the index block. */
typedef struct P2PBridgeRings {
    uint32_t command_head;
    uint32_t completion_tail;
    uint32_t event_tail;
} P2PBridgeRings;

typedef struct P2PBridgeRegs {
    uint64_t driver_features;
    uint32_t control;
    uint32_t status;
    uint32_t error;
    uint64_t index_base;
    uint64_t command_base;
    uint64_t completion_base;
    uint64_t event_base;
    uint32_t command_size;
    uint32_t completion_size;
    uint32_t event_size;
    uint32_t completion_vector;
    uint32_t event_vector;
} P2PBridgeRegs;

/* Fields are for those who save and load a bridge; else for its own code. */
typedef struct P2PBridge {
    const P2PBridgeOps *ops;
    void *opaque;
    P2PBridgeConfig config;
    uint8_t *page;          /* P2P_BRIDGE_PAGE_BYTES, borrowed */
    struct P2PBridgeScratch *scratch;

    /* The state of the device */
    P2PBridgeRegs regs;
    P2PBridgeRings rings;
    uint32_t generation;
    uint32_t events_lost;
    uint32_t last_number;   /* count in window numbers */
    P2PBridgeRecord records[P2P_BRIDGE_MAX_WINDOWS_VALUE];
} P2PBridge;

/*
 * p2p_bridge_init: @ops and @page stay the caller's, and have to live as long
 * as the bridge. p2p_bridge_destroy() calls none of them.
 */
void p2p_bridge_init(P2PBridge *bridge, const P2PBridgeOps *ops, void *opaque,
                     const P2PBridgeConfig *config, uint8_t *page);
void p2p_bridge_destroy(P2PBridge *bridge);

/* As a reset of the function: detaches and unshares all. */
void p2p_bridge_reset(P2PBridge *bridge);

/* @size: 1, 2, 4 or 8; the doorbell is none of this. */
uint64_t p2p_bridge_read(P2PBridge *bridge, uint64_t offset, unsigned size);
void p2p_bridge_write(P2PBridge *bridge, uint64_t offset, uint64_t value,
                      unsigned size);

/*
 * p2p_bridge_run: the doorbell was rung, or the last call has returned true.
 * Executes commands, but not so many that others would have to wait for long;
 * true: there are more.
 */
bool p2p_bridge_run(P2PBridge *bridge);

/* Members, host windows or pairs are not what they were: tell the driver. */
void p2p_bridge_changed(P2PBridge *bridge);

/*
 * p2p_bridge_revoke: the host wants the window of @record back.
 *
 * @now: ms of a clock that stands still while the machine does
 *
 * If it is attached the driver is told, and has until p2p_bridge_deadline().
 * Returns false if nothing is to be waited for.
 */
bool p2p_bridge_revoke(P2PBridge *bridge, unsigned record, int64_t now);

/* p2p_bridge_lose: it has gone, for @reason (P2P_BRIDGE_REVOKE_*). */
void p2p_bridge_lose(P2PBridge *bridge, unsigned record, unsigned reason);

/* The first time at which p2p_bridge_timeout() is to be called; -1: none. */
int64_t p2p_bridge_deadline(const P2PBridge *bridge);
void p2p_bridge_timeout(P2PBridge *bridge, int64_t now);

/* Bus addresses of @target are not to be used by @initiator any more. */
void p2p_bridge_bus_revoked(P2PBridge *bridge, uint32_t initiator,
                            uint32_t target, unsigned reason);

/*
 * p2p_bridge_loaded: the state has come from elsewhere, and nothing of it is
 * believed. Returns NULL, or what is wrong with it.  Calls none of the ops.
 *
 * @now: as of p2p_bridge_revoke()
 */
const char *p2p_bridge_loaded(P2PBridge *bridge, int64_t now);

/*
 * The status page's sequence, which goes on where a state is loaded: a reader
 * must not take part of one page and part of another for one.
 */
uint32_t p2p_bridge_get_sequence(const P2PBridge *bridge);
void p2p_bridge_set_sequence(P2PBridge *bridge, uint32_t sequence);

/* Write the status page anew, which is not part of the state. */
void p2p_bridge_write_page(P2PBridge *bridge);

/* Slots that a window of @size bytes takes. */
static inline uint64_t p2p_bridge_slots(uint64_t size)
{
    return ((size - 1) >> P2P_BRIDGE_SLOT_SHIFT_VALUE) + 1;
}

#endif /* HW_P2P_BRIDGE_H */
