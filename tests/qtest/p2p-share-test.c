/*
 * What p2p-share and p2p-group accept, and the message for what they refuse
 *
 * Every refusal is tried twice: on the command line, where QEMU must end with
 * the message, and by device_add, where the machine must go on as before.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "compat.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "guest-pci.h"

#define GROUP "-object p2p-group,id=g0 "

/* --- What is shared ---------------------------------------------------- */

typedef struct Share {
    const char *device; /* properties of the p2p-testdev, size is 1 MiB */
    const char *windows;
} Share;

static char *window_str(const QDict *w)
{
    return g_strdup_printf("%" PRIu64 ":0x%" PRIx64 "+0x%" PRIx64 ":%s:%s%s",
                           compat_qdict_get_uint(w, "bar"),
                           compat_qdict_get_uint(w, "offset"),
                           compat_qdict_get_uint(w, "size"),
                           qdict_get_str(w, "access"),
                           qdict_get_str(w, "state"),
                           qdict_get_bool(w, "cpu-mappable") ? ":cpu" : "");
}

/* The windows of the only member of g0, as text. */
static char *query_windows(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'query-p2p' }");
    QDict *group = qobject_to(QDict,
                              qlist_peek(qdict_get_qlist(reply, "return")));
    QDict *member = qobject_to(QDict,
                               qlist_peek(qdict_get_qlist(group, "members")));
    GString *text = g_string_new("");
    const QListEntry *w;

    g_assert_cmpstr(qdict_get_str(member, "id"), ==, "t0");
    g_assert_cmpstr(qdict_get_str(member, "kind"), ==, "emulated");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(member, "windows"), w) {
        g_autofree char *one = window_str(qobject_to(QDict, w->value));

        g_string_append_printf(text, "%s%s", text->len ? " " : "", one);
    }
    qobject_unref(reply);
    return g_string_free(text, false);
}

static const Share shares[] = {
    { "id=t0",
      "2:0x0+0x100000:rw:unmapped:cpu 4:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=auto",
      "2:0x0+0x100000:rw:unmapped:cpu 4:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=none", "" },
    { "id=t0,p2p-share=bar2", "2:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=bar4", "4:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=bar2:rw", "2:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=bar2:ro", "2:0x0+0x100000:ro:unmapped:cpu" },
    { "id=t0,p2p-share=bar2@0x1000-0x4000",
      "2:0x1000+0x3000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=bar2@4K-1M", "2:0x1000+0xff000:rw:unmapped:cpu" },
    { "id=t0,p2p-share=bar4:ro@0-4096", "4:0x0+0x1000:ro:unmapped:cpu" },
    { "id=t0,p2p-share=bar4:rw@8K-12K+bar2+bar4:ro@0-4096",
      "4:0x2000+0x1000:rw:unmapped:cpu 2:0x0+0x100000:rw:unmapped:cpu "
      "4:0x0+0x1000:ro:unmapped:cpu" },
    /* neighbours do not overlap */
    { "id=t0,p2p-share=bar2@0-0x1000+bar2@0x1000-0x2000",
      "2:0x0+0x1000:rw:unmapped:cpu 2:0x1000+0x1000:rw:unmapped:cpu" },
    /* a BAR that nobody can map is shared when it is named */
    { "id=t0,p2p-share=bar0", "0:0x0+0x2000:rw:unmapped" },
    /* the page of registers is left out of a whole BAR */
    { "id=t0,msix-hole=on,p2p-share=bar2",
      "2:0x0+0x1000:rw:unmapped:cpu 2:0x2000+0xfe000:rw:unmapped:cpu" },
    { "id=t0,msix-hole=on",
      "2:0x0+0x1000:rw:unmapped:cpu 2:0x2000+0xfe000:rw:unmapped:cpu "
      "4:0x0+0x100000:rw:unmapped:cpu" },
    { "id=t0,msix-hole=on,p2p-share=bar2@0x2000-0x3000",
      "2:0x2000+0x1000:rw:unmapped:cpu" },
    /* nothing of these can be shared, and nobody asked for it */
    { "id=t0,size=2K", "" },
};

