/*
 * query-p2p and p2p-translate for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "p2p-monitor.h"

static const struct {
    uint32_t flag;
    const char *name;
} in_flags[] = {
    { P2P_VEC_READ, "read" },
    { P2P_VEC_WRITE, "write" },
    { P2P_VEC_NO_MERGE, "no-merge" },
    { P2P_VEC_MUST_BE_IO, "must-be-io" },
    { P2P_VEC_MUST_BE_RAM, "must-be-ram" },
};

static QDict *entry_to_qdict(const P2PGuestVec *entry)
{
    QDict *dict = qdict_new();
    QList *flags = qlist_new();

    for (unsigned i = 0; i < ARRAY_SIZE(in_flags); i++) {
        if (entry->flags & in_flags[i].flag) {
            qlist_append_str(flags, in_flags[i].name);
        }
    }
    qdict_put(dict, "gpa", qnum_from_uint(entry->addr.gpa));
    qdict_put_int(dict, "len", entry->len);
    qdict_put(dict, "flags", flags);
    return dict;
}

uint64_t p2p_monitor_uint(const QDict *dict, const char *key)
{
    return qnum_get_uint(qobject_to(QNum, qdict_get(dict, key)));
}

static P2PMapType map_type_from_str(const char *name)
{
    static const char *const names[P2P_MAP__MAX] = {
        [P2P_MAP_NONE] = "none",
        [P2P_MAP_NOT_SUPPORTED] = "not-supported",
        [P2P_MAP_BUS_ADDR] = "bus-addr",
        [P2P_MAP_THRU_HOST_BRIDGE] = "thru-host-bridge",
        [P2P_MAP_CPU] = "cpu",
    };
    P2PMapType type = 0;

    while (type < P2P_MAP__MAX && strcmp(name, names[type])) {
        type++;
    }
    g_assert_cmpuint(type, <, P2P_MAP__MAX);
    return type;
}

static P2PBusVec entry_from_qdict(const QDict *dict)
{
    const char *memory = qdict_get_str(dict, "memory");
    const char *map_type = qdict_get_str(dict, "map-type");

    return (P2PBusVec) {
        .addr = { p2p_monitor_uint(dict, "bus-address") },
        .len = p2p_monitor_uint(dict, "len"),
        .flags = (g_str_equal(memory, "io") ? P2P_VEC_IO : P2P_VEC_RAM) |
                 (qdict_get_bool(dict, "self") ? P2P_VEC_SELF : 0) |
                 map_type_from_str(map_type) << P2P_VEC_MAP_SHIFT,
    };
}

int p2p_monitor_translate(QTestState *qts, const char *initiator,
                          const P2PGuestVec *in, size_t n,
                          P2PBusVec *out, size_t *m)
{
    QList *vector = qlist_new();
    g_autoptr(QDict) reply = NULL;
    const QDict *result, *fault;
    const QListEntry *e;
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        qlist_append(vector, entry_to_qdict(&in[i]));
    }
    reply = qtest_qmp(qts, "{ 'execute': 'p2p-translate', 'arguments': {"
                           "  'initiator': %s, 'vector': %p } }",
                      initiator, QOBJECT(vector));
    g_assert_true(qdict_haskey(reply, "return"));
    result = qdict_get_qdict(reply, "return");

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "vector"), e) {
        g_assert_cmpuint(count, <, *m);
        out[count++] = entry_from_qdict(qobject_to(QDict, e->value));
    }
    *m = count;

    fault = qdict_get_qdict(result, "fault");
    return fault ? -(int)qdict_get_int(fault, "errno") : 0;
}

QDict *p2p_monitor_member(QTestState *qts, const char *id)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'query-p2p' }");
    const QListEntry *g, *m;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), g) {
        QDict *group = qobject_to(QDict, g->value);

        QLIST_FOREACH_ENTRY(qdict_get_qlist(group, "members"), m) {
            QDict *member = qobject_to(QDict, m->value);

            if (!g_strcmp0(qdict_get_try_str(member, "id"), id)) {
                return qobject_ref(member);
            }
        }
    }
    return NULL;
}

QDict *p2p_monitor_window(QTestState *qts, const char *id, int bar,
                          uint64_t offset)
{
    g_autoptr(QDict) member = p2p_monitor_member(qts, id);
    const QListEntry *w;

    if (!member) {
        return NULL;
    }
    QLIST_FOREACH_ENTRY(qdict_get_qlist(member, "windows"), w) {
        QDict *window = qobject_to(QDict, w->value);

        if (qdict_get_int(window, "bar") == bar &&
            p2p_monitor_uint(window, "offset") == offset) {
            return qobject_ref(window);
        }
    }
    return NULL;
}

const QDict *p2p_monitor_grant(const QDict *window, const char *initiator)
{
    const QListEntry *g;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(window, "grants"), g) {
        const QDict *grant = qobject_to(QDict, g->value);

        if (g_str_equal(qdict_get_str(grant, "initiator"), initiator)) {
            return grant;
        }
    }
    return NULL;
}
