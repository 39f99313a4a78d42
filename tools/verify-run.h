/*
 * qemu-p2p verify: the experiment, one initiator and one window
 *
 * The initiator reads blocks into memory and into the window, which has been
 * filled with something else; both must hold the same afterwards.  Then the
 * same without the window in the IOMMU, after which the window must hold what
 * it did before: the control arm, without which the first would prove nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_RUN_H
#define P2P_TOOL_VERIFY_RUN_H

#include "verify-data.h"
#include "verify-nvme.h"
#include "verify-vfio.h"

/* Transfers that are compared, each from other blocks, over another pattern */
#define VERIFY_ROUNDS VERIFY_PATTERNS

/* Of the window, in bytes: it is copied through registers' eye of a needle. */
#define VERIFY_MAX_SIZE (UINT64_C(64) << 20)

/* What --size and --offset are multiples of, in bytes */
uint64_t verify_granule(void);

typedef struct VerifyPlan {
    VerifyDevice *initiator, *target;
    unsigned bar;
    bool offset_given;      /* else where the BAR's memory begins */
    uint64_t offset, size;  /* bytes */
} VerifyPlan;

typedef enum VerifyControl {
    VERIFY_CONTROL_NOT_RUN,
    /* Nothing arrived, whatever the drive reported: that is another field. */
    VERIFY_CONTROL_HELD,
    VERIFY_CONTROL_LEAKED,  /* data arrived that the IOMMU should have held */
} VerifyControl;

typedef struct VerifyTimes {
    double bandwidth;       /* bytes per second; 0: not measured */
    double latency;         /* seconds for one command */
} VerifyTimes;

typedef struct VerifyResult {
    VerifyNvmeInfo drive;
    uint64_t offset;        /* of the window in the BAR */
    unsigned intact;        /* transfers that were, of VERIFY_ROUNDS */
    bool lost;              /* one was not: diff, status */
    VerifyDiff diff;
    unsigned status;        /* NVMe's, of the lost transfer */
    bool no_answer;         /* nor was one after @intact ever answered */
    bool repeats;           /* the blocks' pages are all alike */
    VerifyControl control;
    bool control_answered;  /* control_status is NVMe's */
    unsigned control_status;
    uint64_t latency_size;  /* bytes of the command that was timed */
    VerifyTimes ram, window;
    bool touched;           /* the window was written to */
    char *not_restored;     /* why; NULL: it is as it was */
} VerifyResult;

/*
 * verify_run: run the experiment.
 *
 * Returns true with @result filled in, or false with @error set: it could not
 * be run, or not to its end.  In both cases the initiator reaches nothing any
 * more, its IOMMU is empty, and the window holds what it held before, unless
 * @result->not_restored tells otherwise.  verify_result_clear() it in both.
 */
bool verify_run(const VerifyPlan *plan, VerifyResult *result, GError **error);
void verify_result_clear(VerifyResult *result);

#endif /* P2P_TOOL_VERIFY_RUN_H */
