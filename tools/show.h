/*
 * Verdicts and functions as the commands show them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_SHOW_H
#define P2P_TOOL_SHOW_H

#include "tool.h"

typedef struct ToolVerdictWord {
    const char *name;       /* "thru-host-bridge" */
    const char *cell;       /* of a matrix: "host", 5 characters at most */
    const char *meaning;    /* a line */
    const char *colour;     /* of a drawing: "#rrggbb" */
    bool yes;               /* a transfer is known to arrive */
} ToolVerdictWord;

#define TOOL_VERDICTS 4

extern const ToolVerdictWord tool_verdicts[TOOL_VERDICTS];

const ToolVerdictWord *tool_verdict_word(const P2PVerdict *verdict);
void tool_print_verdict_legend(void);

/* Members of a JSON object that has been begun. */
void tool_json_string(JsonBuilder *builder, const char *name,
                      const char *value);   /* NULL: null */
void tool_json_int(JsonBuilder *builder, const char *name, gint64 value);
void tool_json_bool(JsonBuilder *builder, const char *name, bool value);

/* An array of strings. */
void tool_json_strings(JsonBuilder *builder, const char *name,
                       const GPtrArray *list);

/* path, verdict and whether the root complex routes, as members. */
void tool_json_verdict(JsonBuilder *builder, const P2PVerdict *verdict);

/* All that is known of a function, as an object. */
void tool_json_function(JsonBuilder *builder, const P2PFunction *function);

#endif /* P2P_TOOL_SHOW_H */
