/*
 * The topology rules, on machines that the test writes down itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "hw/p2p/topology.h"
#include "machine.h"

#define HOST "0000:00:00.0"

/* What QEMU makes of -machine q35 with two drives. */
static Machine machine_flat(void)
{
    Machine machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/" HOST, TYPE_CONVENTIONAL, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:03.0", TYPE_ENDPOINT, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:04.0", TYPE_ENDPOINT, NO_ACS);
    return machine;
}

/* Two root ports with a drive each. */
static Machine machine_root_ports(void)
{
    Machine machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/" HOST, TYPE_CONVENTIONAL, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:02.0", TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:01.0/0000:01:00.0",
                TYPE_ENDPOINT, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:02.0/0000:02:00.0",
                TYPE_ENDPOINT, NO_ACS);
    return machine;
}

#define SWITCH "pci0000:00/0000:00:01.0/0000:01:00.0"

/* A switch with two drives, 03 and 04, the latter of two functions. */
static Machine machine_switch(void)
{
    Machine machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/" HOST, TYPE_CONVENTIONAL, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:01.0", TYPE_ROOT_PORT, 0);
    machine_add(&machine, SWITCH, TYPE_UPSTREAM, NO_ACS);
    machine_add(&machine, SWITCH "/0000:02:00.0", TYPE_DOWNSTREAM, 0);
    machine_add(&machine, SWITCH "/0000:02:01.0", TYPE_DOWNSTREAM, 0);
    machine_add(&machine, SWITCH "/0000:02:00.0/0000:03:00.0", TYPE_ENDPOINT,
                NO_ACS);
    machine_add(&machine, SWITCH "/0000:02:01.0/0000:04:00.0", TYPE_ENDPOINT,
                NO_ACS);
    machine_add(&machine, SWITCH "/0000:02:01.0/0000:04:00.1", TYPE_ENDPOINT,
                NO_ACS);
    return machine;
}

/*
 * @parts: what the reason must say, one after the other, '|' in between, '$'
 *     behind what it must end with.
 */
static void check(const Machine *machine, const char *initiator,
                  const char *target, P2PPathClass path_class,
                  P2PMapType map_type, bool routed, const char *parts)
{
    g_auto(GStrv) words = g_strsplit(parts, "|", -1);
    g_autofree char *said = NULL;
    P2PPath path;
    const char *at;
    unsigned i;

    p2p_topology_path(machine->root, initiator, target, &path);
    g_test_message("%s to %s: %s, %s: %s", initiator, target,
                   p2p_path_class_str(path.verdict.path_class),
                   p2p_map_type_str(path.verdict.map_type), path.reason);
    g_assert_cmpstr(p2p_path_class_str(path.verdict.path_class), ==,
                    p2p_path_class_str(path_class));
    g_assert_cmpstr(p2p_map_type_str(path.verdict.map_type), ==,
                    p2p_map_type_str(map_type));
    g_assert_cmpint(path.verdict.routed_by_root_complex, ==, routed);
    said = g_strdup_printf("%s$", path.reason);
    at = said;
    for (i = 0; words[i]; i++) {
        at = strstr(at, words[i]);
        if (!at) {
            g_error("no '%s' in: %s", words[i], said);
        }
    }
    p2p_path_clear(&path);
    g_assert_null(path.reason);
}

static void test_flat(void)
{
    g_auto(Machine) machine = machine_flat();

    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false,
          "no bridge|8086:29c0 at 0000:00:00.0 is not on Linux's list|"
          "GenuineIntel family 0x6|under one PCIe switch");
}

static void test_amd(void)
{
    g_auto(Machine) machine = machine_flat();

    machine_cpu(&machine, "AuthenticAMD", 0x17);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_THRU_HOST_BRIDGE, true,
          "no bridge|AMD Zen CPU (AuthenticAMD family 0x17)");
    machine_cpu(&machine, "AuthenticAMD", 0x1a);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_THRU_HOST_BRIDGE, true, "0x1a");

    /* The last before Zen, and who is related but not on Linux's list. */
    machine_cpu(&machine, "AuthenticAMD", 0x16);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "AuthenticAMD family 0x16");
    machine_cpu(&machine, "HygonGenuine", 0x18);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "HygonGenuine");
}

