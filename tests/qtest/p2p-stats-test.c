/*
 * What is counted, by grant and by member
 *
 * Whatever happens, query-stats says of a member what query-p2p says of its
 * grants, in sum, and what it said before of those that are no more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "p2p-monitor.h"
#include "p2p-testdev.h"
#include "peer-machine.h"

#define DISK "-blockdev null-co,node-name=disk,size=4194304,read-zeroes=on "

/* Besides the target and the drive: an initiator, and one that may not. */
#define T1_SLOT 5
#define T1_REGISTERS 0xc1000000
#define T1 "-device p2p-testdev,id=t1,addr=5,p2p-group=g0,p2p-share=none "
#define T2 "-device p2p-testdev,id=t2,addr=6,p2p-group=g0,p2p-share=none," \
           "p2p-initiate=off "

#define NOWHERE (96 * GiB)
#define LEN     (64 * KiB)

/* From FAULTS on, only of emulated devices */
enum { INSTALLED, MAPS, UNMAPS, FAILURES, FAULTS, REQUESTS, BYTES };

static const char *const names[] = {
    [INSTALLED] = "windows-installed", [MAPS] = "maps", [UNMAPS] = "unmaps",
    [FAILURES] = "failures", [FAULTS] = "faults", [REQUESTS] = "requests",
    [BYTES] = "bytes",
};

/* --- Asking ------------------------------------------------------------ */

/* @arguments: JSON */
static QDict *ask(QTestState *qts, const char *command, const char *arguments)
{
    QObject *args = qobject_from_json(arguments, &error_abort);
    QDict *reply = qtest_qmp(qts, "{ 'execute': %s, 'arguments': %p }",
                             command, args);

    g_assert_true(qdict_haskey(reply, "return"));
    return reply;
}

/* What query-stats says of a member: name -> value. */
static QDict *stats_of(QTestState *qts, const char *filter, const char *id)
{
    g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", id);
    g_autofree char *json = g_strdup_printf("{ 'target': 'vm'%s }", filter);
    g_autoptr(QDict) reply = ask(qts, "query-stats", json);
    QDict *values = NULL;
    const QListEntry *r, *s;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), r) {
        const QDict *result = qobject_to(QDict, r->value);

        g_assert_cmpstr(qdict_get_str(result, "provider"), ==, "p2p");
        if (!g_str_equal(qdict_get_str(result, "qom-path"), path)) {
            continue;
        }
        g_assert_null(values);
        values = qdict_new();
        QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "stats"), s) {
            const QDict *stat = qobject_to(QDict, s->value);
            const char *name = qdict_get_str(stat, "name");

            g_assert_false(qdict_haskey(values, name));
            qdict_put_obj(values, name,
                          qobject_ref(qdict_get(stat, "value")));
        }
    }
    return values;
}

static uint64_t stat_of(PeerMachine *m, const char *id, const char *name)
{
    g_autoptr(QDict) values = stats_of(m->qts, "", id);

    return p2p_monitor_uint(values, name);
}

/* --- The same in query-p2p --------------------------------------------- */

static void add_grants(const QDict *window, const char *initiator,
                       uint64_t *sum)
{
    const QDict *grant = p2p_monitor_grant(window, initiator);

    if (!grant) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (g_str_equal(names[i], "windows-installed")) {
            sum[i] += qdict_get_bool(grant, "installed");
        } else if (qdict_haskey(grant, names[i])) {
            sum[i] += p2p_monitor_uint(grant, names[i]);
        }
    }
}

