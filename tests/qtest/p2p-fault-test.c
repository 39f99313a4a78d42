/*
 * Calls to the host that fail: each one, in each scenario
 *
 * A scenario is an event, and the one that undoes it.  It is run once to count
 * the calls (to map a window into the IOMMU, to unmap one, to map a BAR for
 * device models), and once for each of them with that one failing.  QEMU must
 * survive, only the grants of one window may be lost, query-p2p must say so and
 * why, and when the event is repeated all must be there again.  Then it is run
 * often, with calls that fail here and there, and nothing may leak: what is
 * counted is what QEMU has allocated, which does not depend on when the machine
 * gets round to something, nor on how the heap is laid out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "bar-model.h"
#include "p2p-state.h"
#include "p2p-testdev.h"

#define ROUNDS 120

#define INJECTOR "/machine/peripheral/f"
#define ELSEWHERE (80 * GiB)

/* p0, p1: passthrough, m0: a device model; h0, h1 come and go, behind br0 */
enum { P0, P1, M0, H0, H1, DEVICES };
static const char *const ids[DEVICES] = { "p0", "p1", "m0", "h0", "h1" };

typedef struct Machine {
    QTestState *qts;
    StateMonitor *monitor;
    Model model;
    ModelBridge bridge;
    ModelDevice devices[DEVICES];
} Machine;

typedef struct Scenario {
    const char *name;
    void (*setup)(Machine *m);  /* once; NULL: nothing */
    void (*act)(Machine *m);
    void (*undo)(Machine *m);
    const char *driver;         /* of h0 */
} Scenario;

static const Scenario *scenario;

/* --- The machine ------------------------------------------------------- */

static uint64_t home(unsigned n, int bar)
{
    if (!bar) {
        return (n >= H0 ? 0xc8000000 : 0xc0000000) + n * 64 * KiB;
    }
    return (n >= H0 ? 66 : 64) * GiB + (2 * n + bar / 4) * 16 * MiB;
}

