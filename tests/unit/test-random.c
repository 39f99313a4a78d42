/*
 * Translation at random, a great many times, against the oracle
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "compare.h"
#include "random.h"
#include "variants.h"

#define R    P2P_VEC_READ
#define W    P2P_VEC_WRITE

enum {
    ENTRIES_WANTED = 1000000,   /* of each test */
    VECTORS_PER_MAP = 40,
};

static void report(const Tally *tally)
{
    g_test_message("%zu entries, %zu vectors translated (%zu merged, %zu "
                   "entries across windows, results of up to %zu entries), "
                   "%zu faults behind entry 32",
                   tally->entries, tally->successes, tally->merged,
                   tally->crossing, tally->longest, tally->late_faults);
}

static unsigned random_initiator(void)
{
    return random_below(one_in(2) ? 4 : P2P_MAX_INITIATORS);
}

/* --- Short vectors, and all that can be wrong with them --- */

enum {
    MAX_WINDOWS = 40,
    MAX_ENTRIES = 64,
};

static uint32_t random_flags(void)
{
    uint32_t flags = 1 + random_below(3);

    if (one_in(12)) {
        flags |= P2P_VEC_NO_MERGE;
    }
    return flags;
}

/* Anything: the edges of windows, and what the caller must not say. */
static void random_wild_entry(const Oracle *oracle, P2PGuestVec *e)
{
    e->flags = one_in(20) ? random_below(128) : random_flags();
    if (one_in(100)) {
        e->flags |= 1u << random_below(32);
    }
    e->addr.gpa = random_u64();
    if (oracle->n > 0 && !one_in(20)) {
        const P2PWindow *w = &oracle->windows[random_below(oracle->n)];

        e->addr.gpa = w->gpa.gpa + (one_in(2) ? w->size : 0) +
                      random_below(9) - 4;
    }
    switch (random_below(12)) {
    case 0:
        e->len = random_below(20) ? UINT32_MAX : 0;
        break;
    case 1:
        e->len = 1 + random_below(UINT32_MAX);
        break;
    case 2:
        /* To the very end of the address space, or a byte beyond it. */
        e->len = -e->addr.gpa + random_below(2);
        break;
    default:
        e->len = 1 + random_below(one_in(2) ? 16 : 0x5000);
        break;
    }
}

/* Within what is granted, often where the entry before ends. */
static void random_tame_entry(const Oracle *oracle, unsigned initiator,
                              const P2PGuestVec *before, P2PGuestVec *e)
{
    const P2PWindow *w = NULL;
    uint64_t bit = UINT64_C(1) << initiator;
    uint64_t offset = 0;
    unsigned tries;

    e->flags = before && !one_in(3) ? before->flags : random_flags();
    if (before && !one_in(3)) {
        e->addr.gpa = before->addr.gpa + before->len;
        w = oracle_find(oracle, e->addr.gpa);
    }
    for (tries = 0; tries < 20; tries++) {
        if (w && !w->revoked &&
            (!(e->flags & R) || w->readers & bit) &&
            (!(e->flags & W) || w->writers & bit)) {
            break;
        }
        w = &oracle->windows[random_below(oracle->n)];
        offset = one_in(2) ? 0 : random_below(w->size);
        e->addr.gpa = w->gpa.gpa + offset;
    }
    if (!w) {
        e->len = 1;
        return;
    }
    offset = e->addr.gpa - w->gpa.gpa;
    e->len = MIN(w->size - offset, UINT32_MAX);
    if (one_in(2)) {
        e->len = 1 + random_below(e->len);
    } else if (e->len < UINT32_MAX / 2 &&
               oracle_find(oracle, e->addr.gpa + e->len) && one_in(4)) {
        e->len += 1 + random_below(0x4000);
    }
    e->flags &= ~(P2P_VEC_MUST_BE_IO | P2P_VEC_MUST_BE_RAM);
    if (one_in(8)) {
        e->flags |= w->kind == P2P_WINDOW_RAM ? P2P_VEC_MUST_BE_RAM
                                              : P2P_VEC_MUST_BE_IO;
    }
}