static void test_unknown_cpu(void)
{
    g_auto(Machine) machine = machine_flat();
    g_autofree char *path = g_strdup_printf("%s/proc/cpuinfo", machine.root);

    g_assert_cmpint(g_unlink(path), ==, 0);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "CPU (of unknown vendor)");
    write_file(path, "Processor: ARM\ncpu family: 99\n\n", -1);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "CPU (of unknown vendor)");
    write_file(path, ":::\0\xff\n:\nvendor_id", 18);
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "CPU (of unknown vendor)");
}

static void test_root_ports(void)
{
    g_auto(Machine) machine = machine_root_ports();

    check(&machine, "0000:01:00.0", "0000:02:00.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "8086:29c0");
    machine_ids(&machine, HOST, "0x8086\n", "0x09a2\n");
    check(&machine, "0000:01:00.0", "0000:02:00.0", P2P_PATH_PHB,
          P2P_MAP_THRU_HOST_BRIDGE, true,
          "host bridge 8086:09a2 at 0000:00:00.0 is on Linux's list");
}

static void test_list(void)
{
    static const struct {
        const char *vendor, *device;
        bool routes;
    } bridges[] = {
        { "0x8086\n", "0x3c00\n", true }, { "0x8086\n", "0x3c01\n", true },
        { "0x8086\n", "0x3c02\n", false }, { "0x8086\n", "0x2f00\n", true },
        { "0x8086\n", "0x2f01\n", true }, { "0x8086\n", "0x2020\n", true },
        { "0x8086\n", "0x202f\n", false }, { "0x8086\n", "0x2030\n", true },
        { "0x8086\n", "0x2033\n", true }, { "0x8086\n", "0x2034\n", false },
        { "0x8086\n", "0x0b25\n", true }, { "0x8086\n", "0x4941\n", false },
        { "0x8086\n", "0x4948\n", true }, { "0x1ae0\n", "0x1234\n", true },
        { "0x10de\n", "0x2f94\n", false }, { "0x10de\n", "0x2f95\n", true },
        { "0x10de\n", "0x2f98\n", true }, { "0x10de\n", "0x09a2\n", false },
        { "0x1022\n", "0x1450\n", false },
    };
    g_auto(Machine) machine = machine_root_ports();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(bridges); i++) {
        machine_ids(&machine, HOST, bridges[i].vendor, bridges[i].device);
        check(&machine, "0000:01:00.0", "0000:02:00.0", P2P_PATH_PHB,
              bridges[i].routes ? P2P_MAP_THRU_HOST_BRIDGE
                                : P2P_MAP_NOT_SUPPORTED,
              bridges[i].routes, "Linux's list");
    }
}

/* Skylake-E has no function 00.0: the first root port stands for it. */
static void test_root_port_is_host_bridge(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:3a/0000:3a:02.0", TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:3a/0000:3a:01.0", TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:3a/0000:3a:01.0/0000:3b:00.0",
                TYPE_ENDPOINT, NO_ACS);
    machine_add(&machine, "pci0000:3a/0000:3a:02.0/0000:3c:00.0",
                TYPE_ENDPOINT, NO_ACS);
    machine_ids(&machine, "0000:3a:01.0", "0x8086\n", "0x2031\n");
    check(&machine, "0000:3b:00.0", "0000:3c:00.0", P2P_PATH_PHB,
          P2P_MAP_THRU_HOST_BRIDGE, true, "8086:2031 at 0000:3a:01.0");

    machine_acs(&machine, "0000:3a:01.0", TYPE_ENDPOINT, NO_ACS);
    check(&machine, "0000:3b:00.0", "0000:3c:00.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false,
          "root bus 0000:3a cannot be identified: 0000:3a:01.0 is not a root "
          "port");

    machine_remove(&machine, "0000:3a:01.0", "config");
    check(&machine, "0000:3b:00.0", "0000:3c:00.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "cannot be identified|0000:3a:01.0");
}

static Machine machine_two_host_bridges(void)
{
    Machine machine = machine_root_ports();

    machine_add(&machine, "pci0000:80/0000:80:00.0", TYPE_CONVENTIONAL,
                NO_ACS);
    machine_add(&machine, "pci0000:80/0000:80:01.0", TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:80/0000:80:01.0/0000:81:00.0",
                TYPE_ENDPOINT, NO_ACS);
    return machine;
}