/* @ended: what grants did that are no more, one for each name; or NULL. */
static void expect_same(PeerMachine *m, const char *id, const uint64_t *ended)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts, "{ 'execute': 'query-p2p' }");
    g_autoptr(QDict) values = stats_of(m->qts, "", id);
    uint64_t sum[ARRAY_SIZE(names)] = { 0 };
    const QListEntry *g, *o, *w;
    bool passthrough = false;
    unsigned n;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), g) {
        const QDict *group = qobject_to(QDict, g->value);

        QLIST_FOREACH_ENTRY(qdict_get_qlist(group, "members"), o) {
            const QDict *member = qobject_to(QDict, o->value);

            QLIST_FOREACH_ENTRY(qdict_get_qlist(member, "windows"), w) {
                add_grants(qobject_to(QDict, w->value), id, sum);
            }
            if (g_str_equal(qdict_get_str(member, "id"), id)) {
                passthrough = g_str_equal(qdict_get_str(member, "kind"),
                                          "passthrough");
                g_assert_cmpint(qdict_haskey(member, "faults"), ==,
                                !passthrough);
                sum[FAULTS] = passthrough ? 0 : p2p_monitor_uint(member,
                                                                 "faults");
            }
        }
    }
    n = passthrough ? FAULTS : ARRAY_SIZE(names);
    g_assert_cmpuint(qdict_size(values), ==, n);
    for (unsigned i = 0; i < n; i++) {
        g_test_message("%s: %s %" PRIu64, id, names[i], sum[i]);
        g_assert_cmpuint(p2p_monitor_uint(values, names[i]), ==,
                         sum[i] + (ended ? ended[i] : 0));
    }
}

/* What the initiator's grant for a window says; UINT64_MAX: nothing. */
static uint64_t window_stat(PeerMachine *m, const char *initiator, int bar,
                            uint64_t offset, const char *name)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "t0", bar, offset);
    const QDict *grant = p2p_monitor_grant(window, initiator);

    return qdict_haskey(grant, name) ? p2p_monitor_uint(grant, name)
                                     : UINT64_MAX;
}

static uint64_t grant_stat(PeerMachine *m, const char *initiator, int bar,
                           const char *name)
{
    return window_stat(m, initiator, bar, 0, name);
}

static int drive_once(PeerMachine *m, DriveOp op, uint64_t gpa, uint32_t len)
{
    P2PBusVec vec = { .addr = { gpa }, .len = len };

    return drive_io(m->drive, op, 0, &vec, 1);
}

static TestDev t1_start(PeerMachine *m)
{
    return testdev_start(m->qts, T1_SLOT << 3,
                         (P2PGuestAddr) { T1_REGISTERS });
}

/* --- Tests ------------------------------------------------------------- */

static void test_no_group(void)
{
    static const struct {
        const char *command;
        const char *arguments;
    } empty[] = {
        { "query-stats", "{ 'target': 'vm' }" },
        { "query-stats",
          "{ 'target': 'vm', 'providers': [ { 'provider': 'p2p' } ] }" },
        { "query-stats-schemas", "{ 'provider': 'p2p' }" },
    };
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults "
                                 "-device p2p-testdev,id=t0");
    g_autofree char *hmp = qtest_hmp(qts, "info stats vm * p2p");

    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++) {
        g_autoptr(QDict) reply = ask(qts, empty[i].command,
                                     empty[i].arguments);

        g_assert_true(qlist_empty(qdict_get_qlist(reply, "return")));
    }
    g_assert_cmpstr(hmp, ==, "");
    qtest_quit(qts);
}

static void test_no_member(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults "
                                 "-object p2p-group,id=g0 "
                                 "-object p2p-group,id=g1 "
                                 "-device p2p-testdev,id=t0");
    g_autoptr(QDict) schemas = ask(qts, "query-stats-schemas",
                                   "{ 'provider': 'p2p' }");
    QList *list = qdict_get_qlist(schemas, "return");
    const QDict *schema = qobject_to(QDict, qlist_peek(list));
    const QListEntry *s;
    unsigned i = 0;

    g_assert_cmpuint(qlist_size(list), ==, 1);      /* for both groups */
    g_assert_cmpstr(qdict_get_str(schema, "provider"), ==, "p2p");
    g_assert_cmpstr(qdict_get_str(schema, "target"), ==, "vm");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(schema, "stats"), s) {
        const QDict *stat = qobject_to(QDict, s->value);
        const char *name = names[i++];

        g_assert_cmpstr(qdict_get_str(stat, "name"), ==, name);
        g_assert_cmpstr(qdict_get_str(stat, "type"), ==,
                        g_str_equal(name, "windows-installed")
                        ? "instant" : "cumulative");
        g_assert_cmpstr(qdict_get_try_str(stat, "unit"), ==,
                        g_str_equal(name, "bytes") ? "bytes" : NULL);
        g_assert_cmpint(qdict_get_int(stat, "exponent"), ==, 0);
    }
    g_assert_cmpuint(i, ==, ARRAY_SIZE(names));
    g_assert_null(stats_of(qts, "", "t0"));
    qtest_quit(qts);
}

