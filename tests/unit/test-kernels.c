/*
 * Search; then each variant of batch and run by itself, against a plain loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "random.h"
#include "variants.h"

/* --- Search --- */

/* One chunk to many, just below and above what chunks hold. */
static const size_t sizes[] = {
    1, 2, 3, 15, 16, 17, 64, 255, 256, 257, 511, 512, 513, 1024, 1025, 1537,
    9000, 80000,
};

typedef enum Layout {
    ALL_BITS,   /* of addresses, and regular */
    REGULAR,    /* the table alone finds them */
    UNEVEN,     /* as close to each other, and as far, as they can be */
    LAYOUTS
} Layout;

static uint64_t random_stride(Layout layout, size_t n)
{
    uint64_t most = (layout == ALL_BITS ? UINT64_MAX : P2P_BATCH_END) / (n + 1);
    unsigned shift = layout == UNEVEN ? random_below(48) : 0;

    return MAX(most >> shift, 1);
}

/* Also windows of one byte */
static void make_windows(P2PWindow *ws, size_t n, Layout layout)
{
    uint64_t stride = random_stride(layout, n);
    uint64_t at = one_in(2) ? 0 : random_below(stride);

    if (layout == REGULAR) {
        stride = UINT64_C(1) << random_below(40);
        at = random_below(4) * stride;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t size = one_in(4) ? 1 : one_in(4) ? stride : stride / 2;

        ws[i] = (P2PWindow) {
            .gpa = { at }, .size = CLAMP(size, 1, stride), .bus = { at },
            .readers = UINT64_MAX, .owner = P2P_NO_OWNER,
        };
        if (one_in(4)) {
            ws[i].writers = random_u64();
            ws[i].kind = P2P_WINDOW_IO;
        }
        at += stride;
        if (layout == UNEVEN) {
            stride = random_stride(layout, n);
        }
    }
    /* The address that has no address behind it */
    if (layout == ALL_BITS && one_in(2)) {
        ws[n - 1].gpa.gpa = UINT64_MAX;
        ws[n - 1].bus.bus = UINT64_MAX;
        ws[n - 1].size = 1;
        if (n > 1) {
            ws[n - 2].size = 1;
        }
    }
}

/* Windows that begin at or below @addr */
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
    return low;
}

/* Where a search for @addr has to end. */
static const P2PSlot *slot_of(const P2PMap *map, const P2PWindow *ws,
                              uint64_t addr, const P2PChunk **chunk)
{
    size_t rank = rank_of(ws, map->n, addr);
    size_t c = 0;

    while (rank > map->chunks[c]->n) {
        rank -= map->chunks[c++]->n;
    }
    *chunk = map->chunks[c];
    return &map->chunks[c]->slots[rank];
}

