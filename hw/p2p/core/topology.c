/*
 * Host PCI topology: the path between two functions and Linux's verdict on it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"
#include "host-bridge.h"
#include "pci-function.h"

/* The ports on the way that do not let requests take the shortest way. */
typedef struct Obstacles {
    GPtrArray *redirects;  /* BDFs, borrowed from the chains */
    char *unreadable;      /* why the first such port is; NULL: none is */
} Obstacles;

/* How many functions, from the host bridge down, both chains share. */
static unsigned shared_length(const P2PPciChain *a, const P2PPciChain *b)
{
    unsigned n = 0;

    if (strcmp(a->host_bridge, b->host_bridge) != 0) {
        return 0;
    }
    while (n < a->length && n < b->length &&
           strcmp(a->functions[n], b->functions[n]) == 0) {
        n++;
    }
    return n;
}

static P2PPathClass classify(const char *sysroot, const P2PPciChain *a,
                             const P2PPciChain *b, unsigned shared)
{
    const char *a_bdf = a->functions[a->length - 1];
    const char *b_bdf = b->functions[b->length - 1];

    if (strcmp(a_bdf, b_bdf) == 0) {
        return P2P_PATH_SELF;
    }
    if (shared > 0) {
        /*
         * A switch is two levels of ports, and of the one where both ways
         * part the upper port is the common bridge: what is left of it below
         * are two ports, besides the two functions. More is another switch.
         */
        unsigned below = a->length + b->length - 2 * shared;

        return below <= 4 ? P2P_PATH_PIX : P2P_PATH_PXB;
    }
    if (strcmp(a->host_bridge, b->host_bridge) == 0) {
        return P2P_PATH_PHB;
    }
    /* Nothing told (-1) for both: a machine with one node. */
    return p2p_pci_numa_node(sysroot, a_bdf) ==
           p2p_pci_numa_node(sysroot, b_bdf) ? P2P_PATH_NODE : P2P_PATH_SYS;
}

/* Ask functions @from (counted from the host bridge) to the end of @chain. */
static void find_obstacles(const char *sysroot, const P2PPciChain *chain,
                           unsigned from, Obstacles *obstacles)
{
    unsigned i;

    for (i = from; i < chain->length; i++) {
        g_autofree char *why = NULL;

        switch (p2p_pci_acs_read(sysroot, chain->functions[i], &why)) {
        case P2P_ACS_DIRECT:
            break;
        case P2P_ACS_REDIRECT:
            g_ptr_array_add(obstacles->redirects, chain->functions[i]);
            break;
        case P2P_ACS_UNREADABLE:
            if (!obstacles->unreadable) {
                obstacles->unreadable = g_steal_pointer(&why);
            }
            break;
        }
    }
}

static char *describe_redirects(GPtrArray *redirects)
{
    g_autofree char *list = NULL;

    g_ptr_array_add(redirects, NULL);
    list = g_strjoinv(";", (char **)redirects->pdata);
    return g_strdup_printf("ACS redirects requests to the root complex at %s "
                           "(boot the host with pci=disable_acs_redir=%s to "
                           "let the switch route them)", list, list);
}

/*
 * Why no bridge below the root complex is known to route from @initiator to
 * @target; NULL if one does.
 */
static char *why_not_switched(const char *sysroot,
                              const P2PPciChain *initiator,
                              const P2PPciChain *target, unsigned shared)
{
    g_autoptr(GPtrArray) redirects = g_ptr_array_new();
    Obstacles obstacles = { .redirects = redirects };

    if (shared == 0) {
        return g_strdup("no bridge below the root complex is above both");
    }
    /* Linux counts the common bridge too: once, with the target's side. */
    find_obstacles(sysroot, target, shared - 1, &obstacles);
    find_obstacles(sysroot, initiator, shared, &obstacles);

    if (redirects->len > 0) {
        g_free(obstacles.unreadable);
        return describe_redirects(redirects);
    }
    return obstacles.unreadable;
}

static void judge(const char *sysroot, const P2PPciChain *initiator,
                  const P2PPciChain *target, P2PPath *path)
{
    unsigned shared = shared_length(initiator, target);
    g_autofree char *detour = NULL;
    g_autofree char *bridge = NULL;
    const char *way_out;

    path->path_class = classify(sysroot, initiator, target, shared);
    path->routed_by_root_complex =
        p2p_host_bridge_routes(sysroot, initiator->host_bridge,
                               target->host_bridge, &bridge);

    detour = why_not_switched(sysroot, initiator, target, shared);
    if (!detour) {
        path->map_type = P2P_MAP_BUS_ADDR;
        path->reason = path->path_class == P2P_PATH_SELF
            ? g_strdup("the target is the initiator itself")
            : g_strdup_printf("%s is above both, and no port on the way "
                              "redirects requests",
                              target->functions[shared - 1]);
        return;
    }
    path->map_type = path->routed_by_root_complex ? P2P_MAP_THRU_HOST_BRIDGE
                                                  : P2P_MAP_NOT_SUPPORTED;
    way_out = !path->routed_by_root_complex && shared == 0
              ? ": put both functions under one PCIe switch" : "";
    path->reason = g_strdup_printf("%s; %s%s", detour, bridge, way_out);
}

void p2p_topology_path(const char *sysroot, const char *initiator,
                       const char *target, P2PPath *path)
{
    P2PPciChain from = { 0 };
    P2PPciChain to = { 0 };
    char *why = NULL;

    *path = (P2PPath) {
        .path_class = P2P_PATH_UNKNOWN,
        .map_type = P2P_MAP_NOT_SUPPORTED,
    };
    if (p2p_pci_chain_read(sysroot, initiator, &from, &why) &&
        p2p_pci_chain_read(sysroot, target, &to, &why)) {
        judge(sysroot, &from, &to, path);
    } else {
        path->reason = why;
    }
    p2p_pci_chain_clear(&from);
    p2p_pci_chain_clear(&to);
}

void p2p_path_clear(P2PPath *path)
{
    g_clear_pointer(&path->reason, g_free);
}
