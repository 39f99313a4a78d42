/*
 * When a bus address is handed out: each condition broken alone, on a machine
 * where all of them hold
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include <glib/gstdio.h>
#include "hw/p2p/bus-address.h"
#include "hw/p2p/topology.h"
#include "machine.h"

#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)

#define NVME "0000:05:00.0"
#define GPU "0000:06:00.0"
#define SOUND "0000:06:00.1"
#define NIC "0000:07:00.0"
#define GPU_BAR 2
#define GPU_START UINT64_C(0x5000000000)

/*
 * A switch with a drive and a GPU of two functions, below a port of another
 * switch, which sends all their requests up; a NIC beside it is not the VM's.
 */
enum {
    HOST_BRIDGE, ROOT_PORT,
    OUTER_UP, OUTER_DOWN, OUTER_DOWN_NIC,
    UP, DOWN_NVME, DOWN_GPU, DOWN_EMPTY,
    AT_NVME, AT_GPU, AT_SOUND, AT_NIC,
    FUNCTIONS
};

#define OUTER "pci0000:00/0000:00:01.0/0000:01:00.0"
#define INNER OUTER "/0000:02:00.0/0000:03:00.0"
#define ALL_UP (ACS_SV | ACS_RR | ACS_CR | ACS_UF)

static const MachineFunction plain_functions[FUNCTIONS] = {
    [HOST_BRIDGE] = {
        .way = "pci0000:00/0000:00:00.0", .type = TYPE_CONVENTIONAL,
    },
    [ROOT_PORT] = {
        .way = "pci0000:00/0000:00:01.0", .type = TYPE_ROOT_PORT,
        .acs = ALL_UP,
    },
    [OUTER_UP] = {
        .way = OUTER, .type = TYPE_UPSTREAM,
        .memory = { 0x90000000, 0x9fffffff },
        .prefetchable = { 0x4000000000, 0x7fffffffff },
    },
    [OUTER_DOWN] = {
        .way = OUTER "/0000:02:00.0", .type = TYPE_DOWNSTREAM, .acs = ALL_UP,
        .memory = { 0x90000000, 0x95ffffff },
        .prefetchable = { 0x4000000000, 0x5fffffffff },
    },
    [OUTER_DOWN_NIC] = {
        .way = OUTER "/0000:02:01.0", .type = TYPE_DOWNSTREAM, .acs = ALL_UP,
        .memory = { 0x96000000, 0x96ffffff },
    },
    [UP] = {
        .way = INNER, .type = TYPE_UPSTREAM,
        .memory = { 0x90000000, 0x93ffffff },
        .prefetchable = { 0x4000000000, 0x5fffffffff },
        .bars[0] = { 0x94800000, 0x40000, false, false, false },
    },
    [DOWN_NVME] = {
        .way = INNER "/0000:04:00.0", .type = TYPE_DOWNSTREAM,
        .memory = { 0x90000000, 0x90ffffff },
    },
    [DOWN_GPU] = {
        .way = INNER "/0000:04:01.0", .type = TYPE_DOWNSTREAM,
        .memory = { 0x91000000, 0x92ffffff },
        .prefetchable = { 0x5000000000, 0x53ffffffff },
    },
    [DOWN_EMPTY] = {
        .way = INNER "/0000:04:02.0", .type = TYPE_DOWNSTREAM,
    },
    [AT_NVME] = {
        .way = INNER "/0000:04:00.0/" NVME, .type = TYPE_ENDPOINT,
        .acs = NO_ACS,
        .bars[0] = { 0x90000000, 0x4000, false, true, false },
    },
    [AT_GPU] = {
        .way = INNER "/0000:04:01.0/" GPU, .type = TYPE_ENDPOINT,
        .bars[0] = { 0x91000000, 16 * MiB, false, false, false },
        .bars[GPU_BAR] = { GPU_START, 16 * GiB, false, true, true },
        .bars[5] = { 0x3000, 128, true, false, false },
    },
    [AT_SOUND] = {
        .way = INNER "/0000:04:01.0/" SOUND, .type = TYPE_ENDPOINT,
        .bars[0] = { 0x92000000, 0x4000, false, false, false },
    },
    [AT_NIC] = {
        .way = OUTER "/0000:02:01.0/" NIC, .type = TYPE_ENDPOINT,
        .acs = NO_ACS,
        .bars[0] = { 0x96000000, MiB, false, false, false },
    },
};

enum { RAM_LOW, RAM_HIGH, WINDOW, DOORBELLS, REACH };

typedef struct Setup {
    Machine machine;            /* as check() wrote it last; root NULL: not */
    MachineFunction written[FUNCTIONS];
    MachineFunction functions[FUNCTIONS];
    P2PBusRange reach[REACH];
    const char *owned[FUNCTIONS];
    P2PBusRequest request;
} Setup;

static Setup *setup_new(void)
{
    Setup *s = g_new0(Setup, 1);

    memcpy(s->functions, plain_functions, sizeof(plain_functions));
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        MachineFunction *f = &s->functions[i];

        f->acs_capability = 0x7f;
        f->vendor = 0x8086;
        f->device = 0x29c0;
        f->numa_node = f->group = -1;
        f->decode = true;
        f->power = "D0";
        f->config_size = f->type < 0 ? CONVENTIONAL_SIZE : CONFIG_SIZE;
    }
    s->reach[RAM_LOW] = (P2PBusRange) { 0, 2 * GiB };
    s->reach[RAM_HIGH] = (P2PBusRange) { 4 * GiB, 14 * GiB };
    s->reach[WINDOW] = (P2PBusRange) { 0x3800000000, 16 * GiB };
    s->reach[DOORBELLS] = (P2PBusRange) { 0xfee00000, MiB };
    s->owned[0] = NVME;
    s->owned[1] = GPU;
    s->owned[2] = SOUND;
    s->request = (P2PBusRequest) {
        .enabled = true, .initiator = NVME, .target = GPU, .bar = GPU_BAR,
        .bar_size = 16 * GiB, .offset = 0x1000, .size = 2 * MiB,
        .reach = s->reach, .n_reach = REACH, .owned = s->owned, .n_owned = 3,
    };
    return s;
}