static size_t mixed_vector(const Oracle *oracle, unsigned initiator,
                           P2PGuestVec *in)
{
    size_t n = one_in(64) ? 0 : 1 + random_below(MAX_ENTRIES);
    bool wild = oracle->n == 0 || one_in(4);
    size_t i;

    for (i = 0; i < n; i++) {
        if (wild || one_in(400)) {
            random_wild_entry(oracle, &in[i]);
        } else {
            random_tame_entry(oracle, initiator, i ? &in[i - 1] : NULL,
                              &in[i]);
        }
    }
    return n;
}

static void compare_mixed(const P2PMap *map, const Oracle *oracle,
                          Tally *tally)
{
    unsigned initiator = random_initiator();
    P2PGuestVec in[MAX_ENTRIES];
    size_t n = mixed_vector(oracle, initiator, in);

    if (one_in(100)) {
        initiator = P2P_MAX_INITIATORS + random_below(3);
    }
    compare_vector(variant, map, oracle, initiator, in, n, tally);
    if (n > 0) {
        compare_cpu_access(map, oracle, initiator, &in[0], tally);
    }
}

static void test_mixed(void)
{
    size_t wanted = random_entries_wanted(ENTRIES_WANTED);
    Tally tally = { 0 };

    while (tally.entries < wanted) {
        P2PWindow ws[MAX_WINDOWS];
        Oracle oracle = {
            .windows = ws,
            .n = one_in(16) ? random_below(2) : 1 + random_below(MAX_WINDOWS),
            .cpu_initiators = random_u64(),
        };
        g_autoptr(P2PMap) map = NULL;

        random_windows(ws, oracle.n);
        random_shuffle(ws, oracle.n);
        map = p2p_map_new(ws, oracle.n, oracle.cpu_initiators, NULL);
        g_assert_nonnull(map);
        for (unsigned i = 0; i < VECTORS_PER_MAP; i++) {
            compare_mixed(map, &oracle, &tally);
        }
    }

    report(&tally);
    g_assert_cmpuint(tally.successes, >, tally.entries / 1000);
    g_assert_cmpuint(tally.merged, >, tally.entries / 1000);
    g_assert_cmpuint(tally.crossing, >, tally.entries / 1000);
    for (int i = P2P_FAULT_UNMAPPED; i < P2P_FAULT__MAX; i++) {
        /* The oracle has room: compare_vector() takes it away. */
        if (i != P2P_FAULT_NO_SPACE) {
            g_test_message("%zu times: %s", tally.reasons[i],
                           p2p_fault_reason_str(i));
            g_assert_cmpuint(tally.reasons[i], >, tally.entries / 100000);
        }
    }
}

/* --- Long vectors: near, far, runs, and all changes between them --- */

enum {
    MAX_LONG = 2000,            /* entries */
    MAX_SEGMENT = 400,
    FEW = 4,                    /* windows */
};

/* A map, and one who uses it. */
typedef struct Scene {
    P2PWindow *ws;
    Oracle oracle;
    P2PMap *map;
    unsigned initiator;
    GArray *open;       /* of size_t: windows that the initiator may use */
    GArray *scratch;    /* of P2PBusVec */
    P2PGuestVec in[MAX_LONG];
    size_t n;
} Scene;

/* The last window becomes that of the last address, which is a special one. */
static void move_to_top(P2PWindow *w)
{
    *w = (P2PWindow) {
        .gpa = { UINT64_MAX }, .size = 1, .bus = w->bus,
        .readers = UINT64_MAX, .writers = UINT64_MAX,
        .owner = P2P_NO_OWNER,
    };
}

static void find_open(Scene *s)
{
    uint64_t bit = UINT64_C(1) << s->initiator;

    g_array_set_size(s->open, 0);
    for (size_t i = 0; i < s->oracle.n; i++) {
        if (s->ws[i].readers & s->ws[i].writers & bit && !s->ws[i].revoked) {
            g_array_append_val(s->open, i);
        }
    }
}

