/*
 * A PCI function as the guest's firmware sees it
 *
 * libqos maps 32-bit BARs only, where it likes; tests of peer-to-peer DMA
 * choose the addresses themselves, also above 4 GiB and behind bridges.  For
 * x86 machines: configuration access is through ports 0xcf8 and 0xcfc.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_GUEST_PCI_H
#define P2P_TESTS_GUEST_PCI_H

#include "hw/p2p/addr.h"
#include "tests/qtest/libqtest.h"

/* A value: copy it as you like. */
typedef struct GuestPci {
    QTestState *qts;  /* not owned */
    uint8_t bus;      /* as given to the bridge above it; 0: the root bus */
    uint8_t devfn;    /* slot << 3 | function */
} GuestPci;

/* Registers of the first 256 bytes; @offset is a multiple of the size. */
uint16_t guest_pci_readw(const GuestPci *pci, uint8_t offset);
uint32_t guest_pci_readl(const GuestPci *pci, uint8_t offset);
void guest_pci_writew(const GuestPci *pci, uint8_t offset, uint16_t value);
void guest_pci_writel(const GuestPci *pci, uint8_t offset, uint32_t value);

/*
 * guest_pci_aim, guest_pci_shoot: a register's write in two steps, of which the
 * second is as short as can be.  No other access in between.
 */
void guest_pci_aim(const GuestPci *pci, uint8_t offset);
void guest_pci_shoot(const GuestPci *pci, uint8_t offset, uint16_t value);

/* guest_pci_exists: whether a function answers at this address. */
bool guest_pci_exists(const GuestPci *pci);

/*
 * guest_pci_command: set and clear bits of the command register
 * (PCI_COMMAND_* of standard-headers/linux/pci_regs.h); @clear goes first.
 */
void guest_pci_command(const GuestPci *pci, uint16_t set, uint16_t clear);

/*
 * guest_pci_capability: where a capability (PCI_CAP_ID_*) is among the
 * registers; 0: the function has none.
 */
uint8_t guest_pci_capability(const GuestPci *pci, uint8_t id);

/*
 * guest_pci_bar_size: size of a memory BAR in bytes, or 0 if there is none of
 * this number.  Memory decode is off meanwhile; the BAR's address and the
 * command register are as before when it returns.
 */
uint64_t guest_pci_bar_size(const GuestPci *pci, unsigned bar);

/*
 * guest_pci_bar_map: give a memory BAR its address, a multiple of its size,
 * and below 4 GiB unless the BAR has 64 bits.  Does not touch the command
 * register: the BAR shows up if and when memory decode is on.
 */
void guest_pci_bar_map(const GuestPci *pci, unsigned bar, P2PGuestAddr gpa);

/* guest_pci_bar_address: what the BAR holds now. */
P2PGuestAddr guest_pci_bar_address(const GuestPci *pci, unsigned bar);

/* A bridge's window; a multiple of 1 MiB in address and size, size 0: shut. */
typedef struct GuestPciWindow {
    P2PGuestAddr gpa;
    uint64_t size;
} GuestPciWindow;

/*
 * guest_pci_bridge_open: let a PCI-to-PCI bridge forward.
 *
 * @secondary: number for the bus below it; it gets no further bus
 * @memory: window for non-prefetchable BARs, below 4 GiB
 * @prefetchable: window for prefetchable BARs
 *
 * Turns memory decode and bus mastering of the bridge on.
 */
void guest_pci_bridge_open(const GuestPci *bridge, uint8_t secondary,
                           const GuestPciWindow *memory,
                           const GuestPciWindow *prefetchable);

#endif /* P2P_TESTS_GUEST_PCI_H */
