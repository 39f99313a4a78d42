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
 *   One command is under way at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_NVME_DRIVER_H
#define P2P_TESTS_NVME_DRIVER_H

#include "hw/p2p/vec.h"
#include "guest-pci.h"

/* The driver's unit of memory, in bytes; the controller is told so. */
#define QNVME_PAGE 4096u

/* Guest RAM that one driver needs for queues and a PRP list, in bytes. */
#define QNVME_RAM_SIZE (6 * QNVME_PAGE)

/*
 * Pages that one command can name: one in the command and one page of PRPs.
 * The controller may allow fewer.
 */
#define QNVME_MAX_PAGES 513u

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
