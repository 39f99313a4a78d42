/*
 * Throughput between a disk and the target's memory, and guest RAM
 *
 * Each round measures both, the one that comes first taking turns. A line for
 * each figure: "bench NAME MIBPS".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "aio.h"
#include "guest.h"

#define DEPTH 32
#define BLOCK (4 * KIB)
#define STREAM MIB

/* How long to measure each figure, at least; and before the first round */
#define SECONDS 0.4
#define WARM_UP 0.1

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* One request at a time, through all of the disk */
static double stream(const Disk *disk, const Memory *memory, bool write,
                     double least)
{
    uint64_t bytes = 0;
    uint64_t at = 0;
    double begin = now();
    double seconds;

    if (write) {
        fill(memory->data, STREAM, TAG_INITIAL(disk->index), 0);
    }
    do {
        if (write ? !write_disk(disk, memory->data, STREAM, at)
                  : !read_disk(disk, memory->data, STREAM, at)) {
            return -1;
        }
        bytes += STREAM;
        at = (at + STREAM) % disk->size;
        seconds = now() - begin;
    } while (seconds < least);
    return bytes / seconds / MIB;
}

static double read_stream(const Disk *disk, const Memory *memory,
                          double least)
{
    return stream(disk, memory, false, least);
}

static double write_stream(const Disk *disk, const Memory *memory,
                           double least)
{
    return stream(disk, memory, true, least);
}

/* Blocks in an order that no read-ahead guesses, DEPTH in flight */
static double read_blocks(const Disk *disk, const Memory *memory,
                          double least)
{
    uint64_t blocks = disk->size / BLOCK;
    uint64_t next = 0;
    uint64_t done = 0;
    struct iocb iocbs[DEPTH];
    struct iocb *list[DEPTH];
    struct io_event events[DEPTH];
    unsigned n = DEPTH;
    unsigned in_flight = 0;
    aio_context_t context = aio_begin(DEPTH);
    double begin = now();
    double end = begin + least;
    bool failed = false;

    for (unsigned i = 0; i < DEPTH; i++) {
        list[i] = &iocbs[i];
    }
    do {
        for (unsigned i = 0; i < n; i++) {
            /* 7919 is odd and prime, disks are powers of two. */
            aio_prepare(list[i], disk, false,
                        memory->data + (list[i] - iocbs) * BLOCK, BLOCK,
                        next++ * 7919 % blocks * BLOCK);
        }
        aio_submit(context, list, n);
        in_flight += n;
        n = aio_wait(context, events, 1, DEPTH);
        in_flight -= n;
        done += n;
        for (unsigned i = 0; i < n; i++) {
            list[i] = (struct iocb *)(uintptr_t)events[i].obj;
            failed |= events[i].res != BLOCK;
        }
    } while (now() < end && !failed);
    if (in_flight) {
        done += aio_wait(context, events, in_flight, DEPTH);
    }
    end = now();
    aio_end(context);
    if (failed) {
        complain("a request of 4 KiB failed");
        return -1;
    }
    return done * BLOCK / (end - begin) / MIB;
}

static const struct {
    const char *name;
    /* MiB/s, in @least seconds or more; or -1 */
    double (*run)(const Disk *disk, const Memory *memory, double least);
} figures[] = {
    { "read-1M", read_stream },
    { "read-4k-qd32", read_blocks },
    { "write-1M", write_stream },
};

static const Memory *target_memory(const Disk *disk, const Memory *memory)
{
    return &memory[disk->p2pdma ? MEMORY_P2PDMA : MEMORY_GENERIC];
}

/* Figures of wrong data are worth nothing. */
static void check(const Disk *disk, const Memory *memory)
{
    memset(memory->data, 0, STREAM);
    report(read_disk(disk, memory->data, STREAM, STREAM) &&
           is_filled(memory->data, STREAM, TAG_INITIAL(disk->index), STREAM,
                     "what was read"),
           "%s/bench/%s", disk->name, memory->name);
}

/* Round 0 is not told: memory is touched for the first time, files are read. */
static void measure(const Disk *disk, const Memory *bar, const Memory *ram,
                    unsigned round)
{
    for (unsigned i = 0; i < sizeof(figures) / sizeof(*figures); i++) {
        for (unsigned turn = 0; turn < 2; turn++) {
            const Memory *memory = (turn ^ round) & 1 ? ram : bar;
            double value;

            if (!memory->name) {
                continue;
            }
            value = figures[i].run(disk, memory, round ? SECONDS : WARM_UP);
            if (value < 0) {
                report(false, "%s/bench/%s", disk->name, figures[i].name);
            } else if (round) {
                printf("bench %s/%s/%s %.1f\n", disk->name, figures[i].name,
                       memory == ram ? "ram" : "bar", value);
                fflush(stdout);
            }
        }
    }
}

void bench(const Disk *disks, unsigned n, const Memory *memory,
           unsigned rounds)
{
    const Memory *ram = &memory[MEMORY_RAM];

    for (unsigned i = 0; i < n; i++) {
        const Memory *bar = target_memory(&disks[i], memory);

        if (bar->name) {
            check(&disks[i], bar);
        }
        check(&disks[i], ram);
    }
    for (unsigned round = 0; round <= rounds; round++) {
        for (unsigned i = 0; i < n; i++) {
            measure(&disks[i], target_memory(&disks[i], memory), ram, round);
        }
    }
}
