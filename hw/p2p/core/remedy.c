/*
 * What a user can change so that two functions reach each other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "hw/p2p/topology.h"
#include "host-internal.h"

/*
 * Flags of Linux's pci=config_acs= (6.11 and later), from Direct Translated
 * down to Source Validation: 0 clears a bit, 1 sets it, x leaves it.
 */
#define ACS_NO_REDIRECT        "x0x00xx"
#define ACS_DIRECT_TRANSLATED  "1011101"

bool p2p_topology_direct_translated(const P2PFunction *initiator,
                                    const P2PFunction *target)
{
    g_autoptr(GPtrArray) redirects = p2p_topology_redirects(initiator,
                                                            target);

    for (guint i = 0; i < redirects->len; i++) {
        const P2PFunction *port = redirects->pdata[i];

        if (!(port->acs_control & P2P_ACS_DIRECT_TRANSLATED)) {
            return false;
        }
    }
    return initiator->has_ats && redirects->len > 0;
}

/* All of @ports can let translated requests pass, and @initiator has such. */
static bool can_translate(const P2PFunction *initiator,
                          const GPtrArray *ports)
{
    for (guint i = 0; i < ports->len; i++) {
        const P2PFunction *port = ports->pdata[i];

        if (!(port->acs_capability & P2P_ACS_DIRECT_TRANSLATED)) {
            return false;
        }
    }
    return initiator->has_ats;
}

static void add(GPtrArray *remedies, char *text)
{
    g_ptr_array_add(remedies, text);
}

static void add_acs_remedies(GPtrArray *remedies,
                             const P2PFunction *initiator,
                             const P2PFunction *target,
                             const GPtrArray *redirects)
{
    g_autofree char *ports = p2p_function_names(redirects, "");
    g_autofree char *flags = p2p_function_names(redirects,
                                                ACS_NO_REDIRECT "@");

    if (can_translate(initiator, redirects) &&
        !p2p_topology_direct_translated(initiator, target)) {
        g_autofree char *direct = p2p_function_names(
            redirects, ACS_DIRECT_TRANSLATED "@");

        add(remedies, g_strdup_printf(
            "boot the host with pci=config_acs=%s (Linux 6.11 or later): "
            "requests that %s had translated by ATS then take the direct "
            "way, all others stay confined; Linux does not count that, so "
            "verdicts stay as they are", direct, initiator->bdf));
    }
    add(remedies, g_strdup_printf(
        "boot the host with pci=disable_acs_redir=%s, or pci=config_acs=%s "
        "(Linux 6.11 or later): the switch then routes all requests, also "
        "those of other functions below these ports, so give them all to one "
        "VM", ports, flags));
}

GPtrArray *p2p_topology_remedies(P2PHost *host, const P2PFunction *initiator,
                                 const P2PFunction *target)
{
    GPtrArray *remedies = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) redirects = p2p_topology_redirects(initiator,
                                                            target);
    P2PVerdict verdict = p2p_topology_verdict(host, initiator, target);

    if (verdict.map_type == P2P_MAP_BUS_ADDR) {
        return remedies;
    }
    if (redirects->len > 0) {
        add_acs_remedies(remedies, initiator, target, redirects);
    } else if (verdict.unknown) {
        add(remedies, g_strdup("read the host as root: what decides can be "
                               "seen by root only"));
    } else if (!p2p_topology_common(initiator, target) &&
               !verdict.routed_by_root_complex) {
        add(remedies, g_strdup("put both functions below one PCIe switch; no "
                               "setting of this host helps"));
    }
    return remedies;
}