static void setup_free(Setup *s)
{
    if (s->machine.root) {
        machine_free(&s->machine);
    }
    g_free(s);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Setup, setup_free)

static Machine setup_write(const Setup *s)
{
    Machine machine = machine_new();

    machine_cpu(&machine, "GenuineIntel", 6);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        if (s->functions[i].way) {
            machine_function(&machine, &s->functions[i]);
        }
    }
    return machine;
}

/* @parts: what the reason must say, one after the other, '|' in between */
static void check_parts(const char *said, const char *parts)
{
    g_auto(GStrv) words = g_strsplit(parts, "|", -1);
    const char *at = said;

    for (unsigned i = 0; words[i]; i++) {
        at = strstr(at, words[i]);
        if (!at) {
            g_error("no '%s' in: %s", words[i], said);
        }
    }
}

/* The host anew, as each request has to. */
static void check_in(const Machine *machine, const Setup *s,
                     P2PBusObstacle expected, const char *parts)
{
    g_autoptr(P2PHost) host = p2p_host_new(machine->root);
    P2PBusAddr address = { 42 };
    g_autofree char *why = NULL;
    P2PBusObstacle obstacle = p2p_bus_address(host, &s->request, &address,
                                              &why);

    g_test_message("%s: %s", p2p_bus_obstacle_str(obstacle), why);
    g_assert_cmpstr(p2p_bus_obstacle_str(obstacle), ==,
                    p2p_bus_obstacle_str(expected));
    if (obstacle == P2P_BUS_NONE) {
        g_assert_null(why);
        g_assert_cmphex(address.bus, ==, GPU_START + s->request.offset);
    } else {
        g_assert_nonnull(why);
        check_parts(why, parts);
        g_assert_cmphex(address.bus, ==, 42);
    }
    g_assert_cmpint(p2p_bus_address(host, &s->request, &address, NULL), ==,
                    expected);
}

/* Whether another tree is needed: other folders and links, not other files. */
static bool is_placed_anew(const MachineFunction *a, const MachineFunction *b)
{
    return g_strcmp0(a->way, b->way) != 0 ||
           g_strcmp0(a->physical_function, b->physical_function) != 0;
}

/* A tree takes long to write: only what changed since the last check. */
static void check(Setup *s, P2PBusObstacle expected, const char *parts)
{
    bool anew = !s->machine.root;

    for (unsigned i = 0; i < FUNCTIONS; i++) {
        anew |= is_placed_anew(&s->written[i], &s->functions[i]);
    }
    if (anew && s->machine.root) {
        machine_free(&s->machine);
    }
    if (anew) {
        s->machine = setup_write(s);
    }
    for (unsigned i = 0; i < FUNCTIONS && !anew; i++) {
        if (memcmp(&s->written[i], &s->functions[i],
                   sizeof(s->written[i])) != 0) {
            machine_rewrite(&s->machine, &s->functions[i]);
        }
    }
    memcpy(s->written, s->functions, sizeof(s->written));
    check_in(&s->machine, s, expected, parts);
}

/* Write over @n bytes of a function's configuration space. */
static void poke(const Machine *machine, const char *bdf, unsigned at,
                 const void *bytes, size_t n)
{
    g_autofree char *path = machine_file(machine, bdf, "config");
    g_autofree char *config = NULL;
    gsize size;

    g_assert_true(g_file_get_contents(path, &config, &size, NULL));
    g_assert_cmpuint(at + n, <=, size);
    memcpy(config + at, bytes, n);
    write_file(path, config, size);
}

static void poke32(const Machine *machine, const char *bdf, unsigned at,
                   uint32_t value)
{
    uint8_t bytes[4];

    put32(bytes, 0, value);
    poke(machine, bdf, at, bytes, sizeof(bytes));
}

/* --- Yes ----------------------------------------------------------------- */

static void test_given(void)
{
    g_autoptr(Setup) s = setup_new();
    const struct {
        uint64_t offset, size;
    } ranges[] = {
        { 0, 1 }, { 0, 16 * GiB }, { 16 * GiB - 1, 1 }, { 8 * GiB, 8 * GiB },
    };

    check(s, P2P_BUS_NONE, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        s->request.offset = ranges[i].offset;
        s->request.size = ranges[i].size;
        check(s, P2P_BUS_NONE, NULL);
    }
}

/* Both functions of the GPU are below one port, which is inside the switch. */
static void test_given_inside_a_device(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.initiator = SOUND;
    check(s, P2P_BUS_NONE, NULL);
    s->functions[AT_SOUND].acs = ACS_RR;
    check(s, P2P_BUS_REDIRECTED, "at " SOUND);
}

static void test_obstacles(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (int i = P2P_BUS_NONE; i < P2P_BUS__MAX; i++) {
        g_assert_true(g_hash_table_add(seen,
                                       (void *)p2p_bus_obstacle_str(i)));
    }
    g_assert_cmpstr(p2p_bus_obstacle_str(P2P_BUS__MAX), ==, "unknown");
}

/* --- No, whatever the host is -------------------------------------------- */

static void test_disabled(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.enabled = false;
    check(s, P2P_BUS_DISABLED, "bus-address=off|bus-address=on");
}

static void test_guest_iommu(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.guest_iommu = true;
    check(s, P2P_BUS_GUEST_IOMMU, "IOMMU of the guest translates|initiator");
}

