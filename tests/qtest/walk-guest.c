/*
 * The random walk: what a guest does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/pci_regs.h"
#include "walk.h"

static unsigned device_number(Walk *w, Device *dev)
{
    return dev - w->devices;
}

/* Its own place, which nothing else is put over by intention. */
static uint64_t home(Walk *w, Device *dev, int bar)
{
    unsigned n = device_number(w, dev);
    ModelBridge *bridge = dev->model.bridge;

    if (!bar) {
        return (bridge ? 0xc8000000 + (bridge - w->bridges) * 16 * MiB
                       : 0xc0000000) + n * 64 * KiB;
    }
    return (bridge ? 66 + (bridge - w->bridges) : 64) * GiB +
           (2 * n + bar / 4) * 16 * MiB;
}

/* Where platform devices are, and where no BAR may be. */
static const uint64_t odd_places[] = {
    0xfee00000, 0xfec00000, 0xfed00000, 0xfff00000, 0, UINT32_MAX,
};

static uint64_t any_place(Walk *w, Device *dev, int bar)
{
    switch (pick(w, bar ? 16 : 6)) {
    case 0:
        return 0xd0000000 + pick(w, 4) * 16 * MiB + pick(w, 3) * 64 * KiB;
    case 1:
        return 16 * MiB + pick(w, 8) * 16 * MiB;    /* over RAM, and not */
    case 2:
        return odd_places[pick(w, ARRAY_SIZE(odd_places))];
    case 3:
    case 4:
        return home(w, dev, bar);
    case 5:
        return home(w, any_device(w), bar);
    case 6:
        return IOMMU_LAST + 1 - 16 * MiB + pick(w, 2) * 16 * MiB;
    case 7:
        return (1ull << (40 + pick(w, 24))) + pick(w, 4) * 16 * MiB;
    case 8:
        return 4 * GiB + pick(w, 24) * 16 * MiB;    /* among memory devices */
    case 9:
        return (uint64_t)g_rand_int(w->random) << 32 | g_rand_int(w->random);
    default:
        return 72 * GiB + pick(w, 8) * 1 * MiB;     /* in a crowd */
    }
}

static int any_bar(Walk *w)
{
    return chance(w, 8) ? 0 : 2 + 2 * pick(w, 2);
}

void event_move(Walk *w)
{
    Device *dev = any_device(w);
    int bar = any_bar(w);
    uint64_t gpa = any_place(w, dev, bar);

    note(w, "%s BAR %d to 0x%" PRIx64, dev->id, bar, gpa);
    model_place_bar(&w->model, &dev->model, bar, gpa);
}

void event_half(Walk *w)
{
    Device *dev = any_device(w);
    int bar = 2 + 2 * pick(w, 2);
    uint64_t gpa = any_place(w, dev, bar);
    bool high = chance(w, 2);

    note(w, "%s BAR %d %s half to 0x%" PRIx64, dev->id, bar,
         high ? "high" : "low", gpa);
    model_write_bar(&w->model, &dev->model, bar, high,
                    high ? gpa >> 32 : gpa);
}

/* As firmware does, but for decode, which may be on. */
void event_size(Walk *w)
{
    Device *dev = any_device(w);
    int bar = any_bar(w);
    uint64_t before = model_bar(&dev->model, bar)->value;
    bool restore = !chance(w, 4);

    note(w, "size %s BAR %d%s", dev->id, bar, restore ? "" : ", leave it so");
    model_place_bar(&w->model, &dev->model, bar, UINT64_MAX);
    if (restore) {
        model_place_bar(&w->model, &dev->model, bar, before);
    }
}