static void test_accepted(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shares); i++) {
        QTestState *qts = qtest_initf("-machine pc -m 16 -nodefaults " GROUP
                                      "-device p2p-testdev,addr=4.0,%s,"
                                      "p2p-group=g0", shares[i].device);
        g_autofree char *windows = query_windows(qts);

        g_test_message("%s", shares[i].device);
        g_assert_cmpstr(windows, ==, shares[i].windows);
        qtest_quit(qts);
    }
}

/* --- What is refused --------------------------------------------------- */

typedef struct Refusal {
    const char *device;  /* for -device, and for device_add */
    const char *words[4];/* all of which the message has */
    const char *way_out; /* also in the message; or NULL */
} Refusal;

#define T0 "p2p-testdev,addr=4.0,id=t0,"

static const Refusal refusals[] = {
    { T0 "p2p-group=nope", { "t0: p2p-group=nope", "no p2p-group object",
                             "object-add" },
      "-object p2p-group,id=NAME" },
    /* an unset variable of a script */
    { T0 "p2p-group=", { "p2p-group=: there is no p2p-group object" } },
    { T0 "p2p-group=g0,p2p-share=bar5",
      { "t0", "p2p-share=bar5", "no BAR 5" }, "bar0 bar2 bar4" },
    { T0 "p2p-group=g0,p2p-share=bar6",
      { "t0", "p2p-share=bar6", "no BAR 6" }, "bar0 bar2 bar4" },
    /* the upper half of a 64-bit BAR */
    { T0 "p2p-group=g0,p2p-share=bar3",
      { "t0", "p2p-share=bar3", "no BAR 3" }, "bar0 bar2 bar4" },
    { T0 "p2p-group=g0,p2p-share=bar1",
      { "t0", "p2p-share=bar1", "I/O port BAR" } },
    { T0 "size=2048,p2p-group=g0,p2p-share=bar2",
      { "t0", "p2p-share=bar2", "2048 bytes", "less than a page" } },
    { T0 "p2p-group=g0,p2p-share=bar2@0x800-0x2000",
      { "t0", "p2p-share=bar2@0x800-0x2000", "not aligned" },
      "0x0-0x2000" },
    { T0 "p2p-group=g0,p2p-share=bar2@0x1000-0x1800",
      { "t0", "p2p-share=bar2@0x1000-0x1800", "not aligned" },
      "0x1000-0x2000" },
    { T0 "p2p-group=g0,p2p-share=bar2@0x1000-0x1000",
      { "t0", "p2p-share=bar2@0x1000-0x1000", "empty" },
      "the first byte behind the range" },
    { T0 "p2p-group=g0,p2p-share=bar2@0x2000-0x1000",
      { "t0", "p2p-share=bar2@0x2000-0x1000", "empty" } },
    { T0 "p2p-group=g0,p2p-share=bar2@0-0x101000",
      { "t0", "p2p-share=bar2@0-0x101000", "beyond BAR 2", "0x100000" } },
    { T0 "p2p-group=g0,p2p-share=bar2@0-0xffffffffffffffff",
      { "t0", "beyond BAR 2" } },
    { T0 "p2p-group=g0,p2p-share=bar2@0x200000-0x201000",
      { "t0", "beyond BAR 2" } },
    { T0 "p2p-group=g0,p2p-share=bar2+bar2",
      { "t0", "p2p-share=bar2", "overlaps", "BAR 2" } },
    { T0 "p2p-group=g0,p2p-share=bar2@0-0x3000+bar2:ro@0x2000-0x4000",
      { "t0", "p2p-share=bar2:ro@0x2000-0x4000", "overlaps",
        "0x0-0x3000" } },
    { T0 "p2p-group=g0,p2p-share=bar4@0x2000-0x4000+bar4@0-0x3000",
      { "t0", "p2p-share=bar4@0-0x3000", "overlaps" } },
    { T0 "p2p-share=bar2",
      { "t0", "p2p-share=bar2", "no effect without p2p-group" } },
    { T0 "p2p-share=none",
      { "t0", "p2p-share=none", "no effect without p2p-group" } },
    { T0 "msix-hole=on,p2p-group=g0,p2p-share=bar2@0-0x3000",
      { "t0", "p2p-share=bar2@0-0x3000", "no CPU mapping" },
      "BAR 2 without a range" },
    { T0 "msix-hole=on,p2p-group=g0,p2p-share=bar2@0x1000-0x2000",
      { "t0", "p2p-share=bar2@0x1000-0x2000", "no CPU mapping" } },
};

