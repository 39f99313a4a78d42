/*
 * What the variants of the test device share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_TESTDEV_H
#define HW_P2P_TESTDEV_H

#include "hw/pci/pci_device.h"
#include "hw/p2p/compat.h"

#define TYPE_P2P_TESTDEV "p2p-testdev"
OBJECT_DECLARE_TYPE(P2PTestDev, P2PTestDevClass, P2P_TESTDEV)

struct P2PTestDevClass {
    PCIDeviceClass parent_class;

    /* Move @len bytes between @buffer and the DMA address @addr. */
    MemTxResult (*dma)(PCIDevice *pci, dma_addr_t addr, void *buffer,
                       size_t len, bool is_write);
    /* Its state has been loaded; NULL: nothing is to be done. */
    void (*loaded)(PCIDevice *pci);
};

#endif /* HW_P2P_TESTDEV_H */
