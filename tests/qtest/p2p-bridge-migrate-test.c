/*
 * p2p-bridge: a machine with it migrates
 *
 * Two processes of QEMU.  The driver goes on where it was: rings, counts,
 * windows and their numbers are the same, unless the other side's host does not
 * share what this one's did.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/pci_regs.h"
#include "bridge-machine.h"

#define RW P2P_BRIDGE_ACCESS_RW
#define SIZE (64 * KiB)
#define TIMEOUT_S 60

static char *folder;

/* --- Two machines ------------------------------------------------------ */

static const BridgeMachineOptions source_options = {
    .t = { ",p2p-share=bar2", ",p2p-share=bar2+bar4", "" },
};

/* Waits for a state; @t0: properties of the first target */
static BridgeMachine *incoming(const char *group, const char *bridge,
                               const char *t0)
{
    const BridgeMachineOptions options = {
        .group = group, .bridge = bridge, .more = "-incoming defer",
        .t = { t0, ",p2p-share=bar2+bar4", "" }, .stopped = true,
    };

    return bm_new(&options);
}

static char *in_folder(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static void wait_status(BridgeMachine *m, const char *status)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;

    for (;;) {
        g_autoptr(QDict) reply = qtest_qmp(m->qts,
                                           "{ 'execute': 'query-migrate' }");
        const char *is = qdict_get_try_str(qdict_get_qdict(reply, "return"),
                                           "status") ?: "";

        if (g_str_equal(is, status)) {
            return;
        }
        g_assert_cmpstr(is, !=, "completed");
        g_assert_cmpstr(is, !=, "failed");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void wait_running(BridgeMachine *m)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;
    bool running = false;

    while (!running) {
        g_autoptr(QDict) reply = qtest_qmp(m->qts,
                                           "{ 'execute': 'query-status' }");

        running = qdict_get_bool(qdict_get_qdict(reply, "return"), "running");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

/* What has failed is not all over yet when its status says so. */
static void go_on(BridgeMachine *m)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;
    bool done = false;

    while (!done) {
        g_autoptr(QDict) reply = qtest_qmp(m->qts, "{ 'execute': 'cont' }");

        done = qdict_haskey(reply, "return");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static char *listen_there(BridgeMachine *to)
{
    g_autofree char *path = in_folder("socket");
    char *uri = g_strdup_printf("unix:%s", path);

    qtest_qmp_assert_success(to->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s, "
                             "'exit-on-error': false } }", uri);
    return uri;
}

static void start(BridgeMachine *from, BridgeMachine *to)
{
    g_autofree char *uri = listen_there(to);

    qtest_qmp_assert_success(from->qts, "{ 'execute': 'migrate', "
                             "'arguments': { 'uri': %s } }", uri);
}

/* From now on the driver is on the other machine. */
static void move_driver(BridgeMachine *from, BridgeMachine *to)
{
    to->b = from->b;
    to->b.qts = to->qts;
    to->b.pci.qts = to->qts;
    for (unsigned n = 0; n < BM_DEVICES; n++) {
        to->t[n] = from->t[n];
        to->t[n].pci.qts = to->qts;
    }
}

static void migrate(BridgeMachine *from, BridgeMachine *to)
{
    start(from, to);
    wait_status(from, "completed");
    wait_status(to, "completed");
    move_driver(from, to);
}

/* --- What goes over ---------------------------------------------------- */

static void expect_same_page(const BridgePage *a, const BridgePage *b)
{
    for (unsigned i = 0; i < P2P_BRIDGE_MAX_WINDOWS_VALUE; i++) {
        g_assert_cmphex(a->records[i].window, ==, b->records[i].window);
        g_assert_cmpuint(a->records[i].state, ==, b->records[i].state);
        g_assert_cmpuint(a->records[i].slot, ==, b->records[i].slot);
        g_assert_cmphex(a->records[i].size, ==, b->records[i].size);
        g_assert_cmphex(a->records[i].rid, ==, b->records[i].rid);
    }
}

static void test_windows(void)
{
    BridgeMachine *from = bm_new(&source_options);
    uint32_t a = bm_show(from, 0, 0, SIZE, 0);
    uint32_t b = bm_show(from, 1, 0x3000, 0x5000, 7);
    uint32_t shared = bm_share(from, 1, 4, 0, SIZE, P2P_BRIDGE_ACCESS_RO);
    BridgePage before, after;
    uint32_t again;

    bm_fill(from->bar2[0], SIZE);
    for (unsigned i = 0; i < 3; i++) {
        BridgeMachine *to = incoming("", "", ",p2p-share=bar2");

        bridge_page(&from->b, &before);
        migrate(from, to);
        wait_running(to);
        g_assert_cmpmem(from->bar2[0], SIZE, to->bar2[0], SIZE);
        bridge_page(&to->b, &after);
        expect_same_page(&before, &after);
        bm_expect_data(to, 2, bm_slot(to, 0), 0, 0, 4096);
        bm_expect_data(to, 0, bm_slot(to, 7), 1, 0x3000, 4096);
        bm_expect_nothing(to, 2, bm_slot(to, 1), 0);
        /* The rings go on, with the counts that they had. */
        g_assert_cmpuint(bridge_identify(&to->b).members, ==, 4);
        bridge_expect(bridge_attach(&to->b, a, 9), P2P_BRIDGE_ATTACHED);
        bridge_ok(bridge_attach(&to->b, shared, 3));
        bridge_ok(bridge_detach(&to->b, shared));
        bm_end(from);
        from = to;
    }
    /* A number that was is not given again. */
    again = bm_share(from, 0, 2, 0, SIZE, RW);
    g_assert_true(again != a && again != b && again != shared);
    bridge_ok(bridge_detach(&from->b, b));
    bm_expect_nothing(from, 2, bm_slot(from, 7), 1);
    bm_end(from);
}

/* Taken away here as there */
static void test_revoke_there(void)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
    uint32_t window = bm_show(from, 0, 0, SIZE, 0);
    BridgeEvent e;

    migrate(from, to);
    wait_running(to);
    bm_end(from);
    bm_host_unshare_begin(to, 0);
    e = bridge_wait_event_of(&to->b, P2P_BRIDGE_EVENT_REVOKE);
    g_assert_cmphex(e.window, ==, window);
    bridge_ok(bridge_acknowledge(&to->b, window));
    bm_host_unshare_end(to);
    e = bridge_wait_event_of(&to->b, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
    bm_expect_nothing(to, 2, bm_slot(to, 0), 0);
    bm_end(to);
}

/* --- What is not there ------------------------------------------------- */

static void expect_lost(const char *t0, uint64_t offset, bool kept)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", t0);
    uint32_t attached = bm_show(from, 0, offset, SIZE, 0);
    uint32_t shared = bm_share(from, 0, 2, offset, SIZE, RW);
    uint32_t other = bm_show(from, 1, 0, SIZE, 1);
    unsigned seen = 0;

    g_test_message("%s", t0);
    bridge_drop_events(&from->b);
    migrate(from, to);
    wait_running(to);
    bm_end(from);
    while (!kept && seen != 3) {
        BridgeEvent e = bridge_wait_event_of(&to->b,
                                             P2P_BRIDGE_EVENT_REVOKED);

        g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_REVOKE_MIGRATED);
        seen |= e.window == attached ? 1 : e.window == shared ? 2 : 4;
    }
    if (kept) {
        bm_expect_data(to, 2, bm_slot(to, 0), 0, offset, 4096);
        g_assert_cmpuint(bridge_state(&to->b, shared), ==,
                         P2P_BRIDGE_STATE_SHARED);
    } else {
        bm_expect_nothing(to, 2, bm_slot(to, 0), 0);
        g_assert_cmpuint(bridge_record(&to->b, shared).reason, ==,
                         P2P_BRIDGE_REVOKE_MIGRATED);
        bridge_expect(bridge_attach(&to->b, shared, 2), P2P_BRIDGE_REVOKED);
        bridge_ok(bridge_unshare(&to->b, attached));
        bridge_ok(bridge_unshare(&to->b, shared));
    }
    bm_expect_data(to, 2, bm_slot(to, 1), 1, 0, 4096);
    bridge_ok(bridge_detach(&to->b, other));
    bm_end(to);
}

/* What was shared there is shared here, if that is possible. */
static void test_lost(void)
{
    expect_lost(",p2p-share=bar2", 0, true);
    expect_lost(",p2p-share=bar2", MiB - SIZE, true);
    expect_lost(",p2p-share=none", 0, true);
    /* Part of the BAR has no memory here. */
    expect_lost(",msix-hole=on,p2p-share=bar2", 0, false);
}

/* The run-time part of what is shared: a window of p2p-share */
static void test_shared_at_run_time(void)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
    uint32_t window;

    bm_host_unshare(from, 0);
    bm_host_share(from, 0, 0x4000, SIZE);
    window = bm_show(from, 0, 0x4000, SIZE, 2);
    migrate(from, to);
    wait_running(to);
    bm_end(from);
    g_assert_cmpuint(bridge_state(&to->b, window), ==,
                     P2P_BRIDGE_STATE_ATTACHED);
    bm_expect_data(to, 2, bm_slot(to, 2), 0, 0x4000, 4096);
    bm_end(to);
}

/* --- Refused ----------------------------------------------------------- */

/* The other side cannot take the state; this one goes on as if nothing was. */
static void expect_refused(const char *group, const char *there_group,
                           const char *there_bridge, const char *there_t0)
{
    BridgeMachineOptions options = source_options;
    BridgeMachine *from, *to = incoming(there_group, there_bridge, there_t0);
    Bridge *b;
    uint32_t window;

    g_test_message("%s%s%s", there_group, there_bridge, there_t0);
    options.group = group;
    from = bm_new(&options);
    b = &from->b;
    window = bm_show(from, 0, 0, SIZE, 0);
    if (*group) {
        bridge_disable(b);
        bridge_set64(b, P2P_BRIDGE_DRIVER_FEATURES,
                     P2P_BRIDGE_FEATURE_BUS_ADDRESS);
        g_assert_cmpuint(bridge_enable(b), ==, 0);
    }
    /* Stopped, so that what this side does afterwards is known. */
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'stop' }");
    start(from, to);
    wait_status(to, "failed");
    qtest_quit(to->qts);
    to->qts = NULL;

    go_on(from);
    bridge_identify(b);
    bm_expect_data(from, 2, bm_slot(from, 0), 0, 0, 4096);
    bridge_ok(bridge_detach(b, window));
    bm_end(from);
    for (unsigned n = 0; n < BM_DEVICES; n++) {
        if (to->fd[n] >= 0) {
            close(to->fd[n]);
        }
    }
    g_free(to);
}

