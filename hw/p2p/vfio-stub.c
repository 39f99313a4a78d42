/*
 * Without VFIO there are no passthrough devices, and nobody calls these
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/p2p/internal.h"

AddressSpace *p2p_vfio_address_space(void *container)
{
    g_assert_not_reached();
}

const void *p2p_vfio_container(PCIDevice *dev)
{
    g_assert_not_reached();
}

bool p2p_vfio_uses_iommufd(PCIDevice *dev)
{
    g_assert_not_reached();
}

const char *p2p_vfio_backend(PCIDevice *dev)
{
    return "";
}

char *p2p_vfio_host_bdf(PCIDevice *dev)
{
    g_assert_not_reached();
}

bool p2p_vfio_is_hardware(PCIDevice *dev)
{
    g_assert_not_reached();
}

int p2p_vfio_iommu_group(PCIDevice *dev)
{
    g_assert_not_reached();
}

bool p2p_vfio_mapping_suspended(PCIDevice *dev, int bar)
{
    g_assert_not_reached();
}

bool p2p_vfio_intx_only(PCIDevice *dev)
{
    g_assert_not_reached();
}

int p2p_vfio_bar_fd(PCIDevice *dev, int bar, off_t *offset)
{
    g_assert_not_reached();
}

bool p2p_vfio_wait_for_map(void *container, bool wait)
{
    g_assert_not_reached();
}

bool p2p_vfio_set_decode(PCIDevice *dev, bool on)
{
    g_assert_not_reached();
}
