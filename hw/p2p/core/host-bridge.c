/*
 * Whether a root complex is known to route requests from one port to another
 *
 * PCIe leaves that to the implementation (6.0, 1.3.1), and no register tells.
 * Linux keeps a list (drivers/pci/p2pdma.c); what follows agrees with 7.3, the
 * longest so far.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"
#include "host-bridge.h"
#include "host-internal.h"

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

/* What a root bus is known for; owned by the host, constant. */
struct P2PHostBridge {
    char *root_bus;
    const P2PFunction *stand_in;      /* NULL: cannot be identified */
    const struct KnownBridge *known;  /* NULL: not on the list */
    char *why_not;                    /* why stand_in is NULL */
    bool unreadable;                  /* and that could not be found out */
};

void p2p_host_bridge_free(P2PHostBridge *bridge)
{
    g_free(bridge->root_bus);
    g_free(bridge->why_not);
    g_free(bridge);
}

static bool cpu_routes(const P2PHostCpu *cpu)
{
    return g_strcmp0(cpu->vendor, "AuthenticAMD") == 0 &&
           cpu->family >= AMD_FAMILY_ZEN;
}

static char *cpu_describe(const P2PHostCpu *cpu)
{
    if (!cpu->vendor) {
        return g_strdup("of unknown vendor");
    }
    return g_strdup_printf("%s family 0x%x", cpu->vendor, cpu->family);
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

/* The function that stands for the host bridge of @bus, or NULL. */
static const P2PFunction *find_stand_in(P2PHost *host, const char *bus,
                                        bool *unreadable, char **why)
{
    const P2PFunction *first = p2p_host_first_on_bus(host, bus, why);

    *unreadable = true;
    if (!first) {
        return NULL;
    }
    if (!g_str_has_suffix(first->bdf, ":00.0") &&
        first->type != P2P_PORT_ROOT) {
        *unreadable = first->type == P2P_PORT_UNKNOWN;
        *why = *unreadable ? g_strdup(first->why_no_acs)
               : g_strdup_printf("%s is not a root port", first->bdf);
        return NULL;
    }
    p2p_function_details(host, first);
    if (first->why_no_ids) {
        *why = g_strdup(first->why_no_ids);
        return NULL;
    }
    return first;
}

static P2PHostBridge *read_bridge(P2PHost *host, const char *bus)
{
    P2PHostBridge *bridge = g_new0(P2PHostBridge, 1);

    bridge->root_bus = g_strdup(bus);
    bridge->stand_in = find_stand_in(host, bus, &bridge->unreadable,
                                         &bridge->why_not);
    if (bridge->stand_in) {
        bridge->known = find_known(bridge->stand_in->vendor,
                                   bridge->stand_in->device);
    }
    g_hash_table_insert(host->bridges, bridge->root_bus, bridge);
    return bridge;
}

/* Asked for each pair, and looked up for each function once. */
static const P2PHostBridge *find_bridge(P2PHost *host,
                                        const P2PFunction *function)
{
    if (!function->host_bridge) {
        P2PFunction *own = g_hash_table_lookup(host->functions,
                                               function->bdf);

        own->host_bridge = g_hash_table_lookup(host->bridges, own->root_bus)
                           ?: read_bridge(host, own->root_bus);
    }
    return function->host_bridge;
}

static P2PRouting bridge_routes(const P2PHostBridge *bridge, bool same)
{
    if (!bridge->stand_in) {
        return bridge->unreadable ? P2P_ROUTING_UNKNOWN : P2P_ROUTING_NO;
    }
    return bridge->known && (same || !bridge->known->same_host_bridge)
           ? P2P_ROUTING_YES : P2P_ROUTING_NO;
}

static char *bridge_reason(const P2PHostBridge *bridge, bool same)
{
    const P2PFunction *dev = bridge->stand_in;
    const char *verdict;

    if (!dev) {
        return g_strdup_printf("the host bridge of root bus %s cannot be "
                               "identified: %s", bridge->root_bus,
                               bridge->why_not);
    }
    if (!bridge->known) {
        verdict = "is not on Linux's list of those that route between their "
                  "ports";
    } else if (bridge->known->same_host_bridge && !same) {
        verdict = "routes between its own ports only";
    } else {
        verdict = "is on Linux's list of those that route between their ports";
    }
    return g_strdup_printf("host bridge %04x:%04x at %s %s", dev->vendor,
                           dev->device, dev->bdf, verdict);
}

/*
 * The bridge that decides, the same for both directions: one that does not
 * route, else one that is not known to, else any.
 */
static const P2PHostBridge *deciding_bridge(P2PHost *host,
                                            const P2PFunction *a,
                                            const P2PFunction *b, bool *same)
{
    const P2PHostBridge *bridge = find_bridge(host, a);
    const P2PHostBridge *other;
    P2PRouting routing, others;

    other = find_bridge(host, b);
    *same = bridge == other;
    if (*same) {
        return bridge;
    }
    routing = bridge_routes(bridge, false);
    others = bridge_routes(other, false);
    return routing == P2P_ROUTING_YES ||
           (routing == P2P_ROUTING_UNKNOWN && others == P2P_ROUTING_NO)
           ? other : bridge;
}

P2PRouting p2p_host_bridge_routes(P2PHost *host, const P2PFunction *a,
                                  const P2PFunction *b)
{
    const P2PHostBridge *bridge;
    bool same;

    if (cpu_routes(p2p_host_cpu(host))) {
        return P2P_ROUTING_YES;
    }
    bridge = deciding_bridge(host, a, b, &same);
    return bridge_routes(bridge, same);
}

char *p2p_topology_root_complex(P2PHost *host, const P2PFunction *a,
                                const P2PFunction *b)
{
    const P2PHostCpu *cpu = p2p_host_cpu(host);
    g_autofree char *name = cpu_describe(cpu);
    const P2PHostBridge *bridge;
    char *reason;
    bool same;

    if (cpu_routes(cpu)) {
        return g_strdup_printf("the root complex of an AMD Zen CPU (%s) "
                               "routes between its ports", name);
    }
    bridge = deciding_bridge(host, a, b, &same);
    reason = bridge_reason(bridge, same);
    if (bridge_routes(bridge, same) != P2P_ROUTING_YES) {
        g_autofree char *clause = reason;

        reason = g_strdup_printf("%s, and the CPU (%s) is not known as an AMD "
                                 "Zen", clause, name);
    }
    return reason;
}
