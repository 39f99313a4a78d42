/*
 * A plan as NCCL's topology file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "plan.h"

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
