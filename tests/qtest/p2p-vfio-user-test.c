/*
 * Groups of passthrough devices that need no hardware: vfio-user
 *
 * Each device is a process (vfio-user-server.c) that tells which addresses it
 * may reach, so the tests see what an IOMMU would hold. QEMU waits for the
 * answers to its DMA_MAP and DMA_UNMAP messages, and the server tells before
 * it answers: after an access of the guest has returned, all is there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "standard-headers/linux/pci_regs.h"
#include "p2p-monitor.h"
#include "p2p-testdev.h"
#include "vfio-user-device.h"

/* Guest physical addresses of device N, which is in slot SLOT(N) */
#define SLOT(n)      (4 + (n))
#define BAR2(n)      (64 * GiB + (n) * 16 * MiB)
/* Of the same lower half: a single write moves the BAR. */
#define ELSEWHERE(n) (BAR2(n) + 16 * GiB)
#define SIZE(n)      ((1 + ((n) & 1)) * MiB)

#define DEVICES 3
#define T_SLOT      7
#define T_REGISTERS 0xc0000000

/* 128 MiB of guest RAM but where the firmware is; its file comes along */
#define RAM "0x0+0xc0000:rw:fd 0x100000+0x7f00000:rw:fd"

/* --- Servers ----------------------------------------------------------- */

typedef struct Region {
    uint64_t iova;
    uint64_t size;
    bool mapped;
    char access[4];
    char file[4];
} Region;

typedef struct Server {
    VfioUserServer process;
    GString *log;     /* map and unmap lines since server_clear() */
    GArray *regions;  /* of Region: what the device can reach now */
} Server;

static char *folder;

static char *socket_path(unsigned n)
{
    return g_strdup_printf("%s/%u", folder, n);
}

static Region parse_line(const char *line)
{
    Region region = {};

    if (sscanf(line, "map %" SCNx64 " %" SCNx64 " %3s %3s", &region.iova,
               &region.size, region.access, region.file) == 4) {
        region.mapped = true;
    } else if (sscanf(line, "unmap %" SCNx64 " %" SCNx64, &region.iova,
                      &region.size) != 2) {
        g_error("vfio-user-server said: %s", line);
    }
    return region;
}

static gint compare_regions(gconstpointer a, gconstpointer b)
{
    const Region *x = a, *y = b;

    return x->iova < y->iova ? -1 : x->iova > y->iova;
}

static void server_apply(Server *server, const Region *change)
{
    if (change->mapped) {
        g_array_append_val(server->regions, *change);
        g_array_sort(server->regions, compare_regions);
        return;
    }
    for (guint i = 0; i < server->regions->len; i++) {
        Region *r = &g_array_index(server->regions, Region, i);

        if (r->iova == change->iova && r->size == change->size) {
            g_array_remove_index(server->regions, i);
            return;
        }
    }
    g_assert_not_reached();
}

/* Take in all that the server has said so far. */
static void server_listen(Server *server)
{
    gsize known = server->log->len;
    g_auto(GStrv) lines = NULL;
    char buffer[4096];
    ssize_t n;

    while ((n = read(server->process.out, buffer, sizeof(buffer))) > 0) {
        g_string_append_len(server->log, buffer, n);
    }
    g_assert_true(n < 0 && errno == EAGAIN);

    lines = g_strsplit(server->log->str + known, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (lines[i][0]) {
            Region change = parse_line(lines[i]);

            server_apply(server, &change);
        }
    }
}

static void server_clear(Server *server)
{
    server_listen(server);
    g_string_truncate(server->log, 0);
}

static void server_start(Server *server, unsigned n, bool intx)
{
    g_autofree char *path = socket_path(n);

    vfio_user_server_start(&server->process, path, SIZE(n),
                           intx ? "--intx" : NULL);
    server->log = g_string_new("");
    server->regions = g_array_new(false, false, sizeof(Region));
}

/* Returns its exit status. */
static int server_wait(Server *server, unsigned n)
{
    g_autofree char *path = socket_path(n);
    int status = vfio_user_server_wait(&server->process, path);

    g_string_free(server->log, true);
    g_array_unref(server->regions);
    *server = (Server) {};
    return status;
}

/* It ends by itself when its client does. */
static void server_end(Server *server, unsigned n)
{
    g_assert_cmpint(server_wait(server, n), ==, 0);
}

