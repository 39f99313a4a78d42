/*
 * qemu-p2p inventory: the devices of a host, for a scheduler
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "inventory.h"
#include "show.h"

/* Pairs of more classes would be too many to print. */
#define MAX_CLASSES 1024

static const char *const set_names[REACH_KINDS] = {
    [REACH_ANY] = "reach-set",
    [REACH_SWITCH] = "switch-set",
    [REACH_VM] = "vm-reach-set",
};

/* --- JSON ------------------------------------------------------------- */

static void add_sets(JsonBuilder *b, const Inventory *inventory, unsigned i)
{
    json_builder_begin_object(b);
    tool_json_int(b, "class", p2p_matrix_class(inventory->matrix, i));
    for (unsigned kind = 0; kind < REACH_KINDS; kind++) {
        tool_json_string(b, set_names[kind],
                         inventory_set(inventory, kind, i)->bdf);
    }
    json_builder_set_member_name(b, "function");
    tool_json_function(b, inventory->functions->pdata[i]);
    json_builder_end_object(b);
}

/* Two functions of a pair of classes; false: it has no pair. */
static bool find_pair(GPtrArray *members, unsigned a, unsigned b,
                      unsigned *initiator, unsigned *target)
{
    GArray *from = members->pdata[a], *to = members->pdata[b];

    if (a == b && from->len < 2) {
        return false;
    }
    *initiator = g_array_index(from, unsigned, 0);
    *target = g_array_index(to, unsigned, a == b ? 1 : 0);
    return true;
}

static void add_classes(JsonBuilder *b, const Inventory *inventory,
                        GPtrArray *members)
{
    json_builder_set_member_name(b, "classes");
    json_builder_begin_array(b);
    for (guint i = 0; i < members->len; i++) {
        GArray *class_members = members->pdata[i];

        json_builder_begin_object(b);
        tool_json_int(b, "class", i);
        json_builder_set_member_name(b, "devices");
        json_builder_begin_array(b);
        for (guint j = 0; j < class_members->len; j++) {
            unsigned index = g_array_index(class_members, unsigned, j);
            const P2PFunction *f = inventory->functions->pdata[index];

            json_builder_add_string_value(b, f->bdf);
        }
        json_builder_end_array(b);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_pairs(JsonBuilder *b, const Inventory *inventory,
                      GPtrArray *members)
{
    json_builder_set_member_name(b, "pairs");
    json_builder_begin_array(b);
    for (guint i = 0; i < members->len; i++) {
        for (guint j = 0; j < members->len; j++) {
            unsigned from, to;
            P2PVerdict verdict;

            if (!find_pair(members, i, j, &from, &to)) {
                continue;
            }
            verdict = p2p_matrix_verdict(inventory->matrix, from, to);
            json_builder_begin_object(b);
            tool_json_int(b, "initiators", i);
            tool_json_int(b, "targets", j);
            tool_json_verdict(b, &verdict);
            json_builder_end_object(b);
        }
    }
    json_builder_end_array(b);
}

static JsonNode *make_json(const Inventory *inventory)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(GPtrArray) members = g_ptr_array_new_with_free_func(
        (GDestroyNotify)g_array_unref);
    unsigned classes = p2p_matrix_classes(inventory->matrix);

    for (unsigned i = 0; i < classes; i++) {
        g_ptr_array_add(members, g_array_new(false, false, sizeof(unsigned)));
    }
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "devices");
    json_builder_begin_array(b);
    for (unsigned i = 0; i < inventory->functions->len; i++) {
        unsigned class = p2p_matrix_class(inventory->matrix, i);

        g_array_append_val((GArray *)members->pdata[class], i);
        add_sets(b, inventory, i);
    }
    json_builder_end_array(b);
    add_classes(b, inventory, members);
    if (classes <= MAX_CLASSES) {
        add_pairs(b, inventory, members);
    } else {
        tool_warn("%u classes are too many to print all of their pairs",
                  classes);
    }
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

/* --- The command ------------------------------------------------------ */

static bool is_dra(const char *format, bool *dra)
{
    *dra = g_strcmp0(format, "dra") == 0;
    if (!*dra && g_strcmp0(format, "json") != 0) {
        tool_error(format ? "--format takes dra or json, not '%s'"
                          : "--format dra or --format json is needed", format);
        return false;
    }
    return true;
}

static ToolStatus print(const Inventory *inventory, const DraNames *names)
{
    if (inventory->functions->len == 0) {
        tool_error("this host has no PCI devices besides bridges");
        return TOOL_NOTHING;
    }
    tool_print_json(names ? inventory_dra(inventory, names)
                          : make_json(inventory));
    return TOOL_OK;
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    g_autofree char *format = NULL;
    g_autofree char *node = NULL;
    g_autofree char *driver = NULL;
    DraNames names = { .generation = 1 };
    const GOptionEntry options[] = {
        TOOL_SYSROOT_OPTION,
        { "format", 'f', 0, G_OPTION_ARG_STRING, &format,
          "Print for Kubernetes (dra) or for others (json)", "FORMAT" },
        { "node", 0, 0, G_OPTION_ARG_STRING, &node,
          "The node's name in Kubernetes (default: this host's)", "NAME" },
        { "driver", 0, 0, G_OPTION_ARG_STRING, &driver,
          "The driver that slices are of (default: p2p.qemu.org)", "NAME" },
        { "generation", 0, 0, G_OPTION_ARG_INT64, &names.generation,
          "Of the pool; one more for each change (default: 1)", "N" },
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_autoptr(GPtrArray) functions = NULL;
    g_autoptr(P2PMatrix) matrix = NULL;
    Inventory inventory;
    ToolStatus status;
    bool dra;

    if (!tool_parse(command, options, &argc, &argv) ||
        !is_dra(format, &dra)) {
        return TOOL_CANNOT;
    }
    if (!node) {
        node = g_ascii_strdown(g_get_host_name(), -1);
    }
    names.node = node;
    names.driver = driver ?: "p2p.qemu.org";
    if (dra && !inventory_check_names(&names)) {
        return TOOL_CANNOT;
    }
    host = tool_host();
    functions = tool_devices(host, argv + 1, argc - 1, false);
    if (!functions) {
        return TOOL_CANNOT;
    }
    matrix = p2p_matrix_new(host, functions);
    inventory = (Inventory) { functions, matrix, { NULL } };
    for (unsigned kind = 0; kind < REACH_KINDS; kind++) {
        inventory.sets[kind] = inventory_sets(functions, matrix, kind);
    }
    status = print(&inventory, dra ? &names : NULL);
    for (unsigned kind = 0; kind < REACH_KINDS; kind++) {
        g_free(inventory.sets[kind]);
    }
    return status;
}

const ToolCommand tool_inventory = {
    .name = "inventory",
    .arguments = "[DEVICE...]",
    .summary = "list devices and who reaches whom, for a scheduler",
    .examples =
        "  qemu-p2p inventory --format dra | kubectl apply -f -\n"
        "  qemu-p2p inventory --format dra --node worker3 65:00.0 66:00.0\n"
        "  qemu-p2p inventory --format json\n",
    .run = run,
};
