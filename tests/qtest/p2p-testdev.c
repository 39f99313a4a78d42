/*
 * hw/p2p/testdev.c as a test drives it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "p2p-testdev.h"

/* Registers, see hw/p2p/testdev.c */
enum {
    REG_ADDR = 0x00,
    REG_LEN = 0x08,
    REG_COMMAND = 0x10,
    REG_RESULT = 0x18,
    REG_BUFFER = 0x1000,
};

enum {
    COMMAND_READ = 1,
    COMMAND_WRITE = 2,
};

TestDev testdev_start(QTestState *qts, uint8_t devfn, P2PGuestAddr registers)
{
    TestDev dev = {
        .pci = { .qts = qts, .devfn = devfn },
        .registers = registers,
    };

    g_assert_true(guest_pci_exists(&dev.pci));
    guest_pci_bar_map(&dev.pci, 0, registers);
    guest_pci_command(&dev.pci, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
    return dev;
}

static bool testdev_command(const TestDev *dev, P2PBusAddr bus, size_t len,
                            uint64_t command)
{
    QTestState *qts = dev->pci.qts;
    uint64_t registers = dev->registers.gpa;

    g_assert_cmpuint(len, <=, TESTDEV_BUFFER);
    qtest_writeq(qts, registers + REG_ADDR, bus.bus);
    qtest_writeq(qts, registers + REG_LEN, len);
    qtest_writeq(qts, registers + REG_COMMAND, command);
    return !qtest_readq(qts, registers + REG_RESULT);
}

bool testdev_read(const TestDev *dev, P2PBusAddr bus, void *data, size_t len)
{
    bool ok = testdev_command(dev, bus, len, COMMAND_READ);

    qtest_memread(dev->pci.qts, dev->registers.gpa + REG_BUFFER, data, len);
    return ok;
}

bool testdev_write(const TestDev *dev, P2PBusAddr bus, const void *data,
                   size_t len)
{
    qtest_memwrite(dev->pci.qts, dev->registers.gpa + REG_BUFFER, data, len);
    return testdev_command(dev, bus, len, COMMAND_WRITE);
}
