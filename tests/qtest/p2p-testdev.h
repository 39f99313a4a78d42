/*
 * hw/p2p/testdev.c as a test drives it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_P2P_TESTDEV_H
#define P2P_TESTS_P2P_TESTDEV_H

#include "guest-pci.h"

/* The most that one DMA moves, in bytes. */
#define TESTDEV_BUFFER 4096

/* Size of its BAR 0, the registers. */
#define TESTDEV_REGISTERS 0x2000

/* A value: copy it as you like. */
typedef struct TestDev {
    GuestPci pci;
    P2PGuestAddr registers;
} TestDev;

/*
 * testdev_start: let a p2p-testdev on the root bus decode memory and issue
 * DMA. Only BAR 0 gets an address: @registers, below 4 GiB.
 */
TestDev testdev_start(QTestState *qts, uint8_t devfn, P2PGuestAddr registers);

/*
 * testdev_read, testdev_write: have the device move data.
 *
 * @bus: address in the device's DMA address space
 * @len: at most TESTDEV_BUFFER bytes
 *
 * Returns false if the transfer ended in an error. What @data holds then is
 * what the device got.
 */
bool testdev_read(const TestDev *dev, P2PBusAddr bus, void *data, size_t len);
bool testdev_write(const TestDev *dev, P2PBusAddr bus, const void *data,
                   size_t len);

#endif /* P2P_TESTS_P2P_TESTDEV_H */
