/*
 * What query-p2p says, for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "status.h"

#define HEX "0x%" G_GINT64_MODIFIER "x"
#define DEC "%" G_GUINT64_FORMAT

/* --- Words ------------------------------------------------------------ */

/* As tool_add_safe(), with blanks up to @width characters. */
static void add_column(GString *out, const char *text, glong width)
{
    tool_add_safe(out, text);
    for (glong n = g_utf8_strlen(text, -1); n < width; n++) {
        g_string_append_c(out, ' ');
    }
}

static glong widest(JsonArray *members, const char *(*word)(JsonObject *),
                    glong least)
{
    for (guint i = 0; i < json_array_get_length(members); i++) {
        JsonObject *member = json_array_get_object_element(members, i);

        least = MAX(least, g_utf8_strlen(word(member), -1));
    }
    return least;
}

static const char *host_bdf(JsonObject *member)
{
    const char *bdf = status_string(member, "host-bdf");

    return *bdf ? bdf : "-";
}

static JsonObject *find_member(JsonArray *members, const char *name)
{
    for (guint i = 0; i < json_array_get_length(members); i++) {
        JsonObject *member = json_array_get_object_element(members, i);

        if (strcmp(name, status_string(member, "id")) == 0 ||
            strcmp(name, status_string(member, "qom-path")) == 0) {
            return member;
        }
    }
    return NULL;
}

/* --- Members ---------------------------------------------------------- */

static void add_members(GString *out, JsonArray *members)
{
    glong names = widest(members, status_member_name, 6);
    glong hosts = widest(members, host_bdf, 4);

    g_string_append(out, "      ");
    add_column(out, "Member", names);
    g_string_append(out, "  Guest         ");
    add_column(out, "Host", hosts);
    g_string_append(out, "  Who moves the data\n");
    for (guint i = 0; i < json_array_get_length(members); i++) {
        JsonObject *member = json_array_get_object_element(members, i);
        const char *back_end = status_string(member, "back-end");

        g_string_append_printf(out, "%4u  ", i);
        add_column(out, status_member_name(member), names);
        g_string_append(out, "  ");
        add_column(out, status_string(member, "guest-bdf"), 12);
        g_string_append(out, "  ");
        add_column(out, host_bdf(member), hosts);
        g_string_append(out, "  ");
        tool_add_safe(out, status_string(member, "kind"));
        if (*back_end) {
            g_string_append(out, ", ");
            tool_add_safe(out, back_end);
        }
        if (!status_bool(member, "initiate")) {
            g_string_append(out, ", target only");
        }
        if (status_uint(member, "faults")) {
            g_string_append_printf(out, ", " DEC " accesses refused",
                                   status_uint(member, "faults"));
        }
        g_string_append_c(out, '\n');
    }
}

/* --- The matrix ------------------------------------------------------- */

/* As the cells of qemu-p2p topo. */
static const char *map_cell(const char *map_type)
{
    static const struct {
        const char *name, *cell;
    } cells[] = {
        { "bus-addr", "bus" },
        { "thru-host-bridge", "host" },
        { "cpu", "cpu" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cells); i++) {
        if (strcmp(cells[i].name, map_type) == 0) {
            return cells[i].cell;
        }
    }
    return "yes";
}

/* What all grants of @initiator to the windows of @target say together. */
static const char *pair_cell(JsonObject *initiator, JsonObject *target)
{
    JsonArray *windows = json_object_get_array_member(target, "windows");
    unsigned installed = 0, all = 0;
    const char *cell = "-";

    if (initiator == target) {
        return "X";
    }
    for (guint i = 0; i < json_array_get_length(windows); i++) {
        JsonArray *grants = json_object_get_array_member(
            json_array_get_object_element(windows, i), "grants");

        for (guint j = 0; j < json_array_get_length(grants); j++) {
            JsonObject *grant = json_array_get_object_element(grants, j);
            const char *name = status_string(grant, "initiator");

            if (strcmp(name, status_string(initiator, "id")) == 0 ||
                strcmp(name, status_string(initiator, "qom-path")) == 0) {
                all++;
                if (status_bool(grant, "installed")) {
                    installed++;
                    cell = map_cell(status_string(grant, "map-type"));
                }
            }
        }
    }
    if (installed == all) {
        return cell;
    }
    return installed ? "part" : "no";
}

static const char legend[] =
    "  X     the same function\n"
    "  bus   installed; a switch routes it, the IOMMU never sees it\n"
    "  host  installed; through the root complex and the IOMMU\n"
    "  cpu   installed; QEMU moves the data\n"
    "  part  some windows only\n"
    "  no    not installed: the reasons follow\n"
    "  -     nothing is shared, or the member is a target only\n";