/* What none of is p2p-share, and all are told the form. */
static const char *const garbage[] = {
    "", "bar", "bar2+", "+bar2", "bar2:", "bar2:rx", "bar2:row", "bar2@",
    "bar2@0", "bar2@0-", "bar2@-0x1000", "bar2@0x1000", "bar2@a-b",
    "bar2@0-0x1000x", "bar2@0-0x1000:ro", "bar22", "BAR2", "2", "all",
    "auto+bar2", "none+bar2", "bar2;bar4", "bar-2", "bar2@0--1",
    "bar2@0-99999999999999999999", "bar2@ 0-4K", "bar2@0- 4K",
};

static void expect_words(const char *text, const Refusal *r)
{
    for (unsigned i = 0; i < ARRAY_SIZE(r->words) && r->words[i]; i++) {
        if (!strstr(text, r->words[i])) {
            g_test_message("%s: '%s' not in: %s", r->device, r->words[i],
                           text);
            g_test_fail();
        }
    }
    if (r->way_out && !strstr(text, r->way_out)) {
        g_test_message("%s: '%s' not in: %s", r->device, r->way_out, text);
        g_test_fail();
    }
}

/*
 * Run QEMU with @args until it ends. One that starts is told to quit at once,
 * so that a refusal that is missing fails and does not hang.
 */
static int run_qemu(const char *args, char **errors)
{
    g_autofree char *command = g_strdup_printf(
        "echo '{\"execute\":\"qmp_capabilities\"} {\"execute\":\"quit\"}' | "
        "%s -accel qtest -display none -nodefaults -m 16 -qmp stdio %s "
        ">/dev/null", getenv("QTEST_QEMU_BINARY"), args);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };
    g_autoptr(GError) error = NULL;
    int status;

    g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, NULL, errors, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_refusal(const char *machine, const Refusal *r)
{
    g_autofree char *args = g_strdup_printf("-machine %s " GROUP
                                            "-device '%s'", machine,
                                            r->device);
    g_autofree char *errors = NULL;

    g_assert_cmpint(run_qemu(args, &errors), ==, 1);
    expect_words(errors, r);
}

static void test_refused_at_start(void)
{
    g_autofree char *errors = NULL;

    /* that run_qemu() can tell the difference */
    g_assert_cmpint(run_qemu("-machine pc " GROUP
                             "-device p2p-testdev,p2p-group=g0", &errors),
                    ==, 0);
    g_assert_null(strstr(errors, "p2p"));

    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        expect_refusal("pc", &refusals[i]);
    }
}

/* --- device_add -------------------------------------------------------- */

/* "driver,a=b,c=d" as arguments of device_add. */
static QDict *device_arguments(const char *device)
{
    g_auto(GStrv) parts = g_strsplit(device, ",", -1);
    QDict *dict = qdict_new();

    qdict_put_str(dict, "driver", parts[0]);
    for (unsigned i = 1; parts[i]; i++) {
        char *value = strchr(parts[i], '=');

        *value++ = 0;
        if (g_str_equal(value, "on") &&
            !g_str_equal(parts[i], "disable-legacy")) { /* has auto, too */
            qdict_put_bool(dict, parts[i], true);
        } else if (g_str_equal(parts[i], "size")) {
            qdict_put_int(dict, parts[i], g_ascii_strtoull(value, NULL, 0));
        } else {
            qdict_put_str(dict, parts[i], value);
        }
    }
    return dict;
}

/* The message of an error, or NULL. */
static char *device_add(QTestState *qts, QDict *arguments)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'device_add', "
                                  "'arguments': %p }", arguments);
    QDict *error = qdict_get_qdict(reply, "error");
    char *text = error ? g_strdup(qdict_get_str(error, "desc")) : NULL;

    qobject_unref(reply);
    return text;
}

static char *info(QTestState *qts, const char *what)
{
    return qtest_hmp(qts, "info %s", what);
}

/*
 * The text of a command that lists what exists; addresses of objects aside,
 * it is to be the same before and after a refusal.
 */
