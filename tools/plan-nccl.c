/*
 * A plan as NCCL's topology file, and as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "plan.h"
#include "show.h"

/* --- NCCL -------------------------------------------------------------------------- */

#define CLASS_BRIDGE 0x060400

static bool is_bridge_of_nccl(const P2PPlanNode *node)
{
    return node->kind == P2P_PLAN_UPSTREAM;
}

/* The upper port of the switch that @node is below; NULL: none. */
static const P2PPlanNode *switch_above(const P2PPlanNode *node)
{
    for (node = node->parent; node; node = node->parent) {
        if (is_bridge_of_nccl(node)) {
            return node;
        }
    }
    return NULL;
}

static const P2PPlanNode *host_bridge_above(const P2PPlanNode *node)
{
    while (node && node->kind != P2P_PLAN_HOST_BRIDGE) {
        node = node->parent;
    }
    return node;
}

static void print_pci(const P2PPlan *plan, const P2PPlanNode *node,
                      unsigned depth);

static void print_below(const P2PPlan *plan, const P2PPlanNode *above,
                        const P2PPlanNode *host_bridge, unsigned depth)
{
    for (guint i = 0; i < plan->nodes->len; i++) {
        const P2PPlanNode *node = plan->nodes->pdata[i];

        if ((node->kind == P2P_PLAN_DEVICE || is_bridge_of_nccl(node)) &&
            switch_above(node) == above &&
            (above || host_bridge_above(node) == host_bridge)) {
            print_pci(plan, node, depth);
        }
    }
}

/* The real link: QEMU's switch ports show 2.5 GT/s x1. */
static void print_pci(const P2PPlan *plan, const P2PPlanNode *node,
                      unsigned depth)
{
    const P2PLink link = node->host->max_link;
    bool bridge = is_bridge_of_nccl(node);

    printf("%*s<pci busid=\"%s\" class=\"0x%06x\" vendor=\"0x%04x\" "
           "device=\"0x%04x\" link_speed=\"%u.%u GT/s PCIe\" "
           "link_width=\"%u\"%s>\n", depth * 2, "", node->guest->bdf,
           bridge ? CLASS_BRIDGE : node->host->class_code,
           node->guest->vendor, node->guest->device, link.speed / 1000,
           link.speed % 1000 / 100, link.width, bridge ? "" : "/");
    if (bridge) {
        print_below(plan, node, NULL, depth + 1);
        printf("%*s</pci>\n", depth * 2, "");
    }
}

static void print_cpu(const P2PPlan *plan, const P2PPlanNode *host_bridge)
{
    const P2PHostCpu *cpu = p2p_host_cpu(plan->host);
    g_autofree char *vendor = g_markup_escape_text(cpu->vendor ?: "", -1);

    printf("  <cpu numaid=\"%d\" arch=\"x86_64\" vendor=\"%s\" "
           "familyid=\"%u\">\n",
           host_bridge && host_bridge->numa_node >= 0
           ? host_bridge->numa_node : 0, vendor, cpu->family);
    print_below(plan, NULL, host_bridge, 2);
    puts("  </cpu>");
}

void plan_print_nccl(const P2PPlan *plan)
{
    bool several = false;

    puts("<system version=\"1\">");
    for (guint i = 0; i < plan->nodes->len; i++) {
        const P2PPlanNode *node = plan->nodes->pdata[i];

        if (node->kind == P2P_PLAN_HOST_BRIDGE) {
            several = true;
            print_cpu(plan, node);
        }
    }
    if (!several) {
        print_cpu(plan, NULL);
    }
    puts("</system>");
}

/* --- JSON ---------------------------------------------------------------------------- */

static void json_strings(JsonBuilder *builder, const char *name,
                         const GPtrArray *list)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_array(builder);
    for (guint i = 0; i < list->len; i++) {
        json_builder_add_string_value(builder, list->pdata[i]);
    }
    json_builder_end_array(builder);
}

static void json_node(JsonBuilder *builder, const P2PPlanNode *node)
{
    static const char *const drivers[] = {
        [P2P_PLAN_HOST_BRIDGE] = "pxb-pcie",
        [P2P_PLAN_ROOT_PORT] = "pcie-root-port",
        [P2P_PLAN_UPSTREAM] = "x3130-upstream",
        [P2P_PLAN_DOWNSTREAM] = "xio3130-downstream",
        [P2P_PLAN_DEVICE] = "vfio-pci",
    };

    json_builder_begin_object(builder);
    tool_json_string(builder, "driver", drivers[node->kind]);
    tool_json_string(builder, "id", node->id);
    tool_json_string(builder, "bus", node->parent ? node->parent->id
                                                  : "pcie.0");
    tool_json_int(builder, "slot", node->slot);
    tool_json_int(builder, "function", node->function);
    tool_json_string(builder, "host", node->host ? node->host->bdf : NULL);
    tool_json_string(builder, "guest", node->guest ? node->guest->bdf : NULL);
    if (node->kind == P2P_PLAN_HOST_BRIDGE) {
        tool_json_int(builder, "bus-nr", node->secondary);
        tool_json_int(builder, "numa-node", node->numa_node);
    }
    if (node->link.speed) {
        tool_json_int(builder, "speed-mts", node->link.speed);
        tool_json_int(builder, "width", node->link.width);
    }
    if (node->group >= 0) {
        g_autofree char *group = g_strdup_printf("p2p%d", node->group);

        tool_json_string(builder, "p2p-group", group);
    }
    if (node->clique >= 0) {
        tool_json_int(builder, "nv-gpudirect-clique", node->clique);
    }
    json_builder_end_object(builder);
}

static void json_pairs(JsonBuilder *builder, const P2PPlan *plan)
{
    for (guint i = 0; i < plan->devices->len; i++) {
        for (guint j = i + 1; j < plan->devices->len; j++) {
            const P2PPlanNode *a = plan->devices->pdata[i];
            const P2PPlanNode *b = plan->devices->pdata[j];
            P2PVerdict verdict = p2p_topology_verdict(plan->guest, a->guest,
                                                      b->guest);
            g_autofree char *why = p2p_topology_reason(plan->guest, a->guest,
                                                       b->guest);

            json_builder_begin_object(builder);
            tool_json_string(builder, "a", a->guest->bdf);
            tool_json_string(builder, "b", b->guest->bdf);
            tool_json_verdict(builder, &verdict);
            tool_json_string(builder, "reason", why);
            json_builder_end_object(builder);
        }
    }
}

void plan_print_json(const P2PPlan *plan)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_object(builder);
    tool_json_int(builder, "memory", plan->memory);
    tool_json_int(builder, "physical-bits", plan->physical_bits);
    tool_json_int(builder, "pci-hole64-start", plan->hole64_start);
    tool_json_int(builder, "pci-hole64-size", plan->hole64_size);
    tool_json_int(builder, "p2p-groups", plan->groups);
    json_builder_set_member_name(builder, "host-numa-nodes");
    json_builder_begin_array(builder);
    for (int i = 0; i < plan->numa_nodes; i++) {
        json_builder_add_int_value(builder, plan->host_nodes[i]);
    }
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "nodes");
    json_builder_begin_array(builder);
    for (guint i = 0; i < plan->nodes->len; i++) {
        json_node(builder, plan->nodes->pdata[i]);
    }
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "guest-pairs");
    json_builder_begin_array(builder);
    json_pairs(builder, plan);
    json_builder_end_array(builder);
    json_strings(builder, "problems", plan->problems);
    json_strings(builder, "notes", plan->notes);
    json_builder_end_object(builder);
    tool_print_json(json_builder_get_root(builder));
}