/* --- Machine ----------------------------------------------------------- */

/* v0 .. v2, as many as the command line has, and t if that is there. */
typedef struct Machine {
    QTestState *qts;
    Server server[DEVICES];
    GuestPci pci[DEVICES];
} Machine;

/* @properties: as in JSON, each with a comma in front */
static char *device_json(unsigned n, const char *properties)
{
    g_autofree char *path = socket_path(n);
    g_autofree char *id = g_strdup_printf("v%u", n);

    return vfio_user_device_json(id, SLOT(n), path, properties);
}

static void place(Machine *m, unsigned n)
{
    m->pci[n] = (GuestPci) { .qts = m->qts, .devfn = SLOT(n) << 3 };
    g_assert_true(guest_pci_exists(&m->pci[n]));
    guest_pci_bar_map(&m->pci[n], 2, (P2PGuestAddr) { BAR2(n) });
    guest_pci_command(&m->pci[n], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
}

static void place_all(Machine *m)
{
    for (unsigned n = 0; n < DEVICES; n++) {
        if (m->server[n].process.pid) {
            place(m, n);
        }
    }
}

/* Its devices have no address yet. */
static Machine machine_new_unplaced(const char *options, const char *v0,
                                    const char *v1, const char *v2)
{
    const char *properties[DEVICES] = { v0, v1, v2 };
    g_autoptr(GString) args = g_string_new(
        "-nodefaults -m 128 "
        "-object memory-backend-memfd,id=ram,size=128M,share=on ");
    Machine m = {};

    g_string_append_printf(args, "%s ", options);
    for (unsigned n = 0; n < DEVICES; n++) {
        if (properties[n]) {
            g_autofree char *json = device_json(n, properties[n]);

            server_start(&m.server[n], n, false);
            g_string_append_printf(args, "-device '%s' ", json);
        }
    }
    m.qts = qtest_init(args->str);
    return m;
}

static Machine machine_new(const char *options, const char *v0,
                           const char *v1, const char *v2)
{
    Machine m = machine_new_unplaced(options, v0, v1, v2);

    place_all(&m);
    return m;
}

#define Q35 "-machine q35,memory-backend=ram -object p2p-group,id=g0 "
#define MEMBER ",\"p2p-group\":\"g0\""

/* Two members, and a device that is none. */
static Machine machine_default(void)
{
    return machine_new(Q35, MEMBER, MEMBER, "");
}

static void machine_clear(Machine *m)
{
    for (unsigned n = 0; n < DEVICES; n++) {
        if (m->server[n].process.pid) {
            server_clear(&m->server[n]);
        }
    }
}

static void machine_end(Machine *m)
{
    qtest_quit(m->qts);
    for (unsigned n = 0; n < DEVICES; n++) {
        if (m->server[n].process.pid) {
            server_end(&m->server[n], n);
        }
    }
}

/* --- What is there ----------------------------------------------------- */

/* What device @n reaches: guest RAM, and @windows as IOVA+SIZE:ACCESS:FILE. */
static void expect_dma(Machine *m, unsigned n, const char *windows)
{
    g_autofree char *expected = g_strdup_printf("%s%s%s", RAM,
                                                *windows ? " " : "", windows);
    g_autoptr(GString) text = g_string_new("");

    server_listen(&m->server[n]);
    for (guint i = 0; i < m->server[n].regions->len; i++) {
        Region *r = &g_array_index(m->server[n].regions, Region, i);

        g_string_append_printf(text, "%s0x%" PRIx64 "+0x%" PRIx64 ":%s:%s",
                               i ? " " : "", r->iova, r->size, r->access,
                               r->file);
    }
    g_test_message("device %u", n);
    g_assert_cmpstr(text->str, ==, expected);
}

/* What device @n was told since machine_clear(), and nothing else. */
static void expect_log(Machine *m, unsigned n, const char *log)
{
    server_listen(&m->server[n]);
    g_assert_cmpstr(m->server[n].log->str, ==, log);
}

static void expect_state(Machine *m, unsigned n, const char *state,
                         uint64_t gpa)
{
    g_autofree char *name = g_strdup_printf("v%u", n);
    g_autoptr(QDict) window = p2p_monitor_window(m->qts, name, 2, 0);
    g_autofree char *other = g_strdup_printf("v%u", !n);
    const QDict *grant;
    bool mapped = g_str_equal(state, "mapped");

    g_assert_nonnull(window);
    g_assert_cmpstr(qdict_get_str(window, "state"), ==, state);
    g_assert_cmphex(p2p_monitor_uint(window, "size"), ==, SIZE(n));
    g_assert_true(qdict_get_bool(window, "cpu-mappable"));
    if (mapped) {
        g_assert_cmphex(p2p_monitor_uint(window, "gpa"), ==, gpa);
    }
    grant = p2p_monitor_grant(window, other);
    g_assert_nonnull(grant);
    g_assert_cmpstr(qdict_get_str(grant, "map-type"), ==, "thru-host-bridge");
    g_assert_cmpint(qdict_get_bool(grant, "installed"), ==, mapped);
    g_assert_cmpint(qdict_haskey(grant, "reason"), ==, !mapped);
    g_assert_cmpuint(p2p_monitor_uint(grant, "failures"), ==, 0);
    g_assert_cmpuint(p2p_monitor_uint(grant, "maps"), ==,
                     p2p_monitor_uint(grant, "unmaps") + mapped);
    /* There is no function of the host that could have a path. */
    g_assert_false(qdict_haskey(grant, "path"));
}

/* errno of p2p-translate. */
static int translate(Machine *m, const char *initiator, uint64_t gpa,
                     uint32_t flags)
{
    P2PGuestVec in = { .addr = { gpa }, .len = 4096, .flags = flags };
    P2PBusVec out[2];
    size_t n = ARRAY_SIZE(out);
    int ret = p2p_monitor_translate(m->qts, initiator, &in, 1, out, &n);

    if (!ret) {
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmphex(out[0].addr.bus, ==, gpa);
        g_assert_cmpuint(out[0].len, ==, 4096);
        g_assert_cmpint(!!(out[0].flags & P2P_VEC_IO), ==, gpa >= 64 * GiB);
    }
    return -ret;
}

/* The BAR is the device's memory, through its mapping and without it. */
static void expect_memory(Machine *m, uint64_t gpa)
{
    static uint64_t value = 0x1122334455667788;

    qtest_writeq(m->qts, gpa, ++value);
    g_assert_cmphex(qtest_readq(m->qts, gpa), ==, value);
}

#define V0 "0x1000000000+0x100000:rw:-"
#define V1 "0x1001000000+0x200000:rw:-"

static void expect_default(Machine *m)
{
    expect_dma(m, 0, V0 " " V1);
    expect_dma(m, 1, V0 " " V1);
    expect_dma(m, 2, "");
}

/* --- Tests ------------------------------------------------------------- */

static void test_members(void)
{
    Machine m = machine_default();

    for (unsigned n = 0; n < 2; n++) {
        g_autofree char *name = g_strdup_printf("v%u", n);
        g_autoptr(QDict) member = p2p_monitor_member(m.qts, name);

        g_assert_cmpstr(qdict_get_str(member, "kind"), ==, "passthrough");
        g_assert_true(qdict_get_bool(member, "initiate"));
        g_assert_false(qdict_haskey(member, "host-bdf"));
        g_assert_cmpuint(qlist_size(qdict_get_qlist(member, "windows")), ==,
                         1);
        expect_state(&m, n, "mapped", BAR2(n));
        expect_memory(&m, BAR2(n));
        expect_memory(&m, BAR2(n) + SIZE(n) - 8);
    }
    g_assert_null(p2p_monitor_member(m.qts, "v2"));
    expect_memory(&m, BAR2(2));
    machine_end(&m);
}

/* Windows are put into the IOMMU one by one: VFIO's own view has but RAM. */
static void test_backing(void)
{
    Machine m = machine_default();
    g_autofree char *tree = qtest_hmp(m.qts, "info mtree -f");
    char *view = strstr(tree, "AS \"p2p:g0\"");
    char *end = view ? strstr(view, "FlatView") : NULL;

    g_assert_nonnull(strstr(tree, "ramd): vfio-user:"));
    g_assert_nonnull(view);
    if (end) {
        *end = 0;
    }
    g_assert_nonnull(strstr(view, "(prio 0, ram): ram"));
    g_assert_null(strstr(view, "vfio-user:"));
    machine_end(&m);
}

static void test_windows(void)
{
    Machine m = machine_default();

    expect_default(&m);
    machine_end(&m);
}

/* Without a group a device reaches all that the CPUs do, as in stock QEMU. */
static void test_no_group(void)
{
    Machine m = machine_new("-machine q35,memory-backend=ram", "", "", NULL);
    guint n = 0;

    server_listen(&m.server[0]);
    for (guint i = 0; i < m.server[0].regions->len; i++) {
        Region *r = &g_array_index(m.server[0].regions, Region, i);

        n += r->iova == BAR2(0) || r->iova == BAR2(1);
    }
    g_assert_cmpuint(n, ==, 2);
    machine_end(&m);
}

static void test_no_address_yet(void)
{
    Machine m = machine_new_unplaced(Q35, MEMBER, MEMBER, "");

    for (unsigned n = 0; n < DEVICES; n++) {
        expect_dma(&m, n, "");
    }
    expect_state(&m, 0, "unmapped", 0);
    machine_end(&m);
}

static void test_move(void)
{
    Machine m = machine_default();

    machine_clear(&m);
    guest_pci_bar_map(&m.pci[1], 2, (P2PGuestAddr) { ELSEWHERE(1) });
    for (unsigned n = 0; n < 2; n++) {
        expect_log(&m, n, "unmap 0x1001000000 0x200000\n"
                          "map 0x1401000000 0x200000 rw -\n");
        expect_dma(&m, n, V0 " 0x1401000000+0x200000:rw:-");
    }
    expect_log(&m, 2, "");
    expect_state(&m, 1, "mapped", ELSEWHERE(1));
    expect_memory(&m, ELSEWHERE(1));
    g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, EFAULT);
    g_assert_cmpint(translate(&m, "v0", ELSEWHERE(1), P2P_VEC_READ), ==, 0);

    /* The BAR of a device that is no member moves unnoticed. */
    machine_clear(&m);
    guest_pci_bar_map(&m.pci[2], 2, (P2PGuestAddr) { ELSEWHERE(2) });
    for (unsigned n = 0; n < DEVICES; n++) {
        expect_log(&m, n, "");
    }
    machine_end(&m);
}

