/*
 * qemu-p2p plan: a guest topology that mirrors the host's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "plan.h"
#include "show.h"

#define DEFAULT_MEMORY "4G"
#define MEMORY_MIN (G_GUINT64_CONSTANT(64) << 20)
#define MEMORY_MAX (G_GUINT64_CONSTANT(1) << 46)
#define MiB        (G_GUINT64_CONSTANT(1) << 20)

/* Pairs that one sentence explains. */
typedef struct Decision {
    P2PVerdict verdict;
    char *why;
    GString *pairs;
} Decision;

static void decision_free(void *opaque)
{
    Decision *decision = opaque;

    g_free(decision->why);
    g_string_free(decision->pairs, true);
    g_free(decision);
}

static void add_pair(const P2PPlan *plan, GPtrArray *decisions,
                     const P2PFunction *a, const P2PFunction *b)
{
    g_autofree char *why = p2p_topology_reason(plan->guest, a, b);
    Decision *decision = NULL;

    for (guint i = 0; i < decisions->len && !decision; i++) {
        Decision *other = decisions->pdata[i];

        decision = strcmp(other->why, why) == 0 ? other : NULL;
    }
    if (!decision) {
        decision = g_new0(Decision, 1);
        decision->verdict = p2p_topology_verdict(plan->guest, a, b);
        decision->why = g_steal_pointer(&why);
        decision->pairs = g_string_new(NULL);
        g_ptr_array_add(decisions, decision);
    }
    g_string_append_printf(decision->pairs, "%s%s - %s",
                           decision->pairs->len ? ", " : "", a->bdf, b->bdf);
}

void plan_print_guest(const P2PPlan *plan, const char *begin)
{
    g_autoptr(GPtrArray) decisions = g_ptr_array_new_with_free_func(
        decision_free);

    for (guint i = 0; i < plan->devices->len; i++) {
        for (guint j = i + 1; j < plan->devices->len; j++) {
            const P2PPlanNode *a = plan->devices->pdata[i];
            const P2PPlanNode *b = plan->devices->pdata[j];

            add_pair(plan, decisions, a->guest, b->guest);
        }
    }
    if (decisions->len > 0) {
        printf("%sWhat the guest's Linux will decide (without an IOMMU of its "
               "own):\n", begin);
    }
    for (guint i = 0; i < decisions->len; i++) {
        const Decision *decision = decisions->pdata[i];

        printf("%s  %s: %s\n%s    %s\n", begin,
               p2p_verdict_str(&decision->verdict), decision->why, begin,
               decision->pairs->str);
    }
}

static void print_list(const char *what, const GPtrArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        tool_warn("%s%s", what, (char *)list->pdata[i]);
    }
}

static const struct {
    const char *name;
    void (*print)(const P2PPlan *plan);
} formats[] = {
    { "qemu", plan_print_qemu },
    { "libvirt", plan_print_libvirt },
    { "json", plan_print_json },
    { "nccl", plan_print_nccl },
};

static void (*find_format(const char *name))(const P2PPlan *)
{
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return formats[i].print;
        }
    }
    tool_error("there is no format '%s'; there are qemu, libvirt, json and "
               "nccl", name);
    return NULL;
}

static bool only_endpoints(const GPtrArray *functions)
{
    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *function = functions->pdata[i];

        if (!tool_is_endpoint(function)) {
            tool_error("%s is a bridge, which cannot be given to a VM; name "
                       "the devices below it", function->bdf);
            return false;
        }
    }
    return true;
}

static ToolStatus run(const ToolCommand *command, int argc, char **argv)
{
    g_autofree char *memory = g_strdup(DEFAULT_MEMORY);
    g_autofree char *machine = g_strdup("q35");
    g_autofree char *format = g_strdup("qemu");
    const GOptionEntry entries[] = {
        TOOL_SYSROOT_OPTION,
        { "memory", 'm', 0, G_OPTION_ARG_STRING, &memory,
          "The guest's RAM (default " DEFAULT_MEMORY ")", "SIZE" },
        { "machine", 0, 0, G_OPTION_ARG_STRING, &machine,
          "The guest's machine (q35)", "TYPE" },
        { "format", 'f', 0, G_OPTION_ARG_STRING, &format,
          "qemu, libvirt, json or nccl", "FORMAT" },
        { NULL },
    };
    g_autoptr(P2PHost) host = NULL;
    g_autoptr(GPtrArray) functions = NULL;
    g_autoptr(P2PPlan) plan = NULL;
    g_autofree char *why = NULL;
    P2PPlanOptions options;
    void (*print)(const P2PPlan *plan);

    if (!tool_parse(command, entries, &argc, &argv) ||
        !(print = find_format(format))) {
        return TOOL_CANNOT;
    }
    if (argc < 2) {
        tool_error("name the devices that the VM will have; qemu-p2p topo "
                   "lists those of the host");
        return TOOL_CANNOT;
    }
    if (strcmp(machine, "q35") != 0) {
        tool_error("--machine %s: plans are made for q35 only, which has PCI "
                   "Express", machine);
        return TOOL_CANNOT;
    }
    if (!tool_parse_size(memory, "KMGT", MEMORY_MAX, &options.memory) ||
        options.memory < MEMORY_MIN || options.memory % MiB) {
        tool_error("--memory %s: not a size such as 16G, from 64M to 64T in "
                   "whole MiB", memory);
        return TOOL_CANNOT;
    }
    host = tool_host();
    functions = tool_devices(host, argv + 1, argc - 1, false);
    if (!functions || !only_endpoints(functions)) {
        return TOOL_CANNOT;
    }
    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *port = functions->pdata[i];

        for (; port; port = port->parent) {
            p2p_function_details(host, port);
        }
    }
    plan = p2p_plan_new(host, functions, &options, &why);
    if (!plan) {
        tool_error("%s", why);
        return TOOL_CANNOT;
    }
    print(plan);
    print_list("", plan->notes);
    print_list("this plan will not work: ", plan->problems);
    return plan->problems->len ? TOOL_NO : TOOL_OK;
}

const ToolCommand tool_plan = {
    .name = "plan",
    .arguments = "DEVICE...",
    .summary = "plan a guest topology that mirrors the host's",
    .examples =
        "  qemu-p2p plan 65:00.0 66:00.0 --memory 64G\n"
        "  qemu-p2p plan 65:00.0 66:00.0 --format libvirt |\n"
        "      qemu-p2p xml > vm.xml\n"
        "  qemu-p2p plan 65:00.0 66:00.0 --format nccl > topo.xml\n"
        "Exit status 1 if something of the plan will not work.\n",
    .run = run,
};
