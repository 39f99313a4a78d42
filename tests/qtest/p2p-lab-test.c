/*
 * p2p-group on real VFIO, in the lab
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "lab-machine.h"
#include "lab-probe.h"
#include "p2p-monitor.h"

#define GROUP "-object p2p-group,id=g0"

/* More than the interval in which a grant is told once */
#define STEP_NS INT64_C(2000000000)

static LabMachine *start(const char *options, const char *drive0,
                         const char *drive1, const char *drive2)
{
    const char *const properties[] = { drive0, drive1, drive2 };
    LabMachine *machine = lab_machine_new(options, properties, 3);

    for (unsigned i = 0; i < 3; i++) {
        if (properties[i]) {
            lab_drive_start(machine, i);
        }
    }
    return machine;
}

/* --- What a view holds ---------------------------------------------------- */

static void test_allowed(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0", "p2p-group=g0",
                                    NULL);

    g_assert_true(writes(m, 0, LAB_DATA));
    g_assert_true(reads(m, 0, LAB_DATA));
    for (unsigned i = 0; i < 2; i++) {
        uint64_t last = cmb(m, !i) + m->drive[!i].cmb_size - PROBE_SIZE;

        g_assert_true(writes(m, i, cmb(m, !i)));
        g_assert_true(reads(m, i, cmb(m, !i)));
        g_assert_true(writes(m, i, last));
        g_assert_true(reads(m, i, last));
    }
    /*
     * Its own BAR, which the view of all members holds.  Only this way: the
     * lab's QEMU lets no device read its own registers by DMA.
     */
    g_assert_true(writes(m, 0, cmb(m, 0)));
}

static void test_registers_not_shared(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0", "p2p-group=g0",
                                    NULL);
    uint64_t gpa = LAB_REGISTERS + MiB;   /* of drive1 */
    uint64_t capabilities = qtest_readq(m->qts, gpa);
    uint64_t seen;

    g_assert_cmphex(capabilities, !=, 0);
    expect_fault(m, 0, QNVME_WRITE, gpa);
    g_assert_cmpint(command(m, 0, QNVME_READ, PROBE_SCRATCH_LBA, LAB_DATA), ==,
                    QNVME_SUCCESS);
    qtest_memread(m->qts, LAB_DATA, &seen, sizeof(seen));
    g_assert_cmphex(le64_to_cpu(seen), !=, capabilities);
    g_assert_cmpint(translate(m, 0, gpa, PROBE_SIZE, P2P_VEC_READ), ==,
                    -EFAULT);
}

static void test_outsider(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0", "p2p-group=g0", "");

    g_assert_true(writes(m, 2, LAB_DATA));
    g_assert_true(reads(m, 2, LAB_DATA));
    for (unsigned i = 0; i < 2; i++) {
        g_assert_true(writes(m, !i, cmb(m, i)));
        g_assert_false(writes(m, 2, cmb(m, i)));
        g_assert_false(reads(m, 2, cmb(m, i)));
        g_assert_false(writes(m, i, cmb(m, 2)));
        g_assert_false(reads(m, i, cmb(m, 2)));
        g_assert_cmpint(translate(m, i, cmb(m, 2), PROBE_SIZE, P2P_VEC_READ),
                        ==, -EFAULT);
    }
}

static void test_two_groups(void)
{
    g_autoptr(LabMachine) m = start(GROUP " -object p2p-group,id=g1",
                                    "p2p-group=g0", "p2p-group=g0",
                                    "p2p-group=g1");

    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(writes(m, 2, LAB_DATA));
    g_assert_false(writes(m, 2, cmb(m, 0)));
    g_assert_false(reads(m, 2, cmb(m, 1)));
    g_assert_false(writes(m, 0, cmb(m, 2)));
    g_assert_false(reads(m, 1, cmb(m, 2)));
}

static void test_initiate_off(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0",
                                    "p2p-group=g0,p2p-initiate=off", NULL);
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, "drive1");
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "drive0",
                                                 LAB_CMB_BAR, 0);

    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(reads(m, 0, cmb(m, 1)));
    g_assert_true(writes(m, 1, LAB_DATA));
    g_assert_true(reads(m, 1, LAB_DATA));
    g_assert_false(writes(m, 1, cmb(m, 0)));
    g_assert_false(reads(m, 1, cmb(m, 0)));

    g_assert_false(qdict_get_bool(member, "initiate"));
    g_assert_null(p2p_monitor_grant(window, "drive1"));
    g_assert_cmpint(translate(m, 1, cmb(m, 0), PROBE_SIZE, P2P_VEC_READ), ==,
                    -EACCES);
}

