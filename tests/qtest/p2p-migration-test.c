/*
 * A machine with a p2p-group migrates, is saved, stops and goes on
 *
 * Two processes of QEMU.  A disk has a limit on its requests, by a clock that
 * does not run: what is sent is in flight when the machine stops.  The target,
 * a p2p-testdev, cannot be saved if it is written to after it was told to stop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "image.h"
#include "p2p-monitor.h"
#include "peer-machine.h"

#define DISK_SIZE (4 * MiB)
#define PIECE     (64 * KiB)
#define TARGET    "p2p-share=bar2+bar4"
#define TIMEOUT_S 60

static char *folder;

/* --- Monitor ----------------------------------------------------------- */

static char *in_folder(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

/* 10.0 tells of errors in a state on standard error only. */
static bool errors_come_by_monitor(QTestState *qts)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'query-version' }");
    QDict *version = qdict_get_qdict(qdict_get_qdict(reply, "return"), "qemu");

    return qdict_get_int(version, "major") > 10 ||
           qdict_get_int(version, "minor") >= 2;
}

static bool is_running(QTestState *qts)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'query-status' }");

    return qdict_get_bool(qdict_get_qdict(reply, "return"), "running");
}

static void wait_running(QTestState *qts)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;

    while (!is_running(qts)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void stop(PeerMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'stop' }");
}

static void cont(PeerMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'cont' }");
}

static bool late_writes(PeerMachine *m)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts, "{ 'execute': 'qom-get', "
        "'arguments': { 'path': '/machine/peripheral/t0', "
        "'property': 'late-writes' } }");

    return qdict_get_bool(reply, "return");
}

static void set_capability(PeerMachine *m, const char *name)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': "
        "'migrate-set-capabilities', 'arguments': { 'capabilities': [ "
        "{ 'capability': %s, 'state': true } ] } }", name);
}

/*
 * How a migration ends on one side: its status, to be freed; @why: the error,
 * to be freed, "" if there is none.
 */
static char *migration_end(PeerMachine *m, char **why)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT_S * G_USEC_PER_SEC;

    for (;;) {
        g_autoptr(QDict) reply = qtest_qmp(m->qts,
                                           "{ 'execute': 'query-migrate' }");
        QDict *info = qdict_get_qdict(reply, "return");
        const char *status = qdict_get_try_str(info, "status") ?: "";

        if (g_str_equal(status, "completed") ||
            g_str_equal(status, "failed") ||
            g_str_equal(status, "cancelled")) {
            *why = g_strdup(qdict_get_try_str(info, "error-desc") ?: "");
            return g_strdup(status);
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void expect_end(PeerMachine *m, const char *status)
{
    g_autofree char *why = NULL;
    g_autofree char *is = migration_end(m, &why);

    g_assert_cmpstr(why, ==, "");
    g_assert_cmpstr(is, ==, status);
}

/* @words: what the error must have in it; NULL at the end */
static void expect_failure(PeerMachine *m, const char *const *words)
{
    g_autofree char *why = NULL;
    g_autofree char *is = migration_end(m, &why);

    g_assert_cmpstr(is, ==, "failed");
    g_test_message("%s", why);
    for (; *words && errors_come_by_monitor(m->qts); words++) {
        if (!strstr(why, *words)) {
            g_error("'%s' is not in: %s", *words, why);
        }
    }
}

static void migrate_to(PeerMachine *m, const char *uri)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': %s } }", uri);
}

static void migrate_from(PeerMachine *m, const char *uri)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'migrate-incoming', "
                             "'arguments': { 'uri': %s, "
                             "'exit-on-error': false } }", uri);
}

/* Both begin; how it ends is for the caller to see. */
static void go_over(PeerMachine *from, PeerMachine *to)
{
    g_autofree char *path = in_folder("socket");
    g_autofree char *uri = g_strdup_printf("unix:%s", path);

    migrate_from(to, uri);
    migrate_to(from, uri);
}

/* --- Traffic ----------------------------------------------------------- */

/* Half of the requests read from the disk into BAR 2, the others write. */

typedef struct Traffic {
    unsigned n;             /* requests at a time */
    uint8_t *disk;          /* what must be on it when all have ended */
    uint8_t *bar2;          /* what must be in it */
} Traffic;

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 4) {
        stl_he_p(data + i, g_test_rand_int());
    }
}

static void traffic_init(Traffic *t, PeerMachine *m, const uint8_t *disk)
{
    t->n = m->drive->kind->requests;
    t->disk = g_memdup2(disk, DISK_SIZE);
    t->bar2 = g_malloc(PEER_SIZE);
    fill(t->bar2, PEER_SIZE);
    memcpy(m->bar2, t->bar2, PEER_SIZE);
}

static void traffic_end(Traffic *t)
{
    g_free(t->disk);
    g_free(t->bar2);
}

/*
 * Request @tag moves a piece, of which disk and BAR have 64 each, and that was
 * not in both before.
 */
