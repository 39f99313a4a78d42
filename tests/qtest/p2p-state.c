/*
 * What query-p2p tells, and what the fake IOMMU holds, side by side
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "compat.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "p2p-state.h"

/* --- A monitor --------------------------------------------------------- */

StateMonitor *state_monitor_new(GString *options)
{
    StateMonitor *monitor = g_new0(StateMonitor, 1);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[0], F_SETFD, FD_CLOEXEC), ==, 0);
    g_string_append_printf(options, "-chardev "
                           "socket,id=state,fd=%d -mon chardev=state,"
                           "mode=control -device p2p-fault-injector,id=f ",
                           fds[1]);
    monitor->fd = fds[0];
    monitor->other = fds[1];
    monitor->input = g_string_new("");
    return monitor;
}

/* The next line, which is one message. */
static QDict *monitor_receive(StateMonitor *monitor)
{
    char buffer[65536];
    char *end;
    QDict *message;

    while (!(end = memchr(monitor->input->str, '\n', monitor->input->len))) {
        ssize_t n = read(monitor->fd, buffer, sizeof(buffer));

        /* QEMU has gone. */
        g_assert_cmpint(n, >, 0);
        g_string_append_len(monitor->input, buffer, n);
    }
    *end = 0;
    message = qobject_to(QDict, qobject_from_json(monitor->input->str,
                                                  &error_abort));
    g_string_erase(monitor->input, 0, end + 1 - monitor->input->str);
    return message;
}

QDict *state_ask(StateMonitor *monitor, const char *command)
{
    size_t len = strlen(command);
    QDict *answer;

    g_assert_cmpint(write(monitor->fd, command, len), ==, len);
    for (;;) {
        answer = monitor_receive(monitor);
        if (qdict_haskey(answer, "return")) {
            return answer;
        }
        g_assert_true(qdict_haskey(answer, "event"));
        qobject_unref(answer);
    }
}

void state_monitor_start(StateMonitor *monitor)
{
    close(monitor->other);
    qobject_unref(monitor_receive(monitor));
    qobject_unref(state_ask(monitor, "{\"execute\":\"qmp_capabilities\"}"));
}

void state_monitor_free(StateMonitor *monitor)
{
    close(monitor->fd);
    g_string_free(monitor->input, true);
    g_free(monitor);
}

/* --- Reading ----------------------------------------------------------- */

static void read_grants(StateWindow *window, const QDict *dict)
{
    const QListEntry *e;

    window->grants = g_array_new(false, false, sizeof(StateGrant));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(dict, "grants"), e) {
        const QDict *d = qobject_to(QDict, e->value);
        StateGrant grant = {
            .initiator = qdict_get_str(d, "initiator"),
            .cpu = g_str_equal(qdict_get_str(d, "map-type"), "cpu"),
            .installed = qdict_get_bool(d, "installed"),
            .reason = qdict_get_try_str(d, "reason"),
            .maps = compat_qdict_get_uint(d, "maps"),
            .unmaps = compat_qdict_get_uint(d, "unmaps"),
            .failures = compat_qdict_get_uint(d, "failures"),
            .last_errno = qdict_get_try_int(d, "last-errno", 0),
        };

        if (qdict_haskey(d, "stuck")) {
            grant.stuck = compat_qdict_get_uint(d, "stuck");
        }
        g_array_append_val(window->grants, grant);
    }
}