static void set_up(Machine *m, unsigned n)
{
    for (int bar = 0; bar <= 4; bar += 2) {
        model_place_bar(&m->model, &m->devices[n], bar, home(n, bar));
    }
    model_write_command(&m->model, &m->devices[n],
                        PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void set_up_all(Machine *m)
{
    model_write_bridge(&m->model, &m->bridge,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
                       (GuestPciWindow) { { 0xc8000000 }, 16 * MiB },
                       (GuestPciWindow) { { 66 * GiB }, 1 * GiB });
    for (unsigned n = 0; n < DEVICES; n++) {
        if (m->devices[n].present) {
            set_up(m, n);
        }
    }
}

static bool ignore_event(QTestState *qts, const char *name, QDict *event,
                         void *opaque)
{
    return !g_str_equal(name, "RESET");
}

static const char layout[] =
    "-nodefaults -machine q35,hpet=off -m 64 "
    "-device pci-bridge,id=br0,bus=pcie.0,addr=2,chassis_nr=1,shpc=off,msi=off "
    "-device p2p-fake-passthrough,id=p0,addr=4,p2p-group=g0 "
    "-device p2p-fake-passthrough,id=p1,addr=5,p2p-group=g0,msix-hole=on "
    "-device p2p-testdev,id=m0,addr=6,p2p-group=g0 ";

static Machine *machine_new(const char *policy)
{
    static const uint8_t slots[DEVICES] = { 4, 5, 6, 3, 4 };
    Machine *m = g_new0(Machine, 1);
    GString *args = g_string_new("");

    g_string_printf(args, "-object p2p-group,id=g0,policy=%s %s", policy,
                    layout);
    m->monitor = state_monitor_new(args);
    m->qts = qtest_init(args->str);
    state_monitor_start(m->monitor);
    qtest_qmp_set_event_callback(m->qts, ignore_event, NULL);
    g_string_free(args, true);

    m->model.fixed[0] = (GuestPciWindow) { { 0 }, 64 * MiB };
    m->bridge.pci = (GuestPci) { .qts = m->qts, .devfn = 2 << 3 };
    m->bridge.secondary = 1;
    model_add_bridge(&m->model, &m->bridge, "br0");
    for (unsigned n = 0; n < DEVICES; n++) {
        ModelDevice *dev = &m->devices[n];

        dev->pci = (GuestPci) { .qts = m->qts, .devfn = slots[n] << 3 };
        dev->bridge = n >= H0 ? &m->bridge : NULL;
        m->model.devices[m->model.n_devices++] = dev;
        if (n < H0) {
            model_plug(&m->model, dev, 1 * MiB);
        }
    }
    set_up_all(m);
    return m;
}

static void machine_free(Machine *m)
{
    qtest_quit(m->qts);
    state_monitor_free(m->monitor);
    g_free(m);
}

static uint64_t calls(Machine *m)
{
    return qom_get_uint(m->qts, INJECTOR, "calls");
}

/* Whether any call has been made to fail. */
static bool faults;

/* All calls from then on, until disarm(). */
#define FOR_GOOD 100000

static void arm(Machine *m, uint64_t fail_at, uint64_t count, int error)
{
    qom_set_uint(m->qts, INJECTOR, "errno", error);
    qom_set_uint(m->qts, INJECTOR, "count", count);
    qom_set_uint(m->qts, INJECTOR, "fail-at", fail_at);
    faults |= fail_at;
}

static void disarm(Machine *m)
{
    qom_set_uint(m->qts, INJECTOR, "fail-at", 0);
}

/* --- Events ------------------------------------------------------------ */


static void decode_off(Machine *m, unsigned n)
{
    model_write_command(&m->model, &m->devices[n], PCI_COMMAND_MASTER);
}

static void p0_decode_off(Machine *m)
{
    decode_off(m, P0);
}

static void p0_decode_on(Machine *m)
{
    set_up(m, P0);
}

static void m0_decode_off(Machine *m)
{
    decode_off(m, M0);
}

static void m0_decode_on(Machine *m)
{
    set_up(m, M0);
}

static void p0_move(Machine *m)
{
    model_place_bar(&m->model, &m->devices[P0], 2, ELSEWHERE);
}

static void p0_move_back(Machine *m)
{
    model_place_bar(&m->model, &m->devices[P0], 2, home(P0, 2));
}

static void m0_move(Machine *m)
{
    model_place_bar(&m->model, &m->devices[M0], 4, ELSEWHERE);
}

static void m0_move_back(Machine *m)
{
    model_place_bar(&m->model, &m->devices[M0], 4, home(M0, 4));
}

static void p0_sleep(Machine *m)
{
    model_write_power(&m->model, &m->devices[P0], 3);
}

static void p0_wake_up(Machine *m)
{
    model_write_power(&m->model, &m->devices[P0], 0);
}

static void p0_reset(Machine *m)
{
    model_function_reset(&m->model, &m->devices[P0]);
}

static void system_reset(Machine *m)
{
    model_system_reset(&m->model);
}

static bool share(Machine *m, const char *command, unsigned n, int bar)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts, "{ 'execute': %s, 'arguments':"
                                       " { 'device': %s, 'bar': %d } }",
                                       command, ids[n], bar);

    if (qdict_haskey(reply, "error")) {
        const char *why = qdict_get_str(qdict_get_qdict(reply, "error"),
                                        "desc");

        g_test_message("%s: %s", command, why);
        /* The last: it had been refused. */
        g_assert_true(strstr(why, "policy=require") ||
                      strstr(why, "out of the IOMMU") ||
                      strstr(why, "no window of BAR"));
        return false;
    }
    return true;
}

static void unshare_all(Machine *m)
{
    share(m, "p2p-unshare", P0, 2);
    share(m, "p2p-unshare", M0, 2);
}

static void share_all(Machine *m)
{
    share(m, "p2p-share", P0, 2);
    share(m, "p2p-share", M0, 2);
}

/* False: it was refused. */
static bool plug(Machine *m)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts,
        "{ 'execute': 'device_add', 'arguments': { 'driver': %s, 'id': 'h0', "
        "'bus': 'br0', 'addr': '3', 'p2p-group': 'g0' } }", scenario->driver);

    if (qdict_haskey(reply, "error")) {
        const char *why = qdict_get_str(qdict_get_qdict(reply, "error"),
                                        "desc");

        g_test_message("device_add: %s", why);
        g_assert_nonnull(strstr(why, "policy=require"));
        return false;
    }
    model_plug(&m->model, &m->devices[H0], 1 * MiB);
    return true;
}

