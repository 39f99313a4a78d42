/*
 * Verdicts and functions as the commands show them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "show.h"

const ToolVerdictWord tool_verdicts[TOOL_VERDICTS] = {
    { "bus-addr", "bus",
      "a switch routes it, the IOMMU never sees it", "#1a7f37", true },
    { "thru-host-bridge", "host",
      "through the root complex and the IOMMU", "#0969da", true },
    { "not-supported", "no",
      "the platform is not known to route it", "#cf222e", false },
    { "unknown", "?",
      "what decides cannot be read; take it for no", "#9a6700", false },
};

const ToolVerdictWord *tool_verdict_word(const P2PVerdict *verdict)
{
    if (verdict->unknown) {
        return &tool_verdicts[3];
    }
    switch (verdict->map_type) {
    case P2P_MAP_BUS_ADDR:
        return &tool_verdicts[0];
    case P2P_MAP_THRU_HOST_BRIDGE:
        return &tool_verdicts[1];
    default:
        return &tool_verdicts[2];
    }
}

void tool_print_verdict_legend(void)
{
    printf("  %-5s %-17s %s\n", "X", "", "the same function");
    for (size_t i = 0; i < TOOL_VERDICTS; i++) {
        printf("  %-5s %-17s %s\n", tool_verdicts[i].cell,
               tool_verdicts[i].name, tool_verdicts[i].meaning);
    }
}

/* --- JSON ---------------------------------------------------------------------- */

void tool_json_string(JsonBuilder *builder, const char *name,
                      const char *value)
{
    json_builder_set_member_name(builder, name);
    if (value) {
        json_builder_add_string_value(builder, value);
    } else {
        json_builder_add_null_value(builder);
    }
}

void tool_json_int(JsonBuilder *builder, const char *name, gint64 value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_int_value(builder, value);
}

void tool_json_bool(JsonBuilder *builder, const char *name, bool value)
{
    json_builder_set_member_name(builder, name);
    json_builder_add_boolean_value(builder, value);
}

void tool_json_strings(JsonBuilder *builder, const char *name,
                       const GPtrArray *list)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_array(builder);
    for (guint i = 0; i < list->len; i++) {
        json_builder_add_string_value(builder, list->pdata[i]);
    }
    json_builder_end_array(builder);
}

void tool_json_verdict(JsonBuilder *builder, const P2PVerdict *verdict)
{
    tool_json_string(builder, "path",
                     p2p_path_class_str(verdict->path_class));
    tool_json_string(builder, "verdict", p2p_verdict_str(verdict));
    tool_json_bool(builder, "routed-by-root-complex",
                   verdict->routed_by_root_complex);
}

/* Addresses do not fit a double, which many readers of JSON make of them. */
static void json_hex(JsonBuilder *builder, const char *name, uint64_t value)
{
    g_autofree char *text = g_strdup_printf("0x%" G_GINT64_MODIFIER "x",
                                            value);

    tool_json_string(builder, name, text);
}

static void json_bars(JsonBuilder *builder, const P2PFunction *function)
{
    json_builder_set_member_name(builder, "bars");
    json_builder_begin_array(builder);
    for (unsigned i = 0; i < P2P_BARS; i++) {
        const P2PHostBar *bar = &function->bars[i];

        if (bar->size && bar->memory) {
            json_builder_begin_object(builder);
            tool_json_int(builder, "bar", i);
            json_hex(builder, "address", bar->start);
            tool_json_int(builder, "size", bar->size);
            tool_json_bool(builder, "prefetchable", bar->prefetchable);
            tool_json_bool(builder, "64-bit", bar->is_64bit);
            json_builder_end_object(builder);
        }
    }
    json_builder_end_array(builder);
}

static void json_link(JsonBuilder *builder, const char *name, P2PLink link)
{
    json_builder_set_member_name(builder, name);
    json_builder_begin_object(builder);
    tool_json_int(builder, "speed-mts", link.speed);
    tool_json_int(builder, "width", link.width);
    json_builder_end_object(builder);
}

static void json_ids(JsonBuilder *builder, const P2PFunction *function)
{
    g_autofree char *vendor = g_strdup_printf("%04x", function->vendor);
    g_autofree char *device = g_strdup_printf("%04x", function->device);
    g_autofree char *class_code = g_strdup_printf("%06x",
                                                  function->class_code);

    tool_json_string(builder, "class", class_code);
    tool_json_string(builder, "vendor", vendor);
    tool_json_string(builder, "device", device);
}

static void json_iommu(JsonBuilder *builder, const P2PFunction *function)
{
    if (function->iommu_group) {
        tool_json_int(builder, "iommu-group", function->iommu_group->number);
    } else {
        tool_json_string(builder, "iommu-group", NULL);
    }
    if (function->iommu) {
        tool_json_string(builder, "iommu", function->iommu->name);
        tool_json_int(builder, "iommu-address-bits", function->iommu->width);
    } else {
        tool_json_string(builder, "iommu", NULL);
    }
}

static void json_acs(JsonBuilder *builder, const P2PFunction *function)
{
    if (function->acs == P2P_ACS_UNREADABLE) {
        tool_json_string(builder, "acs", NULL);
        tool_json_string(builder, "acs-unreadable", function->why_no_acs);
        return;
    }
    json_builder_set_member_name(builder, "acs");
    json_builder_begin_object(builder);
    tool_json_bool(builder, "present", function->has_acs);
    tool_json_int(builder, "capability", function->acs_capability);
    tool_json_int(builder, "control", function->acs_control);
    tool_json_bool(builder, "redirects",
                   function->acs == P2P_ACS_REDIRECT);
    json_builder_end_object(builder);
}

void tool_json_function(JsonBuilder *builder, const P2PFunction *function)
{
    json_builder_begin_object(builder);
    tool_json_string(builder, "bdf", function->bdf);
    tool_json_string(builder, "parent", function->parent
                     ? function->parent->bdf : NULL);
    tool_json_string(builder, "root-bus", function->root_bus);
    json_ids(builder, function);
    tool_json_string(builder, "type", p2p_port_type_str(function->type));
    tool_json_int(builder, "numa-node", function->numa_node);
    json_iommu(builder, function);
    tool_json_string(builder, "driver", function->driver);
    tool_json_string(builder, "physical-function",
                     function->physical_function);
    tool_json_string(builder, "power", p2p_power_str(function->power));
    tool_json_bool(builder, "memory-decode", function->decodes_memory);
    tool_json_bool(builder, "ats", function->has_ats);
    json_link(builder, "link", function->link);
    json_link(builder, "max-link", function->max_link);
    json_bars(builder, function);
    json_acs(builder, function);
    json_builder_set_member_name(builder, "p2p-memory");
    if (function->has_p2pmem) {
        json_builder_begin_object(builder);
        tool_json_int(builder, "size", function->p2pmem_size);
        tool_json_int(builder, "available", function->p2pmem_available);
        json_builder_end_object(builder);
    } else {
        json_builder_add_null_value(builder);
    }
    json_builder_end_object(builder);
}
