/*
 * Demo: NVMe drives move data into and out of each other's memory
 *
 * Runs in the lab (tests/lab/demo starts it), with real VFIO and an emulated
 * IOMMU.  drive0 and drive1 are in a group, drive2 in none.
 *
 *   transfers   drive0 and drive1 read blocks from their disks into the other
 *               one's CMB, and write blocks from there to their disks.  Every
 *               byte is compared.
 *   intrusions  the same commands, where no grant allows them.  Blocked means
 *               that the memory, or the disk, is as it was, *and* that the
 *               IOMMU logged a fault of this drive at this address: an
 *               emulated drive may well say that it succeeded.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "lab-machine.h"
#include "p2p-monitor.h"

#define BLOCK 512u

/* drive1 shares its CMB in two windows; the rest of it is not shared. */
#define READ_ONLY  (8 * MiB)
#define NOT_SHARED (12 * MiB)
#define SHARE "bar2@0x0-0x800000+bar2:ro@0x800000-0xc00000"

/* The first half of each disk is read, the second half is written. */
#define FIRST_WRITTEN_LBA (8 * MiB / BLOCK)

/* Checked on both sides of what a drive writes to. */
#define FRAME 64u

/* Where data passes through RAM for comparison, and a part of a vector. */
#define BOUNCE      LAB_DATA
#define VECTOR_RAM  (LAB_DATA + 16 * MiB)

#define MAX_ENTRIES 8

typedef struct Demo {
    LabMachine *machine;
    DmarLog *log;
    uint64_t seed;        /* of the next pattern */
    unsigned transfers, verified;
    unsigned intrusions, blocked;
} Demo;

static QTestState *qts(const Demo *demo)
{
    return demo->machine->qts;
}

static LabDrive *drive(const Demo *demo, unsigned i)
{
    return &demo->machine->drive[i];
}

static P2PGuestVec guest_entry(uint64_t gpa, uint32_t len)
{
    return (P2PGuestVec) { .addr = { gpa }, .len = len };
}

static size_t vec_len(const P2PGuestVec *vec, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        len += vec[i].len;
    }
    return len;
}

/* --- Disks, through guest RAM ------------------------------------------- */

static void disk_read(Demo *demo, unsigned i, uint64_t lba, void *data,
                      size_t len)
{
    P2PBusVec vec = { .addr = { BOUNCE }, .len = len };

    g_assert_cmphex(qnvme_io(drive(demo, i)->nvme, QNVME_READ, lba, &vec, 1),
                    ==, QNVME_SUCCESS);
    qtest_bufread(qts(demo), BOUNCE, data, len);
}

/* --- Memory: guest RAM or a CMB ----------------------------------------- */

static void fill(Demo *demo, uint64_t gpa, size_t len, void *copy)
{
    g_autofree uint8_t *now = g_malloc(len);

    lab_pattern(demo->seed++, copy, len);
    qtest_bufwrite(qts(demo), gpa, copy, len);
    qtest_bufread(qts(demo), gpa, now, len);
    g_assert_cmpmem(now, len, copy, len);
}

/* The entry with its frame; nothing of a frame is below the start of a BAR. */
typedef struct Framed {
    uint64_t gpa;
    size_t len;
    size_t skip;         /* of the entry in it */
    uint8_t *before;
} Framed;

static Framed framed_fill(Demo *demo, const P2PGuestVec *entry)
{
    size_t skip = entry->addr.gpa % (1 * MiB) ? FRAME : 0;
    Framed framed = {
        .gpa = entry->addr.gpa - skip,
        .len = skip + entry->len + FRAME,
        .skip = skip,
    };

    framed.before = g_malloc(framed.len);
    fill(demo, framed.gpa, framed.len, framed.before);
    return framed;
}

/* --- Transfers ----------------------------------------------------------- */

/* What the initiator is to put on the bus, as QEMU tells it. */
static bool translate(Demo *demo, unsigned initiator, P2PGuestVec *vec,
                      size_t n, uint32_t direction, P2PBusVec *bus, size_t *m)
{
    for (size_t i = 0; i < n; i++) {
        vec[i].flags = direction |
                       (vec[i].addr.gpa >= LAB_RAM_SIZE ? P2P_VEC_MUST_BE_IO
                                                        : P2P_VEC_MUST_BE_RAM);
    }
    return !p2p_monitor_translate(qts(demo), drive(demo, initiator)->id, vec,
                                  n, bus, m);
}

