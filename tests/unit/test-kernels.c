/*
 * Each variant of search, batch and run by itself, against a plain loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "random.h"
#include "variants.h"

/* --- Search --- */

/* Maps of 0 to 3 levels of directory, just below and above each limit. */
static const size_t sizes[] = {
    1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 257, 271, 272, 273, 544, 545,
    4623, 4624, 4625, 9000, 78608, 78609, 80000,
};

/* Of the 64 bits, some that need the sign, and windows of one byte. */
static void make_windows(P2PWindow *ws, size_t n)
{
    uint64_t stride = UINT64_MAX / (n + 1);
    uint64_t at = one_in(2) ? 0 : random_below(stride);

    for (size_t i = 0; i < n; i++) {
        uint64_t size = one_in(4) ? 1 : one_in(4) ? stride : stride / 2;

        ws[i] = (P2PWindow) {
            .gpa = { at }, .size = MIN(size, stride), .bus = { at },
            .readers = UINT64_MAX, .owner = P2P_NO_OWNER,
        };
        if (one_in(4)) {
            ws[i].writers = random_u64();
            ws[i].kind = P2P_WINDOW_IO;
        }
        at += stride;
    }
    /* The address that has no address behind it */
    if (one_in(2)) {
        ws[n - 1].gpa.gpa = UINT64_MAX;
        ws[n - 1].bus.bus = UINT64_MAX;
        ws[n - 1].size = 1;
        if (n > 1) {
            ws[n - 2].size = 1;
        }
    }
}

