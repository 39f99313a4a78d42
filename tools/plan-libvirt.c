/*
 * A plan as elements of a libvirt domain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include "plan.h"

#define MiB (G_GUINT64_CONSTANT(1) << 20)

/* libvirt counts PCI controllers; pcie-root is 0, and has no node. */
static unsigned index_of(const P2PPlan *plan, const P2PPlanNode *node)
{
    unsigned index = 0;

    for (guint i = 0; node && i < plan->nodes->len; i++) {
        const P2PPlanNode *other = plan->nodes->pdata[i];

        index += other->kind != P2P_PLAN_DEVICE;
        if (other == node) {
            return index;
        }
    }
    return 0;
}

static void print_address(const P2PPlan *plan, const P2PPlanNode *node)
{
    printf("    <address type='pci' domain='0x0000' bus='0x%02x' "
           "slot='0x%02x' function='0x%x'%s/>\n",
           index_of(plan, node->parent), node->slot, node->function,
           node->multifunction ? " multifunction='on'" : "");
}

static void print_controller(const P2PPlan *plan, const P2PPlanNode *node)
{
    static const char *const models[] = {
        [P2P_PLAN_HOST_BRIDGE] = "pcie-expander-bus",
        [P2P_PLAN_ROOT_PORT] = "pcie-root-port",
        [P2P_PLAN_UPSTREAM] = "pcie-switch-upstream-port",
        [P2P_PLAN_DOWNSTREAM] = "pcie-switch-downstream-port",
    };

    printf("  <controller type='pci' index='%u' model='%s'>\n",
           index_of(plan, node), models[node->kind]);
    switch (node->kind) {
    case P2P_PLAN_HOST_BRIDGE:
        printf("    <target busNr='%u'>\n", node->secondary);
        if (node->numa_node >= 0) {
            printf("      <node>%d</node>\n", node->numa_node);
        }
        puts("    </target>");
        break;
    case P2P_PLAN_ROOT_PORT:
        printf("    <target chassis='%u' port='0x%x'/>\n", node->number + 1,
               node->slot << 3 | node->function);
        break;
    case P2P_PLAN_DOWNSTREAM:
        printf("    <target chassis='%u' port='0x%x'/>\n",
               128 + node->number, node->slot);
        break;
    default:
        break;
    }
    print_address(plan, node);
    puts("  </controller>");
}

static void print_hostdev(const P2PPlan *plan, const P2PPlanNode *node)
{
    unsigned domain, bus, slot, function;
    g_auto(GStrv) parts = g_strsplit_set(node->host->bdf, ":.", -1);

    domain = strtoul(parts[0], NULL, 16);
    bus = strtoul(parts[1], NULL, 16);
    slot = strtoul(parts[2], NULL, 16);
    function = strtoul(parts[3], NULL, 16);
    puts("  <hostdev mode='subsystem' type='pci' managed='yes'>");
    printf("    <source><address domain='0x%04x' bus='0x%02x' slot='0x%02x' "
           "function='0x%x'/></source>\n", domain, bus, slot, function);
    printf("    <alias name='ua-%s'/>\n", node->id);
    print_address(plan, node);
    puts("  </hostdev>");
}

static void print_metadata(const P2PPlan *plan)
{
    puts("<metadata>");
    for (unsigned i = 0; i < plan->groups; i++) {
        printf("  <p2p:group xmlns:p2p='" P2P_DOMAIN_NAMESPACE
               "' name='p2p%u'>\n", i);
        for (guint j = 0; j < plan->devices->len; j++) {
            const P2PPlanNode *node = plan->devices->pdata[j];

            if (node->group == (int)i) {
                printf("    <p2p:member alias='ua-%s'/>\n", node->id);
            }
        }
        puts("  </p2p:group>");
    }
    puts("</metadata>");
}

void plan_print_libvirt(const P2PPlan *plan)
{
    puts("<!-- Parts of a domain: merge them, and let qemu-p2p xml add what "
         "QEMU is to be told of\n     the groups. -->");
    printf("<memory unit='MiB'>%" G_GUINT64_FORMAT "</memory>\n",
           plan->memory / MiB);
    if (plan->physical_bits) {
        printf("<cpu mode='host-passthrough'>\n"
               "  <maxphysaddr mode='passthrough' limit='%u'/>\n</cpu>\n",
               plan->physical_bits);
    }
    if (plan->groups) {
        print_metadata(plan);
    }
    puts("<devices>");
    printf("  <controller type='pci' index='0' model='pcie-root'>\n"
           "    <pcihole64 unit='KiB'>%" G_GUINT64_FORMAT "</pcihole64>\n"
           "  </controller>\n", plan->hole64_size / 1024);
    for (guint i = 0; i < plan->nodes->len; i++) {
        const P2PPlanNode *node = plan->nodes->pdata[i];

        if (node->kind == P2P_PLAN_DEVICE) {
            print_hostdev(plan, node);
        } else {
            print_controller(plan, node);
        }
    }
    puts("</devices>");
}
