/*
 * A model of the BARs of a machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "bar-model.h"
#include "p2p-state.h"

#define REGISTERS_SIZE 0x2000

/* ACPI PCI hot-plug of q35: docs/specs/acpi_pci_hotplug.rst of QEMU */
#define HOTPLUG_EJECT  (0xcc0 + 0x08)
#define HOTPLUG_SELECT (0xcc0 + 0x10)

ModelBar *model_bar(ModelDevice *dev, int bar)
{
    g_assert_cmpint(bar % 2, ==, 0);
    g_assert_cmpint(bar / 2, <, MODEL_BARS);
    return &dev->bars[bar / 2];
}

/* --- What is decoded --------------------------------------------------- */

static bool bar_address(const ModelDevice *dev, int n, uint64_t *gpa)
{
    const ModelBar *bar = &dev->bars[n];
    uint64_t last = bar->value + bar->size - 1;

    *gpa = bar->value;
    return dev->present && dev->command & PCI_COMMAND_MEMORY &&
           !dev->power && bar->value &&
           last > bar->value && last != UINT64_MAX &&
           (n || last < UINT32_MAX);
}

static void update(Model *model, ModelDevice *dev)
{
    for (int n = 0; n < MODEL_BARS; n++) {
        ModelBar *bar = &dev->bars[n];
        uint64_t gpa;
        bool decoded = bar_address(dev, n, &gpa);

        if (decoded && (!bar->decoded || bar->gpa != gpa)) {
            bar->since = ++model->clock;
        }
        bar->decoded = decoded;
        bar->gpa = gpa;
    }
}

static void reset(Model *model, ModelDevice *dev)
{
    dev->command = 0;
    dev->power = 0;
    for (int n = 0; n < MODEL_BARS; n++) {
        dev->bars[n].value = 0;
    }
    update(model, dev);
}

void model_plug(Model *model, ModelDevice *dev, uint64_t size)
{
    if (dev->bridge) {
        dev->pci.bus = dev->bridge->secondary;
    }
    dev->present = true;
    dev->master = false;
    dev->bars[0].size = REGISTERS_SIZE;
    dev->bars[1].size = dev->bars[2].size = size;
    reset(model, dev);
    dev->pm = guest_pci_capability(&dev->pci, PCI_CAP_ID_PM);
    dev->express = guest_pci_capability(&dev->pci, PCI_CAP_ID_EXP);
    g_assert_cmpuint(dev->pm, !=, 0);
}

void model_unplug(Model *model, ModelDevice *dev, const char *id)
{
    QTestState *qts = dev->pci.qts;

    qtest_qmp_device_del_send(qts, id);
    qtest_outl(qts, HOTPLUG_SELECT, dev->bridge->hotplug);
    /* When this returns it is gone; DEVICE_DELETED comes at its leisure. */
    qtest_outl(qts, HOTPLUG_EJECT, 1u << (dev->pci.devfn >> 3));
    dev->present = false;
    reset(model, dev);
}

void model_add_bridge(Model *model, ModelBridge *bridge, const char *id)
{
    g_autofree char *bus = g_strdup_printf("/machine/peripheral/%s/%s", id,
                                           id);

    bridge->hotplug = qom_get_uint(bridge->pci.qts, bus, "acpi-pcihp-bsel");
    g_assert_cmpuint(model->n_bridges, <, MODEL_BRIDGES);
    model->bridges[model->n_bridges++] = bridge;
}

/* --- Registers --------------------------------------------------------- */

void model_write_bar(Model *model, ModelDevice *dev, int n, bool high,
                     uint32_t value)
{
    ModelBar *bar = model_bar(dev, n);
    uint64_t mask = ~(bar->size - 1);

    g_assert_true(n || !high);
    guest_pci_writel(&dev->pci, PCI_BASE_ADDRESS_0 + 4 * (n + high), value);
    bar->value = high ? (uint64_t)value << 32 | (uint32_t)bar->value
                      : (bar->value & ~(uint64_t)UINT32_MAX) | (value & mask);
    update(model, dev);
}

void model_place_bar(Model *model, ModelDevice *dev, int n, uint64_t gpa)
{
    model_write_bar(model, dev, n, false, gpa);
    if (n) {
        model_write_bar(model, dev, n, true, gpa >> 32);
    }
}

void model_write_command(Model *model, ModelDevice *dev, uint16_t command)
{
    guest_pci_writew(&dev->pci, PCI_COMMAND, command);
    dev->command = command;
    dev->master = command & PCI_COMMAND_MASTER;
    update(model, dev);
}

void model_write_power(Model *model, ModelDevice *dev, unsigned state)
{
    guest_pci_writew(&dev->pci, dev->pm + PCI_PM_CTRL, state);
    /* It has no D1 and no D2. */
    if (state == 0 || state == 3) {
        dev->power = state;
    }
    update(model, dev);
}

void model_function_reset(Model *model, ModelDevice *dev)
{
    uint8_t control = dev->express + PCI_EXP_DEVCTL;

    g_assert_cmpuint(dev->express, !=, 0);
    guest_pci_writew(&dev->pci, control, guest_pci_readw(&dev->pci, control) |
                                         PCI_EXP_DEVCTL_BCR_FLR);
    reset(model, dev);
}

