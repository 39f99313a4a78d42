/*
 * Emulated devices move data into and out of a peer's BARs
 *
 * A table: device x disk image x direction x where the data is. Each cell is
 * verified from outside: BAR 2 of the target as the file that it is, other
 * memory by the guest's own accesses, and all of the image, in the end, by
 * qemu-img.  Where a cell has no business, nothing may have changed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "image.h"
#include "peer-machine.h"

#define DISK_SIZE (4 * MiB)
#define RAM_SIZE  (4 * MiB)
#define PAGE      4096

/* The BAR without a CPU mapping: a controller memory buffer */
#define CMB_SLOT  5
#define CMB_BAR   2
#define CMB       (66 * GiB)
#define CMB_SIZE  (2 * MiB)

typedef enum Place {
    RAM,            /* of the guest */
    FILE_BAR,       /* BAR 2 of the target */
    RAM_BAR,        /* BAR 4 */
    IO_BAR,         /* the CMB */
    PLACES
} Place;

typedef struct Piece {
    Place place;
    uint32_t offset;
    uint32_t len;
} Piece;

#define MAX_PIECES 256

/* Where the data of one request is */
typedef struct Shape {
    const char *name;
    unsigned align;         /* of its addresses */
    bool anywhere;          /* entries begin and end within pages */
    unsigned n;             /* entries */
    Piece piece[4];         /* but if there are more: */
    uint32_t pages;         /* pages of BAR 2, in the reverse order */
} Shape;

static const Shape shapes[] = {
    { "512", PAGE, .n = 1, .piece = { { FILE_BAR, 0, 512 } } },
    { "4K", PAGE, .n = 1, .piece = { { FILE_BAR, 0x3000, 4 * KiB } } },
    { "64K", PAGE, .n = 1, .piece = { { FILE_BAR, 0x10000, 64 * KiB } } },
    { "1M", PAGE, .n = 1, .piece = { { FILE_BAR, MiB, MiB } } },
    { "to-the-end", PAGE, .n = 1,
      .piece = { { FILE_BAR, PEER_SIZE - 128 * KiB, 128 * KiB } } },
    { "12K-at-0xe04", 4, .n = 1, .piece = { { FILE_BAR, 0x1e04, 12 * KiB } } },
    { "8K-at-0x801", 1, .n = 1, .piece = { { FILE_BAR, 0x2801, 8 * KiB } } },
    { "pages-16", PAGE, .pages = 16 },
    { "pages-256", PAGE, .pages = 256 },
    { "ram-and-two-bars", PAGE, .n = 4,
      .piece = { { RAM, 0, 4 * KiB }, { FILE_BAR, 0x8000, 8 * KiB },
                 { RAM_BAR, 0x3000, 4 * KiB }, { RAM, 0x4000, 8 * KiB } } },
    { "sectors", 4, true, .n = 4,
      .piece = { { FILE_BAR, 0x1200, 512 }, { RAM, 0x200, 512 },
                 { FILE_BAR, 0x4e00, 512 }, { RAM_BAR, 0x600, 512 } } },
    { "ram-bar-64K", PAGE, .n = 1, .piece = { { RAM_BAR, 0x8000, 64 * KiB } } },
    { "io-4K", PAGE, .n = 1, .piece = { { IO_BAR, 0x2000, 4 * KiB } } },
    { "io-256K", PAGE, .n = 1, .piece = { { IO_BAR, MiB, 256 * KiB } } },
    { "io-and-file", PAGE, .n = 3,
      .piece = { { IO_BAR, 0x1000, 4 * KiB }, { FILE_BAR, 0x2000, 8 * KiB },
                 { IO_BAR, 0x8000, 4 * KiB } } },
};

typedef struct Case {
    const DriveKind *drive;
    const ImageKind *image;
} Case;

typedef struct Bench {
    PeerMachine *m;
    uint64_t ram;               /* RAM_SIZE bytes */
    uint8_t *disk;              /* what must be on it */
    uint8_t *bar2;              /* what must be in it */
} Bench;

