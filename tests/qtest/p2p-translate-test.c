/*
 * p2p-translate: what vectors become, and what is wrong with those that fail
 *
 * That the translation itself is right for any vector is for the unit tests
 * of the core; here it is the map that QEMU gives it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "compat.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "p2p-testdev.h"

#define BAR_SIZE (1 * MiB)

/* t0: all is shared; t1: neighbouring windows, one read-only; t2: target */
#define REGISTERS(n) (0xc0000000ull + (n) * 0x10000)
#define BAR2(n)      (64 * GiB + (n) * 16 * MiB)
#define BAR4(n)      (65 * GiB + (n) * 16 * MiB)
#define NOWHERE      (96 * GiB)
#define RAM_END      (128 * MiB)

#define MAX_ENTRIES 4096

typedef struct Entry {
    uint64_t gpa;
    uint64_t len;
    const char *flags; /* as in JSON */
} Entry;

#define R  "'read'"
#define W  "'write'"
#define RW "'read','write'"

static QTestState *machine_new(void)
{
    QTestState *qts = qtest_init(
        "-machine q35 -m 128 -nodefaults -object p2p-group,id=g0 "
        "-device p2p-testdev,id=t0,addr=4.0,p2p-group=g0 "
        "-device p2p-testdev,id=t1,addr=5.0,p2p-group=g0,"
        "p2p-share=bar2@0-0x2000+bar2@0x2000-0x4000+bar2:ro@0x4000-0x5000 "
        "-device p2p-testdev,id=t2,addr=6.0,p2p-group=g0,p2p-initiate=off "
        "-device p2p-testdev,id=t3,addr=7.0");

    for (unsigned n = 0; n < 4; n++) {
        TestDev dev = testdev_start(qts, (4 + n) << 3,
                                    (P2PGuestAddr) { REGISTERS(n) });

        guest_pci_bar_map(&dev.pci, 2, (P2PGuestAddr) { BAR2(n) });
        guest_pci_bar_map(&dev.pci, 4, (P2PGuestAddr) { BAR4(n) });
    }
    return qts;
}

static QDict *translate(QTestState *qts, const char *initiator,
                        const Entry *entries, size_t n)
{
    QList *vector = qlist_new();

    for (size_t i = 0; i < n; i++) {
        qlist_append(vector, qdict_from_jsonf_nofail(
            "{ 'gpa': %" PRIu64 ", 'len': %" PRIu64 ", 'flags': %p }",
            entries[i].gpa, entries[i].len,
            qobject_from_json(entries[i].flags, &error_abort)));
    }
    return qtest_qmp(qts, "{ 'execute': 'p2p-translate', 'arguments': "
                     "{ 'initiator': %s, 'vector': %p } }", initiator,
                     QOBJECT(vector));
}

/* As text: "ram|io map-type address+len [self]", one line for each entry. */
static char *result_str(const QDict *reply)
{
    const QDict *result = qdict_get_qdict(reply, "return");
    const QDict *fault;
    GString *text = g_string_new("");
    const QListEntry *e;

    g_assert_nonnull(result);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "vector"), e) {
        const QDict *v = qobject_to(QDict, e->value);

        g_string_append_printf(text, "%s %s 0x%" PRIx64 "+0x%" PRIx64 "%s\n",
                               qdict_get_str(v, "memory"),
                               qdict_get_str(v, "map-type"),
                               compat_qdict_get_uint(v, "bus-address"),
                               compat_qdict_get_uint(v, "len"),
                               qdict_get_bool(v, "self") ? " self" : "");
    }
    fault = qdict_get_qdict(result, "fault");
    if (fault) {
        g_assert_cmpuint(text->len, ==, 0);
        g_string_printf(text, "%" PRIu64 " 0x%" PRIx64 " errno %" PRId64
                        ": %s\n", compat_qdict_get_uint(fault, "index"),
                        compat_qdict_get_uint(fault, "gpa"),
                        qdict_get_int(fault, "errno"),
                        qdict_get_str(fault, "reason"));
    }
    return g_string_free(text, false);
}

static void expect(QTestState *qts, const char *initiator,
                   const Entry *entries, size_t n, const char *format, ...)
{
    QDict *reply = translate(qts, initiator, entries, n);
    g_autofree char *result = result_str(reply);
    g_autofree char *expected = NULL;
    va_list ap;

    va_start(ap, format);
    expected = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_assert_cmpstr(result, ==, expected);
    qobject_unref(reply);
}

