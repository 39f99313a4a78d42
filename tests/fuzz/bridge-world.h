/*
 * A guest's memory and a machine for the core of the p2p-bridge
 *
 * All that the bridge asks for is checked against what it is allowed to do:
 * which memory it reads and writes and how often, in which order commands end,
 * which windows it attaches where.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BRIDGE_WORLD_H
#define P2P_TESTS_BRIDGE_WORLD_H

#include "hw/p2p/bridge.h"

#define WORLD_RECORDS P2P_BRIDGE_MAX_WINDOWS_VALUE

/* Guest RAM: from 0 on, and up to 2^64; there is nothing between. */
#define WORLD_RAM     0x80000u
#define WORLD_TOP     0x10000u

/* Where a well-meant driver has things. */
#define WORLD_INDEX       0x01000u
#define WORLD_COMMANDS    0x10000u
#define WORLD_COMPLETIONS 0x20000u
#define WORLD_EVENTS      0x28000u
#define WORLD_INPUT       0x30000u
#define WORLD_OUTPUT      0x50000u

#define WORLD_MEMBERS 4
#define WORLD_RID(n)  (0x20u + 8 * (n))
#define WORLD_SLOTS   16u
#define WORLD_PAGE    4096u
#define WORLD_REVOKE_MS 1000

/* Where GPAs of WORLD_BAR_SIZE bytes of member n's BAR 2 are. */
#define WORLD_BAR(n)   (0x100000000ull + (n) * 0x10000000ull)
#define WORLD_BAR_SIZE 0x1000000ull

/* What the machine has of a guest window. */
typedef struct WorldWindow {
    bool shared;
    bool attached;
    uint64_t offset;            /* in the aperture */
    uint64_t size;
} WorldWindow;

typedef struct World {
    P2PBridge bridge;
    uint8_t page[P2P_BRIDGE_PAGE_BYTES];
    WorldWindow windows[WORLD_RECORDS];
    int64_t now;

    /* How the machine behaves: the script's business. */
    bool no_dma;                /* bus mastering is off */
    unsigned refusal;           /* status of the next share or attach, or 0 */
    unsigned races;             /* reads that the guest writes over, still */

    /* What the bridge is at. */
    bool enabling;              /* may use rings before it is ready */
    bool no_calls;              /* none of the ops may be called */
    bool loaded;                /* its state has come from the script */
    bool translating;
    bool bus_asked;             /* for a bus address, and not come to an end */
    bool bus_given;             /* by this command */
    bool in_command;
    uint8_t command[P2P_BRIDGE_COMMAND_BYTES];
    unsigned inputs;            /* times that its input was read */
    uint32_t generation;        /* when the command began */
    P2PBridgeRecord records[WORLD_RECORDS];     /* the same */
    uint32_t tail;              /* completions that were looked at */
    uint64_t written;           /* address of the last write */
    uint8_t completion[P2P_BRIDGE_COMPLETION_BYTES];    /* that write */
    uint32_t written_len;

    unsigned entries;           /* of vectors, and commands of this script */
} World;

/* What all scripts have done. */
extern uint64_t world_commands;
extern uint64_t world_statuses[P2P_BRIDGE_BUS_REFUSED + 1];

World *world_new(void);
void world_free(World *world);

/* NULL: not all of it is RAM. */
uint8_t *world_ram(uint64_t addr, uint64_t len);

/* The index block's count at @offset as it is now; 0: no RAM there */
uint32_t world_count(World *world, unsigned offset);
void world_set_count(World *world, unsigned offset, uint32_t value);

/* Guest and host do something; then all is checked. */
void world_write(World *world, uint64_t offset, uint64_t value, unsigned size);
bool world_run(World *world);
void world_revoke(World *world, unsigned record);
void world_lose(World *world, unsigned record, unsigned reason);
void world_changed(World *world);
void world_time(World *world, int64_t ms);

/*
 * The bridge moves to another machine.  @at, @value: bytes that are others on
 * arrival, @n of them
 */
void world_move(World *world, const uint16_t *at, const uint8_t *value,
                unsigned n);

#endif /* P2P_TESTS_BRIDGE_WORLD_H */
