/*
 * qemu-p2p verify: patterns, comparisons, room in an IOMMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "../../tools/verify-data.h"

enum { SIZE = 8192, PAGE = 4096 };

static void fill_numbers(uint8_t *data)
{
    for (unsigned i = 0; i < SIZE; i++) {
        data[i] = i + i / 256;
    }
}

static void test_fill(void)
{
    uint8_t expected[SIZE], fill[VERIFY_PATTERNS][SIZE];

    fill_numbers(expected);
    for (unsigned p = 0; p < VERIFY_PATTERNS; p++) {
        verify_fill(fill[p], expected, SIZE, p);
        for (unsigned i = 0; i < SIZE; i++) {
            g_assert_cmphex(fill[p][i], !=, expected[i]);
            for (unsigned q = 0; q < p; q++) {
                g_assert_cmphex(fill[p][i], !=, fill[q][i]);
            }
        }
    }
}

static void test_compare(void)
{
    uint8_t expected[SIZE], fill[SIZE], got[SIZE];
    VerifyDiff diff;

    fill_numbers(expected);
    verify_fill(fill, expected, SIZE, 0);
    diff = verify_compare(expected, expected, fill, SIZE);
    g_assert_cmpuint(diff.wrong, ==, 0);
    diff = verify_compare(fill, expected, fill, SIZE);
    g_assert_cmpuint(diff.wrong, ==, SIZE);
    g_assert_cmpuint(diff.untouched, ==, SIZE);

    /* One byte as it was, and one that is neither */
    memcpy(got, expected, SIZE);
    got[100] = fill[100];
    got[SIZE - 1] = expected[SIZE - 1] ^ 0x10;
    diff = verify_compare(got, expected, fill, SIZE);
    g_assert_cmpuint(diff.wrong, ==, 2);
    g_assert_cmpuint(diff.untouched, ==, 1);
    g_assert_cmpuint(diff.first, ==, 100);
    g_assert_cmpuint(diff.last, ==, SIZE - 1);
}

static void test_repeats(void)
{
    uint8_t data[SIZE];

    memset(data, 0, SIZE);
    g_assert_true(verify_repeats(data, SIZE, PAGE));
    data[5] = data[PAGE + 5] = 7;
    g_assert_true(verify_repeats(data, SIZE, PAGE));
    data[SIZE - 1] = 1;
    g_assert_false(verify_repeats(data, SIZE, PAGE));
    g_assert_true(verify_repeats(data, PAGE, PAGE));
}

/* Where there is room for @size, or 0 */
static uint64_t find(const VerifyRange *valid, unsigned n_valid,
                     const VerifyRange *taken, unsigned n_taken, uint64_t size)
{
    g_autoptr(GArray) v = g_array_new(false, false, sizeof(VerifyRange));
    g_autoptr(GArray) t = g_array_new(false, false, sizeof(VerifyRange));
    uint64_t address;

    g_array_append_vals(v, valid, n_valid);
    g_array_append_vals(t, taken, n_taken);
    return verify_find_room(v, t, size, &address) ? address : 0;
}

static void test_room(void)
{
    const uint64_t M = 1 << 20;
    const VerifyRange all = { 0, UINT64_MAX };
    const VerifyRange two[] = {
        { 256 * M, 320 * M - 1 }, { 0, 48 * M - 1 },
    };
    const VerifyRange taken[] = {
        { 40 * M, 41 * M - 1 }, { 16 * M + 4096, 16 * M + 4096 },
    };
    const VerifyRange last = { UINT64_MAX - 16 * M + 1, UINT64_MAX };

    g_assert_cmphex(find(&all, 1, NULL, 0, 1), ==, VERIFY_ALIGN);
    g_assert_cmphex(find(&all, 1, &all, 1, 1), ==, 0);
    /* The lowest, in whatever order; up to the last byte */
    g_assert_cmphex(find(two, 2, NULL, 0, 32 * M), ==, 16 * M);
    g_assert_cmphex(find(two, 2, NULL, 0, 32 * M + 1), ==, 256 * M);
    g_assert_cmphex(find(two, 2, NULL, 0, 64 * M + 1), ==, 0);
    /* What is taken is gone round, as far as there is room */
    g_assert_cmphex(find(two, 2, taken, 2, 8 * M), ==, 32 * M);
    g_assert_cmphex(find(two, 2, taken, 2, 8 * M + 1), ==, 256 * M);
    g_assert_cmphex(find(&all, 1, taken, 2, 4096), ==, 16 * M);
    /* At the end of all addresses */
    g_assert_cmphex(find(&last, 1, NULL, 0, 16 * M), ==, last.first);
    g_assert_cmphex(find(&last, 1, NULL, 0, 16 * M + 1), ==, 0);
    g_assert_cmphex(find(&last, 1, &last, 1, 1), ==, 0);
}

static void test_median(void)
{
    double odd[] = { 5, 1, 3 }, even[] = { 4, 1, 2, 100 };

    g_assert_cmpfloat(verify_median(odd, 3), ==, 3);
    g_assert_cmpfloat(verify_median(even, 4), ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verify-data/fill", test_fill);
    g_test_add_func("/verify-data/compare", test_compare);
    g_test_add_func("/verify-data/repeats", test_repeats);
    g_test_add_func("/verify-data/room", test_room);
    g_test_add_func("/verify-data/median", test_median);
    return g_test_run();
}
