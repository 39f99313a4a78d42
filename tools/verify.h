/*
 * qemu-p2p verify: what the command knows when it is done, and how it is shown
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_H
#define P2P_TOOL_VERIFY_H

#include "show.h"
#include "verify-run.h"

/* One initiator, one target */
typedef struct VerifyDirection {
    const P2PFunction *initiator, *target;
    unsigned bar;
    P2PVerdict verdict;
    char *reason;           /* what decided the verdict */
    bool done;              /* the experiment was run to its end */
    VerifyResult result;
    char *error;            /* why it was not; NULL: not tried, or done */
} VerifyDirection;

typedef struct VerifyReport {
    const char *backend;    /* NULL: nothing was opened */
    bool forced;
    uint64_t size;          /* of the window, bytes */
    unsigned n;
    VerifyDirection direction[2];
} VerifyReport;

/* The answer of all directions, and its word: "intact", "lost", ... */
ToolStatus verify_report_status(const VerifyReport *report);
const char *verify_report_word(const VerifyReport *report);

void verify_print_text(const VerifyReport *report);
void verify_print_json(const VerifyReport *report);

#endif /* P2P_TOOL_VERIFY_H */