#define EXPECT(qts, initiator, entries, ...) \
    expect(qts, initiator, entries, ARRAY_SIZE(entries), __VA_ARGS__)

static void expect_error(QDict *reply, const char *words)
{
    QDict *error = qdict_get_qdict(reply, "error");

    g_assert_nonnull(error);
    g_test_message("%s", qdict_get_str(error, "desc"));
    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), words));
    qobject_unref(reply);
}

static void test_ram(void)
{
    QTestState *qts = machine_new();
    const Entry one[] = { { 0x12345, 100, "[" RW "]" } };
    const Entry three[] = {
        { 1 * MiB, 4096, "[" R "]" }, { 1 * MiB + 4096, 4096, "[" R "]" },
        { 4 * MiB, 1, "[" R "]" },
    };
    const Entry apart[] = {
        { 1 * MiB, 4096, "[" R ",'no-merge']" },
        { 1 * MiB + 4096, 4096, "[" R "]" },
    };
    const Entry directions[] = {
        { 1 * MiB, 4096, "[" R "]" }, { 1 * MiB + 4096, 4096, "[" W "]" },
    };
    const Entry all[] = { { 1 * MiB, RAM_END - 1 * MiB, "[" RW "]" } };

    EXPECT(qts, "t0", one, "ram none 0x12345+0x64\n");
    EXPECT(qts, "t0", three,
           "ram none 0x100000+0x2000\nram none 0x400000+0x1\n");
    EXPECT(qts, "t0", apart,
           "ram none 0x100000+0x1000\nram none 0x101000+0x1000\n");
    EXPECT(qts, "t0", directions,
           "ram none 0x100000+0x1000\nram none 0x101000+0x1000\n");
    EXPECT(qts, "t0", all, "ram none 0x100000+0x7f00000\n");
    /* A member that may not reach windows may reach RAM. */
    EXPECT(qts, "t2", one, "ram none 0x12345+0x64\n");
    qtest_quit(qts);
}

static void test_io(void)
{
    QTestState *qts = machine_new();
    const Entry bars[] = {
        { BAR2(1), 4096, "[" RW "]" }, { BAR4(2) + 1, 2, "[" W "]" },
        { BAR2(0), BAR_SIZE, "[" RW "]" }, { 0x1000, 1, "[" W "]" },
    };
    const Entry neighbours[] = { { BAR2(1) + 0x1800, 0x1000, "[" RW "]" } };
    const Entry read_only[] = { { BAR2(1) + 0x3ff0, 0x20, "[" R "]" } };
    const Entry kinds[] = {
        { BAR2(1), 8, "[" R ",'must-be-io']" },
        { 0x1000, 8, "[" R ",'must-be-ram']" },
    };

    EXPECT(qts, "t0", bars,
           "io cpu 0x%" PRIx64 "+0x1000\nio cpu 0x%" PRIx64 "+0x2\n"
           "io cpu 0x%" PRIx64 "+0x100000 self\nram none 0x1000+0x1\n",
           BAR2(1), BAR4(2) + 1, BAR2(0));
    /* Two windows, one range for the device. */
    EXPECT(qts, "t0", neighbours, "io cpu 0x%" PRIx64 "+0x1000\n",
           BAR2(1) + 0x1800);
    EXPECT(qts, "t1", neighbours, "io cpu 0x%" PRIx64 "+0x1000 self\n",
           BAR2(1) + 0x1800);
    EXPECT(qts, "t0", read_only, "io cpu 0x%" PRIx64 "+0x20\n",
           BAR2(1) + 0x3ff0);
    EXPECT(qts, "t0", kinds, "io cpu 0x%" PRIx64 "+0x8\nram none 0x1000+0x8\n",
           BAR2(1));
    qtest_quit(qts);
}

#define FAULT(index, gpa, err, reason) \
    "%u 0x%" PRIx64 " errno %d: %s\n", index, (uint64_t)(gpa), err, reason

#define NO_WINDOW "no window holds this address"
#define NO_RIGHT  "the initiator may neither read nor write this window"
#define READ_ONLY "the initiator may read this window, but not write it"
#define BAD_FLAGS \
    "the entry's flags are unknown, contradictory or without a direction"
#define WRONG_KIND \
    "the window is RAM where I/O is asked for, or I/O where RAM is"

