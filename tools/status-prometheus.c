/*
 * What query-p2p says, as metrics for Prometheus
 *
 * The text exposition format, version 0.0.4: all samples of a metric follow
 * its HELP and TYPE, labels are quoted, backslash, quote and line end escaped.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "status.h"

/* Where a sample is from: a grant has a window, which has a member etc. */
typedef enum Level { GROUP, MEMBER, WINDOW, TRAFFIC, GRANT } Level;

typedef struct Place {
    const char *vm;
    JsonObject *at[GRANT + 1];
} Place;

typedef struct Metric {
    const char *name;       /* behind "qemu_p2p_" */
    const char *type;
    const char *help;
    Level level;
    /* Of the object at that level; true is 1; no sample without it. */
    const char *member;
    const char *equals;     /* 1 if the string is equal, else 0 */
    const char *const *info;    /* constant 1, with these members as labels */
} Metric;

static const char *const group_info[] = { "policy", "bus-address", NULL };
static const char *const member_info[] = {
    "guest-bdf", "host-bdf", "kind", "back-end", "initiate", NULL
};
static const char *const grant_info[] = { "map-type", "path", "routed", NULL };

static const Metric metrics[] = {
    { "group_info", "gauge", "A p2p-group.", GROUP, .info = group_info },
    { "member_info", "gauge", "A PCI function that belongs to a group.",
      MEMBER, .info = member_info },
    { "member_faults_total", "counter",
      "Accesses of an emulated member that its view has refused.", MEMBER,
      .member = "faults" },
    { "window_size_bytes", "gauge", "Size of a shared range of a BAR.",
      WINDOW, .member = "size" },
    { "window_mapped", "gauge",
      "Whether a window is visible at a guest physical address.", WINDOW,
      .member = "state", .equals = "mapped" },
    { "window_failed_requests_total", "counter",
      "Requests of drives of emulated members that failed.", WINDOW,
      .member = "failed-requests" },
    { "window_traffic_requests_total", "counter",
      "Requests of drives of emulated members, by data path.", TRAFFIC,
      .member = "requests" },
    { "window_traffic_bytes_total", "counter",
      "Bytes that drives of emulated members moved, by data path.", TRAFFIC,
      .member = "bytes" },
    { "grant_info", "gauge", "How a transfer goes from initiator to target.",
      GRANT, .info = grant_info },
    { "grant_installed", "gauge",
      "Whether the initiator can reach the whole window.", GRANT,
      .member = "installed" },
    { "grant_maps_total", "counter", "Map calls that succeeded.", GRANT,
      .member = "maps" },
    { "grant_unmaps_total", "counter", "Unmap calls that succeeded.", GRANT,
      .member = "unmaps" },
    { "grant_failures_total", "counter", "Map and unmap calls that failed.",
      GRANT, .member = "failures" },
    { "grant_requests_total", "counter",
      "Requests and accesses of an emulated initiator.", GRANT,
      .member = "requests" },
    { "grant_bytes_total", "counter",
      "Bytes that an emulated initiator moved.", GRANT, .member = "bytes" },
    { "grant_stuck_bytes", "gauge",
      "Bytes that could not be taken out of the IOMMU.", GRANT,
      .member = "stuck" },
};

/* --- Labels ----------------------------------------------------------- */

static void add_label(GString *out, const char *name, const char *value)
{
    if (out->str[out->len - 1] != '{') {
        g_string_append_c(out, ',');
    }
    for (const char *c = name; *c; c++) {
        g_string_append_c(out, *c == '-' ? '_' : *c);
    }
    g_string_append(out, "=\"");
    for (const char *c = value; *c; c++) {
        switch (*c) {
        case '\n':
            g_string_append(out, "\\n");
            break;
        case '"':
        case '\\':
            g_string_append_c(out, '\\');
            /* fall through */
        default:
            g_string_append_c(out, *c);
        }
    }
    g_string_append_c(out, '"');
}