static void plug_and_set_up(Machine *m)
{
    if (plug(m)) {
        set_up(m, H0);
    }
}

static void unplug(Machine *m)
{
    if (m->devices[H0].present) {
        model_unplug(&m->model, &m->devices[H0], "h0");
    }
}

static void do_plug(Machine *m)
{
    plug(m);
}

/* A group with two members, and its end when they have left. */
static void plug_group(Machine *m)
{
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'object-add', 'arguments':"
                             " { 'qom-type': 'p2p-group', 'id': 'g1' } }");
    for (unsigned n = H0; n <= H1; n++) {
        qtest_qmp_assert_success(m->qts, "{ 'execute': 'device_add', "
            "'arguments': { 'driver': %s, 'id': %s, 'bus': 'br0', 'addr': %s,"
            " 'p2p-group': 'g1' } }",
            n == H0 ? "p2p-fake-passthrough" : "p2p-testdev", ids[n],
            n == H0 ? "3" : "4");
        model_plug(&m->model, &m->devices[n], 1 * MiB);
        set_up(m, n);
    }
}

static void unplug_group(Machine *m)
{
    model_unplug(&m->model, &m->devices[H1], ids[H1]);
    model_unplug(&m->model, &m->devices[H0], ids[H0]);
    qtest_qmp_assert_success(m->qts, "{ 'execute': 'object-del', 'arguments':"
                             " { 'id': 'g1' } }");
}

static void place_all(Machine *m)
{
    set_up_all(m);
}

static const Scenario scenarios[] = {
    { "firmware", system_reset, place_all, system_reset },
    { "decode-off", NULL, p0_decode_off, p0_decode_on },
    { "decode-on", p0_decode_off, p0_decode_on, p0_decode_off },
    { "decode-off-model", NULL, m0_decode_off, m0_decode_on },
    { "decode-on-model", m0_decode_off, m0_decode_on, m0_decode_off },
    { "move", NULL, p0_move, p0_move_back },
    { "move-model", NULL, m0_move, m0_move_back },
    { "sleep", NULL, p0_sleep, p0_wake_up },
    { "wake-up", p0_sleep, p0_wake_up, p0_sleep },
    { "function-reset", NULL, p0_reset, p0_decode_on },
    { "system-reset", NULL, system_reset, place_all },
    { "share", unshare_all, share_all, unshare_all },
    { "unshare", NULL, unshare_all, share_all },
    { "plug", NULL, plug_and_set_up, unplug, "p2p-fake-passthrough" },
    { "unplug", plug_and_set_up, unplug, plug_and_set_up,
      "p2p-fake-passthrough" },
    { "plug-model", NULL, plug_and_set_up, unplug, "p2p-testdev" },
    { "unplug-model", plug_and_set_up, unplug, plug_and_set_up,
      "p2p-testdev" },
    { "object-add", NULL, plug_group, unplug_group },
    { "object-del", plug_group, unplug_group, plug_group },
};

/* --- What is, and what is lost ----------------------------------------- */

/* A line for each window, and one for each grant; without counters. */
static char *picture(const State *state)
{
    GString *text = g_string_new("");

    for (guint i = 0; i < state->windows->len; i++) {
        const StateWindow *w = state->windows->pdata[i];

        g_string_append_printf(text, "%s %d 0x%" PRIx64 " %s 0x%" PRIx64 "\n",
                               w->owner, w->bar, w->offset, w->state, w->gpa);
        for (guint j = 0; j < w->grants->len; j++) {
            const StateGrant *g = &g_array_index(w->grants, StateGrant, j);

            g_string_append_printf(text, "  %s%s%s\n", g->initiator,
                                   g->installed ? " installed" : "",
                                   g->stuck ? " stuck" : "");
        }
    }
    return g_string_free(text, false);
}

static unsigned check_tables(Machine *m, const State *state)
{
    unsigned left = 0;

    for (guint i = 0; i < state->tables->len; i++) {
        const StateTable *table = state->tables->pdata[i];
        const char *group = g_str_equal(table->user, "h0") ? "g1" : "g0";

        /* Of a group whose devices have gone. */
        left += g_str_equal(table->user, "-")
                ? table->entries->len
                : state_check(state, group, table->entries);
    }
    return left;
}

