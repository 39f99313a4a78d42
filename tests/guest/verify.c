/*
 * Reads and writes between a disk and the target's memory, verified
 *
 * What a read brings is compared as the CPU sees it in the BAR, and with a
 * second read into RAM; what a write has left is read into RAM, with its
 * neighbours, and back into the BAR. Nothing around a transfer may change.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "aio.h"
#include "guest.h"

#define GUARD 4096              /* bytes before and after a transfer */
#define TAG_POISON 0xfefefe
#define TAG_WRITE 0xff0000      /* plus a number of its own for each write */

static uint32_t next_tag = TAG_WRITE;

/* A transfer between @disk at @at and @memory at @start */
typedef struct Transfer {
    const Disk *disk;
    const Memory *memory;
    size_t size;
    size_t start;
    uint64_t at;
} Transfer;

static uint8_t *area(const Transfer *t)
{
    return t->memory->data + t->start;
}

static void poison(const Transfer *t)
{
    fill(area(t) - GUARD, t->size + 2 * GUARD, TAG_POISON, 0);
}

static bool guards_intact(const Transfer *t)
{
    return is_filled(area(t) - GUARD, GUARD, TAG_POISON, 0,
                     "memory before the transfer") &
           is_filled(area(t) + t->size, GUARD, TAG_POISON, GUARD + t->size,
                     "memory after the transfer");
}

/* @tag: of what the disk holds there */
static bool read_into(const Transfer *t, uint32_t tag)
{
    poison(t);
    return read_disk(t->disk, area(t), t->size, t->at) &&
           is_filled(area(t), t->size, tag, t->at, "what was read") &
           guards_intact(t);
}

static bool verify_read(const Transfer *t, uint8_t *ram)
{
    bool ok = read_into(t, TAG_INITIAL(t->disk->index));

    return ok && read_disk(t->disk, ram, t->size, t->at) &&
           is_filled(ram, t->size, TAG_INITIAL(t->disk->index), t->at,
                     "what RAM got");
}

static bool equal(const uint8_t *a, const uint8_t *b, size_t size,
                  const char *what)
{
    if (memcmp(a, b, size) == 0) {
        return true;
    }
    complain("%s has changed", what);
    return false;
}

static bool verify_write(const Transfer *t, uint8_t *ram)
{
    uint8_t *before = ram;
    uint8_t *after = ram + t->size + 2 * GUARD;
    uint64_t from = t->at - GUARD;
    size_t size = t->size + 2 * GUARD;
    uint32_t tag = next_tag++;
    Transfer back = *t;

    if (!read_disk(t->disk, before, size, from)) {
        return false;
    }
    poison(t);
    fill(area(t), t->size, tag, t->at);
    if (!write_disk(t->disk, area(t), t->size, t->at) ||
        !is_filled(area(t), t->size, tag, t->at, "what was to be written") ||
        !guards_intact(t) || !read_disk(t->disk, after, size, from)) {
        return false;
    }
    if (!is_filled(after + GUARD, t->size, tag, t->at, "the disk") |
        !equal(before, after, GUARD, "the disk before the transfer") |
        !equal(before + GUARD + t->size, after + GUARD + t->size, GUARD,
               "the disk after the transfer")) {
        return false;
    }
    back.start += GUARD + t->disk->alignment;
    return read_into(&back, tag);
}

/* --- One call, pieces here and there ------------------------------------ */

/*
 * Pieces alternate between the target's memory and RAM, and go down in memory
 * while they go up on the disk.
 */
#define PIECES 16

static const size_t piece_size[] = {
    512, 4096, 1024, 65536, 8192, 1536, 20480
};

static size_t scatter(struct iovec *pieces, const Memory *memory,
                      const Memory *ram)
{
    size_t total = 0;
    size_t end = 2 * MIB;

    for (unsigned i = 0; i < PIECES; i++) {
        const Memory *where = i & 1 ? ram : memory;

        pieces[i].iov_len =
            piece_size[i % (sizeof(piece_size) / sizeof(*piece_size))];
        end -= pieces[i].iov_len + 512;
        if (i & 2) {
            end &= -4096ul;
        }
        pieces[i].iov_base = where->data + end;
        total += pieces[i].iov_len;
    }
    return total;
}

/* Returns whether all of them hold what fill() makes; @make: make it so */
static bool each_piece(const struct iovec *pieces, bool make, uint32_t tag,
                       uint64_t at)
{
    bool ok = true;

    for (unsigned i = 0; i < PIECES; i++) {
        if (make) {
            fill(pieces[i].iov_base, pieces[i].iov_len, tag, at);
        } else {
            char what[32];

            snprintf(what, sizeof(what), "piece %u", i);
            ok &= is_filled(pieces[i].iov_base, pieces[i].iov_len, tag, at,
                            what);
        }
        at += pieces[i].iov_len;
    }
    return ok;
}

static bool complete(ssize_t done, size_t size, const char *call)
{
    if (done < 0) {
        complain("%s: %m", call);
    } else if ((size_t)done != size) {
        complain("%s: %zd of %zu bytes", call, done, size);
    }
    return done == (ssize_t)size;
}

static bool verify_scattered_read(const Disk *disk, const Memory *memory,
                                  const Memory *ram)
{
    const uint64_t at = 3 * MIB + 512;
    struct iovec pieces[PIECES];
    size_t size = scatter(pieces, memory, ram);

    fill(memory->data, 2 * MIB, TAG_POISON, 0);
    fill(ram->data, 2 * MIB, TAG_POISON, 0);
    return complete(preadv(disk->fd, pieces, PIECES, at), size, "preadv") &&
           each_piece(pieces, false, TAG_INITIAL(disk->index), at);
}

