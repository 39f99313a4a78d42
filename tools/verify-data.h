/*
 * qemu-p2p verify: what memory is filled with before a transfer, and what is
 * found there afterwards; where in the IOMMU there is room
 *
 * Pure functions: no device is touched.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_DATA_H
#define P2P_TOOL_VERIFY_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>

/* Ways to fill memory; each differs from the others in every byte. */
#define VERIFY_PATTERNS 4

/*
 * verify_fill: make @memory differ from @expected in each of its @size bytes,
 * so that every byte that a transfer leaves out shows, whatever the data.
 */
void verify_fill(uint8_t *memory, const uint8_t *expected, size_t size,
                 unsigned pattern);

typedef struct VerifyDiff {
    size_t wrong;       /* bytes that are not as expected */
    size_t untouched;   /* of these: bytes that are as they were filled */
    size_t first, last; /* offsets of wrong bytes */
} VerifyDiff;

/* @fill: what @got held before the transfer */
VerifyDiff verify_compare(const uint8_t *got, const uint8_t *expected,
                          const uint8_t *fill, size_t size);

/*
 * verify_repeats: whether all @unit bytes long pieces of @data are equal, so
 * that a piece in the wrong place would not be noticed.  @size is a multiple
 * of @unit.
 */
bool verify_repeats(const uint8_t *data, size_t size, size_t unit);

/* Addresses, both ends inclusive */
typedef struct VerifyRange {
    uint64_t first, last;
} VerifyRange;

/*
 * verify_find_room: the lowest @size bytes, aligned to VERIFY_ALIGN and not
 * below it, that lie within one of @valid and touch none of @taken (both arrays
 * of VerifyRange, in any order).  False: there is no such place.
 */
#define VERIFY_ALIGN (UINT64_C(16) << 20)
bool verify_find_room(const GArray *valid, const GArray *taken, uint64_t size,
                      uint64_t *address);

/* Sorts @values. */
double verify_median(double *values, unsigned n);

#endif /* P2P_TOOL_VERIFY_DATA_H */
