/*
 * Whether a root complex is known to route requests from one port to another
 *
 * PCIe leaves that to the implementation (6.0, 1.3.1), and no register tells.
 * Linux keeps a list (drivers/pci/p2pdma.c); what follows agrees with 7.3, the
 * longest so far.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <glib.h>
#include "host-bridge.h"
#include "pci-function.h"

enum {
    VENDOR_INTEL = 0x8086,
    VENDOR_NVIDIA = 0x10de,
    VENDOR_GOOGLE = 0x1ae0,

    AMD_FAMILY_ZEN = 0x17,
};

/*
 * By the device that stands for a host bridge: function 00.0 of its root bus,
 * or the root port that comes first there.
 */
static const struct KnownBridge {
    uint16_t vendor;
    uint16_t first, last;   /* device ids */
    bool same_host_bridge;  /* routes between its own ports only */
} known_bridges[] = {
    { VENDOR_INTEL, 0x3c00, 0x3c01, true },   /* Xeon E5, Core i7 */
    { VENDOR_INTEL, 0x2f00, 0x2f01, true },   /* Xeon E7 v3, Core i7 */
    { VENDOR_INTEL, 0x2020, 0x2020, false },  /* Skylake-E */
    { VENDOR_INTEL, 0x2030, 0x2033, false },
    { VENDOR_INTEL, 0x09a2, 0x09a2, false },  /* Ice Lake and later Xeons */
    { VENDOR_INTEL, 0x0b25, 0x0b25, false },  /* data streaming accelerator */
    { VENDOR_INTEL, 0x11fb, 0x11fb, false },
    { VENDOR_INTEL, 0x1212, 0x1212, false },
    { VENDOR_INTEL, 0x0cfe, 0x0cfe, false },  /* in-memory analytics */
    { VENDOR_INTEL, 0x1216, 0x1216, false },
    { VENDOR_INTEL, 0x4940, 0x4940, false },  /* QuickAssist */
    { VENDOR_INTEL, 0x4942, 0x4942, false },
    { VENDOR_INTEL, 0x4944, 0x4944, false },
    { VENDOR_INTEL, 0x4946, 0x4946, false },
    { VENDOR_INTEL, 0x4948, 0x4948, false },
    { VENDOR_GOOGLE, 0x0000, 0xffff, false },
    { VENDOR_NVIDIA, 0x2f95, 0x2f98, false }, /* its CPUs */
};

typedef struct Cpu {
    char *vendor;  /* NULL: not told */
    uint64_t family;
} Cpu;

/* One line of /proc/cpuinfo: "key<tab>: value". */
static void cpu_parse_line(Cpu *cpu, char *line)
{
    char *value = strchr(line, ':');

    if (!value) {
        return;
    }
    *value++ = '\0';
    g_strstrip(line);
    g_strstrip(value);
    if (strcmp(line, "vendor_id") == 0 && !cpu->vendor) {
        cpu->vendor = g_strdup(value);
    } else if (strcmp(line, "cpu family") == 0) {
        cpu->family = g_ascii_strtoull(value, NULL, 10);
    }
}

/*
 * Of the first CPU, as Linux does. Not the whole file: the kernel makes it up
 * line by line, which takes long with hundreds of CPUs.
 */
static void cpu_read(const char *sysroot, Cpu *cpu)
{
    g_autofree char *path = g_strdup_printf("%s/proc/cpuinfo", sysroot);
    FILE *file = fopen(path, "r");
    char line[4096];

    *cpu = (Cpu) { 0 };
    if (!file) {
        return;
    }
    while (fgets(line, sizeof(line), file) && *line != '\n') {
        cpu_parse_line(cpu, line);
    }
    fclose(file);
}

static bool cpu_routes(const Cpu *cpu)
{
    return g_strcmp0(cpu->vendor, "AuthenticAMD") == 0 &&
           cpu->family >= AMD_FAMILY_ZEN;
}

static char *cpu_describe(const Cpu *cpu)
{
    if (!cpu->vendor) {
        return g_strdup("of unknown vendor");
    }
    return g_strdup_printf("%s family 0x%" G_GINT64_MODIFIER "x", cpu->vendor,
                           cpu->family);
}

static const struct KnownBridge *find_known(uint16_t vendor, uint16_t device)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(known_bridges); i++) {
        const struct KnownBridge *known = &known_bridges[i];

        if (known->vendor == vendor && known->first <= device &&
            device <= known->last) {
            return known;
        }
    }
    return NULL;
}

/* The device that stands for the host bridge of @bus, or NULL. */
static char *bridge_device(const char *sysroot, const char *bus, char **why)
{
    g_autofree char *first = p2p_pci_first_on_bus(sysroot, bus, why);

    if (!first) {
        return NULL;
    }
    if (!g_str_has_suffix(first, ":00.0") &&
        !p2p_pci_is_root_port(sysroot, first, why)) {
        return NULL;
    }
    return g_steal_pointer(&first);
}

static bool bridge_routes(const char *sysroot, const char *bus, bool same,
                          char **why)
{
    g_autofree char *cause = NULL;
    g_autofree char *bdf = bridge_device(sysroot, bus, &cause);
    const struct KnownBridge *known;
    uint16_t vendor, device;

    if (!bdf || !p2p_pci_ids_read(sysroot, bdf, &vendor, &device, &cause)) {
        *why = g_strdup_printf("the host bridge of root bus %s cannot be "
                               "identified: %s", bus, cause);
        return false;
    }
    known = find_known(vendor, device);
    if (!known) {
        *why = g_strdup_printf("host bridge %04x:%04x at %s is not on Linux's "
                               "list of those that route between their ports",
                               vendor, device, bdf);
        return false;
    }
    if (known->same_host_bridge && !same) {
        *why = g_strdup_printf("host bridge %04x:%04x at %s routes between "
                               "its own ports only", vendor, device, bdf);
        return false;
    }
    *why = g_strdup_printf("host bridge %04x:%04x at %s is on Linux's list of "
                           "those that route between their ports",
                           vendor, device, bdf);
    return true;
}

bool p2p_host_bridge_routes(const char *sysroot, const char *a, const char *b,
                            char **why)
{
    bool same = strcmp(a, b) == 0;
    g_autofree char *bridge = NULL;
    g_autofree char *name = NULL;
    bool routes;
    Cpu cpu;

    cpu_read(sysroot, &cpu);
    name = cpu_describe(&cpu);
    routes = cpu_routes(&cpu);
    g_free(cpu.vendor);
    if (routes) {
        *why = g_strdup_printf("the root complex of an AMD Zen CPU (%s) "
                               "routes between its ports", name);
        return true;
    }

    routes = bridge_routes(sysroot, a, same, &bridge);
    if (routes && !same) {
        g_clear_pointer(&bridge, g_free);
        routes = bridge_routes(sysroot, b, same, &bridge);
    }
    if (routes) {
        *why = g_steal_pointer(&bridge);
    } else {
        *why = g_strdup_printf("%s, and the CPU (%s) is not known as an AMD "
                               "Zen", bridge, name);
    }
    return routes;
}
