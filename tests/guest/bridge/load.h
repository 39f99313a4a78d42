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

/*
 * Begin; each thread has moved data when it returns.
 *
 * @abrupt: the host does not wait for the driver when the window goes, so that
 *     the CPU may read ones before it gets a SIGBUS
 */
Load *load_begin(const Window *window, bool abrupt);

/*
 * The window has gone, or goes: wait until all threads have noticed, and
 * compare all that was said to be done. False, with complaints, if not so.
 */
bool load_end(Load *load);

#endif
