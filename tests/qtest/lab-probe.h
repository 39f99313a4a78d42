/*
 * Probes: what is in the lab's IOMMU, and what query-p2p says of it
 *
 * What is in the IOMMU is found out by DMA: a probe fills the memory with a
 * pattern, has a drive write or read it, and looks who has which bytes then.
 * The drive's own status says nothing, an emulated drive ignores refused
 * accesses.  But the IOMMU tells of them.
 *
 * The names are the words of the tests: they have no prefix.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_LAB_PROBE_H
#define P2P_TESTS_LAB_PROBE_H

#include "lab-machine.h"

#define PROBE_SIZE 4096u    /* bytes that one probe moves */
#define LAB_BLOCK  512u     /* bytes, of the lab's disks */

/* Disks are written by probes from here on, for 1 MiB. */
#define PROBE_SCRATCH_LBA (8 * MiB / LAB_BLOCK)

/* probe_seed: for lab_pattern(), another one each time. */
uint64_t probe_seed(void);

/* cmb: where a drive's CMB should be now, as a number. */
uint64_t cmb(const LabMachine *machine, unsigned drive);

/* command: one of PROBE_SIZE bytes; returns its status, which is no errno. */
int command(LabMachine *machine, unsigned initiator, QNvmeOp op, uint64_t lba,
            uint64_t bus);

/*
 * writes_at: whether what @initiator writes to @bus arrives at the guest
 * physical address @gpa; if it does not, the memory there must be as before.
 * writes: the same where both are equal.
 */
bool writes_at(LabMachine *machine, unsigned initiator, uint64_t bus,
               uint64_t gpa);
bool writes(LabMachine *machine, unsigned initiator, uint64_t gpa);

/*
 * reads_at: whether @initiator gets what is at the guest physical address
 * @gpa when it reads @bus; if it does not, it must not get a word of it.
 */
bool reads_at(LabMachine *machine, unsigned initiator, uint64_t bus,
              uint64_t gpa);
bool reads(LabMachine *machine, unsigned initiator, uint64_t gpa);

/* expect_fault: the IOMMU has nothing at @bus for @initiator, and says so. */
void expect_fault(LabMachine *machine, unsigned initiator, QNvmeOp op,
                  uint64_t bus);

/* translate: p2p-translate of one entry; returns 0, or a negative errno. */
int translate(LabMachine *machine, unsigned initiator, uint64_t gpa,
              uint32_t len, uint32_t flags);

/*
 * expect_installed: whether the grant to @target's window at @offset in its
 * CMB's BAR is installed for @initiator; if it is not, a reason is given.
 * expect_state: of the window at offset 0, which is at cmb() if it is mapped.
 */
void expect_installed(LabMachine *machine, unsigned target, uint64_t offset,
                      unsigned initiator, bool installed);
void expect_state(LabMachine *machine, unsigned target, const char *state);

/*
 * grant_reason: why the grant to the window at offset 0 is not installed, to be
 * freed; NULL: it is.
 */
char *grant_reason(LabMachine *machine, unsigned target, unsigned initiator);

#endif /* P2P_TESTS_LAB_PROBE_H */