/* Requests of a drive, one by one, whatever it takes its device. */
static void test_drive(const void *opaque)
{
    const DriveKind *kind = opaque;
    PeerMachine *m = peer_machine_new("q35", kind, "", DISK T1 T2);
    const uint64_t requests = 3, bytes = 3 * LEN;

    for (unsigned i = 0; i < requests; i++) {
        DriveOp op = i == 1 ? DRIVE_WRITE : DRIVE_READ;

        g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "requests"), ==, i);
        g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "bytes"), ==, i * LEN);
        g_assert_cmpint(drive_once(m, op, PEER_BAR2 + i * LEN, LEN), ==, 0);
    }
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "requests"), ==, requests);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "bytes"), ==, bytes);
    g_assert_cmpuint(peer_machine_requests(m, 2, "bounce"), ==, requests);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "windows-installed"), ==, 2);
    expect_same(m, DRIVE_ID, NULL);

    /* What is not in a window, or not seen, is not counted. */
    g_assert_cmpint(drive_once(m, DRIVE_READ, PEER_BAR4, LEN), ==, 0);
    g_assert_cmpint(drive_once(m, DRIVE_READ, 64 * MiB, LEN), ==, 0);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 4, "requests"), ==,
                     UINT64_MAX);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 4, "bytes"), ==, UINT64_MAX);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "requests"), ==, requests);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "bytes"), ==, bytes);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "faults"), ==, 0);

    /* Nor what is refused: that is a fault. */
    g_assert_cmpint(drive_once(m, DRIVE_READ, NOWHERE, LEN), ==, -EIO);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "faults"), >, 0);
    guest_pci_command(&m->target, 0, PCI_COMMAND_MEMORY);
    g_assert_cmpint(drive_once(m, DRIVE_READ, PEER_BAR2, LEN), ==, -EIO);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "requests"), ==, requests);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "bytes"), ==, bytes);
    expect_same(m, DRIVE_ID, NULL);

    g_assert_cmpuint(stat_of(m, "t1", "bytes"), ==, 0);
    g_assert_cmpuint(stat_of(m, "t1", "faults"), ==, 0);
    expect_same(m, "t1", NULL);
    expect_same(m, "t2", NULL);
    g_assert_cmpuint(stat_of(m, "t2", "maps"), ==, 0);
    peer_machine_end(m);
}

static void test_failed_request(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "",
        "-blockdev driver=blkdebug,node-name=disk,image.driver=null-co,"
        "image.size=4194304,inject-error.0.event=none,"
        "inject-error.0.iotype=write,inject-error.0.errno=28 ");
    g_autoptr(QDict) window = NULL;

    g_assert_cmpint(drive_once(m, DRIVE_READ, PEER_BAR2, LEN), ==, 0);
    g_assert_cmpint(drive_once(m, DRIVE_WRITE, PEER_BAR2, LEN), ==, -EIO);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "requests"), ==, 1);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "bytes"), ==, LEN);
    window = p2p_monitor_window(m->qts, "t0", 2, 0);
    g_assert_cmpuint(p2p_monitor_uint(window, "failed-requests"), ==, 1);
    peer_machine_end(m);
}

