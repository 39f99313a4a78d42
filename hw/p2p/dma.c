/*
 * What the DMA helpers of a device model get from its view
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "hw/pci/pci_ids.h"
#include "hw/p2p/internal.h"

/*
 * A network device has no way to tell its driver that a packet went wrong. It
 * gets no pointer to memory that is known not to be there, but drops the packet
 * or asks to be reset.
 */
static bool p2p_view_is_of_nic(P2PView *view)
{
    P2PMember *member = p2p_view_member(view);

    return member &&
           pci_get_byte(member->dev->config + PCI_CLASS_DEVICE + 1) ==
           PCI_BASE_CLASS_NETWORK;
}

/*
 * A pointer that fails the request: a device model that maps a whole vector
 * gives up on all of it, or even on itself, if it gets none.
 */
static void *p2p_map_fault(P2PView *view, hwaddr gpa, hwaddr *plen,
                           bool is_write)
{
    size_t offset = gpa % qemu_real_host_page_size();

    p2p_view_fault(view, gpa, is_write);
    if (p2p_view_is_of_nic(view)) {
        *plen = 0;
        return NULL;
    }
    *plen = MIN(*plen, P2P_FAULT_SIZE - offset);
    return p2p_bar_mapping_get(p2p_fault_mapping(), offset);
}

/* NULL: the device may not reach it, or it is gone. */
static P2PBarMapping *p2p_dma_target(P2PBarMapping *mapping)
{
    return mapping && p2p_bar_mapping_state(mapping) == P2P_MAPPING_LIVE
           ? mapping : NULL;
}

bool p2p_dma_is_peer(MemoryRegion *mr, hwaddr addr, bool is_write)
{
    P2PView *view;
    P2PBarMapping *mapping;
    hwaddr gpa;

    if (p2p_view_from_root(mr)) {
        return true;
    }
    if (!p2p_model_window_find(mr, addr, is_write, &view, &mapping, &gpa)) {
        return false;
    }
    mapping = p2p_dma_target(mapping);
    /* A network device looks at the packet itself: a bounce buffer. */
    return !mapping || p2p_bar_mapping_is_file(mapping) ||
           !p2p_view_is_of_nic(view);
}

void *p2p_dma_map(MemoryRegion *mr, hwaddr addr, hwaddr *plen, bool is_write)
{
    P2PView *view = p2p_view_from_root(mr);
    P2PBarMapping *mapping;
    hwaddr gpa;

    if (view) {
        return p2p_map_fault(view, addr, plen, is_write);
    }
    p2p_model_window_find(mr, addr, is_write, &view, &mapping, &gpa);
    mapping = p2p_dma_target(mapping);
    if (!mapping) {
        return p2p_map_fault(view, gpa, plen, is_write);
    }
    *plen = MIN(*plen, memory_region_size(mr) - addr);
    switch (p2p_quiesce_admit(p2p_view_member(view), addr, *plen)) {
    case P2P_ADMIT:
        break;
    case P2P_ADMIT_LATER:
        *plen = 0;
        return NULL;
    case P2P_ADMIT_NEVER:
        return p2p_map_fault(view, gpa, plen, is_write);
    }
    p2p_quiesce_hold();
    return p2p_bar_mapping_get(mapping, addr);
}

/*
 * Who has mapped a window; NULL: cannot be told.  The root is not the view's,
 * but what switches bus mastering in front of it, and stands in the device that
 * owns it.  To look at the type of that would cost more than all else.
 */
static P2PMember *p2p_member_of_root(MemoryRegion *root)
{
    PCIDevice *dev = container_of(root, PCIDevice,
                                  bus_master_container_region);

    /* It is a member for as long as it has buffers mapped. */
    return memory_region_owner(root) == (Object *)dev ? dev->p2p.member : NULL;
}

static void p2p_dma_count(MemoryRegion *root, P2PBarMapping *mapping,
                          hwaddr accessed)
{
    P2PMember *member = p2p_member_of_root(root);

    if (member && !member->by_request && accessed &&
        p2p_bar_mapping_state(mapping) == P2P_MAPPING_LIVE) {
        p2p_traffic_add_of(p2p_bar_mapping_traffic(mapping), member->index, 1,
                           accessed);
    }
}

bool p2p_dma_unmap(MemoryRegion *root, void *ptr, hwaddr accessed)
{
    P2PBarMapping *mapping;

    WITH_RCU_READ_LOCK_GUARD() {
        mapping = p2p_bar_mapping_find(ptr);
    }
    if (!mapping) {
        return false;
    }
    p2p_dma_count(root, mapping, accessed);
    p2p_bar_mapping_put(mapping);
    if (mapping != p2p_fault_mapping()) {
        p2p_quiesce_release();
    }
    return true;
}

static bool p2p_root_is_of_member(MemoryRegion *root)
{
    Object *dev = object_dynamic_cast(memory_region_owner(root),
                                      TYPE_PCI_DEVICE);

    return dev && PCI_DEVICE(dev)->p2p.as;
}

uint64_t p2p_dma_residual(MemoryRegion *root, MemTxResult result,
                          uint64_t size, uint64_t residual)
{
    return result != MEMTX_OK && p2p_root_is_of_member(root) ? size : residual;
}