static void test_not_passthrough(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.initiator = NULL;
    check(s, P2P_BUS_NOT_PASSTHROUGH, "the initiator is a device model");
    s->request.initiator = NVME;
    s->request.target = NULL;
    check(s, P2P_BUS_NOT_PASSTHROUGH, "the target is a device model");
    s->request.target = "0000:04:01.0";
    check(s, P2P_BUS_NOT_PASSTHROUGH, "0000:04:01.0 is a bridge");
    s->request.target = GPU;
    s->request.initiator = "0000:04:00.0";
    check(s, P2P_BUS_NOT_PASSTHROUGH, "0000:04:00.0 is a bridge");
}

/* --- Not known ----------------------------------------------------------- */

static void test_no_such_function(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.initiator = "0000:99:00.0";
    check(s, P2P_BUS_UNKNOWN, "no PCI function 0000:99:00.0");
    s->request.initiator = NVME;
    s->request.target = "../x";
    check(s, P2P_BUS_UNKNOWN, "'../x' is not the address");
}

/* What only root may read decides, wherever it is missing. */
static void test_unprivileged(void)
{
    static const unsigned deciding[] = {
        AT_NVME, AT_GPU, DOWN_NVME, DOWN_GPU, UP, OUTER_DOWN,
    };
    static const size_t sizes[] = { UNPRIVILEGED_SIZE, 256 };
    static const unsigned others[] = {
        HOST_BRIDGE, DOWN_EMPTY, AT_SOUND, AT_NIC, OUTER_UP,
    };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(deciding); i++) {
        MachineFunction *f = &s->functions[deciding[i]];

        for (size_t j = 0; j < G_N_ELEMENTS(sizes); j++) {
            f->config_size = sizes[j];
            check(s, P2P_BUS_UNKNOWN, "only|can be read (root may read all)");
            f->config_size = CONFIG_SIZE;
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        s->functions[others[i]].config_size = UNPRIVILEGED_SIZE;
    }
    check(s, P2P_BUS_NONE, NULL);
    /* The upstream port is above the common one. */
    s->request.initiator = SOUND;
    s->functions[AT_SOUND].config_size = CONFIG_SIZE;
    s->functions[UP].config_size = UNPRIVILEGED_SIZE;
    check(s, P2P_BUS_UNKNOWN, "space of 0000:03:00.0 can be read");
}

static void test_header_unreadable(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[AT_SOUND].config_size = 0;
    check(s, P2P_BUS_UNKNOWN, "what " SOUND " answers to is not known|"
          "only 0 bytes");
    s->functions[AT_SOUND].config_size = CONFIG_SIZE;
    s->functions[DOWN_EMPTY].config_size = 63;
    check(s, P2P_BUS_UNKNOWN, "what 0000:04:02.0 answers to is not known");
}

static void test_power_unknown(void)
{
    static const unsigned way[] = { AT_NVME, AT_GPU, DOWN_NVME, DOWN_GPU, UP };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(way); i++) {
        MachineFunction *f = &s->functions[way[i]];
        const char *bdf = strrchr(f->way, '/') + 1;

        /* One of two sources will do. */
        f->power = NULL;
        check(s, P2P_BUS_NONE, NULL);
        f->power = "unknown";
        {
            g_auto(Machine) machine = setup_write(s);
            uint8_t none = 0x09;        /* vendor specific */

            poke(&machine, bdf, 0x40, &none, 1);
            check_in(&machine, s, P2P_BUS_UNKNOWN, "power state of|cannot");
        }
        f->power = "D0";
        {
            g_auto(Machine) machine = setup_write(s);
            uint8_t none = 0x09;

            poke(&machine, bdf, 0x40, &none, 1);
            check_in(&machine, s, P2P_BUS_NONE, NULL);
        }
    }
}

/* Something that has functions below it, but is no port. */
static void test_no_port(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[DOWN_GPU].type = TYPE_ENDPOINT;
    check(s, P2P_BUS_UNKNOWN, "0000:04:01.0 is on the way, but is a endpoint"
          "|not a port");
    s->functions[DOWN_GPU].type = TYPE_DOWNSTREAM;
    {
        g_auto(Machine) machine = setup_write(s);
        uint8_t header = 0;

        poke(&machine, "0000:04:00.0", 0x0e, &header, 1);
        check_in(&machine, s, P2P_BUS_UNKNOWN, "0000:04:00.0 is on the way");
    }
    s->functions[UP].type = TYPE_ENDPOINT;
    check(s, P2P_BUS_UNKNOWN, "0000:03:00.0 is on the way");
}

/* The target is "below" the initiator, which is no bridge. */
static void test_below_an_endpoint(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[AT_GPU].way = INNER "/0000:04:00.0/" NVME "/" GPU;
    check(s, P2P_BUS_UNKNOWN, NVME " is on the way, but is a endpoint");
    s->request.target = NVME;
    s->request.initiator = GPU;
    check(s, P2P_BUS_UNKNOWN, NVME " is on the way, but is a endpoint");
}

static void test_not_below_a_root_port(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[OUTER_DOWN].type = TYPE_TO_PCI;
    check(s, P2P_BUS_UNKNOWN, "0000:02:00.0 above 0000:03:00.0 is a "
          "PCIe-to-PCI bridge");
    s->functions[OUTER_DOWN].type = TYPE_DOWNSTREAM;
    s->functions[OUTER_DOWN].acs = 0;
    s->functions[OUTER_UP].type = TYPE_TO_PCI;
    check(s, P2P_BUS_UNKNOWN, "0000:02:00.0 above 0000:03:00.0 is a");
    s->functions[OUTER_UP].type = TYPE_UPSTREAM;
    s->functions[OUTER_UP].config_size = UNPRIVILEGED_SIZE;
    check(s, P2P_BUS_UNKNOWN, "space of 0000:01:00.0 can be read (root");
    s->functions[OUTER_UP].config_size = CONFIG_SIZE;
    s->functions[ROOT_PORT].way = "pci0000:00/0000:00:02.0";
    s->functions[OUTER_UP].way = "pci0000:00/0000:01:00.0";
    s->functions[OUTER_DOWN].way = "pci0000:00/0000:01:00.0/0000:02:00.0";
    s->functions[UP].way = "pci0000:00/0000:03:00.0";
    s->functions[DOWN_NVME].way = "pci0000:00/0000:03:00.0/0000:04:00.0";
    s->functions[DOWN_GPU].way = "pci0000:00/0000:03:00.0/0000:04:01.0";
    s->functions[AT_NVME].way =
        "pci0000:00/0000:03:00.0/0000:04:00.0/" NVME;
    s->functions[AT_GPU].way = "pci0000:00/0000:03:00.0/0000:04:01.0/" GPU;
    check(s, P2P_BUS_UNKNOWN, "0000:03:00.0 has no root port above it");
}

