/*
 * What every PCI device knows of peer-to-peer DMA
 *
 * The stock PCI code holds a P2PDevice in each PCIDevice and calls the
 * functions below.  Without a p2p-group they do nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_DEVICE_H
#define HW_P2P_DEVICE_H

#include "hw/qdev-properties.h"

typedef struct P2PGroup P2PGroup;
typedef struct P2PMember P2PMember;

/* Protected by the BQL. */
typedef struct P2PDevice {
    /* Properties, constant once the device is realized */
    P2PGroup *group;       /* owned reference, NULL: no group */
    char *share;           /* NULL: auto */
    bool initiate;

    P2PMember *member;     /* NULL unless joined to @group */
    AddressSpace *as;      /* DMA address space; NULL: as in stock QEMU */
} P2PDevice;

extern const PropertyInfo p2p_prop_group;

#define P2P_DEVICE_PROPERTIES(_s, _f)                                   \
    DEFINE_PROP("p2p-group", _s, _f.group, p2p_prop_group, P2PGroup *), \
    DEFINE_PROP_STRING("p2p-share", _s, _f.share),                      \
    DEFINE_PROP_BOOL("p2p-initiate", _s, _f.initiate, true)

/*
 * p2p_device_join: choose the DMA address space of @dev.
 *
 * Called once its bus and slot are known, before anything asks for its
 * address space. Returns false with @errp set if the device must not be in
 * the group it names; nothing is to be undone then.
 */
bool p2p_device_join(PCIDevice *dev, Error **errp);

/*
 * p2p_device_realized: share the BARs of @dev.
 *
 * Called at the end of realize; if it has failed and *@errp is set, nothing is
 * done. On failure the caller unrealizes the device as usual.
 */
void p2p_device_realized(PCIDevice *dev, Error **errp);

/*
 * p2p_before_config_write: the guest, or a reset, writes to the configuration
 * space of a passthrough device.
 *
 * Called before the host's device gets it: if it makes the device stop decoding
 * (memory decode off, a reset, a sleep state), no peer reaches its BARs when
 * this returns. p2p_after_config_write() follows in any case; if the device
 * decodes, its peers can reach it again then.
 */
void p2p_before_config_write(PCIDevice *dev, uint32_t addr, uint32_t value,
                             int len);
void p2p_after_config_write(PCIDevice *dev, uint32_t addr, int len);

/* p2p_device_leave: the reverse of both; @dev may not have joined. */
void p2p_device_leave(PCIDevice *dev);

#endif /* HW_P2P_DEVICE_H */
