/*
 * Maps that are made from other ones: what they hold, share, refuse and cost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <malloc.h>
#include <string.h>
#include "compare.h"
#include "count-blocks.h"
#include "random.h"

/* A chunk that is not the last one has a quarter of this at least. */
#define FEW_WINDOWS (P2P_CHUNK_WINDOWS / 4)

static uint64_t last_of(const P2PWindow *w)
{
    return w->gpa.gpa + (w->size - 1);
}

static P2PWindow ram_window(uint64_t gpa, uint64_t size)
{
    return (P2PWindow) {
        .gpa = { gpa }, .size = size, .bus = { gpa },
        .readers = UINT64_MAX, .writers = UINT64_MAX,
        .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM,
    };
}

/* --- What a map must hold --- */

static void assert_sound(const P2PMap *map)
{
    size_t n = 0;

    for (size_t c = 0; c < map->n_chunks; c++) {
        const P2PChunk *chunk = map->chunks[c];

        g_assert_cmpint(g_atomic_int_get(&chunk->refs), >, 0);
        g_assert_cmpuint((uintptr_t)chunk % P2P_CACHE_LINE, ==, 0);
        g_assert_cmpuint(chunk->n, >, 0);
        g_assert_cmpuint(chunk->n, <=, P2P_CHUNK_WINDOWS);
        if (c + 1 < map->n_chunks) {
            g_assert_cmpuint(chunk->n, >=, FEW_WINDOWS);
        }
        n += chunk->n;
    }
    g_assert_cmpuint(n, ==, map->n);
    g_assert_cmpuint(p2p_map_size(map), ==, n);
}

/* @want: of P2PWindow, ascending */
static void assert_holds(const P2PMap *map, const GArray *want)
{
    const P2PWindow *ws = (const P2PWindow *)want->data;
    g_autoptr(P2PMap) anew = p2p_map_new(ws, want->len, map->cpu_initiators,
                                         NULL);

    g_assert_nonnull(anew);
    assert_sound(map);
    g_assert_cmpuint(p2p_map_size(map), ==, want->len);
    for (size_t i = 0; i < want->len; i++) {
        P2PWindow got = p2p_map_window(map, i);
        P2PWindow found;

        compare_windows(got, oracle_told(ws[i]));
        compare_windows(got, p2p_map_window(anew, i));
        g_assert_true(p2p_map_find(map, (P2PGuestAddr) { last_of(&ws[i]) },
                                   &found));
        compare_windows(found, got);
    }
}

/* --- Changes at random --- */

enum {
    STEPS = 300,
    MOST_WINDOWS = 4000,
    KEPT = 8,           /* older maps */
};

/* A map, and what it must hold. */
typedef struct Version {
    P2PMap *map;
    GArray *windows;    /* of P2PWindow, ascending */
} Version;

typedef struct Change {
    GArray *remove;     /* of P2PGuestAddr */
    GArray *add;        /* of P2PWindow */
    GArray *result;     /* of P2PWindow, ascending */
} Change;

static const P2PWindow *at(const GArray *windows, size_t i)
{
    return &g_array_index(windows, P2PWindow, i);
}

static void change_init(Change *change, const GArray *windows)
{
    change->remove = g_array_new(FALSE, FALSE, sizeof(P2PGuestAddr));
    change->add = g_array_new(FALSE, FALSE, sizeof(P2PWindow));
    change->result = g_array_copy((GArray *)windows);
}

static void change_clear(Change *change)
{
    g_array_free(change->remove, TRUE);
    g_array_free(change->add, TRUE);
    g_array_free(change->result, TRUE);
}

static P2PMap *apply(const P2PMap *map, const Change *change, GError **error)
{
    return p2p_map_change(map, (const P2PGuestAddr *)change->remove->data,
                          change->remove->len,
                          (const P2PWindow *)change->add->data,
                          change->add->len, error);
}