/* Nobody knows whose a namespace's requests are, but whose the buffers are. */
static void test_namespace(void)
{
    DriveKind kind = drive_nvme;
    PeerMachine *m;

    kind.options = "-device nvme,id=" DRIVE_ID ",addr=7,serial=n0,"
                   "p2p-group=g0 "
                   "-device nvme-ns,bus=" DRIVE_ID ",drive=disk,nsid=1";
    m = peer_machine_new("q35", &kind, "", DISK T1);
    g_assert_cmpint(drive_once(m, DRIVE_READ, PEER_BAR2, LEN), ==, 0);
    g_assert_cmpint(drive_once(m, DRIVE_WRITE, PEER_BAR2, LEN), ==, 0);
    g_assert_cmpuint(peer_machine_requests(m, 2, "bounce"), ==, 2);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "requests"), >=, 2);
    g_assert_cmpuint(grant_stat(m, DRIVE_ID, 2, "bytes"), ==, 2 * LEN);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==, 0);
    expect_same(m, DRIVE_ID, NULL);
    peer_machine_end(m);
}

static void share(PeerMachine *m, uint64_t offset, uint64_t size)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share',"
        " 'arguments': { 'device': 't0', 'bar': 2, 'offset': %" PRIu64 ","
        " 'size': %" PRIu64 " } }", offset, size);
}

/* A request is one of each window that it has buffers in; each has its own. */
static void test_two_windows(const void *opaque)
{
    PeerMachine *m = peer_machine_new("q35", opaque, "", DISK);
    const P2PBusVec vec[] = {
        { .addr = { PEER_BAR2 + 0x1000 }, .len = 0x1000 },
        { .addr = { 64 * MiB }, .len = 0x2000 },
        { .addr = { PEER_BAR2 + MiB + 0x3000 }, .len = 0x3000 },
        { .addr = { PEER_BAR2 + 0x8000 }, .len = 0x4000 },
    };

    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare',"
        " 'arguments': { 'device': 't0', 'bar': 2 } }");
    share(m, 0, MiB);
    share(m, MiB, MiB);
    for (unsigned i = 1; i <= 2; i++) {
        g_assert_cmpint(drive_io(m->drive, i == 1 ? DRIVE_READ : DRIVE_WRITE,
                                 0, vec, ARRAY_SIZE(vec)), ==, 0);
        g_assert_cmpuint(window_stat(m, DRIVE_ID, 2, 0, "requests"), ==, i);
        g_assert_cmpuint(window_stat(m, DRIVE_ID, 2, 0, "bytes"), ==,
                         i * 0x5000);
        g_assert_cmpuint(window_stat(m, DRIVE_ID, 2, MiB, "requests"), ==, i);
        g_assert_cmpuint(window_stat(m, DRIVE_ID, 2, MiB, "bytes"), ==,
                         i * 0x3000);
    }
    peer_machine_end(m);
}

/* Accesses without a buffer, by another initiator of the same window. */
static void test_accesses(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK T1);
    TestDev t1 = t1_start(m);
    uint8_t data[4096] = { 1 };
    uint64_t requests;

    g_assert_true(testdev_write(&t1, (P2PBusAddr) { PEER_BAR2 }, data, 8));
    g_assert_cmpuint(grant_stat(m, "t1", 2, "requests"), ==, 1);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==, 8);
    g_assert_true(testdev_read(&t1, (P2PBusAddr) { PEER_BAR2 + 1 }, data,
                               sizeof(data)));
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==,
                     8 + sizeof(data));
    requests = grant_stat(m, "t1", 2, "requests");
    g_assert_cmpuint(requests, >=, 1 + sizeof(data) / 8);

    g_assert_true(testdev_write(&t1, (P2PBusAddr) { PEER_BAR4 }, data, 8));
    g_assert_true(testdev_write(&t1, (P2PBusAddr) { 64 * MiB }, data, 8));
    g_assert_false(testdev_write(&t1, (P2PBusAddr) { NOWHERE }, data, 8));
    g_assert_cmpuint(stat_of(m, "t1", "requests"), ==, requests);
    g_assert_cmpuint(stat_of(m, "t1", "faults"), ==, 1);
    expect_same(m, "t1", NULL);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "requests"), ==, 0);
    g_assert_cmpuint(stat_of(m, DRIVE_ID, "faults"), ==, 0);
    peer_machine_end(m);
}

