/*
 * The command p2p-bridge over a driver, and files, that this test plays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fake-bridge.h"
#include "../../guest/command/copy.h"

#define MIB (1024 * 1024)
#define WINDOW "0000:65:00.0:bar2"

static char *folder;
static char *path;              /* of a file in it */

/* --- Running a command --------------------------------------------------- */

typedef struct Said {
    int status;
    char *out;
    char *err;
} Said;

static char *read_back(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = g_malloc0(size + 1);

    g_assert_cmpint(pread(fd, text, size, 0), ==, size);
    close(fd);
    return text;
}

/* @words: of the command line, up to NULL */
static Said run(const char *const *words)
{
    static const struct command *const commands[] = {
        &command_list, &command_share, &command_attach, &command_translate,
        &command_copy, &command_watch,
    };
    int out = memfd_create("out", 0);
    int err = memfd_create("err", 0);
    int old_out = dup(STDOUT_FILENO);
    int old_err = dup(STDERR_FILENO);
    Said said = { .status = -1 };

    fake.transfers = 0;
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    optind = 0;
    stopped = 0;
    device_node = FAKE_NODE;
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i]->name, words[0]) == 0) {
            said.status = commands[i]->run(commands[i],
                                           g_strv_length((char **)words),
                                           (char **)words);
        }
    }
    fflush(stdout);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    close(old_out);
    close(old_err);
    said.out = read_back(out);
    said.err = read_back(err);
    return said;
}

#define RUN(...) run((const char *const []) { __VA_ARGS__, NULL })

/* @text: must be in what was said */
static void check(Said said, int status, const char *text)
{
    if (said.status != status ||
        !(strstr(said.out, text) || strstr(said.err, text))) {
        g_error("status %d, not %d, or no '%s' in: %s%s", said.status, status,
                text, said.out, said.err);
    }
    /* Whatever it was, it has not left its window behind. */
    g_assert_false(fake.attached);
    g_assert_false(fake.shared);
    g_free(said.out);
    g_free(said.err);
}

/* --- Sizes and places ---------------------------------------------------- */

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t size;
    } right[] = {
        { "0", 0 }, { "4096", 4096 }, { "010", 10 }, { "0x10", 16 },
        { "4k", 4096 }, { "3M", 3 * MIB }, { "1T", 1ull << 40 },
        { "0x2G", 2ull << 30 }, { "18446744073709551615", UINT64_MAX },
    };
    static const char *const wrong[] = {
        "", "-1", "+1", " 1", "1 ", "1KB", "k", "0x", "1.5M",
        "18446744073709551616", "18014398509481984K",
    };
    uint64_t size;

    for (unsigned i = 0; i < G_N_ELEMENTS(right); i++) {
        g_assert_true(parse_size(right[i].text, &size));
        g_assert_cmpuint(size, ==, right[i].size);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        if (parse_size(wrong[i], &size)) {
            g_error("'%s' was taken for a size", wrong[i]);
        }
    }
}

static void test_places(void)
{
    static const char *const wrong[] = {
        "65:00.0:bar6", "65:00.0:bar", "65:00.0:bar22", "65:00.0:bar2@",
        "65:00.0:bar2@1M-", "65:00.0:bar2@1M-1M", "65:00.0:bar2@2M-1M",
        "65:00.0:bar2@1M-2Mx", "65:00.0:bar2-1M", "65:00.0:bar2@1M+1M",
    };
    struct place place;

    g_assert_true(parse_place("0001:65:00.3:bar4@1M-0x300000", &place));
    g_assert_cmpuint(place.rid, ==, 0x16503);
    g_assert_cmpuint(place.bar, ==, 4);
    g_assert_cmpuint(place.offset, ==, MIB);
    g_assert_cmpuint(place.end, ==, 3 * MIB);
    g_assert_true(parse_place("65:00.0:bar0@4K", &place));
    g_assert_cmpuint(place.offset, ==, 4096);
    g_assert_cmpuint(place.end, ==, 0);

    fake_begin();
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_true(looks_like_place(wrong[i]));
        check(RUN("share", wrong[i]), STATUS_CANNOT, "no place in a BAR");
    }
    g_assert_false(looks_like_place("./65:00.0:bar2"));
    g_assert_false(looks_like_place("file"));
    fake_end();
}