static char *whole_state(QTestState *qts)
{
    g_autofree char *p2p = info(qts, "p2p");
    g_autofree char *qtree = info(qts, "qtree");
    g_autofree char *mtree = info(qts, "mtree");
    g_autofree char *ramblock = info(qts, "ramblock");

    return g_strdup_printf("%s%s%s%s", p2p, qtree, mtree, ramblock);
}

/*
 * Address spaces and regions go after an RCU grace period, which no command
 * waits for: look until they have.
 */
static void expect_state(QTestState *qts, const char *expected)
{
    g_autofree char *state = whole_state(qts);

    for (unsigned i = 0; strcmp(state, expected) && i < 1000; i++) {
        g_usleep(10 * 1000);
        g_free(state);
        state = whole_state(qts);
    }
    g_assert_cmpstr(state, ==, expected);
}

static void object_del_fails(QTestState *qts, const char *id)
{
    QDict *error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': "
                       "'object-del', 'arguments': { 'id': %s } }", id);
    const char *text = qdict_get_str(error, "desc");

    g_assert_nonnull(strstr(text, id));
    g_assert_nonnull(strstr(text, "in use"));
    qobject_unref(error);
}

static void object_del(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del', "
                             "'arguments': { 'id': %s } }", id);
}

static void expect_no_group(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'query-p2p' }");

    g_assert_true(qlist_empty(qdict_get_qlist(reply, "return")));
    qobject_unref(reply);
}

static void unplug(QTestState *qts, const char *id, unsigned slot)
{
    qtest_qmp_device_del_send(qts, id);
    qtest_outl(qts, 0xae08, 1u << slot); /* PIIX4: the guest ejects it */
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
}

static void test_refused_at_run_time(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults " GROUP
                                 "-device p2p-testdev,id=t1,addr=5.0,"
                                 "p2p-group=g0");
    g_autofree char *before = whole_state(qts);
    g_autofree char *error = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *text = device_add(qts,
                                    device_arguments(refusals[i].device));

        g_assert_nonnull(text);
        expect_words(text, &refusals[i]);
        expect_state(qts, before);
    }

    /* Slot and id are free. */
    error = device_add(qts, device_arguments(T0 "p2p-group=g0"));
    g_assert_null(error);
    object_del_fails(qts, "g0");
    unplug(qts, "t0", 4);
    expect_state(qts, before);
    object_del_fails(qts, "g0");
    unplug(qts, "t1", 5);
    object_del(qts, "g0");
    expect_no_group(qts);

    /* Nothing is left that the name could clash with. */
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': "
                             "{ 'qom-type': 'p2p-group', 'id': 'g0' } }");
    error = device_add(qts, device_arguments(T0 "p2p-group=g0"));
    g_assert_null(error);
    qtest_quit(qts);
}

static void test_garbage(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults " GROUP);
    g_autofree char *before = whole_state(qts);
    g_autofree char *errors = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++) {
        QDict *arguments = device_arguments(T0 "p2p-group=g0");
        g_autofree char *text = NULL;

        qdict_put_str(arguments, "p2p-share", garbage[i]);
        text = device_add(qts, arguments);
        g_test_message("p2p-share=%s: %s", garbage[i], text);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, "t0: p2p-share="));
        g_assert_nonnull(strstr(text, "cannot understand"));
    }
    expect_state(qts, before);
    object_del(qts, "g0");
    qtest_quit(qts);

    g_assert_cmpint(run_qemu("-machine pc " GROUP "-device " T0
                             "p2p-group=g0,p2p-share=all", &errors), ==, 1);
    g_assert_nonnull(strstr(errors, "barN[:ro|:rw][@OFFSET-END]"));
}

/* --- Bounds ------------------------------------------------------------ */

/* p2p-share of @n neighbouring pages of BAR 2. */
static char *pages(unsigned n)
{
    GString *text = g_string_new("");

    for (unsigned i = 0; i < n; i++) {
        g_string_append_printf(text, "%sbar2@0x%x-0x%x", i ? "+" : "",
                               i * 4096, (i + 1) * 4096);
    }
    return g_string_free(text, false);
}

