/*
 * A p2p-group with VFIO devices migrates, in the lab
 *
 * The device is that of Linux's sample driver mtty, which has VFIO's migration
 * states, those of peer-to-peer DMA among them.  QEMU's trace tells what came
 * before what.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "image.h"
#include "lab-machine.h"
#include "p2p-monitor.h"
#include "peer-machine.h"

#define MTTY "/sys/class/mtty/mtty/mdev_supported_types/mtty-1/create"
#define DISK_SIZE (4 * MiB)
#define PIECE     (64 * KiB)
#define REQUESTS  6
#define TIMEOUT_S 90

static const char *const uuids[] = {
    "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
    "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002",
};

static void mtty_create(const char *uuid)
{
    int fd = open(MTTY, O_WRONLY);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, uuid, strlen(uuid)), ==, strlen(uuid));
    close(fd);
}

/* A serial port as a member, and a trace of what happens. */
static char *mtty_options(const char *disk, const char *uuid, const char *log)
{
    return g_strdup_printf("%s -device vfio-pci,id=tty0,addr=9,"
                           "sysfsdev=/sys/bus/mdev/devices/%s,p2p-group=g0,"
                           "enable-migration=on "
                           "-trace p2p_quiesce -trace p2p_transfer "
                           "-trace p2p_resume "
                           "-trace vfio_migration_set_device_state "
                           "-D %s ", disk, uuid, log);
}

static char *wait_end(QTestState *qts, const char *key)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;

    for (;;) {
        g_autoptr(QDict) reply = qtest_qmp(qts,
                                           "{ 'execute': 'query-migrate' }");
        QDict *info = qdict_get_qdict(reply, "return");
        const char *status = qdict_get_try_str(info, "status") ?: "";

        if (g_str_equal(status, "completed") ||
            g_str_equal(status, "failed")) {
            g_test_message("%s %s", status,
                           qdict_get_try_str(info, "error-desc") ?: "");
            return g_strdup(qdict_get_try_str(info, key) ?: "");
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(10000);
    }
}

/* The line of the trace with @what, from @line on; it must be there. */
static unsigned find(char **lines, unsigned line, const char *what)
{
    unsigned from = line;

    while (lines[line] && !strstr(lines[line], what)) {
        line++;
    }
    if (!lines[line]) {
        g_error("no '%s' after line %u of the trace", what, from);
    }
    return line;
}

static void check_order(const char *log)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) error = NULL;
    unsigned ready, running, resume, quiesce, p2p, stop, n = 0;

    g_file_get_contents(log, &text, NULL, &error);
    g_assert_no_error(error);
    lines = g_strsplit(text, "\n", 0);
    for (unsigned i = 0; lines[i]; i++) {
        g_test_message("%s", lines[i]);
    }
    ready = find(lines, 0, "state RUNNING_P2P");
    running = find(lines, ready + 1, "state RUNNING");
    resume = find(lines, 0, "p2p_resume");
    g_assert_cmpuint(running, <, resume);

    quiesce = find(lines, 0, "p2p_quiesce");
    p2p = find(lines, 0, "state PRE_COPY_P2P");
    stop = find(lines, 0, "state STOP");
    g_assert_cmpuint(quiesce, <, p2p);
    g_assert_cmpuint(p2p, <, stop);
    for (unsigned i = 0; lines[i]; i++) {
        if (strstr(lines[i], "p2p_transfer ")) {
            g_assert_cmpuint(i, >, resume);
            g_assert_cmpuint(i, <, quiesce);
            n++;
        }
    }
    g_assert_cmpuint(n, >, 1);
}

static void test_mtty(void)
{
    g_autofree char *folder = g_dir_make_tmp("p2p-lab-XXXXXX", NULL);
    g_autofree char *socket = g_build_filename(folder, "socket", NULL);
    g_autofree char *uri = g_strdup_printf("unix:%s", socket);
    g_autofree char *log = g_build_filename(folder, "trace", NULL);
    g_autofree uint8_t *disk = g_malloc(DISK_SIZE);
    g_autofree char *disk_options = NULL, *options = NULL, *why = NULL;
    g_autofree char *there = NULL, *status = NULL;
    PeerMachine *from, *to;
    Image *image;

    if (access(MTTY, W_OK)) {
        g_test_skip("the kernel has no " MTTY);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(uuids); i++) {
        mtty_create(uuids[i]);
    }
    lab_pattern(7, disk, DISK_SIZE);
    image = image_new(image_kind("raw-throttled"), disk, DISK_SIZE, &why);
    g_assert_nonnull(image);
    disk_options = image_options(image);
    options = mtty_options(disk_options, uuids[0], log);
    there = mtty_options(disk_options, uuids[1], "/dev/null");

    from = peer_machine_new("q35", &drive_virtio_blk, "", options);
    to = peer_machine_incoming("q35", &drive_virtio_blk, "",
                               "p2p-share=bar2+bar4", there);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'qom-set', 'arguments': "
        "{ 'path': '/objects/tg0', 'property': 'limits', "
        "'value': { 'iops-total': 1 } } }");
    for (unsigned tag = 0; tag < REQUESTS; tag++) {
        P2PBusVec vec = { .addr = { PEER_BAR2 + tag * PIECE }, .len = PIECE };

        drive_submit(from->drive, tag, DRIVE_READ, tag * PIECE, &vec, 1);
    }
    g_assert_cmpint(drive_poll(from->drive, REQUESTS - 1), ==, -EAGAIN);

    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s } }", uri);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'migrate', "
                             "'arguments': { 'uri': %s } }", uri);
    status = wait_end(from->qts, "status");
    g_assert_cmpstr(status, ==, "completed");
    g_free(status);
    status = wait_end(to->qts, "status");
    g_assert_cmpstr(status, ==, "completed");

    peer_machine_move(from, to);
    for (unsigned tag = 0; tag < REQUESTS; tag++) {
        g_assert_cmpint(drive_wait(to->drive, tag), ==, 0);
    }
    g_assert_true(!memcmp(to->bar2, disk, REQUESTS * PIECE));
    peer_machine_end(from);
    check_order(log);
    peer_machine_end(to);
    image_free(image);
    unlink(log);
    unlink(socket);
    rmdir(folder);
}

/* What VFIO cannot migrate is told by name, and goes on. */
static void test_drive(void)
{
    static const char *const properties[] = { "p2p-group=g0" };
    g_autoptr(LabMachine) m = lab_machine_new("-object p2p-group,id=g0",
                                              properties, 1);
    QDict *error;

    lab_drive_start(m, 0);
    error = qtest_qmp_assert_failure_ref(m->qts, "{ 'execute': 'migrate', "
        "'arguments': { 'uri': 'exec:cat > /dev/null' } }");
    g_test_message("%s", qdict_get_str(error, "desc"));
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), m->drive[0].host));
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                            "migration is not supported in kernel"));
    qobject_unref(error);
}

int main(int argc, char **argv)
{
    const char *qemu = g_getenv("QTEST_QEMU_BINARY");
    g_autofree char *home = g_path_get_dirname(qemu ?: "");
    g_autofree char *qemu_img = g_build_filename(home, "qemu-img", NULL);

    g_setenv("QTEST_QEMU_IMG", qemu_img, false);
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/lab-migration/mtty", test_mtty);
    qtest_add_func("p2p/lab-migration/drive", test_drive);
    return g_test_run();
}
