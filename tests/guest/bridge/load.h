/*
 * Threads that use a window until it goes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_GUEST_LOAD_H
#define P2P_GUEST_LOAD_H

#include "bridge.h"

/* Of a window: each thread has a part of its own. */
#define LOAD_WINDOW (8 * MIB)

typedef struct Load Load;

/* Begin; each thread has moved data when it returns. */
Load *load_begin(const Window *window);

/*
 * The window has gone, or goes: wait until all threads have noticed, and
 * compare all that was said to be done. False, with complaints, if not so.
 */
bool load_end(Load *load);

#endif
