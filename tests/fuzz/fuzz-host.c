/*
 * Fuzz target: a host's tree, damaged as the input says
 *
 * The input is a list of damages, each of an operation, the place, and what it
 * takes.  Where it ends, all that is still asked for is 0.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "hw/p2p/bus-address.h"
#include "hw/p2p/plan.h"
#include "hw/p2p/topology.h"
#include "machine.h"

enum {
    MOST_DAMAGES = 16,
    MOST_PAIRS = 24,            /* squared: pairs that are explained */
};

/* --- The input --- */

typedef struct Input {
    const uint8_t *data;
    size_t n;
} Input;

static uint8_t read_byte(Input *input)
{
    if (input->n == 0) {
        return 0;
    }
    input->n--;
    return *input->data++;
}

static const uint8_t *read_bytes(Input *input, size_t *n)
{
    const uint8_t *bytes = input->data;

    *n = MIN(*n, input->n);
    input->data += *n;
    input->n -= *n;
    return bytes;
}

/* --- The tree --- */

#define TOP "pci0000:00/0000:00:01.0/0000:01:00.0"

static const char *const ways[] = {
    "pci0000:00/0000:00:00.0", "pci0000:00/0000:00:01.0", TOP,
    TOP "/0000:02:00.0", TOP "/0000:02:01.0",
    TOP "/0000:02:00.0/0000:03:00.0", TOP "/0000:02:01.0/0000:04:00.0",
    TOP "/0000:02:01.0/0000:04:00.1", "pci0000:40/0000:40:02.0",
    "pci0000:40/0000:40:02.0/0000:41:00.0",
};

static const int types[] = {
    TYPE_CONVENTIONAL, TYPE_ROOT_PORT, TYPE_UPSTREAM, TYPE_DOWNSTREAM,
    TYPE_DOWNSTREAM, TYPE_ENDPOINT, TYPE_ENDPOINT, TYPE_ENDPOINT,
    TYPE_ROOT_PORT, TYPE_ENDPOINT,
};

/* Below a function's folder, then below the root. */
static const char *const files[] = {
    "config", "resource", "vendor", "device", "class", "numa_node",
    "power_state", "current_link_speed", "current_link_width",
    "max_link_speed", "p2pmem/published", "p2pmem/size", "p2pmem/available",
    "driver", "iommu", "iommu_group", "physfn", "p2pmem", "",
};

static const char *const root_files[] = {
    "proc/cpuinfo", "sys/class/iommu/dmar0/intel-iommu/cap",
    "sys/class/iommu/ivhd0/amd-iommu/features",
    "sys/kernel/iommu_groups/1/type",
    "sys/kernel/iommu_groups/1/reserved_regions",
    "sys/kernel/iommu_groups", "sys/bus/pci/devices",
};

/* Each BAR is where the ports above let it be reached. */
#define BAR_SIZE  0x1000000
#define BAR(i)    (0x80000000 + (uint64_t)(i) * BAR_SIZE)

static MachineWindow window_of(size_t i)
{
    switch (i) {
    case 1:
    case 2:
        return (MachineWindow) { BAR(5), BAR(8) - 1 };
    case 3:
        return (MachineWindow) { BAR(5), BAR(6) - 1 };
    case 4:
        return (MachineWindow) { BAR(6), BAR(8) - 1 };
    case 8:
        return (MachineWindow) { BAR(9), BAR(10) - 1 };
    default:
        return (MachineWindow) { 0, 0 };
    }
}