static void test_place_unknown(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);
    g_autofree char *link = g_strdup_printf("%s/sys/bus/pci/devices/%s",
                                            machine.root, NIC);

    g_assert_cmpint(g_unlink(link), ==, 0);
    write_file(link, "", 0);
    check_in(&machine, s, P2P_BUS_UNKNOWN,
             "not all that is below 0000:03:00.0 is known|" NIC);
    g_assert_cmpint(g_unlink(link), ==, 0);
    check_in(&machine, s, P2P_BUS_NONE, NULL);
}

static void test_size_unknown(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);

    poke32(&machine, SOUND, 0x14, 0x92800000);
    check_in(&machine, s, P2P_BUS_UNKNOWN, "BAR 1 of " SOUND " is at "
             "0x92800000|size");
    poke32(&machine, SOUND, 0x14, 0x92800001);  /* I/O ports */
    check_in(&machine, s, P2P_BUS_NONE, NULL);
    machine_remove(&machine, SOUND, "resource");
    check_in(&machine, s, P2P_BUS_UNKNOWN, "BAR 0 of " SOUND);
}

static void test_virtual_target(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[AT_GPU].physical_function = SOUND;
    check(s, P2P_BUS_UNKNOWN, GPU ", a virtual function of " SOUND "|pass "
          SOUND " itself through");
}

/* --- The way ------------------------------------------------------------- */

static void test_no_switch(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.initiator = GPU;
    check(s, P2P_BUS_NO_SWITCH, GPU " is initiator and target");

    /* Below the root complex, and below one root port */
    s->request.initiator = NVME;
    s->functions[AT_NVME].way = "pci0000:00/" NVME;
    check(s, P2P_BUS_NO_SWITCH, "no PCIe switch is above both " NVME " and "
          GPU ": put both below one");
    s->functions[AT_NVME].way = "pci0000:00/0000:00:01.0/" NVME;
    check(s, P2P_BUS_NO_SWITCH, "no PCIe switch is above both");
    s->functions[AT_NVME].way = "pci0000:00/0000:00:01.0/" NVME;
    s->functions[AT_NVME].config_size = 0;
    check(s, P2P_BUS_NO_SWITCH, "no PCIe switch is above both");
}

/* Two cards on one conventional bus below a root port */
static void test_no_switch_conventional(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[OUTER_UP].type = TYPE_TO_PCI;
    s->functions[AT_NVME].way = OUTER "/" NVME;
    s->functions[AT_GPU].way = OUTER "/" GPU;
    check(s, P2P_BUS_NO_SWITCH, "no PCIe switch is above both");
}

static void test_conventional(void)
{
    static const struct {
        unsigned where;
        int type;
        const char *said;
    } bridges[] = {
        { DOWN_GPU, TYPE_TO_PCI, "0000:04:01.0|PCIe-to-PCI bridge" },
        { DOWN_NVME, TYPE_TO_PCI, "0000:04:00.0|PCIe-to-PCI bridge" },
        { DOWN_GPU, TYPE_PCI_BRIDGE, "0000:04:01.0|conventional" },
        { DOWN_NVME, 8, "0000:04:00.0|PCI-to-PCIe bridge" },
    };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(bridges); i++) {
        MachineFunction *f = &s->functions[bridges[i].where];

        f->type = bridges[i].type;
        if (f->type == 8) {
            g_auto(Machine) machine = setup_write(s);
            uint8_t header = 1;

            poke(&machine, strrchr(f->way, '/') + 1, 0x0e, &header, 1);
            check_in(&machine, s, P2P_BUS_CONVENTIONAL, bridges[i].said);
        } else {
            check(s, P2P_BUS_CONVENTIONAL, bridges[i].said);
        }
        f->type = TYPE_DOWNSTREAM;
    }
    /* Both on a bus below a bridge below the switch */
    s->functions[DOWN_GPU].type = TYPE_TO_PCI;
    s->functions[AT_NVME].way = INNER "/0000:04:01.0/" NVME;
    check(s, P2P_BUS_CONVENTIONAL, "0000:04:01.0");
}

static void test_redirected(void)
{
    static const unsigned way[] = { AT_GPU, DOWN_GPU, UP, DOWN_NVME, AT_NVME };
    static const int bits[] = { ACS_RR, ACS_CR, ACS_EC };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(way); i++) {
        MachineFunction *f = &s->functions[way[i]];
        const char *bdf = strrchr(f->way, '/') + 1;
        g_autofree char *said = g_strdup_printf(
            "at %s (boot the host with pci=disable_acs_redir=%s to", bdf, bdf);
        int acs = f->acs;

        for (size_t j = 0; j < G_N_ELEMENTS(bits); j++) {
            f->acs = bits[j];
            check(s, P2P_BUS_REDIRECTED, said);
        }
        f->acs = ACS_SV | ACS_UF | ACS_DT;
        check(s, P2P_BUS_NONE, NULL);
        f->acs = acs;
    }
    s->functions[DOWN_GPU].acs = s->functions[DOWN_NVME].acs = ALL_UP;
    check(s, P2P_BUS_REDIRECTED,
          "pci=disable_acs_redir=0000:04:01.0;0000:04:00.0 ");
}

