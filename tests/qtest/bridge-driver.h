/*
 * A driver of the p2p-bridge, for tests
 *
 * Written from docs/specs/p2p-bridge.rst.  It asserts what a device owes to any
 * driver (counts within their bounds, completions in the order of the commands,
 * reserved fields 0, a status page that agrees with itself) and leaves the rest
 * to the test, which may also do what no driver should.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BRIDGE_DRIVER_H
#define P2P_TESTS_BRIDGE_DRIVER_H

#include "hw/p2p/bridge-regs.h"
#include "guest-pci.h"

/* Bytes of guest RAM that a driver uses, from Bridge::memory on. */
#define BRIDGE_MEMORY 0x100000

/* What is there, at its usual place; tests may put it elsewhere. */
#define BRIDGE_INDEX       0x00000
#define BRIDGE_COMMANDS    0x10000      /* 1024 * 64 bytes */
#define BRIDGE_COMPLETIONS 0x20000      /* 1024 * 32 bytes */
#define BRIDGE_EVENTS      0x30000      /* the same */
#define BRIDGE_INPUT       0x40000      /* 4096 * 32 bytes, and more */
#define BRIDGE_OUTPUT      0x80000      /* the same */
#define BRIDGE_BUFFER      0x40000      /* size of each of these two */

/* Entries of rings that bridge_start() sets up. */
#define BRIDGE_ENTRIES 64

#define BRIDGE_SLOT (UINT64_C(1) << P2P_BRIDGE_SLOT_SHIFT_VALUE)

typedef struct Bridge {
    QTestState *qts;            /* not owned */
    GuestPci pci;
    uint64_t registers;         /* GPA of the BARs */
    uint64_t msix;
    uint64_t page;
    uint64_t aperture;
    uint64_t memory;            /* GPA of BRIDGE_MEMORY bytes of guest RAM */

    /* What the registers have, once bridge_enable() was called */
    uint64_t index;
    uint64_t commands;
    uint64_t completions;
    uint64_t events;
    uint32_t n_commands;        /* entries */
    uint32_t n_completions;
    uint32_t n_events;

    uint32_t given;             /* commands given: the count, with overflow */
    uint32_t taken;             /* completions taken */
    uint32_t events_taken;
    uint16_t next_id;           /* of a command that has none */
    uint16_t ids[P2P_BRIDGE_RING_MAX_VALUE]; /* of what is given, by count */
} Bridge;

typedef struct BridgeCommand {
    uint16_t opcode;
    uint16_t id;                /* filled in by bridge_give() */
    uint32_t flags;
    uint64_t in_addr;
    uint64_t out_addr;
    uint32_t in_len;
    uint32_t out_len;
    uint8_t args[32];
} BridgeCommand;

typedef struct BridgeCompletion {
    uint16_t id;
    uint16_t status;
    uint32_t out_len;
    uint32_t index;
    uint32_t reason;
    uint64_t value;
    uint32_t generation;
} BridgeCompletion;

typedef struct BridgeEvent {
    uint16_t type;
    uint16_t reason;
    uint32_t generation;
    uint32_t window;
    uint32_t slot;
    uint32_t rid;
    uint32_t target;
} BridgeEvent;

typedef struct BridgeIdentity {
    uint32_t generation;
    uint32_t members;
    uint32_t windows;
    uint32_t pairs;
    uint32_t max_windows;
    uint32_t max_vector;
    uint32_t slots;
    uint32_t slot_shift;
    uint32_t page_shift;
    uint32_t revoke_ms;
} BridgeIdentity;

typedef struct BridgeMember {
    uint32_t rid;
    uint32_t flags;
    uint32_t windows;
} BridgeMember;

typedef struct BridgeWindow {
    uint32_t rid;
    uint8_t bar;
    uint8_t access;
    uint16_t flags;
    uint64_t offset;
    uint64_t size;
    uint64_t gpa;
} BridgeWindow;

typedef struct BridgePair {
    uint32_t initiator;
    uint32_t target;
    uint8_t path;
    uint8_t map_type;
    uint16_t flags;
} BridgePair;

typedef struct BridgeVec {
    uint64_t addr;
    uint32_t len;
    uint32_t flags;
    uint32_t rid;
    uint32_t bar;
    uint32_t generation;
    uint32_t reserved;
} BridgeVec;

typedef struct BridgeRecord {
    uint32_t window;
    uint32_t state;
    uint32_t slot;
    uint32_t reason;
    uint64_t size;
    uint32_t rid;
    uint32_t generation;
} BridgeRecord;

typedef struct BridgePage {
    uint32_t sequence;
    uint32_t generation;
    uint32_t events_lost;
    uint64_t pending;
    BridgeRecord records[P2P_BRIDGE_MAX_WINDOWS_VALUE];
} BridgePage;

/* --- The function ------------------------------------------------------ */

/*
 * bridge_probe: find the device at @devfn of the root bus, give its BARs their
 * addresses, and turn memory decode and bus mastering on.
 *
 * @bars: GPA of a MiB below 4 GiB for the small BARs
 * @aperture: GPA for BAR 4, a multiple of its size
 * @memory: GPA of BRIDGE_MEMORY bytes of guest RAM
 */
void bridge_probe(Bridge *b, QTestState *qts, uint8_t devfn, uint64_t bars,
                  uint64_t aperture, uint64_t memory);

/* bridge_place: the BARs only, again, after a reset of the machine. */
void bridge_place(Bridge *b);

/* --- Registers --------------------------------------------------------- */

uint32_t bridge_get(Bridge *b, unsigned offset);
void bridge_set(Bridge *b, unsigned offset, uint32_t value);
uint64_t bridge_get64(Bridge *b, unsigned offset);
void bridge_set64(Bridge *b, unsigned offset, uint64_t value);