/* Each one, although but one event tells of them. */
static void test_faults(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK T1);
    TestDev t1 = t1_start(m);
    g_autofree char *hmp = NULL;
    unsigned events = 0;
    QDict *event;
    uint64_t word;

    for (unsigned i = 0; i < 100; i++) {
        P2PBusAddr bus = { NOWHERE + 8 * i };

        g_assert_false(i % 2 ? testdev_read(&t1, bus, &word, sizeof(word))
                             : testdev_write(&t1, bus, &word, sizeof(word)));
    }
    g_assert_cmpuint(stat_of(m, "t1", "faults"), ==, 100);
    expect_same(m, "t1", NULL);
    while ((event = qtest_qmp_event_ref(m->qts, "P2P_FAULT"))) {
        qobject_unref(event);
        events++;
    }
    g_assert_cmpuint(events, ==, 1);
    hmp = qtest_hmp(m->qts, "info p2p");
    g_assert_nonnull(strstr(hmp, "emulated, 100 faults"));
    peer_machine_end(m);
}

static void test_decode(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK T1);
    uint64_t maps = stat_of(m, "t1", "maps");
    uint64_t unmaps = stat_of(m, "t1", "unmaps");

    g_assert_cmpuint(maps, ==, unmaps + 2);
    for (unsigned i = 1; i <= 3; i++) {
        guest_pci_command(&m->target, 0, PCI_COMMAND_MEMORY);
        g_assert_cmpuint(stat_of(m, "t1", "windows-installed"), ==, 0);
        g_assert_cmpuint(stat_of(m, "t1", "unmaps"), ==, unmaps + 2 * i);
        expect_same(m, "t1", NULL);

        guest_pci_command(&m->target, PCI_COMMAND_MEMORY, 0);
        g_assert_cmpuint(stat_of(m, "t1", "windows-installed"), ==, 2);
        g_assert_cmpuint(stat_of(m, "t1", "maps"), ==, maps + 2 * i);
        g_assert_cmpuint(stat_of(m, "t1", "failures"), ==, 0);
        expect_same(m, "t1", NULL);
        expect_same(m, DRIVE_ID, NULL);
    }
    peer_machine_end(m);
}

static void inject(PeerMachine *m, uint64_t fail_at)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'qom-set', 'arguments': {"
        " 'path': 'fi0', 'property': 'fail-at', 'value': %" PRIu64 " } }",
        fail_at);
}

/* What QEMU does not see of it is not there; calls that fail are. */
static void test_passthrough(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK
        "-device p2p-fault-injector,id=fi0,count=100 "
        "-device p2p-fake-passthrough,id=t1,addr=5,p2p-group=g0,"
        "p2p-share=none ");
    uint64_t maps = stat_of(m, "t1", "maps");

    g_assert_cmpuint(stat_of(m, "t1", "windows-installed"), ==, 2);
    g_assert_cmpuint(stat_of(m, "t1", "failures"), ==, 0);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "requests"), ==, UINT64_MAX);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==, UINT64_MAX);
    expect_same(m, "t1", NULL);
    expect_same(m, DRIVE_ID, NULL);

    guest_pci_command(&m->target, 0, PCI_COMMAND_MEMORY);
    inject(m, 1);
    guest_pci_command(&m->target, PCI_COMMAND_MEMORY, 0);
    g_assert_cmpuint(stat_of(m, "t1", "windows-installed"), ==, 0);
    g_assert_cmpuint(stat_of(m, "t1", "maps"), ==, maps);
    g_assert_cmpuint(stat_of(m, "t1", "unmaps"), ==, maps);
    g_assert_cmpuint(stat_of(m, "t1", "failures"), >, 0);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "last-errno"), ==, ENOMEM);
    expect_same(m, "t1", NULL);

    inject(m, 0);
    guest_pci_command(&m->target, 0, PCI_COMMAND_MEMORY);
    guest_pci_command(&m->target, PCI_COMMAND_MEMORY, 0);
    g_assert_cmpuint(stat_of(m, "t1", "maps"), ==, maps + 2);
    g_assert_cmpuint(stat_of(m, "t1", "failures"), >, 0);
    expect_same(m, "t1", NULL);
    peer_machine_end(m);
}

