/*
 * Whether an answer to query-p2p is what docs/qmp.md says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "qmp.h"
#include "status.h"

typedef enum Kind { STRING, INTEGER, BOOLEAN, OBJECT, ARRAY } Kind;

typedef struct Member {
    const char *name;
    Kind kind;
    bool optional;
    const struct Member *inside;    /* of an object, or of an array's */
} Member;

static const Member drive_path[] = {
    { "data-path", .kind = STRING },
    { "reason", .kind = STRING },
    { NULL },
};

static const Member drive[] = {
    { "drive", .kind = STRING },
    { "read", .kind = OBJECT, .inside = drive_path },
    { "write", .kind = OBJECT, .inside = drive_path },
    { NULL },
};

static const Member grant[] = {
    { "initiator", .kind = STRING },
    { "map-type", .kind = STRING },
    { "installed", .kind = BOOLEAN },
    { "reason", .kind = STRING, .optional = true },
    { "path", .kind = STRING, .optional = true },
    { "routed", .kind = BOOLEAN, .optional = true },
    { "path-reason", .kind = STRING, .optional = true },
    { "maps", .kind = INTEGER },
    { "unmaps", .kind = INTEGER },
    { "failures", .kind = INTEGER },
    { "last-errno", .kind = INTEGER, .optional = true },
    { "requests", .kind = INTEGER, .optional = true },
    { "bytes", .kind = INTEGER, .optional = true },
    { "stuck", .kind = INTEGER, .optional = true },
    { "drives", .kind = ARRAY, .optional = true, .inside = drive },
    { NULL },
};

static const Member stuck[] = {
    { "target", .kind = STRING },
    { "bar", .kind = INTEGER },
    { "offset", .kind = INTEGER },
    { "size", .kind = INTEGER },
    { "gpa", .kind = INTEGER },
    { "errno", .kind = INTEGER },
    { NULL },
};

static const Member traffic[] = {
    { "data-path", .kind = STRING },
    { "requests", .kind = INTEGER },
    { "bytes", .kind = INTEGER },
    { NULL },
};

static const Member source[] = {
    { "target", .kind = STRING },
    { "bar", .kind = INTEGER },
    { "offset", .kind = INTEGER },
    { NULL },
};

static const Member window[] = {
    { "bar", .kind = INTEGER },
    { "offset", .kind = INTEGER },
    { "size", .kind = INTEGER },
    { "access", .kind = STRING },
    { "state", .kind = STRING },
    { "gpa", .kind = INTEGER, .optional = true },
    { "cpu-mappable", .kind = BOOLEAN },
    { "source", .kind = OBJECT, .optional = true, .inside = source },
    { "traffic", .kind = ARRAY, .inside = traffic },
    { "failed-requests", .kind = INTEGER },
    { "grants", .kind = ARRAY, .inside = grant },
    { NULL },
};

static const Member unshared[] = {
    { "bar", .kind = INTEGER },
    { "reason", .kind = STRING },
    { NULL },
};

static const Member member[] = {
    { "id", .kind = STRING, .optional = true },
    { "qom-path", .kind = STRING },
    { "guest-bdf", .kind = STRING },
    { "host-bdf", .kind = STRING, .optional = true },
    { "kind", .kind = STRING },
    { "back-end", .kind = STRING, .optional = true },
    { "initiate", .kind = BOOLEAN },
    { "faults", .kind = INTEGER, .optional = true },
    { "windows", .kind = ARRAY, .inside = window },
    { "unshared", .kind = ARRAY, .inside = unshared },
    { NULL },
};

static const Member group[] = {
    { "id", .kind = STRING },
    { "policy", .kind = STRING },
    { "bus-address", .kind = BOOLEAN },
    { "members", .kind = ARRAY, .inside = member },
    { "stuck", .kind = ARRAY, .optional = true, .inside = stuck },
    { NULL },
};

static const Member reply = { "return", .kind = ARRAY, .inside = group };

static bool is_of_kind(JsonNode *node, Kind kind)
{
    static const GType types[] = {
        [STRING] = G_TYPE_STRING, [INTEGER] = G_TYPE_INT64,
        [BOOLEAN] = G_TYPE_BOOLEAN,
    };

    if (!node) {
        return false;
    }
    switch (kind) {
    case OBJECT:
        return JSON_NODE_HOLDS_OBJECT(node);
    case ARRAY:
        return JSON_NODE_HOLDS_ARRAY(node);
    default:
        return JSON_NODE_HOLDS_VALUE(node) &&
               json_node_get_value_type(node) == types[kind];
    }
}

static bool check(JsonNode *node, const Member *rule, const char *where,
                  GError **error);

static bool check_object(JsonNode *node, const Member *rules,
                         const char *where, GError **error)
{
    JsonObject *object;

    if (!is_of_kind(node, OBJECT)) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                    "%s is not an object", where);
        return false;
    }
    object = json_node_get_object(node);
    for (const Member *rule = rules; rule->name; rule++) {
        JsonNode *value = json_object_get_member(object, rule->name);
        g_autofree char *path = NULL;

        if (!value && rule->optional) {
            continue;
        }
        path = g_strdup_printf("%s.%s", where, rule->name);
        if (!check(value, rule, path, error)) {
            return false;
        }
    }
    return true;
}

static bool check(JsonNode *node, const Member *rule, const char *where,
                  GError **error)
{
    static const char *const kinds[] = {
        "a string", "an integer", "true or false", "an object", "an array",
    };
    JsonArray *array;

    if (!is_of_kind(node, rule->kind)) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                    node ? "%s is not %s" : "%s is missing (%s)", where,
                    kinds[rule->kind]);
        return false;
    }
    if (rule->kind == OBJECT) {
        return check_object(node, rule->inside, where, error);
    }
    if (rule->kind == ARRAY) {
        array = json_node_get_array(node);
        for (guint i = 0; i < json_array_get_length(array); i++) {
            g_autofree char *path = g_strdup_printf("%s[%u]", where, i);

            if (!check_object(json_array_get_element(array, i), rule->inside,
                              path, error)) {
                return false;
            }
        }
    }
    return true;
}

bool status_check(JsonNode *node, GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (!check(node, &reply, reply.name, &cause)) {
        g_set_error(error, TOOL_VM_ERROR, TOOL_VM_ERROR_PROTOCOL,
                    "the answer to query-p2p is not what this qemu-p2p "
                    "understands: %s", cause->message);
        return false;
    }
    return true;
}

/* --- Reading ---------------------------------------------------------- */

const char *status_string(JsonObject *object, const char *name)
{
    return json_object_get_string_member_with_default(object, name, "");
}

guint64 status_uint(JsonObject *object, const char *name)
{
    return json_object_get_int_member_with_default(object, name, 0);
}

bool status_bool(JsonObject *object, const char *name)
{
    return json_object_get_boolean_member_with_default(object, name, false);
}

const char *status_member_name(JsonObject *object)
{
    const char *id = status_string(object, "id");

    return *id ? id : status_string(object, "qom-path");
}

JsonArray *status_stuck(JsonObject *group)
{
    static JsonArray *none;

    if (json_object_has_member(group, "stuck")) {
        return json_object_get_array_member(group, "stuck");
    }
    if (!none) {
        none = json_array_new();
    }
    return none;
}