/*
 * bridge_rings: set the registers for rings of these sizes at their usual
 * places in memory, without enabling the device.
 */
void bridge_rings(Bridge *b, uint32_t commands, uint32_t completions,
                  uint32_t events);

/*
 * bridge_enable: clear the index block, and enable.  Returns the error, 0 if
 * the device is ready.
 */
uint32_t bridge_enable(Bridge *b);
void bridge_disable(Bridge *b);
void bridge_reset(Bridge *b);

/* bridge_start: rings of BRIDGE_ENTRIES, without interrupts; must succeed. */
void bridge_start(Bridge *b);

/* bridge_wait_failed: until the device has failed; returns the error. */
uint32_t bridge_wait_failed(Bridge *b);

/* --- Rings ------------------------------------------------------------- */

/* bridge_count: P2P_BRIDGE_COMMAND_TAIL etc. as it stands in memory */
uint32_t bridge_count(Bridge *b, unsigned offset);

/*
 * bridge_write_command: an entry of the command ring, no more.  @id of
 * the command goes there as it is.
 */
void bridge_write_command(Bridge *b, uint32_t entry, const BridgeCommand *c);

/*
 * bridge_give: write a command to the ring and the tail to the index block, but
 * do not ring the doorbell.  Returns the id that it got.
 */
uint16_t bridge_give(Bridge *b, const BridgeCommand *c);
void bridge_doorbell(Bridge *b);

/* bridge_poll: take a completion if there is one. */
bool bridge_poll(Bridge *b, BridgeCompletion *c);

/* bridge_wait: take the next completion; fails the test if none comes. */
BridgeCompletion bridge_wait(Bridge *b);

/*
 * bridge_settle: until the device has done what the doorbell and events so far
 * ask for, as far as a driver can tell: nothing more comes.
 */
void bridge_settle(Bridge *b);

/* bridge_run: give one command, ring, wait for its completion. */
BridgeCompletion bridge_run(Bridge *b, const BridgeCommand *c);

/* bridge_poll_event: take an event if there is one. */
bool bridge_poll_event(Bridge *b, BridgeEvent *e);
BridgeEvent bridge_wait_event(Bridge *b);

/*
 * bridge_wait_event_of: the next event of this type; the ones before it are
 * dropped, and must be of type "changed".
 */
BridgeEvent bridge_wait_event_of(Bridge *b, uint16_t type);

/* bridge_drop_events: take all that are there; returns how many. */
unsigned bridge_drop_events(Bridge *b);

/* --- Status page ------------------------------------------------------- */

/* bridge_page: read it, and check that it agrees with itself. */
void bridge_page(Bridge *b, BridgePage *page);

/* bridge_record: the one of a window; its number must stand there. */
BridgeRecord bridge_record(Bridge *b, uint32_t window);

/* bridge_state: P2P_BRIDGE_STATE_* of a window. */
uint32_t bridge_state(Bridge *b, uint32_t window);

/* --- Commands ---------------------------------------------------------- */

/*
 * Those that return a BridgeCompletion may fail.  Output goes to the memory's
 * BRIDGE_OUTPUT.
 */

BridgeCommand bridge_cmd(uint16_t opcode);
void bridge_arg32(BridgeCommand *c, unsigned offset, uint32_t value);
void bridge_arg64(BridgeCommand *c, unsigned offset, uint64_t value);

BridgeIdentity bridge_identify(Bridge *b);

/*
 * bridge_members etc.: up to @n of them from @first on.  Returns how many were
 * written; *@all, if not NULL: how many there are.
 */
unsigned bridge_members(Bridge *b, uint32_t first, BridgeMember *list,
                        unsigned n, uint32_t *all);
unsigned bridge_windows(Bridge *b, uint32_t first, BridgeWindow *list,
                        unsigned n, uint32_t *all);
unsigned bridge_pairs(Bridge *b, uint32_t first, BridgePair *list,
                      unsigned n, uint32_t *all);

BridgeCommand bridge_share_cmd(uint32_t rid, uint32_t bar, uint64_t offset,
                               uint64_t size, uint32_t access);
BridgeCompletion bridge_share(Bridge *b, uint32_t rid, uint32_t bar,
                              uint64_t offset, uint64_t size,
                              uint32_t access);
BridgeCommand bridge_window_cmd(uint16_t opcode, uint32_t window);
BridgeCompletion bridge_unshare(Bridge *b, uint32_t window);
BridgeCommand bridge_attach_cmd(uint32_t window, uint32_t slot);
BridgeCompletion bridge_attach(Bridge *b, uint32_t window, uint32_t slot);
BridgeCompletion bridge_detach(Bridge *b, uint32_t window);
BridgeCompletion bridge_acknowledge(Bridge *b, uint32_t window);

/*
 * bridge_translate: of kind P2P_BRIDGE_KIND_*, with room for @m entries of
 * @out, which may be 0.
 */
BridgeCompletion bridge_translate(Bridge *b, uint32_t rid, uint32_t kind,
                                  const BridgeVec *in, unsigned n,
                                  BridgeVec *out, unsigned m);
BridgeCompletion bridge_bus_release(Bridge *b, uint32_t initiator,
                                    uint32_t target);

/*
 * bridge_expect: fails the test unless the command has ended in this status;
 * returns the completion's value.
 */
#define bridge_expect(completion, status)                               \
    bridge_expect_at(completion, status, __FILE__, __LINE__)
uint64_t bridge_expect_at(BridgeCompletion completion, uint16_t status,
                          const char *file, unsigned line);

/* bridge_ok: fails the test unless it is done. */
#define bridge_ok(completion)                                           \
    bridge_expect(completion, P2P_BRIDGE_OK)

#endif /* P2P_TESTS_BRIDGE_DRIVER_H */