static void get_stats(PeerMachine *m, const char *id, uint64_t *values)
{
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        values[i] = stat_of(m, id, names[i]);
    }
}

static void eject(PeerMachine *m, const char *id, unsigned slot)
{
    qtest_qmp_device_del_send(m->qts, id);
    qtest_outl(m->qts, 0xae08, 1u << slot);     /* PIIX4: the guest's part */
    qtest_qmp_eventwait(m->qts, "DEVICE_DELETED");
}

/*
 * What is cumulative does not fall: not when a window is shared no longer, nor
 * when its owner goes.  Who comes after another begins at 0.
 */
static void test_ended(void)
{
    PeerMachine *m = peer_machine_new("pc", &drive_nvme, "", DISK T1);
    TestDev t1 = t1_start(m);
    uint64_t before[ARRAY_SIZE(names)], ended[ARRAY_SIZE(names)];
    uint64_t word = 0;

    g_assert_true(testdev_write(&t1, (P2PBusAddr) { PEER_BAR2 }, &word, 8));
    g_assert_false(testdev_write(&t1, (P2PBusAddr) { NOWHERE }, &word, 8));
    get_stats(m, "t1", before);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare',"
        " 'arguments': { 'device': 't0', 'bar': 2 } }");
    get_stats(m, "t1", ended);
    g_assert_cmpuint(ended[INSTALLED], ==, 1);
    g_assert_cmpuint(ended[MAPS], ==, before[MAPS]);
    g_assert_cmpuint(ended[UNMAPS], ==, before[UNMAPS] + 1);
    for (unsigned i = FAILURES; i < ARRAY_SIZE(names); i++) {
        g_assert_cmpuint(ended[i], ==, before[i]);
    }

    /* Once more, now with nothing left. */
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare',"
        " 'arguments': { 'device': 't0', 'bar': 4 } }");
    get_stats(m, "t1", ended);
    g_assert_cmpuint(ended[INSTALLED], ==, 0);
    g_assert_cmpuint(ended[MAPS], ==, ended[UNMAPS]);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share',"
        " 'arguments': { 'device': 't0', 'bar': 2 } }");
    ended[FAULTS] = 0;          /* they are not of grants */
    expect_same(m, "t1", ended);
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==, 0);
    g_assert_true(testdev_write(&t1, (P2PBusAddr) { PEER_BAR2 }, &word, 8));
    expect_same(m, "t1", ended);

    /* The owner goes, and comes back. */
    get_stats(m, "t1", before);
    eject(m, "t0", PEER_SLOT);
    get_stats(m, "t1", ended);
    g_assert_cmpuint(ended[INSTALLED], ==, 0);
    g_assert_cmpuint(ended[MAPS], ==, before[MAPS]);
    g_assert_cmpuint(ended[UNMAPS], ==, before[MAPS]);
    g_assert_cmpuint(ended[BYTES], ==, before[BYTES]);
    ended[FAULTS] = 0;
    peer_machine_plug(m);
    peer_machine_place(m);
    expect_same(m, "t1", ended);
    g_assert_true(testdev_write(&t1, (P2PBusAddr) { PEER_BAR2 }, &word, 8));
    g_assert_cmpuint(stat_of(m, "t1", "bytes"), ==, before[BYTES] + 8);

    /* The initiator does. */
    eject(m, "t1", T1_SLOT);
    g_assert_null(stats_of(m->qts, "", "t1"));
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', 'arguments':"
        " { 'driver': 'p2p-testdev', 'id': 't1', 'addr': '5.0',"
        " 'p2p-group': 'g0', 'p2p-share': 'none' } }");
    g_assert_cmpuint(grant_stat(m, "t1", 2, "bytes"), ==, 0);
    g_assert_cmpuint(stat_of(m, "t1", "faults"), ==, 0);
    expect_same(m, "t1", NULL);
    peer_machine_end(m);
}