/* @n windows that follow each other: also whole chunks */
static void remove_some(Change *change, size_t n)
{
    size_t first;

    n = MIN(n, change->result->len);
    first = random_below(change->result->len - n + 1);
    for (size_t i = 0; i < n; i++) {
        P2PGuestAddr gpa = at(change->result, first)->gpa;

        g_array_insert_val(change->remove,
                           random_below(change->remove->len + 1), gpa);
        g_array_remove_index(change->result, first);
    }
}

/* Somewhere between the window before the @i-th and the @i-th. */
static bool fit_window(const GArray *windows, size_t i, P2PWindow *w)
{
    uint64_t low = i > 0 ? last_of(at(windows, i - 1)) + 1 : 0;
    uint64_t high = i < windows->len ? at(windows, i)->gpa.gpa - 1
                                     : UINT64_MAX;

    if ((i > 0 && low == 0) || (i < windows->len && high == UINT64_MAX) ||
        low > high) {
        return false;
    }
    *w = (P2PWindow) { .gpa = { one_in(2) ? low : high } };
    if (one_in(2) && high - low < UINT64_MAX) {
        w->gpa.gpa = low + random_below(high - low + 1);
    }
    w->size = random_size();
    w->size = 1 + MIN(high - w->gpa.gpa, w->size - 1);
    random_window(w, i > 0 ? at(windows, i - 1) : NULL);
    return true;
}

static void add_some(Change *change, size_t n)
{
    bool near = one_in(2);
    size_t i = random_below(change->result->len + 1);

    while (n-- > 0) {
        P2PWindow w;

        if (!near) {
            i = random_below(change->result->len + 1);
        }
        if (fit_window(change->result, i, &w)) {
            g_array_insert_val(change->add,
                               random_below(change->add->len + 1), w);
            g_array_insert_val(change->result, i, w);
            i += one_in(2);
        }
    }
}

/* The same address, and another window */
static void replace_some(Change *change, size_t n)
{
    size_t first;

    n = MIN(n, change->result->len);
    first = random_below(change->result->len - n + 1);
    for (size_t i = first; i < first + n; i++) {
        P2PWindow *w = &g_array_index(change->result, P2PWindow, i);

        g_array_append_val(change->remove, w->gpa);
        w->size = 1 + random_below(w->size);
        random_window(w, NULL);
        g_array_append_val(change->add, *w);
    }
}

static void random_change(Change *change, const GArray *windows)
{
    size_t many = one_in(10) ? 1400 : one_in(2) ? 40 : 2;

    change_init(change, windows);
    /* First, as what is replaced cannot be removed once more */
    if (one_in(2)) {
        remove_some(change, random_below(many + 1));
    } else {
        replace_some(change, random_below(many + 1));
    }
    if (change->result->len < MOST_WINDOWS && !one_in(4)) {
        add_some(change, random_below(3 * many + 1));
    }
}

static void version_clear(Version *version)
{
    p2p_map_free(version->map);
    g_array_free(version->windows, TRUE);
}

