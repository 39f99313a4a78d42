/*
 * JSON that somebody else wrote
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_JSON_H
#define P2P_TOOL_JSON_H

#include <glib.h>
#include <json-glib/json-glib.h>

/* All errors; their messages go on from a word like "is". */
#define TOOL_JSON_ERROR (g_quark_from_static_string("qemu-p2p-json"))

/*
 * tool_json_parse: an object of @text, of @size bytes, which may be anything.
 * Refused are, besides what is not JSON, objects and arrays more than
 * @max_depth deep.  NULL with @error set; else the caller frees it.
 */
JsonNode *tool_json_parse(const char *text, gsize size, unsigned max_depth,
                          GError **error);

#endif /* P2P_TOOL_JSON_H */
