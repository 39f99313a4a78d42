/*
 * What query-p2p tells, and what the fake IOMMU holds, side by side
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_P2P_STATE_H
#define P2P_TESTS_P2P_STATE_H

#include "qobject/qdict.h"
#include "tests/qtest/libqtest.h"

typedef struct StateGrant {
    const char *initiator;
    bool cpu;               /* the initiator is a device model */
    bool installed;
    const char *reason;     /* NULL if installed */
    uint64_t maps;
    uint64_t unmaps;
    uint64_t failures;
    uint64_t stuck;
    int last_errno;         /* 0: none */
} StateGrant;

typedef struct StateWindow {
    const char *group;
    const char *owner;
    bool passthrough;       /* the owner */
    bool initiates;         /* the owner */
    int bar;
    uint64_t offset;
    uint64_t size;
    bool readonly;
    const char *state;
    bool mapped;
    uint64_t gpa;           /* if mapped */
    bool cpu_mappable;
    GArray *grants;         /* of StateGrant */
} StateWindow;

/* What the fake IOMMU of one container holds. */
typedef struct TableEntry {
    uint64_t iova;
    uint64_t size;
    bool readonly;
    char device[32];        /* "-": it has gone */
    int bar;
    uint64_t offset;
} TableEntry;

typedef struct StateTable {
    char user[32];          /* one of its devices */
    GArray *entries;        /* of TableEntry */
} StateTable;

/* What query-p2p calls stuck, without a window. */
typedef struct StateStuck {
    const char *group;
    const char *target;
    int bar;
    uint64_t offset;
    uint64_t size;
    uint64_t gpa;
    int error;              /* errno */
} StateStuck;

/* Strings belong to it. */
typedef struct State {
    QDict *reply;
    GPtrArray *windows;     /* of StateWindow, by owner and place in it */
    GPtrArray *members;     /* ids */
    GPtrArray *tables;      /* of StateTable */
    GArray *stuck;          /* of StateStuck */
    uint64_t calls;         /* to the host, by the fault injector */
    uint64_t late;          /* windows that were there too long */
} State;

/*
 * A monitor of our own: libqtest reads answers byte by byte, and query-p2p's
 * is long.
 */
typedef struct StateMonitor {
    int fd;
    int other;              /* QEMU's end */
    GString *input;
} StateMonitor;

/*
 * state_monitor_new: to be called before QEMU is started.
 *
 * @options: gets what QEMU needs for the monitor, and the fault injector, "f"
 */
StateMonitor *state_monitor_new(GString *options);

/* QEMU has been started. */
void state_monitor_start(StateMonitor *monitor);
void state_monitor_free(StateMonitor *monitor);

/* The answer to a command that succeeds. */
QDict *state_ask(StateMonitor *monitor, const char *command);

State *state_new(StateMonitor *monitor);
void state_free(State *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(State, state_free)

StateWindow *state_window(const State *state, const char *owner, int bar,
                          uint64_t offset);
StateGrant *state_grant(const StateWindow *window, const char *initiator);

/* A passthrough initiator's; they all share the group's container. */
StateGrant *state_passthrough_grant(const StateWindow *window);

/* Of the container that @user is in; NULL: in none. */
const GArray *state_table(const State *state, const char *user);

/*
 * state_check: whether what query-p2p tells of @group agrees with itself and
 * with @table, of the container of its passthrough initiators; NULL: there are
 * none.  Fails the test if it does not.
 *
 * Returns how many entries of the table no window accounts for: what could not
 * be taken out and is no longer shared, and query-p2p tells of as such.
 */
unsigned state_check(const State *state, const char *group,
                     const GArray *table);

/* Bytes that could not be taken out. */
uint64_t state_stuck(const State *state);

/* A number that is a property. */
uint64_t qom_get_uint(QTestState *qts, const char *path, const char *name);
void qom_set_uint(QTestState *qts, const char *path, const char *name,
                  uint64_t value);

#endif /* P2P_TESTS_P2P_STATE_H */