/* Disk to memory. */
static bool transfer_in(Demo *demo, unsigned initiator, uint64_t lba,
                        P2PGuestVec *vec, size_t n)
{
    P2PBusVec bus[MAX_ENTRIES];
    size_t m = MAX_ENTRIES;
    Framed framed[MAX_ENTRIES];
    uint64_t offset = lba * BLOCK;
    bool ok;

    for (size_t i = 0; i < n; i++) {
        framed[i] = framed_fill(demo, &vec[i]);
    }
    ok = translate(demo, initiator, vec, n, P2P_VEC_WRITE, bus, &m) &&
         !qnvme_io(drive(demo, initiator)->nvme, QNVME_READ, lba, bus, m);

    for (size_t i = 0; i < n; i++) {
        g_autofree uint8_t *after = g_malloc(framed[i].len);

        lab_disk_words(initiator, offset, framed[i].before + framed[i].skip,
                       vec[i].len);
        offset += vec[i].len;
        qtest_bufread(qts(demo), framed[i].gpa, after, framed[i].len);
        ok = ok && !memcmp(after, framed[i].before, framed[i].len);
        g_free(framed[i].before);
    }
    return ok;
}

/* Memory to disk. */
static bool transfer_out(Demo *demo, unsigned initiator, uint64_t lba,
                         P2PGuestVec *vec, size_t n)
{
    size_t len = vec_len(vec, n), with_frame = len + 2 * BLOCK, done = 0;
    g_autofree uint8_t *expected = g_malloc(with_frame);
    g_autofree uint8_t *after = g_malloc(with_frame);
    P2PBusVec bus[MAX_ENTRIES];
    size_t m = MAX_ENTRIES;

    disk_read(demo, initiator, lba - 1, expected, with_frame);
    for (size_t i = 0; i < n; i++) {
        fill(demo, vec[i].addr.gpa, vec[i].len, expected + BLOCK + done);
        done += vec[i].len;
    }
    if (!translate(demo, initiator, vec, n, P2P_VEC_READ, bus, &m) ||
        qnvme_io(drive(demo, initiator)->nvme, QNVME_WRITE, lba, bus, m)) {
        return false;
    }
    disk_read(demo, initiator, lba - 1, after, with_frame);
    return !memcmp(after, expected, with_frame);
}

static void transfer(Demo *demo, unsigned initiator, QNvmeOp op,
                     P2PGuestVec *vec, size_t n)
{
    /* another place each time */
    uint64_t lba = 1 + (demo->transfers * 37) % 8192;
    bool ok = op == QNVME_READ
              ? transfer_in(demo, initiator, lba, vec, n)
              : transfer_out(demo, initiator, FIRST_WRITTEN_LBA + lba, vec, n);

    demo->transfers++;
    demo->verified += ok;
    if (!ok) {
        printf("  NOT VERIFIED: drive%u %s %zu bytes at 0x%" PRIx64 "\n",
               initiator, op == QNVME_READ ? "to" : "from", vec_len(vec, n),
               vec[0].addr.gpa);
    }
}

static void transfers_summary(Demo *demo, const char *what, unsigned first,
                              unsigned first_verified)
{
    printf("  %-52s %3u of %3u verified\n", what,
           demo->verified - first_verified, demo->transfers - first);
    fflush(stdout);
}

/* From one block to a list of PRPs, from a page's start and from within. */
static void transfers_to_peer(Demo *demo, unsigned initiator, unsigned target,
                              QNvmeOp op)
{
    static const uint32_t lens[] = {
        512, 1024, 4096, 5120, 8192, 16384, 65536, 131072
    };
    static const uint32_t offsets[] = { 0, 512, 3584 };
    unsigned first = demo->transfers, verified = demo->verified;
    g_autofree char *what = NULL;

    for (unsigned l = 0; l < ARRAY_SIZE(lens); l++) {
        for (unsigned o = 0; o < ARRAY_SIZE(offsets); o++) {
            uint64_t place = (demo->transfers % 7) * MiB + offsets[o];
            P2PGuestVec vec = guest_entry(
                drive(demo, target)->cmb.gpa + place, lens[l]);

            transfer(demo, initiator, op, &vec, 1);
        }
    }
    what = op == QNVME_READ
        ? g_strdup_printf("disk of drive%u -> CMB of drive%u", initiator,
                          target)
        : g_strdup_printf("CMB of drive%u -> disk of drive%u", target,
                          initiator);
    transfers_summary(demo, what, first, verified);
}

