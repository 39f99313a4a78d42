/*
 * The parts of the random walk; see p2p-walk-test.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_WALK_H
#define P2P_TESTS_WALK_H

#include "qemu/units.h"
#include "bar-model.h"
#include "p2p-state.h"

/* What the last events were is printed. */
#define HISTORY 40

#define PAGE 4096ull
#define RAM  (128 * MiB)

/* The fake IOMMU's last address; see hw/p2p/fake-iommu.c */
#define IOMMU_LAST ((1ull << 39) - 1)

#define DIMMS     2
#define DIMM_SIZE (128 * MiB)
#define DIMM(n)   (4 * GiB + (n) * DIMM_SIZE)

/* --- The machine ------------------------------------------------------- */

/* A group: g0 and g1 are always there, g2 comes and goes. */
#define GROUPS 3
#define NO_GROUP (-1)

typedef struct Share {
    int bar;
    uint64_t offset;
    uint64_t size;
    bool readonly;
} Share;

typedef struct Device {
    ModelDevice model;
    char id[8];
    bool pluggable;         /* it comes and goes, as something else */
    bool fake;              /* p2p-fake-passthrough */
    bool hole;              /* msix-hole=on */
    bool initiate;
    int group;
    GArray *shares;         /* of Share: its windows */
} Device;

#define DEVICES 10
#define PORTS 2             /* bridges */

/* What is remembered of a grant, or of a container, by name. */
typedef struct Memory {
    bool mapped;            /* the window, where */
    uint64_t gpa;
    uint64_t failures;      /* when it was last installed, or moved */
    uint64_t last_failures;
    bool excused;           /* of a device model: a fault hit since */
    uint64_t check;         /* number of the last one that saw it */
} Memory;

typedef struct Walk {
    QTestState *qts;
    StateMonitor *monitor;
    GRand *random;
    Model model;
    ModelBridge bridges[PORTS];
    Device devices[DEVICES];
    bool group_exists[GROUPS];
    bool required[GROUPS];
    bool dimm[DIMMS];

    unsigned number;        /* of the event */
    char *history[HISTORY];

    uint64_t fault_calls;   /* calls, when the injector was armed */
    uint64_t fault_base;    /* and faults */
    uint64_t fail_at;       /* 0: no fault is to come */
    uint64_t count;
    uint64_t delivered;     /* faults so far */
    uint64_t seen;          /* when the last event was checked */
    bool dirty;             /* something may be where it should not */
    uint64_t late;
    uint64_t token;
    GHashTable *memory;     /* "owner bar offset size who" -> Memory */
    uint64_t check;         /* number of the present one */
    uint64_t windows;       /* statistics */
    uint64_t installed;
    uint64_t transfers;
} Walk;

/* --- walk.c: chance, history, windows of the model --------------------- */

uint32_t pick(Walk *w, uint32_t n);
bool chance(Walk *w, uint32_t one_in);

/* What happens, for the history. */
void G_GNUC_PRINTF(2, 3) note(Walk *w, const char *format, ...);

/* The next event. */
void note_next(Walk *w);

void share_add(Device *dev, int bar, uint64_t offset, uint64_t size,
               bool readonly);
void share_around_hole(Device *dev, int bar, uint64_t offset, uint64_t size,
                       bool readonly);
void share_auto(Device *dev);

Device *walk_device(Walk *w, const char *id);

/* One that is there. */
Device *any_device(Walk *w);

/* --- walk-check.c: all that must hold after each event ------------------ */

void check(Walk *w);

/* What the fault injector has done since it was asked last. */
void count_faults(Walk *w);

/* Whatever is not installed now has no excuse. */
void remember_all(Walk *w);

/* --- walk-dma.c: what devices reach ------------------------------------- */

void event_dma(Walk *w);
void event_dma_elsewhere(Walk *w);

/* --- walk-guest.c: what a guest does ------------------------------------ */

void set_up(Walk *w, Device *dev);
void open_bridge(Walk *w, ModelBridge *bridge);
void set_up_all(Walk *w);

void event_move(Walk *w);
void event_half(Walk *w);
void event_size(Walk *w);
void event_set_up(Walk *w);
void event_command(Walk *w);
void event_power(Walk *w);
void event_function_reset(Walk *w);
void event_bus_reset(Walk *w);
void event_bridge(Walk *w);
void event_system_reset(Walk *w);

/* --- walk-user.c: what a user does --------------------------------------- */

void event_hotplug(Walk *w);
void event_share(Walk *w);
void event_unshare(Walk *w);
void event_group(Walk *w);
void event_dimm(Walk *w);

#endif /* P2P_TESTS_WALK_H */