static char *look(Machine *m)
{
    g_autoptr(State) state = state_new(m->monitor);

    g_assert_cmpuint(check_tables(m, state), ==, 0);
    g_assert_cmpuint(state_stuck(state), ==, 0);
    if (!faults) {
        g_assert_cmpuint(state->late, ==, 0);
    }
    return picture(state);
}

static void move_data(Machine *m, const StateWindow *window,
                      const StateGrant *grant)
{
    static uint64_t token;
    ModelDevice *dev = NULL;
    TestDev t;
    uint64_t word = 0;

    for (unsigned n = 0; n < DEVICES; n++) {
        if (g_str_equal(grant->initiator, ids[n])) {
            dev = &m->devices[n];
        }
    }
    if (!dev->master || !model_visible(&m->model, dev, 0, 0,
                                       TESTDEV_REGISTERS)) {
        return;
    }
    t = (TestDev) { dev->pci, { dev->bars[0].gpa } };
    token += 0x0123456789abcdef;
    qtest_writeq(m->qts, window->gpa, token);
    g_assert_cmpint(testdev_read(&t, (P2PBusAddr) { window->gpa }, &word, 8),
                    ==, grant->installed);
    if (grant->installed) {
        g_assert_cmphex(word, ==, token);
    }
    word = ~token;
    g_assert_cmpint(testdev_write(&t, (P2PBusAddr) { window->gpa }, &word, 8),
                    ==, grant->installed);
    g_assert_cmphex(qtest_readq(m->qts, window->gpa), ==,
                    grant->installed ? ~token : token);
}

/* Whether something stuck, of whatever window, is where @window is. */
static bool is_covered(const State *state, const StateWindow *window)
{
    for (guint i = 0; i < state->tables->len; i++) {
        const StateTable *table = state->tables->pdata[i];

        for (guint j = 0; j < table->entries->len; j++) {
            const TableEntry *entry = &g_array_index(table->entries,
                                                     TableEntry, j);

            if (entry->iova < window->gpa + window->size &&
                window->gpa < entry->iova + entry->size) {
                return true;
            }
        }
    }
    return false;
}

static void move_all_data(Machine *m, const State *state)
{
    for (guint i = 0; i < state->windows->len; i++) {
        const StateWindow *window = state->windows->pdata[i];

        for (guint j = 0; window->mapped && j < window->grants->len; j++) {
            const StateGrant *grant = &g_array_index(window->grants,
                                                     StateGrant, j);

            if (grant->cpu || grant->installed || !is_covered(state, window)) {
                move_data(m, window, grant);
            }
        }
    }
}

typedef struct Loss {
    unsigned windows;       /* with lost grants, of one kind of initiator */
    unsigned stuck;
    unsigned left;          /* stuck without a window */
} Loss;

static bool same_window(const StateWindow *a, const StateWindow *b)
{
    return a && b && g_str_equal(a->state, b->state) && a->gpa == b->gpa &&
           a->grants->len == b->grants->len;
}

static void expect_why(const StateGrant *grant, int error)
{
    if (grant->cpu) {
        g_assert_nonnull(strstr(grant->reason, "could not map BAR"));
        return;
    }
    g_assert_cmpint(grant->last_errno, ==, error);
    g_assert_cmpuint(grant->failures, >, 0);
    g_assert_nonnull(strstr(grant->reason, strerror(error)));
}

/* What is lost, against @expected, which differs in nothing else. */
static Loss losses(Machine *m, const State *expected, const State *state,
                   int error)
{
    Loss loss = { .left = check_tables(m, state) };

    g_assert_cmpuint(state->windows->len, ==, expected->windows->len);
    for (guint i = 0; i < state->windows->len; i++) {
        const StateWindow *w = state->windows->pdata[i];
        const StateWindow *e = state_window(expected, w->owner, w->bar,
                                            w->offset);
        bool by_cpu = false, by_iommu = false, stuck = false;

        g_assert_true(same_window(w, e));
        for (guint j = 0; j < w->grants->len; j++) {
            const StateGrant *g = &g_array_index(w->grants, StateGrant, j);

            stuck |= g->stuck;
            if (g->installed != state_grant(e, g->initiator)->installed) {
                g_assert_false(g->installed);
                expect_why(g, error);
                *(g->cpu ? &by_cpu : &by_iommu) = true;
            }
        }
        loss.windows += by_cpu + by_iommu;
        loss.stuck += stuck;
    }
    return loss;
}