static Machine make_tree(void)
{
    Machine machine = machine_new();

    machine_cpu_bits(&machine, "GenuineIntel", 6, 46);
    machine_iommu(&machine, "dmar0", 48);
    machine_iommu(&machine, "ivhd0", 48);
    machine_group(&machine, 1, "DMA",
                  "0x00000000fee00000 0x00000000feefffff msi\n");
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        machine_function(&machine, &(MachineFunction) {
            .way = ways[i], .type = types[i], .acs = i % 7 ? NO_ACS : 0x1d,
            .acs_capability = 0x5f, .ats = true, .vendor = 0x8086,
            .device = 0x29c0, .decode = true, .power = "D0",
            .link = { 8, 4 }, .max_link = { 16, 4 }, .group = 1,
            .iommu = i % 2 ? "dmar0" : "ivhd0", .driver = "vfio-pci",
            .physical_function = i == 7 ? "0000:04:00.0" : NULL,
            .bars[0] = { BAR(i), BAR_SIZE, false, true, true },
            .prefetchable = window_of(i),
            .p2pmem_size = 0x10000, .config_size = CONFIG_SIZE,
        });
    }
    return machine;
}

/* --- Damages --- */

static void remove_any(const char *path)
{
    /* What is full goes out of the way, and with the tree in the end. */
    if (remove(path) < 0) {
        g_autofree char *away = g_strconcat(path, ".away", NULL);

        if (rename(path, away) < 0) {
            return;
        }
    }
}

static void write_garbage(Input *input, const char *path)
{
    size_t n = read_byte(input);
    const uint8_t *bytes = read_bytes(input, &n);
    FILE *file;

    /* Nothing may follow a link out of the tree, or wait. */
    remove_any(path);
    file = fopen(path, "wx");
    if (file) {
        fwrite(bytes, 1, n, file);
        fclose(file);
    }
}

static void write_absurd(Input *input, const char *path)
{
    static const char *const texts[] = {
        "0xffffffffffffffff 0xffffffffffffffff 0xffffffffffffffff\n",
        "0x0000000000000000 0xffffffffffffffff 0x000000000014220c\n",
        "0x0000000000000001 0x0000000000000000 0x000000000014220c\n",
        "0x8000000000000000 0xffffffffffffffff 0x000000000014220c\n",
        "999999999999999999999999999999\n", "-1\n", "0x\n", "1e308 GT/s PCIe\n",
        "nan GT/s PCIe\n", "\n\n\n\n\n\n", "vendor_id\t: AuthenticAMD\n"
        "cpu family\t: 18446744073709551615\naddress sizes : 999 bits\n",
    };
    const char *text = texts[read_byte(input) % G_N_ELEMENTS(texts)];
    FILE *file;

    remove_any(path);
    file = fopen(path, "wx");
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static void poke(Input *input, const char *path)
{
    unsigned at = read_byte(input) | read_byte(input) << 8;
    size_t n = 1 + read_byte(input) % 8;
    const uint8_t *bytes = read_bytes(input, &n);
    struct stat st;
    FILE *file = lstat(path, &st) == 0 && S_ISREG(st.st_mode)
                 ? fopen(path, "r+") : NULL;

    if (file) {
        fseek(file, at % CONFIG_SIZE, SEEK_SET);
        fwrite(bytes, 1, n, file);
        fclose(file);
    }
}

static void cut(Input *input, const char *path)
{
    unsigned n = read_byte(input) | read_byte(input) << 8;
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && n < st.st_size &&
        truncate(path, n) < 0) {
        return;
    }
}

static void relink(Input *input, const char *path)
{
    static const char *const targets[] = {
        "self", "..", "/dev/zero", "/proc/self/mem", "", "\xff\x1b[31m",
        "../../../devices/pci0000:00/0000:00:01.0/0000:04:00.0",
        "../../../devices/pci0000:40/0000:40:02.0/0000:04:00.0",
        "../../../devices/pci0000:00/0000:00:01.0/0000:00:01.0",
        "../../../devices/pci0000:00/0000:01:00.0/0000:00:01.0/0000:01:00.0",
        "../../../devices/pci10000:e0/10000:e0:00.0/0000:41:00.0",
    };
    unsigned i = read_byte(input) % (G_N_ELEMENTS(targets) + 1);
    size_t n = 40;
    const uint8_t *bytes;
    g_autofree char *target = NULL;

    if (i < G_N_ELEMENTS(targets)) {
        target = g_strdup(i ? targets[i] : strrchr(path, '/') + 1);
    } else {
        bytes = read_bytes(input, &n);
        target = g_strndup((const char *)bytes, n);
    }
    remove_any(path);
    if (symlink(target, path) < 0) {
        return;
    }
}