static void add_matrix(GString *out, JsonArray *members)
{
    guint n = json_array_get_length(members);
    glong names = widest(members, status_member_name, 0);

    g_string_append(out, "\nGrants (rows: initiators, columns: targets)\n");
    g_string_append_printf(out, "%*s", (int)names + 6, "");
    for (guint j = 0; j < n; j++) {
        g_string_append_printf(out, " %5u", j);
    }
    g_string_append_c(out, '\n');
    for (guint i = 0; i < n; i++) {
        JsonObject *initiator = json_array_get_object_element(members, i);

        g_string_append_printf(out, "%4u  ", i);
        add_column(out, status_member_name(initiator), names);
        for (guint j = 0; j < n; j++) {
            g_string_append_printf(
                out, " %5s", pair_cell(initiator,
                                       json_array_get_object_element(members,
                                                                     j)));
        }
        g_string_append_c(out, '\n');
    }
    g_string_append_printf(out, "\n%s", legend);
}

/* --- Windows and grants ----------------------------------------------- */

static void add_who(GString *out, const char *name, JsonObject *member)
{
    tool_add_safe(out, name);
    if (member) {
        g_string_append(out, " (guest ");
        tool_add_safe(out, status_string(member, "guest-bdf"));
        if (json_object_has_member(member, "host-bdf")) {
            g_string_append(out, ", host ");
            tool_add_safe(out, status_string(member, "host-bdf"));
        }
        g_string_append_c(out, ')');
    }
}

static void add_reason(GString *out, const char *title, JsonObject *object,
                       const char *name)
{
    const char *text = status_string(object, name);

    if (*text) {
        g_string_append_printf(out, "        %s: ", title);
        tool_add_safe(out, text);
        g_string_append_c(out, '\n');
    }
}

static void add_counters(GString *out, JsonObject *grant)
{
    g_string_append_printf(out, "        maps " DEC ", unmaps " DEC
                           ", failures " DEC, status_uint(grant, "maps"),
                           status_uint(grant, "unmaps"),
                           status_uint(grant, "failures"));
    if (json_object_has_member(grant, "last-errno")) {
        guint64 code = status_uint(grant, "last-errno");

        g_string_append_printf(out, ", the last one " DEC " (%s)", code,
                               code < 4096 ? g_strerror(code) : "unknown");
    }
    if (json_object_has_member(grant, "requests")) {
        g_string_append_printf(out, "; requests " DEC ", bytes " DEC,
                               status_uint(grant, "requests"),
                               status_uint(grant, "bytes"));
    }
    g_string_append_c(out, '\n');
    if (status_uint(grant, "stuck")) {
        g_string_append_printf(out, "        stuck: " DEC " bytes could not "
                               "be taken out of the IOMMU\n",
                               status_uint(grant, "stuck"));
    }
}

static void add_drive_path(GString *out, const char *title, JsonObject *drive,
                           const char *name)
{
    JsonObject *path = json_object_get_object_member(drive, name);

    g_string_append_printf(out, "; %s ", title);
    tool_add_safe(out, status_string(path, "data-path"));
    g_string_append(out, " (");
    tool_add_safe(out, status_string(path, "reason"));
    g_string_append_c(out, ')');
}

static void add_drives(GString *out, JsonObject *grant)
{
    JsonArray *drives = json_object_has_member(grant, "drives")
        ? json_object_get_array_member(grant, "drives") : NULL;

    for (guint i = 0; drives && i < json_array_get_length(drives); i++) {
        JsonObject *drive = json_array_get_object_element(drives, i);

        g_string_append(out, "        drive ");
        tool_add_safe(out, status_string(drive, "drive"));
        add_drive_path(out, "reads", drive, "read");
        add_drive_path(out, "writes", drive, "write");
        g_string_append_c(out, '\n');
    }
}

static void add_grant(GString *out, JsonArray *members, JsonObject *grant)
{
    const char *name = status_string(grant, "initiator");
    const char *path = status_string(grant, "path");

    g_string_append(out, "      ");
    add_who(out, name, find_member(members, name));
    g_string_append(out, status_bool(grant, "installed")
                    ? ": installed, " : ": NOT INSTALLED, ");
    tool_add_safe(out, status_string(grant, "map-type"));
    if (*path) {
        g_string_append(out, ", path ");
        tool_add_safe(out, path);
        g_string_append(out, status_bool(grant, "routed")
                        ? ", routed" : ", not known to be routed");
    }
    g_string_append_c(out, '\n');
    add_reason(out, "reason", grant, "reason");
    add_reason(out, "path", grant, "path-reason");
    add_counters(out, grant);
    add_drives(out, grant);
}

/* Of a window that a guest has attached by a p2p-bridge */
static void add_source(GString *out, JsonObject *window)
{
    JsonObject *source;

    if (!json_object_has_member(window, "source")) {
        return;
    }
    source = json_object_get_object_member(window, "source");
    g_string_append(out, "      attached by the guest: ");
    tool_add_safe(out, status_string(source, "target"));
    g_string_append_printf(out, " BAR " DEC ", offset " HEX "\n",
                           status_uint(source, "bar"),
                           status_uint(source, "offset"));
}