static void test_two_host_bridges(void)
{
    g_auto(Machine) machine = machine_two_host_bridges();

    machine_ids(&machine, HOST, "0x8086\n", "0x2030\n");
    check(&machine, "0000:01:00.0", "0000:81:00.0", P2P_PATH_NODE,
          P2P_MAP_NOT_SUPPORTED, false, "8086:29c0 at 0000:80:00.0");
    check(&machine, "0000:81:00.0", "0000:01:00.0", P2P_PATH_NODE,
          P2P_MAP_NOT_SUPPORTED, false, "8086:29c0 at 0000:80:00.0");
    machine_ids(&machine, "0000:80:00.0", "0x8086\n", "0x2033\n");
    check(&machine, "0000:01:00.0", "0000:81:00.0", P2P_PATH_NODE,
          P2P_MAP_THRU_HOST_BRIDGE, true, "Linux's list");

    machine_ids(&machine, "0000:80:00.0", "0x8086\n", "0x3c00\n");
    check(&machine, "0000:01:00.0", "0000:81:00.0", P2P_PATH_NODE,
          P2P_MAP_NOT_SUPPORTED, false,
          "8086:3c00 at 0000:80:00.0 routes between its own ports only");
}

static void test_nodes(void)
{
    static const struct {
        const char *a, *b;
        P2PPathClass path_class;
    } nodes[] = {
        { "0\n", "0\n", P2P_PATH_NODE }, { "1\n", "1\n", P2P_PATH_NODE },
        { "0\n", "1\n", P2P_PATH_SYS }, { "0\n", "-1\n", P2P_PATH_SYS },
        { "-1\n", "-1\n", P2P_PATH_NODE }, { "0\n", "x\n", P2P_PATH_SYS },
        { "10\n", "1\n", P2P_PATH_SYS },
    };
    g_auto(Machine) machine = machine_two_host_bridges();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(nodes); i++) {
        machine_text(&machine, "0000:01:00.0", "numa_node", nodes[i].a);
        machine_text(&machine, "0000:81:00.0", "numa_node", nodes[i].b);
        check(&machine, "0000:01:00.0", "0000:81:00.0", nodes[i].path_class,
              P2P_MAP_NOT_SUPPORTED, false, "");
    }
    machine_remove(&machine, "0000:81:00.0", "numa_node");
    check(&machine, "0000:01:00.0", "0000:81:00.0", P2P_PATH_SYS,
          P2P_MAP_NOT_SUPPORTED, false, "");

    /* Nodes do not matter below one host bridge. */
    machine_text(&machine, "0000:02:00.0", "numa_node", "0\n");
    check(&machine, "0000:01:00.0", "0000:02:00.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "");
}

static void test_one_switch(void)
{
    g_auto(Machine) machine = machine_switch();

    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_BUS_ADDR, false, "0000:01:00.0 is above both");
    check(&machine, "0000:04:00.0", "0000:04:00.1", P2P_PATH_PIX,
          P2P_MAP_BUS_ADDR, false, "0000:02:01.0 is above both");
    check(&machine, "0000:04:00.0", "0000:04:00.0", P2P_PATH_SELF,
          P2P_MAP_BUS_ADDR, false, "the initiator itself");
    /* Whether the root complex routes is told all the same. */
    machine_cpu(&machine, "AuthenticAMD", 0x19);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_BUS_ADDR, true, "0000:01:00.0 is above both");
}

static void test_two_switches(void)
{
    g_auto(Machine) machine = machine_switch();

    machine_add(&machine, SWITCH "/0000:02:02.0", TYPE_DOWNSTREAM, NO_ACS);
    machine_add(&machine, SWITCH "/0000:02:02.0/0000:05:00.0", TYPE_UPSTREAM,
                NO_ACS);
    machine_add(&machine, SWITCH "/0000:02:02.0/0000:05:00.0/0000:06:00.0",
                TYPE_DOWNSTREAM, NO_ACS);
    machine_add(&machine,
                SWITCH "/0000:02:02.0/0000:05:00.0/0000:06:00.0/0000:07:00.0",
                TYPE_ENDPOINT, NO_ACS);
    check(&machine, "0000:03:00.0", "0000:07:00.0", P2P_PATH_PXB,
          P2P_MAP_BUS_ADDR, false, "0000:01:00.0 is above both");
    check(&machine, "0000:07:00.0", "0000:03:00.0", P2P_PATH_PXB,
          P2P_MAP_BUS_ADDR, false, "0000:01:00.0 is above both");
}

static void check_redirect(const Machine *machine, const char *port)
{
    g_autofree char *parts = g_strdup_printf(
        "ACS redirects requests to the root complex at %s |"
        "pci=disable_acs_redir=%s |8086:29c0|is not known as an AMD Zen$",
        port, port);

    check(machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_NOT_SUPPORTED, false, parts);
}