/* --- What is freed late -------------------------------------------------- */

/*
 * Bytes that are allocated when all of it is freed; which may let go of more,
 * that is freed late in turn.
 */
static uint64_t heap(Machine *m)
{
    for (unsigned i = 0; i < 3; i++) {
        qom_get_uint(m->qts, INJECTOR, "heap");
    }
    return qom_get_uint(m->qts, INJECTOR, "heap");
}

/* --- Each call --------------------------------------------------------- */

/* @count: 1, or FOR_GOOD */
static Loss fail_call(Machine *m, const State *expected, uint64_t n,
                      uint64_t count, int error)
{
    g_autofree char *picture_after = picture(expected);
    g_autofree char *after = NULL;
    g_autoptr(State) state = NULL;
    uint64_t before = calls(m);
    Loss loss;

    /* The end of a device that was unplugged is a change, too. */
    heap(m);
    arm(m, n, count, error);
    scenario->act(m);
    g_assert_cmpuint(calls(m) - before, >=, n);
    heap(m);
    /* As long as it fails: what is stuck is tried again with any change. */
    state = state_new(m->monitor);
    disarm(m);
    loss = losses(m, expected, state, error);
    g_test_message("%s, call %" PRIu64 "%s fails: %u windows lost, %u stuck, "
                   "%u stuck and no longer shared", scenario->name, n,
                   count == 1 ? "" : " and all after it", loss.windows,
                   loss.stuck, loss.left);
    if (count == 1) {
        g_assert_cmpuint(loss.windows, <=, 1);
        g_assert_cmpuint(loss.stuck + loss.left, <=, 1);
    }
    move_all_data(m, state);

    /* And all is well when it happens once more. */
    scenario->undo(m);
    scenario->act(m);
    after = look(m);
    g_assert_cmpstr(after, ==, picture_after);
    scenario->undo(m);
    return loss;
}

/* Returns how many there are. */
static uint64_t each_call(Machine *m, const char *before)
{
    static const int errors[] = { ENOMEM, EFAULT, EINVAL };
    g_autoptr(State) expected = NULL;
    uint64_t start = calls(m), n;
    unsigned lost = 0;

    scenario->act(m);
    n = calls(m) - start;
    expected = state_new(m->monitor);
    g_assert_cmpuint(expected->late, ==, 0);
    scenario->undo(m);

    for (uint64_t i = 0; i < n * ARRAY_SIZE(errors) * 2; i++) {
        uint64_t count = i % 2 ? 1 : FOR_GOOD;
        Loss loss = fail_call(m, expected, 1 + i / 2 % n, count,
                              errors[i / 2 / n]);
        g_autofree char *again = look(m);

        g_assert_cmpstr(again, ==, before);
        lost += loss.windows + loss.stuck + loss.left;
    }
    g_test_message("%s: %" PRIu64 " calls, %u losses", scenario->name, n,
                   lost);
    /* If nothing is lost or stuck, and there is a group, nothing is proved. */
    g_assert_true(lost || scenario->act == unplug_group);
    return n;
}

/* --- Leaks ------------------------------------------------------------- */

typedef struct Usage {
    unsigned files;
    unsigned mappings;
    uint64_t heap;          /* bytes allocated; 0: not known */
} Usage;

static unsigned count_files(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

static Usage usage(Machine *m)
{
    pid_t pid = qtest_pid(m->qts);
    g_autofree char *maps = g_strdup_printf("/proc/%d/maps", (int)pid);
    g_autofree char *text = NULL;
    Usage usage = {
        .heap = heap(m),
    };

    usage.files = count_files(pid);
    g_assert_true(g_file_get_contents(maps, &text, NULL, NULL));
    for (const char *p = text; *p; p++) {
        usage.mappings += *p == '\n';
    }
    return usage;
}

static void rounds(Machine *m, uint64_t n, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        arm(m, n ? 1 + i % n : 0, i % 2 ? 1 : FOR_GOOD, EIO);
        scenario->act(m);
        disarm(m);
        scenario->undo(m);
        /* Or events would pile up for who does not read them. */
        state_free(state_new(m->monitor));
    }
}

