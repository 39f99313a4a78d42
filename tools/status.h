/*
 * The parts of qemu-p2p status
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_STATUS_H
#define P2P_TOOL_STATUS_H

#include "tool.h"

/*
 * status_check: whether @node has the shape of what query-p2p returns, so that
 * members of docs/qmp.md may be read without looking again.  Members that are
 * not known are no error: a later QEMU may have more.
 */
bool status_check(JsonNode *node, GError **error);

/*
 * Members of a checked object: "" or 0 for one that is absent.  A number above
 * 2^63 keeps its bits.
 */
const char *status_string(JsonObject *object, const char *name);
guint64 status_uint(JsonObject *object, const char *name);
bool status_bool(JsonObject *object, const char *name);

/* What is stuck of a group; an array without elements, if nothing is. */
JsonArray *status_stuck(JsonObject *group);

/* Of a member: its id, or else its QOM path. */
const char *status_member_name(JsonObject *member);

/* As text for people; for g_free().  Control characters are shown as '?'. */
char *status_text(const char *vm, JsonArray *groups);

/* In Prometheus's text exposition format; for g_free() */
char *status_prometheus(const char *vm, JsonArray *groups);

#endif /* P2P_TOOL_STATUS_H */