static void test_acs_bits(void)
{
    static const int redirects[] = {
        ACS_RR, ACS_CR, ACS_EC, ACS_SV | ACS_RR | ACS_CR | ACS_UF
    };
    static const int harmless[] = { 0, ACS_SV, ACS_UF, ACS_DT, 0xff00 };
    g_auto(Machine) machine = machine_switch();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(redirects); i++) {
        machine_acs(&machine, "0000:02:01.0", TYPE_DOWNSTREAM, redirects[i]);
        check_redirect(&machine, "0000:02:01.0");
    }
    for (i = 0; i < G_N_ELEMENTS(harmless); i++) {
        machine_acs(&machine, "0000:02:01.0", TYPE_DOWNSTREAM, harmless[i]);
        check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
              P2P_MAP_BUS_ADDR, false, "no port on the way redirects");
    }
}

/* Which functions count: both ends and all between, not what is above. */
static void test_acs_places(void)
{
    static const struct {
        const char *bdf;
        int type;
        bool counts;
    } places[] = {
        { "0000:03:00.0", TYPE_ENDPOINT, true },
        { "0000:02:00.0", TYPE_DOWNSTREAM, true },
        { "0000:01:00.0", TYPE_UPSTREAM, true },
        { "0000:02:01.0", TYPE_DOWNSTREAM, true },
        { "0000:04:00.0", TYPE_ENDPOINT, true },
        { "0000:00:01.0", TYPE_ROOT_PORT, false },
        { "0000:04:00.1", TYPE_ENDPOINT, false },
    };
    g_auto(Machine) machine = machine_switch();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(places); i++) {
        machine_acs(&machine, places[i].bdf, places[i].type, ACS_RR);
        if (places[i].counts) {
            check_redirect(&machine, places[i].bdf);
        } else {
            check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
                  P2P_MAP_BUS_ADDR, false, "");
        }
        machine_acs(&machine, places[i].bdf, places[i].type, NO_ACS);
    }
}

static void test_acs_through_host_bridge(void)
{
    g_auto(Machine) machine = machine_switch();

    machine_cpu(&machine, "AuthenticAMD", 0x19);
    machine_acs(&machine, "0000:02:00.0", TYPE_DOWNSTREAM, ACS_RR);
    machine_acs(&machine, "0000:02:01.0", TYPE_DOWNSTREAM, ACS_RR);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_THRU_HOST_BRIDGE, true,
          "disable_acs_redir=0000:02:01.0;0000:02:00.0 |AMD Zen");
}

/* The listed functions are the ones to name, even if others are unreadable. */
static void test_acs_and_unreadable(void)
{
    g_auto(Machine) machine = machine_switch();

    machine_remove(&machine, "0000:04:00.0", "config");
    machine_acs(&machine, "0000:02:00.0", TYPE_DOWNSTREAM, ACS_CR);
    check_redirect(&machine, "0000:02:00.0");
}

static void test_unprivileged(void)
{
    g_auto(Machine) machine = machine_switch();
    uint8_t config[CONFIG_SIZE];

    make_config(config, TYPE_DOWNSTREAM, 0);
    machine_config(&machine, "0000:02:00.0", config, UNPRIVILEGED_SIZE);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_NOT_SUPPORTED, false,
          "only 64 of 4096 bytes|0000:02:00.0|root may read all");
    machine_config(&machine, "0000:02:00.0", config, CONVENTIONAL_SIZE);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_NOT_SUPPORTED, false, "only 256 of 4096 bytes");
    machine_cpu(&machine, "AuthenticAMD", 0x19);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_THRU_HOST_BRIDGE, true, "only 256 of 4096 bytes");
}

/* No PCI Express, no extended configuration space, no ACS. */
static void test_conventional_bridge(void)
{
    g_auto(Machine) machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    machine_add(&machine, "pci0000:00/" HOST, TYPE_CONVENTIONAL, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:1e.0", TYPE_CONVENTIONAL,
                NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:1e.0/0000:01:01.0",
                TYPE_CONVENTIONAL, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:1e.0/0000:01:02.0",
                TYPE_CONVENTIONAL, NO_ACS);
    check(&machine, "0000:01:01.0", "0000:01:02.0", P2P_PATH_PIX,
          P2P_MAP_BUS_ADDR, false, "0000:00:1e.0 is above both");
}

