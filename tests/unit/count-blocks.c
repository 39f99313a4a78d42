/*
 * Which memory the core has: its aligned blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include "count-blocks.h"

static GHashTable *sizes;       /* by address */
static size_t bytes;

int __wrap_posix_memalign(void **block, size_t alignment, size_t size)
{
    int ret = __real_posix_memalign(block, alignment, size);

    if (ret == 0) {
        if (!sizes) {
            sizes = g_hash_table_new(NULL, NULL);
        }
        g_hash_table_insert(sizes, *block, GSIZE_TO_POINTER(size));
        bytes += size;
    }
    return ret;
}

void __wrap_free(void *block)
{
    gpointer size;

    if (sizes && g_hash_table_steal_extended(sizes, block, NULL, &size)) {
        bytes -= GPOINTER_TO_SIZE(size);
    }
    __real_free(block);
}

size_t count_blocks(void)
{
    return sizes ? g_hash_table_size(sizes) : 0;
}

size_t count_bytes(void)
{
    return bytes;
}
