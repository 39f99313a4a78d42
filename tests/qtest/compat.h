/*
 * What the tests use of newer QEMU versions, for older ones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef P2P_TESTS_COMPAT_H
#define P2P_TESTS_COMPAT_H

#include "qobject/qdict.h"
#include "qobject/qnum.h"

/* qdict_get_uint() came in 10.1. */
static inline uint64_t compat_qdict_get_uint(const QDict *dict,
                                             const char *key)
{
    return qnum_get_uint(qobject_to(QNum, qdict_get(dict, key)));
}

#endif /* P2P_TESTS_COMPAT_H */