/* A host bridge that is itself a PCI function, in a domain of its own. */
static void test_nested_host_bridge(void)
{
    g_auto(Machine) machine = machine_flat();

    machine_add(&machine, "pci0000:00/0000:00:0e.0", TYPE_ENDPOINT, NO_ACS);
    machine_add(&machine,
                "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:00.0",
                TYPE_ROOT_PORT, NO_ACS);
    machine_add(&machine, "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:00.0/"
                "10000:e1:00.0", TYPE_ENDPOINT, NO_ACS);
    check(&machine, "10000:e1:00.0", "0000:00:03.0", P2P_PATH_NODE,
          P2P_MAP_NOT_SUPPORTED, false, "8086:29c0 at 10000:e0:00.0");
}

static void test_garbage_config(void)
{
    g_auto(Machine) machine = machine_switch();
    uint8_t config[CONFIG_SIZE];
    const char *port = "0000:02:01.0";
    struct {
        const char *what;
        unsigned at;
        uint32_t value;
    } damages[] = {
        { "does not answer", 0x00, 0xffffffff },
        { "is not sound", 0x34, 0x10 },           /* into the header */
        { "is not sound", 0x40, 0x4001 },         /* a loop */
        { "is not sound", 0x100, 0x10010001 },    /* a loop */
        { "is not sound", 0x100, 0x04010001 },    /* out of the area */
        { "is not sound", 0x100, 0xffc10001 },    /* to its last word */
        { "is not sound", ACS_AT, 0xffffffff },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *parts = g_strdup_printf("%s|8086:29c0",
                                                 damages[i].what);

        make_config(config, TYPE_DOWNSTREAM, 0);
        put32(config, damages[i].at, damages[i].value);
        if (damages[i].at == 0) {
            put32(config, 0x04, 0xffffffff);
        }
        machine_config(&machine, port, config, CONFIG_SIZE);
        check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
              P2P_MAP_NOT_SUPPORTED, false, parts);
    }

    machine_config(&machine, port, config, 0);
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_NOT_SUPPORTED, false, "0000:02:01.0 has only 0 bytes");
    machine_remove(&machine, port, "config");
    check(&machine, "0000:03:00.0", "0000:04:00.0", P2P_PATH_PIX,
          P2P_MAP_NOT_SUPPORTED, false, "0000:02:01.0 cannot be read");
}

/* Whatever it holds and however long it is: an answer, and no crash. */
static void test_random_config(void)
{
    g_auto(Machine) machine = machine_switch();
    uint8_t config[CONFIG_SIZE];
    unsigned round, i;

    for (round = 0; round < 300; round++) {
        P2PPath path;

        make_config(config, TYPE_DOWNSTREAM, ACS_RR);
        for (i = g_test_rand_int_range(0, 12); i > 0; i--) {
            static const uint16_t near[] = { 0x00, 0x34, 0x40, 0x80, 0x100,
                                             ACS_AT };
            unsigned at = near[g_test_rand_int_range(0, 6)] +
                          g_test_rand_int_range(0, 8);

            config[at] = g_test_rand_int();
        }
        machine_config(&machine, "0000:02:01.0", config,
                       g_test_rand_int_range(0, 2) ? CONFIG_SIZE :
                       g_test_rand_int_range(0, CONFIG_SIZE + 1));
        p2p_topology_path(machine.root, "0000:03:00.0", "0000:04:00.0",
                          &path);
        g_assert_cmpint(path.verdict.path_class, ==, P2P_PATH_PIX);
        g_assert_cmpint(path.verdict.map_type, !=, P2P_MAP_THRU_HOST_BRIDGE);
        g_assert_nonnull(path.reason);
        p2p_path_clear(&path);
    }
}

static void test_garbage_ids(void)
{
    static const char *const bad[] = { "", "0x80866\n", "8086\n", "0x\n",
                                       "\xff\xfe" };
    g_auto(Machine) machine = machine_flat();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        machine_text(&machine, HOST, "vendor", bad[i]);
        check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
              P2P_MAP_NOT_SUPPORTED, false,
              "cannot be identified|vendor holds no PCI id");
    }
    machine_remove(&machine, HOST, "vendor");
    check(&machine, "0000:00:03.0", "0000:00:04.0", P2P_PATH_PHB,
          P2P_MAP_NOT_SUPPORTED, false, "the vendor of 0000:00:00.0");
}

static void check_unknown(const Machine *machine, const char *initiator,
                          const char *target, const char *parts)
{
    check(machine, initiator, target, P2P_PATH_UNKNOWN, P2P_MAP_NOT_SUPPORTED,
          false, parts);
}