/* --- The range ----------------------------------------------------------- */

static void test_outside_bar(void)
{
    g_autoptr(Setup) s = setup_new();
    P2PBusRequest good = s->request;
    static const struct {
        uint64_t offset, size;
    } ranges[] = {
        { 0, 0 }, { 0, 16 * GiB + 1 }, { 16 * GiB, 1 }, { 16 * GiB - 1, 2 },
        { UINT64_MAX, 2 }, { 1, UINT64_MAX },
    };
    static const unsigned bars[] = { 1, 3, 5, 6, UINT_MAX };

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        s->request.offset = ranges[i].offset;
        s->request.size = ranges[i].size;
        check(s, P2P_BUS_OUTSIDE_PORT, "are not within BAR 2 of " GPU);
    }
    s->request = good;
    for (size_t i = 0; i < G_N_ELEMENTS(bars); i++) {
        s->request.bar = bars[i];
        check(s, P2P_BUS_OUTSIDE_PORT, GPU " has no memory BAR");
    }
    s->request = good;
    s->request.bar_size = 8 * GiB;
    check(s, P2P_BUS_OUTSIDE_PORT, "resized");
    s->request = good;
    s->functions[AT_GPU].bars[GPU_BAR].start = 0;
    check(s, P2P_BUS_OUTSIDE_PORT, "no address to BAR 2 of " GPU);
}

static void test_outside_port(void)
{
    static const unsigned ports[] = { DOWN_GPU, UP };
    static const MachineWindow windows[] = {
        { 0, 0 }, { GPU_START, GPU_START + 2 * MiB - 1 },
        { GPU_START + MiB, GPU_START + 16 * GiB - 1 },
        { GPU_START + UINT64_C(0x100000000), GPU_START + 16 * GiB - 1 },
        { 0x10000000, 0x1fffffff },
    };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(ports); i++) {
        MachineFunction *f = &s->functions[ports[i]];
        MachineWindow good = f->prefetchable;

        for (size_t j = 0; j < G_N_ELEMENTS(windows); j++) {
            f->prefetchable = windows[j];
            check(s, P2P_BUS_OUTSIDE_PORT, "0x5000001000-0x5000200fff in BAR "
                  "2 of " GPU " is in no window of port|pci=realloc");
        }
        f->prefetchable = (MachineWindow) {
            GPU_START, GPU_START + 3 * MiB - 1,
        };
        check(s, P2P_BUS_NONE, NULL);
        f->prefetchable = good;
    }
}

/* Another BAR: not prefetchable, in the other window */
static void test_memory_window(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);
    g_autoptr(P2PHost) host = p2p_host_new(machine.root);
    P2PBusAddr address;

    s->request.bar = 0;
    s->request.bar_size = 16 * MiB;
    g_assert_cmpint(p2p_bus_address(host, &s->request, &address, NULL), ==,
                    P2P_BUS_NONE);
    g_assert_cmphex(address.bus, ==, 0x91001000);
    s->functions[DOWN_GPU].memory.last = 0x910fffff;
    check(s, P2P_BUS_OUTSIDE_PORT, "port 0000:04:01.0");
}

static void test_no_decode(void)
{
    static const unsigned way[] = { AT_GPU, DOWN_GPU, UP, DOWN_NVME };
    static const unsigned others[] = {
        AT_NVME, AT_SOUND, DOWN_EMPTY, OUTER_DOWN, OUTER_UP, ROOT_PORT,
    };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(way); i++) {
        MachineFunction *f = &s->functions[way[i]];
        g_autofree char *said = g_strdup_printf(
            "%s does not decode memory now|%s", strrchr(f->way, '/') + 1,
            way[i] == AT_GPU ? "driver" : "port");

        f->decode = false;
        check(s, P2P_BUS_NO_DECODE, said);
        f->decode = true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        s->functions[others[i]].decode = false;
    }
    check(s, P2P_BUS_NONE, NULL);
}

static void test_moved(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);

    poke32(&machine, GPU, 0x1c, 0x51);
    check_in(&machine, s, P2P_BUS_NO_DECODE,
             "BAR 2 of " GPU " moved|0x5100000000|0x5000000000 for Linux");
    poke32(&machine, GPU, 0x1c, 0);
    poke32(&machine, GPU, 0x18, 0);
    check_in(&machine, s, P2P_BUS_NO_DECODE, "moved|0x0 on the bus");
    poke32(&machine, GPU, 0x1c, 0x50);
    poke32(&machine, GPU, 0x18, 0x0000000c);
    check_in(&machine, s, P2P_BUS_NONE, NULL);
    /* The upper half is no part of a BAR of 32 bits. */
    poke32(&machine, GPU, 0x18, 0x00000008);
    check_in(&machine, s, P2P_BUS_UNKNOWN, "BAR 3 of " GPU);
}

static void test_asleep(void)
{
    static const unsigned way[] = { AT_NVME, AT_GPU, DOWN_NVME, DOWN_GPU, UP };
    static const char *const states[] = { "D1", "D2", "D3hot", "D3cold" };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(way); i++) {
        MachineFunction *f = &s->functions[way[i]];
        const char *bdf = strrchr(f->way, '/') + 1;

        for (size_t j = 0; j < G_N_ELEMENTS(states); j++) {
            g_autofree char *said = g_strdup_printf("%s is in %s|%s/power",
                                                    bdf, states[j], bdf);

            f->power = states[j];
            check(s, P2P_BUS_ASLEEP, said);
        }
        f->power = "D0";
        for (uint8_t state = 1; state < 4; state++) {
            g_auto(Machine) machine = setup_write(s);

            /* Linux does not know that it sleeps. */
            poke(&machine, bdf, 0x44, &state, 1);
            check_in(&machine, s, P2P_BUS_ASLEEP, bdf);
        }
    }
    s->functions[AT_SOUND].power = s->functions[AT_NIC].power = "D3hot";
    check(s, P2P_BUS_NONE, NULL);
}

