/*
 * Measurements: sides that take turns, and the ratio of their times
 *
 * What this project claims of its speed is a ratio against a peer measured in
 * the same run: the sides run one after the other, several rounds, and the
 * median of the rounds' ratios is the figure.  What disturbs the machine
 * disturbs all sides alike.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BENCH_H
#define P2P_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <glib.h>

#define BENCH_ROUNDS 11
#define BENCH_MAX_ROUNDS 41

typedef struct BenchSide {
    const char *name;
    /*
     * Do all of the work @times times; returns the seconds that took, or a
     * negative number to have them measured.
     */
    double (*run)(void *opaque, unsigned times);
    void *opaque;
    /* Written by bench_measure(): nanoseconds for each item in each round. */
    double ns[BENCH_MAX_ROUNDS];
    unsigned rounds;
} BenchSide;

/*
 * bench_measure: let @n sides take turns.
 *
 * @items: how many items one time of the work has
 */
void bench_measure(BenchSide *sides, unsigned n, double items);

/*
 * bench_measure_rounds: the same, with @rounds instead of BENCH_ROUNDS, and
 * turns of @seconds at least.
 */
void bench_measure_rounds(BenchSide *sides, unsigned n, double items,
                          unsigned rounds, double seconds);

/* bench_add_rounds: those of @more, which was measured later, to @side's. */
void bench_add_rounds(BenchSide *side, const BenchSide *more);

/* The median over the rounds: of the times, of the times of @a over @b's. */
double bench_ns(const BenchSide *side);
double bench_ratio(const BenchSide *a, const BenchSide *b);

/* "NOTE; LEAST to MOST": the rounds' ratios. The caller frees it. */
char *bench_ratio_note(const BenchSide *a, const BenchSide *b,
                       const char *note);

/* Sorts @values. */
double bench_median(double *values, unsigned n);

/* Seconds since some time ago. */
double bench_now(void);

/*
 * bench_report: one figure, as a line of JSON on standard output.
 *
 * @unit: "ns/entry", "times faster", ...
 * @peer: what it was compared with; NULL: nothing, the figure is context
 */
void bench_report(double value, const char *unit, const char *peer,
                  const char *note, const char *name_format, ...)
                  G_GNUC_PRINTF(5, 6);

#endif /* P2P_TESTS_BENCH_H */
