/*
 * Probes: what is in the lab's IOMMU, and what query-p2p says of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "lab-faults.h"
#include "lab-probe.h"
#include "p2p-monitor.h"

static uint64_t next_seed = 1;

uint64_t probe_seed(void)
{
    return next_seed++;
}

uint64_t cmb(const LabMachine *machine, unsigned drive)
{
    return machine->drive[drive].cmb.gpa;
}

int command(LabMachine *machine, unsigned initiator, QNvmeOp op, uint64_t lba,
            uint64_t bus)
{
    P2PBusVec vec = { .addr = { bus }, .len = PROBE_SIZE };
    int ret = qnvme_io(machine->drive[initiator].nvme, op, lba, &vec, 1);

    g_assert_cmpint(ret, >=, 0);
    return ret;
}

bool writes_at(LabMachine *machine, unsigned initiator, uint64_t bus,
               uint64_t gpa)
{
    uint8_t before[PROBE_SIZE], after[PROBE_SIZE], disk[PROBE_SIZE];
    uint64_t seed = probe_seed();
    uint64_t lba = seed % 1024;

    lab_pattern(seed, before, PROBE_SIZE);
    lab_disk_words(initiator, lba * LAB_BLOCK, disk, PROBE_SIZE);
    qtest_bufwrite(machine->qts, gpa, before, PROBE_SIZE);
    command(machine, initiator, QNVME_READ, lba, bus);
    qtest_bufread(machine->qts, gpa, after, PROBE_SIZE);
    if (!memcmp(after, disk, PROBE_SIZE)) {
        return true;
    }
    g_assert_cmpmem(after, PROBE_SIZE, before, PROBE_SIZE);
    return false;
}

bool writes(LabMachine *machine, unsigned initiator, uint64_t gpa)
{
    return writes_at(machine, initiator, gpa, gpa);
}

bool reads_at(LabMachine *machine, unsigned initiator, uint64_t bus,
              uint64_t gpa)
{
    uint8_t secret[PROBE_SIZE], seen[PROBE_SIZE];

    lab_pattern(probe_seed(), secret, PROBE_SIZE);
    qtest_bufwrite(machine->qts, gpa, secret, PROBE_SIZE);
    command(machine, initiator, QNVME_WRITE, PROBE_SCRATCH_LBA, bus);
    g_assert_cmpint(command(machine, initiator, QNVME_READ, PROBE_SCRATCH_LBA,
                            LAB_DATA + MiB), ==, QNVME_SUCCESS);
    qtest_bufread(machine->qts, LAB_DATA + MiB, seen, PROBE_SIZE);
    if (!memcmp(seen, secret, PROBE_SIZE)) {
        return true;
    }
    for (unsigned i = 0; i < PROBE_SIZE; i += 8) {
        g_assert_cmphex(ldq_le_p(seen + i), !=, ldq_le_p(secret + i));
    }
    return false;
}

bool reads(LabMachine *machine, unsigned initiator, uint64_t gpa)
{
    return reads_at(machine, initiator, gpa, gpa);
}

void expect_fault(LabMachine *machine, unsigned initiator, QNvmeOp op,
                  uint64_t bus)
{
    LabFaults from = lab_faults_from_now();
    DmarAccess access = {
        .bdf = machine->drive[initiator].host,
        .write = op == QNVME_READ,
        .first = { bus },
        .size = PROBE_SIZE,
    };

    command(machine, initiator, op, PROBE_SCRATCH_LBA, bus);
    g_assert_cmpuint(lab_faults_count(from, &access), >, 0);
}

int translate(LabMachine *machine, unsigned initiator, uint64_t gpa,
              uint32_t len, uint32_t flags)
{
    P2PGuestVec in = { .addr = { gpa }, .len = len, .flags = flags };
    P2PBusVec out[4];
    size_t m = ARRAY_SIZE(out);
    int ret = p2p_monitor_translate(machine->qts,
                                    machine->drive[initiator].id, &in, 1,
                                    out, &m);

    if (!ret) {
        g_assert_cmpuint(m, ==, 1);
        g_assert_cmphex(out[0].addr.bus, ==, gpa);
        g_assert_cmpuint(out[0].len, ==, len);
    }
    return ret;
}

void expect_installed(LabMachine *machine, unsigned target, uint64_t offset,
                      unsigned initiator, bool installed)
{
    g_autoptr(QDict) window = p2p_monitor_window(machine->qts,
                                                 machine->drive[target].id,
                                                 LAB_CMB_BAR, offset);
    const char *reason;
    const QDict *grant;

    g_assert_nonnull(window);
    grant = p2p_monitor_grant(window, machine->drive[initiator].id);
    g_assert_nonnull(grant);
    reason = qdict_get_try_str(grant, "reason");
    if (installed && reason) {
        g_test_message("not installed: %s", reason);
    }
    g_assert_cmpint(qdict_get_bool(grant, "installed"), ==, installed);
    g_assert_cmpint(!reason, ==, installed);
}

void expect_state(LabMachine *machine, unsigned target, const char *state)
{
    g_autoptr(QDict) window = p2p_monitor_window(machine->qts,
                                                 machine->drive[target].id,
                                                 LAB_CMB_BAR, 0);

    g_assert_nonnull(window);
    g_assert_cmpstr(qdict_get_str(window, "state"), ==, state);
    g_assert_cmpint(qdict_haskey(window, "gpa"), ==,
                    g_str_equal(state, "mapped"));
    if (qdict_haskey(window, "gpa")) {
        g_assert_cmphex(p2p_monitor_uint(window, "gpa"), ==,
                        cmb(machine, target));
    }
}

char *grant_reason(LabMachine *machine, unsigned target, unsigned initiator)
{
    g_autoptr(QDict) window = p2p_monitor_window(machine->qts,
                                                 machine->drive[target].id,
                                                 LAB_CMB_BAR, 0);
    const QDict *grant = p2p_monitor_grant(window,
                                           machine->drive[initiator].id);

    return g_strdup(qdict_get_try_str(grant, "reason"));
}