static void traffic_send(Traffic *t, PeerMachine *m, unsigned tag, DriveOp op)
{
    unsigned at = g_test_rand_int_range(0, 4) * 16 + tag;
    P2PBusVec vec = { .addr = { PEER_BAR2 + at * PIECE }, .len = PIECE };

    fill(t->bar2 + at * PIECE, PIECE);
    memcpy(m->bar2 + at * PIECE, t->bar2 + at * PIECE, PIECE);
    if (op == DRIVE_READ) {
        memcpy(t->bar2 + at * PIECE, t->disk + at * PIECE, PIECE);
    } else {
        memcpy(t->disk + at * PIECE, t->bar2 + at * PIECE, PIECE);
    }
    drive_submit(m->drive, tag, op, at * PIECE, &vec, 1);
}

static void traffic_send_all(Traffic *t, PeerMachine *m)
{
    for (unsigned tag = 0; tag < t->n; tag++) {
        bool read = t->n > 1 ? tag < t->n / 2 : g_test_rand_bit();

        traffic_send(t, m, tag, read ? DRIVE_READ : DRIVE_WRITE);
    }
}

static void traffic_wait_all(Traffic *t, PeerMachine *m)
{
    for (unsigned tag = 0; tag < t->n; tag++) {
        g_assert_cmpint(drive_wait(m->drive, tag), ==, 0);
    }
}

static void check_bar2(Traffic *t, PeerMachine *m)
{
    g_assert_true(!memcmp(t->bar2, m->bar2, PEER_SIZE));
}

static void check_disk(Traffic *t, const Image *image)
{
    g_autofree uint8_t *got = image_read(image, DISK_SIZE);

    g_assert_true(!memcmp(got, t->disk, DISK_SIZE));
}

/* From now on all requests but the first few wait, until the disk is drained */
static void throttle(PeerMachine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'qom-set', 'arguments': "
        "{ 'path': '/objects/tg0', 'property': 'limits', "
        "'value': { 'iops-total': 1 } } }");
}

static unsigned count_pending(Traffic *t, PeerMachine *m)
{
    unsigned n = 0;

    for (unsigned tag = 0; tag < t->n; tag++) {
        n += drive_poll(m->drive, tag) == -EAGAIN;
    }
    return n;
}

/* Not all of them end before the machine stops. */
static void send_throttled(Traffic *t, PeerMachine *m)
{
    unsigned rounds = 0;

    do {
        g_assert_cmpuint(rounds++, <, 10);
        traffic_wait_all(t, m);
        traffic_send_all(t, m);
        g_usleep(10 * 1000);
    } while (!count_pending(t, m));
}

typedef struct Bench {
    Image *image;
    char *options;      /* the node "disk" */
    Traffic t;
    PeerMachine *m;     /* the source */
} Bench;

static void bench_start(Bench *b, const DriveKind *kind, const char *image,
                        const char *more)
{
    g_autofree uint8_t *disk = g_malloc(DISK_SIZE);
    g_autofree char *why = NULL, *options = NULL;

    fill(disk, DISK_SIZE);
    b->image = image_new(image_kind(image), disk, DISK_SIZE, &why);
    g_assert_cmpstr(why, ==, NULL);
    b->options = image_options(b->image);
    options = g_strconcat(b->options, more, NULL);
    b->m = peer_machine_new("q35", kind, "", options);
    traffic_init(&b->t, b->m, disk);
    traffic_send_all(&b->t, b->m);
}

static void bench_end(Bench *b)
{
    check_disk(&b->t, b->image);
    traffic_end(&b->t);
    image_free(b->image);
    g_free(b->options);
}

/* --- Migration with requests in flight --------------------------------- */

static void test_traffic(const void *opaque)
{
    const DriveKind *kind = opaque;
    PeerMachine *to;
    Bench b;

    bench_start(&b, kind, "raw-throttled", NULL);
    to = peer_machine_incoming("q35", kind, "", TARGET, b.options);
    throttle(b.m);
    send_throttled(&b.t, b.m);

    go_over(b.m, to);
    expect_end(b.m, "completed");
    expect_end(to, "completed");
    wait_running(to->qts);
    peer_machine_move(b.m, to);

    traffic_wait_all(&b.t, to);
    check_bar2(&b.t, to);
    g_assert_cmpint(memcmp(b.m->bar2, to->bar2, PEER_SIZE), ==, 0);
    g_assert_false(late_writes(b.m));
    peer_machine_end(b.m);

    /* The far side works as the near one did. */
    for (unsigned i = 0; i < 4; i++) {
        traffic_send_all(&b.t, to);
        traffic_wait_all(&b.t, to);
        check_bar2(&b.t, to);
    }
    peer_machine_end(to);
    bench_end(&b);
}

