/*
 * When an untranslated bus address may be handed out: not yet
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hw/p2p/bus-address.h"

P2PBusObstacle p2p_bus_address(P2PHost *host, const P2PBusRequest *request,
                               P2PBusAddr *address, char **why)
{
    return request->enabled ? P2P_BUS_UNKNOWN : P2P_BUS_DISABLED;
}

const char *p2p_bus_obstacle_str(P2PBusObstacle obstacle)
{
    return obstacle == P2P_BUS_DISABLED ? "disabled" : "unknown";
}
