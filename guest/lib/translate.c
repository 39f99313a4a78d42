/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Addresses for an initiator
 */
#include <errno.h>
#include <sys/ioctl.h>
#include "internal.h"

/* For the driver, an answer of the device is one, whatever it says. */
static int status_to_errno(uint32_t status)
{
    switch (status) {
    case P2P_BRIDGE_NO_SPACE:
        return ENOSPC;
    case P2P_BRIDGE_NO_MEMBER:
        return ENXIO;
    case P2P_BRIDGE_FAULT:
        return EFAULT;
    case P2P_BRIDGE_BUS_REFUSED:
        return EACCES;
    case P2P_BRIDGE_BAD_FIELD:
    case P2P_BRIDGE_BAD_LENGTH:
        return EINVAL;
    default:
        return EIO;
    }
}

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

    *n_out = translate.n_out;
    if (fault) {
        *fault = (struct p2p_bridge_fault) {
            .status = translate.status,
            .index = translate.index,
            .reason = translate.reason,
            .address = translate.fault_addr,
        };
    }
    if (status == 0 && translate.status != P2P_BRIDGE_OK) {
        errno = status_to_errno(translate.status);
        return -1;
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
