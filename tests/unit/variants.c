/*
 * A test for each variant of the kernels
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "variants.h"

const P2PKernels *variant;

typedef struct VariantTest {
    const P2PKernels *kernels;
    void (*test)(void);
} VariantTest;

static void run_variant(gconstpointer data)
{
    const VariantTest *t = data;

    if (!t->kernels->supported()) {
        g_autofree char *reason = g_strdup_printf("the processor has no %s",
                                                  t->kernels->name);

        g_test_skip(reason);
        return;
    }
    variant = t->kernels;
    t->test();
}

void variants_add(const char *path, void (*test)(void))
{
    static GSList *kept;

    for (const P2PKernels *k = p2p_kernels; k->name; k++) {
        g_autofree char *name = g_strdup_printf("%s/%s", path, k->name);
        VariantTest *t = g_new(VariantTest, 1);

        *t = (VariantTest) { k, test };
        /* Not for GLib to free: it forgets the tests that are not chosen. */
        kept = g_slist_prepend(kept, t);
        g_test_add_data_func(name, t, run_variant);
    }
}
