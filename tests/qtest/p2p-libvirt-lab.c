/*
 * qemu-p2p xml and a real libvirt, in the lab
 *
 * libvirt starts QEMU, of XML that qemu-p2p has made, on drives that it takes
 * from Linux's own driver.  What libqtest takes for QEMU is a script,
 * tests/lab/libvirt/qemu-system-x86_64.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "lab-machine.h"
#include "lab-probe.h"
#include "p2p-monitor.h"

#define DRIVES 2

/* libvirt does its part of an unplug some time after the device has gone. */
#define TRIES    300
#define RETRY_US 100000

static const char *const aliases[DRIVES] = { "ua-drive0", "ua-drive1" };

/* --- Commands ------------------------------------------------------------- */

/* What a shell command prints, to be freed; @ok: whether it succeeds. */
static char *shell(const char *command, bool *ok)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
    g_autofree char *messages = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *output = NULL;
    int status;

    g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output,
                 &messages, &status, &error);
    g_assert_no_error(error);
    *ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    g_test_message("%s: %s%s%s", command, *ok ? "" : "failed: ", output,
                   messages);
    return g_strconcat(output, messages, NULL);
}

static char *run(const char *command)
{
    bool ok;
    char *output = shell(command, &ok);

    g_assert_true(ok);
    return output;
}

static void do_run(const char *command)
{
    g_free(run(command));
}

/* --- The machine ---------------------------------------------------------- */

/* libvirt has put the root port of bus N into slot 1, function N - 1. */
static LabMachine *start(void)
{
    LabMachine *m = g_new0(LabMachine, 1);

    m->qts = qtest_init("");
    m->ports = true;
    for (unsigned i = 0; i < DRIVES; i++) {
        LabDrive *drive = &m->drive[i];

        drive->id = aliases[i];
        drive->host = lab_host(i);
        drive->pci = (GuestPci) { .qts = m->qts, .bus = i + 1 };
        drive->port = 1 << 3 | i;
        drive->cmb = (P2PGuestAddr) { LAB_CMB + i * GiB };
        lab_drive_start(m, i);
    }
    return m;
}

/* The driver that has a function of the lab, to be freed, or NULL. */
static char *driver_of(const char *host)
{
    g_autofree char *link = g_strdup_printf("/sys/bus/pci/devices/%s/driver",
                                            host);
    g_autofree char *target = g_file_read_link(link, NULL);

    return target ? g_path_get_basename(target) : NULL;
}

static void expect_driver(const char *host, const char *driver)
{
    for (unsigned i = 0; i < TRIES; i++) {
        g_autofree char *has = driver_of(host);

        if (!g_strcmp0(has, driver)) {
            return;
        }
        g_usleep(RETRY_US);
    }
    g_test_message("%s is not with %s", host, driver);
    g_test_fail();
}

static bool is_member(LabMachine *m, unsigned i)
{
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, m->drive[i].id);

    return member != NULL;
}

/* --- Tests ---------------------------------------------------------------- */

static void expect_group(LabMachine *m)
{
    expect_installed(m, 1, 0, 0, true);
    g_assert_true(writes(m, 0, cmb(m, 1)));
    g_assert_true(reads(m, 0, cmb(m, 1)));
}

/* initiate='no' and policy='require' have arrived, and so does data. */
static void test_data(void)
{
    g_autoptr(LabMachine) m = start();
    g_autofree char *info = run("virsh qemu-monitor-command drives "
                                "'{\"execute\":\"query-p2p\"}'");
    g_autoptr(QDict) member = p2p_monitor_member(m->qts, aliases[1]);

    g_assert_nonnull(strstr(info, "\"policy\":\"require\""));
    g_assert_nonnull(strstr(info, "\"installed\":true"));
    g_assert_false(qdict_get_bool(member, "initiate"));
    for (unsigned i = 0; i < DRIVES; i++) {
        expect_driver(m->drive[i].host, "vfio-pci");
    }
    expect_group(m);
    g_assert_false(writes(m, 1, cmb(m, 0)));
    g_assert_false(reads(m, 1, cmb(m, 0)));
}