/* What the controller has in its queue is done, not only what is in flight. */
static void test_queue(void)
{
    P2PBusVec vec[DRIVE_AHCI_SLOTS];
    PeerMachine *to;
    Bench b;

    bench_start(&b, &drive_ahci, "raw-throttled", NULL);
    to = peer_machine_incoming("q35", &drive_ahci, "", TARGET, b.options);
    throttle(b.m);
    send_throttled(&b.t, b.m);
    stop(b.m);
    g_assert_cmpuint(drive_ahci_slots(b.m->drive), ==, 0);
    cont(b.m);

    for (unsigned i = 0; i < DRIVE_AHCI_SLOTS; i++) {
        vec[i] = (P2PBusVec) { { PEER_BAR2 + i * PIECE }, .len = PIECE };
    }
    for (unsigned i = 0; i < 2; i++) {
        fill(b.t.bar2, DRIVE_AHCI_SLOTS * PIECE);
        memcpy(b.m->bar2, b.t.bar2, DRIVE_AHCI_SLOTS * PIECE);
        memcpy(b.t.bar2, b.t.disk + MiB, DRIVE_AHCI_SLOTS * PIECE);
        drive_ahci_read_slots(b.m->drive, MiB, vec);
        g_assert_cmpuint(drive_ahci_slots(b.m->drive), >, 1);
        if (!i) {
            stop(b.m);
            g_assert_cmpuint(drive_ahci_slots(b.m->drive), ==, 0);
            check_bar2(&b.t, b.m);
            cont(b.m);
        }
    }
    go_over(b.m, to);
    expect_end(b.m, "completed");
    expect_end(to, "completed");
    wait_running(to->qts);
    peer_machine_move(b.m, to);
    peer_machine_end(b.m);
    g_assert_cmpuint(drive_ahci_slots(to->drive), ==, 0);
    check_bar2(&b.t, to);
    peer_machine_end(to);
    bench_end(&b);
}

/* A drive whose first read of the second piece fails, which stops the machine */
static const DriveKind *failing_drive(void)
{
    static DriveKind kind;

    kind = drive_virtio_blk;
    kind.options = "-device virtio-blk-pci,drive=disk,id=drive0,addr=7,"
                   "disable-legacy=on,iommu_platform=on,p2p-group=g0,"
                   "rerror=stop";
    return &kind;
}

static void start_failing(Bench *b, const char *image)
{
    g_autofree char *options = NULL;
    P2PBusVec vec = { .addr = { PEER_BAR2 + PIECE }, .len = PIECE };

    bench_start(b, failing_drive(), image, NULL);
    traffic_wait_all(&b->t, b->m);
    peer_machine_end(b->m);
    options = g_strdup_printf("-blockdev driver=blkdebug,node-name=disk,"
                              "image.driver=%s,image.file.driver=file,"
                              "image.file.filename=%s,"
                              "inject-error.0.event=none,"
                              "inject-error.0.iotype=read,"
                              "inject-error.0.errno=5,"
                              "inject-error.0.once=on,"
                              "inject-error.0.sector=%u ", image,
                              b->image->file,
                              (unsigned)(PIECE / DRIVE_BLOCK));
    b->m = peer_machine_new("q35", failing_drive(), "", options);
    memcpy(b->m->bar2, b->t.bar2, PEER_SIZE);
    drive_submit(b->m->drive, 0, DRIVE_READ, PIECE, &vec, 1);
    qtest_qmp_eventwait(b->m->qts, "BLOCK_IO_ERROR");
    qtest_qmp_eventwait(b->m->qts, "STOP");
}

/*
 * The request that failed, which is done again when the machine goes on; it
 * fails once more if the drive was opened anew.
 */
static void finish(Bench *b, PeerMachine *m, bool again)
{
    check_bar2(&b->t, m);
    g_assert_cmpint(drive_poll(m->drive, 0), ==, -EAGAIN);
    cont(m);
    if (again) {
        qtest_qmp_eventwait(m->qts, "BLOCK_IO_ERROR");
        while (is_running(m->qts)) {
            g_usleep(1000);
        }
        cont(m);
    }
    g_assert_cmpint(drive_wait(m->drive, 0), ==, 0);
    memcpy(b->t.bar2 + PIECE, b->t.disk + PIECE, PIECE);
    check_bar2(&b->t, m);
}

/* A request that waits for a drive that failed goes along, and is done. */
static void test_unfinished(void)
{
    PeerMachine *to;
    Bench b;

    start_failing(&b, "raw");
    to = peer_machine_incoming("q35", failing_drive(), "", TARGET, b.options);
    go_over(b.m, to);
    expect_end(b.m, "completed");
    expect_end(to, "completed");
    peer_machine_move(b.m, to);
    peer_machine_end(b.m);
    finish(&b, to, false);
    peer_machine_end(to);
    bench_end(&b);
}

static void hmp(PeerMachine *m, const char *command)
{
    g_autofree char *reply = qtest_hmp(m->qts, "%s", command);

    g_assert_cmpstr(reply, ==, "");
}

/* So it is with a snapshot, into a machine that has stopped. */
static void test_unfinished_snapshot(void)
{
    g_autofree uint8_t *before = NULL;
    Bench b;

    start_failing(&b, "qcow2");
    hmp(b.m, "savevm s0");
    before = g_memdup2(b.t.bar2, PEER_SIZE);
    finish(&b, b.m, false);
    stop(b.m);
    hmp(b.m, "loadvm s0");
    memcpy(b.t.bar2, before, PEER_SIZE);
    drive_virtio_loaded(b.m->drive);
    finish(&b, b.m, true);
    peer_machine_end(b.m);
    bench_end(&b);
}

/* --- Windows that came and went at run time ----------------------------- */

static bool has_window(PeerMachine *m, int bar, uint64_t offset, uint64_t size,
                       const char *access)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "t0", bar, offset);

    return window && p2p_monitor_uint(window, "size") == size &&
           g_str_equal(qdict_get_str(window, "access"), access);
}

static void share(PeerMachine *m, int bar, uint64_t offset, uint64_t size,
                  const char *access)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-share', 'arguments': "
        "{ 'device': 't0', 'bar': %d, 'offset': %" PRIu64 ", "
        "'size': %" PRIu64 ", 'access': %s } }", bar, offset, size, access);
}

