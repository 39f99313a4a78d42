/*
 * A register-level NVMe driver for tests, as a libqtest client
 *
 * Concepts
 *   The driver plays the guest: it programs the controller through its
 *   registers and keeps the queues in guest RAM.  It polls; interrupts are
 *   masked, for QEMU takes a passthrough function's BARs out of the memory map
 *   while an INTx interrupt is pending.
 *   All data addresses of a command are the caller's, as *bus addresses*: what
 *   the drive shall put on the bus.  They come from the command p2p-translate
 *   when the drive belongs to a p2p-group.  The driver neither checks nor
 *   maps them, so that a test can name an address that it must not reach.
 *   One command is under way at a time, but for those of a QNvmeQueue.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_NVME_DRIVER_H
#define P2P_TESTS_NVME_DRIVER_H

#include "block/nvme.h"
#include "hw/p2p/vec.h"
#include "guest-pci.h"

/* The driver's unit of memory, in bytes; the controller is told so. */
#define QNVME_PAGE 4096u

/* I/O commands that can be under way at a time. */
#define QNVME_COMMANDS 15

/* Their lists of PRPs or SGL descriptors, a page for each, in bytes. */
#define QNVME_LISTS_SIZE (QNVME_COMMANDS * QNVME_PAGE)

/* Guest RAM that one driver needs for queues and lists, in bytes. */
#define QNVME_RAM_SIZE (5 * QNVME_PAGE + QNVME_LISTS_SIZE)

/*
 * Pages that one command can name: one in the command and one page of PRPs.
 * The controller may allow fewer.
 */
#define QNVME_MAX_PAGES 513u

/* SGL descriptors that one command can have. */
#define QNVME_MAX_SGL 256u

#define QNVME_ERROR qnvme_error_quark()
GQuark qnvme_error_quark(void);

typedef enum QNvmeError {
    QNVME_ERROR_NO_DRIVE,   /* nothing there, or no NVMe controller */
    QNVME_ERROR_NOT_READY,  /* the controller does not start */
    QNVME_ERROR_COMMAND,    /* an administration command failed */
} QNvmeError;

typedef enum QNvmeOp {
    QNVME_READ,   /* from the drive's blocks into memory */
    QNVME_WRITE,  /* from memory to the drive's blocks */
} QNvmeOp;

/* NVMe 1.4, figure 126 and following: status code type << 8 | status code */
enum {
    QNVME_SUCCESS             = 0x000,
    QNVME_INVALID_FIELD       = 0x002,
    QNVME_DATA_TRANSFER_ERROR = 0x004,
    QNVME_INVALID_CMB_USE     = 0x012,
    QNVME_INVALID_PRP_OFFSET  = 0x013,
    QNVME_LBA_OUT_OF_RANGE    = 0x080,
};

typedef struct QNvmeInfo {
    uint32_t block_size;    /* bytes */
    uint64_t blocks;        /* of namespace 1 */
    uint64_t max_transfer;  /* bytes of one command; 0: no limit */
} QNvmeInfo;

/* Where the controller memory buffer (CMB) is. */
typedef struct QNvmeCmb {
    unsigned bar;
    uint64_t offset;  /* in the BAR, bytes */
    uint64_t size;    /* bytes */
} QNvmeCmb;

typedef struct QNvme QNvme;

/*
 * qnvme_new: find a drive, map its registers, start it, and make one pair of
 * I/O queues.
 *
 * @pci: the function; copied.  It stays the caller's to map the CMB's BAR
 * @registers: guest physical address for BAR 0
 * @ram: QNVME_RAM_SIZE bytes of guest RAM, page-aligned, the driver's alone
 *     until qnvme_free(); the drive must reach them at the bus address that
 *     equals the guest physical address
 *
 * Turns memory decode and bus mastering on.  Returns the driver, to be freed
 * with qnvme_free(), or NULL with @error set.
 */
QNvme *qnvme_new(const GuestPci *pci, P2PGuestAddr registers,
                 P2PGuestAddr ram, GError **error);

/* qnvme_free: stop the controller, and forget it. NULL is fine. */
void qnvme_free(QNvme *nvme);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QNvme, qnvme_free)

/*
 * qnvme_forget: the same for a drive that is gone, or that has been reset:
 * nothing is left to be stopped.
 */
void qnvme_forget(QNvme *nvme);

/*
 * qnvme_allow_intx: whether the drive may raise its INTx interrupt when a
 * command is done; not unless this allows it.  The driver polls all the same.
 */
void qnvme_allow_intx(QNvme *nvme, bool allow);

/* qnvme_info: valid as long as @nvme. */
const QNvmeInfo *qnvme_info(const QNvme *nvme);

/*
 * qnvme_cmb_enable: make the drive's CMB usable, both for memory accesses of
 * others to its BAR, and for commands of its own.
 *
 * @base: where the drive itself has the CMB among its bus addresses.  A
 *     command of this drive that names an address in there goes to the CMB
 *     directly, so choose one that it needs for nothing else
 * @cmb: where it is; written on success
 *
 * Returns 0; -ENODEV if the drive has no CMB; -EINVAL if it refuses @base.
 */
int qnvme_cmb_enable(QNvme *nvme, P2PBusAddr base, QNvmeCmb *cmb);