static void scene_init(Scene *s, size_t n_windows)
{
    s->ws = g_new(P2PWindow, n_windows);
    random_windows(s->ws, n_windows);
    if (one_in(4)) {
        move_to_top(&s->ws[n_windows - 1]);
    }
    s->oracle = (Oracle) {
        .windows = s->ws, .n = n_windows, .cpu_initiators = random_u64(),
        .ascending = true,
    };
    s->map = p2p_map_new(s->ws, n_windows, s->oracle.cpu_initiators, NULL);
    g_assert_nonnull(s->map);
    s->open = g_array_new(FALSE, FALSE, sizeof(size_t));
    s->scratch = g_array_new(FALSE, FALSE, sizeof(P2PBusVec));
}

static void scene_clear(Scene *s)
{
    g_array_free(s->scratch, TRUE);
    g_array_free(s->open, TRUE);
    p2p_map_free(s->map);
    g_free(s->ws);
}

static const P2PWindow *open_window(const Scene *s)
{
    size_t i = one_in(8) ? s->open->len - 1 : random_below(s->open->len);

    return &s->ws[g_array_index(s->open, size_t, i)];
}

static void add_entry(Scene *s, P2PGuestVec e)
{
    if (s->n < MAX_LONG) {
        s->in[s->n++] = e;
    }
}

static bool may_pass(const Scene *s, const P2PGuestVec *e)
{
    P2PFault fault;

    return oracle_translate(&s->oracle, s->initiator, e, 1, s->scratch,
                            &fault) == 0;
}

/* Within the window, no longer than @most. */
static P2PGuestVec entry_in(const P2PWindow *w, uint32_t most, uint32_t flags)
{
    uint64_t offset = one_in(4) ? 0 : random_below(w->size);
    uint64_t room = MIN(w->size - offset, most);

    return (P2PGuestVec) {
        { w->gpa.gpa + offset }, one_in(4) ? room : 1 + random_below(room),
        flags
    };
}

static uint32_t random_run_len(const P2PWindow *w)
{
    switch (random_below(6)) {
    case 0:
        return UINT32_MAX / (2 + random_below(9)) + random_below(2);
    case 1:
        return 1 + random_below(16);
    case 2:
        return 1 + MIN(w->size - 1, UINT32_MAX - 1) / (1 + random_below(40));
    default:
        return 512 << random_below(4);
    }
}

/* Entries of one length that continue each other: to a fault, or before it. */
static void add_run(Scene *s, unsigned count, uint32_t flags, bool faulty)
{
    const P2PWindow *w = open_window(s);
    uint32_t len = random_run_len(w);
    P2PGuestVec e = { w->gpa, len, flags };

    if (one_in(2) && w->size / len > 1) {
        /* Not far from the window's end, which it crosses then */
        e.addr.gpa += (w->size / len - 1 - random_below(
                       MIN(w->size / len, 20))) * len;
    }
    while (count-- > 0 && (faulty || may_pass(s, &e))) {
        add_entry(s, e);
        e.addr.gpa += e.len;
    }
}

/* From window to window; all alike, or not. */
static void add_jumps(Scene *s, unsigned count, uint32_t flags)
{
    bool alike = one_in(2);

    while (count-- > 0) {
        P2PGuestVec e = entry_in(open_window(s), 4096, flags);

        if (!alike && one_in(20)) {
            e.flags = random_flags();
        }
        add_entry(s, e);
        if (!alike && one_in(20)) {
            /* The next one continues it. */
            e.addr.gpa += e.len;
            if (may_pass(s, &e)) {
                add_entry(s, e);
            }
        }
    }
}

/* Again and again between few windows */
static void add_few(Scene *s, unsigned count, uint32_t flags)
{
    const P2PWindow *few[FEW];
    unsigned n = 1 + random_below(FEW);

    for (unsigned i = 0; i < n; i++) {
        few[i] = open_window(s);
    }
    for (unsigned i = 0; i < count; i++) {
        add_entry(s, entry_in(few[one_in(8) ? random_below(n) : i % n], 512,
                              flags));
    }
}