static void test_windows_of_one_member(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults " GROUP);
    g_autofree char *before = whole_state(qts);
    g_autofree char *most = pages(64);
    g_autofree char *more = pages(65);
    g_autofree char *error = NULL;
    g_autofree char *command = NULL;
    QDict *arguments;

    arguments = device_arguments(T0 "p2p-group=g0");
    qdict_put_str(arguments, "p2p-share", more);
    error = device_add(qts, arguments);
    g_assert_nonnull(strstr(error, "t0: p2p-share"));
    g_assert_nonnull(strstr(error, "more than 64 windows"));
    expect_state(qts, before);

    arguments = device_arguments(T0 "p2p-group=g0");
    qdict_put_str(arguments, "p2p-share", most);
    g_assert_null(device_add(qts, arguments));
    qtest_quit(qts);

    g_clear_pointer(&error, g_free);
    command = g_strdup_printf("-machine pc " GROUP "-device " T0
                              "p2p-group=g0,p2p-share=%s", more);
    g_assert_cmpint(run_qemu(command, &error), ==, 1);
    g_assert_nonnull(strstr(error, "more than 64 windows"));
}

static void test_members_of_one_group(void)
{
    g_autoptr(GString) args = g_string_new("-machine pc -nodefaults " GROUP);
    g_autofree char *more = NULL;
    g_autofree char *before = NULL;
    g_autofree char *error = NULL;
    g_autofree char *errors = NULL;
    QTestState *qts;

    for (unsigned i = 0; i < 64; i++) {
        g_string_append_printf(args, "-device p2p-testdev,size=4K,id=m%u,"
                               "addr=%u.%u,multifunction=on,p2p-share=none,"
                               "p2p-group=g0 ", i, 8 + i / 8, i % 8);
    }
    qts = qtest_init(args->str);
    before = whole_state(qts);
    error = device_add(qts, device_arguments(T0 "p2p-group=g0"));
    g_assert_nonnull(strstr(error, "t0: p2p-group 'g0' has 64 members"));
    expect_state(qts, before);
    /* another group has room */
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': "
                             "{ 'qom-type': 'p2p-group', 'id': 'g1' } }");
    g_assert_null(device_add(qts, device_arguments(T0 "p2p-group=g1")));
    qtest_quit(qts);

    more = g_strdup_printf("%s -device %sp2p-group=g0", args->str, T0);
    g_assert_cmpint(run_qemu(more, &errors), ==, 1);
    g_assert_nonnull(strstr(errors, "has 64 members"));
}

/*
 * As many windows as a group may have, each of them apart, so that each is a
 * section of each view: QEMU must bear it when the guest maps them all.
 */
static void test_windows_of_one_group(void)
{
    g_autoptr(GString) args = g_string_new("-machine pc -m 64 -nodefaults "
                                           GROUP);
    g_autofree char *error = NULL;
    g_autofree char *state = NULL;
    QTestState *qts;

    for (unsigned m = 0; m < 16; m++) {
        g_string_append_printf(args, "-device p2p-testdev,id=m%u,addr=%x.0,"
                               "p2p-group=g0,p2p-share=", m, 4 + m);
        for (unsigned i = 0; i < 64; i++) {
            g_string_append_printf(args, "%sbar2@0x%x-0x%x", i ? "+" : "",
                                   i * 0x2000, i * 0x2000 + 0x1000);
        }
        g_string_append_c(args, ' ');
    }
    qts = qtest_init(args->str);
    error = device_add(qts, device_arguments(
                           "p2p-testdev,addr=3.0,id=more,p2p-group=g0"));
    g_assert_nonnull(strstr(error, "more: p2p-share"));
    g_assert_nonnull(strstr(error, "'g0' has 1024 windows already"));

    for (unsigned m = 0; m < 16; m++) {
        GuestPci pci = { .qts = qts, .devfn = (4 + m) << 3 };

        guest_pci_bar_map(&pci, 2, (P2PGuestAddr) {
                              UINT64_C(0x1000000000) + m * 0x100000 });
        guest_pci_command(&pci, PCI_COMMAND_MEMORY, 0);
    }
    state = info(qts, "p2p");
    g_assert_nonnull(strstr(state, "m15"));
    g_assert_null(strstr(state, "not decoded"));
    qtest_quit(qts);
}

/* --- Devices that cannot be members ------------------------------------ */

#define BLOCKDEV "-blockdev null-co,node-name=n0,read-zeroes=on "