static void read_windows(State *state, const char *group, const QDict *member)
{
    const QListEntry *e;

    g_ptr_array_add(state->members, (char *)qdict_get_str(member, "id"));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(member, "windows"), e) {
        const QDict *d = qobject_to(QDict, e->value);
        StateWindow *window = g_new0(StateWindow, 1);

        window->group = group;
        window->owner = qdict_get_str(member, "id");
        window->passthrough = g_str_equal(qdict_get_str(member, "kind"),
                                          "passthrough");
        window->initiates = qdict_get_bool(member, "initiate");
        window->bar = qdict_get_int(d, "bar");
        window->offset = compat_qdict_get_uint(d, "offset");
        window->size = compat_qdict_get_uint(d, "size");
        window->readonly = g_str_equal(qdict_get_str(d, "access"), "ro");
        window->state = qdict_get_str(d, "state");
        window->mapped = g_str_equal(window->state, "mapped");
        g_assert_cmpint(qdict_haskey(d, "gpa"), ==, window->mapped);
        if (window->mapped) {
            window->gpa = compat_qdict_get_uint(d, "gpa");
        }
        window->cpu_mappable = qdict_get_bool(d, "cpu-mappable");
        read_grants(window, d);
        g_ptr_array_add(state->windows, window);
    }
}

static void read_stuck(State *state, const QDict *group)
{
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(group, "stuck"), e) {
        const QDict *d = qobject_to(QDict, e->value);
        StateStuck stuck = {
            .group = qdict_get_str(group, "id"),
            .target = qdict_get_str(d, "target"),
            .bar = qdict_get_int(d, "bar"),
            .offset = compat_qdict_get_uint(d, "offset"),
            .size = compat_qdict_get_uint(d, "size"),
            .gpa = compat_qdict_get_uint(d, "gpa"),
            .error = qdict_get_int(d, "errno"),
        };

        g_assert_false(qlist_empty(qdict_get_qlist(d, "initiators")));
        g_assert_cmpint(stuck.error, >, 0);
        g_array_append_val(state->stuck, stuck);
    }
}

static void window_free(StateWindow *window)
{
    g_array_unref(window->grants);
    g_free(window);
}

static void table_free(StateTable *table)
{
    g_array_unref(table->entries);
    g_free(table);
}

static void read_entry(State *state, const char *line)
{
    StateTable *table = state->tables->pdata[state->tables->len - 1];
    TableEntry entry;
    char access[4];

    g_assert_cmpint(sscanf(line, "%" SCNx64 " %" SCNx64 " %2s %31s %d %"
                           SCNx64, &entry.iova, &entry.size, access,
                           entry.device, &entry.bar, &entry.offset), ==, 6);
    entry.readonly = g_str_equal(access, "ro");
    g_array_append_val(table->entries, entry);
}

static void read_line(State *state, const char *line)
{
    char user[32];

    if (sscanf(line, "iommu %31s", user) == 1) {
        StateTable *table = g_new0(StateTable, 1);

        memcpy(table->user, user, sizeof(user));
        table->entries = g_array_new(false, false, sizeof(TableEntry));
        g_ptr_array_add(state->tables, table);
    } else if (sscanf(line, "calls %" SCNu64, &state->calls) != 1 &&
               sscanf(line, "late %" SCNu64, &state->late) != 1) {
        read_entry(state, line);
    }
}

static void read_tables(State *state, StateMonitor *monitor)
{
    g_autoptr(QDict) reply = state_ask(monitor, "{\"execute\":\"qom-get\","
        "\"arguments\":{\"path\":\"f\",\"property\":\"state\"}}");
    g_auto(GStrv) lines = g_strsplit(qdict_get_str(reply, "return"), "\n", -1);

    for (unsigned i = 0; *lines[i]; i++) {
        read_line(state, lines[i]);
    }
}

static gint compare_windows(gconstpointer a, gconstpointer b)
{
    const StateWindow *wa = *(StateWindow *const *)a;
    const StateWindow *wb = *(StateWindow *const *)b;
    int order = strcmp(wa->owner, wb->owner) ?: wa->bar - wb->bar;

    return order ?: (wa->offset > wb->offset) - (wa->offset < wb->offset);
}

