/*
 * How far a copy is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>
#include "copy.h"

#define WIDTH 40            /* characters of the bar */
#define INTERVAL 0.2        /* seconds between two of them */
#define MIB (1024.0 * 1024)

static double begun;
static double shown;        /* 0: nothing yet */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

void show_progress(const char *what, uint64_t done, uint64_t all)
{
    double time = now();
    int filled = all ? done * WIDTH / all : WIDTH;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    if (!begun) {
        begun = time;
    }
    /* What is soon done needs no bar. */
    if (time - (shown ? shown : begun + 0.8) < INTERVAL) {
        return;
    }
    shown = time;
    fprintf(stderr, "\r%s [%.*s%*s] %3d %%  %.0f of %.0f MiB", what, filled,
            "########################################", WIDTH - filled, "",
            (int)(all ? done * 100 / all : 100), done / MIB, all / MIB);
    fflush(stderr);
}

void end_progress(void)
{
    if (shown) {
        fprintf(stderr, "\r\033[K");
    }
    begun = 0;
    shown = 0;
}