/* The windows have gone when the guest's write to the register returns. */
static void test_decode(void)
{
    Machine m = machine_default();

    for (unsigned i = 0; i < 3; i++) {
        machine_clear(&m);
        guest_pci_command(&m.pci[1], 0, PCI_COMMAND_MEMORY);
        for (unsigned n = 0; n < 2; n++) {
            expect_log(&m, n, "unmap 0x1001000000 0x200000\n");
            expect_dma(&m, n, V0);
        }
        expect_log(&m, 2, "");
        expect_state(&m, 1, "unmapped", 0);
        g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==,
                        ESTALE);

        guest_pci_command(&m.pci[1], PCI_COMMAND_MEMORY, 0);
        expect_default(&m);
        expect_state(&m, 1, "mapped", BAR2(1));
        g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, 0);
    }
    machine_end(&m);
}

static void test_reset(void)
{
    Machine m = machine_default();

    qtest_system_reset(m.qts);
    for (unsigned n = 0; n < DEVICES; n++) {
        expect_dma(&m, n, "");
    }
    expect_state(&m, 0, "unmapped", 0);
    place_all(&m);
    expect_default(&m);
    machine_end(&m);
}

static void test_ranges(void)
{
    Machine m = machine_new(Q35, MEMBER, MEMBER ",\"p2p-share\":"
                            "\"bar2:ro@0x1000-0x3000+bar2@0x3000-0x4000+"
                            "bar2:ro@0x100000-0x200000\"", NULL);

    for (unsigned n = 0; n < 2; n++) {
        expect_dma(&m, n, V0 " 0x1001001000+0x2000:r:- "
                   "0x1001003000+0x1000:rw:- 0x1001100000+0x100000:r:-");
    }
    g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, EFAULT);
    g_assert_cmpint(translate(&m, "v0", BAR2(1) + 0x1000, P2P_VEC_READ), ==,
                    0);
    g_assert_cmpint(translate(&m, "v0", BAR2(1) + 0x1000, P2P_VEC_WRITE), ==,
                    EACCES);
    g_assert_cmpint(translate(&m, "v0", BAR2(1) + 0x3000, P2P_VEC_WRITE), ==,
                    0);

    machine_clear(&m);
    guest_pci_bar_map(&m.pci[1], 2, (P2PGuestAddr) { ELSEWHERE(1) });
    expect_dma(&m, 0, V0 " 0x1401001000+0x2000:r:- "
               "0x1401003000+0x1000:rw:- 0x1401100000+0x100000:r:-");
    machine_end(&m);
}