static void share_no_more(PeerMachine *m, int bar)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'p2p-unshare', "
        "'arguments': { 'device': 't0', 'bar': %d } }", bar);
}

/* RAM in a file, which devices of the host could reach, too */
#define SHMEM "-object memory-backend-memfd,id=shm,size=1M,share=on " \
              "-device ivshmem-plain,id=shm0,memdev=shm,master=on,addr=10," \
              "p2p-group=g0 "

static bool has_shmem(PeerMachine *m)
{
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, "shm0", 2, 0);

    return window;
}

static void check_moved_windows(PeerMachine *m)
{
    g_assert_false(has_shmem(m));
    g_assert_true(has_window(m, 2, 0, MiB, "rw"));
    g_assert_true(has_window(m, 2, 2 * MiB, MiB, "ro"));
    g_assert_false(has_window(m, 2, 0, PEER_SIZE, "rw"));
    g_assert_false(has_window(m, 4, 0, PEER_SIZE, "rw"));
}

/* What the state would undo is not done. */
static void expect_refused_here(QTestState *qts, const char *command)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': %s, 'arguments': "
                                       "{ 'device': 't0', 'bar': 2 } }",
                                       command);

    g_assert_true(qdict_haskey(reply, "error"));
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "waits for a state"));
}

static void expect_info(PeerMachine *m, const char *words)
{
    g_autofree char *text = qtest_hmp(m->qts, "info p2p");

    g_assert_nonnull(strstr(text, words));
}

static void test_windows(void)
{
    P2PBusVec vec = { .len = PIECE };
    g_autofree char *options = NULL;
    PeerMachine *to;
    Bench b;

    bench_start(&b, &drive_virtio_blk, "raw", SHMEM);
    options = g_strconcat(b.options, SHMEM, NULL);
    to = peer_machine_incoming("q35", &drive_virtio_blk, "", TARGET, options);
    traffic_wait_all(&b.t, b.m);
    g_assert_true(has_shmem(b.m));
    g_assert_true(has_shmem(to));
    expect_refused_here(to->qts, "p2p-share");
    expect_refused_here(to->qts, "p2p-unshare");
    share_no_more(b.m, 2);
    share_no_more(b.m, 4);
    qtest_qmp_assert_success(b.m->qts, "{ 'execute': 'p2p-unshare', "
        "'arguments': { 'device': 'shm0', 'bar': 2 } }");
    share(b.m, 2, 0, MiB, "rw");
    share(b.m, 2, 2 * MiB, MiB, "ro");
    check_moved_windows(b.m);
    go_over(b.m, to);
    expect_end(b.m, "completed");
    expect_end(to, "completed");
    wait_running(to->qts);
    peer_machine_move(b.m, to);
    peer_machine_end(b.m);
    check_moved_windows(to);
    expect_info(to, "BAR 4 not shared: it was not shared where the state");

    vec.addr.bus = PEER_BAR2;
    g_assert_cmpint(drive_io(to->drive, DRIVE_READ, 0, &vec, 1), ==, 0);
    memcpy(b.t.bar2, b.t.disk, PIECE);
    vec.addr.bus = PEER_BAR2 + 2 * MiB;
    g_assert_cmpint(drive_io(to->drive, DRIVE_READ, 0, &vec, 1), ==, -EIO);
    vec.addr.bus = PEER_BAR2 + MiB;
    g_assert_cmpint(drive_io(to->drive, DRIVE_READ, 0, &vec, 1), ==, -EIO);
    check_bar2(&b.t, to);
    peer_machine_end(to);
    bench_end(&b);
}

/* --- What the other side cannot do -------------------------------------- */

typedef struct Unlike {
    const char *name;
    const char *group;      /* there */
    const char *target;
    const char *options;    /* of the machine; or NULL */
    const char *drive;      /* the device; or NULL: as here */
    bool goes_on;
    const char *words[6];   /* of the error; NULL at the end */
} Unlike;

#define DRIVE "-device virtio-blk-pci,drive=disk,id=drive0,addr=7," \
              "disable-legacy=on,iommu_platform=on"
/* Memory at the address of BAR 2 hides it. */
#define SLOTS "-m slots=1,maxmem=256G "
static const char hide[] = SLOTS "-object memory-backend-ram,id=dimm,"
    "size=128M -device pc-dimm,memdev=dimm,addr=0x1000000000 ";

static const Unlike unlike[] = {
    { "share-none", "", "p2p-share=none", .goes_on = true },
    { "share-none-require", ",policy=require", "p2p-share=none",
      .goes_on = true },
    { "share-other", ",policy=require", "p2p-share=bar4:ro+bar2@0-1M",
      .goes_on = true },
    { "hole", "", "msix-hole=on,p2p-share=bar2", .goes_on = true },
    { "hole-require", ",policy=require", "msix-hole=on,p2p-share=bar2",
      .words = { "g0", "policy=require", "BAR 2 of t0", "no CPU mapping" } },
    { "hidden", "", TARGET, .options = hide, .goes_on = true },
    { "hidden-require", ",policy=require", TARGET, .options = hide,
      .words = { "g0", "policy=require", "drive0 cannot reach BAR 2 of t0",
                 "not visible", "policy=auto" } },
    { "initiate", "", TARGET, .drive = DRIVE ",p2p-group=g0,p2p-initiate=off ",
      .words = { "g0", "drive0", "p2p-initiate=off here" } },
    { "no-member", "", TARGET, .drive = DRIVE " ",
      .words = { "g0", "drive0", "does not here", "p2p-group=" } },
    { "more-members", "", TARGET, .options = "-device p2p-testdev,id=t1,"
      "p2p-group=g0 ", .words = { "g0", "t1", "not where the state" } },
};

