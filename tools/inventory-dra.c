/*
 * The inventory as Kubernetes' dynamic resource allocation has it
 *
 * ResourceSlice of resource.k8s.io/v1, whose limits are: 128 devices in a
 * slice, 32 attributes and capacities of a device, names of C identifiers of
 * 32 characters behind a domain of 63, strings of 64.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "inventory.h"
#include "show.h"

#define MAX_DEVICES 128
#define MAX_STRING 64
#define MAX_DRIVER 63
#define MAX_NODE 253
#define MAX_LABEL 63

#define STANDARD "resource.kubernetes.io/"
#define OURS "p2p.qemu.org/"

/* --- Names ------------------------------------------------------------ */

static bool is_label(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool inner = i > 0 && i + 1 < length;

        if (!g_ascii_islower(text[i]) && !g_ascii_isdigit(text[i]) &&
            !(inner && text[i] == '-')) {
            return false;
        }
    }
    return length > 0 && length <= MAX_LABEL;
}

static bool is_subdomain(const char *text, size_t max)
{
    g_auto(GStrv) labels = g_strsplit(text, ".", -1);

    for (char **label = labels; *label; label++) {
        if (!is_label(*label, strlen(*label))) {
            return false;
        }
    }
    return *labels && strlen(text) <= max;
}

static char *slice_name(const DraNames *names, guint index)
{
    return g_strdup_printf("%s-%s-%u", names->node, names->driver, index);
}

bool inventory_check_names(const DraNames *names)
{
    g_autofree char *longest = slice_name(names, P2P_HOST_MAX_FUNCTIONS /
                                          MAX_DEVICES);

    if (!is_subdomain(names->driver, MAX_DRIVER)) {
        tool_error("--driver '%s' is no DNS subdomain of %d lower-case "
                   "characters at most", names->driver, MAX_DRIVER);
    } else if (!is_subdomain(names->node, MAX_NODE)) {
        tool_error("--node '%s' is no DNS subdomain, so it is no name of a "
                   "node; kubectl get nodes lists those", names->node);
    } else if (strlen(longest) > MAX_NODE) {
        tool_error("--node and --driver together make a name of more than %d "
                   "characters for a slice", MAX_NODE);
    } else if (names->generation < 1) {
        tool_error("--generation takes 1 or more");
    } else {
        return true;
    }
    return false;
}

/* "pci-0000-65-00-0": a DNS label */
static char *device_name(const P2PFunction *function)
{
    g_autofree char *bdf = g_strdelimit(g_strdup(function->bdf), ":.", '-');

    return g_strdup_printf("pci-%s", bdf);
}

/* --- Attributes ------------------------------------------------------- */

/* One too long, or empty, would be refused with all of the slice. */
static void add_string(JsonBuilder *b, const char *name, const char *value)
{
    if (!value || !*value || strlen(value) > MAX_STRING) {
        return;
    }
    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    tool_json_string(b, "string", value);
    json_builder_end_object(b);
}

static void add_int(JsonBuilder *b, const char *name, gint64 value)
{
    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    tool_json_int(b, "int", value);
    json_builder_end_object(b);
}

static void add_bool(JsonBuilder *b, const char *name, bool value)
{
    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    tool_json_bool(b, "bool", value);
    json_builder_end_object(b);
}

static void add_hex(JsonBuilder *b, const char *name, unsigned value,
                    int digits)
{
    g_autofree char *text = g_strdup_printf("%0*x", digits, value);

    add_string(b, name, text);
}

/* As the library of Kubernetes: domains of four digits only. */
static void add_standard(JsonBuilder *b, const P2PFunction *function)
{
    g_autofree char *root = g_strdup_printf("pci%s", function->root_bus);

    if (function->bdf[4] == ':') {
        add_string(b, STANDARD "pcieRoot", root);
        add_string(b, STANDARD "pciBusID", function->bdf);
    }
}

/* The upstream ports of the nearest and of the outermost switch above. */
static void add_switches(JsonBuilder *b, const P2PFunction *function)
{
    const P2PFunction *nearest = NULL, *outermost = NULL;

    for (const P2PFunction *f = function->parent; f; f = f->parent) {
        if (f->type == P2P_PORT_UPSTREAM) {
            nearest = nearest ?: f;
            outermost = f;
        }
    }
    if (nearest) {
        add_string(b, OURS "switch", nearest->bdf);
        add_string(b, OURS "topSwitch", outermost->bdf);
    }
}