/* Windows that begin at or below @addr, as far as a kernel tells. */
static size_t rank_of(const P2PWindow *ws, size_t n, uint64_t addr)
{
    size_t low = 0;

    while (n > 0) {
        size_t half = n / 2;

        if (ws[low + half].gpa.gpa <= addr) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    /* p2p_map_locate() sees to this one. */
    return addr == UINT64_MAX ? 0 : low;
}

/* The window with so many windows at or below it. */
static P2PPlace place_of(const P2PMap *map, size_t rank)
{
    size_t c = 0;

    if (rank == 0) {
        return (P2PPlace) { map->chunks[0], P2P_NOWHERE };
    }
    rank--;
    while (rank >= map->chunks[c]->n) {
        rank -= map->chunks[c++]->n;
    }
    return (P2PPlace) { map->chunks[c], rank };
}

static void assert_places(const P2PMap *map, const P2PWindow *ws,
                          const P2PGuestVec *in, unsigned n,
                          const P2PPlaces *places)
{
    for (unsigned i = 0; i < n; i++) {
        size_t rank = rank_of(ws, map->n, in[i].addr.gpa);
        P2PPlace place = place_of(map, rank);

        g_assert_true(p2p_place(places, i).chunk == place.chunk);
        g_assert_cmphex(places->index[i], ==, place.index);
    }
    for (unsigned i = n; i < P2P_BATCH; i++) {
        g_assert_cmphex(places->index[i], ==, 0x5a5a5a5a);
    }
}

static uint64_t random_address(const P2PWindow *ws, size_t n)
{
    const P2PWindow *w = &ws[random_below(n)];

    switch (random_below(8)) {
    case 0:
        return random_u64();
    case 1:
        return one_in(2) ? 0 : UINT64_MAX - random_below(2);
    case 2:
        return w->gpa.gpa + w->size - random_below(2);
    default:
        return w->gpa.gpa + random_below(3) - 1;
    }
}

static void check_search(const P2PMap *map, const P2PWindow *ws)
{
    for (unsigned n = 1; n <= P2P_BATCH; n++) {
        P2PGuestVec in[P2P_BATCH];
        P2PPlaces places;

        memset(&places, 0x5a, sizeof(places));
        for (unsigned i = 0; i < n; i++) {
            in[i].addr.gpa = random_address(ws, map->n);
        }
        variant->search(map, in, n, &places);
        assert_places(map, ws, in, n, &places);
    }
}

static void check_every_window(const P2PMap *map, const P2PWindow *ws)
{
    size_t c = 0;
    uint32_t index = 0;

    for (size_t i = 0; i < map->n; i++) {
        uint64_t addresses[] = {
            ws[i].gpa.gpa, ws[i].gpa.gpa + (ws[i].size - 1)
        };

        for (size_t j = 0; j < G_N_ELEMENTS(addresses); j++) {
            P2PPlace place = p2p_map_locate(
                variant, map, (P2PGuestAddr) { addresses[j] });

            g_assert_true(place.chunk == map->chunks[c]);
            g_assert_cmpuint(place.index, ==, index);
        }
        if (++index == map->chunks[c]->n) {
            index = 0;
            c++;
        }
    }
}

static void test_search(void)
{
    for (size_t s = 0; s < G_N_ELEMENTS(sizes); s++) {
        g_autofree P2PWindow *ws = g_new(P2PWindow, sizes[s]);

        for (unsigned try = 0; try < (sizes[s] < 5000 ? 20 : 2); try++) {
            g_autoptr(P2PMap) map = NULL;

            make_windows(ws, sizes[s]);
            map = p2p_map_new(ws, sizes[s], 0, NULL);
            check_every_window(map, ws);
            for (unsigned i = 0; i < 50; i++) {
                check_search(map, ws);
            }
        }
    }
}

static void test_levels(void)
{
    static const struct {
        size_t n;
        unsigned levels;
    } want[] = {
        { 0, 0 }, { 1, 0 }, { 272, 0 }, { 273, 1 }, { 4624, 1 }, { 4625, 2 },
        { 78608, 2 }, { 78609, 3 },
    };
    g_autofree P2PWindow *ws = g_new(P2PWindow, 78609);

    for (size_t i = 0; i < G_N_ELEMENTS(want); i++) {
        g_autoptr(P2PMap) map = NULL;

        if (want[i].n) {
            make_windows(ws, want[i].n);
        }
        map = p2p_map_new(ws, want[i].n, 0, NULL);
        g_assert_cmpuint(map->levels, ==, want[i].levels);
    }
}

/* --- Batch --- */

typedef struct Batch {
    P2PGuestVec in[P2P_BATCH];
    unsigned n;
    uint64_t end;
    P2PVerdict verdicts[P2P_CODES];
    P2PInitiator initiator;
} Batch;

/* Entries in windows, of the same flags */
static void sound_batch(Batch *b, const P2PWindow *ws, size_t n_windows)
{
    uint32_t flags = random_below(P2P_VEC_IN_MASK + 1);

    for (unsigned i = 0; i < b->n; i++) {
        const P2PWindow *w = &ws[random_below(n_windows)];
        uint64_t offset = one_in(2) ? random_below(w->size) : 0;
        uint64_t rest = MIN(w->size - offset, UINT32_MAX);

        b->in[i] = (P2PGuestVec) {
            { w->gpa.gpa + offset }, one_in(4) ? rest : 1 + random_below(rest),
            flags
        };
    }
    b->end = one_in(4) ? 0 : random_u64();
    for (unsigned i = 0; i < P2P_CODES; i++) {
        b->verdicts[i] = (P2PVerdict) { UINT32_MAX, (i + 1) << 8 };
    }
    /* As it is in earnest */
    b->verdicts[P2P_CODE_NOTHING].allowed = 0;
    b->initiator = p2p_initiator(random_below(P2P_MAX_INITIATORS),
                                 b->verdicts);
}

/* One thing is another, which need not be wrong. */
static void spoil_batch(Batch *b, const P2PWindow *ws, size_t n_windows)
{
    unsigned i = random_below(b->n);
    P2PGuestVec *e = &b->in[i];
    uint32_t bit = 1u << random_below(32);

    switch (random_below(7)) {
    case 0:
        e->addr.gpa = random_address(ws, n_windows);
        break;
    case 1:
        e->len += one_in(2) ? 1 : random_u64();
        break;
    case 2:
        e->len = 0;
        break;
    case 3:
        e->flags ^= bit;
        break;
    case 4:
        b->verdicts[random_below(P2P_CODES)].allowed ^= bit;
        break;
    case 5:
        for (unsigned j = 0; j < b->n; j++) {
            b->in[j].flags |= bit;
        }
        break;
    default:
        /* On the bus as in the guest, here */
        if (i > 0) {
            e->addr.gpa = e[-1].addr.gpa + e[-1].len;
        } else {
            b->end = e->addr.gpa;
        }
        break;
    }
}

/* Returns whether the batch can be translated, then to @out. */
static bool plain_batch(const P2PMap *map, const P2PWindow *ws, const Batch *b,
                        P2PBusVec *out)
{
    uint64_t end = b->end;

    for (unsigned i = 0; i < b->n; i++) {
        const P2PGuestVec *e = &b->in[i];
        size_t rank = rank_of(ws, map->n, e->addr.gpa);
        P2PPlace place = place_of(map, rank);
        const P2PVerdict *verdict;

        if (rank == 0 || e->addr.gpa - ws[rank - 1].gpa.gpa >=
                         ws[rank - 1].size ||
            e->len == 0 || e->len > ws[rank - 1].size -
                                    (e->addr.gpa - ws[rank - 1].gpa.gpa)) {
            return false;
        }
        verdict = &b->verdicts[p2p_code(&b->initiator, place.chunk->rights,
                                        place.chunk->infos[place.index])];
        if (e->flags != b->in[0].flags || e->flags > P2P_VEC_IN_MASK ||
            !(verdict->allowed >> e->flags & 1) || e->addr.gpa == end) {
            return false;
        }
        end = e->addr.gpa + e->len;
        out[i] = (P2PBusVec) {
            { e->addr.gpa }, e->len,
            verdict->flags | (e->flags & (P2P_VEC_READ | P2P_VEC_WRITE))
        };
    }
    return true;
}

/* Returns whether it was translated. */
static bool check_batch(const P2PMap *map, const P2PWindow *ws, const Batch *b)
{
    P2PBusVec out[P2P_BATCH + 1];
    P2PBusVec want[P2P_BATCH];
    P2PPlaces places;
    bool can = plain_batch(map, ws, b, want);
    bool did;

    memset(&places, 0x5a, sizeof(places));
    memset(out, 0x5a, sizeof(out));
    did = variant->batch(map, &b->initiator, b->in, b->n, b->end, out,
                         &places);
    assert_places(map, ws, b->in, b->n, &places);
    g_assert_cmphex(out[b->n].addr.bus, ==, UINT64_C(0x5a5a5a5a5a5a5a5a));
    /* It need not try, unless the batch is full. */
    g_assert_true(did == can || (can && b->n < P2P_BATCH));
    if (did) {
        g_assert_true(memcmp(out, want, b->n * sizeof(*out)) == 0);
    }
    return did;
}

static void test_batch(void)
{
    const size_t wanted = random_entries_wanted(1000000) / P2P_BATCH;
    size_t tried = 0;
    size_t sound = 0;
    size_t spoilt = 0;

    while (tried < wanted) {
        size_t n = sizes[random_below(19)];
        g_autofree P2PWindow *ws = g_new(P2PWindow, n);
        g_autoptr(P2PMap) map = NULL;

        make_windows(ws, n);
        map = p2p_map_new(ws, n, 0, NULL);
        for (unsigned i = 0; i < 200; i++, tried += 2) {
            Batch b = { .n = one_in(4) ? 1 + random_below(16) : P2P_BATCH };

            sound_batch(&b, ws, n);
            sound += check_batch(map, ws, &b);
            spoil_batch(&b, ws, n);
            spoilt += check_batch(map, ws, &b);
        }
    }
    g_test_message("%zu of %zu batches translated, %zu with a difference",
                   sound, tried / 2, spoilt);
    g_assert_cmpuint(sound, >, tried / 10);
    g_assert_cmpuint(spoilt, <, sound);
}

/* --- Run --- */

static size_t plain_run(const P2PGuestVec *in, size_t n)
{
    uint64_t next = in[0].addr.gpa;

    for (size_t i = 0; i < n; i++) {
        if (in[i].addr.gpa != next || in[i].len != in[0].len ||
            in[i].flags != in[0].flags) {
            return i;
        }
        next += in[i].len;
    }
    return n;
}

/* One bit of one entry is another, or none. */
static void spoil(P2PGuestVec *in, size_t n)
{
    P2PGuestVec *e = &in[random_below(n)];

    switch (random_below(4)) {
    case 0:
        e->addr.gpa ^= UINT64_C(1) << random_below(64);
        break;
    case 1:
        e->len ^= 1u << random_below(32);
        break;
    case 2:
        e->flags ^= 1u << random_below(32);
        break;
    }
}

static uint32_t random_run_length(void)
{
    switch (random_below(6)) {
    case 0:
        return 0;
    case 1:
        return UINT32_MAX - random_below(2);
    case 2:
        return 1u << 31;
    case 3:
        return 1 + random_below(8);
    default:
        return g_test_rand_int();
    }
}

static void test_run(void)
{
    size_t entries = 0;
    size_t wanted = random_entries_wanted(1000000);

    while (entries < wanted) {
        size_t n = 1 + random_below(one_in(8) ? 300 : 40);
        /* Not one byte more: for AddressSanitizer */
        g_autofree P2PGuestVec *in = g_new(P2PGuestVec, n);
        uint32_t len = random_run_length();
        uint32_t flags = random_below(32);
        uint64_t at = one_in(4) ? -random_below(100) : random_u64();

        for (size_t i = 0; i < n; i++) {
            in[i] = (P2PGuestVec) { { at }, len, flags };
            at += len;
        }
        g_assert_cmpuint(variant->run(in, n), ==, n);
        spoil(in, n);
        if (one_in(4)) {
            spoil(in, n);
        }
        g_assert_cmpuint(variant->run(in, n), ==, plain_run(in, n));
        entries += 2 * n;
    }
}

/* The first difference at each place of vectors of each length */
static void test_run_ends(void)
{
    for (size_t n = 1; n <= 40; n++) {
        for (size_t bad = 1; bad <= n; bad++) {
            P2PGuestVec in[40];

            for (size_t i = 0; i < n; i++) {
                in[i] = (P2PGuestVec) {
                    { 0x1000 + 8 * i + (i >= bad) }, 8, P2P_VEC_READ
                };
            }
            g_assert_cmpuint(variant->run(in, n), ==, bad);
        }
    }
}

/* --- Choice --- */

static void test_best(void)
{
    const P2PKernels *best = p2p_kernels_best();

    g_test_message("the best kernels of this processor: %s", best->name);
    g_assert_true(best->supported());
    g_assert_true(p2p_kernels[0].supported());
    for (const P2PKernels *k = best + 1; k->name; k++) {
        g_assert_false(k->supported());
    }
    g_assert_true(p2p_kernels_best() == best);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kernels/best", test_best);
    g_test_add_func("/kernels/levels", test_levels);
    variants_add("/kernels/search", test_search);
    variants_add("/kernels/batch", test_batch);
    variants_add("/kernels/run", test_run);
    variants_add("/kernels/run-ends", test_run_ends);
    return g_test_run();
}
