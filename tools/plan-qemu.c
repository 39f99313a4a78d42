/*
 * A plan as QEMU's options
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "plan.h"

#define MiB (G_GUINT64_CONSTANT(1) << 20)

static const char *bus_of(const P2PPlanNode *node)
{
    return node->parent ? node->parent->id : "pcie.0";
}

/* QEMU's x-speed: "2_5", "8" etc.; x-width: lanes. */
static void print_link(P2PLink link)
{
    if (link.speed && link.width) {
        if (link.speed == 2500) {
            printf(",x-speed=2_5");
        } else {
            printf(",x-speed=%u", link.speed / 1000);
        }
        printf(",x-width=%u", link.width);
    }
}

static void print_address(const P2PPlanNode *node)
{
    printf(",bus=%s,addr=0x%x.0x%x%s", bus_of(node), node->slot,
           node->function, node->multifunction ? ",multifunction=on" : "");
}

static void print_device(const P2PPlanNode *node)
{
    printf("vfio-pci,id=%s,host=%s", node->id, node->host->bdf);
    print_address(node);
    if (node->group >= 0) {
        printf(",p2p-group=p2p%d", node->group);
    }
    if (node->clique >= 0) {
        printf(",x-nv-gpudirect-clique=%d", node->clique);
    }
}

static void print_node(const P2PPlanNode *node)
{
    printf(" \\\n  -device ");
    switch (node->kind) {
    case P2P_PLAN_HOST_BRIDGE:
        printf("pxb-pcie,id=%s,bus_nr=%u,bus=pcie.0,addr=0x%x", node->id,
               node->secondary, node->slot);
        if (node->numa_node >= 0) {
            printf(",numa_node=%d", node->numa_node);
        }
        break;
    case P2P_PLAN_ROOT_PORT:
        printf("pcie-root-port,id=%s,chassis=%u", node->id,
               node->chassis);
        print_address(node);
        print_link(node->link);
        break;
    case P2P_PLAN_UPSTREAM:
        printf("x3130-upstream,id=%s", node->id);
        print_address(node);
        break;
    case P2P_PLAN_DOWNSTREAM:
        printf("xio3130-downstream,id=%s,chassis=%u", node->id,
               node->chassis);
        print_address(node);
        break;
    case P2P_PLAN_DEVICE:
        print_device(node);
        break;
    }
}

/* Memory of the host's nodes that the devices are on, in equal parts. */
static void print_numa(const P2PPlan *plan)
{
    uint64_t part = plan->memory / MAX(plan->numa_nodes, 1) / MiB;
    uint64_t rest = plan->memory / MiB;

    for (int i = 0; i < plan->numa_nodes; i++) {
        uint64_t size = i + 1 == plan->numa_nodes ? rest : part;

        printf(" \\\n  -object memory-backend-ram,id=p2p-ram%d,size=%"
               G_GUINT64_FORMAT "M,host-nodes=%d,policy=bind", i, size,
               plan->host_nodes[i]);
        printf(" \\\n  -numa node,nodeid=%d,memdev=p2p-ram%d", i, i);
        rest -= size;
    }
}

void plan_print_qemu(const P2PPlan *plan)
{
    for (guint i = 0; i < plan->devices->len; i++) {
        const P2PPlanNode *node = plan->devices->pdata[i];
        g_autofree char *class_name = tool_class_name(node->host);

        printf("# host %s  guest %s  %s\n", node->host->bdf,
               node->guest->bdf, class_name);
    }
    plan_print_guest(plan, "# ");
    printf("qemu-system-x86_64 -machine q35,accel=kvm -m %" G_GUINT64_FORMAT
           "M", plan->memory / MiB);
    printf(" \\\n  -cpu host,host-phys-bits=on");
    if (plan->physical_bits) {
        printf(",host-phys-bits-limit=%u", plan->physical_bits);
    }
    printf(" \\\n  -global q35-pcihost.pci-hole64-size=%" G_GUINT64_FORMAT "M",
           plan->hole64_size / MiB);
    print_numa(plan);
    for (unsigned i = 0; i < plan->groups; i++) {
        printf(" \\\n  -object p2p-group,id=p2p%u", i);
    }
    for (guint i = 0; i < plan->nodes->len; i++) {
        print_node(plan->nodes->pdata[i]);
    }
    putchar('\n');
}