static void test_share_none(void)
{
    Machine m = machine_new(Q35, MEMBER, MEMBER ",\"p2p-share\":\"none\"",
                            NULL);

    expect_dma(&m, 0, V0);
    expect_dma(&m, 1, V0);
    g_assert_null(p2p_monitor_window(m.qts, "v1", 2, 0));
    g_assert_cmpint(translate(&m, "v1", BAR2(0), P2P_VEC_WRITE), ==, 0);
    g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, EFAULT);
    machine_end(&m);
}

static void test_no_initiator(void)
{
    Machine m = machine_new(Q35, MEMBER, MEMBER ",\"p2p-initiate\":false",
                            NULL);
    g_autoptr(QDict) window = p2p_monitor_window(m.qts, "v0", 2, 0);

    expect_dma(&m, 0, V0 " " V1);
    expect_dma(&m, 1, "");
    g_assert_null(p2p_monitor_grant(window, "v1"));
    g_assert_cmpint(translate(&m, "v1", BAR2(0), P2P_VEC_READ), ==, EACCES);
    g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, 0);
    machine_end(&m);
}

static void test_two_groups(void)
{
    Machine m = machine_new(Q35 "-object p2p-group,id=g1", MEMBER,
                            ",\"p2p-group\":\"g1\"", ",\"p2p-group\":\"g1\"");

    expect_dma(&m, 0, V0);
    expect_dma(&m, 1, V1 " 0x1002000000+0x100000:rw:-");
    expect_dma(&m, 2, V1 " 0x1002000000+0x100000:rw:-");
    g_assert_cmpint(translate(&m, "v0", BAR2(1), P2P_VEC_READ), ==, EFAULT);
    g_assert_cmpint(translate(&m, "v1", BAR2(2), P2P_VEC_READ), ==, 0);
    machine_end(&m);
}

