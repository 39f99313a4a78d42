/*
 * Whatever is given to qemu-p2p xml: it is refused, or made into a domain that
 * a second pass leaves alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <string.h>
#include <libxml/parser.h>
#include "xml.h"

/* libFuzzer's entry point */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static GPtrArray *new_list(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

/* What becomes of @text; NULL: it is refused, or has no metadata. */
static GString *pass(const char *text, size_t size, guint *n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) changes = new_list();
    g_autoptr(XmlDoc) doc = xml_doc_parse(text, size, &error);
    g_autoptr(XmlMetadata) metadata =
        doc ? xml_metadata_new(doc, changes, &error) : NULL;
    bool done = metadata && metadata->node &&
                xml_generate(doc, metadata, changes, &error);

    /* Either an error, or none: never both, never neither. */
    g_assert_cmpint(error != NULL, ==, !metadata || (metadata->node && !done));
    *n = changes->len;
    return done ? xml_doc_text(doc, false) : NULL;
}

/* All that is generated can be taken out again, and put in. */
static void check_remove(const GString *text)
{
    g_autoptr(GPtrArray) changes = new_list();
    g_autoptr(XmlDoc) doc = xml_doc_parse(text->str, text->len, NULL);
    g_autoptr(XmlMetadata) metadata = xml_metadata_new(doc, changes, NULL);
    g_autoptr(XmlMetadata) none = NULL;

    g_assert_true(xml_ungenerate(doc, metadata, changes, NULL));
    none = xml_metadata_new(doc, changes, NULL);
    g_assert_null(none->node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GString) once = NULL;
    g_autoptr(GString) twice = NULL;
    guint n;

    once = pass((const char *)data, size, &n);
    if (once && once->len <= XML_MAX_SIZE) {
        twice = pass(once->str, once->len, &n);
        g_assert_nonnull(twice);
        g_assert_cmpuint(n, ==, 0);
        g_assert_true(g_string_equal(once, twice));
        check_remove(once);
    }
    xmlResetLastError();
    return 0;
}