/* Guest RAM and a peer's BAR by turns, in one command. */
static void transfers_mixed(Demo *demo, QNvmeOp op)
{
    uint64_t cmb = drive(demo, 1)->cmb.gpa;
    unsigned first = demo->transfers, verified = demo->verified;

    for (unsigned i = 0; i < 4; i++) {
        P2PGuestVec vec[] = {
            guest_entry(VECTOR_RAM + 3 * MiB + 2048, 2048),
            guest_entry(cmb + (i + 1) * MiB + 8192, 4096),
            guest_entry(VECTOR_RAM + i * MiB + 16384, 8192),
            guest_entry(cmb + 6 * MiB, 4096 << i),
            guest_entry(VECTOR_RAM + 5 * MiB, 512 * (i + 1)),
        };

        transfer(demo, 0, op, vec, ARRAY_SIZE(vec));
    }
    transfers_summary(demo, op == QNVME_READ
                      ? "disk of drive0 -> RAM and CMB in one command"
                      : "RAM and CMB in one command -> disk of drive0",
                      first, verified);
}

static void transfers_read_only(Demo *demo)
{
    static const uint32_t lens[] = { 512, 4096, 8192, 65536 };
    unsigned first = demo->transfers, verified = demo->verified;

    for (unsigned l = 0; l < ARRAY_SIZE(lens); l++) {
        P2PGuestVec vec = guest_entry(
            drive(demo, 1)->cmb.gpa + READ_ONLY + l * 256 * KiB, lens[l]);

        transfer(demo, 0, QNVME_WRITE, &vec, 1);
    }
    transfers_summary(demo, "read-only window of drive1 -> disk of drive0",
                      first, verified);
}

/* --- Intrusions ---------------------------------------------------------- */

typedef struct Intrusion {
    const char *why;      /* it must not work */
    unsigned initiator;
    unsigned target;
    QNvmeOp op;           /* QNVME_READ: writes to the target's CMB */
    uint64_t offset;      /* in the CMB */
    uint32_t len;
} Intrusion;

/* No word of the secret may be where it would have gone to. */
static bool nothing_leaked(const void *data, const void *secret, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        if (ldq_le_p((const uint8_t *)data + i) ==
            ldq_le_p((const uint8_t *)secret + i)) {
            return false;
        }
    }
    return true;
}

static void intrusion(Demo *demo, const Intrusion *in)
{
    uint64_t gpa = drive(demo, in->target)->cmb.gpa + in->offset;
    P2PBusVec vec = { .addr = { gpa }, .len = in->len };
    uint64_t lba = FIRST_WRITTEN_LBA + 4096 + demo->intrusions * 256;
    g_autofree uint8_t *before = g_malloc(in->len);
    g_autofree uint8_t *after = g_malloc(in->len);
    g_autofree uint8_t *disk = g_malloc(in->len);
    g_autofree char *line = NULL, *result_str = NULL;
    bool memory_same, disk_clean;
    int result;

    fill(demo, gpa, in->len, before);
    line = lab_provoke_fault(demo->machine, demo->log, in->initiator, in->op,
                             lba, &vec, &result);
    qtest_bufread(qts(demo), gpa, after, in->len);
    disk_read(demo, in->initiator, lba, disk, in->len);
    memory_same = !memcmp(before, after, in->len);
    disk_clean = in->op == QNVME_READ || nothing_leaked(disk, before, in->len);

    demo->intrusions++;
    demo->blocked += memory_same && disk_clean && line;

    result_str = qnvme_result_str(result);
    printf("  drive%u %s CMB of drive%u at 0x%06" PRIx64 ", %u bytes: %s\n"
           "    the drive says: %s; %s\n    %s\n",
           in->initiator, in->op == QNVME_READ ? "writes to" : "reads from",
           in->target, in->offset, in->len, in->why, result_str,
           !memory_same ? "THE CMB HAS CHANGED"
           : !disk_clean ? "THE CMB'S BYTES ARE ON ITS DISK"
           : in->op == QNVME_READ ? "the CMB is unchanged"
           : "none of the CMB's bytes are on its disk",
           line ?: "NO FAULT WAS LOGGED");
    fflush(stdout);
}

