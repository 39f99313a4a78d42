/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Addresses for an initiator
 */
#include <sys/ioctl.h>
#include "internal.h"

int p2p_bridge_translate(struct p2p_bridge *bridge, uint32_t initiator,
                         uint32_t kind, const struct p2p_bridge_vec *in,
                         uint32_t n_in, struct p2p_bridge_vec *out,
                         uint32_t *n_out, struct p2p_bridge_fault *fault)
{
    struct p2p_bridge_translate translate = {
        .size = sizeof(translate),
        .initiator = initiator,
        .kind = kind,
        .in = (uintptr_t)in,
        .out = (uintptr_t)out,
        .n_in = n_in,
        .n_out = *n_out,
    };
    int status = ioctl(bridge->fd, P2P_BRIDGE_IOC_TRANSLATE, &translate);

    /* A call that the driver has not looked at leaves it as it was. */
    *n_out = translate.n_out;
    if (fault) {
        *fault = (struct p2p_bridge_fault) {
            .status = translate.status,
            .index = translate.index,
            .reason = translate.reason,
            .address = translate.fault_addr,
        };
    }
    return status;
}

int p2p_bridge_bus_release(struct p2p_bridge *bridge, uint32_t initiator,
                           uint32_t target)
{
    struct p2p_bridge_bus_release release = {
        .size = sizeof(release),
        .initiator = initiator,
        .target = target,
    };

    return ioctl(bridge->fd, P2P_BRIDGE_IOC_BUS_RELEASE, &release);
}