static void test_faults(void)
{
    QTestState *qts = machine_new();
    const Entry nothing[] = { { NOWHERE, 1, "[" R "]" } };
    const Entry second[] = {
        { 0x1000, 8, "[" R "]" }, { 0x2000, 8, "[" R "]" },
        { NOWHERE + 5, 8, "[" R "]" }, { NOWHERE, 8, "[" R "]" },
    };
    const Entry out_of_ram[] = { { RAM_END - 1, 2, "[" R "]" } };
    const Entry out_of_bar[] = { { BAR4(2) + BAR_SIZE - 8, 9, "[" W "]" } };
    const Entry not_shared[] = { { BAR2(1) + 0x5000, 8, "[" R "]" } };
    const Entry registers[] = { { REGISTERS(1), 8, "[" R "]" } };
    const Entry no_member[] = { { BAR2(3), 8, "[" R "]" } };
    const Entry doorbell[] = { { 0xfee00000, 4, "[" W "]" } };
    const Entry into_ro[] = { { BAR2(1) + 0x3000, 0x1001, "[" W "]" } };
    const Entry both_ro[] = { { BAR2(1) + 0x4000, 1, "[" RW "]" } };
    const Entry of_target[] = { { BAR2(0), 8, "[" R "]" } };
    const Entry empty[] = { { 0x1000, 0, "[" R "]" } };
    const Entry wraps[] = { { UINT64_MAX, 2, "[" R "]" } };
    const Entry no_flags[] = { { 0x1000, 8, "[]" } };
    const Entry contrary[] = {
        { 0x1000, 8, "[" R ",'must-be-io','must-be-ram']" }
    };
    const Entry ram_for_io[] = { { 0x1000, 8, "[" R ",'must-be-io']" } };
    const Entry io_for_ram[] = { { BAR2(1), 8, "[" R ",'must-be-ram']" } };
    const Entry longest[] = { { 0, UINT32_MAX, "[" R "]" } };

    EXPECT(qts, "t0", nothing, FAULT(0, NOWHERE, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", second, FAULT(2, NOWHERE + 5, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", out_of_ram, FAULT(0, RAM_END, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", out_of_bar,
           FAULT(0, BAR4(2) + BAR_SIZE, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", not_shared,
           FAULT(0, BAR2(1) + 0x5000, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", registers, FAULT(0, REGISTERS(1), EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", no_member, FAULT(0, BAR2(3), EFAULT, NO_WINDOW));
    /* A doorbell is for interrupts: no data goes there. */
    EXPECT(qts, "t0", doorbell, FAULT(0, 0xfee00000, EFAULT, NO_WINDOW));
    EXPECT(qts, "t0", into_ro,
           FAULT(0, BAR2(1) + 0x4000, EACCES, READ_ONLY));
    EXPECT(qts, "t0", both_ro,
           FAULT(0, BAR2(1) + 0x4000, EACCES, READ_ONLY));
    EXPECT(qts, "t2", of_target, FAULT(0, BAR2(0), EACCES, NO_RIGHT));
    EXPECT(qts, "t0", empty,
           FAULT(0, 0x1000, EINVAL, "the entry has length 0"));
    EXPECT(qts, "t0", wraps,
           FAULT(0, UINT64_MAX, EINVAL,
                 "the entry ends beyond the address space"));
    EXPECT(qts, "t0", no_flags, FAULT(0, 0x1000, EINVAL, BAD_FLAGS));
    EXPECT(qts, "t0", contrary, FAULT(0, 0x1000, EINVAL, BAD_FLAGS));
    EXPECT(qts, "t0", ram_for_io, FAULT(0, 0x1000, EINVAL, WRONG_KIND));
    EXPECT(qts, "t0", io_for_ram, FAULT(0, BAR2(1), EINVAL, WRONG_KIND));
    /* RAM up to where option ROMs are, in a machine without VGA */
    EXPECT(qts, "t0", longest, FAULT(0, 0xc0000, EFAULT, NO_WINDOW));
    qtest_quit(qts);
}

static void test_revoked(void)
{
    QTestState *qts = machine_new();
    GuestPci t1 = { .qts = qts, .devfn = 5 << 3 };
    const Entry window[] = { { BAR2(1), 8, "[" R "]" } };

    guest_pci_command(&t1, 0, PCI_COMMAND_MEMORY);
    EXPECT(qts, "t0", window,
           FAULT(0, BAR2(1), ESTALE, "the window has been revoked"));
    EXPECT(qts, "t1", window,
           FAULT(0, BAR2(1), ESTALE, "the window has been revoked"));
    guest_pci_command(&t1, PCI_COMMAND_MEMORY, 0);
    EXPECT(qts, "t0", window, "io cpu 0x%" PRIx64 "+0x8\n", BAR2(1));
    qtest_quit(qts);
}

static void test_bad_commands(void)
{
    QTestState *qts = machine_new();
    const Entry entry = { 0x1000, 8, "[" R "]" };
    const Entry longer[] = { entry, { 0x1000, 1ull << 32, "[" R "]" } };
    const Entry longest = { 0x1000, UINT64_MAX, "[" R "]" };
    g_autofree Entry *many = g_new(Entry, MAX_ENTRIES + 1);

    for (unsigned i = 0; i <= MAX_ENTRIES; i++) {
        many[i] = entry;
    }

    expect_error(translate(qts, "t0", NULL, 0), "at least one entry");
    expect_error(translate(qts, "t0", longer, 2),
                 "Entry 1: len 4294967296 is more than 4294967295");
    expect_error(translate(qts, "t0", &longest, 1), "Entry 0: len");
    expect_error(translate(qts, "t0", many, MAX_ENTRIES + 1),
                 "more than 4096 entries");
    expect_error(translate(qts, "nobody", &entry, 1),
                 "no PCI device 'nobody'");
    expect_error(translate(qts, "", &entry, 1), "no PCI device");
    expect_error(translate(qts, "g0", &entry, 1), "no PCI device 'g0'");
    expect_error(translate(qts, "t3", &entry, 1),
                 "'t3' does not belong to a p2p-group");
    qtest_quit(qts);
}

/* As many entries as one command takes, and none of them merged. */
static void test_most_entries(void)
{
    QTestState *qts = machine_new();
    g_autofree Entry *many = g_new(Entry, MAX_ENTRIES);
    const QListEntry *e;
    unsigned i = 0;
    QDict *reply;

    for (i = 0; i < MAX_ENTRIES; i++) {
        many[i] = (Entry) { 1 * MiB + 32 * i, 16, "[" R "]" };
    }
    reply = translate(qts, "t0", many, MAX_ENTRIES);
    i = 0;
    QLIST_FOREACH_ENTRY(qdict_get_qlist(qdict_get_qdict(reply, "return"),
                                        "vector"), e) {
        const QDict *v = qobject_to(QDict, e->value);

        g_assert_cmphex(compat_qdict_get_uint(v, "bus-address"), ==, many[i].gpa);
        i++;
    }
    g_assert_cmpuint(i, ==, MAX_ENTRIES);
    qobject_unref(reply);
    qtest_quit(qts);
}

/* Both names of a member, and a path that is none. */
static void test_names(void)
{
    QTestState *qts = machine_new();
    const Entry entry = { 0x1000, 8, "[" R "]" };

    expect(qts, "/machine/peripheral/t0", &entry, 1,
           "ram none 0x1000+0x8\n");
    expect_error(translate(qts, "/machine/peripheral", &entry, 1),
                 "no PCI device");
    qtest_quit(qts);
}

/* Before the guest has placed anything there is RAM, and nothing else. */
static void test_no_address(void)
{
    QTestState *qts = qtest_init("-machine q35 -m 128 -nodefaults "
                                 "-object p2p-group,id=g0 -device "
                                 "p2p-testdev,id=t0,addr=4.0,p2p-group=g0");
    const Entry ram[] = { { 0x1000, 8, "[" R "]" } };
    const Entry bar[] = { { BAR2(0), 8, "[" R "]" } };

    EXPECT(qts, "t0", ram, "ram none 0x1000+0x8\n");
    EXPECT(qts, "t0", bar, FAULT(0, BAR2(0), EFAULT, NO_WINDOW));
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("p2p/translate/ram", test_ram);
    qtest_add_func("p2p/translate/io", test_io);
    qtest_add_func("p2p/translate/faults", test_faults);
    qtest_add_func("p2p/translate/revoked", test_revoked);
    qtest_add_func("p2p/translate/bad-commands", test_bad_commands);
    qtest_add_func("p2p/translate/most-entries", test_most_entries);
    qtest_add_func("p2p/translate/names", test_names);
    qtest_add_func("p2p/translate/no-address", test_no_address);
    return g_test_run();
}