static void add_window(GString *out, JsonArray *members, JsonObject *window)
{
    JsonArray *grants = json_object_get_array_member(window, "grants");
    JsonArray *traffic = json_object_get_array_member(window, "traffic");
    g_autofree char *size = tool_size_str(status_uint(window, "size"));

    g_string_append_printf(out, "    BAR " DEC ", offset " HEX ", %s, ",
                           status_uint(window, "bar"),
                           status_uint(window, "offset"), size);
    tool_add_safe(out, status_string(window, "access"));
    g_string_append(out, ", ");
    tool_add_safe(out, status_string(window, "state"));
    if (json_object_has_member(window, "gpa")) {
        g_string_append_printf(out, " at " HEX, status_uint(window, "gpa"));
    }
    if (!status_bool(window, "cpu-mappable")) {
        g_string_append(out, ", no CPU mapping");
    }
    g_string_append_c(out, '\n');
    add_source(out, window);
    for (guint i = 0; i < json_array_get_length(traffic); i++) {
        JsonObject *way = json_array_get_object_element(traffic, i);

        if (!status_uint(way, "requests")) {
            continue;
        }
        g_string_append(out, "      moved by drives, ");
        tool_add_safe(out, status_string(way, "data-path"));
        g_string_append_printf(out, ": requests " DEC ", bytes " DEC "\n",
                               status_uint(way, "requests"),
                               status_uint(way, "bytes"));
    }
    if (status_uint(window, "failed-requests")) {
        g_string_append_printf(out, "      failed requests of drives: " DEC
                               "\n", status_uint(window, "failed-requests"));
    }
    for (guint i = 0; i < json_array_get_length(grants); i++) {
        add_grant(out, members, json_array_get_object_element(grants, i));
    }
}

static void add_target(GString *out, JsonArray *members, JsonObject *member)
{
    JsonArray *windows = json_object_get_array_member(member, "windows");
    JsonArray *unshared = json_object_get_array_member(member, "unshared");

    g_string_append(out, "\n  ");
    add_who(out, status_member_name(member), member);
    g_string_append(out, json_array_get_length(windows)
                    ? " shares\n" : " shares nothing\n");
    for (guint i = 0; i < json_array_get_length(windows); i++) {
        add_window(out, members, json_array_get_object_element(windows, i));
    }
    for (guint i = 0; i < json_array_get_length(unshared); i++) {
        JsonObject *bar = json_array_get_object_element(unshared, i);

        g_string_append_printf(out, "    BAR " DEC " is not shared: ",
                               status_uint(bar, "bar"));
        tool_add_safe(out, status_string(bar, "reason"));
        g_string_append_c(out, '\n');
    }
}

/* --- All -------------------------------------------------------------- */

/* What initiators still reach, though no window is there any more. */
static void add_stuck(GString *out, JsonObject *group)
{
    JsonArray *stuck = status_stuck(group);

    for (guint i = 0; i < json_array_get_length(stuck); i++) {
        JsonObject *one = json_array_get_object_element(stuck, i);
        g_autofree char *size = tool_size_str(status_uint(one, "size"));

        g_string_append_printf(out, "\n  STUCK in the IOMMU: BAR " DEC " of ",
                               status_uint(one, "bar"));
        tool_add_safe(out, status_string(one, "target"));
        g_string_append_printf(out, ", offset " HEX ", %s, at " HEX ": %s; "
                               "initiators may still reach it\n",
                               status_uint(one, "offset"), size,
                               status_uint(one, "gpa"),
                               g_strerror(status_uint(one, "errno")));
    }
}

static void add_group(GString *out, const char *vm, JsonObject *group)
{
    JsonArray *members = json_object_get_array_member(group, "members");

    g_string_append(out, "Group ");
    tool_add_safe(out, status_string(group, "id"));
    g_string_append(out, " of ");
    tool_add_safe(out, vm);
    g_string_append(out, ": policy ");
    tool_add_safe(out, status_string(group, "policy"));
    g_string_append_printf(out, ", bus addresses %s\n",
                           status_bool(group, "bus-address") ? "on" : "off");
    if (json_array_get_length(members) == 0) {
        g_string_append(out, "  no members\n");
    } else {
        add_members(out, members);
        add_matrix(out, members);
    }
    for (guint i = 0; i < json_array_get_length(members); i++) {
        add_target(out, members, json_array_get_object_element(members, i));
    }
    add_stuck(out, group);
}

char *status_text(const char *vm, JsonArray *groups)
{
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < json_array_get_length(groups); i++) {
        g_string_append(out, i ? "\n" : "");
        add_group(out, vm, json_array_get_object_element(groups, i));
    }
    return g_string_free(out, FALSE);
}
