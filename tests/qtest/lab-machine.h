/*
 * A virtual machine in the lab, with the lab's NVMe drives passed through
 *
 * The lab (tests/lab/lab) names the drives in P2P_LAB_DRIVES; they are bound to
 * vfio-pci.  Drive i gets the id "drive<i>" and slot LAB_FIRST_SLOT + i of the
 * root bus.  QEMU runs without a guest: the tests are the guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_LAB_MACHINE_H
#define P2P_TESTS_LAB_MACHINE_H

#include "qemu/units.h"
#include "hw/p2p/vec.h"
#include "dmar-log.h"
#include "nvme-driver.h"
#include "shared-ram.h"

#define LAB_MAX_DRIVES 4
#define LAB_FIRST_SLOT 4
#define LAB_CMB_BAR    2

/*
 * Guest physical addresses.  BARs are far from where the lab's own firmware
 * puts BARs: an emulated NVMe drive does not send an access that names its own
 * registers, as the lab has them, to the IOMMU.
 */
#define LAB_RAM_SIZE   (64 * MiB)
#define LAB_DATA       (16 * MiB)   /* free for the test, to the end of RAM */
#define LAB_REGISTERS  (64 * GiB)   /* BAR 0 of drive i at + i * MiB */
#define LAB_CMB        (65 * GiB)   /* BAR 2 of drive i at + i * GiB */
#define LAB_END        (UINT64_C(1) << 50) /* root ports forward up to here */

typedef struct LabDrive {
    const char *id;
    char *host;          /* address on the lab's PCI bus */
    GuestPci pci;
    uint8_t port;        /* slot << 3 | function of its root port, if any */
    QNvme *nvme;         /* NULL until lab_drive_start() */
    QNvmeQueue *queue;   /* as long as @nvme; only with root ports */
    P2PGuestAddr cmb;    /* where the CMB is: BAR 2, at offset 0 */
    uint64_t cmb_size;   /* bytes */
} LabDrive;

typedef struct LabMachine {
    QTestState *qts;
    bool ports;          /* each drive is below a root port of its own */
    SharedRam ram;       /* only with root ports */
    LabDrive drive[LAB_MAX_DRIVES];
} LabMachine;

/* lab_host: the host address of a drive, to be freed, or NULL: no such drive */
char *lab_host(unsigned drive);

/*
 * lab_command_line: QEMU's options for a machine with drives.
 *
 * @options: more options, before the devices
 * @properties: of each of @n drives, without id, host and addr; NULL leaves
 *     the drive out
 *
 * Returns the text, which the caller frees.
 */
char *lab_command_line(const char *options, const char *const *properties,
                       unsigned n);

/*
 * lab_machine_new: start QEMU as lab_command_line() says.  A start that fails
 * ends the test.  Ended with lab_machine_free().
 */
LabMachine *lab_machine_new(const char *options,
                            const char *const *properties, unsigned n);
void lab_machine_free(LabMachine *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LabMachine, lab_machine_free)

/*
 * lab_machine_new_with_ports: the same, but each drive is below a root port,
 * from which it can be unplugged.  The port of drive i is "port<i>", in slot
 * LAB_FIRST_SLOT + i of the root bus; there is one for each of @n drives, also
 * for those that are left out.  Guest RAM is shared with the test, and each
 * drive has a queue for many commands.
 */
LabMachine *lab_machine_new_with_ports(const char *options,
                                       const char *const *properties,
                                       unsigned n);

/*
 * lab_machine_refused: start QEMU as lab_command_line() says, which must fail.
 *
 * Returns what QEMU printed, which the caller frees.  A start that succeeds,
 * and one that ends in a crash, end the test.
 */
char *lab_machine_refused(const char *options, const char *const *properties,
                          unsigned n);

/*
 * lab_drive_start: map both BARs of a drive at their places, start its driver,
 * enable its CMB; before that, have its root port forward, if it has one.
 * Fails by ending the test.
 */
void lab_drive_start(LabMachine *machine, unsigned drive);

/*
 * lab_drive_stop: the drive was reset, or is gone.  It can be started again
 * when it is back.
 */
void lab_drive_stop(LabMachine *machine, unsigned drive);

/*
 * lab_port: the root port of a drive, as a function of its own.
 * lab_port_open: have it forward to all addresses from @first on at which a
 * test puts BARs.
 */
GuestPci lab_port(const LabMachine *machine, unsigned drive);
void lab_port_open(const LabMachine *machine, unsigned drive,
                   P2PGuestAddr first);

/* lab_slot_power: as a guest does for a device that has come, or shall go. */
void lab_slot_power(const LabMachine *machine, unsigned drive, bool on);

/*
 * lab_unplug: device_del, the guest's consent, and the end of the device.
 * lab_eject: the guest's part alone, for a device that is to be unplugged.
 * lab_plug: device_add with @properties, as lab_machine_new_with_ports() does,
 * and the guest's part.
 */
void lab_unplug(LabMachine *machine, unsigned drive);
void lab_eject(LabMachine *machine, unsigned drive);
void lab_plug(LabMachine *machine, unsigned drive, const char *properties);

/*
 * lab_provoke_fault: have a drive access what it must not, until the lab's
 * kernel tells of the IOMMU fault; the first one may be among those that Linux
 * does not print.
 *
 * @op, @lba: as for qnvme_io()
 * @vec: one entry; the bus addresses are the IOMMU's input
 * @result: what qnvme_io() returned
 *
 * Returns the line from the kernel's log, which the caller frees, or NULL if
 * there was none within LAB_FAULT_TIMEOUT_S seconds.
 */
char *lab_provoke_fault(LabMachine *machine, DmarLog *log, unsigned drive,
                        QNvmeOp op, uint64_t lba, const P2PBusVec *vec,
                        int *result);

/* Commands of a drive's queue */
#define LAB_QUEUE_DEPTH 15u

/* Linux prints ten lines in five seconds at most. */
#define LAB_FAULT_TIMEOUT_S 60

/*
 * lab_disk_words: what the lab puts on the disk of a drive.
 *
 * Fills @words with @len bytes, those from byte @offset on; all are multiples
 * of 8.
 */
void lab_disk_words(unsigned drive, uint64_t offset, void *words, size_t len);

/*
 * lab_pattern: a pattern that is on no disk, another one for each @seed.
 * Fills @len bytes, a multiple of 8.
 */
void lab_pattern(uint64_t seed, void *words, size_t len);

#endif /* P2P_TESTS_LAB_MACHINE_H */