static void test_unlike(const void *opaque)
{
    const Unlike *u = opaque;
    DriveKind kind = drive_virtio_blk;
    g_autofree char *options = NULL;
    PeerMachine *to;
    Bench b;

    bench_start(&b, &drive_virtio_blk, "raw-throttled",
                u->options == hide ? SLOTS : NULL);
    options = g_strconcat(b.options, u->options, NULL);
    kind.options = u->drive ?: kind.options;
    to = peer_machine_incoming("q35", &kind, u->group, u->target, options);
    set_capability(b.m, "return-path");
    set_capability(to, "return-path");
    throttle(b.m);
    send_throttled(&b.t, b.m);

    go_over(b.m, to);
    if (u->goes_on) {
        expect_end(b.m, "completed");
        expect_end(to, "completed");
        wait_running(to->qts);
        peer_machine_move(b.m, to);
    } else {
        g_autofree char *why = NULL, *status = NULL;

        expect_failure(to, u->words);
        status = migration_end(b.m, &why);
        g_assert_cmpstr(status, ==, "failed");
        wait_running(b.m->qts);
        peer_machine_end(to);
        to = b.m;
    }
    traffic_wait_all(&b.t, to);
    check_bar2(&b.t, to);
    if (to != b.m) {
        peer_machine_end(b.m);
    }
    g_assert_cmpint(has_window(to, 2, 0, PEER_SIZE, "rw"), ==,
                    !strstr(u->target, "hole") || !u->goes_on);
    peer_machine_end(to);
    bench_end(&b);
}

static void test_cancel(void)
{
    g_autofree char *path = in_folder("cancelled");
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    g_autofree char *why = NULL, *status = NULL;
    PeerMachine *to;
    Bench b;

    bench_start(&b, &drive_virtio_blk_iothread, "raw-throttled", NULL);
    to = peer_machine_incoming("q35", &drive_virtio_blk_iothread, "", TARGET,
                               b.options);
    throttle(b.m);
    /* It stops, and waits for the permission to go over. */
    set_capability(b.m, "pause-before-switchover");
    send_throttled(&b.t, b.m);
    migrate_from(to, uri);
    migrate_to(b.m, uri);
    qtest_qmp_eventwait(b.m->qts, "STOP");
    g_assert_cmpuint(count_pending(&b.t, b.m), ==, 0);
    check_bar2(&b.t, b.m);
    qtest_qmp_assert_success(b.m->qts, "{ 'execute': 'migrate_cancel' }");
    status = migration_end(b.m, &why);
    g_assert_cmpstr(status, ==, "cancelled");
    wait_running(b.m->qts);
    for (unsigned i = 0; i < 2; i++) {
        traffic_send_all(&b.t, b.m);
        stop(b.m);
        cont(b.m);
        traffic_wait_all(&b.t, b.m);
        check_bar2(&b.t, b.m);
    }
    g_assert_false(late_writes(b.m));
    peer_machine_end(to);
    peer_machine_end(b.m);
    bench_end(&b);
}

/* --- Stop and go ------------------------------------------------------- */

#define STOPS 24

static void test_stop(const void *opaque)
{
    Bench b;

    bench_start(&b, opaque, "raw-throttled", NULL);
    traffic_wait_all(&b.t, b.m);
    for (unsigned i = 0; i < STOPS; i++) {
        if (i == STOPS / 2) {
            throttle(b.m);
        }
        traffic_send_all(&b.t, b.m);
        stop(b.m);
        g_assert_false(late_writes(b.m));
        cont(b.m);
        traffic_wait_all(&b.t, b.m);
        check_bar2(&b.t, b.m);
    }
    g_assert_false(late_writes(b.m));
    peer_machine_end(b.m);
    bench_end(&b);
}

/* What a device model begins while the machine is stopped waits. */
static void test_gate(const void *opaque)
{
    const DriveKind *kind = opaque;
    P2PBusVec vec = { .addr = { PEER_BAR2 + PIECE }, .len = PIECE };
    static const char *const words[] = { "g0", "drive0", "cont", NULL };
    g_autofree char *file = in_folder("waiting");
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    Bench b;

    bench_start(&b, kind, "raw", NULL);
    traffic_wait_all(&b.t, b.m);
    for (DriveOp op = DRIVE_READ; op <= DRIVE_WRITE; op++) {
        stop(b.m);
        drive_submit(b.m->drive, 0, op, 2 * PIECE, &vec, 1);
        for (unsigned i = 0; i < 50; i++) {
            g_assert_cmpint(drive_poll(b.m->drive, 0), ==, -EAGAIN);
            g_usleep(1000);
        }
        check_bar2(&b.t, b.m);
        g_assert_false(late_writes(b.m));
        if (kind == &drive_ahci) {
            migrate_to(b.m, uri);
            expect_failure(b.m, words);
            check_bar2(&b.t, b.m);
        }
        cont(b.m);
        g_assert_cmpint(drive_wait(b.m->drive, 0), ==, 0);
        if (op == DRIVE_READ) {
            memcpy(b.t.bar2 + PIECE, b.t.disk + 2 * PIECE, PIECE);
            fill(b.t.disk + 2 * PIECE, PIECE);
            memcpy(b.t.disk + 2 * PIECE, b.t.bar2 + PIECE, PIECE);
        }
        check_bar2(&b.t, b.m);
    }
    peer_machine_end(b.m);
    bench_end(&b);
}