static void assert_slots(const P2PMap *map, const P2PWindow *ws,
                         const P2PGuestVec *in, unsigned n,
                         const P2PSlot *const *slots)
{
    for (unsigned i = 0; i < n; i++) {
        const P2PChunk *chunk;

        g_assert_true(slots[i] == slot_of(map, ws, in[i].addr.gpa, &chunk));
    }
    for (unsigned i = n; i < P2P_BATCH; i++) {
        g_assert_null(slots[i]);
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

static void check_address(const P2PMap *map, const P2PWindow *ws, uint64_t addr)
{
    const P2PChunk *chunk;
    const P2PSlot *slot = slot_of(map, ws, addr, &chunk);

    g_assert_true(p2p_map_chunk(map, addr) == chunk);
    g_assert_true(p2p_chunk_slot(chunk, addr) == slot);
}

/* Below the first, at and around each, behind the last */
static void check_addresses(const P2PMap *map, const P2PWindow *ws)
{
    check_address(map, ws, 0);
    check_address(map, ws, UINT64_MAX);
    for (size_t i = 0; i < map->n; i++) {
        uint64_t first = ws[i].gpa.gpa;
        uint64_t last = first + (ws[i].size - 1);

        check_address(map, ws, first - (first > 0));
        check_address(map, ws, first);
        check_address(map, ws, last);
        check_address(map, ws, last + (last < UINT64_MAX));
    }
    for (unsigned i = 0; i < 100; i++) {
        check_address(map, ws, random_u64() >> random_below(64));
    }
}

static void test_search(void)
{
    size_t without_steps = 0;
    size_t with_many = 0;

    for (size_t s = 0; s < G_N_ELEMENTS(sizes); s++) {
        g_autofree P2PWindow *ws = g_new(P2PWindow, sizes[s]);

        for (unsigned try = 0; try < (sizes[s] < 5000 ? 30 : 6); try++) {
            g_autoptr(P2PMap) map = NULL;

            make_windows(ws, sizes[s], try % LAYOUTS);
            map = p2p_map_new(ws, sizes[s], 0, NULL);
            check_addresses(map, ws);
            without_steps += sizes[s] > 2 && !map->most;
            with_many += map->most > 7;
        }
    }
    g_test_message("tables alone: %zu, with many steps: %zu", without_steps,
                   with_many);
    g_assert_cmpuint(without_steps, >, 20);
    g_assert_cmpuint(with_many, >, 20);
}

static void test_chunks(void)
{
    static const struct {
        size_t n;
        size_t chunks;
    } want[] = {
        { 0, 0 }, { 1, 1 }, { 512, 1 }, { 513, 2 }, { 1024, 2 }, { 1025, 3 },
    };
    g_autofree P2PWindow *ws = g_new(P2PWindow, 1025);

    for (size_t i = 0; i < G_N_ELEMENTS(want); i++) {
        g_autoptr(P2PMap) map = NULL;

        if (want[i].n) {
            make_windows(ws, want[i].n, REGULAR);
        }
        map = p2p_map_new(ws, want[i].n, 0, NULL);
        g_assert_cmpuint(map->n_chunks, ==, want[i].chunks);
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

/*
 * Returns whether the batch can be translated, then to @out.  @high: a kernel
 * may say no.
 */
static bool plain_batch(const P2PMap *map, const P2PWindow *ws, const Batch *b,
                        P2PBusVec *out, bool *high)
{
    uint64_t end = b->end;

    *high = false;
    for (unsigned i = 0; i < b->n; i++) {
        const P2PGuestVec *e = &b->in[i];
        size_t rank = rank_of(ws, map->n, e->addr.gpa);
        const P2PWindow *w = &ws[rank - 1];
        const P2PChunk *chunk;
        const P2PSlot *slot = slot_of(map, ws, e->addr.gpa, &chunk);
        const P2PVerdict *verdict;

        if (rank == 0 || e->addr.gpa - w->gpa.gpa >= w->size || e->len == 0 ||
            e->len > w->size - (e->addr.gpa - w->gpa.gpa)) {
            return false;
        }
        *high |= w->gpa.gpa + (w->size - 1) >= P2P_BATCH_END;
        verdict = &b->verdicts[p2p_code(&b->initiator, slot->rights)];
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
    const P2PSlot *slots[P2P_BATCH] = { NULL };
    bool high;
    bool can = plain_batch(map, ws, b, want, &high);
    bool did;

    memset(out, 0x5a, sizeof(out));
    did = variant->batch(map, &b->initiator, b->in, b->n, b->end, out, slots);
    assert_slots(map, ws, b->in, b->n, slots);
    g_assert_cmphex(out[b->n].addr.bus, ==, UINT64_C(0x5a5a5a5a5a5a5a5a));
    g_assert_true(can || !did);
    g_assert_true(did || !can || high || b->n < P2P_BATCH);
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
        size_t n = sizes[random_below(G_N_ELEMENTS(sizes) - 2)];
        g_autofree P2PWindow *ws = g_new(P2PWindow, n);
        g_autoptr(P2PMap) map = NULL;

        make_windows(ws, n, random_below(LAYOUTS));
        map = p2p_map_new(ws, n, 0, NULL);
        for (unsigned i = 0; i < 200; i++, tried += 2) {
            Batch b = {
                .n = one_in(4) ? 1 + random_below(P2P_BATCH) : P2P_BATCH
            };


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
    g_test_add_func("/kernels/search", test_search);
    g_test_add_func("/kernels/chunks", test_chunks);
    variants_add("/kernels/batch", test_batch);
    variants_add("/kernels/run", test_run);
    variants_add("/kernels/run-ends", test_run_ends);
    return g_test_run();
}
