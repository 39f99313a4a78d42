/*
 * Devices that are passed through: which they are, and who knows about them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/p2p/internal.h"

typedef struct P2PPassthroughType {
    const char *name;
    const P2PPassthrough *ops;
} P2PPassthroughType;

static P2PPassthroughType p2p_passthrough_types[4];
static unsigned p2p_n_passthrough_types;

void p2p_passthrough_register(const char *type, const P2PPassthrough *ops)
{
    assert(p2p_n_passthrough_types < ARRAY_SIZE(p2p_passthrough_types));
    p2p_passthrough_types[p2p_n_passthrough_types++] =
        (P2PPassthroughType) { type, ops };
}

const P2PPassthrough *p2p_passthrough(PCIDevice *dev)
{
    for (unsigned i = 0; i < p2p_n_passthrough_types; i++) {
        if (object_dynamic_cast(OBJECT(dev), p2p_passthrough_types[i].name)) {
            return p2p_passthrough_types[i].ops;
        }
    }
    return NULL;
}

int p2p_passthrough_iommu_group(PCIDevice *dev)
{
    const P2PPassthrough *ops = p2p_passthrough(dev);

    return ops->iommu_group ? ops->iommu_group(dev) : -1;
}

bool p2p_passthrough_intx_only(PCIDevice *dev)
{
    const P2PPassthrough *ops = p2p_passthrough(dev);

    return ops->intx_only && ops->intx_only(dev);
}

bool p2p_passthrough_mapping_suspended(PCIDevice *dev, int bar)
{
    const P2PPassthrough *ops = p2p_passthrough(dev);

    return ops->mapping_suspended && ops->mapping_suspended(dev, bar);
}

bool p2p_passthrough_set_decode(PCIDevice *dev, bool on)
{
    const P2PPassthrough *ops = p2p_passthrough(dev);

    return ops->set_decode && ops->set_decode(dev, on);
}