State *state_new(StateMonitor *monitor)
{
    State *state = g_new0(State, 1);
    const QListEntry *g, *m;

    state->windows = g_ptr_array_new_with_free_func(
                         (GDestroyNotify)window_free);
    state->members = g_ptr_array_new();
    state->tables = g_ptr_array_new_with_free_func((GDestroyNotify)table_free);
    state->stuck = g_array_new(false, false, sizeof(StateStuck));
    state->reply = state_ask(monitor, "{\"execute\":\"query-p2p\"}");
    read_tables(state, monitor);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(state->reply, "return"), g) {
        const QDict *group = qobject_to(QDict, g->value);

        QLIST_FOREACH_ENTRY(qdict_get_qlist(group, "members"), m) {
            read_windows(state, qdict_get_str(group, "id"),
                         qobject_to(QDict, m->value));
        }
        read_stuck(state, group);
    }
    g_ptr_array_sort(state->windows, compare_windows);
    return state;
}

void state_free(State *state)
{
    g_ptr_array_unref(state->windows);
    g_ptr_array_unref(state->members);
    g_ptr_array_unref(state->tables);
    g_array_unref(state->stuck);
    qobject_unref(state->reply);
    g_free(state);
}

const GArray *state_table(const State *state, const char *user)
{
    for (guint i = 0; i < state->tables->len; i++) {
        StateTable *table = state->tables->pdata[i];

        if (g_str_equal(table->user, user)) {
            return table->entries;
        }
    }
    return NULL;
}

StateWindow *state_window(const State *state, const char *owner, int bar,
                          uint64_t offset)
{
    for (guint i = 0; i < state->windows->len; i++) {
        StateWindow *window = state->windows->pdata[i];

        if (window->bar == bar && window->offset == offset &&
            g_str_equal(window->owner, owner)) {
            return window;
        }
    }
    return NULL;
}

StateGrant *state_grant(const StateWindow *window, const char *initiator)
{
    for (guint i = 0; i < window->grants->len; i++) {
        StateGrant *grant = &g_array_index(window->grants, StateGrant, i);

        if (g_str_equal(grant->initiator, initiator)) {
            return grant;
        }
    }
    return NULL;
}

StateGrant *state_passthrough_grant(const StateWindow *window)
{
    for (guint i = 0; i < window->grants->len; i++) {
        StateGrant *grant = &g_array_index(window->grants, StateGrant, i);

        if (!grant->cpu) {
            return grant;
        }
    }
    return NULL;
}

uint64_t qom_get_uint(QTestState *qts, const char *path, const char *name)
{
    g_autoptr(QDict) reply = qtest_qmp(qts, "{ 'execute': 'qom-get', "
        "'arguments': { 'path': %s, 'property': %s } }", path, name);

    g_assert_true(qdict_haskey(reply, "return"));
    return compat_qdict_get_uint(reply, "return");
}

void qom_set_uint(QTestState *qts, const char *path, const char *name,
                  uint64_t value)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'qom-set', 'arguments': { "
        "'path': %s, 'property': %s, 'value': %" PRIu64 " } }", path, name,
        value);
}

/* --- Agreement --------------------------------------------------------- */

static bool is_of(const TableEntry *entry, const StateWindow *window)
{
    return g_str_equal(entry->device, window->owner) &&
           entry->bar == window->bar && entry->offset == window->offset &&
           entry->size == window->size &&
           entry->readonly == window->readonly;
}

/* Of a group; NULL: it is not stuck, or a window's. */
static const StateStuck *find_stuck(const State *state, const char *group,
                                    const TableEntry *entry)
{
    for (guint i = 0; i < state->stuck->len; i++) {
        const StateStuck *stuck = &g_array_index(state->stuck, StateStuck, i);

        if (g_str_equal(stuck->group, group) && stuck->gpa == entry->iova) {
            return stuck;
        }
    }
    return NULL;
}

/* Entries of the window: where it is, and elsewhere. */
static void count_entries(const State *state, const GArray *table,
                          const StateWindow *window, unsigned *here,
                          unsigned *elsewhere)
{
    *here = *elsewhere = 0;
    for (guint i = 0; table && i < table->len; i++) {
        const TableEntry *entry = &g_array_index(table, TableEntry, i);

        if (is_of(entry, window) &&
            !find_stuck(state, window->group, entry)) {
            bool there = window->mapped && entry->iova == window->gpa;

            *(there ? here : elsewhere) += 1;
        }
    }
}