static void test_no_such_function(void)
{
    static const char *const bad[] = {
        "", "00:03.0", "0000:00:03", "0000:00:03.8", "0000:00:20.0",
        "0000:00:03.0\n", "0000:00:03.0/../0000:00:04.0", "0000:00:0G.0",
        "../devices", "0000:00:0A.0",
    };
    g_auto(Machine) machine = machine_flat();
    const Machine nowhere = { (char *)"/nonexistent" };
    size_t i;

    check_unknown(&machine, "0000:00:03.0", "0000:00:05.0",
                  "no PCI function 0000:00:05.0");
    check_unknown(&machine, "0000:00:05.0", "0000:00:03.0",
                  "no PCI function 0000:00:05.0");
    check_unknown(&nowhere, "0000:00:03.0", "0000:00:04.0",
                  "no PCI function 0000:00:03.0");
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        check_unknown(&machine, bad[i], "0000:00:03.0",
                      "is not the address of a PCI function (dddd:bb:dd.f");
        check_unknown(&machine, "0000:00:03.0", bad[i],
                      "is not the address of a PCI function (dddd:bb:dd.f");
    }
}

static void test_garbage_links(void)
{
    static const char *const targets[] = {
        "x", "../../../devices/0000:00:05.0",
        "../../../devices/pci0000:00/0000:00:06.0",
        "../../../devices/pci0000:00/x/0000:00:05.0",
        "../../../devices/pci0000:00", "pci0000:00/0000:00:05.0/",
    };
    g_auto(Machine) machine = machine_flat();
    g_autofree char *link = g_strdup_printf("%s/sys/bus/pci/devices/"
                                            "0000:00:05.0", machine.root);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(targets); i++) {
        g_assert_cmpint(symlink(targets[i], link), ==, 0);
        check_unknown(&machine, "0000:00:05.0", "0000:00:03.0",
                      "does not lead through a host bridge to 0000:00:05.0");
        g_assert_cmpint(g_unlink(link), ==, 0);
    }
}

/* The machine that runs this: any answer but a crash. */
static void test_this_machine(void)
{
    g_autoptr(GDir) dir = g_dir_open("/sys/bus/pci/devices", 0, NULL);
    g_autofree char *before = NULL;
    const char *name;

    if (!dir) {
        g_test_skip("this machine has no PCI bus");
        return;
    }
    while ((name = g_dir_read_name(dir))) {
        P2PPath path;

        p2p_topology_path("", before ? before : name, name, &path);
        g_test_message("%s to %s: %s, %s: %s", before ? before : name, name,
                       p2p_path_class_str(path.verdict.path_class),
                       p2p_map_type_str(path.verdict.map_type), path.reason);
        g_assert_nonnull(path.reason);
        p2p_path_clear(&path);
        g_free(before);
        before = g_strdup(name);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/topology/flat", test_flat);
    g_test_add_func("/topology/amd", test_amd);
    g_test_add_func("/topology/unknown-cpu", test_unknown_cpu);
    g_test_add_func("/topology/root-ports", test_root_ports);
    g_test_add_func("/topology/list", test_list);
    g_test_add_func("/topology/root-port-is-host-bridge",
                    test_root_port_is_host_bridge);
    g_test_add_func("/topology/two-host-bridges", test_two_host_bridges);
    g_test_add_func("/topology/nodes", test_nodes);
    g_test_add_func("/topology/one-switch", test_one_switch);
    g_test_add_func("/topology/two-switches", test_two_switches);
    g_test_add_func("/topology/acs-bits", test_acs_bits);
    g_test_add_func("/topology/acs-places", test_acs_places);
    g_test_add_func("/topology/acs-through-host-bridge",
                    test_acs_through_host_bridge);
    g_test_add_func("/topology/acs-and-unreadable", test_acs_and_unreadable);
    g_test_add_func("/topology/unprivileged", test_unprivileged);
    g_test_add_func("/topology/conventional-bridge",
                    test_conventional_bridge);
    g_test_add_func("/topology/nested-host-bridge", test_nested_host_bridge);
    g_test_add_func("/topology/garbage-config", test_garbage_config);
    g_test_add_func("/topology/random-config", test_random_config);
    g_test_add_func("/topology/garbage-ids", test_garbage_ids);
    g_test_add_func("/topology/no-such-function", test_no_such_function);
    g_test_add_func("/topology/garbage-links", test_garbage_links);
    g_test_add_func("/topology/this-machine", test_this_machine);
    return g_test_run();
}
