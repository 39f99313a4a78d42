/*
 * Faults of the (lab) host's Intel IOMMU, from the kernel's log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_DMAR_LOG_H
#define P2P_TESTS_DMAR_LOG_H

#include "hw/p2p/addr.h"

typedef struct DmarLog DmarLog;

typedef struct DmarAccess {
    const char *bdf;   /* of the initiator on the host, dddd:bb:dd.f */
    bool write;        /* the device wrote to memory */
    P2PIova first;     /* a fault at any address of this range will do */
    uint64_t size;
} DmarAccess;

/*
 * dmar_log_open: look at what the kernel logs from now on.
 *
 * Returns NULL with errno set if /dev/kmsg cannot be read; freed with
 * dmar_log_close().
 */
DmarLog *dmar_log_open(void);
void dmar_log_close(DmarLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DmarLog, dmar_log_close)

/* dmar_log_flush: forget what was logged up to now. */
void dmar_log_flush(DmarLog *log);

/*
 * dmar_log_find: the line of a fault that was logged since the last flush.
 *
 * A fault is recorded when the access is made, but logged a moment later, and
 * Linux logs ten lines in five seconds at most: NULL means nothing by itself;
 * make the access again, and look again.
 *
 * Returns the line, which the caller frees, or NULL.
 */
char *dmar_log_find(DmarLog *log, const DmarAccess *access);

#endif /* P2P_TESTS_DMAR_LOG_H */