/* --- Who else there is --------------------------------------------------- */

/* What answers below the switch, and up to where */
static void test_overlap(void)
{
    static const struct {
        uint64_t first, last;
        const char *who;
    } answers[] = {
        { 0x90000000, 0x93ffffff, "0000:03:00.0" },     /* its windows */
        { 0x4000000000, 0x5fffffffff, "0000:03:00.0" },
        { 0x94800000, 0x9483ffff, "0000:03:00.0" },     /* its BAR */
    };
    g_autoptr(Setup) s = setup_new();
    P2PBusRange *range = &s->reach[RAM_LOW];

    for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
        uint64_t first = answers[i].first, last = answers[i].last;
        const P2PBusRange meets[] = {
            { first, 1 }, { last, 1 }, { first - MiB, MiB + 1 },
            { last, GiB }, { first + (last - first) / 2, 1 },
            { first - 1, last - first + 3 },
        };
        const P2PBusRange beside[] = {
            { first - MiB / 4, MiB / 4 }, { last + 1, 1 }, { first, 0 },
        };

        for (size_t j = 0; j < G_N_ELEMENTS(meets); j++) {
            *range = meets[j];
            check(s, P2P_BUS_OVERLAP, answers[i].who);
        }
        for (size_t j = 0; j < G_N_ELEMENTS(beside); j++) {
            *range = beside[j];
            check(s, P2P_BUS_NONE, NULL);
        }
    }
    /* All that there is, and what would end beyond */
    *range = (P2PBusRange) { 1, UINT64_MAX };
    check(s, P2P_BUS_OVERLAP, NVME " reaches in the guest at 0x");
    *range = (P2PBusRange) { 0x4000000000, UINT64_MAX };
    check(s, P2P_BUS_OVERLAP, "at 0x4000000000");
    /* The last range counts like the first. */
    *range = (P2PBusRange) { 0, GiB };
    s->reach[REACH - 1].start = 0x90000000;
    check(s, P2P_BUS_OVERLAP, "reaches in the guest at 0x90000000|"
          "max-ram-below-4g");
}

/* With the windows of the switch shut there is nothing but BARs, and so on. */
static void test_overlap_sources(void)
{
    g_autoptr(Setup) s = setup_new();
    P2PBusRange *range = &s->reach[RAM_LOW];

    /* A BAR where no window is: a function of the upstream port's device */
    s->functions[AT_NIC].way = OUTER "/0000:02:00.0/0000:03:00.1";
    s->owned[s->request.n_owned++] = "0000:03:00.1";
    check(s, P2P_BUS_NONE, NULL);
    *range = (P2PBusRange) { 0x960fffff, 1 };
    check(s, P2P_BUS_OVERLAP, "0000:03:00.1|a BAR");
    s->functions[AT_NIC].decode = false;        /* the guest may change it */
    check(s, P2P_BUS_OVERLAP, "0000:03:00.1|a BAR");
    {
        /* It is where the register has it, and where Linux will. */
        g_auto(Machine) machine = setup_write(s);

        poke32(&machine, "0000:03:00.1", 0x10, 0x97000000);
        check_in(&machine, s, P2P_BUS_OVERLAP, "0000:03:00.1|a BAR");
        *range = (P2PBusRange) { 0x97000000, 1 };
        check_in(&machine, s, P2P_BUS_OVERLAP, "0000:03:00.1|a BAR");
        *range = (P2PBusRange) { 0x97100000, 1 };
        check_in(&machine, s, P2P_BUS_NONE, NULL);
    }
    {
        /* One that would end beyond all addresses */
        g_auto(Machine) machine = setup_write(s);

        poke32(&machine, NVME, 0x10, 0xfffff004);
        poke32(&machine, NVME, 0x14, UINT32_MAX);
        *range = (P2PBusRange) { UINT64_MAX - 1, 1 };
        check_in(&machine, s, P2P_BUS_OVERLAP, NVME "|a BAR");
    }
    /* Windows of a port inside */
    *range = (P2PBusRange) { 0x70000000, 1 };
    s->functions[DOWN_EMPTY].memory = (MachineWindow) {
        0x70000000, 0x700fffff,
    };
    check(s, P2P_BUS_OVERLAP, "0000:04:02.0|a port's window");
    s->functions[DOWN_EMPTY].memory = (MachineWindow) { 0, 0 };
    s->functions[DOWN_EMPTY].prefetchable = (MachineWindow) {
        0x70000000, 0x700fffff,
    };
    check(s, P2P_BUS_OVERLAP, "0000:04:02.0|a port's window");
    s->functions[DOWN_EMPTY].prefetchable = (MachineWindow) { 0, 0 };
    check(s, P2P_BUS_NONE, NULL);
    s->functions[DOWN_EMPTY].vga = true;
    check(s, P2P_BUS_NONE, NULL);
    *range = (P2PBusRange) { 0x90000, 0x10001 };
    check(s, P2P_BUS_OVERLAP, "0000:04:02.0|0xa0000-0xbffff");
}

/* A bridge without a prefetchable window; one that nobody has set up */
static void test_zero_windows(void)
{
    g_autoptr(Setup) s = setup_new();

    for (unsigned decode = 0; decode < 2; decode++) {
        s->functions[DOWN_EMPTY].decode = decode;
        {
            g_auto(Machine) machine = setup_write(s);

            poke32(&machine, "0000:04:02.0", 0x24, 0);
            check_in(&machine, s, P2P_BUS_NONE, NULL);
            poke32(&machine, "0000:04:02.0", 0x20, 0);
            check_in(&machine, s, decode ? P2P_BUS_OVERLAP : P2P_BUS_NONE,
                     "0000:04:02.0, which has 0x0-0xfffff");
        }
    }
}