/* --- List, watch, share, translate --------------------------------------- */

static void test_list(void)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *object;
    Said said;

    fake_begin();
    check(RUN("list"), STATUS_OK,
          "0000:66:00.1 -> 0000:65:00.0  PHB, thru-host-bridge, granted, "
          "not known to be routed");
    fake_end();
    fake_begin();
    said = RUN("list", "--json");
    g_assert_cmpint(said.status, ==, STATUS_OK);
    g_assert_true(json_parser_load_from_data(parser, said.out, -1, NULL));
    object = json_node_get_object(json_parser_get_root(parser));
    g_assert_cmpint(json_array_get_length(
                        json_object_get_array_member(object, "members")),
                    ==, 2);
    object = json_array_get_object_element(
        json_object_get_array_member(object, "windows"), 0);
    g_assert_cmpstr(json_object_get_string_member(object, "bdf"), ==,
                    "0000:65:00.0");
    g_assert_cmpint(json_object_get_int_member(object, "size"), ==,
                    FAKE_WINDOW_SIZE);
    g_assert_false(json_object_get_boolean_member(object, "ram-like"));
    g_free(said.out);
    g_free(said.err);
    fake_end();
}

static void test_list_fails(void)
{
    fake_begin();
    check(RUN("list", "x"), STATUS_CANNOT, "no argument");
    check(RUN("list", "--nonsense"), STATUS_CANNOT, "'--nonsense'");
    fake.changes = 1;
    check(RUN("list"), STATUS_CANNOT, "changes all the time");
    fake.changes = 0;
    fake.node = 100;
    check(RUN("list"), STATUS_CANNOT, "load the driver");
    fake.other_nodes = EACCES;
    check(RUN("list"), STATUS_CANNOT, "as root");
    fake_end();
}

/* Events that are there when the node is opened: as if they came then */
static gpointer events_later(gpointer data)
{
    while (!g_atomic_int_get(&fake.opened)) {
        g_usleep(1000);
    }
    if (data) {
        while (!g_atomic_int_get(&fake.attached)) {
            g_usleep(1000);
        }
        fake_event(P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_GONE,
                   FAKE_NUMBER);
    } else {
        fake_event(P2P_BRIDGE_EVENT_CHANGED, 0, 0);
        fake_event(P2P_BRIDGE_EVENT_REVOKED, P2P_BRIDGE_REVOKE_MOVED, 5);
    }
    return NULL;
}

static void test_watch(void)
{
    GThread *thread;

    fake_begin();
    thread = g_thread_new("events", events_later, NULL);
    check(RUN("watch", "--count=2"), STATUS_OK,
          "changed generation 8\n"
          "revoked generation 8, window 5: the target's BAR moved\n");
    g_thread_join(thread);
    fake_end();
    fake_begin();
    check(RUN("watch", "--count=0"), STATUS_CANNOT, "from 1 on");
    fake_end();
}

static void test_share(void)
{
    GThread *thread;

    fake_begin();
    thread = g_thread_new("events", events_later, (gpointer)1);
    /* The pages that the range is on */
    check(RUN("attach", WINDOW "@5000-9000"), STATUS_NO,
          "window 65 was revoked: the target was unplugged");
    g_thread_join(thread);
    g_assert_cmpuint(fake.share.offset, ==, 4096);
    g_assert_cmpuint(fake.share.length, ==, 8192);
    g_assert_cmpuint(fake.share.access, ==, P2P_BRIDGE_ACCESS_RW);
    g_assert_cmpuint(fake.unshare.window, ==, FAKE_NUMBER);
    fake_end();
}

static void test_share_refused(void)
{
    fake_begin();
    check(RUN("share"), STATUS_CANNOT, "one window");
    check(RUN("share", WINDOW "@4M"), STATUS_NO, "@0x0-0x400000");
    check(RUN("share", WINDOW "@1M-5M"), STATUS_NO, "ends behind 0x400000");
    check(RUN("share", "65:00.0:bar4"), STATUS_NO, "p2p-share=bar4");
    fake.access = P2P_BRIDGE_ACCESS_RO;
    check(RUN("share", WINDOW), STATUS_NO, "for reading only");
    fake.fail = P2P_BRIDGE_IOC_SHARE;
    fake.error = ENOSPC;
    check(RUN("share", "--read-only", WINDOW), STATUS_NO, "larger aperture=");
    fake_end();
}

