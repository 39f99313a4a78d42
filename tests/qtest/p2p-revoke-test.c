/*
 * Windows go while requests are under way
 *
 * A campaign: requests of an emulated device read into and write from a
 * window, and at a random moment it is taken away.  Each request must end, in
 * bounded time, with success and the right data in the BAR or on the disk, or
 * with an error; then the BAR is as it is, and each block on the disk has its
 * old or its new data.  After the window was taken away nobody writes to the
 * BAR any more, nor does what is in it from then on get to the disk.
 *
 * The disk is throttled by the virtual clock, so that some requests still wait
 * when the window goes, whatever the machine's speed.
 *
 * P2P_REVOCATIONS is how many there are in all; --seed repeats a campaign.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "standard-headers/linux/pci_regs.h"
#include "tests/qtest/libqos/pci-pc.h"
#include "image.h"
#include "peer-machine.h"

#define REVOCATIONS 10000u

#define DISK_SIZE (4 * MiB)
#define PAGE      4096u
#define ELSEWHERE (80 * GiB)

/* Each request has a place of its own in the BAR and on the disk. */
#define REQUESTS   6u
#define PLACE      (128 * KiB)
#define MAX_LEN    (64 * KiB)
#define MAX_PIECES 4u
#define AREA       (REQUESTS * PLACE)

#define POISON 0xdb

/* Raw files, so that the test sees what is on the disk; see throttle() */
#define OBJECTS "-object throttle-group,id=tg0 "
#define FILTER "driver=throttle,throttle-group=tg0"
static const ImageKind images[] = {
    {
        .name = "kernel-copy",
        .data_path = "kernel-copy",
        .image = "driver=raw,file.driver=file,file.filename=%s",
        .objects = OBJECTS,
        .filter = FILTER,
    }, {
        .name = "bounce",
        .data_path = "bounce",
        .image = "driver=raw,file.driver=file,file.filename=%s,"
                 "file.cache.direct=on",
        .objects = OBJECTS,
        .filter = FILTER,
    },
};

/*
 * Parts of the revocations: an I/O thread waits for the virtual clock in real
 * time, and to unplug takes longest.
 */
static const struct {
    const DriveKind *kind;
    unsigned parts;
} drives[] = {
    { &drive_nvme, 9 }, { &drive_virtio_blk, 9 },
    { &drive_virtio_blk_iothread, 2 },
};

typedef struct Request {
    DriveOp op;
    uint64_t offset;            /* on the disk */
    size_t len;
    uint64_t gpa;               /* where its place in the BAR begins */
    unsigned n;                 /* entries */
    P2PBusVec vec[MAX_PIECES];
    bool submitted;
    int result;                 /* -EAGAIN: under way */
    uint8_t data[MAX_LEN];      /* what is to be written, or was there */
    uint8_t bar_then[PLACE];    /* what was in the BAR when the window went */
} Request;

/* What a request has ended with */
typedef struct Counts {
    unsigned revocations;
    unsigned success;
    unsigned error;
} Counts;

typedef struct Campaign {
    PeerMachine *m;
    Image *image;
    int disk_fd;
    uint8_t *disk;              /* what must be on it */
    Request *requests;
    unsigned n_requests;
    uint64_t bar2;              /* where BAR 2 is, or was */
    uint8_t pm, express;        /* the target's capabilities */
    uint8_t reg;                /* prepare() */
    uint16_t value;
    Counts counts;
} Campaign;

typedef struct RevocationKind {
    const char *name;
    const char *machine;
    unsigned parts;
    void (*prepare)(Campaign *c);       /* or NULL */
    void (*revoke)(Campaign *c);
    void (*restore)(Campaign *c);       /* or NULL */
} RevocationKind;

typedef struct Case {
    const DriveKind *drive;
    const ImageKind *image;
    const RevocationKind *kind;
    unsigned revocations;
} Case;

