/*
 * A plan as the guest's kernel will see it
 *
 * Made of the same structures as the host, so that the same rules tell what
 * the guest decides.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "host-internal.h"
#include "plan-internal.h"

/* What QEMU's ports say of themselves. */
static const struct {
    uint16_t vendor, device;
    P2PPortType type;
    bool has_acs;
} ports[] = {
    [P2P_PLAN_ROOT_PORT] = { 0x1b36, 0x000c, P2P_PORT_ROOT, true },
    [P2P_PLAN_UPSTREAM] = { 0x104c, 0x8232, P2P_PORT_UPSTREAM, false },
    [P2P_PLAN_DOWNSTREAM] = { 0x104c, 0x8233, P2P_PORT_DOWNSTREAM, false },
};

static P2PFunction *add_function(P2PHost *guest, const P2PFunction *parent,
                                 unsigned root_bus, unsigned bus,
                                 unsigned slot, unsigned function)
{
    P2PFunction *f = g_new0(P2PFunction, 1);

    f->bdf = g_strdup_printf("0000:%02x:%02x.%x", bus, slot, function);
    f->root_bus = g_strdup_printf("0000:%02x", root_bus);
    f->host_path = g_strdup("");
    f->parent = parent;
    f->depth = parent ? parent->depth + 1 : 0;
    f->numa_node = -1;
    f->acs = P2P_ACS_DIRECT;
    f->decodes_memory = true;
    f->detailed = true;
    g_hash_table_insert(guest->functions, f->bdf, f);
    return f;
}

static const P2PPlanNode *host_bridge_of(const P2PPlanNode *node)
{
    while (node && node->kind != P2P_PLAN_HOST_BRIDGE) {
        node = node->parent;
    }
    return node;
}

static void add_planned(P2PHost *guest, P2PPlanNode *node)
{
    const P2PPlanNode *bridge = host_bridge_of(node);
    const P2PFunction *parent = node->parent ? node->parent->guest : NULL;
    P2PFunction *f = add_function(guest, parent,
                                  bridge ? bridge->secondary : 0, node->bus,
                                  node->slot, node->function);

    f->numa_node = bridge ? bridge->numa_node : -1;
    if (node->kind == P2P_PLAN_DEVICE) {
        f->vendor = node->host->vendor;
        f->device = node->host->device;
        f->class_code = node->host->class_code;
        f->type = P2P_PORT_ENDPOINT;
    } else {
        f->vendor = ports[node->kind].vendor;
        f->device = ports[node->kind].device;
        f->type = ports[node->kind].type;
        f->has_acs = ports[node->kind].has_acs;
        f->bridge = true;
    }
    node->guest = f;
}

P2PHost *p2p_plan_guest(P2PPlan *plan)
{
    const P2PHostCpu *cpu = p2p_host_cpu(plan->host);
    P2PHost *guest = p2p_host_new("");
    P2PFunction *q35 = add_function(guest, NULL, 0, 0, 0, 0);

    q35->vendor = 0x8086;
    q35->device = 0x29c0;
    q35->type = P2P_PORT_CONVENTIONAL;
    guest->cpu = (P2PHostCpu) {
        .vendor = g_strdup(cpu->vendor),
        .family = cpu->family,
        .physical_bits = plan->physical_bits,
    };
    guest->cpu_read = true;
    for (guint i = 0; i < plan->nodes->len; i++) {
        P2PPlanNode *node = plan->nodes->pdata[i];

        if (node->kind != P2P_PLAN_HOST_BRIDGE) {
            add_planned(guest, node);
        }
    }
    p2p_host_is_complete(guest);
    return guest;
}
