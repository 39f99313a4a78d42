/*
 * A plan as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "plan.h"
#include "show.h"

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
    tool_json_strings(builder, "problems", plan->problems);
    tool_json_strings(builder, "notes", plan->notes);
    json_builder_end_object(builder);
    tool_print_json(json_builder_get_root(builder));
}
