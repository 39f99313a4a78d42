/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Inside of libp2p-bridge
 */
#ifndef LIBP2P_BRIDGE_INTERNAL_H
#define LIBP2P_BRIDGE_INTERNAL_H

#include "libp2p-bridge.h"

struct p2p_bridge {
    int fd;
};

#endif /* LIBP2P_BRIDGE_INTERNAL_H */
