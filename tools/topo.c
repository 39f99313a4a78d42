/*
 * qemu-p2p topo: who reaches whom, as two matrices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "topo.h"
#include "show.h"

/* --- The devices ------------------------------------------------------------- */

static void print_bars(const P2PFunction *function)
{
    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];
        g_autofree char *size = NULL;

        if (!bar->size || !bar->memory) {
            continue;
        }
        size = tool_size_str(bar->size);
        printf("       BAR %u: %s%s%s%s\n", i, size,
               bar->is_64bit ? ", 64 bits" : "",
               bar->prefetchable ? ", prefetchable" : "",
               bar->start ? "" : ", not placed");
    }
}

static void print_device(unsigned index, const P2PFunction *function)
{
    g_autofree char *class_name = tool_class_name(function);
    g_autofree char *name = tool_device_name(function);

    printf("%5u  %s  %s: %s\n       ", index, function->bdf, class_name,
           name);
    if (function->numa_node >= 0) {
        printf("NUMA node %d", function->numa_node);
    } else {
        printf("no NUMA node");
    }
    if (function->iommu_group) {
        printf(", IOMMU group %d", function->iommu_group->number);
    } else {
        printf(", no IOMMU group");
    }
    if (function->driver) {
        printf(", driver %s", function->driver);
    }
    if (function->physical_function) {
        printf(", virtual function of %s", function->physical_function);
    }
    if (function->power > P2P_POWER_D0) {
        printf(", in %s", p2p_power_str(function->power));
    }
    if (!function->decodes_memory) {
        printf(", memory decode off");
    }
    putchar('\n');
    print_bars(function);
    if (function->has_p2pmem) {
        g_autofree char *size = tool_size_str(function->p2pmem_size);
        g_autofree char *free = tool_size_str(function->p2pmem_available);

        printf("       P2P memory published: %s, %s of them free\n", size,
               free);
    }
}

/* --- The matrices ------------------------------------------------------------- */

static const char *path_word(const P2PVerdict *verdict,
                             G_GNUC_UNUSED bool self)
{
    return p2p_path_class_str(verdict->path_class);
}

static const char *map_word(const P2PVerdict *verdict, bool self)
{
    return self ? "X" : tool_verdict_word(verdict)->cell;
}

static void print_matrix(const Topo *topo,
                         const char *(*word)(const P2PVerdict *, bool))
{
    unsigned n = topo->functions->len;

    printf("%19s", "");
    for (unsigned j = 0; j < n; j++) {
        printf(" %5u", j);
    }
    putchar('\n');
    for (unsigned i = 0; i < n; i++) {
        const P2PFunction *function = topo->functions->pdata[i];

        printf("%5u %-13s", i, function->bdf);
        for (unsigned j = 0; j < n; j++) {
            P2PVerdict verdict = p2p_matrix_verdict(topo->matrix, i, j);

            printf(" %5s", word(&verdict, i == j));
        }
        putchar('\n');
    }
}

static const char path_legend[] =
    "  X     the same function\n"
    "  PIX   below one switch, or one port\n"
    "  PXB   through several switches, not through the root complex\n"
    "  PHB   through the root complex, one host bridge\n"
    "  NODE  through two host bridges of one NUMA node\n"
    "  SYS   through host bridges of different NUMA nodes\n";

static void print_text(const Topo *topo)
{
    puts("Devices");
    for (guint i = 0; i < topo->functions->len; i++) {
        print_device(i, topo->functions->pdata[i]);
    }
    puts("\nPaths (rows: initiators, columns: targets)");
    print_matrix(topo, path_word);
    printf("\n%s", path_legend);
    puts("\nVerdicts (rows: initiators, columns: targets)");
    print_matrix(topo, map_word);
    putchar('\n');
    tool_print_verdict_legend();
    puts("\nqemu-p2p why A B explains one of them.");
}

/* --- JSON ----------------------------------------------------------------------- */

static void print_json(const Topo *topo)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    unsigned n = topo->functions->len;

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "devices");
    json_builder_begin_array(builder);
    for (unsigned i = 0; i < n; i++) {
        tool_json_function(builder, topo->functions->pdata[i]);
    }
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "pairs");
    json_builder_begin_array(builder);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = 0; j < n; j++) {
            const P2PFunction *a = topo->functions->pdata[i];
            const P2PFunction *b = topo->functions->pdata[j];

            if (i != j) {
                P2PVerdict verdict = p2p_matrix_verdict(topo->matrix, i, j);

                json_builder_begin_object(builder);
                tool_json_string(builder, "initiator", a->bdf);
                tool_json_string(builder, "target", b->bdf);
                tool_json_verdict(builder, &verdict);
                json_builder_end_object(builder);
            }
        }
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    tool_print_json(json_builder_get_root(builder));
}

/* --- The command ------------------------------------------------------------------ */

static ToolStatus print_drawing(const Topo *topo, bool svg)
{
    g_autofree char *dot = topo_dot(topo);

    if (!svg) {
        fputs(dot, stdout);
        return TOOL_OK;
    }
    return topo_print_svg(dot) ? TOOL_OK : TOOL_CANNOT;
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    gboolean json = false, dot = false, svg = false, all = false;
    gboolean summary = false;
    const GOptionEntry options[] = {
        TOOL_SYSROOT_OPTION,
        { "json", 'j', 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL },
        { "dot", 0, 0, G_OPTION_ARG_NONE, &dot,
          "Print a drawing in Graphviz's dot language", NULL },
        { "svg", 0, 0, G_OPTION_ARG_NONE, &svg,
          "Print a drawing as SVG (needs Graphviz)", NULL },
        { "all", 'a', 0, G_OPTION_ARG_NONE, &all,
          "Show bridges, too", NULL },
        { "summary", 0, 0, G_OPTION_ARG_NONE, &summary,
          "Count the pairs of each verdict, and print no matrix", NULL },
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_autoptr(GPtrArray) functions = NULL;
    g_autoptr(P2PMatrix) matrix = NULL;
    Topo topo;

    if (!tool_parse(command, options, &argc, &argv)) {
        return TOOL_CANNOT;
    }
    if (json + dot + svg + summary > 1) {
        tool_error("only one of --json, --dot, --svg and --summary can be "
                   "had at a time");
        return TOOL_CANNOT;
    }
    host = tool_host();
    functions = (summary ? tool_find_devices : tool_devices)(
        host, argv + 1, argc - 1, all);
    if (!functions) {
        return TOOL_CANNOT;
    }
    matrix = p2p_matrix_new(host, functions);
    topo = (Topo) { host, functions, matrix };
    if (functions->len == 0) {
        tool_error("this host has no PCI devices%s", all ? "" :
                   " besides bridges (--all shows those)");
        return TOOL_NOTHING;
    }
    if (json) {
        print_json(&topo);
    } else if (dot || svg) {
        return print_drawing(&topo, svg);
    } else if (summary) {
        topo_print_summary(&topo);
    } else {
        print_text(&topo);
    }
    return TOOL_OK;
}

const ToolCommand tool_topo = {
    .name = "topo",
    .arguments = "[DEVICE...]",
    .summary = "show which devices reach each other, as matrices",
    .examples =
        "  qemu-p2p topo                         all devices of this host\n"
        "  qemu-p2p topo 65:00.0 66:00.0         two of them\n"
        "  qemu-p2p topo --svg > host.svg        a drawing\n"
        "  qemu-p2p topo --sysroot DIR --json    a captured host, as JSON\n",
    .run = run,
};