static void add_attributes(JsonBuilder *b, const Inventory *inventory,
                           unsigned index)
{
    const P2PFunction *function = inventory->functions->pdata[index];

    json_builder_set_member_name(b, "attributes");
    json_builder_begin_object(b);
    add_standard(b, function);
    add_string(b, OURS "bdf", function->bdf);
    add_hex(b, OURS "class", function->class_code, 6);
    add_hex(b, OURS "vendor", function->vendor, 4);
    add_hex(b, OURS "device", function->device, 4);
    add_string(b, OURS "driver", function->driver);
    add_bool(b, OURS "virtualFunction", function->physical_function);
    add_switches(b, function);
    /* -1 would match that of other devices without a node. */
    if (function->numa_node >= 0) {
        add_int(b, OURS "numaNode", function->numa_node);
    }
    if (function->iommu_group) {
        add_int(b, OURS "iommuGroup", function->iommu_group->number);
    }
    add_string(b, OURS "reachSet",
               inventory_set(inventory, REACH_ANY, index)->bdf);
    add_string(b, OURS "switchSet",
               inventory_set(inventory, REACH_SWITCH, index)->bdf);
    add_string(b, OURS "vmReachSet",
               inventory_set(inventory, REACH_VM, index)->bdf);
    json_builder_end_object(b);
}

/* --- Capacity --------------------------------------------------------- */

/* "16Mi": as Kubernetes itself writes a number of bytes */
static char *quantity(uint64_t size)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi",
                                         "Ei" };
    unsigned unit = 0;

    while (size && size % 1024 == 0) {
        size /= 1024;
        unit++;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT "%s", size, units[unit]);
}

static void add_capacity(JsonBuilder *b, const char *name, uint64_t size)
{
    g_autofree char *text = quantity(size);

    /* A quantity is 63 bits. */
    if (size == 0 || size > INT64_MAX) {
        return;
    }
    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    tool_json_string(b, "value", text);
    json_builder_end_object(b);
}

/* The largest BAR that can be a window: prefetchable, as p2p-share=auto. */
static uint64_t largest_bar(const P2PFunction *function)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];

        if (bar->memory && bar->prefetchable) {
            size = MAX(size, bar->size);
        }
    }
    return size;
}

static void add_capacities(JsonBuilder *b, const P2PFunction *function)
{
    json_builder_set_member_name(b, "capacity");
    json_builder_begin_object(b);
    add_capacity(b, OURS "p2pMemory",
                 function->has_p2pmem ? function->p2pmem_size : 0);
    add_capacity(b, OURS "barMemory", largest_bar(function));
    json_builder_end_object(b);
}

/* --- Slices ----------------------------------------------------------- */

static void add_devices(JsonBuilder *b, const Inventory *inventory,
                        guint first)
{
    guint end = MIN(first + MAX_DEVICES, inventory->functions->len);

    json_builder_set_member_name(b, "devices");
    json_builder_begin_array(b);
    for (guint i = first; i < end; i++) {
        const P2PFunction *function = inventory->functions->pdata[i];
        g_autofree char *name = device_name(function);

        json_builder_begin_object(b);
        tool_json_string(b, "name", name);
        add_attributes(b, inventory, i);
        add_capacities(b, function);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_slice(JsonBuilder *b, const Inventory *inventory,
                      const DraNames *names, guint index, guint count)
{
    g_autofree char *name = slice_name(names, index);

    json_builder_begin_object(b);
    tool_json_string(b, "apiVersion", "resource.k8s.io/v1");
    tool_json_string(b, "kind", "ResourceSlice");
    json_builder_set_member_name(b, "metadata");
    json_builder_begin_object(b);
    tool_json_string(b, "name", name);
    json_builder_end_object(b);
    json_builder_set_member_name(b, "spec");
    json_builder_begin_object(b);
    tool_json_string(b, "driver", names->driver);
    tool_json_string(b, "nodeName", names->node);
    json_builder_set_member_name(b, "pool");
    json_builder_begin_object(b);
    tool_json_string(b, "name", names->node);
    tool_json_int(b, "generation", names->generation);
    tool_json_int(b, "resourceSliceCount", count);
    json_builder_end_object(b);
    add_devices(b, inventory, index * MAX_DEVICES);
    json_builder_end_object(b);
    json_builder_end_object(b);
}

JsonNode *inventory_dra(const Inventory *inventory, const DraNames *names)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    guint count = (inventory->functions->len + MAX_DEVICES - 1) / MAX_DEVICES;

    json_builder_begin_object(b);
    tool_json_string(b, "apiVersion", "v1");
    tool_json_string(b, "kind", "List");
    json_builder_set_member_name(b, "items");
    json_builder_begin_array(b);
    for (guint i = 0; i < count; i++) {
        add_slice(b, inventory, names, i, count);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}