static unsigned pick(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

/* Quick, and each word tells its place. */
static void fill(uint8_t *data, size_t len)
{
    uint64_t first = (uint64_t)g_test_rand_int() << 32;

    for (uint64_t i = 0; i < len; i += 8) {
        uint64_t word = first | i;

        memcpy(data + i, &word, 8);
    }
}

/* --- How a window goes ------------------------------------------------- */

/*
 * What the guest does is one write to a register of the target, which follows
 * what was submitted before without delay.
 */
static void prepare(Campaign *c, uint8_t offset, uint16_t value)
{
    c->reg = offset;
    c->value = value;
    guest_pci_aim(&c->m->target, offset);
}

static void write_register(Campaign *c)
{
    guest_pci_shoot(&c->m->target, c->reg, c->value);
}

static void decode_off(Campaign *c)
{
    prepare(c, PCI_COMMAND, PCI_COMMAND_MASTER);
}

static void decode_on(Campaign *c)
{
    guest_pci_command(&c->m->target, PCI_COMMAND_MEMORY, 0);
}

/* The lower half of its address stays: one write moves all of it. */
static void move(Campaign *c)
{
    c->bar2 = c->bar2 == PEER_BAR2 ? ELSEWHERE : PEER_BAR2;
    prepare(c, PCI_BASE_ADDRESS_3, c->bar2 >> 32);
}

static void sleep_d3(Campaign *c)
{
    prepare(c, c->pm + PCI_PM_CTRL, 3);
}

static void wake(Campaign *c)
{
    guest_pci_writew(&c->m->target, c->pm + PCI_PM_CTRL, 0);
}

static void function_reset(Campaign *c)
{
    prepare(c, c->express + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR);
}

static void place(Campaign *c)
{
    peer_machine_place(c->m);
}

static void take_back(Campaign *c)
{
    qtest_qmp_assert_success(c->m->qts, "{ 'execute': 'p2p-unshare', "
                             "'arguments': { 'device': 't0', 'bar': 2 } }");
}

static void share(Campaign *c)
{
    qtest_qmp_assert_success(c->m->qts, "{ 'execute': 'p2p-share', "
                             "'arguments': { 'device': 't0', 'bar': 2 } }");
}

static void unplug(Campaign *c)
{
    qpci_unplug_acpi_device_test(c->m->qts, "t0", PEER_SLOT);
}

static void plug(Campaign *c)
{
    peer_machine_plug(c->m);
    place(c);
}

static const RevocationKind kinds[] = {
    { "decode-off", "q35", 9, decode_off, write_register, decode_on },
    { "move", "q35", 9, move, write_register, NULL },
    { "d3", "q35", 9, sleep_d3, write_register, wake },
    { "flr", "q35", 9, function_reset, write_register, place },
    { "unshare", "q35", 9, NULL, take_back, share },
    { "unplug", "pc", 2, NULL, unplug, plug },
};

/* --- Requests ---------------------------------------------------------- */

/* One range, or some pages that are not one after the other. */
static void request_prepare(Campaign *c, unsigned tag)
{
    Request *r = &c->requests[tag];

    r->op = pick(2) ? DRIVE_READ : DRIVE_WRITE;
    r->submitted = false;
    r->result = -EAGAIN;
    r->gpa = c->bar2 + tag * PLACE;
    if (pick(3)) {
        r->n = 1;
        r->len = pick(4) ? (1 + pick(MAX_LEN / PAGE)) * PAGE : DRIVE_BLOCK;
        r->vec[0] = (P2PBusVec) { .addr = { r->gpa }, .len = r->len };
    } else {
        r->n = MAX_PIECES;
        r->len = MAX_PIECES * PAGE;
        for (unsigned i = 0; i < MAX_PIECES; i++) {
            r->vec[i] = (P2PBusVec) {
                .addr = { r->gpa + 2 * i * PAGE }, .len = PAGE,
            };
        }
    }
    r->offset = tag * PLACE +
                pick((PLACE - r->len) / DRIVE_BLOCK) * DRIVE_BLOCK;
}

/* The data of a request is copied between @data and @place. */
static void request_gather(const Request *r, const uint8_t *place,
                           uint8_t *data)
{
    for (unsigned i = 0; i < r->n; i++) {
        memcpy(data, place + (r->vec[i].addr.bus - r->gpa), r->vec[i].len);
        data += r->vec[i].len;
    }
}

static void request_scatter(const Request *r, uint8_t *place,
                            const uint8_t *data)
{
    for (unsigned i = 0; i < r->n; i++) {
        memcpy(place + (r->vec[i].addr.bus - r->gpa), data, r->vec[i].len);
        data += r->vec[i].len;
    }
}

static void request_submit(Campaign *c, unsigned tag)
{
    Request *r = &c->requests[tag];

    fill(r->data, r->len);
    request_scatter(r, c->m->bar2 + tag * PLACE, r->data);
    r->submitted = true;
    drive_submit(c->m->drive, tag, r->op, r->offset, r->vec, r->n);
}

static bool request_poll(Campaign *c, unsigned tag)
{
    Request *r = &c->requests[tag];

    if (r->submitted && r->result == -EAGAIN) {
        r->result = drive_poll(c->m->drive, tag);
    }
    return r->result != -EAGAIN;
}

/* Each block that was to be written has its old data or the new. */
static void check_error_write(Campaign *c, const Request *r,
                              const uint8_t *now)
{
    for (size_t at = 0; at < r->len; at += DRIVE_BLOCK) {
        uint8_t *old = c->disk + r->offset + at;

        g_assert_true(!memcmp(now + at, old, DRIVE_BLOCK) ||
                      !memcmp(now + at, r->data + at, DRIVE_BLOCK));
        memcpy(old, now + at, DRIVE_BLOCK);
    }
}

static void request_check(Campaign *c, unsigned tag)
{
    Request *r = &c->requests[tag];
    g_autofree uint8_t *now = g_malloc(MAX_LEN);

    g_assert(r->result == 0 || r->result == -EIO);
    c->counts.success += !r->result;
    c->counts.error += r->result < 0;

    if (r->op == DRIVE_WRITE) {
        g_assert_cmpint(pread(c->disk_fd, now, r->len, r->offset), ==, r->len);
        if (r->result < 0) {
            check_error_write(c, r, now);
        } else {
            g_assert_true(!memcmp(now, r->data, r->len));
            memcpy(c->disk + r->offset, r->data, r->len);
        }
    } else if (!r->result) {
        request_gather(r, r->bar_then, now);
        g_assert_true(!memcmp(now, c->disk + r->offset, r->len));
    }
}

/* --- A revocation ------------------------------------------------------ */

/* The machine does some of its work, or a part of it, or nothing. */
static void wait_a_moment(Campaign *c)
{
    static const unsigned scale[] = { 1, 30, 100, 1000 };  /* microseconds */
    unsigned wait = pick(scale[pick(4)]);

    if (wait) {
        g_usleep(wait);     /* and not spin: QEMU may need the processor */
    }
}

/* Returns whether all have ended that were submitted. */
static bool poll_all(Campaign *c)
{
    bool all = true;

    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        all &= request_poll(c, tag);
    }
    return all;
}