/* --- Snapshots --------------------------------------------------------- */

static void test_snapshot(const void *opaque)
{
    const DriveKind *kind = opaque;
    Bench b;

    bench_start(&b, kind, "qcow2", NULL);
    share_no_more(b.m, 4);
    traffic_wait_all(&b.t, b.m);
    traffic_send_all(&b.t, b.m);
    hmp(b.m, "savevm s0");
    traffic_wait_all(&b.t, b.m);
    check_bar2(&b.t, b.m);

    for (unsigned i = 0; i < 2; i++) {
        Traffic then = {
            .disk = g_memdup2(b.t.disk, DISK_SIZE),
            .bar2 = g_memdup2(b.t.bar2, PEER_SIZE),
        };
        fill(b.m->bar2, PEER_SIZE);
        memcpy(b.t.bar2, b.m->bar2, PEER_SIZE);
        traffic_send_all(&b.t, b.m);
        traffic_wait_all(&b.t, b.m);
        share_no_more(b.m, 2);
        share(b.m, 2, MiB, MiB, "ro");
        share(b.m, 4, 0, MiB, "rw");
        if (i) {
            stop(b.m);
        }
        hmp(b.m, "loadvm s0");
        if (i) {
            cont(b.m);
        }
        wait_running(b.m->qts);
        g_assert_true(has_window(b.m, 2, 0, PEER_SIZE, "rw"));
        g_assert_false(has_window(b.m, 2, MiB, MiB, "ro"));
        g_assert_false(has_window(b.m, 4, 0, MiB, "rw"));
        traffic_end(&b.t);
        b.t.disk = then.disk;
        b.t.bar2 = then.bar2;
        check_bar2(&b.t, b.m);
        drive_virtio_loaded(b.m->drive);
    }
    traffic_send_all(&b.t, b.m);
    traffic_wait_all(&b.t, b.m);
    check_bar2(&b.t, b.m);
    peer_machine_end(b.m);
    bench_end(&b);
}