static void test_translate(void)
{
    fake_begin();
    fake.answer.n_out = 1;
    fake.answer_vec = (struct p2p_bridge_vec) {
        .addr = 0xabc000, .len = 8192, .generation = 3,
        .flags = P2P_BRIDGE_VEC_IO | P2P_BRIDGE_VEC_REVOCABLE |
                 P2P_BRIDGE_MAP_CPU << P2P_BRIDGE_VEC_MAP_SHIFT,
    };
    check(RUN("translate", "--write", "66:00.1", WINDOW "@4K-12K"), STATUS_OK,
          "0x0000000000abc000        8192  BAR, revocable, cpu, generation 3");
    g_assert_cmpuint(fake.translate.initiator, ==, FAKE_INITIATOR);
    g_assert_cmpuint(fake.translate_in.addr, ==, 4096);
    g_assert_cmpuint(fake.translate_in.len, ==, 8192);
    g_assert_cmpuint(fake.translate_in.rid, ==, FAKE_TARGET);
    g_assert_cmphex(fake.translate_in.flags, ==,
                    P2P_BRIDGE_VEC_WRITE | P2P_BRIDGE_VEC_BY_BAR);
    check(RUN("translate", "--bus", "66:00.1", "1M+64K"), STATUS_OK, "BAR");
    g_assert_cmpuint(fake.translate.kind, ==, P2P_BRIDGE_KIND_BUS);
    g_assert_cmpuint(fake.translate_in.addr, ==, MIB);
    g_assert_cmpuint(fake.translate_in.len, ==, 65536);
    g_assert_cmphex(fake.translate_in.flags, ==, 3);
    fake_end();
}

static void test_translate_refused(void)
{
    fake_begin();
    fake.answer = (struct p2p_bridge_translate) {
        .status = P2P_BRIDGE_FAULT, .index = 1, .fault_addr = 0x5000,
        .reason = P2P_BRIDGE_FAULT_UNMAPPED,
    };
    check(RUN("translate", "66:00.1", "4K", "20K"), STATUS_NO,
          "'20K': no guest RAM and no window is there (at 0x5000)");
    /* An index of somebody who errs */
    fake.answer.index = 7;
    check(RUN("translate", "66:00.1", "4K", "20K"), STATUS_CANNOT,
          "Bad address");
    fake.fail = P2P_BRIDGE_IOC_TRANSLATE;
    fake.error = EPERM;
    check(RUN("translate", "66:00.1", "4K"), STATUS_CANNOT, "CAP_SYS_RAWIO");
    check(RUN("translate", "66:00.1"), STATUS_CANNOT, "1 to 4096 entries");
    check(RUN("translate", "6:00.1", "4K"), STATUS_CANNOT, "'6:00.1'");
    check(RUN("translate", "66:00.1", "4K+0"), STATUS_CANNOT, "from 1 byte");
    check(RUN("translate", "66:00.1", "4K+4G"), STATUS_CANNOT, "4 GiB");
    check(RUN("translate", "66:00.1", "4K+x"), STATUS_CANNOT, "no entry");
    check(RUN("translate", "66:00.1", "x"), STATUS_CANNOT, "no entry");
    fake_end();
}

/* --- Copy ---------------------------------------------------------------- */

static uint8_t *random_bytes(size_t size)
{
    uint8_t *data = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = g_test_rand_int();
    }
    return data;
}

static uint8_t *make_file(size_t size)
{
    uint8_t *data = random_bytes(size);

    g_assert_true(g_file_set_contents(path, (char *)data, size, NULL));
    return data;
}

static uint8_t *fill_window(void)
{
    uint8_t *data = random_bytes(FAKE_WINDOW_SIZE);

    g_assert_cmpint(pwrite(fake.memory, data, FAKE_WINDOW_SIZE, 0), ==,
                    FAKE_WINDOW_SIZE);
    fake.transfers = 0;
    fake.direct = 0;
    return data;
}

