/*
 * qemu-p2p verify: whether the user wants an end
 *
 * A signal ends nothing by itself, for a window of somebody's memory has to be
 * restored first: whoever waits looks here and gives up in good order.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TOOL_VERIFY_STOP_H
#define P2P_TOOL_VERIFY_STOP_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP are noted, and end nothing. */
void verify_stop_catch(void);

/* Whether one of them has come. */
bool verify_stop_wanted(void);

#endif /* P2P_TOOL_VERIFY_STOP_H */