void set_up(Walk *w, Device *dev)
{
    note(w, "set up %s", dev->id);
    for (int bar = 0; bar <= 4; bar += 2) {
        model_place_bar(&w->model, &dev->model, bar, home(w, dev, bar));
    }
    if (dev->model.power) {
        model_write_power(&w->model, &dev->model, 0);
    }
    model_write_command(&w->model, &dev->model,
                        PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static GuestPciWindow bridge_home(Walk *w, ModelBridge *bridge, bool prefetch)
{
    unsigned n = bridge - w->bridges;

    return prefetch
        ? (GuestPciWindow) { { (66 + n) * GiB }, 1 * GiB }
        : (GuestPciWindow) { { 0xc8000000 + n * 16 * MiB }, 16 * MiB };
}

void open_bridge(Walk *w, ModelBridge *bridge)
{
    note(w, "open bridge %td", bridge - w->bridges);
    model_write_bridge(&w->model, bridge,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
                       bridge_home(w, bridge, false),
                       bridge_home(w, bridge, true));
}

void event_set_up(Walk *w)
{
    Device *dev = any_device(w);

    if (dev->model.bridge) {
        open_bridge(w, dev->model.bridge);
    }
    set_up(w, dev);
}

void event_command(Walk *w)
{
    Device *dev = any_device(w);
    uint16_t command = (chance(w, 3) ? 0 : PCI_COMMAND_MEMORY) |
                       (chance(w, 6) ? 0 : PCI_COMMAND_MASTER);

    note(w, "%s command 0x%x", dev->id, command);
    model_write_command(&w->model, &dev->model, command);
}

void event_power(Walk *w)
{
    static const unsigned states[] = { 0, 0, 3, 3, 1 };
    Device *dev = any_device(w);
    unsigned state = states[pick(w, ARRAY_SIZE(states))];

    note(w, "%s to D%u", dev->id, state);
    model_write_power(&w->model, &dev->model, state);
}

void event_function_reset(Walk *w)
{
    Device *dev = any_device(w);

    if (dev->model.express) {
        note(w, "reset %s", dev->id);
        model_function_reset(&w->model, &dev->model);
        if (!chance(w, 4)) {
            set_up(w, dev);
        }
    }
}

void event_bus_reset(Walk *w)
{
    ModelBridge *bridge = &w->bridges[pick(w, PORTS)];

    note(w, "reset bus %td", bridge - w->bridges);
    model_bus_reset(&w->model, bridge);
}

void event_bridge(Walk *w)
{
    ModelBridge *bridge = &w->bridges[pick(w, PORTS)];
    GuestPciWindow memory = bridge_home(w, bridge, false);
    GuestPciWindow prefetchable = bridge_home(w, bridge, true);
    uint16_t command = chance(w, 6) ? 0
                       : PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

    switch (pick(w, 6)) {
    case 0:
        memory.size = prefetchable.size = 0;
        break;
    case 1:
        prefetchable.size = (1 + pick(w, 32)) * 16 * MiB;
        break;
    case 2:
        prefetchable = (GuestPciWindow) { { 72 * GiB }, 64 * MiB };
        break;
    case 3:
        memory = (GuestPciWindow) { { 0xd0000000 }, 64 * MiB };
        break;
    case 4:
        prefetchable = (GuestPciWindow) { { 64 * GiB }, 8 * GiB };
        break;
    }
    note(w, "bridge %td: 0x%x, 0x%" PRIx64 "+0x%" PRIx64 ", 0x%" PRIx64
         "+0x%" PRIx64, bridge - w->bridges, command, memory.gpa.gpa,
         memory.size, prefetchable.gpa.gpa, prefetchable.size);
    model_write_bridge(&w->model, bridge, command, memory, prefetchable);
}

void set_up_all(Walk *w)
{
    for (unsigned i = 0; i < PORTS; i++) {
        open_bridge(w, &w->bridges[i]);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        if (w->devices[i].model.present) {
            set_up(w, &w->devices[i]);
        }
    }
}

void event_system_reset(Walk *w)
{
    note(w, "system reset");
    model_system_reset(&w->model);
    if (!chance(w, 4)) {
        set_up_all(w);
    }
}
