/*
 * Fuzz target: configuration space that may be anything
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "pci-config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char bdf[] = "0000:00:01.0";
    P2PFunction function = { .bdf = bdf };
    const uint16_t redirect = P2P_ACS_REQUEST_REDIRECT |
                              P2P_ACS_COMPLETION_REDIRECT |
                              P2P_ACS_EGRESS_CONTROL;

    p2p_config_parse(&function, data, MIN(size, P2P_CONFIG_SIZE));
    g_assert((function.acs == P2P_ACS_UNREADABLE) ==
             (function.why_no_acs != NULL));
    g_assert(function.type <= P2P_PORT_UNKNOWN);
    if (function.acs == P2P_ACS_UNREADABLE) {
        g_assert(!function.has_acs && !function.has_ats);
    } else {
        g_assert((function.acs == P2P_ACS_REDIRECT) ==
                 (function.has_acs && (function.acs_control & redirect)));
    }
    for (unsigned i = 0; i < P2P_RANGES; i++) {
        const P2PPortWindow *window = &function.windows[i];

        g_assert(!window->open ||
                 (function.bridge && window->first <= window->last));
    }
    for (unsigned i = function.bridge ? 2 : P2P_BARS; i < P2P_BARS; i++) {
        g_assert(function.bar_addresses[i] == 0);
    }
    g_free(function.why_no_acs);
    return 0;
}
