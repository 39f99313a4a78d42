/*
 * What a function's configuration space tells
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_PCI_CONFIG_H
#define HW_P2P_CORE_PCI_CONFIG_H

#include "hw/p2p/host.h"

#define P2P_CONFIG_SIZE 4096

/*
 * Fill in class, type, bridge, links, ACS, ATS, decode, BAR addresses, windows
 * and power of @function (whose bdf is set) from the @size bytes at @bytes: 64
 * are what everybody may read, 256 all that a conventional function has.  What
 * they do not tell is left as unreadable, and why_no_acs says why.
 */
void p2p_config_parse(P2PFunction *function, const uint8_t *bytes,
                      size_t size);

#endif /* HW_P2P_CORE_PCI_CONFIG_H */