static void test_virtio(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults " GROUP
                                 BLOCKDEV);
    g_autofree char *before = whole_state(qts);
    g_autofree char *error = NULL;
    g_autofree char *errors = NULL;

    error = device_add(qts, device_arguments("virtio-blk-pci,drive=n0,id=v0,"
                                             "addr=4.0,p2p-group=g0"));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error, "v0: p2p-group"));
    g_assert_nonnull(strstr(error, "iommu_platform=on"));
    expect_state(qts, before);
    g_assert_null(device_add(qts, device_arguments(
                      "virtio-blk-pci,drive=n0,id=v0,addr=4.0,p2p-group=g0,"
                      "iommu_platform=on,disable-legacy=on")));
    qtest_quit(qts);

    g_assert_cmpint(run_qemu("-machine pc " GROUP BLOCKDEV
                             "-device virtio-blk-pci,drive=n0,id=v0,"
                             "p2p-group=g0", &errors), ==, 1);
    g_assert_nonnull(strstr(errors, "v0: p2p-group"));
    g_assert_nonnull(strstr(errors, "add iommu_platform=on"));
}

static void expect_viommu_refusal(const char *devices)
{
    g_autofree char *args = g_strdup_printf("-machine q35 " GROUP "%s",
                                            devices);
    g_autofree char *errors = NULL;

    g_test_message("%s", devices);
    g_assert_cmpint(run_qemu(args, &errors), ==, 1);
    g_assert_nonnull(strstr(errors, "t0: p2p-group: the guest's own IOMMU"));
    g_assert_nonnull(strstr(errors, "bypass_iommu=on"));
}

static void expect_start(const char *devices)
{
    g_autofree char *args = g_strdup_printf("-machine q35 " GROUP "%s",
                                            devices);
    g_autofree char *errors = NULL;

    g_test_message("%s", devices);
    g_assert_cmpint(run_qemu(args, &errors), ==, 0);
    g_assert_null(strstr(errors, "p2p"));
}

/* A host bridge of its own, given @bypass, with the device below it */
#define PXB(bypass) \
    "-device pxb-pcie,id=pxb,bus_nr=32,bus=pcie.0,addr=9.0" bypass \
    " -device pcie-root-port,bus=pxb,id=rp,slot=1 " \
    "-device p2p-testdev,bus=rp,id=t0,p2p-group=g0 "

static void test_viommu(void)
{
    expect_viommu_refusal("-device intel-iommu -device " T0 "p2p-group=g0");
    expect_viommu_refusal("-device " T0 "p2p-group=g0 -device intel-iommu");
    expect_viommu_refusal("-device virtio-iommu-pci,addr=7.0 "
                          "-device " T0 "p2p-group=g0");
    expect_viommu_refusal("-device " T0 "p2p-group=g0 "
                          "-device virtio-iommu-pci,addr=7.0");
    expect_viommu_refusal("-device intel-iommu "
                          "-device pcie-root-port,id=rp,slot=1 -device "
                          "p2p-testdev,bus=rp,id=t0,p2p-group=g0");
    expect_viommu_refusal("-device intel-iommu " PXB(""));

    expect_start("-device intel-iommu " PXB(",bypass_iommu=on"));
    expect_start(PXB(",bypass_iommu=on") "-device intel-iommu");
    expect_start("-device intel-iommu -device " T0 "p2p-initiate=on");
}

static void test_viommu_at_run_time(void)
{
    QTestState *qts = qtest_init("-machine q35 -m 16 -nodefaults " GROUP
                                 "-device intel-iommu "
                                 "-device pcie-root-port,id=rp,slot=1");
    g_autofree char *before = whole_state(qts);
    g_autofree char *error = NULL;

    error = device_add(qts, device_arguments("p2p-testdev,bus=rp,id=t0,"
                                             "p2p-group=g0"));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error, "t0: p2p-group: the guest's own IOMMU"));
    expect_state(qts, before);
    object_del(qts, "g0");
    qtest_quit(qts);
}

/* --- The group's own properties ---------------------------------------- */