static void test_share_none(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0",
                                    "p2p-group=g0,p2p-share=none", NULL);
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, "drive1");

    g_assert_true(writes(m, 1, cmb(m, 0)));
    g_assert_true(reads(m, 1, cmb(m, 0)));
    g_assert_false(writes(m, 0, cmb(m, 1)));
    g_assert_false(reads(m, 0, cmb(m, 1)));
    g_assert_true(qlist_empty(qdict_get_qlist(member, "windows")));
    g_assert_cmpint(translate(m, 0, cmb(m, 1), PROBE_SIZE, P2P_VEC_READ), ==,
                    -EFAULT);
}

static void test_part_of_bar(void)
{
    g_autoptr(LabMachine) m = start(
        GROUP, "p2p-group=g0", "p2p-group=g0,p2p-share=bar2@0x1000-0x4000",
        NULL);
    uint64_t base = cmb(m, 1);

    g_assert_true(writes(m, 0, base + 0x1000));
    g_assert_true(reads(m, 0, base + 0x1000));
    g_assert_true(writes(m, 0, base + 0x3000));
    g_assert_true(reads(m, 0, base + 0x3000));
    g_assert_false(writes(m, 0, base));
    g_assert_false(reads(m, 0, base));
    g_assert_false(writes(m, 0, base + 0x4000));
    g_assert_false(reads(m, 0, base + 0x4000));

    g_assert_cmpint(translate(m, 0, base + 0x1000, 0x3000, P2P_VEC_WRITE), ==,
                    0);
    g_assert_cmpint(translate(m, 0, base + 0xfff, 0x1000, P2P_VEC_WRITE), ==,
                    -EFAULT);
    g_assert_cmpint(translate(m, 0, base + 0x1000, 0x3001, P2P_VEC_WRITE), ==,
                    -EFAULT);
}

static void test_read_only(void)
{
    g_autoptr(LabMachine) m = start(
        GROUP, "p2p-group=g0",
        "p2p-group=g0,p2p-share=bar2@0x0-0x2000+bar2:ro@0x2000-0x4000", NULL);
    uint64_t ro = cmb(m, 1) + 0x2000;

    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(reads(m, 0, ro));
    g_assert_false(writes(m, 0, ro));
    g_assert_true(reads(m, 0, ro));
    g_assert_cmpint(translate(m, 0, ro, PROBE_SIZE, P2P_VEC_READ), ==, 0);
    g_assert_cmpint(translate(m, 0, ro, PROBE_SIZE, P2P_VEC_WRITE), ==,
                    -EACCES);
}

/* --- Policies and back ends ----------------------------------------------- */

#define REQUIRE "-object p2p-group,id=g0,policy=require"
#define IOMMUFD " -object iommufd,id=i0"

static void test_require(void)
{
    g_autoptr(LabMachine) m = start(REQUIRE, "p2p-group=g0", "p2p-group=g0",
                                    NULL);

    expect_installed(m, 1, 0, 0, true);
    expect_installed(m, 0, 0, 1, true);
    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(writes(m, 1, cmb(m, 0)));
}

static void test_require_iommufd(void)
{
    g_autoptr(LabMachine) m = start(REQUIRE IOMMUFD,
                                    "p2p-group=g0,iommufd=i0",
                                    "p2p-group=g0,iommufd=i0", NULL);

    expect_installed(m, 1, 0, 0, true);
    expect_installed(m, 0, 0, 1, true);
    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(writes(m, 1, cmb(m, 0)));
}

/* Each window is a dma-buf of its own, of which a part may be read only. */
static void test_auto_iommufd(void)
{
    g_autoptr(LabMachine) m = start(
        GROUP IOMMUFD, "p2p-group=g0,iommufd=i0", "p2p-group=g0,iommufd=i0,"
        "p2p-share=bar2@0x1000-0x2000+bar2:ro@0x2000-0x4000", NULL);

    expect_installed(m, 1, 0x1000, 0, true);
    expect_installed(m, 1, 0x2000, 0, true);
    g_assert_true(writes(m, 0, LAB_DATA));
    g_assert_true(reads(m, 0, LAB_DATA));
    g_assert_true(writes(m, 0, cmb(m, 1) + 0x1000));
    g_assert_true(reads(m, 0, cmb(m, 1) + 0x1000));
    g_assert_true(reads(m, 0, cmb(m, 1) + 0x3000));
    g_assert_false(writes(m, 0, cmb(m, 1) + 0x3000));
    g_assert_false(writes(m, 0, cmb(m, 1)));
    g_assert_false(reads(m, 0, cmb(m, 1) + 0x4000));
}

