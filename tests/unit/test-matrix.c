/*
 * Verdicts by classes are those of the pairs, on trees made up at random; and
 * regular trees have few classes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"
#include "machine.h"

enum {
    TREES = 40,
    MOST_FUNCTIONS = 60,
    MOST_DEPTH = 7,             /* ports, of nested switches */
};

/* --- Trees at random ----------------------------------------------------- */

typedef struct Tree {
    const Machine *machine;
    unsigned functions;
    unsigned buses;             /* given out so far, of this domain */
    unsigned redirecting;       /* one of so many ports redirects */
    unsigned unreadable;        /* and so on */
} Tree;

static bool one_of(unsigned n)
{
    return g_test_rand_int_range(0, n) == 0;
}

static int random_acs(const Tree *tree)
{
    if (one_of(tree->redirecting)) {
        return one_of(2) ? ACS_SV | ACS_RR | ACS_CR | ACS_UF : ACS_EC;
    }
    return one_of(2) ? NO_ACS : one_of(2) ? 0 : ACS_DT;
}

/* Returns the way to it. */
static char *add_function(Tree *tree, const char *above, unsigned bus,
                          unsigned device, unsigned function, int type)
{
    char *way = g_strdup_printf("%s/0000:%02x:%02x.%u", above, bus, device,
                                function);
    const char *bdf = strrchr(way, '/') + 1;

    machine_add(tree->machine, way, type, random_acs(tree));
    tree->functions++;
    if (one_of(6)) {
        machine_text(tree->machine, bdf, "numa_node", one_of(2) ? "1\n"
                                                                : "0\n");
    }
    if (one_of(tree->unreadable)) {
        uint8_t config[CONFIG_SIZE];

        make_config(config, type, NO_ACS);
        machine_config(tree->machine, bdf, config, UNPRIVILEGED_SIZE);
    }
    return way;
}

static void add_below(Tree *tree, const char *above, unsigned depth);

static void add_switch(Tree *tree, const char *above, unsigned bus,
                       unsigned depth)
{
    g_autofree char *up = add_function(tree, above, bus, 0, 0, TYPE_UPSTREAM);
    unsigned inner = ++tree->buses;
    unsigned ports = g_test_rand_int_range(1, 6);

    for (unsigned i = 0; i < ports && tree->functions < MOST_FUNCTIONS; i++) {
        g_autofree char *down = add_function(tree, up, inner, i, 0,
                                             TYPE_DOWNSTREAM);

        add_below(tree, down, depth + 2);
    }
}

/* What is below a port: a device of one or more functions, or a switch. */
static void add_below(Tree *tree, const char *above, unsigned depth)
{
    unsigned bus = ++tree->buses;

    if (tree->functions >= MOST_FUNCTIONS || one_of(10)) {
        return;
    }
    if (depth < MOST_DEPTH && one_of(3)) {
        add_switch(tree, above, bus, depth);
        return;
    }
    for (unsigned i = one_of(4) ? g_test_rand_int_range(1, 4) : 1; i > 0;
         i--) {
        g_free(add_function(tree, above, bus, 0, i - 1, TYPE_ENDPOINT));
    }
}

static void add_root_bus(Tree *tree, unsigned bus)
{
    static const char *const bridges[] = {
        "0x29c0\n", "0x09a2\n", "0x3c00\n", "0x2030\n"
    };
    g_autofree char *root = g_strdup_printf("pci0000:%02x", bus);
    g_autofree char *bridge = g_strdup_printf("0000:%02x:00.0", bus);
    unsigned ports = g_test_rand_int_range(1, 6);

    tree->buses = bus;
    if (!one_of(8)) {
        g_free(add_function(tree, root, bus, 0, 0, TYPE_CONVENTIONAL));
        machine_ids(tree->machine, bridge, "0x8086\n",
                    bridges[g_test_rand_int_range(0, 4)]);
    }
    for (unsigned i = 1; i <= ports && tree->functions < MOST_FUNCTIONS;
         i++) {
        g_autofree char *way = NULL;

        if (one_of(5)) {
            g_free(add_function(tree, root, bus, i, 0, TYPE_INTEGRATED));
            continue;
        }
        way = add_function(tree, root, bus, i, 0, TYPE_ROOT_PORT);
        add_below(tree, way, 1);
    }
}