static bool grows(Machine *m, uint64_t n)
{
    Usage before = usage(m);
    Usage after;

    rounds(m, n, ROUNDS);
    after = usage(m);
    g_test_message("%s, %u rounds: files %u to %u, mappings %u to %u, heap %"
                   PRIu64 " to %" PRIu64 " bytes", scenario->name, ROUNDS,
                   before.files, after.files, before.mappings, after.mappings,
                   before.heap, after.heap);
    return after.files > before.files ||
           after.mappings > before.mappings + 2 ||
           /*
            * The least piece of memory, in each round, would be more.
            * AddressSanitizer looks for leaks by itself.
            */
           (!getenv("P2P_SANITIZED") &&
            after.heap > before.heap + ROUNDS * 16);
}

/* Threads, caches and tables let a QEMU grow at first, but not for ever. */
static void expect_no_leak(Machine *m, uint64_t n)
{
    unsigned tries = 0;

    rounds(m, n, 10);
    while (grows(m, n)) {
        g_assert_cmpuint(++tries, <, 8);
    }
}

static void test_scenario(gconstpointer opaque)
{
    Machine *m = machine_new("auto");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    scenario = opaque;
    if (scenario->setup) {
        scenario->setup(m);
    }
    before = look(m);
    expect_no_leak(m, each_call(m, before));
    /* The last round's fault has no trace. */
    scenario->act(m);
    scenario->undo(m);
    after = look(m);
    g_assert_cmpstr(after, ==, before);
    machine_free(m);
    faults = false;
}

/* --- Room -------------------------------------------------------------- */

static bool p0_is_reached(Machine *m)
{
    g_autoptr(State) state = state_new(m->monitor);

    g_assert_cmpuint(check_tables(m, state), ==, 0);
    return state_grant(state_window(state, "p0", 2, 0), "p1")->installed;
}

/* What had no room is there when another window has gone; other errors stay. */
static void test_room(void)
{
    static const int errors[] = { ENOMEM, ENOSPC, EFAULT };

    for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
        Machine *m = machine_new("auto");

        p0_decode_off(m);
        arm(m, 1, FOR_GOOD, errors[i]);
        p0_decode_on(m);
        g_assert_false(p0_is_reached(m));
        disarm(m);
        m0_decode_off(m);
        g_assert_cmpint(p0_is_reached(m), ==, errors[i] != EFAULT);
        p0_decode_off(m);
        p0_decode_on(m);
        g_assert_true(p0_is_reached(m));
        machine_free(m);
    }
}

/* --- policy=require ---------------------------------------------------- */

static const Scenario refusals[] = {
    { "share", unshare_all, share_all, unshare_all },
    { "plug", NULL, do_plug, unplug, "p2p-fake-passthrough" },
    { "plug-model", NULL, do_plug, unplug, "p2p-testdev" },
};

/* All or nothing; and nothing of what is refused stays. */
static void test_refusal(gconstpointer opaque)
{
    Machine *m = machine_new("require");
    g_autofree char *before = NULL;
    g_autofree char *expected = NULL;
    unsigned refused = 0;
    uint64_t start, n;

    scenario = opaque;
    if (scenario->setup) {
        scenario->setup(m);
    }
    before = look(m);
    start = calls(m);
    scenario->act(m);
    n = calls(m) - start;
    expected = look(m);
    scenario->undo(m);
    g_assert_cmpuint(n, >, 0);

    for (uint64_t i = 1; i <= n; i++) {
        g_autofree char *after = NULL;
        g_autofree char *again = NULL;

        arm(m, i, 1, ENOMEM);
        scenario->act(m);
        disarm(m);
        after = look(m);
        refused += !g_str_equal(after, expected);

        scenario->undo(m);
        again = look(m);
        g_assert_cmpstr(again, ==, before);
        scenario->act(m);
        g_free(again);
        again = look(m);
        g_assert_cmpstr(again, ==, expected);
        scenario->undo(m);
    }
    g_test_message("%s: %" PRIu64 " calls, %u refusals", scenario->name, n,
                   refused);
    g_assert_cmpuint(refused, >, 0);
    expect_no_leak(m, n);
    machine_free(m);
    faults = false;
}