/* Functions of which there is nothing but the link. */
static void add_links(Input *input, const Machine *machine)
{
    unsigned domain = 1 + read_byte(input), n = read_byte(input);

    for (unsigned i = 0; i < n; i++) {
        g_autofree char *bdf = g_strdup_printf("%04x:%02x:%02x.0", domain, i,
                                               i % 32);
        g_autofree char *path = g_strdup_printf(
            "%s/sys/bus/pci/devices/%s", machine->root, bdf);
        g_autofree char *target = g_strdup_printf(
            "../../../devices/pci%04x:%02x/%s", domain, i, bdf);

        if (symlink(target, path) < 0) {
            return;
        }
    }
}

static char *read_place(Input *input, const Machine *machine)
{
    unsigned i = read_byte(input), file = read_byte(input);
    const char *way, *name;

    if (i % 16 >= G_N_ELEMENTS(ways)) {
        return g_strdup_printf("%s/%s", machine->root,
                               root_files[file % G_N_ELEMENTS(root_files)]);
    }
    way = ways[i % 16];
    name = files[file % G_N_ELEMENTS(files)];
    /* No file: the function's link itself */
    return *name ? g_strdup_printf("%s/sys/devices/%s/%s", machine->root, way,
                                   name)
                 : g_strdup_printf("%s/sys/bus/pci/devices/%s", machine->root,
                                   strrchr(way, '/') + 1);
}

static void damage(Input *input, const Machine *machine)
{
    uint8_t operation = read_byte(input);
    g_autofree char *path = read_place(input, machine);

    switch (operation % 10) {
    case 0:
        write_garbage(input, path);
        break;
    case 1:
    case 2:
        poke(input, path);
        break;
    case 3:
        cut(input, path);
        break;
    case 4:
        remove_any(path);
        break;
    case 5:
        remove_any(path);
        if (mkdir(path, 0700) < 0) {
            return;
        }
        break;
    case 6:
        remove_any(path);
        if (mkfifo(path, 0600) < 0) {
            return;
        }
        break;
    case 7:
        write_absurd(input, path);
        break;
    case 8:
        relink(input, path);
        break;
    default:
        add_links(input, machine);
        break;
    }
}

/* --- What must hold --- */

static void check_text(const char *text)
{
    /* GLib's own messages have quotation marks that are not ASCII. */
    g_assert(text && g_utf8_validate(text, -1, NULL));
    for (const char *c = text; *c; c++) {
        g_assert(!g_ascii_iscntrl(*c));
    }
}

static void check_function(const P2PFunction *f)
{
    g_assert(f->detailed);
    g_assert(!f->parent || f->depth == f->parent->depth + 1);
    if (f->driver) {
        check_text(f->driver);
    }
    for (unsigned i = 0; i < P2P_BARS; i++) {
        uint64_t size = f->bars[i].size;

        g_assert((size & (size - 1)) == 0);
    }
}

static void check_pair(P2PHost *host, const P2PFunction *a,
                       const P2PFunction *b)
{
    g_autofree char *reason = p2p_topology_reason(host, a, b);
    g_autofree char *root_complex = p2p_topology_root_complex(host, a, b);
    g_autoptr(GPtrArray) remedies = p2p_topology_remedies(host, a, b);

    check_text(reason);
    check_text(root_complex);
    for (guint i = 0; i < remedies->len; i++) {
        check_text(remedies->pdata[i]);
    }
}

/*
 * Everything belongs to the VM, which has little memory: yes only if the way is
 * what the topology rules say it has to be, and then the BAR's address.
 */