static void test_translate(void)
{
    Machine m = machine_default();
    P2PGuestVec in[] = {
        { .addr = { 2 * MiB }, .len = 4096, .flags = P2P_VEC_WRITE },
        { .addr = { BAR2(1) + SIZE(1) - 4096 }, .len = 4096,
          .flags = P2P_VEC_WRITE },
        { .addr = { BAR2(0) }, .len = 4096, .flags = P2P_VEC_WRITE },
    };
    const uint32_t flags[] = {
        P2P_VEC_RAM | P2P_MAP_NONE << P2P_VEC_MAP_SHIFT,
        P2P_VEC_IO | P2P_MAP_THRU_HOST_BRIDGE << P2P_VEC_MAP_SHIFT,
        P2P_VEC_IO | P2P_VEC_SELF |
            P2P_MAP_THRU_HOST_BRIDGE << P2P_VEC_MAP_SHIFT,
    };
    P2PBusVec out[4];
    size_t n = ARRAY_SIZE(out);

    g_assert_cmpint(p2p_monitor_translate(m.qts, "v0", in, ARRAY_SIZE(in),
                                          out, &n), ==, 0);
    g_assert_cmpuint(n, ==, ARRAY_SIZE(in));
    for (size_t i = 0; i < n; i++) {
        g_assert_cmphex(out[i].addr.bus, ==, in[i].addr.gpa);
        g_assert_cmpuint(out[i].len, ==, 4096);
        g_assert_cmphex(out[i].flags, ==, flags[i]);
    }
    g_assert_cmpint(translate(&m, "v0", BAR2(1) + SIZE(1) - 2048,
                              P2P_VEC_READ), ==, EFAULT);
    g_assert_cmpint(translate(&m, "v0", BAR2(2), P2P_VEC_READ), ==, EFAULT);
    machine_end(&m);
}

/* It is tried whether the windows can be mapped; nothing of that stays. */
static void test_require(void)
{
    Machine m = machine_new_unplaced("-machine q35,memory-backend=ram "
                                     "-object p2p-group,id=g0,policy=require",
                                     MEMBER, MEMBER, NULL);

    expect_dma(&m, 0, "");
    expect_dma(&m, 1, "");
    expect_state(&m, 1, "unmapped", 0);
    place_all(&m);
    expect_dma(&m, 0, V0 " " V1);
    expect_dma(&m, 1, V0 " " V1);
    expect_state(&m, 0, "mapped", BAR2(0));
    machine_end(&m);
}