static void test_feature(void)
{
    expect_refused(",bus-address=on", "", "", ",p2p-share=bar2");
}

/* The driver has asked how many slots there are, and does not ask again. */
static void test_aperture(void)
{
    expect_refused("", "", ",aperture=2M", ",p2p-share=bar2");
    expect_refused("", "", ",aperture=2G", ",p2p-share=bar2");
}

/* --- In the middle of things ------------------------------------------- */

static BridgeCommand identify(Bridge *b)
{
    BridgeCommand c = bridge_cmd(P2P_BRIDGE_OP_IDENTIFY);

    c.out_addr = b->memory + BRIDGE_OUTPUT;
    c.out_len = P2P_BRIDGE_IDENTIFY_BYTES;
    return c;
}

/* Commands without a doorbell, completions not taken, a doorbell too late */
static void test_pending(void)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
    Bridge *b = &from->b;
    BridgeCommand c = identify(b);

    bridge_disable(b);
    bridge_rings(b, 64, 4, 8);
    g_assert_cmpuint(bridge_enable(b), ==, 0);
    for (unsigned i = 0; i < 10; i++) {
        bridge_give(b, &c);
    }
    bridge_doorbell(b);
    bridge_settle(b);
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMPLETION_TAIL), ==, 4);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 0; i < 10; i++) {
        bridge_give(b, &c);
    }
    bridge_doorbell(b);
    bridge_settle(b);
    migrate(from, to);
    bm_end(from);

    b = &to->b;
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'cont' }");
    wait_running(to);
    for (unsigned i = 0; i < 20; i++) {
        bridge_ok(bridge_wait(b));
        bridge_doorbell(b);
    }
    g_assert_cmpuint(bridge_count(b, P2P_BRIDGE_COMMAND_HEAD), ==, 20);
    bm_end(to);
}