/* @size bytes of the window are @data, and those behind as before (0) */
static void check_window(const uint8_t *data, size_t size)
{
    uint8_t *window = mmap(NULL, FAKE_WINDOW_SIZE, PROT_READ, MAP_SHARED,
                           fake.memory, 0);

    g_assert_cmpmem(window, size, data, size);
    for (size_t i = size; i < FAKE_WINDOW_SIZE; i++) {
        g_assert_cmpuint(window[i], ==, 0);
    }
    munmap(window, FAKE_WINDOW_SIZE);
}

static void check_file(const uint8_t *data, size_t size)
{
    char *found;
    size_t n;

    g_assert_true(g_file_get_contents(path, &found, &n, NULL));
    g_assert_cmpmem(found, n, data, size);
    g_free(found);
}

/* That there is no other file */
static void check_folder(unsigned wanted)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    g_assert_cmpuint(n, ==, wanted);
}

/* Of a file that does not fill its last block, too */
static void test_copy_to_window(void)
{
    static const size_t sizes[] = {
        1, 511, 4096, 4097, MIB, 3 * MIB + 12345, FAKE_WINDOW_SIZE,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree uint8_t *data = make_file(sizes[i]);

        fake_begin();
        fake.block = i & 1 ? 512 : 4096;
        fake.break_at = 1;
        fake.revoke_other = true;
        check(RUN("copy", "--verify", "--pages=generic", "--client=66:00.1",
                  path, WINDOW), STATUS_OK, "read back the same");
        check_window(data, sizes[i]);
        g_assert_cmpuint(fake.direct > 0, ==, true);
        g_assert_cmpuint(fake.export.pages, ==, P2P_BRIDGE_PAGES_GENERIC);
        g_assert_cmpuint(fake.export.client, ==, FAKE_INITIATOR);
        g_assert_cmpuint(fake.share.access, ==, P2P_BRIDGE_ACCESS_RW);
        fake_end();
    }
}

static void test_copy_to_file(void)
{
    static const struct {
        const char *place;
        size_t from;
        size_t to;
    } ranges[] = {
        { WINDOW, 0, FAKE_WINDOW_SIZE },
        { WINDOW "@1M", MIB, FAKE_WINDOW_SIZE },
        { WINDOW "@4K-5000", 4096, 5000 },
        { WINDOW "@8K-3M", 8192, 3 * MIB },
        { WINDOW "@0-2500000", 0, 2500000 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++) {
        g_autofree uint8_t *data = NULL;

        fake_begin();
        data = fill_window();
        /* The fake maps its window from its beginning. */
        memmove(data, data + ranges[i].from % 4096,
                FAKE_WINDOW_SIZE - ranges[i].from % 4096);
        fake.access = P2P_BRIDGE_ACCESS_RO;
        check(RUN("copy", "--verify", ranges[i].place, path), STATUS_OK,
              "read back the same");
        check_file(data, ranges[i].to - ranges[i].from);
        check_folder(1);
        g_assert_cmpuint(fake.share.offset, ==, ranges[i].from);
        g_assert_cmpuint(fake.share.access, ==, P2P_BRIDGE_ACCESS_RO);
        fake_end();
    }
}

static void test_copy_buffered(void)
{
    g_autofree uint8_t *data = make_file(10001);

    fake_begin();
    check(RUN("copy", "--buffered", "--verify", path, WINDOW), STATUS_OK,
          "10001 bytes");
    g_assert_cmpuint(fake.direct, ==, 0);
    check_window(data, 10001);
    fake_end();
}

/* Its mode, and the link that leads to it, stay. */
static void test_copy_replaces(void)
{
    g_autofree uint8_t *old = make_file(5 * MIB);
    g_autofree char *other = g_build_filename(folder, "link", NULL);
    g_autofree uint8_t *data = NULL;
    struct stat st;

    fake_begin();
    data = fill_window();
    g_assert_cmpint(chmod(path, 0640), ==, 0);
    g_assert_cmpint(symlink(path, other), ==, 0);
    check(RUN("copy", WINDOW, other), STATUS_OK, "4 MiB copied");
    check_file(data, FAKE_WINDOW_SIZE);
    g_assert_cmpint(lstat(other, &st), ==, 0);
    g_assert_true(S_ISLNK(st.st_mode));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0640);
    g_assert_cmpint(unlink(other), ==, 0);
    fake_end();
}