static void add_uint_label(GString *out, const char *name, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    add_label(out, name, text);
}

/* What tells a place from all others. */
static void add_place(GString *out, const Place *place, Level level)
{
    add_label(out, "vm", place->vm);
    add_label(out, "group", status_string(place->at[GROUP], "id"));
    if (level >= MEMBER) {
        add_label(out, level == MEMBER ? "member" : "target",
                  status_member_name(place->at[MEMBER]));
    }
    if (level >= WINDOW) {
        add_uint_label(out, "bar", status_uint(place->at[WINDOW], "bar"));
        add_uint_label(out, "offset",
                       status_uint(place->at[WINDOW], "offset"));
    }
    if (level == TRAFFIC) {
        add_label(out, "data_path",
                  status_string(place->at[TRAFFIC], "data-path"));
    }
    if (level == GRANT) {
        add_label(out, "initiator",
                  status_string(place->at[GRANT], "initiator"));
    }
}

static void add_info(GString *out, JsonObject *object,
                     const char *const *names)
{
    for (; *names; names++) {
        JsonNode *node = json_object_get_member(object, *names);

        if (!node) {
            continue;
        }
        if (json_node_get_value_type(node) == G_TYPE_BOOLEAN) {
            add_label(out, *names,
                      json_node_get_boolean(node) ? "true" : "false");
        } else {
            add_label(out, *names, json_node_get_string(node));
        }
    }
}

/* --- Samples ---------------------------------------------------------- */

static guint64 value_of(const Metric *metric, JsonNode *node)
{
    if (metric->info) {
        return 1;
    }
    if (metric->equals) {
        return strcmp(json_node_get_string(node), metric->equals) == 0;
    }
    if (json_node_get_value_type(node) == G_TYPE_BOOLEAN) {
        return json_node_get_boolean(node);
    }
    return json_node_get_int(node);
}

static void add_sample(GString *out, const Metric *metric, const Place *place)
{
    JsonObject *object = place->at[metric->level];
    JsonNode *node = metric->member
        ? json_object_get_member(object, metric->member) : NULL;

    if (metric->member && !node) {
        return;
    }
    g_string_append_printf(out, "qemu_p2p_%s{", metric->name);
    add_place(out, place, metric->level);
    if (metric->info) {
        add_info(out, object, metric->info);
    }
    g_string_append_printf(out, "} %" G_GUINT64_FORMAT "\n",
                           value_of(metric, node));
}

static const char *const lists[] = {
    [MEMBER] = "members", [WINDOW] = "windows", [TRAFFIC] = "traffic",
    [GRANT] = "grants",
};

static void add_samples(GString *out, const Metric *metric, Place *place,
                        JsonArray *array, Level level)
{
    /* Traffic and grants are both in a window. */
    Level next = level < WINDOW ? level + 1 : metric->level;

    for (guint i = 0; i < json_array_get_length(array); i++) {
        place->at[level] = json_array_get_object_element(array, i);
        if (level == metric->level) {
            add_sample(out, metric, place);
        } else {
            add_samples(out, metric, place,
                        json_object_get_array_member(place->at[level],
                                                     lists[next]), next);
        }
    }
}

char *status_prometheus(const char *vm, JsonArray *groups)
{
    GString *out = g_string_new(NULL);
    Place place = { .vm = vm };

    g_string_append(out, "# HELP qemu_p2p_groups Number of p2p-groups of a "
                    "VM.\n# TYPE qemu_p2p_groups gauge\nqemu_p2p_groups{");
    add_label(out, "vm", vm);
    g_string_append_printf(out, "} %u\n", json_array_get_length(groups));
    for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++) {
        const Metric *metric = &metrics[i];

        g_string_append_printf(out, "# HELP qemu_p2p_%s %s\n# TYPE "
                               "qemu_p2p_%s %s\n", metric->name, metric->help,
                               metric->name, metric->type);
        add_samples(out, metric, &place, groups, GROUP);
    }
    return g_string_free(out, FALSE);
}