/*
 * The library of the server keeps 16 regions, 2 of them are guest RAM. What
 * it refuses is no grant, although the devices work.
 */
static void test_server_refuses(void)
{
    g_autoptr(GString) share = g_string_new("");
    Machine m;

    for (unsigned i = 0; i < 17; i++) {
        g_string_append_printf(share, "%sbar2:%s@0x%x-0x%x", i ? "+" : "",
                               i & 1 ? "ro" : "rw", i * 0x1000,
                               (i + 1) * 0x1000);
    }
    g_string_prepend(share, MEMBER ",\"p2p-share\":\"");
    g_string_append(share, "\"");
    m = machine_new(Q35, MEMBER ",\"p2p-share\":\"none\"", share->str, NULL);

    server_listen(&m.server[0]);
    g_assert_cmpuint(m.server[0].regions->len, ==, 16);
    for (unsigned i = 0; i < 17; i++) {
        g_autoptr(QDict) window = p2p_monitor_window(m.qts, "v1", 2,
                                                     i * 0x1000);
        const QDict *grant = p2p_monitor_grant(window, "v0");
        bool fits = i < 14;

        g_test_message("window %u", i);
        g_assert_cmpint(qdict_get_bool(grant, "installed"), ==, fits);
        g_assert_cmpuint(p2p_monitor_uint(grant, "failures"), ==, !fits);
        g_assert_cmpint(translate(&m, "v0", BAR2(1) + i * 0x1000,
                                  P2P_VEC_READ), ==, fits ? 0 : EACCES);
        if (!fits) {
            g_assert_cmpint(qdict_get_int(grant, "last-errno"), ==, EINVAL);
            g_assert_nonnull(strstr(qdict_get_str(grant, "reason"),
                                    "vfio-user server has refused it"));
        }
    }
    guest_pci_command(&m.pci[1], 0, PCI_COMMAND_MEMORY);
    expect_dma(&m, 0, "");
    expect_memory(&m, 1 * MiB);
    machine_end(&m);
}

static void expect_transfer(Machine *m, const TestDev *t, uint64_t gpa)
{
    uint8_t sent[512], received[512];

    for (unsigned i = 0; i < sizeof(sent); i++) {
        sent[i] = g_test_rand_int();
    }
    g_assert_true(testdev_write(t, (P2PBusAddr) { gpa }, sent, sizeof(sent)));
    qtest_memread(m->qts, gpa, received, sizeof(received));
    g_assert_cmpmem(sent, sizeof(sent), received, sizeof(received));

    memset(received, 0, sizeof(received));
    g_assert_true(testdev_read(t, (P2PBusAddr) { gpa }, received,
                               sizeof(received)));
    g_assert_cmpmem(sent, sizeof(sent), received, sizeof(received));
}

/* A device model moves data into the BAR of another process, and is reached. */
static void test_device_model(void)
{
    Machine m = machine_new(Q35 "-device p2p-testdev,id=t,addr=7.0,"
                            "p2p-group=g0,p2p-share=bar2", MEMBER, MEMBER
                            ",\"p2p-share\":\"bar2:ro@0-0x1000+"
                            "bar2@0x1000-0x2000\"", "");
    TestDev t = testdev_start(m.qts, T_SLOT << 3,
                              (P2PGuestAddr) { T_REGISTERS });
    uint64_t word = 0;

    expect_transfer(&m, &t, BAR2(0));
    expect_transfer(&m, &t, BAR2(0) + SIZE(0) - 512);
    expect_transfer(&m, &t, BAR2(1) + 0x1000);

    qtest_writeq(m.qts, BAR2(1), 0x55);
    g_assert_true(testdev_read(&t, (P2PBusAddr) { BAR2(1) }, &word, 8));
    g_assert_cmphex(word, ==, 0x55);
    g_assert_false(testdev_write(&t, (P2PBusAddr) { BAR2(1) }, &word, 8));
    g_assert_false(testdev_write(&t, (P2PBusAddr) { BAR2(1) + 0x2000 },
                                 &word, 8));
    g_assert_false(testdev_read(&t, (P2PBusAddr) { BAR2(2) }, &word, 8));

    guest_pci_bar_map(&t.pci, 2, (P2PGuestAddr) { 96 * GiB });
    for (unsigned n = 0; n < 2; n++) {
        expect_dma(&m, n, V0 " 0x1001000000+0x1000:r:- "
                   "0x1001001000+0x1000:rw:- 0x1800000000+0x100000:rw:-");
    }
    expect_dma(&m, 2, "");

    guest_pci_command(&m.pci[0], 0, PCI_COMMAND_MEMORY);
    g_assert_false(testdev_write(&t, (P2PBusAddr) { BAR2(0) }, &word, 8));
    machine_end(&m);
}