/* --- Stuck ------------------------------------------------------------- */

/* Messages on the standard error, of which @words are part. */
static unsigned count_messages(const char *path, const char *words)
{
    g_autofree char *text = NULL;
    unsigned n = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (const char *p = text; (p = strstr(p, words)); p++) {
        n++;
    }
    return n;
}

/* Until restore_errors(), which gets the result, a new file's, at @path. */
static int divert_errors(char **path)
{
    int log = g_file_open_tmp("p2p-fault-XXXXXX", path, NULL);
    int standard_error = dup(STDERR_FILENO);

    g_assert_cmpint(log, >=, 0);
    g_assert_cmpint(dup2(log, STDERR_FILENO), >=, 0);
    close(log);
    return standard_error;
}

static void restore_errors(int standard_error)
{
    g_assert_cmpint(dup2(standard_error, STDERR_FILENO), >=, 0);
    close(standard_error);
}

static bool p0_reaches(Machine *m, unsigned n, int bar)
{
    g_autoptr(State) state = state_new(m->monitor);
    StateWindow *window = state_window(state, ids[n], bar, 0);

    return window && state_grant(window, "p0")->installed;
}

/* @error: errno of the first call; 0: none fails */
static void expect_refused(Machine *m, unsigned n, int bar, int error,
                           const char *words)
{
    g_autoptr(QDict) reply = NULL;

    arm(m, !!error, 1, error);
    reply = qtest_qmp(m->qts, "{ 'execute': 'p2p-share', 'arguments': "
                      "{ 'device': %s, 'bar': %d } }", ids[n], bar);
    disarm(m);
    g_assert_true(qdict_haskey(reply, "error"));
    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), words));
}

static void expect_unshare_stuck(Machine *m)
{
    g_autoptr(QDict) reply = qtest_qmp(m->qts, "{ 'execute': 'p2p-unshare', "
        "'arguments': { 'device': 'p0', 'bar': 2 } }");
    const char *why = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");

    g_assert_nonnull(strstr(why, "out of the IOMMU"));
    g_assert_nonnull(strstr(why, "same p2p-unshare"));
}

static void expect_info_stuck(Machine *m, bool expected)
{
    g_autofree char *text = qtest_hmp(m->qts, "info p2p");

    g_assert_cmpint(!!strstr(text, "stuck: BAR 2 of p0"), ==, expected);
}

/* Until it is out it is told, and who asks once more gets it out. */
static void test_stuck(void)
{
    Machine *m = machine_new("auto");
    g_autoptr(State) state = NULL;
    g_autoptr(State) after = NULL;
    const StateStuck *stuck;

    arm(m, 1, FOR_GOOD, EIO);
    expect_unshare_stuck(m);
    expect_unshare_stuck(m);
    state = state_new(m->monitor);
    g_assert_cmpuint(check_tables(m, state), ==, 1);
    g_assert_null(state_window(state, "p0", 2, 0));
    stuck = &g_array_index(state->stuck, StateStuck, 0);
    g_assert_cmpstr(stuck->target, ==, "p0");
    g_assert_cmphex(stuck->gpa, ==, home(P0, 2));
    g_assert_cmphex(stuck->size, ==, 1 * MiB);
    g_assert_cmpint(stuck->error, ==, EIO);
    expect_info_stuck(m, true);

    disarm(m);
    g_assert_true(share(m, "p2p-unshare", P0, 2));
    after = state_new(m->monitor);
    g_assert_cmpuint(check_tables(m, after), ==, 0);
    g_assert_cmpuint(after->stuck->len, ==, 0);
    expect_info_stuck(m, false);
    machine_free(m);
    faults = false;
}

