/*
 * Asking a running VM about a pair of its devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_VIA_H
#define P2P_TOOL_VERIFY_VIA_H

#include "qmp.h"

/*
 * verify_via: ask the VM at @address whether @initiator reaches the windows
 * of @target, by query-p2p and p2p-translate; moves no data.  Prints what it
 * finds, as text or as JSON, and errors.
 *
 * @initiator, @target: id, QOM path, or host or guest BDF of members
 */
ToolStatus verify_via(const ToolVmAddress *address, const char *initiator,
                      const char *target, bool both_ways, bool json);

#endif /* P2P_TOOL_VERIFY_VIA_H */