static void test_random(void)
{
    Version kept[KEPT] = {
        { p2p_map_new(NULL, 0, 5, NULL),
          g_array_new(FALSE, FALSE, sizeof(P2PWindow)) }
    };
    size_t n = 1;
    size_t most = 0;

    /* Until several chunks were there, too. */
    for (unsigned step = 0;
         step < STEPS || most <= 2 * P2P_CHUNK_WINDOWS; step++) {
        /* Most often from the newest one */
        Version *from = &kept[one_in(4) ? random_below(n) : n - 1];
        GError *error = NULL;
        Version next;
        Change change;

        random_change(&change, from->windows);
        next.map = apply(from->map, &change, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(next.map->cpu_initiators, ==, 5);
        next.windows = g_array_copy(change.result);
        assert_holds(next.map, next.windows);
        change_clear(&change);
        most = MAX(most, next.windows->len);

        if (n == KEPT || (one_in(4) && n > 1)) {
            size_t i = random_below(n);

            assert_holds(kept[i].map, kept[i].windows);
            version_clear(&kept[i]);
            memmove(&kept[i], &kept[i + 1], (--n - i) * sizeof(kept[0]));
        }
        kept[n++] = next;
    }

    g_test_message("up to %zu windows", most);
    while (n > 0) {
        size_t i = random_below(n);

        assert_holds(kept[i].map, kept[i].windows);
        version_clear(&kept[i]);
        kept[i] = kept[--n];
    }
    g_assert_cmpuint(count_blocks(), ==, 0);
}

/* --- Refusals --- */

static void assert_refused(const P2PMap *map, const GArray *windows,
                           const Change *change, P2PMapError code,
                           const char *part)
{
    g_autoptr(GError) error = NULL;
    size_t blocks = count_blocks();
    size_t bytes = count_bytes();

    g_assert_null(apply(map, change, &error));
    g_assert_error(error, P2P_MAP_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_null(apply(map, change, NULL));
    g_assert_cmpuint(count_blocks(), ==, blocks);
    g_assert_cmpuint(count_bytes(), ==, bytes);
    for (size_t c = 0; c < map->n_chunks; c++) {
        g_assert_cmpint(map->chunks[c]->refs, ==, 1);
    }
    assert_holds(map, windows);
}

/* An address at which no window begins; a window is longer, or is before. */
static uint64_t unknown_address(const GArray *windows)
{
    for (;;) {
        const P2PWindow *w = at(windows, random_below(windows->len));
        uint64_t gpa = one_in(2) ? w->gpa.gpa - 1 : w->gpa.gpa + 1;
        size_t i = 0;

        while (i < windows->len && at(windows, i)->gpa.gpa != gpa) {
            i++;
        }
        if (i == windows->len) {
            return gpa;
        }
    }
}

/* One that holds a byte of a window that stays, too */
static P2PWindow overlapping(const GArray *windows)
{
    const P2PWindow *w = at(windows, random_below(windows->len));
    P2PWindow bad = ram_window(w->gpa.gpa + random_below(w->size), 1);
    uint64_t before = random_below(0x4000);

    bad.bus.bus = 0;
    switch (random_below(3)) {
    case 0:
        bad.gpa = w->gpa;
        bad.size = w->size;
        break;
    case 1:
        bad.gpa.gpa -= MIN(bad.gpa.gpa, before);
        bad.size = MIN(last_of(w) - bad.gpa.gpa, UINT64_MAX - 1) + 1;
        break;
    }
    return bad;
}

static void test_random_refused(void)
{
    g_autoptr(GArray) windows = g_array_new(FALSE, TRUE, sizeof(P2PWindow));
    g_autoptr(P2PMap) map = NULL;

    g_array_set_size(windows, 900);
    random_windows((P2PWindow *)windows->data, windows->len);
    map = p2p_map_new(at(windows, 0), windows->len, 5, NULL);

    for (unsigned i = 0; i < 200; i++) {
        Change change;
        P2PWindow w;
        P2PGuestAddr gpa;

        /* One that removes windows, but not all. */
        random_change(&change, windows);
        while (change.remove->len == 0 || change.result->len == 0) {
            change_clear(&change);
            random_change(&change, windows);
        }
        switch (i % 4) {
        case 0:
            gpa.gpa = unknown_address(windows);
            g_array_append_val(change.remove, gpa);
            assert_refused(map, windows, &change, P2P_MAP_ERROR_UNKNOWN,
                           "no window begins");
            break;
        case 1:
            gpa = g_array_index(change.remove, P2PGuestAddr,
                                random_below(change.remove->len));
            g_array_append_val(change.remove, gpa);
            assert_refused(map, windows, &change, P2P_MAP_ERROR_UNKNOWN,
                           "no window begins");
            break;
        case 2:
            w = overlapping(change.result);
            g_array_append_val(change.add, w);
            assert_refused(map, windows, &change, P2P_MAP_ERROR_OVERLAP,
                           "overlap");
            break;
        default:
            w = ram_window(0x1000, 0);
            g_array_append_val(change.add, w);
            assert_refused(map, windows, &change, P2P_MAP_ERROR_INVALID,
                           "is empty");
            break;
        }
        change_clear(&change);
    }
}

/* A window of 0x1000 bytes at each multiple of 0x2000 from 0x2000 on */
static GArray *regular_windows(size_t n)
{
    GArray *windows = g_array_new(FALSE, FALSE, sizeof(P2PWindow));

    for (size_t i = 0; i < n; i++) {
        P2PWindow w = ram_window((i + 1) * 0x2000, 0x1000);

        g_array_append_val(windows, w);
    }
    return windows;
}

static P2PMap *change_one(const P2PMap *map, const P2PGuestAddr *remove,
                          P2PWindow add, GError **error)
{
    return p2p_map_change(map, remove, remove != NULL, &add, 1, error);
}

static void assert_overlap(const P2PMap *map, const P2PGuestAddr *remove,
                           P2PWindow add)
{
    g_autoptr(GError) error = NULL;
    size_t blocks = count_blocks();

    g_assert_null(change_one(map, remove, add, &error));
    g_assert_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_OVERLAP);
    g_assert_cmpuint(count_blocks(), ==, blocks);
}

static void assert_change(const P2PMap *map, const P2PGuestAddr *remove,
                          P2PWindow add, size_t size)
{
    g_autoptr(P2PMap) next = change_one(map, remove, add, NULL);

    g_assert_nonnull(next);
    assert_sound(next);
    g_assert_cmpuint(p2p_map_size(next), ==, size);
}

/* Neighbours in two chunks, one of which no change touches */
static void test_chunk_borders(void)
{
    g_autoptr(GArray) windows = regular_windows(2500);
    g_autoptr(P2PMap) map = p2p_map_new(at(windows, 0), windows->len, 0, NULL);

    g_assert_cmpuint(map->n_chunks, >, 4);
    for (size_t c = 1; c < map->n_chunks; c++) {
        uint64_t next = map->chunks[c]->slots[1].first;
        P2PGuestAddr before = { next - 0x2000 };

        /* From the gap before the border, and from the window before it */
        assert_change(map, NULL, ram_window(next - 0x1000, 0x1000), 2501);
        assert_overlap(map, NULL, ram_window(next - 0x1000, 0x1001));
        assert_overlap(map, NULL, ram_window(next - 1, 2));
        assert_overlap(map, NULL, ram_window(next - 0x1001, 0x1001));
        assert_change(map, &before, ram_window(before.gpa, 0x2000), 2500);
        assert_overlap(map, &before, ram_window(before.gpa, 0x2001));
        assert_overlap(map, &before, ram_window(before.gpa, 0x900000));
        /* Behind it */
        assert_overlap(map, NULL, ram_window(next, 1));
        assert_overlap(map, NULL, ram_window(next + 0xfff, 1));
        assert_change(map, NULL, ram_window(next + 0x1000, 0x1000), 2501);
    }
}

static void test_unknown(void)
{
    g_autoptr(GArray) windows = regular_windows(1000);
    g_autoptr(P2PMap) map = p2p_map_new(at(windows, 0), windows->len, 0, NULL);
    g_autoptr(P2PMap) empty = p2p_map_new(NULL, 0, 0, NULL);
    const uint64_t unknown[] = {
        0, 0x1fff, 0x2001, 0x3000, 1000 * 0x2000 + 1, 1001 * 0x2000,
        UINT64_MAX,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++) {
        g_autoptr(GError) error = NULL;
        P2PGuestAddr gpa = { unknown[i] };
        g_autofree char *text = g_strdup_printf("0x%" G_GINT64_MODIFIER "x",
                                                unknown[i]);

        g_assert_null(p2p_map_change(map, &gpa, 1, NULL, 0, &error));
        g_assert_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_UNKNOWN);
        g_assert_nonnull(strstr(error->message, text));
        g_clear_error(&error);
        g_assert_null(p2p_map_change(empty, &gpa, 1, NULL, 0, &error));
        g_assert_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_UNKNOWN);
        /* What is only just added was not there to be removed. */
        if (unknown[i] % 0x2000 == 0 || unknown[i] == UINT64_MAX) {
            g_assert_null(change_one(map, &gpa, ram_window(gpa.gpa, 1),
                                     NULL));
        }
    }
}

