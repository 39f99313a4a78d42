/*
 * A machine with a p2p-group: one target, and an emulated device with a disk
 *
 * The target, a p2p-testdev with the id t0, shares BAR 2, a file that is
 * mapped here, too, and BAR 4, which is RAM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_PEER_MACHINE_H
#define P2P_TESTS_PEER_MACHINE_H

#include "qemu/units.h"
#include "qobject/qdict.h"
#include "drive.h"
#include "guest-pci.h"

#define PEER_RAM_SIZE (128 * MiB)
#define PEER_SLOT 4
#define PEER_SIZE (4 * MiB)         /* of each of the BARs */
#define PEER_BAR2 (64 * GiB)
#define PEER_BAR4 (65 * GiB)
#define PEER_REGISTERS 0xc0000000

typedef struct PeerMachine {
    QOSState *qos;
    QTestState *qts;                /* that of @qos */
    SharedRam ram;
    GuestPci target;
    Drive *drive;
    int fd;                         /* BAR 2 of the target */
    uint8_t *bar2;
} PeerMachine;

/*
 * peer_machine_new: start it, with BARs in place.
 *
 * @machine: "q35" or "pc"
 * @kind: the device
 * @group: more properties of the group, with a comma in front; or ""
 * @options: more on the command line: the node "disk", and what not
 */
PeerMachine *peer_machine_new(const char *machine, const DriveKind *kind,
                              const char *group, const char *options);
void peer_machine_end(PeerMachine *m);

/*
 * peer_machine_incoming: one that waits for the state of such a machine
 * (-incoming defer).  It has no drive before peer_machine_move().
 *
 * @target: properties of the target, as p2p-share=bar2+bar4
 */
PeerMachine *peer_machine_incoming(const char *machine, const DriveKind *kind,
                                   const char *group, const char *target,
                                   const char *options);

/* peer_machine_move: from now on the guest's driver is on the other machine. */
void peer_machine_move(PeerMachine *from, PeerMachine *to);

/* peer_machine_place: the target's BARs get their addresses, and decode. */
void peer_machine_place(PeerMachine *m);

/* peer_machine_plug: the target, which was unplugged, comes back. */
void peer_machine_plug(PeerMachine *m);

/*
 * peer_machine_requests: how many requests have gone by a data path, to and
 * from BAR 2 or 4 of the target.
 */
uint64_t peer_machine_requests(PeerMachine *m, int bar, const char *path);

/*
 * peer_machine_data_path: which way query-p2p says that the disk's data goes
 * to BAR 2; the caller frees it.
 */
char *peer_machine_data_path(PeerMachine *m);

#endif /* P2P_TESTS_PEER_MACHINE_H */
