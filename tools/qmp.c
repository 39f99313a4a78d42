/*
 * Asking a running VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "json.h"
#include "qmp.h"

/* Of what QMP commands return */
#define MAX_DEPTH 32

/* Of an error message of QEMU that is shown. */
#define MAX_MESSAGE 4096

struct ToolVm {
    const ToolVmWay *way;
    void *opaque;
    char *name;
    gint64 last_id;
};

GQuark tool_vm_error_quark(void)
{
    return g_quark_from_static_string("qemu-p2p-vm");
}

void tool_vm_address_clear(ToolVmAddress *address)
{
    g_clear_pointer(&address->socket, g_free);
    g_clear_pointer(&address->uri, g_free);
    g_clear_pointer(&address->domain, g_free);
}

/* --- Parsing ---------------------------------------------------------- */

JsonNode *tool_vm_parse(const char *text, gsize size, GError **error)
{
    g_autoptr(GError) cause = NULL;
    JsonNode *node = tool_json_parse(text, size, MAX_DEPTH, &cause);

    if (!node) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                    "what it sends is %s", cause->message);
    }
    return node;
}

/* --- Opening ---------------------------------------------------------- */

static bool check_address(const ToolVmAddress *address, GError **error)
{
    const char *problem = NULL;

    if (!address->socket && !address->domain) {
        problem = "no VM is named: --qmp SOCKET, or a libvirt DOMAIN";
    } else if (address->socket && (address->domain || address->uri)) {
        problem = "a VM is reached by --qmp SOCKET or as libvirt DOMAIN, not "
                  "both";
    } else if (address->timeout < 0) {
        problem = "--timeout takes seconds, 1 or more";
    }
    if (problem) {
        g_set_error_literal(error, TOOL_VM_ERROR, TOOL_VM_ERROR_FAILED,
                            problem);
    }
    return !problem;
}

ToolVm *tool_vm_open(const ToolVmAddress *address, GError **error)
{
    g_autofree char *name = NULL;
    void *opaque;
    ToolVm *vm;

    if (!check_address(address, error)) {
        return NULL;
    }
    opaque = address->socket ? tool_vm_socket_open(address, error)
                             : tool_vm_libvirt_open(address, &name, error);
    if (!opaque) {
        return NULL;
    }
    vm = g_new0(ToolVm, 1);
    vm->way = address->socket ? &tool_vm_socket : &tool_vm_libvirt;
    vm->opaque = opaque;
    vm->name = g_steal_pointer(&name);
    if (address->socket) {
        g_autoptr(JsonNode) reply = tool_vm_execute(vm, "query-name", NULL,
                                                    error);
        JsonNode *node;

        if (!reply) {
            tool_vm_close(vm);
            return NULL;
        }
        node = JSON_NODE_HOLDS_OBJECT(reply)
               ? json_object_get_member(json_node_get_object(reply), "name")
               : NULL;
        vm->name = node && json_node_get_value_type(node) == G_TYPE_STRING
                   ? json_node_dup_string(node)
                   : g_path_get_basename(address->socket);
    }
    return vm;
}

void tool_vm_close(ToolVm *vm)
{
    vm->way->close(vm->opaque);
    g_free(vm->name);
    g_free(vm);
}

const char *tool_vm_name(ToolVm *vm)
{
    return vm->name;
}

/* --- Commands --------------------------------------------------------- */

/* @id: 0 for none */
static char *make_command(const char *command, JsonNode *arguments, gint64 id)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "execute", command);
    if (arguments) {
        json_object_set_member(object, "arguments",
                               json_node_copy(arguments));
    }
    if (id) {
        json_object_set_int_member(object, "id", id);
    }
    json_node_take_object(node, object);
    return json_to_string(node, false);
}

static const char *error_word(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && json_node_get_value_type(node) == G_TYPE_STRING
           ? json_node_get_string(node) : "(no words)";
}

static void set_refused(const char *command, JsonNode *node, GError **error)
{
    JsonObject *object;
    bool unknown;

    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                    "its answer to %s holds an error that is not an object",
                    command);
        return;
    }
    object = json_node_get_object(node);
    unknown = strcmp(error_word(object, "class"), "CommandNotFound") == 0;
    g_set_error(error, TOOL_VM_ERROR,
                unknown ? TOOL_VM_ERROR_NO_COMMAND : TOOL_VM_ERROR_REFUSED,
                "%s: %.*s", command, MAX_MESSAGE, error_word(object, "desc"));
}

JsonNode *tool_vm_execute(ToolVm *vm, const char *command,
                          JsonNode *arguments, GError **error)
{
    gint64 id = ++vm->last_id;
    g_autofree char *text = make_command(command, arguments,
                                         vm->way->numbered ? id : 0);
    g_autofree char *reply = vm->way->ask(vm->opaque, text, id, error);
    g_autoptr(JsonNode) node = NULL;
    JsonObject *object;

    if (!reply) {
        return NULL;
    }
    node = tool_vm_parse(reply, strlen(reply), error);
    if (!node) {
        return NULL;
    }
    object = json_node_get_object(node);
    if (json_object_has_member(object, "return")) {
        return json_object_dup_member(object, "return");
    }
    if (json_object_has_member(object, "error")) {
        set_refused(command, json_object_get_member(object, "error"), error);
        return NULL;
    }
    g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                "its answer to %s has neither a return value nor an error",
                command);
    return NULL;
}
