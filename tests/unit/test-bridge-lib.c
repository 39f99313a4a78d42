/*
 * libp2p-bridge over a driver that this test plays
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fake-bridge.h"

static struct p2p_bridge *begin(void)
{
    struct p2p_bridge *bridge;

    fake_begin();
    bridge = p2p_bridge_open(FAKE_NODE);
    g_assert_nonnull(bridge);
    return bridge;
}

static void end(struct p2p_bridge *bridge)
{
    p2p_bridge_close(bridge);
    fake_end();
}

static void test_open(void)
{
    struct p2p_bridge *bridge;

    fake_begin();
    bridge = p2p_bridge_open(NULL);
    g_assert_nonnull(bridge);
    g_assert_cmpint(p2p_bridge_fd(bridge), ==, fake.device);
    errno = 4711;
    end(bridge);
    g_assert_cmpint(errno, ==, 4711);
    p2p_bridge_close(NULL);
}

/* What is there and cannot be used is the reason, not what is not there. */
static void test_open_fails(void)
{
    fake_begin();
    fake.node = 1000;
    g_assert_null(p2p_bridge_open(NULL));
    g_assert_cmpint(errno, ==, ENOENT);
    fake.other_nodes = EACCES;
    g_assert_null(p2p_bridge_open(NULL));
    g_assert_cmpint(errno, ==, EACCES);
    fake.node = 2;
    fake.fail = P2P_BRIDGE_IOC_IDENTIFY;
    fake.error = ENOTTY;
    g_assert_null(p2p_bridge_open(FAKE_NODE));
    g_assert_cmpint(errno, ==, ENOTTY);
    /* It is closed again. */
    g_assert_cmpint(fake.opened, ==, 1);
    g_assert_cmpint(lseek(fake.device, 0, SEEK_CUR), ==, -1);
    g_assert_cmpint(errno, ==, EBADF);
    fake_end();
}

static void test_identify(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_identify identify;

    memset(&identify, 0xff, sizeof(identify));
    g_assert_cmpint(p2p_bridge_identify(bridge, &identify), ==, 0);
    g_assert_cmpuint(identify.slots, ==, 512);
    end(bridge);
}

/* --- Lists --------------------------------------------------------------- */

static void check_members(struct p2p_bridge *bridge, unsigned wanted)
{
    struct p2p_bridge_member *members = (void *)1;
    uint32_t generation = 0;
    size_t n = 4711;

    g_assert_cmpint(p2p_bridge_members(bridge, &members, &n, &generation), ==,
                    0);
    g_assert_cmpuint(n, ==, wanted);
    g_assert_cmpuint(generation, !=, 0);
    g_assert_true(!members == !wanted);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpuint(members[i].rid, ==,
                         i ? FAKE_TARGET + i - 1 : FAKE_INITIATOR);
    }
    free(members);
}

static void test_lists(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_host_window *windows;
    struct p2p_bridge_pair *pairs;
    size_t n;

    check_members(bridge, 2);
    fake.n_members = 0;
    check_members(bridge, 0);
    /* More than a call gives at once */
    fake.n_members = 1000;
    fake.per_call = 7;
    fake.lists = 0;
    check_members(bridge, 1000);
    g_assert_cmpuint(fake.lists, ==, 1 + (1000 + 6) / 7);

    g_assert_cmpint(p2p_bridge_windows(bridge, &windows, &n, NULL), ==, 0);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(windows->length, ==, FAKE_WINDOW_SIZE);
    free(windows);
    g_assert_cmpint(p2p_bridge_pairs(bridge, &pairs, &n, NULL), ==, 0);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(pairs->target, ==, FAKE_TARGET);
    free(pairs);
    end(bridge);
}