static void test_stranger(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.n_owned = 2;
    check(s, P2P_BUS_STRANGER, "below 0000:03:00.0|reach " SOUND ", too|assign "
          SOUND " to this VM too, or take it out of the switch");
    s->owned[0] = SOUND;
    check(s, P2P_BUS_STRANGER, "reach " NVME ", too");
    s->request.n_owned = 0;
    check(s, P2P_BUS_STRANGER, "reach " NVME ", " GPU ", " SOUND ", too|them");
}

static void test_strangers_are_counted(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);

    for (unsigned i = 1; i < 8; i++) {
        g_autofree char *way = g_strdup_printf(
            INNER "/0000:04:00.0/0000:05:00.%u", i);

        machine_add(&machine, way, TYPE_ENDPOINT, NO_ACS);
    }
    check_in(&machine, s, P2P_BUS_STRANGER,
             "0000:05:00.1, 0000:05:00.2, 0000:05:00.3, 0000:05:00.4 and 3 "
             "more, too");
}

/* Another function of the device that the upstream port is of */
static void test_stranger_beside_upstream_port(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);

    machine_add(&machine, OUTER "/0000:02:00.0/0000:03:00.1", TYPE_ENDPOINT,
                NO_ACS);
    check_in(&machine, s, P2P_BUS_STRANGER, "0000:03:00.1");
}

/*
 * A port above the switch lets requests pass to its neighbours: then these
 * are reached, too.
 */
static void test_reach_upwards(void)
{
    static const struct {
        int acs;
        bool reached;
    } ports[] = {
        { NO_ACS, true }, { 0, true }, { ALL_UP, false }, { ACS_RR, false },
        { ACS_SV | ACS_CR | ACS_UF, true }, { ACS_EC, true },
        { ALL_UP | ACS_EC, true },
    };
    g_autoptr(Setup) s = setup_new();

    for (size_t i = 0; i < G_N_ELEMENTS(ports); i++) {
        s->functions[OUTER_DOWN].acs = ports[i].acs;
        check(s, ports[i].reached ? P2P_BUS_STRANGER : P2P_BUS_NONE,
              "below 0000:01:00.0|" NIC);
        s->reach[RAM_LOW] = (P2PBusRange) { 0x96000000, 1 };
        check(s, ports[i].reached ? P2P_BUS_OVERLAP : P2P_BUS_NONE, "");
        s->reach[RAM_LOW] = (P2PBusRange) { 0, GiB };
        s->owned[3] = NIC;
        s->request.n_owned = 4;
        check(s, P2P_BUS_NONE, NULL);
        s->request.n_owned = 3;
    }
    /* What is not on the way there does not matter. */
    s->functions[OUTER_DOWN].acs = ALL_UP;
    s->functions[OUTER_DOWN_NIC].acs = NO_ACS;
    s->functions[ROOT_PORT].acs = NO_ACS;
    check(s, P2P_BUS_NONE, NULL);
}

/* Switches in a row: the common one is the outer one. */
static void test_cascade(void)
{
    g_autoptr(Setup) s = setup_new();

    s->functions[OUTER_DOWN].acs = NO_ACS;
    s->functions[OUTER_DOWN_NIC].acs = NO_ACS;
    s->request.initiator = NIC;
    s->owned[3] = NIC;
    s->request.n_owned = 4;
    check(s, P2P_BUS_NONE, NULL);
    s->functions[OUTER_DOWN].acs = ACS_RR;
    check(s, P2P_BUS_REDIRECTED, "at 0000:02:00.0 (");
    s->functions[OUTER_DOWN].acs = NO_ACS;
    s->functions[OUTER_DOWN].prefetchable.last = GPU_START;
    check(s, P2P_BUS_OUTSIDE_PORT, "port 0000:02:00.0");
    s->functions[OUTER_DOWN].prefetchable.last = 0x5fffffffff;
    s->functions[OUTER_UP].prefetchable.last = GPU_START;
    check(s, P2P_BUS_OUTSIDE_PORT, "port 0000:01:00.0");
    s->functions[OUTER_UP].prefetchable.last = 0x5fffffffff;
    s->owned[0] = SOUND;
    check(s, P2P_BUS_STRANGER, "below 0000:01:00.0|reach " NVME);
}

/* --- The order, and changes ---------------------------------------------- */

/* All conditions broken, and one after the other mended. */
static void test_order(void)
{
    g_autoptr(Setup) s = setup_new();

    s->request.n_owned = 2;
    s->reach[RAM_LOW].size = 3 * GiB;
    s->functions[DOWN_NVME].power = "D3hot";
    s->functions[DOWN_NVME].decode = false;
    s->request.offset = 16 * GiB;
    s->functions[UP].acs = ACS_RR;
    s->functions[DOWN_GPU].type = TYPE_TO_PCI;
    s->functions[AT_SOUND].config_size = 0;
    s->request.initiator = NULL;
    s->request.guest_iommu = true;
    s->request.enabled = false;
    check(s, P2P_BUS_DISABLED, "");
    s->request.enabled = true;
    check(s, P2P_BUS_GUEST_IOMMU, "");
    s->request.guest_iommu = false;
    check(s, P2P_BUS_NOT_PASSTHROUGH, "");
    s->request.initiator = NVME;
    check(s, P2P_BUS_UNKNOWN, "");
    s->functions[AT_SOUND].config_size = CONFIG_SIZE;
    s->request.initiator = GPU;
    check(s, P2P_BUS_NO_SWITCH, "");
    s->request.initiator = NVME;
    check(s, P2P_BUS_CONVENTIONAL, "");
    s->functions[DOWN_GPU].type = TYPE_DOWNSTREAM;
    check(s, P2P_BUS_REDIRECTED, "");
    s->functions[UP].acs = 0;
    check(s, P2P_BUS_OUTSIDE_PORT, "");
    s->request.offset = 0;
    check(s, P2P_BUS_NO_DECODE, "");
    s->functions[DOWN_NVME].decode = true;
    check(s, P2P_BUS_ASLEEP, "");
    s->functions[DOWN_NVME].power = "D0";
    check(s, P2P_BUS_OVERLAP, "");
    s->reach[RAM_LOW].size = 2 * GiB;
    check(s, P2P_BUS_STRANGER, "");
    s->request.n_owned = 3;
    check(s, P2P_BUS_NONE, NULL);
}