/* Longer than the window: it goes on in the next ones. */
static void add_crossing(Scene *s, unsigned count, uint32_t flags)
{
    while (count-- > 0) {
        const P2PWindow *w = open_window(s);
        P2PGuestVec e = entry_in(w, 4096, flags);

        e.addr.gpa = w->gpa.gpa + w->size - MIN(w->size, e.len);
        e.len = 1 + random_below(16384);
        if (may_pass(s, &e)) {
            add_entry(s, e);
        }
    }
}

/* What could be joined with the last entry, but for no-merge */
static void add_continuation(Scene *s)
{
    P2PGuestVec e = s->in[s->n - 1];

    e.addr.gpa += e.len;
    e.len = 1 + random_below(64);
    e.flags &= ~P2P_VEC_NO_MERGE;
    e.flags |= one_in(4) ? P2P_VEC_NO_MERGE : 0;
    if (may_pass(s, &e)) {
        add_entry(s, e);
    }
}

static void add_segment(Scene *s, bool faulty)
{
    unsigned count = 1 + random_below(one_in(2) ? 24 : MAX_SEGMENT);
    uint32_t flags = random_flags();

    if (s->n > 0 && one_in(2)) {
        add_continuation(s);
    }
    switch (random_below(6)) {
    case 0:
    case 1:
        add_run(s, count, flags, faulty && one_in(3));
        break;
    case 2:
    case 3:
        add_jumps(s, count, flags);
        break;
    case 4:
        add_few(s, count, flags);
        break;
    default:
        add_crossing(s, MIN(count, 40), flags);
        break;
    }
}

static void long_vector(Scene *s)
{
    size_t wanted = 1 + random_below(one_in(4) ? MAX_LONG : 200);
    bool faulty = one_in(3);

    s->n = 0;
    s->initiator = random_initiator();
    find_open(s);
    for (unsigned i = 0; s->open->len > 0 && s->n < wanted && i < 50; i++) {
        add_segment(s, faulty);
    }
    if (faulty && s->n > 0 && one_in(2)) {
        /* Late more often than not */
        size_t i = random_below(s->n);

        i += random_below(s->n - i);
        random_wild_entry(&s->oracle, &s->in[i]);
    }
}

static void translate_long(size_t n_windows, size_t wanted, Tally *tally)
{
    size_t end = tally->entries + wanted;

    while (tally->entries < end) {
        g_autofree Scene *s = g_new(Scene, 1);

        scene_init(s, n_windows ?: 1 + random_below(one_in(2) ? 20 : 900));
        for (unsigned i = 0;
             tally->entries < end && (n_windows || i < VECTORS_PER_MAP); i++) {
            long_vector(s);
            compare_vector(variant, s->map, &s->oracle, s->initiator, s->in,
                           s->n, tally);
        }
        scene_clear(s);
    }
}

static void check_long(const Tally *tally)
{
    report(tally);
    g_assert_cmpuint(tally->successes, >, tally->entries / 10000);
    g_assert_cmpuint(tally->merged, >, tally->entries / 10000);
    g_assert_cmpuint(tally->crossing, >, tally->entries / 1000);
    g_assert_cmpuint(tally->late_faults, >, tally->entries / 50000);
    g_assert_cmpuint(tally->longest, >, 300);
}

static void test_long(void)
{
    Tally tally = { 0 };

    translate_long(0, random_entries_wanted(ENTRIES_WANTED), &tally);
    check_long(&tally);
}

/* One window less, or just as many, or more, than chunks have room for. */
static void test_chunks(void)
{
    static const size_t sizes[] = {
        511, 512, 513, 1024, 1025, 20000, 90000
    };
    Tally tally = { 0 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        translate_long(sizes[i],
                       random_entries_wanted(ENTRIES_WANTED) / 7 + 1, &tally);
    }
    check_long(&tally);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    variants_add("/random/mixed", test_mixed);
    variants_add("/random/long", test_long);
    variants_add("/random/chunks", test_chunks);
    return g_test_run();
}