/* A doorbell that nobody has heard yet is heard there. */
static void test_doorbell(void)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
    BridgeCommand c = identify(&from->b);

    qtest_qmp_assert_success(from->qts, "{ 'execute': 'stop' }");
    bridge_give(&from->b, &c);
    bridge_doorbell(&from->b);
    bridge_settle(&from->b);
    migrate(from, to);
    bm_end(from);
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'cont' }");
    bridge_ok(bridge_wait(&to->b));
    bm_end(to);
}

/* What was lost while the machine stood still is told by the other one. */
static void test_untold(void)
{
    BridgeMachine *from = bm_new(&source_options);
    BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
    uint32_t window = bm_show(from, 0, 0, SIZE, 0);
    BridgeEvent e;

    bridge_drop_events(&from->b);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'stop' }");
    bm_host_unshare(from, 0);
    bm_host_share(from, 0, 0, from->size[0]);
    migrate(from, to);
    bm_end(from);
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'cont' }");
    e = bridge_wait_event_of(&to->b, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmphex(e.window, ==, window);
    g_assert_cmpuint(e.reason, ==, P2P_BRIDGE_REVOKE_UNSHARED);
    bm_expect_nothing(to, 2, bm_slot(to, 0), 0);
    bm_end(to);
}

/*
 * For a while nothing but the human monitor takes commands: QMP's wait for the
 * guest, all monitors of them.
 */
