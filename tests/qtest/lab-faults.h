/*
 * Faults of the lab's Intel IOMMU, as its emulation tells them
 *
 * Linux logs ten faults in five seconds.  The QEMU that emulates the lab writes
 * each one to a file that the lab sees (P2P_LAB_FAULTS), before the device
 * that caused it is told that its command is done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_LAB_FAULTS_H
#define P2P_TESTS_LAB_FAULTS_H

#include "dmar-log.h"

/* A place in the file: faults from now on. */
typedef struct LabFaults {
    int64_t offset;
} LabFaults;

LabFaults lab_faults_from_now(void);

/* lab_faults_count: how many there were since @from for this @access. */
unsigned lab_faults_count(LabFaults from, const DmarAccess *access);

#endif /* P2P_TESTS_LAB_FAULTS_H */