static void expect_names(PeerMachine *m, const char *filter, unsigned n,
                         const char *name)
{
    g_autoptr(QDict) values = stats_of(m->qts, filter, "t1");

    g_assert_cmpuint(values ? qdict_size(values) : 0, ==, n);
    if (name) {
        g_assert_true(qdict_haskey(values, name));
    }
}

static void test_filters(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK T1);
    g_autoptr(QDict) reply = NULL;

    expect_names(m, ", 'providers': [ { 'provider': 'p2p' } ]",
                 ARRAY_SIZE(names), NULL);
    expect_names(m, ", 'providers': [ { 'provider': 'kvm' } ]", 0, NULL);
    expect_names(m, ", 'providers': [ { 'provider': 'p2p',"
                 " 'names': [ 'maps' ] } ]", 1, "maps");
    expect_names(m, ", 'providers': [ { 'provider': 'p2p',"
                 " 'names': [ 'bytes', 'halt_exits', 'faults' ] } ]", 2,
                 "bytes");
    expect_names(m, ", 'providers': [ { 'provider': 'p2p',"
                 " 'names': [ 'nothing' ] } ]", 0, NULL);
    expect_names(m, ", 'providers': [ { 'provider': 'p2p',"
                 " 'names': [] } ]", 0, NULL);

    reply = ask(m->qts, "query-stats", "{ 'target': 'vcpu' }");
    g_assert_true(qlist_empty(qdict_get_qlist(reply, "return")));
    peer_machine_end(m);
}

static void test_hmp(void)
{
    PeerMachine *m = peer_machine_new("q35", &drive_nvme, "", DISK);
    g_autofree char *all = NULL;
    g_autofree char *some = NULL;
    g_autofree char *p2p = NULL;

    g_assert_cmpint(drive_once(m, DRIVE_READ, PEER_BAR2, 4096), ==, 0);
    all = qtest_hmp(m->qts, "info stats vm");
    g_assert_nonnull(strstr(all, "provider: p2p"));
    g_assert_nonnull(strstr(all, "windows-installed (instant): 2"));
    g_assert_nonnull(strstr(all, "failures (cumulative): 0"));
    g_assert_nonnull(strstr(all, "requests (cumulative): 1"));
    g_assert_nonnull(strstr(all, "bytes (cumulative, B): 4096"));
    some = qtest_hmp(m->qts, "info stats vm maps,bytes p2p");
    g_assert_nonnull(strstr(some, "maps (cumulative): "));
    g_assert_nonnull(strstr(some, "bytes (cumulative, B): 4096"));
    g_assert_null(strstr(some, "fail"));
    p2p = qtest_hmp(m->qts, "info p2p");
    g_assert_nonnull(strstr(p2p, ", 1 requests, 4 KiB"));
    peer_machine_end(m);
}

int main(int argc, char **argv)
{
    static const DriveKind *const drives[] = {
        &drive_nvme, &drive_nvme_sgl, &drive_virtio_blk,
        &drive_virtio_blk_iothread, &drive_virtio_scsi, &drive_ahci,
    };

    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/stats/no-group", test_no_group);
    qtest_add_func("p2p/stats/no-member", test_no_member);
    for (unsigned i = 0; i < ARRAY_SIZE(drives); i++) {
        g_autofree char *path = g_strdup_printf("p2p/stats/drive/%s",
                                                drives[i]->name);

        qtest_add_data_func(path, drives[i], test_drive);
        g_free(path);
        path = g_strdup_printf("p2p/stats/two-windows/%s", drives[i]->name);
        qtest_add_data_func(path, drives[i], test_two_windows);
    }
    qtest_add_func("p2p/stats/failed-request", test_failed_request);
    qtest_add_func("p2p/stats/namespace", test_namespace);
    qtest_add_func("p2p/stats/accesses", test_accesses);
    qtest_add_func("p2p/stats/faults", test_faults);
    qtest_add_func("p2p/stats/decode", test_decode);
    qtest_add_func("p2p/stats/passthrough", test_passthrough);
    qtest_add_func("p2p/stats/ended", test_ended);
    qtest_add_func("p2p/stats/filters", test_filters);
    qtest_add_func("p2p/stats/hmp", test_hmp);
    return g_test_run();
}
