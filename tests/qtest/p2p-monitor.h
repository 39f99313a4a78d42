/*
 * query-p2p and p2p-translate for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_P2P_MONITOR_H
#define P2P_TESTS_P2P_MONITOR_H

#include "hw/p2p/vec.h"
#include "qobject/qdict.h"
#include "tests/qtest/libqtest.h"

/*
 * p2p_monitor_translate: p2p-translate for a vector.
 *
 * @initiator: id of a device that belongs to a group
 * @in: @n entries with the in-flags of hw/p2p/vec.h
 * @out: room for *@m entries, which must be enough
 * @m: in: room in @out; out: entries written
 *
 * Returns 0, or the errno of the fault as a negative number; *@m is 0 then.
 */
int p2p_monitor_translate(QTestState *qts, const char *initiator,
                          const P2PGuestVec *in, size_t n,
                          P2PBusVec *out, size_t *m);

/*
 * p2p_monitor_window: what query-p2p says of a window.
 *
 * @member: id of its owner
 * @offset: in BAR @bar, in bytes
 *
 * Returns a window's dictionary, the caller's, or NULL if it is not there.
 */
QDict *p2p_monitor_window(QTestState *qts, const char *member, int bar,
                          uint64_t offset);

/* p2p_monitor_member: the same for a member. */
QDict *p2p_monitor_member(QTestState *qts, const char *member);

/* p2p_monitor_grant: an initiator's part of @window, which owns it; or NULL. */
const QDict *p2p_monitor_grant(const QDict *window, const char *initiator);

/* p2p_monitor_uint: a member of a dictionary, up to UINT64_MAX. */
uint64_t p2p_monitor_uint(const QDict *dict, const char *key);

#endif /* P2P_TESTS_P2P_MONITOR_H */