/* A member that came after the snapshot has no place in it. */
static void test_snapshot_member(void)
{
    g_autofree char *disk = in_folder("disk");
    g_autofree char *command = g_strdup_printf("%s create -q -f qcow2 %s 1M",
                                               getenv("QTEST_QEMU_IMG"), disk);
    g_autoptr(GError) error = NULL;
    g_autofree char *reply = NULL;
    PeerMachine m;

    g_spawn_command_line_sync(command, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    m.qts = qtest_initf("-machine pc -nodefaults -object p2p-group,id=g0 "
                        "-device p2p-testdev,id=t0,addr=4,p2p-group=g0 "
                        "-blockdev qcow2,node-name=d,file.driver=file,"
                        "file.filename=%s", disk);
    hmp(&m, "savevm s0");
    qtest_qmp_device_add(m.qts, "p2p-testdev", "t1",
                         "{ 'addr': '5', 'p2p-group': 'g0' }");
    reply = qtest_hmp(m.qts, "loadvm s0");
    g_assert_nonnull(strstr(reply, "t1 belongs to the group here"));
    g_assert_nonnull(strstr(reply, "unplug it"));
    qtest_quit(m.qts);
}

/* --- Streams that nobody should send ------------------------------------ */

/* Where things are in the state of the group */
#define AT_MEMBERS   0
#define AT_NAME_LEN  4
#define AT_NAME      8
#define AT_WINDOWS   11     /* of t0, as what follows */
#define AT_BAR       15
#define AT_ACCESS    16
#define AT_OFFSET    17
#define AT_SIZE      25
#define AT_BAR_2ND   41

typedef struct Forgery {
    const char *name;
    unsigned at;
    unsigned size;          /* 1, 4 or 8 */
    uint64_t value;
    const char *word;       /* of the error */
} Forgery;

static const Forgery forgeries[] = {
    { "members-0", AT_MEMBERS, 4, 0, "number of members" },
    { "members-65", AT_MEMBERS, 4, 65, "number of members" },
    { "members-2G", AT_MEMBERS, 4, INT32_MAX, "number of members" },
    { "members-negative", AT_MEMBERS, 4, UINT32_MAX, "number of members" },
    { "name-empty", AT_NAME_LEN, 4, 0, "p2p-name" },
    { "name-4G", AT_NAME_LEN, 4, UINT32_MAX, "p2p-name" },
    { "name-not-text", AT_NAME, 1, 0xff, "p2p-name" },
    { "name-nul", AT_NAME, 1, 0, "p2p-name" },
    { "name-unknown", AT_NAME, 1, 'u', "u0" },
    { "windows-65", AT_WINDOWS, 4, 65, "number of windows" },
    { "windows-negative", AT_WINDOWS, 4, INT32_MIN, "number of windows" },
    { "bar-6", AT_BAR, 1, 6, "BAR 6" },
    { "bar-255", AT_BAR, 1, 255, "BAR 255" },
    { "access", AT_ACCESS, 1, 77, "access 77" },
    { "offset-odd", AT_OFFSET, 8, 1, "page size" },
    { "offset-huge", AT_OFFSET, 8, -4096ull, "makes no sense" },
    { "size-0", AT_SIZE, 8, 0, "makes no sense" },
    { "size-huge", AT_SIZE, 8, -4096ull, "policy=require" },
    { "bar-5", AT_BAR, 1, 5, "no BAR 5" },
    { "bar-1", AT_BAR, 1, 1, "I/O port" },
    { "twice", AT_BAR_2ND, 1, 2, "overlap" },
};

static void put_be(uint8_t *at, unsigned size, uint64_t value)
{
    for (unsigned i = size; i--; value >>= 8) {
        at[i] = value;
    }
}

static void test_forged(void)
{
    static const char id[] = "g0/p2p-group";
    g_autofree char *file = in_folder("stream");
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    g_autofree uint8_t *good = NULL;
    g_autoptr(GError) error = NULL;
    PeerMachine *to;
    uint8_t *section;
    gsize len;
    Bench b;

    bench_start(&b, &drive_virtio_blk, "raw", NULL);
    traffic_wait_all(&b.t, b.m);
    migrate_to(b.m, uri);
    expect_end(b.m, "completed");
    peer_machine_end(b.m);
    g_file_get_contents(file, (char **)&good, &len, &error);
    g_assert_no_error(error);
    section = memmem(good, len, id, strlen(id));
    g_assert_nonnull(section);
    section += strlen(id) + 8;  /* instance, version */
    g_assert_cmpmem(section + AT_NAME, 2, "t0", 2);

    for (unsigned i = 0; i < ARRAY_SIZE(forgeries); i++) {
        const Forgery *f = &forgeries[i];
        const char *const words[] = { f->word, NULL };
        uint8_t saved[8];

        g_test_message("%s", f->name);
        memcpy(saved, section + f->at, f->size);
        put_be(section + f->at, f->size, f->value);
        g_file_set_contents(file, (char *)good, len, &error);
        g_assert_no_error(error);
        memcpy(section + f->at, saved, f->size);

        to = peer_machine_incoming("q35", &drive_virtio_blk,
                                   ",policy=require", TARGET, b.options);
        migrate_from(to, uri);
        expect_failure(to, words);
        peer_machine_end(to);
    }

    /* Cut off within it */
    for (unsigned i = 0; i < 40; i += 13) {
        static const char *const words[] = { NULL };

        g_file_set_contents(file, (char *)good, section + i - good, &error);
        g_assert_no_error(error);
        to = peer_machine_incoming("q35", &drive_virtio_blk, "", TARGET,
                                   b.options);
        migrate_from(to, uri);
        expect_failure(to, words);
        peer_machine_end(to);
    }

    /* And as it was, once more */
    g_file_set_contents(file, (char *)good, len, &error);
    g_assert_no_error(error);
    to = peer_machine_incoming("q35", &drive_virtio_blk, ",policy=require",
                               TARGET, b.options);
    migrate_from(to, uri);
    expect_end(to, "completed");
    check_bar2(&b.t, to);
    peer_machine_end(to);
    bench_end(&b);
}

/* --- Passthrough devices ------------------------------------------------- */

#define PASSTHROUGH "-machine q35 -nodefaults " \
    "-object p2p-group,id=g0,policy=require " \
    "-device p2p-fake-passthrough,id=f0,addr=4,p2p-group=g0 " \
    "-device p2p-fake-passthrough,id=f1,addr=5,p2p-group=g0,p2p-share=bar2 "

static char *iommu_table(QTestState *qts)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'qom-get', "
        "'arguments': { 'path': '/machine/peripheral/f0', "
        "'property': 'iommu-table' } }");

    return g_strdup(qdict_get_str(reply, "return"));
}

static void expect_no_failures(QTestState *qts)
{
    g_autoptr(QDict) window = p2p_monitor_window(qts, "f1", 2, 0);
    QDict *grant = qobject_to(QDict,
                              qlist_peek(qdict_get_qlist(window, "grants")));

    g_assert_true(qdict_get_bool(grant, "installed"));
    g_assert_cmpuint(p2p_monitor_uint(grant, "maps"), ==, 1);
    g_assert_cmpuint(p2p_monitor_uint(grant, "failures"), ==, 0);
}

/* Who has another's name does not get another's grants. */
static void expect_swapped_ids(const char *uri)
{
    static const char *const words[] = { "f0", "00:05.0 here", "00:04.0 where",
                                         NULL };
    PeerMachine to = { .qts = qtest_init(
        "-machine q35 -nodefaults -object p2p-group,id=g0,policy=require "
        "-device p2p-fake-passthrough,id=f1,addr=4,p2p-group=g0 "
        "-device p2p-fake-passthrough,id=f0,addr=5,p2p-group=g0,"
        "p2p-share=bar2 -incoming defer") };

    migrate_from(&to, uri);
    expect_failure(&to, words);
    qtest_quit(to.qts);
}

