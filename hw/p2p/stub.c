/*
 * For machines without peer-to-peer DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-p2p.h"
#include "qapi/visitor.h"
#include "hw/p2p/compat.h"
#include "hw/pci/pci_device.h"
#include "hw/p2p/hooks.h"

/* The properties exist and refuse every group: there is no such object. */
static void p2p_prop_group_get(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    char *none = (char *)"";

    visit_type_str(v, name, &none, errp);
}

static void p2p_prop_group_set(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    error_setg(errp, "p2p-group: this machine has no peer-to-peer support");
}

const PropertyInfo p2p_prop_group = {
    .type = "link<p2p-group>",
    .get = p2p_prop_group_get,
    .set = p2p_prop_group_set,
};

bool p2p_device_join(PCIDevice *dev, Error **errp)
{
    if (dev->p2p.share || !dev->p2p.initiate) {
        error_setg(errp, "%s: p2p-share and p2p-initiate=off have no effect "
                   "without p2p-group", dev->name);
        return false;
    }
    return true;
}

void p2p_device_realized(PCIDevice *dev, Error **errp)
{
}

void p2p_device_leave(PCIDevice *dev)
{
}

void p2p_before_config_write(PCIDevice *dev, uint32_t addr, uint32_t value,
                             int len)
{
}

void p2p_after_config_write(PCIDevice *dev, uint32_t addr, int len)
{
}

void p2p_memory_committed(void)
{
}

bool p2p_dma_is_peer(MemoryRegion *mr, hwaddr addr, bool is_write)
{
    return false;
}

void *p2p_dma_map(MemoryRegion *mr, hwaddr addr, hwaddr *plen, bool is_write)
{
    g_assert_not_reached();
}

bool p2p_dma_unmap(MemoryRegion *root, void *ptr, hwaddr accessed)
{
    return false;
}

bool p2p_is_view(AddressSpace *as)
{
    return false;
}

uint64_t p2p_dma_residual(MemoryRegion *root, MemTxResult result,
                          uint64_t size, uint64_t residual)
{
    return residual;
}

P2PGroupInfoList *qmp_query_p2p(Error **errp)
{
    return NULL;
}

static void p2p_no_member(const char *device, Error **errp)
{
    error_setg(errp, "'%s' does not belong to a p2p-group: this machine has "
               "no peer-to-peer support", device);
}

void qmp_p2p_share(const char *device, uint8_t bar, bool has_offset,
                   uint64_t offset, bool has_size, uint64_t size,
                   bool has_access, P2PAccess access, Error **errp)
{
    p2p_no_member(device, errp);
}

void coroutine_fn qmp_p2p_unshare(const char *device, uint8_t bar,
                                  bool has_offset, uint64_t offset,
                                  bool has_size, uint64_t size, Error **errp)
{
    p2p_no_member(device, errp);
}

P2PTranslation *qmp_p2p_translate(const char *initiator,
                                  P2PGuestEntryList *vector, Error **errp)
{
    p2p_no_member(initiator, errp);
    return NULL;
}
