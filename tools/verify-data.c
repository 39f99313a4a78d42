/*
 * qemu-p2p verify: what memory is filled with before a transfer, and what is
 * found there afterwards; where in the IOMMU there is room
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include <string.h>
#include "verify-data.h"

void verify_fill(uint8_t *memory, const uint8_t *expected, size_t size,
                 unsigned pattern)
{
    /* None is 0: no byte stays as it is expected. */
    static const uint8_t masks[VERIFY_PATTERNS] = { 0xff, 0x55, 0xaa, 0x01 };
    uint8_t mask = masks[pattern % VERIFY_PATTERNS];

    for (size_t i = 0; i < size; i++) {
        memory[i] = expected[i] ^ mask;
    }
}

VerifyDiff verify_compare(const uint8_t *got, const uint8_t *expected,
                          const uint8_t *fill, size_t size)
{
    VerifyDiff diff = { 0 };

    for (size_t i = 0; i < size; i++) {
        if (got[i] != expected[i]) {
            diff.first = diff.wrong ? diff.first : i;
            diff.last = i;
            diff.wrong++;
            diff.untouched += got[i] == fill[i];
        }
    }
    return diff;
}

bool verify_repeats(const uint8_t *data, size_t size, size_t unit)
{
    return size <= unit || memcmp(data, data + unit, size - unit) == 0;
}

/* The end of a range that overlaps @size bytes at @address, or NULL. */
static const VerifyRange *find_overlap(const GArray *taken, uint64_t address,
                                       uint64_t size)
{
    for (guint i = 0; i < taken->len; i++) {
        const VerifyRange *range = &g_array_index(taken, VerifyRange, i);

        if (address <= range->last && address + (size - 1) >= range->first) {
            return range;
        }
    }
    return NULL;
}

/* False if there is no multiple of VERIFY_ALIGN at or above @address. */
static bool align_up(uint64_t *address)
{
    uint64_t up = *address + (VERIFY_ALIGN - 1);

    if (up < *address) {
        return false;
    }
    *address = up & ~(VERIFY_ALIGN - 1);
    return true;
}

static bool find_room_in(const VerifyRange *valid, const GArray *taken,
                         uint64_t size, uint64_t *address)
{
    const VerifyRange *overlap;
    uint64_t at = MAX(valid->first, VERIFY_ALIGN);

    while (align_up(&at) && at <= valid->last &&
           size - 1 <= valid->last - at) {
        overlap = find_overlap(taken, at, size);
        if (!overlap) {
            *address = at;
            return true;
        }
        if (overlap->last == UINT64_MAX) {
            return false;
        }
        at = overlap->last + 1;
    }
    return false;
}

bool verify_find_room(const GArray *valid, const GArray *taken, uint64_t size,
                      uint64_t *address)
{
    bool found = false;
    uint64_t at;

    for (guint i = 0; i < valid->len; i++) {
        if (find_room_in(&g_array_index(valid, VerifyRange, i), taken, size,
                         &at) &&
            (!found || at < *address)) {
            *address = at;
            found = true;
        }
    }
    return found;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double verify_median(double *values, unsigned n)
{
    qsort(values, n, sizeof(*values), compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
