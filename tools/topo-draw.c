/*
 * Drawings and counts of a host's topology
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <gio/gio.h>
#include "topo.h"
#include "show.h"

/* More lines between devices than this nobody could tell apart. */
#define PAIRS_MAX 600

typedef struct Drawing {
    const Topo *topo;
    GString *text;
    GHashTable *drawn;      /* P2PFunction: its box is there */
    GHashTable *buses;      /* root bus: its box is there */
} Drawing;

/* Names come from files that anybody may have written. */
static char *quoted(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *result = g_string_new("\"");

    for (const char *c = valid; *c; c++) {
        if (*c == '"' || *c == '\\') {
            g_string_append_c(result, '\\');
        }
        g_string_append_c(result, g_ascii_iscntrl(*c) ? ' ' : *c);
    }
    g_string_append_c(result, '"');
    return g_string_free(result, FALSE);
}

static char *label(const P2PFunction *function)
{
    g_autofree char *name = tool_device_name(function);
    g_autofree char *safe = quoted(name);

    /* Without the quotation marks of the name. */
    return g_strdup_printf("\"%s\\n%.*s\\n%s\"", function->bdf,
                           (int)strlen(safe) - 2, safe + 1,
                           p2p_port_type_str(function->type));
}

static void draw_root_bus(Drawing *d, const char *bus)
{
    if (g_hash_table_add(d->buses, (void *)bus)) {
        g_string_append_printf(d->text, "  \"%s\" [label=\"host bridge\\n%s\","
                               " shape=house];\n", bus, bus);
    }
}

static void draw_function(Drawing *d, const P2PFunction *function)
{
    g_autofree char *text = NULL;
    const char *above;

    if (!g_hash_table_add(d->drawn, (void *)function)) {
        return;
    }
    if (function->parent) {
        p2p_function_details(d->topo->host, function->parent);
        draw_function(d, function->parent);
        above = function->parent->bdf;
    } else {
        draw_root_bus(d, function->root_bus);
        above = function->root_bus;
    }
    text = label(function);
    g_string_append_printf(d->text, "  \"%s\" [label=%s%s];\n", function->bdf,
                           text, function->acs == P2P_ACS_REDIRECT
                           ? ", color=\"#cf222e\"" : "");
    g_string_append_printf(d->text, "  \"%s\" -> \"%s\" [dir=none];\n", above,
                           function->bdf);
}

static void draw_pairs(Drawing *d)
{
    unsigned n = d->topo->functions->len;

    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = i + 1; j < n; j++) {
            const P2PFunction *a = d->topo->functions->pdata[i];
            const P2PFunction *b = d->topo->functions->pdata[j];
            P2PVerdict verdict = p2p_matrix_verdict(d->topo->matrix, i, j);
            const ToolVerdictWord *word = tool_verdict_word(&verdict);

            g_string_append_printf(
                d->text, "  \"%s\" -> \"%s\" [dir=both, constraint=false, "
                "color=\"%s\", fontcolor=\"%s\", style=%s, label=\"%s\"];\n",
                a->bdf, b->bdf, word->colour, word->colour,
                word->yes ? "solid" : "dashed", word->name);
        }
    }
}

char *topo_dot(const Topo *topo)
{
    g_autoptr(GHashTable) drawn = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) buses = g_hash_table_new(g_str_hash, g_str_equal);
    Drawing d = { topo, g_string_new(NULL), drawn, buses };
    guint64 n = topo->functions->len;

    g_string_append(d.text, "digraph p2p {\n  rankdir=TB;\n"
                    "  node [shape=box, fontname=\"sans-serif\"];\n"
                    "  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (guint i = 0; i < n; i++) {
        draw_function(&d, topo->functions->pdata[i]);
    }
    if (n * (n - 1) / 2 <= PAIRS_MAX) {
        draw_pairs(&d);
    } else {
        g_string_append_printf(d.text, "  label=\"%" G_GUINT64_FORMAT " pairs "
                               "are too many to draw: name the devices "
                               "\";\n", n * (n - 1) / 2);
    }
    g_string_append(d.text, "}\n");
    return g_string_free(d.text, FALSE);
}

bool topo_print_svg(const char *dot)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) process = g_subprocess_new(
        G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
        G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error, "dot", "-Tsvg", NULL);
    g_autofree char *svg = NULL;

    if (!process) {
        tool_error("--svg needs Graphviz: %s (apt install graphviz; --dot "
                   "prints what it would draw)", error->message);
        return false;
    }
    if (!g_subprocess_communicate_utf8(process, dot, NULL, &svg, NULL,
                                       &error)) {
        tool_error("Graphviz: %s", error->message);
        return false;
    }
    if (!g_subprocess_get_successful(process)) {
        tool_error("Graphviz (dot -Tsvg) could not draw it; --dot prints what "
                   "it was given");
        return false;
    }
    fputs(svg, stdout);
    return true;
}

void topo_print_summary(const Topo *topo)
{
    unsigned k = p2p_matrix_classes(topo->matrix);
    g_autofree guint64 *members = g_new0(guint64, k);
    g_autofree unsigned *first = g_new(unsigned, k);
    g_autofree unsigned *second = g_new(unsigned, k);
    guint64 counts[P2P_PATH__MAX][TOOL_VERDICTS] = { 0 };

    for (unsigned i = 0; i < topo->functions->len; i++) {
        unsigned c = p2p_matrix_class(topo->matrix, i);

        if (members[c]++ == 0) {
            first[c] = i;
        } else {
            second[c] = i;
        }
    }
    for (unsigned a = 0; a < k; a++) {
        for (unsigned b = 0; b < k; b++) {
            P2PVerdict verdict;

            if (a == b && members[a] < 2) {
                continue;
            }
            verdict = p2p_matrix_verdict(topo->matrix, first[a],
                                         a == b ? second[a] : first[b]);
            counts[verdict.path_class]
                  [tool_verdict_word(&verdict) - tool_verdicts] +=
                a == b ? members[a] * (members[a] - 1)
                       : members[a] * members[b];
        }
    }
    printf("%u device%s in %u class%s\n", topo->functions->len,
           topo->functions->len == 1 ? "" : "s", k, k == 1 ? "" : "es");
    for (unsigned p = 0; p < P2P_PATH__MAX; p++) {
        for (unsigned v = 0; v < TOOL_VERDICTS; v++) {
            if (counts[p][v]) {
                printf("%12" G_GUINT64_FORMAT "  %-5s %s\n", counts[p][v],
                       p2p_path_class_str(p), tool_verdicts[v].name);
            }
        }
    }
}