/* Stock VFIO aborts when one address space gets two kinds of container. */
static void test_mixed_back_ends(void)
{
    static const char *const mixed[][2] = {
        { "p2p-group=g0", "p2p-group=g0,iommufd=i0" },
        { "p2p-group=g0,iommufd=i0", "p2p-group=g0" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(mixed); i++) {
        g_autofree char *messages = lab_machine_refused(GROUP IOMMUFD,
                                                        mixed[i], 2);

        g_assert_nonnull(strstr(messages, "drive1: p2p-group"));
        g_assert_nonnull(strstr(messages, "drive0"));
        g_assert_nonnull(strstr(messages, "type1"));
        g_assert_nonnull(strstr(messages, "give both the same iommufd="));
    }
}

/* --- What the monitor tells ----------------------------------------------- */

static void test_query(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0",
                                    "p2p-group=g0,p2p-initiate=off", NULL);
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, "drive1");
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "drive1",
                                                 LAB_CMB_BAR, 0);
    const QDict *grant = p2p_monitor_grant(window, "drive0");

    g_assert_cmpstr(qdict_get_str(member, "host-bdf"), ==, m->drive[1].host);
    g_assert_cmpstr(qdict_get_str(member, "guest-bdf"), ==, "0000:00:05.0");
    g_assert_cmpstr(qdict_get_str(member, "kind"), ==, "passthrough");
    g_assert_cmpuint(p2p_monitor_uint(window, "size"), ==,
                     m->drive[1].cmb_size);
    g_assert_cmpstr(qdict_get_str(window, "access"), ==, "rw");
    g_assert_true(qdict_get_bool(window, "cpu-mappable"));

    /* Two root ports of one host bridge, and Linux trusts the processor's. */
    g_assert_cmpstr(qdict_get_str(grant, "map-type"), ==, "thru-host-bridge");
    g_assert_cmpstr(qdict_get_str(grant, "path"), ==, "phb");
    g_assert_true(qdict_get_bool(grant, "routed"));
    g_assert_true(*qdict_get_str(grant, "path-reason"));
    g_assert_cmpuint(p2p_monitor_uint(grant, "maps"), >, 0);
    g_assert_cmpuint(p2p_monitor_uint(grant, "failures"), ==, 0);
    g_assert_false(qdict_haskey(grant, "last-errno"));
}

/* The events that have come so far about drive0's grant to drive1's CMB. */
static unsigned grant_events(LabMachine *m, bool *installed)
{
    unsigned count = 0;

    /* What comes before the answer was sent before it. */
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'query-status' }");
    while (true) {
        g_autoptr(QDict) event = qtest_qmp_event_ref(m->qts,
                                                     "P2P_GRANT_CHANGED");
        const QDict *data;

        if (!event) {
            return count;
        }
        data = qdict_get_qdict(event, "data");
        if (g_str_equal(qdict_get_str(data, "initiator"), "drive0") &&
            g_str_equal(qdict_get_str(data, "target"), "drive1")) {
            g_assert_cmpstr(qdict_get_str(data, "group"), ==, "g0");
            g_assert_cmpint(qdict_get_int(data, "bar"), ==, LAB_CMB_BAR);
            g_assert_cmpuint(p2p_monitor_uint(data, "size"), ==,
                             m->drive[1].cmb_size);
            *installed = qdict_get_bool(data, "installed");
            g_assert_cmpint(!qdict_haskey(data, "reason"), ==, *installed);
            count++;
        }
    }
}

