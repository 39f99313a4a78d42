/*
 * Asking a running VM about a pair of its devices
 *
 * What can be asked without getting in the way of the guest: whether grants
 * are installed, and what p2p-translate makes of the ends of each window, as
 * it does for a device model's DMA.  The devices are the guest's, so no data
 * is moved.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "show.h"
#include "status.h"
#include "verify-via.h"

/* Of each end of a window */
#define PROBE 4096

typedef struct Via {
    ToolVm *vm;
    JsonBuilder *builder;   /* NULL: text is printed */
    unsigned windows, refused;
} Via;

/* --- Members ----------------------------------------------------------- */

static bool is_called(JsonObject *member, const char *name)
{
    g_autofree char *bdf = p2p_bdf_parse(name);

    return strcmp(status_string(member, "id"), name) == 0 ||
           strcmp(status_string(member, "qom-path"), name) == 0 ||
           (bdf && (strcmp(status_string(member, "host-bdf"), bdf) == 0 ||
                    strcmp(status_string(member, "guest-bdf"), bdf) == 0));
}

/* Borrowed from @groups; NULL: an error was printed. */
static JsonObject *find_member(JsonArray *groups, const char *name,
                               const char *vm)
{
    JsonObject *found = NULL;

    for (guint i = 0; i < json_array_get_length(groups); i++) {
        JsonObject *group = json_array_get_object_element(groups, i);
        JsonArray *members = json_object_get_array_member(group, "members");

        for (guint j = 0; j < json_array_get_length(members); j++) {
            JsonObject *member = json_array_get_object_element(members, j);

            if (!is_called(member, name)) {
                continue;
            }
            if (found) {
                tool_error("'%s' is the host's address of one device of %s, "
                           "and the guest's of another; name it by its id",
                           name, vm);
                return NULL;
            }
            found = member;
        }
    }
    if (!found) {
        tool_error("no p2p-group of %s has a member '%s'; qemu-p2p status "
                   "lists them", vm, name);
    }
    return found;
}

/* The grant of @initiator to @window, or NULL. */
static JsonObject *find_grant(JsonObject *window, const char *initiator)
{
    JsonArray *grants = json_object_get_array_member(window, "grants");

    for (guint i = 0; i < json_array_get_length(grants); i++) {
        JsonObject *grant = json_array_get_object_element(grants, i);

        if (strcmp(status_string(grant, "initiator"), initiator) == 0) {
            return grant;
        }
    }
    return NULL;
}

/* --- Translation -------------------------------------------------------- */

static void add_entry(JsonBuilder *builder, guint64 gpa, const char *flag)
{
    json_builder_begin_object(builder);
    tool_json_int(builder, "gpa", (gint64)gpa);
    tool_json_int(builder, "len", PROBE);
    json_builder_set_member_name(builder, "flags");
    json_builder_begin_array(builder);
    json_builder_add_string_value(builder, flag);
    json_builder_add_string_value(builder, "must-be-io");
    json_builder_add_string_value(builder, "no-merge");
    json_builder_end_array(builder);
    json_builder_end_object(builder);
}

