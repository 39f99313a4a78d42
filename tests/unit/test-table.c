/*
 * Tables: what they tell of any address, and how much they leave open
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include "map-internal.h"
#include "random.h"

enum { MOST_KEYS = 700 };

typedef struct Table {
    P2PTable table;
    uint32_t ranks[P2P_TABLE_BUCKETS(MOST_KEYS)];
} Table;

/* Keys at or below @addr */
static uint32_t rank_of(const uint64_t *keys, uint32_t n, uint64_t addr)
{
    uint32_t rank = 0;

    while (rank < n && keys[rank] <= addr) {
        rank++;
    }
    return rank;
}

static void check_address(const Table *t, const uint64_t *keys, uint32_t n,
                          uint64_t addr)
{
    size_t bucket = p2p_table_bucket(&t->table, addr);
    uint32_t rank = rank_of(keys, n, addr);

    g_assert_cmpuint(bucket, <=, t->table.last);
    g_assert_cmpuint(t->ranks[bucket], <=, rank);
    g_assert_cmpuint(t->ranks[bucket] + t->table.more, >=, rank);
}

/* Around keys, around the beginnings of buckets, and at the ends */
static void build(Table *t, const uint64_t *keys, uint32_t n)
{
    uint32_t rank = 0;

    p2p_table_choose(&t->table, keys, n);
    g_assert_cmpuint(t->table.last, <, P2P_TABLE_BUCKETS(n));
    for (size_t b = 0; b <= t->table.last; b++) {
        t->ranks[b] = p2p_table_rank(&t->table, keys, n, b, &rank);
    }
    g_assert_cmpuint(t->table.shift, <, 64);
    check_address(t, keys, n, 0);
    check_address(t, keys, n, UINT64_MAX);
    for (uint32_t i = 0; i < n; i++) {
        check_address(t, keys, n, keys[i] - (keys[i] > 0));
        check_address(t, keys, n, keys[i]);
        check_address(t, keys, n, keys[i] + (keys[i] < UINT64_MAX));
    }
    for (uint64_t b = 0; b <= t->table.last; b++) {
        uint64_t first = t->table.base + (b << t->table.shift);

        g_assert_cmpuint(first, >=, t->table.base);
        check_address(t, keys, n, first);
        check_address(t, keys, n, first - (first > 0));
        /* Halving looks at no key that is not there. */
        g_assert_cmpuint(t->ranks[b] + t->table.more, <=, n);
    }
}

static int compare_keys(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

/* Anywhere; near to each other; around few places; of all magnitudes */
static uint32_t random_keys(uint64_t *keys)
{
    uint32_t n = 1 + random_below(one_in(2) ? 10 : MOST_KEYS);
    unsigned how = random_below(4);
    uint64_t range = UINT64_C(1) << (10 + random_below(54));
    uint64_t base = one_in(3) ? 0 : one_in(2) ? -range : random_below(-range);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        switch (how) {
        case 0:
            keys[i] = random_u64();
            break;
        case 1:
            keys[i] = base + random_below(range);
            break;
        case 2:
            keys[i] = (random_below(4) << 62) + random_below(4096);
            break;
        default:
            keys[i] = random_u64() >> random_below(64);
            break;
        }
    }
    if (one_in(4)) {
        keys[0] = one_in(2) ? 0 : UINT64_MAX;
    }
    qsort(keys, n, sizeof(keys[0]), compare_keys);
    for (uint32_t i = 0; i < n; i++) {
        if (!i || keys[i] > keys[kept - 1]) {
            keys[kept++] = keys[i];
        }
    }
    return kept;
}

static void test_random(void)
{
    size_t wanted = random_entries_wanted(1000000);
    uint64_t keys[MOST_KEYS];
    Table t;

    for (size_t done = 0; done < wanted; ) {
        uint32_t n = random_keys(keys);

        build(&t, keys, n);
        done += n;
    }
}

/* --- How much is left open --- */

static void regular_keys(uint64_t *keys, uint32_t n, uint64_t base,
                         uint64_t stride)
{
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = base + i * stride;
    }
}

static void test_regular(void)
{
    uint64_t keys[MOST_KEYS];
    Table t;

    for (uint32_t n = 1; n <= MOST_KEYS; n++) {
        uint64_t stride = UINT64_C(1) << n % 50;
        uint64_t top = -(n * stride);

        regular_keys(keys, n, 0, stride);
        build(&t, keys, n);
        g_assert_cmpuint(t.table.more, ==, 0);
        regular_keys(keys, n, 12345 * stride, stride);
        build(&t, keys, n);
        g_assert_cmpuint(t.table.more, ==, 0);
        regular_keys(keys, n, top, stride);
        build(&t, keys, n);
        g_assert_cmpuint(t.table.more, ==, 0);
        regular_keys(keys, n, 12345, 3 * stride);
        build(&t, keys, n);
        g_assert_cmpuint(t.table.more, <=, 1);
    }
}

/* Each of 64 the size of others, or twice, or four times as large */
static void test_mixed_sizes(void)
{
    uint64_t keys[64];
    Table t;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t at = UINT64_C(1) << 40;

        for (unsigned j = 0; j < G_N_ELEMENTS(keys); j++) {
            uint64_t size = UINT64_C(0x1000) << random_below(3);

            at = (at + size - 1) & -size;
            keys[j] = at;
            at += size;
        }
        build(&t, keys, G_N_ELEMENTS(keys));
        g_assert_cmpuint(t.table.more, <=, 3);
    }
}

/* What is far from all others makes no difference to them. */
static void test_apart(void)
{
    uint64_t keys[67];
    Table t;

    keys[0] = 0;
    keys[1] = UINT64_C(1) << 32;
    regular_keys(keys + 2, 64, UINT64_C(1) << 45, 0x4000);
    keys[66] = UINT64_C(1) << 62;
    build(&t, keys, G_N_ELEMENTS(keys));
    g_assert_cmpuint(t.table.more, <=, 3);
}

/* No table tells these from each other: what is left is to halve them. */
static void test_worst(void)
{
    uint64_t keys[64];
    Table t;

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        keys[i] = UINT64_C(1) << i;
    }
    build(&t, keys, G_N_ELEMENTS(keys));
    g_assert_cmpuint(t.table.more, <=, G_N_ELEMENTS(keys));
    g_assert_cmpuint(t.table.more, >, 7);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/table/random", test_random);
    g_test_add_func("/table/regular", test_regular);
    g_test_add_func("/table/mixed-sizes", test_mixed_sizes);
    g_test_add_func("/table/apart", test_apart);
    g_test_add_func("/table/worst", test_worst);
    return g_test_run();
}
