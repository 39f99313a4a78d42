/*
 * The main cases of translation and of changing a map, for callgrind to count
 * the instructions of
 *
 * Run by instructions-test.  For each case: "NAME UNITS" on the standard
 * output, and a dump of callgrind's with that name for so many units (entries,
 * changes); or "NAME skip REASON".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <valgrind/callgrind.h>
#include "map-internal.h"

enum {
    ENTRIES = 8192,         /* of a case, in all its vectors */
    ENTRY_LEN = 4096,
    GROUP = 8,
    CHANGES = 16,
    MOST_WINDOWS = 65536,
};

#define WINDOW_SIZE UINT64_C(0x100000)
#define STRIDE      UINT64_C(0x200000)

typedef enum Pattern {
    SEQUENTIAL,
    RANDOM,
    GROUPS,     /* of entries in one window, not in order */
    TURN,       /* random, then all in one window, not in order */
    SPLIT,      /* every entry lies in two windows */
    UNEVEN,     /* random, in windows that tables hardly tell apart */
} Pattern;

typedef struct Case {
    const char *name;
    Pattern pattern;
    unsigned n;             /* entries of a vector */
    unsigned n_windows;
} Case;

static const Case cases[] = {
    { "seq4k/n256/w64", SEQUENTIAL, 256, 64 },
    { "rand4k/n256/w1", RANDOM, 256, 1 },
    { "rand4k/n256/w16", RANDOM, 256, 16 },
    { "rand4k/n256/w64", RANDOM, 256, 64 },
    { "rand4k/n256/w4096", RANDOM, 256, 4096 },
    { "rand4k/n256/w65536", RANDOM, 256, 65536 },
    { "groups4k/n256/w64", GROUPS, 256, 64 },
    { "turn4k/n256/w64", TURN, 256, 64 },
    { "rand4k/n1/w64", RANDOM, 1, 64 },
    { "split4k/n256/w64", SPLIT, 256, 64 },
    { "uneven4k/n256/w256", UNEVEN, 256, 256 },
    { "uneven4k/n256/w4096", UNEVEN, 256, 4096 },
};

static uint64_t random_step(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

static uint64_t window_at(Pattern pattern, unsigned i)
{
    switch (pattern) {
    case SPLIT:
        /* Neighbours, but not on the bus */
        return (i + 1) * WINDOW_SIZE;
    case UNEVEN:
        /* Of 16, each is twice as far from the first as the one before. */
        return (uint64_t)(i / 16) << 40 | STRIDE << i % 16;
    default:
        return (i + 1) * STRIDE;
    }
}

static P2PMap *make_map(Pattern pattern, unsigned n)
{
    g_autofree P2PWindow *ws = g_new(P2PWindow, n);

    for (unsigned i = 0; i < n; i++) {
        ws[i] = (P2PWindow) {
            .gpa = { window_at(pattern, i) }, .size = WINDOW_SIZE,
            .bus = { (UINT64_C(1) << 50) + i * 2 * STRIDE },
            .readers = UINT64_MAX, .writers = UINT64_MAX,
            .owner = i % P2P_MAX_INITIATORS, .kind = P2P_WINDOW_IO,
        };
    }
    return p2p_map_new(ws, n, 0, NULL);
}

static void fill(const Case *c, P2PGuestVec *in)
{
    const unsigned slots = WINDOW_SIZE / ENTRY_LEN;
    uint64_t state = 1;

    for (unsigned i = 0; i < ENTRIES; i++) {
        unsigned window = i / slots % c->n_windows;
        uint64_t offset = i % slots * ENTRY_LEN;

        if (c->pattern != SEQUENTIAL) {
            window = random_step(&state) % c->n_windows;
            offset = random_step(&state) % slots * ENTRY_LEN;
        }
        if (c->pattern == GROUPS) {
            window = i / GROUP % c->n_windows;
        }
        if (c->pattern == TURN && i % c->n >= c->n / 4) {
            window = 0;
        }
        if (c->pattern == SPLIT) {
            window %= c->n_windows - 1;
            offset = WINDOW_SIZE - ENTRY_LEN / 2;
        }
        in[i] = (P2PGuestVec) {
            { window_at(c->pattern, window) + offset }, ENTRY_LEN, P2P_VEC_READ
        };
    }
}

static void translate_all(const P2PKernels *kernels, const Case *c,
                          const P2PMap *map, const P2PGuestVec *in,
                          P2PBusVec *out)
{
    for (unsigned i = 0; i < ENTRIES; i += c->n) {
        size_t m = 2 * c->n;
        int ret = p2p_translate_with(kernels, map, 5, in + i, c->n, out, &m,
                                     NULL);

        g_assert_cmpint(ret, ==, 0);
    }
}

static void count_translation(const P2PKernels *kernels, const Case *c)
{
    g_autofree char *name = g_strdup_printf("%s/%s", c->name, kernels->name);
    g_autofree P2PGuestVec *in = g_new(P2PGuestVec, ENTRIES);
    g_autofree P2PBusVec *out = g_new(P2PBusVec, 2 * c->n);
    g_autoptr(P2PMap) map = NULL;

    if (!kernels->supported()) {
        printf("%s skip the processor has no %s\n", name, kernels->name);
        return;
    }
    map = make_map(c->pattern, c->n_windows);
    fill(c, in);
    printf("%s %u\n", name, ENTRIES);
    CALLGRIND_TOGGLE_COLLECT;
    translate_all(kernels, c, map, in, out);
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_DUMP_STATS_AT(name);
}

static void change_one(const P2PMap *map, unsigned window)
{
    P2PWindow w = p2p_map_window(map, window);
    P2PMap *next;

    w.bus.bus += ENTRY_LEN;
    CALLGRIND_TOGGLE_COLLECT;
    next = p2p_map_change(map, &w.gpa, 1, &w, 1, NULL);
    p2p_map_free(next);
    CALLGRIND_TOGGLE_COLLECT;
    g_assert_nonnull(next);
}

static void count_change(void)
{
    const char *name = "map-change/w65536";
    g_autoptr(P2PMap) map = make_map(RANDOM, MOST_WINDOWS);

    printf("%s %u\n", name, CHANGES);
    for (unsigned i = 0; i < CHANGES; i++) {
        change_one(map, MOST_WINDOWS / CHANGES * i);
    }
    CALLGRIND_DUMP_STATS_AT(name);
}

int main(void)
{
    for (const P2PKernels *k = p2p_kernels; k->name; k++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
            count_translation(k, &cases[i]);
        }
    }
    count_change();
    return 0;
}
