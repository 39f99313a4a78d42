/*
 * Host PCI topology: the path between two functions and Linux's verdict on it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"
#include "host-bridge.h"
#include "host-internal.h"

const P2PFunction *p2p_topology_common(const P2PFunction *a,
                                       const P2PFunction *b)
{
    while (a && a->depth > b->depth) {
        a = a->parent;
    }
    while (b && a && b->depth > a->depth) {
        b = b->parent;
    }
    while (a != b) {
        a = a->parent;
        b = b->parent;
    }
    return a;
}

static P2PPathClass classify(const P2PFunction *a, const P2PFunction *b,
                             const P2PFunction *common)
{
    if (a == b) {
        return P2P_PATH_SELF;
    }
    if (common) {
        /*
         * A switch is two levels of ports, and of the one where both ways
         * part the upper port is the common bridge: what is left of it below
         * are two ports, besides the two functions. More is another switch.
         */
        unsigned below = a->depth + b->depth - 2 * common->depth;

        return below <= 4 ? P2P_PATH_PIX : P2P_PATH_PXB;
    }
    if (strcmp(a->root_bus, b->root_bus) == 0) {
        return P2P_PATH_PHB;
    }
    /* Nothing told (-1) for both: a machine with one node. */
    return a->numa_node == b->numa_node ? P2P_PATH_NODE : P2P_PATH_SYS;
}

/*
 * How many functions on the way redirect (or are unreadable), if the two ends
 * and the common bridge have so many from the root bus down. Linux counts the
 * common bridge, too, if it is one @itself.
 */
static unsigned on_the_way(unsigned initiator, unsigned target,
                           unsigned common, bool itself)
{
    return initiator + target - 2 * common + itself;
}

P2PVerdict p2p_topology_verdict(P2PHost *host, const P2PFunction *initiator,
                                const P2PFunction *target)
{
    const P2PFunction *common = p2p_topology_common(initiator, target);
    P2PRouting routing = p2p_host_bridge_routes(host, initiator, target);
    bool redirected = !common ||
        on_the_way(initiator->redirects, target->redirects, common->redirects,
                   common->acs == P2P_ACS_REDIRECT);
    bool unreadable = common &&
        on_the_way(initiator->unreadable, target->unreadable,
                   common->unreadable, common->acs == P2P_ACS_UNREADABLE);
    P2PVerdict verdict = {
        .path_class = classify(initiator, target, common),
        .map_type = P2P_MAP_NOT_SUPPORTED,
        .routed_by_root_complex = routing == P2P_ROUTING_YES,
    };

    if (!redirected && !unreadable) {
        verdict.map_type = P2P_MAP_BUS_ADDR;
    } else if (routing == P2P_ROUTING_YES) {
        verdict.map_type = P2P_MAP_THRU_HOST_BRIDGE;
    } else {
        verdict.unknown = !redirected || routing == P2P_ROUTING_UNKNOWN;
    }
    return verdict;
}

/* --- Reasons --------------------------------------------------------------- */

/* Ask @function and all above it, up to @end, which is left out. */
static void find_redirects(const P2PFunction *function,
                           const P2PFunction *end, GPtrArray *redirects)
{
    guint first = redirects->len;

    for (; function != end; function = function->parent) {
        if (function->acs == P2P_ACS_REDIRECT) {
            g_ptr_array_insert(redirects, first, (void *)function);
        }
    }
}

GPtrArray *p2p_topology_redirects(const P2PFunction *initiator,
                                  const P2PFunction *target)
{
    const P2PFunction *common = p2p_topology_common(initiator, target);
    GPtrArray *redirects = g_ptr_array_new();

    if (common) {
        find_redirects(target, common->parent, redirects);
        find_redirects(initiator, common, redirects);
    }
    return redirects;
}

static char *describe_redirects(const GPtrArray *redirects)
{
    g_autofree char *list = p2p_function_names(redirects, "");

    return g_strdup_printf("ACS redirects requests to the root complex at %s "
                           "(boot the host with pci=disable_acs_redir=%s to "
                           "let the switch route them)", list, list);
}

/* The first one whose ACS cannot be read, from the top, up to below @end. */
static const char *first_unreadable(const P2PFunction *function,
                                    const P2PFunction *end)
{
    const char *why = NULL;

    for (; function != end; function = function->parent) {
        if (function->acs == P2P_ACS_UNREADABLE) {
            why = function->why_no_acs;
        }
    }
    return why;
}

/*
 * Why no bridge below the root complex is known to route from @initiator to
 * @target; NULL if one does.
 */
static char *why_not_switched(const P2PFunction *initiator,
                              const P2PFunction *target)
{
    const P2PFunction *common = p2p_topology_common(initiator, target);
    g_autoptr(GPtrArray) redirects = NULL;
    const char *unreadable;

    if (!common) {
        return g_strdup("no bridge below the root complex is above both");
    }
    redirects = p2p_topology_redirects(initiator, target);
    if (redirects->len > 0) {
        return describe_redirects(redirects);
    }
    unreadable = first_unreadable(target, common->parent)
                 ?: first_unreadable(initiator, common);
    return g_strdup(unreadable);
}

char *p2p_topology_reason(P2PHost *host, const P2PFunction *initiator,
                          const P2PFunction *target)
{
    const P2PFunction *common = p2p_topology_common(initiator, target);
    g_autofree char *detour = why_not_switched(initiator, target);
    g_autofree char *bridge = NULL;
    bool routed;

    if (!detour) {
        return initiator == target
            ? g_strdup("the target is the initiator itself")
            : g_strdup_printf("%s is above both, and no port on the way "
                              "redirects requests", common->bdf);
    }
    routed = p2p_host_bridge_routes(host, initiator, target) ==
             P2P_ROUTING_YES;
    bridge = p2p_topology_root_complex(host, initiator, target);
    return g_strdup_printf("%s; %s%s", detour, bridge, !routed && !common
                           ? ": put both functions under one PCIe switch"
                           : "");
}

void p2p_topology_path(const char *sysroot, const char *initiator,
                       const char *target, P2PPath *path)
{
    g_autoptr(P2PHost) host = p2p_host_new(sysroot);
    const P2PFunction *from, *to;

    *path = (P2PPath) {
        .verdict = {
            .path_class = P2P_PATH_UNKNOWN,
            .map_type = P2P_MAP_NOT_SUPPORTED,
            .unknown = true,
        },
    };
    from = p2p_host_function(host, initiator, &path->reason);
    to = from ? p2p_host_function(host, target, &path->reason) : NULL;
    if (to) {
        path->verdict = p2p_topology_verdict(host, from, to);
        path->reason = p2p_topology_reason(host, from, to);
    }
}

void p2p_path_clear(P2PPath *path)
{
    g_clear_pointer(&path->reason, g_free);
}