static void test_group(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults "
                                 "-object p2p-group,id=g0,policy=require,"
                                 "bus-address=on " "-device " T0
                                 "p2p-group=g0");
    g_autofree char *members = NULL;
    QDict *error;

    error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': 'qom-set', "
                "'arguments': { 'path': '/objects/g0', 'property': 'policy',"
                " 'value': 'auto' } }");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "has members"));
    qobject_unref(error);
    error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': 'qom-set', "
                "'arguments': { 'path': '/objects/g0', "
                "'property': 'bus-address', 'value': false } }");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "has members"));
    qobject_unref(error);
    error = qtest_qmp_assert_failure_ref(qts, "{ 'execute': 'qom-set', "
                "'arguments': { 'path': 't0', 'property': 'p2p-group', "
                "'value': '' } }");
    qobject_unref(error);
    object_del_fails(qts, "g0");
    members = qtest_hmp(qts, "object_del g0");
    g_assert_nonnull(strstr(members, "unplug them first: t0"));

    unplug(qts, "t0", 4);
    qtest_qmp_assert_success(qts, "{ 'execute': 'qom-set', "
        "'arguments': { 'path': '/objects/g0', 'property': 'policy',"
        " 'value': 'auto' } }");
    object_del(qts, "g0");
    expect_no_group(qts);
    qtest_quit(qts);
}

static void test_bounce_limit(void)
{
    static const char *const limits[] = { "0", "1M1", "512K", "2G", "1536K" };

    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        g_autofree char *args = g_strdup_printf(
            "-machine pc -object p2p-group,id=g7,bounce-limit=%s", limits[i]);
        g_autofree char *errors = NULL;

        g_assert_cmpint(run_qemu(args, &errors), ==, 1);
        g_assert_nonnull(strstr(errors, "bounce-limit"));
        if (i != 1) { /* no number */
            g_assert_nonnull(strstr(errors, "p2p-group 'g7': bounce-limit="));
            g_assert_nonnull(strstr(errors, "1M to 1G"));
        }
    }
}

/* --- p2p-share --------------------------------------------------------- */

typedef struct Command {
    const char *range;
    const char *words[4];   /* all of which the message has */
} Command;

/* In the words of who gave offset and size */
static const Command commands[] = {
    { "'bar': 3", { "t0: p2p-share of BAR 3, offset 0x0: ", "no BAR 3" } },
    { "'bar': 2, 'offset': 4096, 'size': 1048576",
      { "t0: p2p-share of BAR 2, offset 0x1000, size 0x100000: ",
        "ends beyond BAR 2", "offset and size together" } },
    { "'bar': 2, 'offset': 2048, 'size': 4096",
      { "not aligned", "offset 0x0, size 0x2000" } },
    { "'bar': 2, 'offset': 0, 'size': 12288",
      { "no CPU mapping", "BAR 2 without offset and size" } },
};

static void test_command(void)
{
    QTestState *qts = qtest_init("-machine pc -m 16 -nodefaults " GROUP
                                 "-device p2p-testdev,id=t0,addr=4.0,"
                                 "p2p-group=g0,p2p-share=none,msix-hole=on");

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *command = g_strdup_printf("{ 'execute': 'p2p-share', "
            "'arguments': { 'device': 't0', %s } }", commands[i].range);
        g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(qts, "%p",
            qobject_from_json(command, &error_abort));
        const char *text = qdict_get_str(error, "desc");

        g_test_message("%s", text);
        g_assert_null(strstr(text, "p2p-share="));
        for (unsigned j = 0; commands[i].words[j]; j++) {
            g_assert_nonnull(strstr(text, commands[i].words[j]));
        }
    }
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/share/accepted", test_accepted);
    qtest_add_func("p2p/share/refused-at-start", test_refused_at_start);
    qtest_add_func("p2p/share/refused-at-run-time", test_refused_at_run_time);
    qtest_add_func("p2p/share/garbage", test_garbage);
    qtest_add_func("p2p/share/64-windows", test_windows_of_one_member);
    qtest_add_func("p2p/share/64-members", test_members_of_one_group);
    qtest_add_func("p2p/share/1024-windows", test_windows_of_one_group);
    qtest_add_func("p2p/share/virtio", test_virtio);
    qtest_add_func("p2p/share/viommu", test_viommu);
    qtest_add_func("p2p/share/viommu-at-run-time", test_viommu_at_run_time);
    qtest_add_func("p2p/share/group", test_group);
    qtest_add_func("p2p/share/bounce-limit", test_bounce_limit);
    qtest_add_func("p2p/share/command", test_command);
    return g_test_run();
}