static void finish(Campaign *c)
{
    gint64 end = g_get_monotonic_time() + DRIVE_TIMEOUT_S * G_USEC_PER_SEC;

    while (!poll_all(c)) {
        qtest_clock_step(c->m->qts, 100 * SCALE_MS);
        g_usleep(100);  /* for what is not throttled, but takes its time */
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/*
 * What is in the BAR now must stay, whatever requests are under way: it is
 * kept, and replaced by what must not get to the disk.
 */
static void poison(Campaign *c)
{
    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        memcpy(c->requests[tag].bar_then, c->m->bar2 + tag * PLACE, PLACE);
    }
    memset(c->m->bar2, POISON, AREA);
}

static void check_poison(Campaign *c)
{
    g_assert_true(c->m->bar2[0] == POISON &&
                  !memcmp(c->m->bar2, c->m->bar2 + 1, AREA - 1));
}

static void revocation(Campaign *c, const RevocationKind *kind)
{
    unsigned first;

    c->n_requests = 1 + pick(c->m->drive->kind->requests < REQUESTS
                             ? c->m->drive->kind->requests : REQUESTS);
    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        request_prepare(c, tag);
    }
    if (kind->prepare) {
        kind->prepare(c);
    }
    /* Some may end before, some are begun a moment before. */
    first = pick(c->n_requests + 1);
    for (unsigned tag = 0; tag < first; tag++) {
        request_submit(c, tag);
    }
    wait_a_moment(c);
    if (pick(2)) {
        qtest_clock_step(c->m->qts, (1 + pick(20)) * SCALE_MS);
    }
    for (unsigned tag = first; tag < c->n_requests; tag++) {
        request_submit(c, tag);
    }
    wait_a_moment(c);

    kind->revoke(c);
    poison(c);
    finish(c);
    check_poison(c);
    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        request_check(c, tag);
    }
    c->counts.revocations++;
    if (kind->restore) {
        kind->restore(c);
    }
}

/* All that it takes works again: requests succeed, if nothing goes. */
static void check_alive(Campaign *c)
{
    c->n_requests = 2;
    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        request_prepare(c, tag);
        request_submit(c, tag);
    }
    finish(c);
    poison(c);
    for (unsigned tag = 0; tag < c->n_requests; tag++) {
        g_assert_cmpint(c->requests[tag].result, ==, 0);
        request_check(c, tag);
    }
    g_assert_false(drive_needs_reset(c->m->drive));
}

/* --- A campaign -------------------------------------------------------- */