/*
 * qnvme_io: read or write blocks of namespace 1, and wait for the end.
 *
 * @lba: first block
 * @vec: @n entries, the memory in order; their flags do not matter.  The sum
 *     of their lengths is a multiple of the block size.  PRPs can only say
 *     this: all but the first entry begin, and all but the last one end, on a
 *     multiple of QNVME_PAGE
 *
 * Returns the NVMe status (0: success, else status code type << 8 | status
 * code), or a negative errno: -EINVAL if PRPs cannot express @vec, -ENOSPC if
 * it needs more than QNVME_MAX_PAGES pages, both before the drive is asked;
 * -ETIMEDOUT if it gives no answer within QNVME_TIMEOUT_S, -EPROTO if the
 * answer is to another question; then only qnvme_free() is left.
 */
int qnvme_io(QNvme *nvme, QNvmeOp op, uint64_t lba,
             const P2PBusVec *vec, size_t n);

/*
 * A further pair of I/O queues, for many commands at a time.  It lives in
 * guest RAM that is mapped into this process, too: commands and completions
 * cost no round trip to QEMU, only a doorbell does.  Its data addresses are
 * those of qnvme_io().
 */
typedef struct QNvmeQueue QNvmeQueue;

/* Most commands that one may have under way */
#define QNVME_MAX_DEPTH 63u

/* Guest RAM of one, in bytes: the queues, and a PRP list for each command */
#define QNVME_QUEUE_PAGES 2
#define QNVME_QUEUE_RAM_SIZE(depth) ((QNVME_QUEUE_PAGES + (depth)) * QNVME_PAGE)

/*
 * qnvme_queue_new: make one.
 *
 * @ram: QNVME_QUEUE_RAM_SIZE(@depth) bytes of guest RAM, as with qnvme_new()
 * @hva: the same memory, as it is mapped here
 *
 * Returns the queue, to be freed with g_free() after qnvme_free(), or NULL
 * with @error set.
 */
QNvmeQueue *qnvme_queue_new(QNvme *nvme, P2PGuestAddr ram, void *hva,
                            unsigned depth, GError **error);

/*
 * qnvme_queue_add: write a command, which the drive sees with the next
 * qnvme_queue_ring().  Returns 0, -EAGAIN if as many as may be are under way,
 * or as qnvme_io() does.
 */
int qnvme_queue_add(QNvmeQueue *q, QNvmeOp op, uint64_t lba,
                    const P2PBusVec *vec, size_t n);

/* qnvme_queue_ring: tell the drive what was added, and reaped. */
void qnvme_queue_ring(QNvmeQueue *q);

/*
 * qnvme_queue_reap: how many commands have ended since it was called before.
 * @status is written if one of them has failed: its NVMe status.
 */
unsigned qnvme_queue_reap(QNvmeQueue *q, int *status);

/*
 * qnvme_submit, qnvme_poll: the same without waiting, for QNVME_COMMANDS at a
 * time.
 *
 * qnvme_submit() returns the command's tag, or a negative errno: -EBUSY if too
 * many are under way, else as qnvme_io().  qnvme_poll() returns what the
 * command has ended with, and its tag is free again; or -EAGAIN.
 */
int qnvme_submit(QNvme *nvme, QNvmeOp op, uint64_t lba,
                 const P2PBusVec *vec, size_t n);
int qnvme_poll(QNvme *nvme, unsigned tag);

/*
 * qnvme_map_ram: @hva is the driver's guest RAM as it is mapped here, which
 * spares most round trips to QEMU.
 */
void qnvme_map_ram(QNvme *nvme, void *hva);

/*
 * qnvme_use_sgl: say where data is by SGLs, whose entries may begin and end
 * anywhere; at most QNVME_MAX_SGL of them.
 */
void qnvme_use_sgl(QNvme *nvme, bool sgl);

/*
 * qnvme_place_lists: have lists of PRPs or SGL descriptors somewhere else than
 * in the driver's RAM: QNVME_LISTS_SIZE bytes that guest and drive reach at
 * the same address.
 */
void qnvme_place_lists(QNvme *nvme, P2PGuestAddr lists);

/*
 * qnvme_keep_lists: @keep: do not write lists, for they are there already from
 * commands like those that follow.
 */
void qnvme_keep_lists(QNvme *nvme, bool keep);

/*
 * qnvme_admin, qnvme_command: an administration, or an I/O, command as it is,
 * but for its identifier.  Wait for the end, and return as qnvme_io() does.
 */
int qnvme_admin(QNvme *nvme, NvmeCmd *cmd);
int qnvme_command(QNvme *nvme, NvmeCmd *cmd);

/*
 * qnvme_result_str: what qnvme_io() returned, in words, with the status code
 * type and the status code in hexadecimal.  The caller frees it.
 */
char *qnvme_result_str(int result);

/* The time limit, in seconds: never reached unless the drive is stuck. */
#define QNVME_TIMEOUT_S 60

/*
 * qnvme_prps: the pages of a vector (NVMe 1.4, 4.3): its first bus address,
 * then the start of each further page.
 *
 * Returns their number, -EINVAL or -ENOSPC as qnvme_io() does.
 */
int qnvme_prps(const P2PBusVec *vec, size_t n, uint64_t *prps, size_t max);

#endif /* P2P_TESTS_NVME_DRIVER_H */