static void check_grant(const StateWindow *window, const StateGrant *grant)
{
    bool in_container = grant->maps != grant->unmaps;

    g_assert_cmpint(grant->installed, ==, !grant->reason);
    if (grant->installed) {
        g_assert_true(window->mapped);
        g_assert_cmpuint(grant->stuck, ==, 0);
    }
    /* A window is in a container, or in a view, once at most. */
    g_assert_cmpuint(grant->maps - grant->unmaps, ==, in_container);
    g_assert_cmpint(in_container, ==, grant->installed || grant->stuck);
    g_assert_true(!grant->stuck || grant->stuck == window->size);
    g_assert_cmpint(!grant->last_errno, ==, !grant->failures);
    if (grant->cpu) {
        g_assert_cmpuint(grant->failures, ==, 0);
        g_assert_cmpuint(grant->stuck, ==, 0);
    }
}

static unsigned check_window(const State *state, const StateWindow *window,
                             const GArray *table)
{
    const StateGrant *one = state_passthrough_grant(window);
    unsigned here, elsewhere;

    for (guint i = 0; i < window->grants->len; i++) {
        StateGrant *grant = &g_array_index(window->grants, StateGrant, i);

        check_grant(window, grant);
        if (!grant->cpu) {
            g_assert_cmpint(grant->installed, ==, one->installed);
            g_assert_cmpuint(grant->maps, ==, one->maps);
            g_assert_cmpuint(grant->unmaps, ==, one->unmaps);
            g_assert_cmpuint(grant->failures, ==, one->failures);
            g_assert_cmpuint(grant->stuck, ==, one->stuck);
        }
    }
    count_entries(state, table, window, &here, &elsewhere);
    if (!one) {
        /* Of itself, or of nobody: no grant tells. */
        g_assert_cmpuint(here + elsewhere, <=,
                         window->passthrough && window->initiates);
        return here + elsewhere;
    }
    if (one->installed) {
        g_assert_cmpuint(here, ==, 1);
        return 1;
    }
    g_assert_cmpuint(here + elsewhere, ==, !!one->stuck);
    return !!one->stuck;
}

/* What no window accounts for is told as stuck, and nothing else. */
static void check_stuck(const State *state, const char *group,
                        const GArray *table, unsigned left)
{
    unsigned told = 0, found = 0;

    for (guint i = 0; i < state->stuck->len; i++) {
        told += g_str_equal(g_array_index(state->stuck, StateStuck, i).group,
                            group);
    }
    for (guint i = 0; table && i < table->len; i++) {
        const TableEntry *entry = &g_array_index(table, TableEntry, i);
        const StateStuck *stuck = find_stuck(state, group, entry);

        if (stuck) {
            g_assert_cmphex(stuck->size, ==, entry->size);
            g_assert_cmphex(stuck->offset, ==, entry->offset);
            g_assert_cmpint(stuck->bar, ==, entry->bar);
            if (*entry->device != '-') {
                g_assert_cmpstr(stuck->target, ==, entry->device);
            }
            found++;
        }
    }
    g_assert_cmpuint(told, ==, left);
    g_assert_cmpuint(found, ==, left);
}

unsigned state_check(const State *state, const char *group,
                     const GArray *table)
{
    unsigned accounted = 0, left;

    for (guint i = 0; i < state->windows->len; i++) {
        StateWindow *window = state->windows->pdata[i];

        if (g_str_equal(window->group, group)) {
            accounted += check_window(state, window, table);
        }
    }
    g_assert_cmpuint(table ? table->len : 0, >=, accounted);
    left = (table ? table->len : 0) - accounted;
    check_stuck(state, group, table, left);
    return left;
}

uint64_t state_stuck(const State *state)
{
    uint64_t stuck = 0;

    for (guint i = 0; i < state->windows->len; i++) {
        StateGrant *grant = state_passthrough_grant(state->windows->pdata[i]);

        stuck += grant ? grant->stuck : 0;
    }
    return stuck;
}