/*
 * Some four requests, then one each 25 ms.  Only a throttle group that is made
 * when the machine runs goes by the virtual clock.
 */
static void throttle(Campaign *c)
{
    qtest_qmp_assert_success(c->m->qts, "{ 'execute': 'object-add', "
        "'arguments': { 'qom-type': 'throttle-group', 'id': 'tg1', "
        "'limits': { 'iops-total': 40 } } }");
    qtest_qmp_assert_success(c->m->qts, "{ 'execute': 'blockdev-reopen', "
        "'arguments': { 'options': [ { 'driver': 'throttle', "
        "'node-name': 'disk', 'throttle-group': 'tg1', "
        "'file': 'image' } ] } }");
}

static void campaign_start(Campaign *c, const Case *k)
{
    g_autofree char *options = NULL;
    g_autofree char *why = NULL;
    g_autofree char *path = NULL;

    c->disk = g_malloc(DISK_SIZE);
    fill(c->disk, DISK_SIZE);
    c->image = image_new(k->image, c->disk, DISK_SIZE, &why);
    g_assert_cmpstr(why, ==, NULL);
    c->disk_fd = open(c->image->file, O_RDONLY);
    g_assert_cmpint(c->disk_fd, >=, 0);
    options = image_options(c->image);
    c->m = peer_machine_new(k->kind->machine, k->drive, "", options);
    throttle(c);
    c->requests = g_new0(Request, REQUESTS);
    c->bar2 = PEER_BAR2;
    c->pm = guest_pci_capability(&c->m->target, PCI_CAP_ID_PM);
    c->express = guest_pci_capability(&c->m->target, PCI_CAP_ID_EXP);
    path = peer_machine_data_path(c->m);
    g_assert_cmpstr(path, ==, k->image->data_path);
}

static void campaign_end(Campaign *c)
{
    g_autofree uint8_t *now = NULL;

    peer_machine_end(c->m);
    now = image_read(c->image, DISK_SIZE);
    g_assert_true(!memcmp(now, c->disk, DISK_SIZE));
    close(c->disk_fd);
    image_free(c->image);
    g_free(c->disk);
    g_free(c->requests);
}

static Counts total;

static void test_case(const void *opaque)
{
    const Case *k = opaque;
    Campaign c = {};

    campaign_start(&c, k);
    for (unsigned i = 0; i < k->revocations; i++) {
        revocation(&c, k->kind);
    }
    check_alive(&c);
    campaign_end(&c);

    g_test_message("%s %s %s: %u revocations, %u requests correct, %u ended "
                   "with an error", k->drive->name, k->image->name,
                   k->kind->name, c.counts.revocations, c.counts.success,
                   c.counts.error);
    g_assert_cmpuint(c.counts.success, >, 0);
    g_assert_cmpuint(c.counts.error, >, 0);
    total.revocations += c.counts.revocations;
    total.success += c.counts.success;
    total.error += c.counts.error;
}

static unsigned revocations(void)
{
    const char *wanted = getenv("P2P_REVOCATIONS");
    unsigned n = REVOCATIONS;

    if (wanted) {
        g_assert_cmpint(qemu_strtoui(wanted, NULL, 0, &n), ==, 0);
    }
    return n;
}

static void add_cases(unsigned all_parts, unsigned n)
{
    for (unsigned d = 0; d < ARRAY_SIZE(drives); d++) {
        for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
            for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
                g_autofree char *path = g_strdup_printf(
                    "p2p/revoke/%s/%s/%s", drives[d].kind->name,
                    images[i].name, kinds[k].name);
                Case *c = g_new(Case, 1);

                *c = (Case) {
                    drives[d].kind, &images[i], &kinds[k],
                    DIV_ROUND_UP(n * drives[d].parts * kinds[k].parts,
                                 all_parts),
                };
                qtest_add_data_func_full(path, c, test_case, g_free);
            }
        }
    }
}

int main(int argc, char **argv)
{
    unsigned drive_parts = 0, kind_parts = 0;
    int ret;

    for (unsigned d = 0; d < ARRAY_SIZE(drives); d++) {
        drive_parts += drives[d].parts;
    }
    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
        kind_parts += kinds[k].parts;
    }
    g_test_init(&argc, &argv, NULL);
    add_cases(ARRAY_SIZE(images) * drive_parts * kind_parts, revocations());
    ret = g_test_run();
    printf("# all: %u revocations, %u requests correct, %u ended with an "
           "error\n", total.revocations, total.success, total.error);
    return ret;
}