/* Arguments of p2p-translate for both ends of @window. */
static JsonNode *make_question(JsonObject *window, const char *initiator)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    guint64 first = status_uint(window, "gpa");
    guint64 last = first + status_uint(window, "size") - PROBE;
    bool rw = strcmp(status_string(window, "access"), "rw") == 0;

    json_builder_begin_object(builder);
    tool_json_string(builder, "initiator", initiator);
    json_builder_set_member_name(builder, "vector");
    json_builder_begin_array(builder);
    add_entry(builder, first, "read");
    add_entry(builder, last, "read");
    if (rw) {
        add_entry(builder, first, "write");
        add_entry(builder, last, "write");
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

static JsonNode *member_of(JsonNode *node, const char *name)
{
    return node && JSON_NODE_HOLDS_OBJECT(node)
           ? json_object_get_member(json_node_get_object(node), name) : NULL;
}

/* Of what p2p-translate returned, which nobody has checked. */
static const char *fault_reason(JsonNode *reply)
{
    JsonNode *fault = member_of(reply, "fault");
    JsonNode *reason = member_of(fault, "reason");

    if (!fault && member_of(reply, "vector")) {
        return NULL;
    }
    return reason && json_node_get_value_type(reason) == G_TYPE_STRING
           ? json_node_get_string(reason) : "QEMU's answer is no translation";
}

/*
 * False: the VM cannot be asked any more, with @error.  *@reason: why it is
 * refused, for g_free(); NULL: it is not
 */
static bool translate(Via *via, JsonObject *window, const char *initiator,
                      char **reason, GError **error)
{
    g_autoptr(JsonNode) question = make_question(window, initiator);
    g_autoptr(JsonNode) reply = tool_vm_execute(via->vm, "p2p-translate",
                                                question, error);

    *reason = NULL;
    if (reply) {
        *reason = g_strdup(fault_reason(reply));
        return true;
    }
    if (g_error_matches(*error, TOOL_VM_ERROR, TOOL_VM_ERROR_REFUSED)) {
        *reason = g_strdup((*error)->message);
        g_clear_error(error);
        return true;
    }
    return false;
}

/* --- Windows ------------------------------------------------------------- */

static void tell(Via *via, JsonObject *initiator, JsonObject *target,
                 JsonObject *window, const char *refused)
{
    g_autofree char *size = tool_size_str(status_uint(window, "size"));
    guint64 bar = status_uint(window, "bar");
    guint64 offset = status_uint(window, "offset");

    via->windows++;
    via->refused += refused != NULL;
    if (!via->builder) {
        printf("%s to BAR %" G_GUINT64_FORMAT " of %s, 0x%" G_GINT64_MODIFIER
               "x+%s: %s%s\n", status_member_name(initiator), bar,
               status_member_name(target), offset, size,
               refused ? "refused: " : "granted, and translated", refused
               ?: "");
        return;
    }
    json_builder_begin_object(via->builder);
    tool_json_string(via->builder, "initiator",
                     status_member_name(initiator));
    tool_json_string(via->builder, "target", status_member_name(target));
    tool_json_int(via->builder, "bar", bar);
    tool_json_int(via->builder, "offset", offset);
    tool_json_int(via->builder, "size", status_uint(window, "size"));
    tool_json_bool(via->builder, "reachable", !refused);
    tool_json_string(via->builder, "reason", refused);
    json_builder_end_object(via->builder);
}

static bool ask_window(Via *via, JsonObject *initiator, JsonObject *target,
                       JsonObject *window, GError **error)
{
    const char *name = status_member_name(initiator);
    JsonObject *grant = find_grant(window, name);
    g_autofree char *refused = NULL;

    if (!grant) {
        refused = g_strdup("it has no grant: another group, or p2p-initiate "
                           "is off");
    } else if (!status_bool(grant, "installed")) {
        refused = g_strdup(status_string(grant, "reason"));
    } else if (!translate(via, window, name, &refused, error)) {
        return false;
    }
    tell(via, initiator, target, window, refused);
    return true;
}

static bool ask_direction(Via *via, JsonObject *initiator,
                          JsonObject *target, GError **error)
{
    JsonArray *windows = json_object_get_array_member(target, "windows");

    for (guint i = 0; i < json_array_get_length(windows); i++) {
        if (!ask_window(via, initiator, target,
                        json_array_get_object_element(windows, i), error)) {
            return false;
        }
    }
    return true;
}

/* --- The command ---------------------------------------------------------- */

static ToolStatus judge(const Via *via, const char *target)
{
    if (via->windows == 0) {
        tool_error("%s shares no window; p2p-share= of its device, or the "
                   "monitor's p2p-share, shares one", target);
        return TOOL_NO;
    }
    return via->refused ? TOOL_NO : TOOL_OK;
}

static bool ask_both(Via *via, JsonObject *a, JsonObject *b, bool both_ways,
                     GError **error)
{
    return ask_direction(via, a, b, error) &&
           (!both_ways || ask_direction(via, b, a, error));
}

static void finish(Via *via)
{
    if (via->builder) {
        json_builder_end_array(via->builder);
        json_builder_end_object(via->builder);
        tool_print_json(json_builder_get_root(via->builder));
    } else if (via->windows) {
        puts("No data was moved: the devices are the guest's.");
    }
}

ToolStatus verify_via(const ToolVmAddress *address, const char *initiator,
                      const char *target, bool both_ways, bool json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ToolVm) vm = tool_vm_open(address, &error);
    g_autoptr(JsonBuilder) builder = json ? json_builder_new() : NULL;
    g_autoptr(JsonNode) node = NULL;
    Via via = { .vm = vm, .builder = builder };
    JsonObject *a, *b;

    node = vm ? tool_vm_execute(vm, "query-p2p", NULL, &error) : NULL;
    if (!node || !status_check(node, &error)) {
        tool_error("%s", error->message);
        return TOOL_CANNOT;
    }
    a = find_member(json_node_get_array(node), initiator, tool_vm_name(vm));
    b = a ? find_member(json_node_get_array(node), target, tool_vm_name(vm))
          : NULL;
    if (!b) {
        return TOOL_CANNOT;
    }
    if (a == b) {
        tool_error("%s is both initiator and target: nothing would be "
                   "peer-to-peer; name two devices", initiator);
        return TOOL_CANNOT;
    }
    if (builder) {
        json_builder_begin_object(builder);
        tool_json_bool(builder, "data-moved", false);
        json_builder_set_member_name(builder, "windows");
        json_builder_begin_array(builder);
    }
    if (!ask_both(&via, a, b, both_ways, &error)) {
        tool_error("%s", error->message);
        return TOOL_CANNOT;
    }
    finish(&via);
    return judge(&via, target);
}
