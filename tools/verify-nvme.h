/*
 * qemu-p2p verify: an NVMe controller that only reads
 *
 * The commands that it is ever given are Identify, Create I/O Completion and
 * Submission Queue, and Read: nothing on its namespaces can change.
 * Each wait ends early with VERIFY_ERROR_STOPPED if verify_stop_wanted(), but
 * for verify_nvme_stop()'s.
 *
 * References are to the NVM Express Base Specification, revision 1.4.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_NVME_H
#define P2P_TOOL_VERIFY_NVME_H

#include "verify-vfio.h"

#define VERIFY_CLASS_NVME 0x010802

/* The driver's unit of memory, in bytes; the controller is told so. */
#define VERIFY_NVME_PAGE 4096u

/* Commands under way at a time */
#define VERIFY_NVME_DEPTH 8

/* Memory for queues and lists, in bytes */
#define VERIFY_NVME_RAM ((5 + VERIFY_NVME_DEPTH) * VERIFY_NVME_PAGE)

typedef struct VerifyNvmeInfo {
    char model[41];             /* printable ASCII */
    uint32_t nsid;              /* the first namespace that is there */
    uint32_t block_size;        /* bytes */
    uint64_t blocks;
    uint32_t max_transfer;      /* bytes of one command */
} VerifyNvmeInfo;

typedef struct VerifyNvme VerifyNvme;

/*
 * verify_nvme_start: let @device be bus master, start it and make one pair of
 * I/O queues.
 *
 * @ram: VERIFY_NVME_RAM bytes, page-aligned, mapped into its IOMMU at @iova;
 *     the driver's until verify_nvme_stop()
 *
 * NULL with @error set: the device is stopped, and no bus master.
 */
VerifyNvme *verify_nvme_start(VerifyDevice *device, void *ram, uint64_t iova,
                              GError **error);

/*
 * verify_nvme_stop: stop it, end its being a bus master, and free @nvme.  It
 * reaches no memory any more when this returns, not even if it is stuck.
 * False, with @error set: it was.  NULL is fine.  No signal ends it early, as
 * that would leave a controller in the middle of something; it may take as
 * long as the controller asks for in CAP.TO, up to 128 seconds.
 */
bool verify_nvme_stop(VerifyNvme *nvme, GError **error);

const VerifyNvmeInfo *verify_nvme_info(const VerifyNvme *nvme);

/*
 * verify_nvme_read: @size bytes from block @lba on to @iova, which is a
 * multiple of VERIFY_NVME_PAGE; in commands of at most max_transfer bytes,
 * several at a time.
 *
 * @status: 0, or what the first command to fail has ended with: status code
 *     type << 8 | status code
 *
 * False with @error set: the controller gave no answer in time, is gone, or
 * the user wants an end; then only verify_nvme_stop() is left.
 */
bool verify_nvme_read(VerifyNvme *nvme, uint64_t lba, uint64_t iova,
                      uint64_t size, unsigned *status, GError **error);

/* "success", "data transfer error", "status 2/81"; the caller frees it. */
char *verify_nvme_status_str(unsigned status);

/* The memory that a controller has in a BAR (controller memory buffer) */
typedef struct VerifyCmb {
    bool enabled;               /* it answers in @bar */
    bool controlled;            /* by CMBMSC: since NVMe 1.4 */
    unsigned bar;
    uint64_t offset, size;      /* bytes in the BAR */
} VerifyCmb;

/*
 * verify_cmb_enable: have the controller answer at its CMB, if it has one in
 * BAR @bar.  @cmb->enabled tells.  False with @error set: @bar is persistent
 * memory, or registers cannot be read.
 */
bool verify_cmb_enable(VerifyDevice *device, unsigned bar, VerifyCmb *cmb,
                       GError **error);
void verify_cmb_disable(VerifyDevice *device, VerifyCmb *cmb);

#endif /* P2P_TOOL_VERIFY_NVME_H */
