/*
 * JSON that somebody else wrote
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdbool.h>
#include "json.h"

/*
 * How deep brackets are, outside of strings; false: this is not JSON.
 * json-glib takes comments and 'quotes', too, in which brackets would be
 * counted wrongly; no JSON has them outside of strings.
 */
static bool measure_depth(const char *text, gsize size, unsigned *deepest)
{
    unsigned depth = 0;
    bool quoted = false;

    *deepest = 0;
    for (gsize i = 0; i < size; i++) {
        char c = text[i];

        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '/' || c == '\'' || c == '#')) {
            return false;
        } else if (!quoted && (c == '{' || c == '[')) {
            depth++;
            *deepest = MAX(*deepest, depth);
        } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return !quoted;
}

JsonNode *tool_json_parse(const char *text, gsize size, unsigned max_depth,
                          GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) cause = NULL;
    unsigned depth;

    if (!g_utf8_validate(text, size, NULL) ||
        !measure_depth(text, size, &depth)) {
        g_set_error(error, TOOL_JSON_ERROR, 0, "not JSON");
    } else if (depth > max_depth) {
        /* json-glib's parser calls itself for each. */
        g_set_error(error, TOOL_JSON_ERROR, 0, "JSON of more than %u levels",
                    max_depth);
    } else if (!json_parser_load_from_data(parser, text, size, &cause)) {
        g_set_error(error, TOOL_JSON_ERROR, 0, "not JSON (%s)",
                    cause->message);
    } else if (!json_parser_get_root(parser) ||
               !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        g_set_error(error, TOOL_JSON_ERROR, 0, "JSON that is not an object");
    } else {
        return json_parser_steal_root(parser);
    }
    return NULL;
}