static void tell(const char *path, const char *command)
{
    int fd = unix_connect(path, &error_abort);
    g_autoptr(GString) got = g_string_new("");
    unsigned prompts = 0;

    g_assert_cmpint(qemu_write_full(fd, command, strlen(command)), ==,
                    strlen(command));
    while (prompts < 2) {
        char buffer[4096];
        ssize_t n = read(fd, buffer, sizeof(buffer));

        g_assert_cmpint(n, >, 0);
        g_string_append_len(got, buffer, n);
        prompts = 0;
        for (const char *at = got->str; (at = strstr(at, "(qemu) ")); at++) {
            prompts++;
        }
    }
    g_assert_null(strstr(got->str, "Error"));
    close(fd);
}

static void expect_revoking_goes_on(bool answer)
{
    g_autofree char *path = in_folder("monitor");
    g_autofree char *more = g_strdup_printf(
        "-monitor unix:%s,server=on,wait=off", path);
    BridgeMachineOptions options = source_options;
    BridgeMachine *from, *to = incoming("", "", ",p2p-share=bar2");
    g_autofree char *uri = listen_there(to);
    g_autofree char *command = g_strdup_printf("migrate -d %s\n", uri);
    uint32_t window;
    BridgeEvent e;

    options.more = more;
    from = bm_new(&options);
    window = bm_show(from, 0, 0, SIZE, 0);
    bridge_drop_events(&from->b);
    bm_host_unshare_begin(from, 0);
    tell(path, command);
    wait_status(to, "completed");
    wait_running(to);
    move_driver(from, to);
    /* It is on its way with the machine, and not taken back here. */
    bm_host_unshare_fails(from);
    bm_end(from);

    g_assert_cmpuint(bridge_state(&to->b, window), ==,
                     P2P_BRIDGE_STATE_REVOKING);
    bridge_wait_event_of(&to->b, P2P_BRIDGE_EVENT_REVOKE);
    if (answer) {
        bridge_ok(bridge_acknowledge(&to->b, window));
    } else {
        bm_milliseconds(to, 60000);
    }
    e = bridge_wait_event_of(&to->b, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmphex(e.window, ==, window);
    g_assert_cmpuint(e.reason, ==, answer ? P2P_BRIDGE_REVOKE_ACKNOWLEDGED
                                          : P2P_BRIDGE_REVOKE_TIMEOUT);
    bm_expect_nothing(to, 2, bm_slot(to, 0), 0);
    bm_end(to);
}

static void test_revoking(void)
{
    expect_revoking_goes_on(true);
    expect_revoking_goes_on(false);
}

/* --- Other states ------------------------------------------------------ */

static void test_states(void)
{
    for (unsigned i = 0; i < 3; i++) {
        BridgeMachine *from = bm_new(&source_options);
        BridgeMachine *to = incoming("", "", ",p2p-share=bar2");
        Bridge *b = &from->b;
        uint32_t window = bm_show(from, 0, 0, SIZE, 0);
        uint32_t regs[P2P_BRIDGE_EVENT_VECTOR / 4 + 1];

        switch (i) {
        case 0:         /* failed */
            qtest_writel(from->qts, b->index, 5000);
            bridge_doorbell(b);
            bridge_wait_failed(b);
            break;
        case 1:         /* disabled */
            bridge_disable(b);
            bridge_set(b, P2P_BRIDGE_COMMAND_SIZE, 0x77);
            break;
        case 2:         /* as after a reset */
            bridge_reset(b);
            break;
        }
        for (unsigned r = 0; r < ARRAY_SIZE(regs); r++) {
            regs[r] = bridge_get(b, r * 4);
        }
        migrate(from, to);
        wait_running(to);
        bm_end(from);
        b = &to->b;
        for (unsigned r = 0; r < ARRAY_SIZE(regs); r++) {
            g_assert_cmphex(bridge_get(b, r * 4), ==, regs[r]);
        }
        if (i < 2) {
            bm_expect_data(to, 2, bm_slot(to, 0), 0, 0, 4096);
        } else {
            bm_expect_nothing(to, 2, bm_slot(to, 0), 0);
        }
        bridge_disable(b);
        bridge_start(b);
        bridge_expect(bridge_detach(b, window), i < 2 ? P2P_BRIDGE_OK
                                                      : P2P_BRIDGE_NO_WINDOW);
        bm_end(to);
    }
}

int main(int argc, char **argv)
{
    static const char *const sockets[] = { "socket", "monitor" };
    int ret;

    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("p2p-bridge-XXXXXX", NULL);
    g_assert_nonnull(folder);
    qtest_add_func("p2p/bridge-migrate/windows", test_windows);
    qtest_add_func("p2p/bridge-migrate/revoke-there", test_revoke_there);
    qtest_add_func("p2p/bridge-migrate/lost", test_lost);
    qtest_add_func("p2p/bridge-migrate/shared-at-run-time",
                   test_shared_at_run_time);
    qtest_add_func("p2p/bridge-migrate/feature", test_feature);
    qtest_add_func("p2p/bridge-migrate/pending", test_pending);
    qtest_add_func("p2p/bridge-migrate/doorbell", test_doorbell);
    qtest_add_func("p2p/bridge-migrate/untold", test_untold);
    qtest_add_func("p2p/bridge-migrate/revoking", test_revoking);
    qtest_add_func("p2p/bridge-migrate/states", test_states);
    qtest_add_func("p2p/bridge-migrate/aperture", test_aperture);
    ret = g_test_run();
    for (unsigned i = 0; i < ARRAY_SIZE(sockets); i++) {
        g_autofree char *path = in_folder(sockets[i]);

        g_unlink(path);
    }
    g_rmdir(folder);
    g_free(folder);
    return ret;
}
