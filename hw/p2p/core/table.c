/*
 * Tables: which buckets leave least to be searched for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

/*
 * Buckets as small as there are ranks for, between the outermost keys but
 * @apart at either end, which the first and the last bucket take: a few
 * windows far from the others, such as RAM below BARs, do no harm.
 */
static void choose_buckets(P2PTable *table, const uint64_t *keys, uint32_t n,
                           uint32_t apart)
{
    uint32_t low = MIN(apart, (n - 1) / 2);
    uint32_t high = n - 1 - low;
    uint64_t range = keys[high] - keys[low];

    table->shift = 0;
    while (range >> table->shift > P2P_TABLE_BUCKETS(n) - 4) {
        table->shift++;
    }
    /* They begin at multiples of their size, as BARs do. */
    table->base = keys[low] >> table->shift << table->shift;
    /* A bucket for what is below, and one for what is behind */
    if (table->base) {
        table->base -= UINT64_C(1) << table->shift;
    }
    table->last = (keys[high] - table->base) >> table->shift;
    if (keys[high] >> table->shift < UINT64_MAX >> table->shift) {
        table->last++;
    }
}

/* False: a bucket has more than @most keys, but at its beginning. */
static bool count_more(P2PTable *table, const uint64_t *keys, uint32_t n,
                       uint32_t most)
{
    size_t bucket = 0;
    uint32_t more = 0;

    table->more = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t next = p2p_table_bucket(table, keys[i]);

        more = next == bucket ? more : 0;
        more += keys[i] != p2p_table_first(table, next);
        table->more = MAX(table->more, more);
        if (more > most) {
            return false;
        }
        bucket = next;
    }
    return true;
}

void p2p_table_choose(P2PTable *table, const uint64_t *keys, uint32_t n)
{
    uint32_t most = 0;

    /* With as many as there are keys, any buckets will do. */
    for (;;) {
        choose_buckets(table, keys, n, most);
        if (count_more(table, keys, n, most)) {
            return;
        }
        most = 2 * most + 1;
    }
}