static void test_events(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0", "p2p-group=g0",
                                    NULL);
    const GuestPci *target = &m->drive[1].pci;
    bool installed = false;

    /* QEMU's clock stands still unless the test moves it. */
    qtest_clock_step(m->qts, STEP_NS);
    g_assert_cmpuint(grant_events(m, &installed), >=, 1);
    g_assert_true(installed);

    qtest_clock_step(m->qts, STEP_NS);
    guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
    g_assert_cmpuint(grant_events(m, &installed), ==, 1);
    g_assert_false(installed);

    /* Too soon: at the end of the interval only the last state is told. */
    for (unsigned i = 0; i < 5; i++) {
        guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
        guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
    }
    guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
    g_assert_cmpuint(grant_events(m, &installed), ==, 0);
    qtest_clock_step(m->qts, STEP_NS);
    g_assert_cmpuint(grant_events(m, &installed), ==, 1);
    g_assert_true(installed);

    /* A state that was told already is not told again. */
    guest_pci_command(target, 0, PCI_COMMAND_MEMORY);
    guest_pci_command(target, PCI_COMMAND_MEMORY, 0);
    qtest_clock_step(m->qts, STEP_NS);
    grant_events(m, &installed);
    g_assert_true(installed);
    qtest_clock_step(m->qts, STEP_NS);
    g_assert_cmpuint(grant_events(m, &installed), ==, 0);
}

/* --- One IOMMU group of the host ------------------------------------------ */

static void test_shared_iommu_group(void)
{
    g_autoptr(LabMachine) m = start(GROUP, "p2p-group=g0", "p2p-group=g0",
                                    NULL);

    g_assert_true(writes(m, 0, LAB_DATA));
    g_assert_true(writes(m, 1, LAB_DATA));
}

static void test_split_iommu_group(void)
{
    static const char *const split[][2] = {
        { "p2p-group=g0", "" },
        { "", "p2p-group=g0" },
        { "p2p-group=g0", "p2p-group=g1" },
        { "p2p-group=g0", "p2p-group=g0,p2p-initiate=off" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(split); i++) {
        g_autofree char *messages = lab_machine_refused(
            GROUP " -object p2p-group,id=g1", split[i], 2);

        g_assert_nonnull(strstr(messages, "drive0"));
        g_assert_nonnull(strstr(messages, "drive1"));
        g_assert_nonnull(strstr(messages, "p2p-group"));
        g_assert_nonnull(strstr(messages, "IOMMU group"));
        g_assert_nonnull(strstr(messages, "give both the same p2p-group"));
    }
}

/* Whether the lab's layout has its first two drives in one IOMMU group. */
static bool one_iommu_group(void)
{
    g_autofree char *group[2];

    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *host = lab_host(i);
        g_autofree char *path = g_strdup_printf(
            "/sys/bus/pci/devices/%s/iommu_group", host);

        group[i] = g_file_read_link(path, NULL);
        g_assert_nonnull(group[i]);
    }
    return g_str_equal(group[0], group[1]);
}

int main(int argc, char **argv)
{
    g_autofree char *last = lab_host(2);

    g_test_init(&argc, &argv, NULL);
    if (!last) {
        g_printerr("%s: run me in the lab, with three drives\n", argv[0]);
        return 1;
    }

    if (one_iommu_group()) {
        qtest_add_func("p2p/lab/iommu-group/shared", test_shared_iommu_group);
        qtest_add_func("p2p/lab/iommu-group/split", test_split_iommu_group);
        return g_test_run();
    }
    qtest_add_func("p2p/lab/view/allowed", test_allowed);
    qtest_add_func("p2p/lab/view/registers", test_registers_not_shared);
    qtest_add_func("p2p/lab/view/outsider", test_outsider);
    qtest_add_func("p2p/lab/view/two-groups", test_two_groups);
    qtest_add_func("p2p/lab/view/initiate-off", test_initiate_off);
    qtest_add_func("p2p/lab/view/share-none", test_share_none);
    qtest_add_func("p2p/lab/view/part-of-bar", test_part_of_bar);
    qtest_add_func("p2p/lab/view/read-only", test_read_only);
    qtest_add_func("p2p/lab/policy/require", test_require);
    qtest_add_func("p2p/lab/policy/require-iommufd", test_require_iommufd);
    qtest_add_func("p2p/lab/policy/auto-iommufd", test_auto_iommufd);
    qtest_add_func("p2p/lab/policy/mixed-back-ends", test_mixed_back_ends);
    qtest_add_func("p2p/lab/monitor/query", test_query);
    qtest_add_func("p2p/lab/monitor/events", test_events);
    return g_test_run();
}
