/*
 * An emulated device with a disk, as a test uses it
 *
 * One table of functions for each kind of device, so that a test is written
 * once.  Data addresses are bus addresses and go to the device unchecked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_DRIVE_H
#define P2P_TESTS_DRIVE_H

#include "hw/p2p/vec.h"
#include "shared-ram.h"
#include "tests/qtest/libqos/libqos.h"

/* Where the device is, on bus 0, and the name of the disk's block node. */
#define DRIVE_SLOT 7
#define DRIVE_ID   "drive0"
#define DRIVE_NODE "disk"

/* Bytes of a block of every disk */
#define DRIVE_BLOCK 512u

typedef enum DriveOp {
    DRIVE_READ,   /* from the disk into memory */
    DRIVE_WRITE,  /* from memory to the disk */
} DriveOp;

typedef struct DriveKind DriveKind;

typedef struct Drive {
    const DriveKind *kind;
    QOSState *qos;          /* not owned */
    const SharedRam *ram;   /* the machine's; not owned */
} Drive;

struct DriveKind {
    const char *name;
    /* Device DRIVE_ID in slot DRIVE_SLOT and group g0, with disk DRIVE_NODE */
    const char *options;
    /* Most that can be under way at a time */
    unsigned requests;
    /*
     * In a vector, all entries but the first must begin, and all but the last
     * must end, on a page; and addresses must be a multiple of this.
     */
    bool pages;
    unsigned align;

    Drive *(*start)(const DriveKind *kind, QOSState *qos,
                    const SharedRam *ram);

    /* drive_submit(); @tag is free, the arguments are right */
    void (*submit)(Drive *drive, unsigned tag, DriveOp op, uint64_t offset,
                   const P2PBusVec *vec, size_t n);
    int (*poll)(Drive *drive, unsigned tag);

    /* Whether it has given up, and only a reset helps; NULL: never does */
    bool (*needs_reset)(Drive *drive);

    /* drive_move(), what it does not do itself; NULL: it cannot */
    void (*move)(Drive *drive);

    void (*end)(Drive *drive);
};

extern const DriveKind drive_nvme;          /* with PRPs */
extern const DriveKind drive_nvme_sgl;
extern const DriveKind drive_virtio_blk;
extern const DriveKind drive_virtio_blk_iothread;
extern const DriveKind drive_virtio_blk_multiqueue;
extern const DriveKind drive_virtio_scsi;
extern const DriveKind drive_virtio_scsi_iothread;
extern const DriveKind drive_ahci;

/* An NVMe drive's driver */
struct QNvme *drive_get_nvme(Drive *drive);

/*
 * What a virtio request has besides its data.  drive_virtio_place() puts it to
 * @gpa, DRIVE_VIRTIO_SIZE bytes which guest and device reach at the same
 * address, for all requests that follow.
 */
typedef enum DriveVirtioPart {
    DRIVE_VIRTIO_HEADER,
    DRIVE_VIRTIO_STATUS,
    DRIVE_VIRTIO_TABLE,     /* of descriptors */
    DRIVE_VIRTIO_PARTS
} DriveVirtioPart;

#define DRIVE_VIRTIO_SIZE (64 * 1024)
void drive_virtio_place(Drive *drive, DriveVirtioPart part, uint64_t gpa);

/*
 * drive_virtio_repeat: request @tag once more, as it is in memory.
 *
 * drive_virtio_ended: whether the device has given it back, whatever it says.
 */
void drive_virtio_repeat(Drive *drive, unsigned tag);
bool drive_virtio_ended(Drive *drive, unsigned tag);

/*
 * drive_virtio_loaded: memory is as it was at another time; what the device had
 * given back by then was seen, and nothing else was.
 */
void drive_virtio_loaded(Drive *drive);

/*
 * drive_scsi_inquiry, drive_ahci_command: what goes through the device model's
 * own hands.  @vec: one entry.  Return as drive_wait().
 */
int drive_scsi_inquiry(Drive *drive, const P2PBusVec *vec);
int drive_ahci_command(Drive *drive, uint8_t command, bool write,
                       uint64_t offset, const P2PBusVec *vec);

/*
 * drive_ahci_read_slots: a read for each of DRIVE_AHCI_SLOTS entries of @vec,
 * from @offset on; the controller does one after the other.
 *
 * drive_ahci_slots: how many of them it still has to do.
 */
#define DRIVE_AHCI_SLOTS 4
void drive_ahci_read_slots(Drive *drive, uint64_t offset, const P2PBusVec *vec);
unsigned drive_ahci_slots(Drive *drive);

/* drive_start: once the machine runs; to be freed with drive_end(). */
Drive *drive_start(const DriveKind *kind, QOSState *qos, const SharedRam *ram);
void drive_end(Drive *drive);

/* drive_move: the device, and memory, have come to another machine. */
void drive_move(Drive *drive, QOSState *qos, const SharedRam *ram);

/*
 * drive_submit: begin to read or write.
 *
 * @tag: of the request, below kind->requests, and not in use
 * @offset: on the disk, bytes
 * @vec: @n entries, the memory in order
 */
void drive_submit(Drive *drive, unsigned tag, DriveOp op, uint64_t offset,
                  const P2PBusVec *vec, size_t n);

/*
 * drive_poll: 0: the device says that it was done, -EIO: that it was not,
 * -EAGAIN: nothing yet.  After 0 or -EIO the tag is free.
 */
int drive_poll(Drive *drive, unsigned tag);

/* drive_wait: the same, until there is an answer; in the end -ETIMEDOUT. */
int drive_wait(Drive *drive, unsigned tag);
#define DRIVE_TIMEOUT_S 60

/* drive_io: submit, with tag 0, and wait. */
int drive_io(Drive *drive, DriveOp op, uint64_t offset, const P2PBusVec *vec,
             size_t n);

bool drive_needs_reset(Drive *drive);

/*
 * drive_ram: guest RAM at @gpa, as it is mapped here.
 *
 * drive_mem_write, drive_mem_read: any guest memory, as a CPU accesses it.
 */
void *drive_ram(const Drive *drive, uint64_t gpa);
void drive_mem_write(const Drive *drive, uint64_t gpa, const void *data,
                     size_t len);
void drive_mem_read(const Drive *drive, uint64_t gpa, void *data, size_t len);

#endif /* P2P_TESTS_DRIVE_H */
