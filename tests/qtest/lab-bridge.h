/*
 * A virtual machine in the lab with a p2p-bridge and its driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_LAB_BRIDGE_H
#define P2P_TESTS_LAB_BRIDGE_H

#include "qobject/qdict.h"
#include "bridge-driver.h"
#include "lab-machine.h"

/* Drives of the group; INITIATOR is the one that is made to issue DMA. */
enum {
    INITIATOR,
    TARGET,
    NEIGHBOUR,
    LAB_BRIDGE_DRIVES,
};

#define LAB_BRIDGE_ID        "br0"
#define LAB_BRIDGE_REVOKE_MS 500
#define LAB_APERTURE_SIZE    (64 * MiB)

/* Guest physical addresses, beside those of lab-machine.h */
#define LAB_APERTURE      (128 * GiB)
#define LAB_BRIDGE_BARS   UINT64_C(0xd0000000)
#define LAB_BRIDGE_MEMORY (8 * MiB)

typedef struct LabBackend {
    const char *name;
    const char *options;    /* of the machine */
    const char *properties; /* of a drive */
} LabBackend;

/* Until one without a name */
extern const LabBackend lab_backends[];

typedef struct LabBridge {
    LabMachine *m;
    Bridge b;
    const LabBackend *backend;
} LabBridge;

/*
 * lab_bridge_new: a machine with root ports, the first @drives members of g0,
 * and a p2p-bridge whose driver has found it, and not started it.
 *
 * @group: more properties of g0, with a comma
 * @more: more options, or ""
 */
LabBridge *lab_bridge_new(const LabBackend *backend, const char *group,
                          const char *more, unsigned drives);
void lab_bridge_free(LabBridge *lab);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LabBridge, lab_bridge_free)

/* lab_bridge_start: the driver, with these features. */
void lab_bridge_start(LabBridge *lab, uint64_t features);

/* lab_bridge_rid: of a drive */
uint32_t lab_bridge_rid(const LabBridge *lab, unsigned drive);

/* lab_bridge_pci: the p2p-bridge as a function of its own */
GuestPci lab_bridge_pci(const LabBridge *lab);

/*
 * lab_bridge_plug, lab_bridge_unplug: a drive, as a member; when it is back its
 * driver is started.
 */
void lab_bridge_plug(LabBridge *lab, unsigned drive);
void lab_bridge_unplug(LabBridge *lab, unsigned drive);

/* lab_bridge_milliseconds: let them pass on the virtual clock. */
void lab_bridge_milliseconds(LabBridge *lab, unsigned ms);

/* --- What a guest does to a drive ---------------------------------------- */

void lab_decode(LabBridge *lab, unsigned drive, bool on);
void lab_power_state(LabBridge *lab, unsigned drive, unsigned state);
void lab_flr(const GuestPci *pci);
void lab_place(LabBridge *lab, unsigned drive, uint64_t gpa);
void lab_place_home(LabBridge *lab, unsigned drive);

/* lab_restart: the driver of a drive that was reset */
void lab_restart(LabBridge *lab, unsigned drive);

/* --- What the lab does --------------------------------------------------- */

/* lab_host_write: text into a file of the lab's /sys. */
void lab_host_write(const char *path, const char *text);

#endif /* P2P_TESTS_LAB_BRIDGE_H */