static void test_copy_usage(void)
{
    g_autofree uint8_t *data = make_file(FAKE_WINDOW_SIZE + 1);

    fake_begin();
    check(RUN("copy", path), STATUS_CANNOT, "a source and a destination");
    check(RUN("copy", path, path), STATUS_CANNOT, "none of");
    check(RUN("copy", WINDOW, WINDOW), STATUS_CANNOT, "each of");
    check(RUN("copy", path, WINDOW "@x"), STATUS_CANNOT, "no place");
    check(RUN("copy", "--pages=x", path, WINDOW), STATUS_CANNOT,
          "auto, generic or p2pdma");
    check(RUN("copy", "--client=x", path, WINDOW), STATUS_CANNOT, "--client");
    check(RUN("copy", "/nonexistent/file", WINDOW), STATUS_CANNOT,
          "No such file");
    check(RUN("copy", "/dev/null", WINDOW), STATUS_CANNOT, "block device");
    check(RUN("copy", path, WINDOW), STATUS_CANNOT, "a larger window");
    check(RUN("copy", WINDOW "@100", path), STATUS_CANNOT,
          "a multiple of 4096");
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    check(RUN("copy", path, WINDOW), STATUS_CANNOT, "is empty");
    g_assert_cmpuint(fake.direct, ==, 0);
    fake_end();
}

/* A short transfer is gone on with; one that ends within a block is not. */
static void test_copy_short(void)
{
    g_autofree uint8_t *data = make_file(3 * MIB);

    fake_begin();
    fake.break_at = 2;
    fake.break_size = 8192;
    check(RUN("copy", path, WINDOW), STATUS_OK, "3 MiB copied");
    check_window(data, 3 * MIB);
    fake.break_size = 1000;
    check(RUN("copy", path, WINDOW), STATUS_NO,
          "ended at byte 1049576, earlier");
    fake_end();
}

static void test_copy_error(void)
{
    g_autofree uint8_t *old = make_file(2 * MIB);
    g_autofree uint8_t *data = NULL;

    fake_begin();
    data = fill_window();
    fake.break_at = 2;
    fake.break_error = EIO;
    check(RUN("copy", path, WINDOW), STATUS_NO,
          "stopped at byte 1048576: Input/output error");
    fake.break_error = EREMOTEIO;
    check(RUN("copy", path, WINDOW), STATUS_NO, "--pages=generic");
    /* What was there stays, and nothing is beside it. */
    fake.break_error = ENOSPC;
    check(RUN("copy", WINDOW, path), STATUS_NO, "No space left");
    check_file(old, 2 * MIB);
    check_folder(1);
    fake_end();
}

static void test_copy_driver_fails(void)
{
    static const struct {
        unsigned long request;
        int error;
        const char *text;
    } failures[] = {
        { P2P_BRIDGE_IOC_WINDOWS, EIO, "cannot be listed" },
        { P2P_BRIDGE_IOC_SHARE, EACCES, "cannot be shared" },
        { P2P_BRIDGE_IOC_ATTACH, EHOSTDOWN, "does not decode memory" },
        { P2P_BRIDGE_IOC_MEMORY, EOPNOTSUPP, "--pages=auto" },
    };
    g_autofree uint8_t *old = make_file(MIB);

    for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
        fake_begin();
        fake.fail = failures[i].request;
        fake.error = failures[i].error;
        check(RUN("copy", WINDOW, path), STATUS_NO, failures[i].text);
        check_file(old, MIB);
        check_folder(1);
        fake_end();
    }
}

