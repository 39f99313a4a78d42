/*
 * A PCI function as the guest's firmware sees it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "guest-pci.h"

/* PCI 3.0, 3.2.2.3.2: configuration mechanism #1 */
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  (1u << 31)

static uint16_t config_port(const GuestPci *pci, uint8_t offset)
{
    qtest_outl(pci->qts, CONFIG_ADDRESS,
               CONFIG_ENABLE | (uint32_t)pci->bus << 16 |
               (uint32_t)pci->devfn << 8 | (offset & ~3));
    return CONFIG_DATA + (offset & 3);
}

uint16_t guest_pci_readw(const GuestPci *pci, uint8_t offset)
{
    return qtest_inw(pci->qts, config_port(pci, offset));
}

uint32_t guest_pci_readl(const GuestPci *pci, uint8_t offset)
{
    return qtest_inl(pci->qts, config_port(pci, offset));
}

void guest_pci_writew(const GuestPci *pci, uint8_t offset, uint16_t value)
{
    qtest_outw(pci->qts, config_port(pci, offset), value);
}

void guest_pci_writel(const GuestPci *pci, uint8_t offset, uint32_t value)
{
    qtest_outl(pci->qts, config_port(pci, offset), value);
}

void guest_pci_aim(const GuestPci *pci, uint8_t offset)
{
    config_port(pci, offset);
}

void guest_pci_shoot(const GuestPci *pci, uint8_t offset, uint16_t value)
{
    qtest_outw(pci->qts, CONFIG_DATA + (offset & 3), value);
}

bool guest_pci_exists(const GuestPci *pci)
{
    return guest_pci_readw(pci, PCI_VENDOR_ID) != 0xffff;
}

void guest_pci_command(const GuestPci *pci, uint16_t set, uint16_t clear)
{
    uint16_t command = guest_pci_readw(pci, PCI_COMMAND);

    guest_pci_writew(pci, PCI_COMMAND, (command & ~clear) | set);
}

uint8_t guest_pci_capability(const GuestPci *pci, uint8_t id)
{
    uint8_t at = guest_pci_readw(pci, PCI_CAPABILITY_LIST) & 0xff;

    /* PCI 3.0, 6.7: identifier, then where the next one is */
    while (at) {
        uint16_t head = guest_pci_readw(pci, at);

        if ((head & 0xff) == id) {
            break;
        }
        at = head >> 8;
    }
    return at;
}

static uint8_t bar_register(unsigned bar)
{
    g_assert_cmpuint(bar, <, PCI_STD_NUM_BARS);
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static bool bar_is_64bit(uint32_t value)
{
    return (value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
           PCI_BASE_ADDRESS_MEM_TYPE_64;
}

uint64_t guest_pci_bar_size(const GuestPci *pci, unsigned bar)
{
    uint8_t reg = bar_register(bar);
    uint16_t command = guest_pci_readw(pci, PCI_COMMAND);
    uint32_t low = guest_pci_readl(pci, reg);
    uint64_t mask;

    if (low & PCI_BASE_ADDRESS_SPACE_IO) {
        return 0;
    }

    /* A BAR that holds all ones must not be decoded: PCI 3.0, 6.2.5.1 */
    guest_pci_command(pci, 0, PCI_COMMAND_MEMORY);
    guest_pci_writel(pci, reg, UINT32_MAX);
    mask = guest_pci_readl(pci, reg) & PCI_BASE_ADDRESS_MEM_MASK;
    guest_pci_writel(pci, reg, low);
    /* One of 4 GiB or more has no address bits in the low register. */
    if (bar_is_64bit(low)) {
        uint32_t high = guest_pci_readl(pci, reg + 4);

        guest_pci_writel(pci, reg + 4, UINT32_MAX);
        mask |= (uint64_t)guest_pci_readl(pci, reg + 4) << 32;
        guest_pci_writel(pci, reg + 4, high);
    } else if (mask) {
        mask |= (uint64_t)UINT32_MAX << 32;
    }
    guest_pci_writew(pci, PCI_COMMAND, command);

    return mask & -mask;
}

void guest_pci_bar_map(const GuestPci *pci, unsigned bar, P2PGuestAddr gpa)
{
    uint8_t reg = bar_register(bar);
    uint32_t low = guest_pci_readl(pci, reg);

    g_assert_false(low & PCI_BASE_ADDRESS_SPACE_IO);
    g_assert_true(bar_is_64bit(low) || gpa.gpa <= UINT32_MAX);

    guest_pci_writel(pci, reg, gpa.gpa);
    if (bar_is_64bit(low)) {
        guest_pci_writel(pci, reg + 4, gpa.gpa >> 32);
    }
    g_assert_cmphex(guest_pci_bar_address(pci, bar).gpa, ==, gpa.gpa);
}

P2PGuestAddr guest_pci_bar_address(const GuestPci *pci, unsigned bar)
{
    uint8_t reg = bar_register(bar);
    uint32_t low = guest_pci_readl(pci, reg);
    uint64_t high = bar_is_64bit(low) ? guest_pci_readl(pci, reg + 4) : 0;

    return (P2PGuestAddr) {
        high << 32 | (low & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK)
    };
}

/* Base and limit in units of 1 MiB in bits 4 to 15; limit < base shuts it. */
static void bridge_window(const GuestPci *bridge, uint8_t reg,
                          const GuestPciWindow *window)
{
    uint64_t last = window->gpa.gpa + window->size - 1;

    g_assert_cmphex((window->gpa.gpa | window->size) % MiB, ==, 0);

    if (!window->size) {
        guest_pci_writel(bridge, reg, 0x0000fff0);
        return;
    }
    guest_pci_writel(bridge, reg, (last >> 16 & 0xfff0) << 16 |
                                  (window->gpa.gpa >> 16 & 0xfff0));
    if (reg == PCI_PREF_MEMORY_BASE) {
        guest_pci_writel(bridge, PCI_PREF_BASE_UPPER32,
                         window->gpa.gpa >> 32);
        guest_pci_writel(bridge, PCI_PREF_LIMIT_UPPER32, last >> 32);
    } else {
        g_assert_cmphex(last, <=, UINT32_MAX);
    }
}

void guest_pci_bridge_open(const GuestPci *bridge, uint8_t secondary,
                           const GuestPciWindow *memory,
                           const GuestPciWindow *prefetchable)
{
    uint32_t buses = guest_pci_readl(bridge, PCI_PRIMARY_BUS);

    /* The fourth byte is the latency timer. */
    guest_pci_writel(bridge, PCI_PRIMARY_BUS,
                     (buses & 0xff000000) | (uint32_t)secondary << 16 |
                     (uint32_t)secondary << 8 | bridge->bus);
    bridge_window(bridge, PCI_MEMORY_BASE, memory);
    bridge_window(bridge, PCI_PREF_MEMORY_BASE, prefetchable);
    guest_pci_command(bridge, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}