/* --- Plug and unplug --------------------------------------------------- */

static QDict *plug(Machine *m, unsigned n, const char *properties, bool intx)
{
    g_autofree char *json = device_json(n, properties);

    server_start(&m->server[n], n, intx);
    return qtest_qmp(m->qts, "{ 'execute': 'device_add', 'arguments': %p }",
                     qobject_from_json(json, &error_abort));
}

static void test_hotplug(void)
{
    Machine m = machine_new("-machine pc,memory-backend=ram "
                            "-object p2p-group,id=g0", MEMBER, MEMBER, NULL);

    for (unsigned i = 0; i < 3; i++) {
        g_autoptr(QDict) reply = NULL;

        expect_dma(&m, 0, V0 " " V1);
        machine_clear(&m);
        qtest_qmp_device_del_send(m.qts, "v1");
        qtest_outl(m.qts, 0xae08, 1u << SLOT(1)); /* PIIX4: the guest's part */
        qtest_qmp_eventwait(m.qts, "DEVICE_DELETED");
        server_end(&m.server[1], 1);
        expect_log(&m, 0, "unmap 0x1001000000 0x200000\n");
        g_assert_null(p2p_monitor_member(m.qts, "v1"));
        expect_memory(&m, BAR2(0));

        reply = plug(&m, 1, MEMBER, false);
        g_assert_true(qdict_haskey(reply, "return"));
        expect_dma(&m, 1, V0);
        place(&m, 1);
        expect_dma(&m, 1, V0 " " V1);
        expect_state(&m, 0, "mapped", BAR2(0));
        expect_state(&m, 1, "mapped", BAR2(1));
    }
    machine_end(&m);
}

/* --- Migration --------------------------------------------------------- */

/* The state of the device would be lost. */
static void test_blocker(void)
{
    Machine m = machine_new("-machine pc,memory-backend=ram "
                            "-object p2p-group,id=g0", MEMBER, NULL, NULL);
    const char *desc;
    QDict *error;

    error = qtest_qmp_assert_failure_ref(m.qts, "{ 'execute': 'migrate', "
        "'arguments': { 'uri': 'exec:cat > /dev/null' } }");
    desc = qdict_get_str(error, "desc");
    g_assert_nonnull(strstr(desc, "v0: the state of a vfio-user device"));
    g_assert_nonnull(strstr(desc, "unplug it"));
    qobject_unref(error);
    expect_memory(&m, BAR2(0));

    qtest_qmp_device_del_send(m.qts, "v0");
    qtest_outl(m.qts, 0xae08, 1u << SLOT(0)); /* PIIX4: the guest's part */
    qtest_qmp_eventwait(m.qts, "DEVICE_DELETED");
    server_end(&m.server[0], 0);
    qtest_qmp_assert_success(m.qts, "{ 'execute': 'migrate', 'arguments': "
                             "{ 'uri': 'exec:cat > /dev/null' } }");
    machine_end(&m);
}

static void test_only_migratable(void)
{
    Machine m = machine_new("-machine pc,memory-backend=ram "
                            "-object p2p-group,id=g0 -only-migratable",
                            NULL, NULL, NULL);
    g_autoptr(QDict) reply = plug(&m, 0, MEMBER, false);
    const char *desc;

    g_assert_true(qdict_haskey(reply, "error"));
    desc = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
    g_test_message("%s", desc);
    g_assert_nonnull(strstr(desc, "--only-migratable"));
    g_assert_nonnull(strstr(desc, "v0: the state of a vfio-user device"));
    g_assert_null(p2p_monitor_member(m.qts, "v0"));
    server_end(&m.server[0], 0);
    machine_end(&m);
}

