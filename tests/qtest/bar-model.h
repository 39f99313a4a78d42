/*
 * A model of the BARs of a machine: what decodes which address, and who is
 * seen where several do
 *
 * Each function writes to the guest's registers and to the model.  What the
 * model says follows from the PCI specification and from one rule of QEMU's:
 * of two BARs, or bridges' windows, at one address, the one that came there
 * last is seen; and RAM and interrupt controllers go before all of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_BAR_MODEL_H
#define P2P_TESTS_BAR_MODEL_H

#include "guest-pci.h"

#define MODEL_BARS 3    /* 0, 2, 4 of a p2p-testdev */

typedef struct ModelBar {
    uint64_t size;
    uint64_t value;         /* of the register, or of both */
    bool decoded;
    uint64_t gpa;           /* if decoded */
    uint64_t since;         /* order in which BARs came to their places */
} ModelBar;

typedef struct ModelBridge {
    GuestPci pci;
    uint8_t secondary;
    unsigned hotplug;       /* ACPI's number of the bus behind it */
    uint16_t command;
    GuestPciWindow memory;
    GuestPciWindow prefetchable;
    uint64_t since;
} ModelBridge;

typedef struct ModelDevice {
    GuestPci pci;
    ModelBridge *bridge;    /* NULL: on the root bus */
    bool present;
    uint16_t command;
    bool master;
    unsigned power;         /* PCI power state: 0 to 3 */
    uint8_t pm;             /* where the capability is */
    uint8_t express;        /* 0: none */
    ModelBar bars[MODEL_BARS];
} ModelDevice;

#define MODEL_DEVICES 16
#define MODEL_BRIDGES 2
#define MODEL_FIXED   16

typedef struct Model {
    ModelDevice *devices[MODEL_DEVICES];
    unsigned n_devices;
    ModelBridge *bridges[MODEL_BRIDGES];
    unsigned n_bridges;
    GuestPciWindow fixed[MODEL_FIXED];  /* no BARs; size 0: unused */
    uint64_t clock;
} Model;

/* The device is there, as after a reset.  @size: of BARs 2 and 4 */
void model_plug(Model *model, ModelDevice *dev, uint64_t size);

/* Hot-unplug of a device behind a bridge, with the guest's part in it. */
void model_unplug(Model *model, ModelDevice *dev, const char *id);

/* @id: the bridge's; of q35 */
void model_add_bridge(Model *model, ModelBridge *bridge, const char *id);

/* @bar: 0, 2 or 4 */
ModelBar *model_bar(ModelDevice *dev, int bar);

/* One register; @high: the second one of BAR 2 or 4 */
void model_write_bar(Model *model, ModelDevice *dev, int bar, bool high,
                     uint32_t value);
void model_place_bar(Model *model, ModelDevice *dev, int bar, uint64_t gpa);
void model_write_command(Model *model, ModelDevice *dev, uint16_t command);
void model_write_power(Model *model, ModelDevice *dev, unsigned state);

/* Only if dev->express. */
void model_function_reset(Model *model, ModelDevice *dev);

void model_write_bridge(Model *model, ModelBridge *bridge, uint16_t command,
                        GuestPciWindow memory, GuestPciWindow prefetchable);
void model_bus_reset(Model *model, ModelBridge *bridge);

/* The bridges forward configuration cycles afterwards, and nothing else. */
void model_system_reset(Model *model);

/* Whether the guest's CPUs see this part of the BAR, and nothing else. */
bool model_visible(const Model *model, const ModelDevice *dev, int bar,
                   uint64_t offset, uint64_t size);

#endif /* P2P_TESTS_BAR_MODEL_H */