/* --- Data -------------------------------------------------------------- */

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = g_test_rand_int();

        memcpy(data + i, &word, MIN(4, len - i));
    }
}

static uint64_t piece_gpa(const Bench *b, const Piece *p)
{
    const uint64_t base[PLACES] = {
        [RAM] = b->ram, [FILE_BAR] = PEER_BAR2, [RAM_BAR] = PEER_BAR4,
        [IO_BAR] = CMB,
    };

    return base[p->place] + p->offset;
}

/* From outside; what must be in BAR 2 follows. */
static void piece_put(Bench *b, const Piece *p, const uint8_t *data)
{
    if (p->place == FILE_BAR) {
        memcpy(b->m->bar2 + p->offset, data, p->len);
        memcpy(b->bar2 + p->offset, data, p->len);
    } else {
        qtest_bufwrite(b->m->qts, piece_gpa(b, p), data, p->len);
    }
}

static void piece_get(Bench *b, const Piece *p, uint8_t *data)
{
    if (p->place == FILE_BAR) {
        memcpy(data, b->m->bar2 + p->offset, p->len);
    } else {
        qtest_bufread(b->m->qts, piece_gpa(b, p), data, p->len);
    }
}

static unsigned shape_pieces(const Shape *shape, Piece *piece)
{
    for (unsigned i = 0; i < shape->pages; i++) {
        piece[i] = (Piece) {
            FILE_BAR, (2 * (shape->pages - i) - 1) * PAGE, PAGE
        };
    }
    if (!shape->pages) {
        memcpy(piece, shape->piece, sizeof(shape->piece));
    }
    return shape->pages ?: shape->n;
}

static bool shape_fits(const Shape *shape, const DriveKind *kind)
{
    return shape->align >= kind->align && !(kind->pages && shape->anywhere);
}

/* --- A cell ------------------------------------------------------------ */

static void check_cell(Bench *b, const Shape *shape, DriveOp op)
{
    Piece piece[MAX_PIECES];
    unsigned n = shape_pieces(shape, piece);
    P2PBusVec vec[MAX_PIECES];
    g_autofree uint8_t *data = NULL, *got = NULL;
    uint64_t offset = 0;
    size_t len = 0;

    for (unsigned i = 0; i < n; i++) {
        vec[i] = (P2PBusVec) {
            .addr = { piece_gpa(b, &piece[i]) }, .len = piece[i].len,
        };
        len += piece[i].len;
    }
    offset = g_test_rand_int_range(0, (DISK_SIZE - len) / DRIVE_BLOCK + 1) *
             DRIVE_BLOCK;
    data = g_malloc(len);
    got = g_malloc(len);

    fill(data, len);
    for (unsigned i = 0, at = 0; i < n; at += piece[i++].len) {
        piece_put(b, &piece[i], data + at);
    }
    g_assert_cmpint(drive_io(b->m->drive, op, offset, vec, n), ==, 0);

    if (op == DRIVE_WRITE) {
        Piece back = { RAM, RAM_SIZE / 2, len };
        P2PBusVec from = { .addr = { piece_gpa(b, &back) }, .len = len };

        memcpy(b->disk + offset, data, len);
        g_assert_cmpint(drive_io(b->m->drive, DRIVE_READ, offset, &from, 1),
                        ==, 0);
        piece_get(b, &back, got);
    } else {
        for (unsigned i = 0, at = 0; i < n; at += piece[i++].len) {
            if (piece[i].place == FILE_BAR) {
                memcpy(b->bar2 + piece[i].offset, b->disk + offset + at,
                       piece[i].len);
            }
            piece_get(b, &piece[i], got + at);
        }
    }
    g_assert_true(!memcmp(got, b->disk + offset, len));
    g_assert_true(!memcmp(b->m->bar2, b->bar2, PEER_SIZE));
}