/* Other tests' domains ended with destroy: the drives are Linux's again. */
static void test_destroyed(void)
{
    for (unsigned i = 0; i < DRIVES; i++) {
        g_autofree char *host = lab_host(i);

        expect_driver(host, "nvme");
    }
}

static void write_device_xml(void)
{
    do_run("virsh dumpxml drives | "
           "sed -n \"/<hostdev/{:a;N;/<.hostdev>/!ba;/ua-drive1/p}\" "
           "> /tmp/drive1.xml && grep -q ua-drive1 /tmp/drive1.xml");
}

static void test_plug(void)
{
    g_autoptr(LabMachine) m = start();

    expect_group(m);
    write_device_xml();

    do_run("virsh detach-device drives /tmp/drive1.xml");
    lab_eject(m, 1);
    g_assert_false(is_member(m, 1));
    expect_driver(m->drive[1].host, "nvme");
    g_assert_true(writes(m, 0, LAB_DATA));
    expect_fault(m, 0, QNVME_READ, cmb(m, 1));

    do_run("virsh attach-device drives /tmp/drive1.xml");
    expect_driver(m->drive[1].host, "vfio-pci");
    g_assert_true(is_member(m, 1));
    lab_slot_power(m, 1, true);
    lab_drive_start(m, 1);
    expect_group(m);
}

#define EMULATED \
    "sed \"s|@QEMU@|$P2P_QEMU|;s|@DIR@|/tmp|\" " \
    "$P2P_LIBVIRT_DOMAINS/emulated.xml | $QEMU_P2P xml > /tmp/emulated.xml"
#define QUERY \
    "virsh qemu-monitor-command emulated '{\"execute\":\"query-p2p\"}'"

static void expect_emulated(void)
{
    g_autofree char *info = run(QUERY);

    g_assert_nonnull(strstr(info, "\"id\":\"ua-vd0\""));
    g_assert_nonnull(strstr(info, "\"id\":\"ua-scsi\""));
}

static void test_save(void)
{
    do_run(EMULATED);
    do_run("truncate -s 1M /tmp/disk.img");
    do_run("virsh define /tmp/emulated.xml");
    do_run("virsh start --paused emulated");
    expect_emulated();
    do_run("virsh save emulated /tmp/saved");
    do_run("virsh restore --paused /tmp/saved");
    expect_emulated();
    do_run("virsh dumpxml emulated | $QEMU_P2P xml --check");
    do_run("virsh destroy emulated");
    do_run("virsh undefine emulated");
}

static void test_drift(void)
{
    g_autofree char *message = NULL;
    bool ok;

    do_run(EMULATED);
    do_run("truncate -s 1M /tmp/disk.img");
    do_run("sed -i 's/name=\"p2p-share\" type=\"string\" value=\"none\"/"
           "name=\"p2p-share\" type=\"string\" value=\"bar4\"/' "
           "/tmp/emulated.xml");
    do_run("virsh define /tmp/emulated.xml");
    message = shell("virsh start --paused emulated", &ok);
    g_assert_false(ok);
    g_assert_nonnull(strstr(message, "ua-scsi lacks p2p-share=none"));
    g_assert_nonnull(strstr(message, "virsh define /dev/stdin"));

    /* What the message says */
    do_run("virsh dumpxml --inactive emulated | $QEMU_P2P xml | "
           "virsh define /dev/stdin");
    do_run("virsh start --paused emulated");
    do_run("virsh destroy emulated");
    do_run("virsh undefine emulated");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/p2p/libvirt/data", test_data);
    qtest_add_func("/p2p/libvirt/destroyed", test_destroyed);
    qtest_add_func("/p2p/libvirt/plug", test_plug);
    qtest_add_func("/p2p/libvirt/save", test_save);
    qtest_add_func("/p2p/libvirt/drift", test_drift);
    return g_test_run();
}