/*
 * VFIO loads what the guest sees of a device before it switches on the decode
 * of the host's: what cannot be mapped until then is mapped after it.
 */
static void test_passthrough(void)
{
    g_autofree char *file = in_folder("stream");
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    PeerMachine from = { .qts = qtest_init(PASSTHROUGH) }, to;
    g_autofree char *before = NULL, *after = NULL;

    for (unsigned i = 0; i < 2; i++) {
        GuestPci pci = { .qts = from.qts, .devfn = (4 + i) << 3 };

        guest_pci_bar_map(&pci, 2, (P2PGuestAddr) { (64 + i) * GiB });
        guest_pci_bar_map(&pci, 4, (P2PGuestAddr) { (70 + i) * GiB });
        guest_pci_command(&pci, PCI_COMMAND_MEMORY, 0);
    }
    before = iommu_table(from.qts);
    g_assert_nonnull(strstr(before, "0x1040000000 0x100000 rw f1 2 0x0"));
    migrate_to(&from, uri);
    expect_end(&from, "completed");
    qtest_quit(from.qts);

    to.qts = qtest_init(PASSTHROUGH "-incoming defer");
    migrate_from(&to, uri);
    expect_end(&to, "completed");
    after = iommu_table(to.qts);
    g_assert_cmpstr(after, ==, before);
    expect_no_failures(to.qts);
    qtest_quit(to.qts);
    expect_swapped_ids(uri);
}

/* --- A group on one side only -------------------------------------------- */

#define NO_GROUP "-machine q35 -nodefaults -device p2p-testdev,id=t0,addr=4"

/* Nobody can refuse it, and it is told once. */
static void test_group_here(void)
{
    g_autofree char *file = in_folder("stream");
    g_autofree char *log = in_folder("log");
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    g_autofree char *text = NULL;
    PeerMachine from = { .qts = qtest_init(NO_GROUP) }, to;
    int standard_error = dup(STDERR_FILENO);
    int fd = open(log, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    migrate_to(&from, uri);
    expect_end(&from, "completed");
    qtest_quit(from.qts);

    g_assert_cmpint(dup2(fd, STDERR_FILENO), >=, 0);
    to.qts = qtest_init("-object p2p-group,id=g0 -object p2p-group,id=g1 "
                        NO_GROUP ",p2p-group=g0 -incoming defer");
    g_assert_cmpint(dup2(standard_error, STDERR_FILENO), >=, 0);
    migrate_from(&to, uri);
    expect_end(&to, "completed");
    wait_running(to.qts);
    stop(&to);
    cont(&to);
    qtest_quit(to.qts);
    close(fd);
    close(standard_error);

    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "p2p-group 'g0': the state that was loaded "
                                  "has no such group"));
    g_assert_null(strstr(strstr(text, "no such group") + 1, "no such group"));
}

int main(int argc, char **argv)
{
    static const DriveKind *const movable[] = {
        &drive_virtio_blk, &drive_virtio_blk_iothread,
        &drive_virtio_scsi_iothread, &drive_ahci,
    };
    static const DriveKind *const all[] = {
        &drive_virtio_blk_iothread, &drive_virtio_scsi, &drive_ahci,
        &drive_nvme,
    };
    static const char *const files[] = {
        "cancelled", "disk", "log", "socket", "stream", "waiting",
    };
    g_autoptr(GError) error = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("p2p-migration-XXXXXX", &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < ARRAY_SIZE(movable); i++) {
        g_autofree char *path = g_strdup_printf("p2p/migration/traffic/%s",
                                                movable[i]->name);

        qtest_add_data_func(path, movable[i], test_traffic);
    }
    qtest_add_func("p2p/migration/passthrough", test_passthrough);
    qtest_add_func("p2p/migration/group-here", test_group_here);
    qtest_add_func("p2p/migration/queue", test_queue);
    qtest_add_func("p2p/migration/unfinished", test_unfinished);
    qtest_add_func("p2p/migration/unfinished-snapshot",
                   test_unfinished_snapshot);
    qtest_add_func("p2p/migration/windows", test_windows);
    for (unsigned i = 0; i < ARRAY_SIZE(unlike); i++) {
        g_autofree char *path = g_strdup_printf("p2p/migration/unlike/%s",
                                                unlike[i].name);

        qtest_add_data_func(path, &unlike[i], test_unlike);
    }
    qtest_add_func("p2p/migration/cancel", test_cancel);
    qtest_add_func("p2p/migration/snapshot/member", test_snapshot_member);
    qtest_add_func("p2p/migration/forged", test_forged);
    qtest_add_data_func("p2p/migration/snapshot/virtio-blk",
                        &drive_virtio_blk, test_snapshot);
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        g_autofree char *path = g_strdup_printf("p2p/migration/stop/%s",
                                                all[i]->name);

        qtest_add_data_func(path, all[i], test_stop);
    }
    qtest_add_data_func("p2p/migration/gate/nvme", &drive_nvme, test_gate);
    qtest_add_data_func("p2p/migration/gate/ahci", &drive_ahci, test_gate);
    ret = g_test_run();
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *file = in_folder(files[i]);

        unlink(file);
    }
    rmdir(folder);
    g_free(folder);
    return ret;
}