/* The number is looked at first: only the first window is ever read. */
static void test_too_many(void)
{
    g_autoptr(GArray) windows = regular_windows(3);
    g_autoptr(P2PMap) map = p2p_map_new(at(windows, 0), 3, 0, NULL);
    const P2PWindow empty = ram_window(0x1000, 0);
    g_autoptr(GError) error = NULL;

    g_assert_null(p2p_map_new(&empty, P2P_MAX_WINDOWS + 1, 0, &error));
    g_assert_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "too many"));
    g_clear_error(&error);
    g_assert_null(p2p_map_change(map, NULL, 0, &empty, P2P_MAX_WINDOWS - 2,
                                 &error));
    g_assert_nonnull(strstr(error->message, "too many"));
    g_clear_error(&error);
    g_assert_null(p2p_map_change(map, NULL, 0, &empty, P2P_MAX_WINDOWS - 3,
                                 &error));
    g_assert_nonnull(strstr(error->message, "is empty"));
}

/* --- Sharing --- */

static size_t count_shared(const P2PMap *a, const P2PMap *b)
{
    size_t shared = 0;
    size_t j = 0;

    for (size_t i = 0; i < a->n_chunks; i++) {
        for (j = 0; j < b->n_chunks; j++) {
            if (a->chunks[i] == b->chunks[j]) {
                g_assert_cmpint(a->chunks[i]->refs, ==, 2);
                shared++;
            }
        }
    }
    return shared;
}

