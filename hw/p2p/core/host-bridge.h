/*
 * Whether a root complex is known to route requests from one port to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_HOST_BRIDGE_H
#define HW_P2P_CORE_HOST_BRIDGE_H

#include "hw/p2p/host.h"

typedef enum P2PRouting {
    P2P_ROUTING_NO,
    P2P_ROUTING_YES,
    P2P_ROUTING_UNKNOWN,    /* what decides could not be read: no */
} P2PRouting;

/* @a, @b: functions below the two host bridges, which may be the same. */
P2PRouting p2p_host_bridge_routes(P2PHost *host, const P2PFunction *a,
                                  const P2PFunction *b);

typedef struct P2PHostBridge P2PHostBridge;
void p2p_host_bridge_free(P2PHostBridge *bridge);

#endif /* HW_P2P_CORE_HOST_BRIDGE_H */