static void intrusions(Demo *demo)
{
    static const char no_group[] = "drive2 is in no group";
    static const char not_shared[] = "this part of the BAR is not shared";
    static const char read_only[] = "this window is read-only";
    static const char nobodys[] = "drive2 is in no group, and shares nothing";
    static const Intrusion all[] = {
        { no_group,   2, 1, QNVME_READ,  0,                   512 },
        { no_group,   2, 1, QNVME_WRITE, 0,                   512 },
        { no_group,   2, 1, QNVME_READ,  3 * MiB + 512,       131072 },
        { no_group,   2, 1, QNVME_WRITE, 3 * MiB + 512,       131072 },
        { no_group,   2, 1, QNVME_WRITE, READ_ONLY,           4096 },
        { no_group,   2, 0, QNVME_READ,  1 * MiB,             8192 },
        { no_group,   2, 0, QNVME_WRITE, 1 * MiB,             8192 },
        /*
         * Two MiB that nobody has read: for a page in its IOTLB, which may be
         * as large as that, an emulated IOMMU refuses the write as well, but
         * tells nobody.
         */
        { read_only,  0, 1, QNVME_READ,  READ_ONLY + 2 * MiB, 4096 },
        { read_only,  0, 1, QNVME_READ,  READ_ONLY + 3 * MiB, 65536 },
        { not_shared, 0, 1, QNVME_READ,  NOT_SHARED,          4096 },
        { not_shared, 0, 1, QNVME_WRITE, NOT_SHARED,          4096 },
        { nobodys,    1, 2, QNVME_READ,  0,                   4096 },
        { nobodys,    1, 2, QNVME_WRITE, 0,                   4096 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        intrusion(demo, &all[i]);
    }
}

/* ------------------------------------------------------------------------- */

static void show_group(Demo *demo)
{
    g_autofree char *table = qtest_hmp(qts(demo), "info p2p");

    printf("The group, as QEMU's monitor shows it (info p2p):\n\n%s\n", table);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const properties[] = {
        "p2p-group=g0", "p2p-group=g0,p2p-share=" SHARE, "",
    };
    g_autoptr(LabMachine) machine = NULL;
    g_autoptr(DmarLog) log = NULL;
    g_autofree char *last = lab_host(ARRAY_SIZE(properties) - 1);
    Demo demo = { .seed = 1 };

    if (!last) {
        fprintf(stderr, "%s: run me in the lab, with three drives\n", argv[0]);
        return 1;
    }
    log = dmar_log_open();
    if (!log) {
        fprintf(stderr, "%s: /dev/kmsg: %s\n", argv[0], g_strerror(errno));
        return 1;
    }

    machine = lab_machine_new("-object p2p-group,id=g0", properties,
                              ARRAY_SIZE(properties));
    demo.machine = machine;
    demo.log = log;
    for (unsigned i = 0; i < ARRAY_SIZE(properties); i++) {
        lab_drive_start(machine, i);
    }
    show_group(&demo);

    printf("Moved, every byte compared:\n");
    transfers_to_peer(&demo, 0, 1, QNVME_READ);
    transfers_to_peer(&demo, 0, 1, QNVME_WRITE);
    transfers_to_peer(&demo, 1, 0, QNVME_READ);
    transfers_to_peer(&demo, 1, 0, QNVME_WRITE);
    transfers_mixed(&demo, QNVME_READ);
    transfers_mixed(&demo, QNVME_WRITE);
    transfers_read_only(&demo);

    printf("\nBlocked by the IOMMU:\n");
    intrusions(&demo);

    printf("\ndemo: %u of %u transfers verified, %u of %u intrusions blocked\n",
           demo.verified, demo.transfers, demo.blocked, demo.intrusions);
    return demo.verified == demo.transfers && demo.transfers >= 64 &&
           demo.blocked == demo.intrusions && demo.intrusions >= 8 ? 0 : 1;
}