static void test_sharing(void)
{
    g_autoptr(GArray) windows = regular_windows(5000);
    P2PMap *map = p2p_map_new(at(windows, 0), windows->len, 0, NULL);
    P2PMap *next;
    P2PMap *same;

    for (size_t i = 0; i < windows->len; i += 77) {
        P2PGuestAddr gpa = at(windows, i)->gpa;

        next = change_one(map, &gpa, ram_window(gpa.gpa, 1), NULL);
        g_assert_cmpuint(count_shared(map, next), ==, map->n_chunks - 1);
        p2p_map_free(next);
    }

    same = p2p_map_change(map, NULL, 0, NULL, 0, NULL);
    g_assert_cmpuint(count_shared(map, same), ==, map->n_chunks);
    p2p_map_free(map);
    assert_holds(same, windows);
    g_assert_cmpint(same->chunks[0]->refs, ==, 1);
    p2p_map_free(same);
    g_assert_cmpuint(count_blocks(), ==, 0);
}

/* One by one, from the middle: chunks are joined, and none is left. */
static void test_remove_all(void)
{
    g_autoptr(GArray) windows = regular_windows(2400);
    P2PMap *map = p2p_map_new(at(windows, 0), windows->len, 0, NULL);
    P2PWindow w;

    while (windows->len > 0) {
        size_t i = one_in(2) ? windows->len / 2 : random_below(windows->len);
        P2PGuestAddr gpa = at(windows, i)->gpa;
        P2PMap *next = p2p_map_change(map, &gpa, 1, NULL, 0, NULL);

        g_assert_nonnull(next);
        p2p_map_free(map);
        map = next;
        g_array_remove_index(windows, i);
        assert_sound(map);
        if (windows->len % 50 == 0) {
            assert_holds(map, windows);
        }
    }
    g_assert_cmpuint(map->n_chunks, ==, 0);
    g_assert_false(p2p_map_find(map, (P2PGuestAddr) { 0x2000 }, &w));
    p2p_map_free(map);
    g_assert_cmpuint(count_blocks(), ==, 0);
}