/* The way that query-p2p names is the one that a plain request goes. */
static void check_data_path(Bench *b, const ImageKind *kind)
{
    static const char *const paths[] = { "kernel-copy", "bounce", "direct" };
    P2PBusVec vec = { .addr = { PEER_BAR2 + MiB }, .len = 64 * KiB };
    g_autofree char *path = peer_machine_data_path(b->m);
    uint64_t before[ARRAY_SIZE(paths)];

    g_assert_cmpstr(path, ==, kind->data_path);
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        before[i] = peer_machine_requests(b->m, 2, paths[i]);
    }
    g_assert_cmpint(drive_io(b->m->drive, DRIVE_READ, MiB, &vec, 1), ==, 0);
    memcpy(b->bar2 + MiB, b->disk + MiB, vec.len);
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        g_assert_cmpuint(peer_machine_requests(b->m, 2, paths[i]), ==,
                         before[i] + g_str_equal(paths[i], path));
    }
}

/* --- A row ------------------------------------------------------------- */

static void start(Bench *b, const Case *c, const Image *image)
{
    g_autofree char *disk = image_options(image);
    g_autofree char *options = g_strdup_printf(
        "-device nvme,id=c0,addr=%u,serial=c0,cmb_size_mb=%u,legacy-cmb=on,"
        "p2p-group=g0,p2p-share=bar%u %s", CMB_SLOT, (unsigned)(CMB_SIZE / MiB),
        CMB_BAR, disk);
    GuestPci cmb = { .devfn = CMB_SLOT << 3 };

    b->m = peer_machine_new("q35", c->drive, "", options);
    cmb.qts = b->m->qts;
    guest_pci_bar_map(&cmb, CMB_BAR, (P2PGuestAddr) { CMB });
    guest_pci_command(&cmb, PCI_COMMAND_MEMORY, 0);
    b->ram = qmalloc(b->m->qos, RAM_SIZE);
    b->bar2 = g_malloc0(PEER_SIZE);
}

static void test_case(const void *opaque)
{
    static const char *const directions[] = { "read", "write" };
    const Case *c = opaque;
    g_autofree uint8_t *disk = g_malloc(DISK_SIZE);
    g_autofree uint8_t *got = NULL;
    g_autofree char *why = NULL;
    Bench b = { .disk = disk };
    Image *image;

    fill(disk, DISK_SIZE);
    image = image_new(c->image, disk, DISK_SIZE, &why);
    if (!image) {
        g_test_skip(why);
        return;
    }
    start(&b, c, image);
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        for (DriveOp op = DRIVE_READ; op <= DRIVE_WRITE; op++) {
            if (shape_fits(&shapes[i], c->drive)) {
                check_cell(&b, &shapes[i], op);
                g_test_message("%s %s %s %s ok", c->drive->name,
                               c->image->name, directions[op],
                               shapes[i].name);
            }
        }
    }
    check_data_path(&b, c->image);
    peer_machine_end(b.m);

    got = image_read(image, DISK_SIZE);
    g_assert_true(!memcmp(got, disk, DISK_SIZE));
    image_free(image);
    g_free(b.bar2);
}

static const DriveKind *const drives[] = {
    &drive_nvme, &drive_nvme_sgl, &drive_virtio_blk,
    &drive_virtio_blk_iothread, &drive_virtio_blk_multiqueue,
    &drive_virtio_scsi, &drive_virtio_scsi_iothread, &drive_ahci,
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(drives); i++) {
        for (const ImageKind *kind = image_kinds; kind->name; kind++) {
            g_autofree char *path = g_strdup_printf("p2p/transfer/%s/%s",
                                                    drives[i]->name,
                                                    kind->name);
            Case *c = g_new(Case, 1);

            *c = (Case) { drives[i], kind };
            qtest_add_data_func_full(path, c, test_case, g_free);
        }
    }
    return g_test_run();
}