static void test_copy_interrupted(void)
{
    g_autofree uint8_t *old = make_file(MIB);
    g_autofree uint8_t *data = NULL;

    fake_begin();
    data = fill_window();
    fake.break_at = 3;
    fake.break_error = EINTR;
    /* Not one of those that end it */
    signal(SIGUSR1, SIG_IGN);
    fake.raise = SIGUSR1;
    check(RUN("copy", "--verify", WINDOW, path), STATUS_OK, "same");
    check_file(data, FAKE_WINDOW_SIZE);
    g_assert_true(g_file_set_contents(path, (char *)old, MIB, NULL));
    fake.raise = SIGTERM;
    check(RUN("copy", WINDOW, path), STATUS_CANNOT,
          "interrupted at byte 2097152");
    check_file(old, MIB);
    check_folder(1);
    fake_end();
}

/* By an error of a transfer, or by SIGBUS where the CPU reads it */
static void test_copy_revoked(void)
{
    static const char *const why = "was revoked at byte 1048576: the host has";
    g_autofree uint8_t *data = make_file(2 * MIB - 100);

    fake_begin();
    fake.break_at = 2;
    fake.revoke = true;
    fake.break_error = EFAULT;
    check(RUN("copy", path, WINDOW), STATUS_NO, why);
    fake_end();

    fake_begin();
    fake.break_at = 3;
    fake.revoke = true;
    check(RUN("copy", path, WINDOW), STATUS_NO, "was revoked at byte 2093056");
    fake_end();

    fake_begin();
    fake.break_at = 5;
    fake.revoke = true;
    check(RUN("copy", "--verify", path, WINDOW), STATUS_NO, why);
    fake_end();
}

static void test_copy_differs(void)
{
    g_autofree uint8_t *data = make_file(2 * MIB + 5000);

    fake_begin();
    /* 3 reads and a tail; the second one of the comparison */
    fake.break_at = 6;
    fake.spoil = true;
    check(RUN("copy", "--verify", path, WINDOW), STATUS_NO,
          "differ from byte 2097151 on");
    fake_end();
}

/* --- All ----------------------------------------------------------------- */

static void test_message(void)
{
    fake_begin();
    fake.node = 100;
    check(RUN("copy", "a\nb\033[1m", "c\n"), STATUS_CANNOT,
          "'a?b?[1m' and 'c?'");
    fake_end();
}

static void test_help(void)
{
    if (g_test_subprocess()) {
        RUN("copy", "--help");
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("bridge-XXXXXX", NULL);
    path = g_build_filename(folder, "file", NULL);
    g_test_add_func("/bridge-command/sizes", test_sizes);
    g_test_add_func("/bridge-command/places", test_places);
    g_test_add_func("/bridge-command/list", test_list);
    g_test_add_func("/bridge-command/list/fails", test_list_fails);
    g_test_add_func("/bridge-command/watch", test_watch);
    g_test_add_func("/bridge-command/share", test_share);
    g_test_add_func("/bridge-command/share/refused", test_share_refused);
    g_test_add_func("/bridge-command/translate", test_translate);
    g_test_add_func("/bridge-command/translate/refused",
                    test_translate_refused);
    g_test_add_func("/bridge-command/copy/to-window", test_copy_to_window);
    g_test_add_func("/bridge-command/copy/to-file", test_copy_to_file);
    g_test_add_func("/bridge-command/copy/buffered", test_copy_buffered);
    g_test_add_func("/bridge-command/copy/replaces", test_copy_replaces);
    g_test_add_func("/bridge-command/copy/usage", test_copy_usage);
    g_test_add_func("/bridge-command/copy/short", test_copy_short);
    g_test_add_func("/bridge-command/copy/error", test_copy_error);
    g_test_add_func("/bridge-command/copy/driver-fails",
                    test_copy_driver_fails);
    g_test_add_func("/bridge-command/copy/interrupted",
                    test_copy_interrupted);
    g_test_add_func("/bridge-command/copy/revoked", test_copy_revoked);
    g_test_add_func("/bridge-command/copy/differs", test_copy_differs);
    g_test_add_func("/bridge-command/message", test_message);
    g_test_add_func("/bridge-command/help", test_help);
    status = g_test_run();
    g_unlink(path);
    g_rmdir(folder);
    g_free(path);
    g_free(folder);
    return status;
}