static void bridge_command(ModelBridge *bridge, uint16_t command)
{
    guest_pci_writew(&bridge->pci, PCI_COMMAND, command);
    bridge->command = command;
}

void model_write_bridge(Model *model, ModelBridge *bridge, uint16_t command,
                        GuestPciWindow memory, GuestPciWindow prefetchable)
{
    guest_pci_bridge_open(&bridge->pci, bridge->secondary, &memory,
                          &prefetchable);
    bridge_command(bridge, command);
    bridge->memory = memory;
    bridge->prefetchable = prefetchable;
    /* One for each of its windows */
    bridge->since = model->clock + 1;
    model->clock += 2;
}

void model_bus_reset(Model *model, ModelBridge *bridge)
{
    uint16_t control = guest_pci_readw(&bridge->pci, PCI_BRIDGE_CONTROL);

    guest_pci_writew(&bridge->pci, PCI_BRIDGE_CONTROL,
                     control | PCI_BRIDGE_CTL_BUS_RESET);
    guest_pci_writew(&bridge->pci, PCI_BRIDGE_CONTROL, control);
    bridge->since = model->clock + 1;
    model->clock += 2;
    for (unsigned i = 0; i < model->n_devices; i++) {
        if (model->devices[i]->bridge == bridge) {
            reset(model, model->devices[i]);
        }
    }
}

void model_system_reset(Model *model)
{
    qtest_system_reset(model->devices[0]->pci.qts);
    for (unsigned i = 0; i < model->n_bridges; i++) {
        model_write_bridge(model, model->bridges[i], 0, (GuestPciWindow) {},
                           (GuestPciWindow) {});
    }
    for (unsigned i = 0; i < model->n_devices; i++) {
        reset(model, model->devices[i]);
    }
}

/* --- What is seen ------------------------------------------------------ */

/* Part of a BAR as it stands in the root bus's address space. */
typedef struct Layer {
    const ModelBar *bar;
    uint64_t first, last;
    uint64_t outer, inner;      /* order */
} Layer;

/* A BAR behind a bridge shows through two windows. */
typedef struct Layers {
    Layer layer[2 * MODEL_BARS * MODEL_DEVICES];
    unsigned n;
} Layers;

static void layers_add(Layers *layers, const ModelBar *bar, uint64_t first,
                       uint64_t last, uint64_t outer, uint64_t inner)
{
    if (first <= last) {
        layers->layer[layers->n++] =
            (Layer) { bar, first, last, outer, inner };
    }
}

static void layers_add_through(Layers *layers, const ModelBar *bar,
                               const GuestPciWindow *window, uint64_t since)
{
    uint64_t first = MAX(bar->gpa, window->gpa.gpa);
    uint64_t last = MIN(bar->gpa + bar->size - 1,
                        window->gpa.gpa + window->size - 1);

    if (window->size) {
        layers_add(layers, bar, first, last, since, bar->since);
    }
}

static void layers_collect(const Model *model, Layers *layers)
{
    for (unsigned i = 0; i < model->n_devices; i++) {
        const ModelDevice *dev = model->devices[i];
        const ModelBridge *bridge = dev->bridge;

        for (int n = 0; n < MODEL_BARS; n++) {
            const ModelBar *bar = &dev->bars[n];

            if (!bar->decoded) {
                continue;
            }
            if (!bridge) {
                layers_add(layers, bar, bar->gpa, bar->gpa + bar->size - 1,
                           bar->since, 0);
            } else if (bridge->command & PCI_COMMAND_MEMORY) {
                layers_add_through(layers, bar, &bridge->prefetchable,
                                   bridge->since);
                layers_add_through(layers, bar, &bridge->memory,
                                   bridge->since + 1);
            }
        }
    }
}

static bool layer_is_above(const Layer *a, const Layer *b)
{
    return a->outer > b->outer ||
           (a->outer == b->outer && a->inner > b->inner);
}

/* Who is seen at @gpa, and up to which address, at most @last. */
static const Layer *layers_top(const Layers *layers, uint64_t gpa,
                               uint64_t *last)
{
    const Layer *top = NULL;

    for (unsigned i = 0; i < layers->n; i++) {
        const Layer *layer = &layers->layer[i];

        if (layer->first > gpa) {
            *last = MIN(*last, layer->first - 1);
        } else if (layer->last >= gpa) {
            *last = MIN(*last, layer->last);
            top = !top || layer_is_above(layer, top) ? layer : top;
        }
    }
    return top;
}

bool model_visible(const Model *model, const ModelDevice *dev, int n,
                   uint64_t offset, uint64_t size)
{
    const ModelBar *bar = &dev->bars[n / 2];
    uint64_t at = bar->gpa + offset;
    uint64_t last = at + size - 1;
    Layers layers;

    if (!bar->decoded) {
        return false;
    }
    for (unsigned i = 0; i < MODEL_FIXED; i++) {
        const GuestPciWindow *fixed = &model->fixed[i];

        if (fixed->size && fixed->gpa.gpa <= last &&
            fixed->gpa.gpa + (fixed->size - 1) >= at) {
            return false;
        }
    }
    layers.n = 0;
    layers_collect(model, &layers);
    for (;;) {
        uint64_t until = last;
        const Layer *top = layers_top(&layers, at, &until);

        if (!top || top->bar != bar) {
            return false;
        }
        if (until == last) {
            return true;
        }
        at = until + 1;
    }
}