/* Windows of one byte without a gap, up to the last address of all */
static void test_bytes(void)
{
    enum { N = 700 };
    g_autoptr(GArray) windows = g_array_new(FALSE, FALSE, sizeof(P2PWindow));
    g_autoptr(P2PMap) map = NULL;

    for (unsigned i = 0; i < N; i++) {
        P2PWindow w = ram_window(UINT64_MAX - (N - 1) + i, 1);

        g_array_append_val(windows, w);
    }
    map = p2p_map_new(at(windows, 0), N, 0, NULL);
    assert_holds(map, windows);
    for (unsigned i = 0; i < N; i++) {
        P2PWindow w = *at(windows, i);
        g_autoptr(P2PMap) less = p2p_map_change(map, &w.gpa, 1, NULL, 0, NULL);
        P2PWindow found;

        g_assert_nonnull(less);
        g_assert_cmpuint(p2p_map_size(less), ==, N - 1);
        g_assert_false(p2p_map_find(less, w.gpa, &found));
        assert_change(map, &w.gpa, w, N);
        assert_change(less, NULL, w, N);
        assert_overlap(map, NULL, w);
    }
}

/* One by one, behind, before, and in between: chunks are split evenly. */
static void test_add_all(void)
{
    g_autoptr(GArray) windows = g_array_new(FALSE, FALSE, sizeof(P2PWindow));
    P2PMap *map = p2p_map_new(NULL, 0, 0, NULL);

    for (size_t i = 0; i < 1200; i++) {
        uint64_t place = i < 400 ? 1000 + i : i < 800 ? 1000 - i : 5000 - i;
        P2PWindow w = ram_window(place * 0x1000, 0x1000);
        P2PMap *next = change_one(map, NULL, w, NULL);
        guint j = 0;

        g_assert_nonnull(next);
        p2p_map_free(map);
        map = next;
        while (j < windows->len && at(windows, j)->gpa.gpa < w.gpa.gpa) {
            j++;
        }
        g_array_insert_val(windows, j, w);
        assert_sound(map);
    }
    assert_holds(map, windows);
    p2p_map_free(map);
}

/* --- Building --- */

static void test_unsorted(void)
{
    const size_t sizes[] = { 2, 3, 512, 513, 5000, 70000 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GArray) sorted = g_array_new(FALSE, TRUE,
                                               sizeof(P2PWindow));
        g_autoptr(GArray) mixed = NULL;
        g_autoptr(P2PMap) map = NULL;

        g_array_set_size(sorted, sizes[i]);
        random_windows((P2PWindow *)sorted->data, sizes[i]);
        mixed = g_array_copy(sorted);
        random_shuffle((P2PWindow *)mixed->data, sizes[i]);
        map = p2p_map_new(at(mixed, 0), sizes[i], 5, NULL);
        assert_holds(map, sorted);
    }
}

/* What each initiator may do in each window, and what it is told of it */
static void assert_rights(const P2PMap *map, const GArray *windows)
{
    const Oracle oracle = {
        .windows = at(windows, 0), .n = windows->len, .ascending = true,
    };
    Tally tally = { 0 };

    for (size_t i = 0; i < windows->len; i++) {
        for (unsigned j = 0; j < P2P_MAX_INITIATORS; j++) {
            for (uint32_t flags = 1; flags < 4; flags++) {
                P2PGuestVec entry = { at(windows, i)->gpa, 8, flags };

                compare_vector(p2p_kernels_best(), map, &oracle, j, &entry,
                               1, &tally);
            }
        }
    }
    g_assert_cmpuint(tally.successes, >, 0);
}

