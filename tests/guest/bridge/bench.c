/*
 * Figures: the disk reads into a window and into RAM; attach and detach
 *
 * Each round measures both of a pair, the one that comes first taking turns. A
 * line for each figure: "bench NAME VALUE".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "bridge.h"

#define STREAM MIB
/* How long to measure each figure, at least; and before the first round */
#define SECONDS 0.4
#define WARM_UP 0.1

typedef struct Bench {
    int file;
    uint8_t *memory[2];         /* of the window, and RAM */
    uint32_t window;            /* shared, not attached */
} Bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* MiB/s of direct reads of 1 MiB; -1: one failed */
static double read_stream(Bench *bench, unsigned which, double least)
{
    double begin = now();
    double seconds;
    uint64_t bytes = 0;

    do {
        if (pread(bench->file, bench->memory[which], STREAM,
                  bytes % PATTERN_SIZE) != STREAM) {
            return -1;
        }
        bytes += STREAM;
        seconds = now() - begin;
    } while (seconds < least);
    return bytes / seconds / MIB;
}

/* Microseconds of one pair of attach and detach, or of one identify */
static double command(Bench *bench, unsigned which, double least)
{
    double begin = now();
    double seconds;
    unsigned n = 0;

    do {
        struct p2p_bridge_identify identify;

        if (which == 0
            ? p2p_bridge_attach(machine.bridge, bench->window, NULL) < 0 ||
              p2p_bridge_detach(machine.bridge, bench->window) < 0
            : p2p_bridge_identify(machine.bridge, &identify) < 0) {
            return -1;
        }
        n++;
        seconds = now() - begin;
    } while (seconds < least);
    return seconds / n * 1e6;
}

static const struct {
    const char *names[2];
    double (*run)(Bench *bench, unsigned which, double least);
} figures[] = {
    { { "read-1M/aperture", "read-1M/ram" }, read_stream },
    { { "attach-detach", "identify" }, command },
};

static void measure_round(Bench *bench, unsigned round)
{
    for (unsigned i = 0; i < sizeof(figures) / sizeof(*figures); i++) {
        for (unsigned turn = 0; turn < 2; turn++) {
            unsigned which = (turn ^ round) & 1;
            double value = figures[i].run(bench, which,
                                          round ? SECONDS : WARM_UP);

            if (value < 0) {
                complain("%m");
                report(false, "bench/%s", figures[i].names[which]);
            } else if (round) {
                printf("bench %s %.3f\n", figures[i].names[which], value);
                fflush(stdout);
            }
        }
    }
}

/* Figures of wrong data are worth nothing. */
static bool is_right(Bench *bench, unsigned which)
{
    return pread(bench->file, bench->memory[which], STREAM, MIB) == STREAM &&
           is_filled(bench->memory[which], STREAM, TAG_PATTERN, MIB,
                     "what was read");
}

void measure(unsigned rounds)
{
    Window window;
    Bench bench = { .file = open_direct(PATTERN) };
    bool ok = open_window(&window, 2, 0, STREAM, P2P_BRIDGE_PAGES_AUTO) &&
              p2p_bridge_share(machine.bridge, machine.target, 2, 4 * MIB,
                               MIB, P2P_BRIDGE_ACCESS_RW, &bench.window) == 0;

    bench.memory[0] = window.data;
    bench.memory[1] = aligned_alloc(4096, STREAM);
    ok = ok && is_right(&bench, 0) && is_right(&bench, 1);
    report(ok, "bench/right");
    for (unsigned round = 0; ok && round <= rounds; round++) {
        measure_round(&bench, round);
    }
    close(bench.file);
    free(bench.memory[1]);
    p2p_bridge_unshare(machine.bridge, bench.window);
    close_window(&window);
}