static void add_tree(const Machine *machine)
{
    Tree tree = {
        .machine = machine,
        .redirecting = one_of(2) ? 1000 : g_test_rand_int_range(1, 8),
        .unreadable = one_of(2) ? 1000 : g_test_rand_int_range(2, 12),
    };
    unsigned buses = g_test_rand_int_range(1, 5);

    machine_cpu(machine, one_of(6) ? "AuthenticAMD" : "GenuineIntel",
                one_of(2) ? 0x17 : 6);
    for (unsigned i = 0; i < buses; i++) {
        add_root_bus(&tree, i * 0x40);
    }
}

/* --- What must hold ------------------------------------------------------ */

static void shuffle(GPtrArray *functions)
{
    for (guint i = functions->len; i > 1; i--) {
        guint j = g_test_rand_int_range(0, i);
        void *swap = functions->pdata[i - 1];

        functions->pdata[i - 1] = functions->pdata[j];
        functions->pdata[j] = swap;
    }
}

static void check_equal(const P2PFunction *from, const P2PFunction *to,
                        P2PVerdict a, P2PVerdict b, const char *what)
{
    if (a.path_class != b.path_class || a.map_type != b.map_type ||
        a.unknown != b.unknown ||
        a.routed_by_root_complex != b.routed_by_root_complex) {
        g_error("%s to %s: %s: %s %s%s, and %s %s%s", from->host_path,
                to->host_path, what, p2p_path_class_str(a.path_class),
                p2p_verdict_str(&a), a.routed_by_root_complex ? " (rc)" : "",
                p2p_path_class_str(b.path_class), p2p_verdict_str(&b),
                b.routed_by_root_complex ? " (rc)" : "");
    }
}

static void check_matrix(P2PHost *host, const GPtrArray *functions)
{
    g_autoptr(P2PMatrix) matrix = p2p_matrix_new(host, functions);

    g_assert_cmpuint(p2p_matrix_classes(matrix), <=, functions->len);
    for (unsigned i = 0; i < functions->len; i++) {
        const P2PFunction *from = functions->pdata[i];

        g_assert_cmpuint(p2p_matrix_class(matrix, i), <,
                         p2p_matrix_classes(matrix));
        for (unsigned j = 0; j < functions->len; j++) {
            const P2PFunction *to = functions->pdata[j];
            P2PVerdict pair = p2p_topology_verdict(host, from, to);

            check_equal(from, to, p2p_matrix_verdict(matrix, i, j), pair,
                        "the matrix, and the pair");
            check_equal(from, to, pair, p2p_topology_verdict(host, to, from),
                        "one way, and back");
        }
    }
}

static void test_random_trees(void)
{
    unsigned verdicts = 0;

    for (unsigned i = 0; i < TREES; i++) {
        g_auto(Machine) machine = machine_new();
        g_autoptr(P2PHost) host = p2p_host_new(machine.root);
        g_autoptr(GPtrArray) functions = NULL;
        g_autofree char *why = NULL;

        add_tree(&machine);
        functions = p2p_host_list(host, NULL, &why);
        g_assert_nonnull(functions);
        check_matrix(host, functions);
        shuffle(functions);
        if (functions->len > 1) {
            g_ptr_array_set_size(functions,
                                 g_test_rand_int_range(1, functions->len));
        }
        check_matrix(host, functions);
        verdicts += functions->len * functions->len;
    }
    g_test_message("%u verdicts of parts of trees", verdicts);
}

/* --- Regular trees ------------------------------------------------------- */

typedef enum Part { ALL, ENDPOINTS } Part;

static void check_classes(const Machine *machine, Part part,
                          unsigned functions, unsigned classes)
{
    g_autoptr(P2PHost) host = p2p_host_new(machine->root);
    g_autofree char *why = NULL;
    g_autoptr(GPtrArray) list = p2p_host_list(host, NULL, &why);
    g_autoptr(P2PMatrix) matrix = NULL;

    g_assert_nonnull(list);
    for (guint i = list->len; part == ENDPOINTS && i-- > 0; ) {
        const P2PFunction *function = list->pdata[i];

        if (function->type != P2P_PORT_ENDPOINT) {
            g_ptr_array_remove_index(list, i);
        }
    }
    g_assert_cmpuint(list->len, ==, functions);
    check_matrix(host, list);
    matrix = p2p_matrix_new(host, list);
    g_assert_cmpuint(p2p_matrix_classes(matrix), ==, classes);
}

