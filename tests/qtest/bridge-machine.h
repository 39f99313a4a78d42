/*
 * A machine with a p2p-bridge, and p2p-testdevs as targets and initiators
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BRIDGE_MACHINE_H
#define P2P_TESTS_BRIDGE_MACHINE_H

#include "qemu/units.h"
#include "bridge-driver.h"
#include "p2p-testdev.h"

#define BM_RAM     (64 * MiB)
#define BM_DEVICES 4

/* Where things are for the guest; device n is t0 to t3 */
#define BM_SLOT(n)      (4 + (n))
#define BM_RID(n)       (BM_SLOT(n) << 3)
#define BM_REGISTERS(n) (0xc0000000ull + (n) * 0x10000)
#define BM_BAR2(n)      (64 * GiB + (n) * 64 * MiB)
#define BM_BAR4(n)      (65 * GiB + (n) * 64 * MiB)
#define BM_ELSEWHERE    (80 * GiB)
#define BM_NOWHERE      (96 * GiB)

/* The bridge, and a second one */
#define BM_BRIDGE_SLOT(n) (10 + (n))
#define BM_BRIDGE_RID(n)  (BM_BRIDGE_SLOT(n) << 3)
#define BM_BARS(n)        (0xd0000000ull + (n) * MiB)
#define BM_APERTURE(n)    (128 * GiB + (n) * 4 * GiB)
#define BM_MEMORY(n)      (16 * MiB + (n) * BRIDGE_MEMORY)

/* Guest RAM that no driver uses */
#define BM_SCRATCH (32 * MiB)

typedef struct BridgeMachine {
    QTestState *qts;
    bool express;               /* q35 */
    Bridge b;                   /* br0 */
    TestDev t[BM_DEVICES];
    uint64_t size[BM_DEVICES];  /* of BARs 2 and 4; 0: no such device */
    int fd[BM_DEVICES];         /* the file behind BAR 2 */
    uint8_t *bar2[BM_DEVICES];  /* the same, mapped */
} BridgeMachine;

/* What a BridgeMachine is made of. */
typedef struct BridgeMachineOptions {
    const char *machine;        /* "q35" if NULL, or "pc" */
    const char *group;          /* more properties of g0, with a comma */
    const char *bridge;         /* the same of br0 */
    const char *more;           /* more of a command line */
    const char *t[BM_DEVICES];  /* more properties of t0 ..., NULL: none */
    uint64_t size[BM_DEVICES];  /* of BARs; 1 MiB if 0 */
    bool stopped;               /* nothing gets an address */
} BridgeMachineOptions;

/*
 * bm_new: start it; all members of g0 unless their properties say
 * p2p-group=; BARs are in place, and the bridge's driver is started.
 */
BridgeMachine *bm_new(const BridgeMachineOptions *options);

/* bm_default: t0 and t1, which share bar2 and bar4 */
BridgeMachine *bm_default(void);
void bm_end(BridgeMachine *m);

/* bm_place: addresses for the BARs of a p2p-testdev, after it was reset. */
void bm_place(BridgeMachine *m, unsigned n);

/* bm_restart: everything as bm_new() left it, after a reset of the machine. */
void bm_restart(BridgeMachine *m);

/* bm_plug, bm_unplug: a p2p-testdev, or the bridge; for the machine "pc" */
void bm_plug(BridgeMachine *m, unsigned n, const char *share);
void bm_unplug(BridgeMachine *m, const char *id, unsigned slot);

/* bm_fill: other data with each call, which tells its place. */
void bm_fill(uint8_t *data, size_t len);

/* --- Guest windows ----------------------------------------------------- */

/* bm_share: must succeed; returns the window. */
uint32_t bm_share(BridgeMachine *m, unsigned n, unsigned bar, uint64_t offset,
                  uint64_t size, uint32_t access);

/* bm_show: share BAR 2 from @offset on and attach; returns the window. */
uint32_t bm_show(BridgeMachine *m, unsigned n, uint64_t offset, uint64_t size,
                 uint32_t slot);

/* bm_slot: GPA where a slot of the aperture begins. */
uint64_t bm_slot(BridgeMachine *m, uint32_t slot);

/*
 * bm_expect_data: what device @i and the CPU read and write at the aperture's
 * @gpa is in the file of BAR 2 of device @n at @offset, and the other way
 * round.
 */
void bm_expect_data(BridgeMachine *m, unsigned i, uint64_t gpa, unsigned n,
                    uint64_t offset, size_t len);

/*
 * bm_expect_nothing: the CPU reads ones and its writes change nothing of what
 * is in BAR 2 of device @n, and device @i gets errors.
 */
void bm_expect_nothing(BridgeMachine *m, unsigned i, uint64_t gpa, unsigned n);

/* --- Monitor ----------------------------------------------------------- */

/* bm_host_share, bm_host_unshare: p2p-share and p2p-unshare of bar 2 */
void bm_host_share(BridgeMachine *m, unsigned n, uint64_t offset,
                   uint64_t size);
void bm_host_unshare(BridgeMachine *m, unsigned n);

/*
 * The same if the guest is to be asked, as a window of the host's is attached:
 * returns when the window is being revoked.  No other command of the monitor
 * until bm_host_unshare_end().
 */
void bm_host_unshare_begin(BridgeMachine *m, unsigned n);
void bm_host_unshare_end(BridgeMachine *m);
void bm_host_unshare_fails(BridgeMachine *m);

/* bm_milliseconds: let them pass on the virtual clock. */
void bm_milliseconds(BridgeMachine *m, unsigned ms);

#endif /* P2P_TESTS_BRIDGE_MACHINE_H */