typedef struct Refusal {
    const char *properties;
    bool intx;
    bool connects;        /* before it is refused */
    const char *words[3]; /* all of which the message has */
} Refusal;

static const Refusal refusals[] = {
    { MEMBER ",\"p2p-share\":\"bar0\"", false, true, { "v1", "no BAR 0" } },
    { MEMBER ",\"p2p-share\":\"bar2@0-0x201000\"", false, true,
      { "v1", "ends beyond BAR 2", "0x200000 bytes" } },
    { MEMBER ",\"p2p-share\":\"bar2@0x800-0x1000\"", false, true,
      { "v1", "not aligned" } },
    { MEMBER ",\"p2p-share\":\"bar2\"", true, true,
      { "v1", "neither MSI nor MSI-X" } },
    { ",\"p2p-share\":\"bar2\"", false, false,
      { "v1", "without p2p-group" } },
    { ",\"p2p-group\":\"nil\"", false, false, { "p2p-group=nil" } },
};

/* The machine goes on, the device's process is let go. */
static void test_refusals(void)
{
    Machine m = machine_new("-machine pc,memory-backend=ram "
                            "-object p2p-group,id=g0", MEMBER, NULL, NULL);

    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autoptr(QDict) reply = NULL;
        const char *message;

        g_test_message("%s", refusals[i].properties);
        reply = plug(&m, 1, refusals[i].properties, refusals[i].intx);
        g_assert_true(qdict_haskey(reply, "error"));
        message = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
        for (unsigned w = 0; w < ARRAY_SIZE(refusals[i].words); w++) {
            if (refusals[i].words[w] &&
                !strstr(message, refusals[i].words[w])) {
                g_error("'%s' is not in: %s", refusals[i].words[w], message);
            }
        }
        if (refusals[i].connects) {
            server_end(&m.server[1], 1);
        } else {
            kill(m.server[1].process.pid, SIGKILL);
            server_wait(&m.server[1], 1);
        }
        expect_dma(&m, 0, V0);
    }
    machine_end(&m);
}

/* What INTx would take away is not shared, unless somebody asks for it. */
static void test_intx(void)
{
    Machine m = machine_new("-machine pc,memory-backend=ram "
                            "-object p2p-group,id=g0", MEMBER, NULL, NULL);
    g_autoptr(QDict) reply = plug(&m, 1, MEMBER, true);

    g_assert_true(qdict_haskey(reply, "return"));
    place(&m, 1);
    expect_dma(&m, 0, V0);
    expect_dma(&m, 1, V0);
    g_assert_null(p2p_monitor_window(m.qts, "v1", 2, 0));
    machine_end(&m);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("p2p-vfio-user-XXXXXX", NULL);
    g_assert_nonnull(folder);

    qtest_add_func("p2p/vfio-user/members", test_members);
    qtest_add_func("p2p/vfio-user/backing", test_backing);
    qtest_add_func("p2p/vfio-user/windows", test_windows);
    qtest_add_func("p2p/vfio-user/no-group", test_no_group);
    qtest_add_func("p2p/vfio-user/no-address-yet", test_no_address_yet);
    qtest_add_func("p2p/vfio-user/move", test_move);
    qtest_add_func("p2p/vfio-user/decode", test_decode);
    qtest_add_func("p2p/vfio-user/reset", test_reset);
    qtest_add_func("p2p/vfio-user/ranges", test_ranges);
    qtest_add_func("p2p/vfio-user/share-none", test_share_none);
    qtest_add_func("p2p/vfio-user/no-initiator", test_no_initiator);
    qtest_add_func("p2p/vfio-user/two-groups", test_two_groups);
    qtest_add_func("p2p/vfio-user/translate", test_translate);
    qtest_add_func("p2p/vfio-user/require", test_require);
    qtest_add_func("p2p/vfio-user/server-refuses", test_server_refuses);
    qtest_add_func("p2p/vfio-user/device-model", test_device_model);
    qtest_add_func("p2p/vfio-user/hotplug", test_hotplug);
    qtest_add_func("p2p/vfio-user/blocker", test_blocker);
    qtest_add_func("p2p/vfio-user/only-migratable", test_only_migratable);
    qtest_add_func("p2p/vfio-user/refusals", test_refusals);
    qtest_add_func("p2p/vfio-user/intx", test_intx);
    ret = g_test_run();

    rmdir(folder);
    g_free(folder);
    return ret;
}
