/*
 * qemu-p2p verify: what sysfs tells that stands in the way, before anything is
 * opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "verify-check.h"
#include "verify-nvme.h"
#include "verify-run.h"

bool verify_check_initiator(const P2PFunction *function)
{
    if (function->class_code != VERIFY_CLASS_NVME) {
        g_autofree char *name = tool_class_name(function);

        tool_error("%s (%s): only NVMe initiators can be driven; name an NVMe "
                   "drive first, and this device as the target", function->bdf,
                   name);
        return false;
    }
    return true;
}

/* --- Binding ------------------------------------------------------------- */

/* "vfio-pci", and what is derived from it for a kind of device */
static bool is_vfio_driver(const char *driver)
{
    return strcmp(driver, "vfio-pci") == 0 ||
           g_str_has_suffix(driver, "_vfio_pci") ||
           g_str_has_suffix(driver, "-vfio-pci");
}

static void say_how_to_bind(const P2PFunction *f)
{
    g_autofree char *unbind = g_strdup_printf(
        "  echo %s > /sys/bus/pci/devices/%s/driver/unbind\n", f->bdf, f->bdf);
    g_autofree char *who = f->driver
        ? g_strdup_printf("is in use by the driver %s", f->driver)
        : g_strdup("is bound to no driver");

    tool_error("%s %s; it has to be bound to vfio-pci, which is left to you:",
               f->bdf, who);
    fprintf(stderr,
            "  modprobe vfio-pci\n"
            "  echo vfio-pci > /sys/bus/pci/devices/%s/driver_override\n"
            "%s"
            "  echo %s > /sys/bus/pci/drivers_probe\n%s",
            f->bdf, f->driver ? unbind : "", f->bdf,
            f->driver ? "First make sure that nobody needs it: mounted file "
            "systems, swap, network connections\n" : "");
}

bool verify_check_bound(const P2PFunction *function)
{
    if (!function->iommu_group) {
        tool_error("%s is in no IOMMU group: the IOMMU is off, or there is "
                   "none; turn it on in the firmware, and boot with "
                   "intel_iommu=on (Intel) or without amd_iommu=off (AMD)",
                   function->bdf);
        return false;
    }
    if (!function->driver || !is_vfio_driver(function->driver)) {
        say_how_to_bind(function);
        return false;
    }
    return true;
}

/* --- The BAR ------------------------------------------------------------- */

static bool is_memory_like(const P2PHostBar *bar)
{
    return bar->size && bar->memory && bar->prefetchable;
}

static int first_memory_like(const P2PFunction *target)
{
    for (int i = 0; i < P2P_BARS; i++) {
        if (is_memory_like(&target->bars[i])) {
            return i;
        }
    }
    tool_error("%s has no prefetchable memory BAR, so none that is like "
               "memory; \"qemu-p2p topo %s\" shows its BARs, and --bar N "
               "--force takes another", target->bdf, target->bdf);
    return -1;
}

static bool check_kind(const P2PFunction *target, int bar, bool force)
{
    const P2PHostBar *b = &target->bars[bar];

    if (!b->size || !b->memory) {
        tool_error("%s has no memory BAR %d; \"qemu-p2p topo %s\" shows its "
                   "BARs", target->bdf, bar, target->bdf);
        return false;
    }
    if (!is_memory_like(b) && !force) {
        tool_error("BAR %d of %s is not like memory (not prefetchable): what "
                   "is written there may make the device do something; if you "
                   "know better, --force", bar, target->bdf);
        return false;
    }
    if (!b->start) {
        tool_error("BAR %d of %s has no address: enable \"Above 4G decoding\" "
                   "in the firmware, or boot with pci=realloc", bar,
                   target->bdf);
        return false;
    }
    return true;
}

int verify_check_bar(const P2PFunction *target, int bar, uint64_t offset,
                     uint64_t *size, bool shrink, bool force)
{
    uint64_t room;

    if (bar < 0) {
        bar = first_memory_like(target);
    }
    if (bar < 0 || !check_kind(target, bar, force)) {
        return -1;
    }
    room = target->bars[bar].size - MIN(offset, target->bars[bar].size);
    if (shrink && room >= verify_granule()) {
        *size = MIN(*size, room);
    }
    if (*size > room) {
        g_autofree char *all = tool_size_str(target->bars[bar].size);
        g_autofree char *wanted = tool_size_str(*size);

        tool_error("BAR %d of %s has %s: there are no %s at offset 0x%"
                   G_GINT64_MODIFIER "x; choose --size and --offset so that "
                   "the window is inside", bar, target->bdf, all, wanted,
                   offset);
        return -1;
    }
    return bar;
}