/* Each time that something gets stuck, and once each time. */
static void test_stuck_log(void)
{
    static const char words[] = "could not take 0x";
    g_autofree char *path = NULL;
    int standard_error = divert_errors(&path);
    Machine *m = machine_new("auto");

    restore_errors(standard_error);
    for (unsigned i = 1; i <= 3; i++) {
        arm(m, 1, FOR_GOOD, EIO);
        p0_move(m);
        model_write_command(&m->model, &m->devices[M0], PCI_COMMAND_MASTER |
                                                        PCI_COMMAND_MEMORY);
        g_assert_cmpuint(count_messages(path, words), ==, i);
        disarm(m);
        p0_move_back(m);
        g_free(look(m));
    }
    arm(m, 1, FOR_GOOD, EIO);
    share(m, "p2p-unshare", P0, 2);
    g_assert_cmpuint(count_messages(path, words), ==, 4);
    disarm(m);
    machine_free(m);
    faults = false;
    g_assert_cmpint(unlink(path), ==, 0);
}

/*
 * What a guest did to one BAR is in the way of nothing else; and what is refused
 * is told as an answer, not as a warning that says that it works.
 */
static void test_other_window(void)
{
    g_autofree char *path = NULL;
    int standard_error = divert_errors(&path);
    Machine *m = machine_new("require");

    restore_errors(standard_error);
    share(m, "p2p-unshare", M0, 4);
    share(m, "p2p-unshare", P1, 4);
    /* Beyond the last address of the IOMMU */
    model_place_bar(&m->model, &m->devices[M0], 2, 512 * GiB);
    g_assert_cmpuint(count_messages(path, "only P2P from p0 to BAR 2 of m0"),
                     ==, 1);
    g_assert_true(share(m, "p2p-share", M0, 4));
    g_assert_true(share(m, "p2p-share", P1, 4));

    share(m, "p2p-unshare", M0, 2);
    g_assert_false(share(m, "p2p-share", M0, 2));
    g_assert_false(p0_reaches(m, M0, 2));
    model_place_bar(&m->model, &m->devices[M0], 2, home(M0, 2));
    g_assert_true(share(m, "p2p-share", M0, 2));
    g_assert_true(p0_reaches(m, M0, 2));
    expect_refused(m, M0, 0, 0, "has no CPU mapping");
    share(m, "p2p-unshare", M0, 4);
    expect_refused(m, M0, 4, EMFILE, "LimitNOFILE");
    g_assert_cmpuint(count_messages(path, "only P2P"), ==, 2);
    machine_free(m);
    g_assert_cmpint(unlink(path), ==, 0);
}

/* Exit status of a QEMU that is told to quit at once. */
static int run_qemu(uint64_t fail_at, char **errors)
{
    g_autofree char *command = g_strdup_printf(
        "echo '{\"execute\":\"qmp_capabilities\"} {\"execute\":\"quit\"}' | "
        "%s -accel qtest -display none -qmp stdio "
        "-device p2p-fault-injector,id=f,fail-at=%" PRIu64 " "
        "-object p2p-group,id=g0,policy=require %s >/dev/null",
        getenv("QTEST_QEMU_BINARY"), fail_at, layout);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, NULL, errors, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_start(void)
{
    uint64_t n = 0;

    for (;;) {
        g_autofree char *errors = NULL;
        int status = run_qemu(++n, &errors);

        if (!status) {
            break;
        }
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(errors, "policy=require"));
        g_assert_nonnull(strstr(errors, strerror(ENOMEM)));
    }
    g_test_message("start: %" PRIu64 " calls", n - 1);
    g_assert_cmpuint(n, >, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* What a thread keeps of what it has freed counts as allocated. */
    g_setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", true);
    for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("p2p/fault/%s",
                                                scenarios[i].name);

        qtest_add_data_func(path, &scenarios[i], test_scenario);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strdup_printf("p2p/fault/require/%s",
                                                refusals[i].name);

        qtest_add_data_func(path, &refusals[i], test_refusal);
    }
    qtest_add_func("p2p/fault/room", test_room);
    qtest_add_func("p2p/fault/require/other-window", test_other_window);
    qtest_add_func("p2p/fault/stuck", test_stuck);
    qtest_add_func("p2p/fault/stuck-log", test_stuck_log);
    qtest_add_func("p2p/fault/require/start", test_start);
    return g_test_run();
}