/* @bus, and the ones above it, below port @above. */
static void add_full_switch(const Machine *machine, const char *above,
                            unsigned bus, unsigned devices, int acs)
{
    for (unsigned i = 0; i < devices; i++) {
        g_autofree char *up = g_strdup_printf("%s/0000:%02x:00.0", above,
                                              bus);
        g_autofree char *down = g_strdup_printf("%s/0000:%02x:%02x.0", up,
                                                bus + 1, i);
        g_autofree char *device = g_strdup_printf("%s/0000:%02x:00.0", down,
                                                  bus + 2 + i);

        if (i == 0) {
            machine_add(machine, up, TYPE_UPSTREAM, NO_ACS);
        }
        machine_add(machine, down, TYPE_DOWNSTREAM, acs);
        machine_add(machine, device, TYPE_ENDPOINT, NO_ACS);
    }
}

static void test_one_switch(void)
{
    static const int acs[] = { NO_ACS, 0, ACS_RR };

    for (size_t i = 0; i < G_N_ELEMENTS(acs); i++) {
        g_auto(Machine) machine = machine_new();

        machine_cpu(&machine, "GenuineIntel", 6);
        machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, 0);
        add_full_switch(&machine, "pci0000:00/0000:00:01.0", 1, 8, acs[i]);
        check_classes(&machine, ENDPOINTS, 8, 1);
    }
}

/* Root port, upstream port, downstream ports, devices */
static void test_with_ports(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, 0);
    add_full_switch(&machine, "pci0000:00/0000:00:01.0", 1, 16, 0);
    check_classes(&machine, ALL, 34, 4);
}

/* One port of eight redirects: its device is not like the others. */
static void test_one_differs(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, 0);
    add_full_switch(&machine, "pci0000:00/0000:00:01.0", 1, 8, 0);
    machine_acs(&machine, "0000:02:03.0", TYPE_DOWNSTREAM, ACS_RR);
    check_classes(&machine, ENDPOINTS, 8, 2);
}

static void test_four_switches(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *port = g_strdup_printf("pci0000:00/0000:00:%02x.0",
                                                i + 1);

        machine_add(&machine, port, TYPE_ROOT_PORT, 0);
        add_full_switch(&machine, port, 1 + i * 10, 8, 0);
    }
    check_classes(&machine, ENDPOINTS, 32, 4);
}

/* Two host bridges with eight root ports each. */
static void test_root_ports(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "AuthenticAMD", 0x19);
    for (unsigned i = 0; i < 16; i++) {
        unsigned bus = i / 8 * 0x40;
        g_autofree char *port = g_strdup_printf(
            "pci0000:%02x/0000:%02x:%02x.0", bus, bus, i % 8);
        g_autofree char *device = g_strdup_printf("%s/0000:%02x:00.0", port,
                                                  bus + 1 + i % 8);

        machine_add(&machine, port, TYPE_ROOT_PORT, 0);
        machine_add(&machine, device, TYPE_ENDPOINT, NO_ACS);
    }
    check_classes(&machine, ENDPOINTS, 16, 2);
}

static void test_small(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    check_classes(&machine, ALL, 0, 0);
    machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, 0);
    check_classes(&machine, ALL, 1, 1);
    machine_add(&machine, "pci0000:00/0000:00:01.0/0000:01:00.0",
                TYPE_ENDPOINT, NO_ACS);
    check_classes(&machine, ENDPOINTS, 1, 1);
    check_classes(&machine, ALL, 2, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/matrix/small", test_small);
    g_test_add_func("/matrix/one-switch", test_one_switch);
    g_test_add_func("/matrix/with-ports", test_with_ports);
    g_test_add_func("/matrix/one-differs", test_one_differs);
    g_test_add_func("/matrix/four-switches", test_four_switches);
    g_test_add_func("/matrix/root-ports", test_root_ports);
    g_test_add_func("/matrix/random-trees", test_random_trees);
    return g_test_run();
}