static void check_bus_address(P2PHost *host, const P2PFunction *initiator,
                              const P2PFunction *target,
                              const GPtrArray *functions)
{
    const P2PBusRange reach = { 0, 0x10000 };
    g_autoptr(GPtrArray) owned = g_ptr_array_new();
    g_autofree char *why = NULL;
    P2PBusAddr address = { 0 };
    P2PBusRequest request = {
        .enabled = true, .initiator = initiator->bdf, .target = target->bdf,
        .bar_size = target->bars[0].size, .offset = 0x1000, .size = 0x1000,
        .reach = &reach, .n_reach = 1,
    };
    P2PVerdict verdict = p2p_topology_verdict(host, initiator, target);
    P2PBusObstacle obstacle;

    for (guint i = 0; i < functions->len; i++) {
        g_ptr_array_add(owned, ((P2PFunction *)functions->pdata[i])->bdf);
    }
    request.owned = (const char *const *)owned->pdata;
    request.n_owned = owned->len;
    obstacle = p2p_bus_address(host, &request, &address, &why);
    g_assert((obstacle == P2P_BUS_NONE) == (why == NULL));
    if (obstacle != P2P_BUS_NONE) {
        check_text(why);
        return;
    }
    g_assert(initiator != target && verdict.map_type == P2P_MAP_BUS_ADDR);
    g_assert(address.bus == target->bars[0].start + 0x1000);
    g_assert(address.bus == target->bar_addresses[0] + 0x1000);
    request.n_owned = 0;
    g_assert(p2p_bus_address(host, &request, &address, NULL) ==
             P2P_BUS_STRANGER);
}

/* Whatever the functions are: a plan, or a reason. */
static void check_plan(P2PHost *host, const GPtrArray *functions)
{
    static const uint64_t memories[] = { 1ull << 30, 1020ull << 30 };
    g_autoptr(GPtrArray) devices = g_ptr_array_new();

    for (guint i = 0; i < functions->len; i++) {
        const P2PFunction *function = functions->pdata[i];

        if (!function->bridge) {
            g_ptr_array_add(devices, (void *)function);
        }
    }
    for (size_t i = 0; devices->len && i < G_N_ELEMENTS(memories); i++) {
        P2PPlanOptions options = { .memory = memories[i] };
        g_autofree char *why = NULL;
        g_autoptr(P2PPlan) plan = p2p_plan_new(host, devices, &options, &why);

        if (!plan) {
            check_text(why);
            continue;
        }
        g_assert(plan->devices->len == devices->len);
        g_assert(plan->physical_bits <= 52);
        for (guint j = 0; j < plan->problems->len; j++) {
            check_text(plan->problems->pdata[j]);
        }
    }
}

static void check_host(const char *root)
{
    g_autoptr(P2PHost) host = p2p_host_new(root);
    g_autoptr(GPtrArray) skipped = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *why = NULL;
    g_autoptr(GPtrArray) functions = p2p_host_list(host, skipped, &why);
    g_autoptr(P2PMatrix) matrix = NULL;

    if (!functions) {
        check_text(why);
        return;
    }
    for (guint i = 0; i < skipped->len; i++) {
        check_text(skipped->pdata[i]);
    }
    for (guint i = 0; i < functions->len; i++) {
        p2p_function_details(host, functions->pdata[i]);
    }
    matrix = p2p_matrix_new(host, functions);
    for (guint i = 0; i < functions->len; i++) {
        check_function(functions->pdata[i]);
    }
    for (guint i = 0; i < MIN(functions->len, MOST_PAIRS); i++) {
        for (guint j = 0; j < MIN(functions->len, MOST_PAIRS); j++) {
            const P2PFunction *a = functions->pdata[i];
            const P2PFunction *b = functions->pdata[j];
            P2PVerdict pair = p2p_topology_verdict(host, a, b);
            P2PVerdict all = p2p_matrix_verdict(matrix, i, j);

            g_assert(pair.path_class == all.path_class &&
                     pair.map_type == all.map_type &&
                     pair.unknown == all.unknown);
            check_pair(host, a, b);
            check_bus_address(host, a, b, functions);
        }
    }
    check_plan(host, functions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };
    g_auto(Machine) machine = make_tree();

    for (unsigned i = 0; i < MOST_DAMAGES && input.n > 0; i++) {
        damage(&input, &machine);
    }
    check_host(machine.root);
    return 0;
}