/* Pieces of two generations are no list. */
static void test_lists_change(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_member *members = (void *)1;
    size_t n = 4711;

    fake.n_members = 20;
    fake.per_call = 10;
    fake.changes = 4;
    check_members(bridge, 20);
    fake.changes = 1;
    g_assert_cmpint(p2p_bridge_members(bridge, &members, &n, NULL), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    g_assert_true(members == (void *)1 && n == 4711);
    end(bridge);
}

static void test_lists_fail(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_member *members;
    size_t n;

    fake.fail = P2P_BRIDGE_IOC_MEMBERS;
    fake.error = ENODEV;
    g_assert_cmpint(p2p_bridge_members(bridge, &members, &n, NULL), ==, -1);
    g_assert_cmpint(errno, ==, ENODEV);
    fake.fail = 0;
    fake.too_many = true;
    g_assert_cmpint(p2p_bridge_members(bridge, &members, &n, NULL), ==, -1);
    g_assert_cmpint(errno, ==, EPROTO);
    fake.too_many = false;
    fake.n_members = UINT32_MAX;
    g_assert_cmpint(p2p_bridge_members(bridge, &members, &n, NULL), ==, -1);
    g_assert_cmpint(errno, ==, EPROTO);
    end(bridge);
}

/* --- Windows ------------------------------------------------------------- */

static void test_window(void)
{
    struct p2p_bridge *bridge = begin();
    uint32_t window = 0;
    uint64_t offset = 0;

    g_assert_cmpint(p2p_bridge_share(bridge, FAKE_TARGET, 2, 0x1000, 0x3000,
                                     P2P_BRIDGE_ACCESS_RW, &window), ==, 0);
    g_assert_cmpuint(window, ==, FAKE_NUMBER);
    g_assert_cmpuint(fake.share.size, ==, sizeof(fake.share));
    g_assert_cmpuint(fake.share.flags, ==, 0);
    g_assert_cmpuint(fake.share.rid, ==, FAKE_TARGET);
    g_assert_cmpuint(fake.share.bar, ==, 2);
    g_assert_cmpuint(fake.share.offset, ==, 0x1000);
    g_assert_cmpuint(fake.share.length, ==, 0x3000);
    g_assert_cmpuint(fake.share.access, ==, P2P_BRIDGE_ACCESS_RW);
    g_assert_cmpuint(fake.share.window, ==, 0);

    g_assert_cmpint(p2p_bridge_attach(bridge, window, &offset), ==, 0);
    g_assert_cmpuint(offset, ==, 3 << 21);
    g_assert_cmpuint(fake.attach.size, ==, sizeof(fake.attach));
    g_assert_cmpuint(fake.attach.window, ==, window);
    g_assert_cmpint(p2p_bridge_attach(bridge, window, NULL), ==, 0);

    g_assert_cmpint(p2p_bridge_detach(bridge, window), ==, 0);
    g_assert_cmpuint(fake.detach.size, ==, sizeof(fake.detach));
    g_assert_cmpuint(fake.detach.window, ==, window);
    g_assert_cmpint(p2p_bridge_unshare(bridge, window), ==, 0);
    g_assert_cmpuint(fake.unshare.size, ==, sizeof(fake.unshare));
    g_assert_cmpuint(fake.unshare.window, ==, window);
    end(bridge);
}

static void test_window_fails(void)
{
    struct p2p_bridge *bridge = begin();
    uint32_t window = 4711;
    uint64_t offset = 4711;

    fake.error = EACCES;
    fake.fail = P2P_BRIDGE_IOC_SHARE;
    g_assert_cmpint(p2p_bridge_share(bridge, FAKE_TARGET, 2, 0, 4096, 0,
                                     &window), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    g_assert_cmpuint(window, ==, 4711);
    fake.fail = P2P_BRIDGE_IOC_ATTACH;
    g_assert_cmpint(p2p_bridge_attach(bridge, 1, &offset), ==, -1);
    g_assert_cmpuint(offset, ==, 4711);
    fake.fail = P2P_BRIDGE_IOC_DETACH;
    g_assert_cmpint(p2p_bridge_detach(bridge, 1), ==, -1);
    fake.fail = P2P_BRIDGE_IOC_UNSHARE;
    g_assert_cmpint(p2p_bridge_unshare(bridge, 1), ==, -1);
    fake.fail = P2P_BRIDGE_IOC_MEMORY;
    g_assert_cmpint(p2p_bridge_memory(bridge, 1, 0, 0), ==, -1);
    g_assert_null(p2p_bridge_map(bridge, 1, 0, 0, 4096, PROT_READ));
    g_assert_cmpint(errno, ==, EACCES);
    fake.fail = P2P_BRIDGE_IOC_DMA_BUF;
    g_assert_cmpint(p2p_bridge_dma_buf(bridge, 1, 0), ==, -1);
    end(bridge);
}

static void test_memory(void)
{
    struct p2p_bridge *bridge = begin();
    char *memory;
    int fd;

    fd = p2p_bridge_memory(bridge, 5, P2P_BRIDGE_PAGES_GENERIC,
                           FAKE_INITIATOR);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(fake.export_request, ==, P2P_BRIDGE_IOC_MEMORY);
    g_assert_cmpuint(fake.export.size, ==, sizeof(fake.export));
    g_assert_cmpuint(fake.export.flags, ==, 0);
    g_assert_cmpuint(fake.export.window, ==, 5);
    g_assert_cmpuint(fake.export.pages, ==, P2P_BRIDGE_PAGES_GENERIC);
    g_assert_cmpuint(fake.export.client, ==, FAKE_INITIATOR);
    close(fd);

    fd = p2p_bridge_dma_buf(bridge, 6, FAKE_INITIATOR);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(fake.export_request, ==, P2P_BRIDGE_IOC_DMA_BUF);
    g_assert_cmpuint(fake.export.pages, ==, 0);
    close(fd);

    memory = p2p_bridge_map(bridge, 5, 0, 0, 8192, PROT_READ | PROT_WRITE);
    g_assert_nonnull(memory);
    memory[4096] = 42;
    g_assert_cmpint(pread(fake.memory, memory, 1, 4096), ==, 1);
    g_assert_cmpint(memory[0], ==, 42);
    munmap(memory, 8192);
    /* The descriptor that it was made of is closed. */
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
    g_assert_null(p2p_bridge_map(bridge, 5, 0, 0, 0, PROT_READ));
    g_assert_cmpint(errno, ==, EINVAL);
    end(bridge);
}

/* --- Addresses ----------------------------------------------------------- */

static void test_translate(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_vec in = { .addr = 0x1234, .len = 99, .flags = 3 };
    struct p2p_bridge_vec out[2];
    struct p2p_bridge_fault fault;
    uint32_t n = 2;

    fake.answer.n_out = 1;
    fake.answer_vec.addr = 0x777;
    g_assert_cmpint(p2p_bridge_translate(bridge, FAKE_INITIATOR,
                                         P2P_BRIDGE_KIND_BUS, &in, 1, out, &n,
                                         &fault), ==, 0);
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpuint(out[0].addr, ==, 0x777);
    g_assert_cmpuint(fault.status, ==, 0);
    g_assert_cmpuint(fake.translate.size, ==, sizeof(fake.translate));
    g_assert_cmpuint(fake.translate.flags, ==, 0);
    g_assert_cmpuint(fake.translate.initiator, ==, FAKE_INITIATOR);
    g_assert_cmpuint(fake.translate.kind, ==, P2P_BRIDGE_KIND_BUS);
    g_assert_cmpuint(fake.translate.n_in, ==, 1);
    g_assert_cmpuint(fake.translate.n_out, ==, 2);
    g_assert_cmpuint(fake.translate_in.addr, ==, 0x1234);

    end(bridge);
}

/* What the driver calls an answer is a failure of the call. */
static void test_translate_fails(void)
{
    static const struct {
        uint32_t status;
        int error;
    } failures[] = {
        { P2P_BRIDGE_NO_SPACE, ENOSPC },
        { P2P_BRIDGE_NO_MEMBER, ENXIO },
        { P2P_BRIDGE_FAULT, EFAULT },
        { P2P_BRIDGE_BUS_REFUSED, EACCES },
        { P2P_BRIDGE_BAD_LENGTH, EINVAL },
        { P2P_BRIDGE_DMA_ERROR, EIO },
    };
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_vec in = { .len = 1 };
    struct p2p_bridge_vec out;
    struct p2p_bridge_fault fault;
    uint32_t n;

    for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
        fake.answer = (struct p2p_bridge_translate) {
            .n_out = 5, .status = failures[i].status, .index = 1, .reason = 2,
            .fault_addr = 3,
        };
        n = 1;
        g_assert_cmpint(p2p_bridge_translate(bridge, FAKE_INITIATOR, 0, &in,
                                             1, &out, &n, &fault), ==, -1);
        g_assert_cmpint(errno, ==, failures[i].error);
        g_assert_cmpuint(n, ==, 5);
        g_assert_cmpuint(fault.status, ==, failures[i].status);
        g_assert_cmpuint(fault.index, ==, 1);
        g_assert_cmpuint(fault.reason, ==, 2);
        g_assert_cmpuint(fault.address, ==, 3);
        g_assert_cmpint(p2p_bridge_translate(bridge, FAKE_INITIATOR, 0, &in,
                                             1, &out, &n, NULL), ==, -1);
    }
    fake.fail = P2P_BRIDGE_IOC_TRANSLATE;
    fake.error = EPERM;
    g_assert_cmpint(p2p_bridge_translate(bridge, FAKE_INITIATOR, 0, &in, 1,
                                         &out, &n, &fault), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpuint(fault.status, ==, 0);
    end(bridge);
}

static void test_bus_release(void)
{
    struct p2p_bridge *bridge = begin();

    g_assert_cmpint(p2p_bridge_bus_release(bridge, FAKE_INITIATOR,
                                           FAKE_TARGET), ==, 0);
    g_assert_cmpuint(fake.release.size, ==, sizeof(fake.release));
    g_assert_cmpuint(fake.release.initiator, ==, FAKE_INITIATOR);
    g_assert_cmpuint(fake.release.target, ==, FAKE_TARGET);
    end(bridge);
}

/* --- Events -------------------------------------------------------------- */

static void test_events(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_event event;

    g_assert_cmpint(p2p_bridge_event(bridge, &event, 0), ==, 0);
    g_assert_cmpint(p2p_bridge_event(bridge, &event, 20), ==, 0);
    fake_event(P2P_BRIDGE_EVENT_REVOKE, 1, 5);
    fake_event(P2P_BRIDGE_EVENT_REVOKED, 7, 5);
    g_assert_cmpint(p2p_bridge_event(bridge, &event, 0), ==, 1);
    g_assert_cmpuint(event.type, ==, P2P_BRIDGE_EVENT_REVOKE);
    g_assert_cmpint(p2p_bridge_event(bridge, &event, -1), ==, 1);
    g_assert_cmpuint(event.type, ==, P2P_BRIDGE_EVENT_REVOKED);
    g_assert_cmpuint(event.reason, ==, 7);
    g_assert_cmpuint(event.window, ==, 5);
    g_assert_cmpint(write(fake.events, "x", 1), ==, 1);
    g_assert_cmpint(p2p_bridge_event(bridge, &event, 0), ==, -1);
    g_assert_cmpint(errno, ==, EPROTO);
    end(bridge);
}

static gpointer send_event(gpointer unused)
{
    (void)unused;
    fake_event(P2P_BRIDGE_EVENT_CHANGED, 0, 0);
    return NULL;
}

static void test_event_waits(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_event event;
    GThread *thread = g_thread_new("driver", send_event, NULL);

    g_assert_cmpint(p2p_bridge_event(bridge, &event, -1), ==, 1);
    g_assert_cmpuint(event.type, ==, P2P_BRIDGE_EVENT_CHANGED);
    g_thread_join(thread);
    end(bridge);
}

static void nothing(int signal)
{
    (void)signal;
}

static void test_event_interrupted(void)
{
    struct p2p_bridge *bridge = begin();
    struct p2p_bridge_event event;
    struct sigaction action = { .sa_handler = nothing };

    sigaction(SIGALRM, &action, NULL);
    /* Again and again: the first may come too early. */
    ualarm(10000, 10000);
    g_assert_cmpint(p2p_bridge_event(bridge, &event, -1), ==, -1);
    g_assert_cmpint(errno, ==, EINTR);
    ualarm(0, 0);
    end(bridge);
}

/* --- Text ---------------------------------------------------------------- */

static void test_rid(void)
{
    static const char *const wrong[] = {
        "", "65:00.0 ", "0000:65:00.8", "0000:65:20.0", "65:00", "65:00.",
        "00000:65:00.0", "0000:65:00.00", "g000:65:00.0", "0000:65:00.0:",
        "0000-65:00.0", ":65:00.0", "000:65:00.0", "+5:00.0",
    };
    char text[P2P_BRIDGE_RID_CHARS];
    uint32_t rid = 4711;

    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_false(p2p_bridge_rid_parse(wrong[i], &rid));
        g_assert_cmpuint(rid, ==, 4711);
    }
    g_assert_true(p2p_bridge_rid_parse("65:00.0", &rid));
    g_assert_cmpuint(rid, ==, 0x6500);
    g_assert_true(p2p_bridge_rid_parse("fFff:Fe:1f.7", &rid));
    g_assert_cmpuint(rid, ==, 0xfffffeff);
    g_assert_cmpstr(p2p_bridge_rid_str(rid, text), ==, "ffff:fe:1f.7");
    g_assert_cmpstr(p2p_bridge_rid_str(0x6501, text), ==, "0000:65:00.1");
}

/* All numbers from @first to @last have words of their own, no other has. */
static void check_words(const char *(*str)(uint32_t), uint32_t first,
                        uint32_t last)
{
    GHashTable *seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (uint32_t i = first; i <= last; i++) {
        g_assert_cmpstr(str(i), !=, "unknown");
        g_assert_true(g_hash_table_add(seen, (char *)str(i)));
    }
    g_assert_cmpstr(str(last + 1), ==, "unknown");
    g_assert_cmpstr(str(UINT32_MAX), ==, "unknown");
    g_hash_table_unref(seen);
}

static const char *fault_str(uint32_t reason)
{
    struct p2p_bridge_fault fault = {
        .status = P2P_BRIDGE_FAULT, .reason = reason,
    };

    return p2p_bridge_fault_str(&fault);
}

static void test_words(void)
{
    struct p2p_bridge_fault fault = {
        .status = P2P_BRIDGE_BUS_REFUSED, .reason = P2P_BRIDGE_BUS_RAM,
    };

    check_words(p2p_bridge_path_str, 0, P2P_BRIDGE_PATH_SYS);
    check_words(p2p_bridge_map_type_str, 0, P2P_BRIDGE_MAP_CPU);
    check_words(p2p_bridge_event_str, 0, P2P_BRIDGE_EVENT_BUS_REVOKED);
    check_words(p2p_bridge_revoke_str, 1, P2P_BRIDGE_REVOKE_ACKNOWLEDGED);
    check_words(p2p_bridge_bus_str, 1, P2P_BRIDGE_BUS_RAM);
    check_words(fault_str, 1, P2P_BRIDGE_FAULT_OUTSIDE);
    g_assert_cmpstr(p2p_bridge_fault_str(&fault), ==, "it is guest RAM");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bridge-lib/open", test_open);
    g_test_add_func("/bridge-lib/open/fails", test_open_fails);
    g_test_add_func("/bridge-lib/identify", test_identify);
    g_test_add_func("/bridge-lib/lists", test_lists);
    g_test_add_func("/bridge-lib/lists/change", test_lists_change);
    g_test_add_func("/bridge-lib/lists/fail", test_lists_fail);
    g_test_add_func("/bridge-lib/window", test_window);
    g_test_add_func("/bridge-lib/window/fails", test_window_fails);
    g_test_add_func("/bridge-lib/memory", test_memory);
    g_test_add_func("/bridge-lib/translate", test_translate);
    g_test_add_func("/bridge-lib/translate/fails", test_translate_fails);
    g_test_add_func("/bridge-lib/bus-release", test_bus_release);
    g_test_add_func("/bridge-lib/events", test_events);
    g_test_add_func("/bridge-lib/event/waits", test_event_waits);
    g_test_add_func("/bridge-lib/event/interrupted", test_event_interrupted);
    g_test_add_func("/bridge-lib/rid", test_rid);
    g_test_add_func("/bridge-lib/words", test_words);
    return g_test_run();
}
