/*
 * Measurements: sides that take turns, and the ratio of their times
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "bench.h"

/* Far more than the clock's unit */
#define TURN_SECONDS 8e-3

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static double turn(BenchSide *side, unsigned times)
{
    double start = bench_now();
    double seconds = side->run(side->opaque, times);

    return seconds < 0 ? bench_now() - start : seconds;
}

/* How often the work fits into a turn of @least seconds. */
static unsigned calibrate(BenchSide *side, double least)
{
    unsigned times = 1;
    double seconds;

    turn(side, 1);
    while ((seconds = turn(side, times)) < least) {
        double factor = least / MAX(seconds, 1e-7) * 1.2;

        times = MAX(times * MIN(factor, 100), times + 1);
    }
    return times;
}

void bench_measure_rounds(BenchSide *sides, unsigned n, double items,
                          unsigned rounds, double seconds)
{
    g_autofree unsigned *times = g_new(unsigned, n);

    g_assert_cmpuint(rounds, <=, BENCH_MAX_ROUNDS);
    for (unsigned i = 0; i < n; i++) {
        times[i] = calibrate(&sides[i], seconds);
        sides[i].rounds = rounds;
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < n; i++) {
            /* Nobody always comes after the same one. */
            unsigned side = round % 2 ? n - 1 - i : i;

            sides[side].ns[round] = turn(&sides[side], times[side]) * 1e9 /
                                    times[side] / items;
        }
    }
}

void bench_measure(BenchSide *sides, unsigned n, double items)
{
    bench_measure_rounds(sides, n, items, BENCH_ROUNDS, TURN_SECONDS);
}

void bench_add_rounds(BenchSide *side, const BenchSide *more)
{
    g_assert_cmpuint(side->rounds + more->rounds, <=, BENCH_MAX_ROUNDS);
    memcpy(side->ns + side->rounds, more->ns,
           more->rounds * sizeof(more->ns[0]));
    side->rounds += more->rounds;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *da = a;
    const double *db = b;

    return (*da > *db) - (*da < *db);
}

double bench_median(double *values, unsigned n)
{
    qsort(values, n, sizeof(values[0]), compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double bench_ns(const BenchSide *side)
{
    double ns[BENCH_MAX_ROUNDS];

    memcpy(ns, side->ns, sizeof(ns));
    return bench_median(ns, side->rounds);
}

/* In ascending order; returns the median. Both had as many rounds. */
static double round_ratios(const BenchSide *a, const BenchSide *b,
                           double *ratio)
{
    for (unsigned i = 0; i < a->rounds; i++) {
        ratio[i] = a->ns[i] / b->ns[i];
    }
    return bench_median(ratio, a->rounds);
}

double bench_ratio(const BenchSide *a, const BenchSide *b)
{
    double ratio[BENCH_MAX_ROUNDS];

    return round_ratios(a, b, ratio);
}

char *bench_ratio_note(const BenchSide *a, const BenchSide *b,
                       const char *note)
{
    double ratio[BENCH_MAX_ROUNDS];

    round_ratios(a, b, ratio);
    return g_strdup_printf("%s; rounds %.3g to %.3g", note, ratio[0],
                           ratio[a->rounds - 1]);
}

/* What is printed here is of our own making: nothing in it needs escapes. */
void bench_report(double value, const char *unit, const char *peer,
                  const char *note, const char *name_format, ...)
{
    g_autofree char *name = NULL;
    g_autofree char *quoted_peer = peer ? g_strdup_printf("\"%s\"", peer)
                                        : g_strdup("null");
    va_list args;

    va_start(args, name_format);
    name = g_strdup_vprintf(name_format, args);
    va_end(args);
    printf("{ \"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", "
           "\"peer\": %s, \"note\": \"%s\" }\n",
           name, value, unit, quoted_peer, note);
    fflush(stdout);
}
