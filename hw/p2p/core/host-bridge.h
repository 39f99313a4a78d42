/*
 * Whether a root complex is known to route requests from one port to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_HOST_BRIDGE_H
#define HW_P2P_CORE_HOST_BRIDGE_H

#include <stdbool.h>

/*
 * @sysroot: prefix of "/sys" and "/proc"
 * @a, @b: root buses of the two host bridges, "dddd:bb"; may be equal
 * @why: set in either case, to a clause that names what decided; the caller
 *     frees it
 */
bool p2p_host_bridge_routes(const char *sysroot, const char *a, const char *b,
                            char **why);

#endif /* HW_P2P_CORE_HOST_BRIDGE_H */