static bool verify_scattered_write(const Disk *disk, const Memory *memory,
                                   const Memory *ram)
{
    const uint64_t at = 3 * MIB + 512;
    uint8_t *copy = ram->data + 4 * MIB;
    struct iovec pieces[PIECES];
    size_t size = scatter(pieces, memory, ram);
    uint32_t tag = next_tag++;

    each_piece(pieces, true, tag, at);
    return complete(pwritev(disk->fd, pieces, PIECES, at), size, "pwritev") &&
           read_disk(disk, copy, size, at) &&
           is_filled(copy, size, tag, at, "the disk");
}

/* --- Many at once ------------------------------------------------------- */

#define DEPTH 32
#define BLOCK (64 * KIB)

/* Even blocks are read, odd ones written, all in flight together. */
static bool verify_queue(const Disk *disk, const Memory *memory, uint8_t *ram)
{
    const uint64_t at = 10 * MIB;
    const uint32_t tag = next_tag++;
    uint8_t *data = memory->data + 512;
    struct iocb iocbs[DEPTH];
    struct iocb *list[DEPTH];
    struct io_event events[DEPTH];
    aio_context_t context;
    bool ok = true;

    for (unsigned i = 0; i < DEPTH; i++) {
        fill(data + i * BLOCK, BLOCK, i & 1 ? tag : TAG_POISON,
             at + i * BLOCK);
        aio_prepare(&iocbs[i], disk, i & 1, data + i * BLOCK, BLOCK,
                    at + i * BLOCK);
        list[i] = &iocbs[i];
    }
    context = aio_begin(DEPTH);
    aio_submit(context, list, DEPTH);
    aio_wait(context, events, DEPTH, DEPTH);
    aio_end(context);

    for (unsigned i = 0; i < DEPTH; i++) {
        if (events[i].res != BLOCK) {
            complain("request %td: %s",
                     (struct iocb *)(uintptr_t)events[i].obj - iocbs,
                     events[i].res < 0 ? strerror(-events[i].res) : "short");
            ok = false;
        }
    }
    if (!ok || !read_disk(disk, ram, DEPTH * BLOCK, at)) {
        return false;
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        uint32_t right = i & 1 ? tag : TAG_INITIAL(disk->index);

        ok &= is_filled(ram + i * BLOCK, BLOCK, right, at + i * BLOCK,
                        "the disk") &
              is_filled(data + i * BLOCK, BLOCK, right, at + i * BLOCK,
                        "the target");
    }
    /* As it was, for who comes next. */
    fill(ram, DEPTH * BLOCK, TAG_INITIAL(disk->index), at);
    return write_disk(disk, ram, DEPTH * BLOCK, at) && ok;
}

/* --- All of it ---------------------------------------------------------- */

static const struct {
    const char *name;
    size_t size;
} sizes[] = {
    { "512", 512 },
    { "4K", 4 * KIB },
    { "64K", 64 * KIB },
    { "1M", MIB },
    { "4M", 4 * MIB },
};

typedef bool Check(const Transfer *t, uint8_t *ram);

/*
 * In a page of its own, at sectors, which is what direct I/O of the host
 * wants, and at an address that only the guest's disk can do
 */
static const char *const places[] = { "", "-sector", "-odd" };

static void each_size(const Disk *disk, const Memory *memory, uint8_t *ram,
                      Check *check, const char *name)
{
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (unsigned place = 0; place < 3; place++) {
            Transfer t = {
                .disk = disk,
                .memory = memory,
                .size = sizes[i].size,
                .start = 2 * GUARD,
                .at = sizes[i].size < 64 * KIB ? 64 * KIB : sizes[i].size,
            };

            if (place > 0) {
                t.start += 1024;
                t.at += 1536;
            }
            if (place > 1) {
                t.start += disk->alignment;
            }
            report(check(&t, ram), "%s/%s/%s/%s%s", disk->name, memory->name,
                   name, sizes[i].name, places[place]);
        }
    }
}

/* The host compares the image with this when the guest has gone. */
static bool leave_final(const Disk *disk, const Memory *memory)
{
    for (uint64_t at = 0; at < disk->size; at += 4 * MIB) {
        size_t size = disk->size - at < 4 * MIB ? disk->size - at : 4 * MIB;

        fill(memory->data, size, TAG_FINAL(disk->index), at);
        if (!write_disk(disk, memory->data, size, at)) {
            return false;
        }
    }
    return complete(fsync(disk->fd), 0, "fsync");
}

void verify(const Disk *disk, const Memory *memory)
{
    const Memory *ram = &memory[MEMORY_RAM];
    const Memory *last = NULL;

    if (disk->size < 16 * MIB) {
        die("%s: needs 16 MiB", disk->name);
    }
    /* While the disk is as the host has made it */
    for (const Memory *m = memory; m < ram; m++) {
        if (m->name && (disk->p2pdma || !m->p2pdma)) {
            each_size(disk, m, ram->data, verify_read, "read");
            report(verify_scattered_read(disk, m, ram),
                   "%s/%s/read/scattered", disk->name, m->name);
            report(verify_queue(disk, m, ram->data), "%s/%s/queue",
                   disk->name, m->name);
        }
    }
    for (const Memory *m = memory; m < ram; m++) {
        if (m->name && (disk->p2pdma || !m->p2pdma)) {
            each_size(disk, m, ram->data, verify_write, "write");
            report(verify_scattered_write(disk, m, ram),
                   "%s/%s/write/scattered", disk->name, m->name);
            last = m;
        }
    }
    if (!last) {
        die("%s: the target has no memory for it", disk->name);
    }
    report(leave_final(disk, last), "%s/write/all", disk->name);
}
