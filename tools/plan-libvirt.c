/*
 * A plan as a libvirt domain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include "plan.h"

#define PROGRAM "qemu-system-x86_64"

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
    printf("      <address type='pci' domain='0x0000' bus='0x%02x' "
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

    printf("    <controller type='pci' index='%u' model='%s'>\n",
           index_of(plan, node), models[node->kind]);
    switch (node->kind) {
    case P2P_PLAN_HOST_BRIDGE:
        printf("      <target busNr='%u'>\n", node->secondary);
        if (node->numa_node >= 0) {
            printf("        <node>%d</node>\n", node->numa_node);
        }
        puts("      </target>");
        break;
    case P2P_PLAN_ROOT_PORT:
        printf("      <target chassis='%u' port='0x%x'/>\n", node->chassis,
               node->slot << 3 | node->function);
        break;
    case P2P_PLAN_DOWNSTREAM:
        printf("      <target chassis='%u' port='0x%x'/>\n",
               node->chassis, node->slot);
        break;
    default:
        break;
    }
    print_address(plan, node);
    puts("    </controller>");
}

static void print_hostdev(const P2PPlan *plan, const P2PPlanNode *node)
{
    unsigned domain, bus, slot, function;
    g_auto(GStrv) parts = g_strsplit_set(node->host->bdf, ":.", -1);

    domain = strtoul(parts[0], NULL, 16);
    bus = strtoul(parts[1], NULL, 16);
    slot = strtoul(parts[2], NULL, 16);
    function = strtoul(parts[3], NULL, 16);
    puts("    <hostdev mode='subsystem' type='pci' managed='yes'>");
    printf("      <source><address domain='0x%04x' bus='0x%02x' slot='0x%02x' "
           "function='0x%x'/></source>\n", domain, bus, slot, function);
    printf("      <alias name='ua-%s'/>\n", node->id);
    print_address(plan, node);
    puts("    </hostdev>");
}

static void print_metadata(const P2PPlan *plan)
{
    puts("  <metadata>");
    for (unsigned i = 0; i < plan->groups; i++) {
        printf("    <p2p:group xmlns:p2p='" P2P_DOMAIN_NAMESPACE
               "' name='p2p%u'>\n", i);
        for (guint j = 0; j < plan->devices->len; j++) {
            const P2PPlanNode *node = plan->devices->pdata[j];

            if (node->group == (int)i) {
                printf("      <p2p:member alias='ua-%s'/>\n", node->id);
            }
        }
        puts("    </p2p:group>");
    }
    puts("  </metadata>");
}

/*
 * QEMU with p2p-group is installed, or built, together with this program.
 */
static char *find_emulator(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    static const char *const places[] = { ".", "../../qemu" };

    for (size_t i = 0; folder && i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_build_filename(folder, places[i], PROGRAM,
                                                 NULL);
        char *real = g_canonicalize_filename(path, NULL);

        if (g_file_test(real, G_FILE_TEST_IS_EXECUTABLE)) {
            return real;
        }
        g_free(real);
    }
    return g_strdup("/usr/local/bin/" PROGRAM);
}

static unsigned count_cpus(const P2PPlan *plan)
{
    return MAX(2, plan->numa_nodes);
}

/* Where each part of the guest's RAM comes from. */
static void print_memory(const P2PPlan *plan)
{
    printf("  <memory unit='MiB'>%" G_GUINT64_FORMAT "</memory>\n"
           "  <vcpu>%u</vcpu>\n", plan->memory / MiB, count_cpus(plan));
    if (plan->numa_nodes == 0) {
        return;
    }
    puts("  <numatune>");
    for (int i = 0; i < plan->numa_nodes; i++) {
        printf("    <memnode cellid='%d' mode='strict' nodeset='%d'/>\n", i,
               plan->host_nodes[i]);
    }
    puts("  </numatune>");
}

static void print_cells(const P2PPlan *plan)
{
    uint64_t part = plan->memory / MAX(plan->numa_nodes, 1) / MiB;
    uint64_t rest = plan->memory / MiB;

    if (plan->numa_nodes == 0) {
        return;
    }
    puts("    <numa>");
    for (int i = 0; i < plan->numa_nodes; i++) {
        bool last = i + 1 == plan->numa_nodes;

        printf("      <cell id='%d' cpus='%d", i, i);
        if (last && i + 1 < (int)count_cpus(plan)) {
            printf("-%u", count_cpus(plan) - 1);
        }
        printf("' memory='%" G_GUINT64_FORMAT "' unit='MiB'/>\n",
               last ? rest : part);
        rest -= part;
    }
    puts("    </numa>");
}

/* As many physical bits as the plan needs: firmware places BARs by them. */
static void print_cpu(const P2PPlan *plan, bool kvm)
{
    printf("  <cpu mode='%s'>\n", kvm ? "host-passthrough" : "maximum");
    if (plan->physical_bits) {
        printf("    <maxphysaddr mode='emulate' bits='%u'/>\n",
               plan->physical_bits);
    }
    print_cells(plan);
    puts("  </cpu>");
}

static void print_devices(const P2PPlan *plan)
{
    g_autofree char *emulator = find_emulator();
    g_autofree char *safe = g_markup_escape_text(emulator, -1);

    puts("  <devices>");
    printf("    <emulator>%s</emulator>\n", safe);
    printf("    <controller type='pci' index='0' model='pcie-root'>\n"
           "      <pcihole64 unit='KiB'>%" G_GUINT64_FORMAT "</pcihole64>\n"
           "    </controller>\n", plan->hole64_size / 1024);
    for (guint i = 0; i < plan->nodes->len; i++) {
        const P2PPlanNode *node = plan->nodes->pdata[i];

        if (node->kind == P2P_PLAN_DEVICE) {
            print_hostdev(plan, node);
        } else {
            print_controller(plan, node);
        }
    }
    puts("    <serial type='pty'/>\n"
         "    <memballoon model='none'/>\n"
         "  </devices>");
}

void plan_print_libvirt(const P2PPlan *plan)
{
    bool kvm = *p2p_host_sysroot(plan->host) ||
               g_file_test("/dev/kvm", G_FILE_TEST_EXISTS);

    printf("<domain type='%s'>\n  <name>p2p-vm</name>\n",
           kvm ? "kvm" : "qemu");
    if (plan->groups) {
        print_metadata(plan);
    }
    print_memory(plan);
    puts("  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n  </os>\n"
         "  <features>\n    <acpi/>\n  </features>");
    print_cpu(plan, kvm);
    print_devices(plan);
    puts("</domain>");
}