/* One machine, of which a fresh P2PHost sees each change, and its end. */
static void test_changes(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);
    uint8_t on[2] = { 0x06 }, off[2] = { 0 }, redirect[2] = { ACS_RR };
    const char *down = "0000:04:00.0";

    check_in(&machine, s, P2P_BUS_NONE, NULL);
    poke(&machine, GPU, 0x04, off, 2);
    check_in(&machine, s, P2P_BUS_NO_DECODE, GPU);
    poke(&machine, GPU, 0x04, on, 2);
    check_in(&machine, s, P2P_BUS_NONE, NULL);
    poke(&machine, down, ACS_AT + 6, redirect, 2);
    check_in(&machine, s, P2P_BUS_REDIRECTED, down);
    poke(&machine, down, ACS_AT + 6, off, 2);
    check_in(&machine, s, P2P_BUS_NONE, NULL);
    machine_text(&machine, GPU, "power_state", "D3hot\n");
    check_in(&machine, s, P2P_BUS_ASLEEP, GPU);
    machine_text(&machine, GPU, "power_state", "D0\n");
    check_in(&machine, s, P2P_BUS_NONE, NULL);
    /* hot-plugged */
    machine_add(&machine, INNER "/0000:04:02.0/0000:08:00.0", TYPE_ENDPOINT,
                NO_ACS);
    check_in(&machine, s, P2P_BUS_STRANGER, "0000:08:00.0");
}

/* A P2PHost is as it was: that is what makes a fresh one necessary. */
static void test_old_host(void)
{
    g_autoptr(Setup) s = setup_new();
    g_auto(Machine) machine = setup_write(s);
    g_autoptr(P2PHost) host = p2p_host_new(machine.root);
    P2PBusAddr address;

    g_assert_cmpint(p2p_bus_address(host, &s->request, &address, NULL), ==,
                    P2P_BUS_NONE);
    machine_text(&machine, GPU, "power_state", "D3hot\n");
    g_assert_cmpint(p2p_bus_address(host, &s->request, &address, NULL), ==,
                    P2P_BUS_NONE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus-address/given", test_given);
    g_test_add_func("/bus-address/given-inside-a-device",
                    test_given_inside_a_device);
    g_test_add_func("/bus-address/obstacles", test_obstacles);
    g_test_add_func("/bus-address/disabled", test_disabled);
    g_test_add_func("/bus-address/guest-iommu", test_guest_iommu);
    g_test_add_func("/bus-address/not-passthrough", test_not_passthrough);
    g_test_add_func("/bus-address/unknown/no-such-function",
                    test_no_such_function);
    g_test_add_func("/bus-address/unknown/unprivileged", test_unprivileged);
    g_test_add_func("/bus-address/unknown/header", test_header_unreadable);
    g_test_add_func("/bus-address/unknown/power", test_power_unknown);
    g_test_add_func("/bus-address/unknown/no-port", test_no_port);
    g_test_add_func("/bus-address/unknown/below-an-endpoint",
                    test_below_an_endpoint);
    g_test_add_func("/bus-address/unknown/not-below-a-root-port",
                    test_not_below_a_root_port);
    g_test_add_func("/bus-address/unknown/place", test_place_unknown);
    g_test_add_func("/bus-address/unknown/size", test_size_unknown);
    g_test_add_func("/bus-address/unknown/virtual-target",
                    test_virtual_target);
    g_test_add_func("/bus-address/no-switch", test_no_switch);
    g_test_add_func("/bus-address/no-switch/conventional",
                    test_no_switch_conventional);
    g_test_add_func("/bus-address/conventional", test_conventional);
    g_test_add_func("/bus-address/redirected", test_redirected);
    g_test_add_func("/bus-address/outside-port/bar", test_outside_bar);
    g_test_add_func("/bus-address/outside-port", test_outside_port);
    g_test_add_func("/bus-address/outside-port/memory", test_memory_window);
    g_test_add_func("/bus-address/no-decode", test_no_decode);
    g_test_add_func("/bus-address/no-decode/moved", test_moved);
    g_test_add_func("/bus-address/asleep", test_asleep);
    g_test_add_func("/bus-address/overlap", test_overlap);
    g_test_add_func("/bus-address/overlap/sources", test_overlap_sources);
    g_test_add_func("/bus-address/overlap/zero-windows", test_zero_windows);
    g_test_add_func("/bus-address/stranger", test_stranger);
    g_test_add_func("/bus-address/stranger/many", test_strangers_are_counted);
    g_test_add_func("/bus-address/stranger/beside-upstream-port",
                    test_stranger_beside_upstream_port);
    g_test_add_func("/bus-address/reach-upwards", test_reach_upwards);
    g_test_add_func("/bus-address/cascade", test_cascade);
    g_test_add_func("/bus-address/order", test_order);
    g_test_add_func("/bus-address/changes", test_changes);
    g_test_add_func("/bus-address/old-host", test_old_host);
    return g_test_run();
}