/* All that two windows of a chunk may differ in, and nothing else */
static void test_rights_apart(void)
{
    enum { BASES = 2, ALIKE = 4 * P2P_MAX_INITIATORS + 1 };
    g_autoptr(GArray) windows = g_array_new(FALSE, FALSE, sizeof(P2PWindow));

    for (unsigned i = 0; i < BASES * ALIKE; i++) {
        unsigned bit = i % ALIKE % P2P_MAX_INITIATORS;
        uint64_t mask = UINT64_C(1) << bit;
        P2PWindow w = ram_window(i * 0x1000, 0x1000);

        w.kind = P2P_WINDOW_IO;
        w.readers = i < ALIKE ? 0 : UINT64_MAX;
        w.writers = UINT64_C(0xf0f0f0f0ff00ff00);
        w.unrouted = UINT64_C(0xcccccccccccccccc);
        switch (i % ALIKE / P2P_MAX_INITIATORS) {
        case 0:
            w.readers ^= mask;
            break;
        case 1:
            w.writers ^= mask;
            break;
        case 2:
            w.unrouted ^= mask;
            break;
        case 3:
            w.owner = bit;
            break;
        default:
            w.revoked = true;
            break;
        }
        g_array_append_val(windows, w);
    }
    for (unsigned i = 0; i < BASES; i++) {
        g_autoptr(GArray) part = g_array_new(FALSE, FALSE, sizeof(P2PWindow));
        g_autoptr(P2PMap) map = NULL;

        g_array_append_vals(part, at(windows, i * ALIKE), ALIKE);
        map = p2p_map_new(at(part, 0), part->len, 0, NULL);
        g_assert_cmpuint(map->n_chunks, ==, 1);
        assert_holds(map, part);
        assert_rights(map, part);
    }
}

/* --- Memory --- */

enum { MANY = 65536 };

/* Of one map, if there is no other */
static double bytes_per_window(const P2PMap *map)
{
    return (double)(count_bytes() + malloc_usable_size(map->chunks) +
                    sizeof(*map)) / map->n;
}

/* @different: how many different rights there are */
static void check_memory(unsigned different, double most)
{
    g_autoptr(GArray) windows = regular_windows(MANY);
    g_autoptr(P2PMap) map = NULL;
    double bytes;

    for (size_t i = 0; i < MANY; i++) {
        P2PWindow *w = &g_array_index(windows, P2PWindow, i);

        w->kind = P2P_WINDOW_IO;
        w->readers = UINT64_MAX - i * 37 % different;
    }
    g_assert_cmpuint(count_blocks(), ==, 0);
    map = p2p_map_new(at(windows, 0), MANY, 0, NULL);
    bytes = bytes_per_window(map);
    g_test_message("%u windows, %u different rights: %.1f bytes each", MANY,
                   different, bytes);
    g_assert_cmpfloat(bytes, <=, most);
}

/* 45 bytes, and 36 for each of the different rights of a chunk */
static void test_memory(void)
{
    check_memory(1, 45);
    check_memory(16, 45 + 2);
    check_memory(200, 64);
    check_memory(MANY, 45 + 36);
}

/* One window more costs a chunk or two, and the directory. */
static void test_memory_of_change(void)
{
    g_autoptr(GArray) windows = regular_windows(MANY);
    g_autoptr(P2PMap) map = p2p_map_new(at(windows, 0), MANY, 0, NULL);
    g_autoptr(P2PMap) next = NULL;
    size_t before = count_bytes();

    next = change_one(map, NULL, ram_window(0x1000, 1), NULL);
    g_test_message("%zu bytes more", count_bytes() - before);
    g_assert_cmpuint(count_bytes() - before, <, before / 100);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/map-change/random", test_random);
    g_test_add_func("/map-change/random-refused", test_random_refused);
    g_test_add_func("/map-change/chunk-borders", test_chunk_borders);
    g_test_add_func("/map-change/unknown", test_unknown);
    g_test_add_func("/map-change/too-many", test_too_many);
    g_test_add_func("/map-change/sharing", test_sharing);
    g_test_add_func("/map-change/remove-all", test_remove_all);
    g_test_add_func("/map-change/add-all", test_add_all);
    g_test_add_func("/map-change/bytes", test_bytes);
    g_test_add_func("/map-change/unsorted", test_unsorted);
    g_test_add_func("/map-change/rights-apart", test_rights_apart);
    g_test_add_func("/map-change/memory", test_memory);
    g_test_add_func("/map-change/memory-of-change", test_memory_of_change);
    return g_test_run();
}
