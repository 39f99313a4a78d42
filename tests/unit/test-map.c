/*
 * The window map: what is accepted, what is found, what is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include "hw/p2p/map.h"
#include "hw/p2p/topology.h"

#define ALL UINT64_MAX

static P2PWindow ram_window(uint64_t gpa, uint64_t size, uint64_t bus)
{
    return (P2PWindow) {
        .gpa = { gpa }, .size = size, .bus = { bus },
        .readers = ALL, .writers = ALL,
        .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM,
    };
}

static P2PWindow io_window(uint64_t gpa, uint64_t size, uint64_t bus,
                           uint16_t owner)
{
    P2PWindow w = ram_window(gpa, size, bus);

    w.kind = P2P_WINDOW_IO;
    w.owner = owner;
    return w;
}

static void assert_refused(const P2PWindow *windows, size_t n,
                           P2PMapError code, const char *part)
{
    GError *error = NULL;

    g_assert_null(p2p_map_new(windows, n, 0, &error));
    g_assert_error(error, P2P_MAP_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, part));
    g_error_free(error);

    g_assert_null(p2p_map_new(windows, n, 0, NULL));
}

static void test_empty(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(P2PMap) map = p2p_map_new(NULL, 0, 0, &error);
    P2PWindow w;

    g_assert_no_error(error);
    g_assert_nonnull(map);
    g_assert_cmpuint(p2p_map_size(map), ==, 0);
    g_assert_false(p2p_map_find(map, (P2PGuestAddr) { 0 }, &w));
    g_assert_false(p2p_map_find(map, (P2PGuestAddr) { UINT64_MAX }, &w));
}

static void test_sorted_copy(void)
{
    static const uint64_t order[] = { 0, 0x1000, 0x9000, UINT64_MAX - 0xfff };
    P2PWindow windows[] = {
        io_window(0x9000, 0x1000, 0x100000, 3),
        ram_window(0, 0x1000, 0),
        ram_window(UINT64_MAX - 0xfff, 0x1000, 0x5000),
        io_window(0x1000, 0x2000, 0x200000, P2P_NO_OWNER),
    };
    g_autoptr(P2PMap) map = p2p_map_new(windows, 4, 0, NULL);
    size_t i;

    memset(windows, 0xff, sizeof(windows));
    g_assert_nonnull(map);
    g_assert_cmpuint(p2p_map_size(map), ==, 4);
    for (i = 0; i < 4; i++) {
        g_assert_cmphex(p2p_map_window(map, i).gpa.gpa, ==, order[i]);
    }
    g_assert_cmpuint(p2p_map_window(map, 2).owner, ==, 3);
    g_assert_cmphex(p2p_map_window(map, 1).bus.bus, ==, 0x200000);
}

static void assert_window(P2PWindow a, P2PWindow b)
{
    g_assert_cmphex(a.gpa.gpa, ==, b.gpa.gpa);
    g_assert_cmphex(a.size, ==, b.size);
    g_assert_cmphex(a.bus.bus, ==, b.bus.bus);
    g_assert_true(a.host.hva == b.host.hva);
    g_assert_cmphex(a.readers, ==, b.readers);
    g_assert_cmphex(a.writers, ==, b.writers);
    g_assert_cmphex(a.unrouted, ==, b.unrouted);
    g_assert_cmpuint(a.owner, ==, b.owner);
    g_assert_cmpuint(a.kind, ==, b.kind);
    g_assert_cmpint(a.revoked, ==, b.revoked);
}

static void assert_found(const P2PMap *map, uint64_t addr, int index)
{
    P2PWindow w;
    bool found = p2p_map_find(map, (P2PGuestAddr) { addr }, &w);

    g_assert_cmpint(found, ==, index >= 0);
    if (found) {
        assert_window(w, p2p_map_window(map, index));
    }
}

static void test_find(void)
{
    const P2PWindow windows[] = {
        ram_window(0, 0x1000, 0),
        ram_window(0x1000, 1, 0x7000),
        ram_window(0x3000, 0x1000, 0x9000),
        ram_window(UINT64_MAX, 1, UINT64_MAX),
    };
    g_autoptr(P2PMap) map = p2p_map_new(windows, 4, 0, NULL);

    assert_found(map, 0, 0);
    assert_found(map, 0xfff, 0);
    assert_found(map, 0x1000, 1);
    assert_found(map, 0x1001, -1);
    assert_found(map, 0x2fff, -1);
    assert_found(map, 0x3000, 2);
    assert_found(map, 0x3fff, 2);
    assert_found(map, 0x4000, -1);
    assert_found(map, UINT64_MAX - 1, -1);
    assert_found(map, UINT64_MAX, 3);
}

/* No size says 2^64, so the largest window leaves out one byte. */
static void test_largest_window(void)
{
    const P2PWindow low = ram_window(0, UINT64_MAX, 0);
    const P2PWindow high = ram_window(1, UINT64_MAX, 1);
    g_autoptr(P2PMap) low_map = p2p_map_new(&low, 1, 0, NULL);
    g_autoptr(P2PMap) high_map = p2p_map_new(&high, 1, 0, NULL);

    assert_found(low_map, 0, 0);
    assert_found(low_map, UINT64_MAX - 1, 0);
    assert_found(low_map, UINT64_MAX, -1);
    assert_found(high_map, 0, -1);
    assert_found(high_map, 1, 0);
    assert_found(high_map, UINT64_MAX, 0);
}

/* --- Layouts that are searched in different ways --- */

typedef enum Layout {
    LOW,
    ABOVE_4G,
    ODD,
    TOP,
    AS_GUEST,   /* RAM, BARs below 4 GiB, RAM above, and BARs far above */
    UNEVEN,     /* of 16, each twice as far from the first as the one before */
    LAYOUTS
} Layout;

static uint64_t place(Layout layout, unsigned i, unsigned n)
{
    switch (layout) {
    case ABOVE_4G:
        return (UINT64_C(1) << 32) + i * UINT64_C(0x200000);
    case ODD:
        return 0x1003 + i * UINT64_C(0x3007);
    case TOP:
        return -((n - i) * UINT64_C(0x1000));
    case AS_GUEST:
        return i == 0 ? 0
             : i <= n / 4 ? 0xc0000000 + i * UINT64_C(0x4000)
             : i == n / 4 + 1 ? UINT64_C(1) << 32
             : (UINT64_C(1) << 45) + i * UINT64_C(0x1000000);
    case UNEVEN:
        return (uint64_t)(i / 16) << 40 | UINT64_C(0x1000) << i % 16;
    default:
        return i * UINT64_C(0x2000);
    }
}

static void check_layout(Layout layout, unsigned n)
{
    g_autofree P2PWindow *windows = g_new(P2PWindow, n);
    g_autoptr(P2PMap) map = NULL;

    for (unsigned i = 0; i < n; i++) {
        windows[i] = ram_window(place(layout, i, n), 0x1000, i * 0x1000);
    }
    map = p2p_map_new(windows, n, 0, NULL);
    g_assert_nonnull(map);
    for (unsigned i = 0; i < n; i++) {
        uint64_t first = windows[i].gpa.gpa;
        uint64_t last = first + 0xfff;
        bool after = i > 0 && first == windows[i - 1].gpa.gpa + 0x1000;
        bool before = i + 1 < n && last + 1 == windows[i + 1].gpa.gpa;

        assert_found(map, first, i);
        assert_found(map, first + 0x800, i);
        assert_found(map, last, i);
        if (first > 0) {
            assert_found(map, first - 1, after ? (int)i - 1 : -1);
        }
        if (last < UINT64_MAX) {
            assert_found(map, last + 1, before ? (int)i + 1 : -1);
        }
    }
    if (windows[0].gpa.gpa > 0) {
        assert_found(map, 0, -1);
    }
    if (windows[n - 1].gpa.gpa < UINT64_MAX - 0xfff) {
        assert_found(map, UINT64_MAX, -1);
        assert_found(map, UINT64_MAX - 0xfff, -1);
    }
}

static void test_layouts(void)
{
    static const unsigned sizes[] = {
        1, 2, 3, 16, 17, 64, 511, 512, 513, 3000
    };

    for (Layout layout = 0; layout < LAYOUTS; layout++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
            check_layout(layout, sizes[i]);
        }
    }
}

static void test_invalid(void)
{
    P2PWindow w = ram_window(0x1000, 0, 0);

    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "0x1000 is empty");

    w = ram_window(UINT64_MAX, 2, 0);
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "guest physical address");
    w = ram_window(0, 2, UINT64_MAX);
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "bus address");

    w = io_window(0, 0x1000, 0, P2P_MAX_INITIATORS);
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "no initiator number");
    w = io_window(0, 0x1000, 0, P2P_NO_OWNER - 1);
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "no initiator number");
    w = ram_window(0, 0x1000, 0);
    w.owner = 0;
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "RAM and yet has an owner");

    w = ram_window(0, 0x1000, 0);
    w.kind = P2P_WINDOW_IO + 1;
    assert_refused(&w, 1, P2P_MAP_ERROR_INVALID, "neither RAM nor I/O");
}

static void test_invalid_among_valid(void)
{
    const P2PWindow windows[] = {
        ram_window(0, 0x1000, 0),
        ram_window(0x2000, 0x1000, 0x2000),
        ram_window(0x4000, 0, 0x4000),
    };

    assert_refused(windows, 3, P2P_MAP_ERROR_INVALID, "0x4000");
}

static void test_overlap(void)
{
    P2PWindow windows[] = {
        ram_window(0x2000, 0x1000, 0),
        ram_window(0x1000, 0x1001, 0x10000),
    };

    assert_refused(windows, 2, P2P_MAP_ERROR_OVERLAP, "0x1000-0x2000");
    windows[1] = windows[0];
    assert_refused(windows, 2, P2P_MAP_ERROR_OVERLAP, "0x2000-0x2fff");
    windows[1] = ram_window(0x2800, 1, 0);
    assert_refused(windows, 2, P2P_MAP_ERROR_OVERLAP, "0x2800-0x2800");
    windows[1] = ram_window(0, UINT64_MAX, 0);
    assert_refused(windows, 2, P2P_MAP_ERROR_OVERLAP, "overlap");

    /* The end of the address space is not in front of its beginning. */
    windows[0] = ram_window(UINT64_MAX - 0xfff, 0x1000, 0);
    windows[1] = ram_window(UINT64_MAX, 1, 0);
    assert_refused(windows, 2, P2P_MAP_ERROR_OVERLAP, "overlap");
}

/* Two windows may lead to the same bytes of the bus. */
static void test_same_bus_address(void)
{
    const P2PWindow windows[] = {
        ram_window(0, 0x1000, 0x5000),
        ram_window(0x1000, 0x1000, 0x5000),
    };
    g_autoptr(P2PMap) map = p2p_map_new(windows, 2, 0, NULL);

    g_assert_nonnull(map);
}

static void test_free_null(void)
{
    p2p_map_free(NULL);
}

static void test_reasons(void)
{
    static const int errnos[P2P_FAULT__MAX] = {
        [P2P_FAULT_UNMAPPED] = EFAULT,
        [P2P_FAULT_NOT_GRANTED] = EACCES,
        [P2P_FAULT_READ_DENIED] = EACCES,
        [P2P_FAULT_WRITE_DENIED] = EACCES,
        [P2P_FAULT_REVOKED] = ESTALE,
        [P2P_FAULT_NO_SPACE] = ENOSPC,
        [P2P_FAULT_ZERO_LENGTH] = EINVAL,
        [P2P_FAULT_WRAPS] = EINVAL,
        [P2P_FAULT_BAD_FLAGS] = EINVAL,
        [P2P_FAULT_WRONG_KIND] = EINVAL,
        [P2P_FAULT_NO_INITIATOR] = EINVAL,
        [P2P_FAULT_NOT_MAPPABLE] = EINVAL,
        [P2P_FAULT_SPLIT] = EINVAL,
    };
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    int i;

    for (i = 0; i < P2P_FAULT__MAX; i++) {
        const char *text = p2p_fault_reason_str(i);

        g_assert_nonnull(text);
        g_assert_true(g_hash_table_add(seen, (gpointer)text));
        g_assert_cmpint(p2p_fault_reason_errno(i), ==, errnos[i]);
    }
    g_assert_nonnull(p2p_fault_reason_str(P2P_FAULT__MAX));
    g_assert_nonnull(p2p_fault_reason_str((P2PFaultReason)-1));
    g_assert_cmpint(p2p_fault_reason_errno(P2P_FAULT__MAX), ==, EINVAL);
}

static void test_words(void)
{
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP_NONE), ==, "none");
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP_NOT_SUPPORTED), ==,
                    "not-supported");
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP_BUS_ADDR), ==, "bus-addr");
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP_THRU_HOST_BRIDGE), ==,
                    "thru-host-bridge");
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP_CPU), ==, "cpu");
    g_assert_cmpstr(p2p_map_type_str(P2P_MAP__MAX), ==, "unknown");

    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_SELF), ==, "X");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_PIX), ==, "PIX");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_PXB), ==, "PXB");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_PHB), ==, "PHB");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_NODE), ==, "NODE");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_SYS), ==, "SYS");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH_UNKNOWN), ==, "unknown");
    g_assert_cmpstr(p2p_path_class_str(P2P_PATH__MAX), ==, "unknown");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/map/empty", test_empty);
    g_test_add_func("/map/sorted-copy", test_sorted_copy);
    g_test_add_func("/map/find", test_find);
    g_test_add_func("/map/largest-window", test_largest_window);
    g_test_add_func("/map/layouts", test_layouts);
    g_test_add_func("/map/invalid", test_invalid);
    g_test_add_func("/map/invalid-among-valid", test_invalid_among_valid);
    g_test_add_func("/map/overlap", test_overlap);
    g_test_add_func("/map/same-bus-address", test_same_bus_address);
    g_test_add_func("/map/free-null", test_free_null);
    g_test_add_func("/words/reasons", test_reasons);
    g_test_add_func("/words/types-and-classes", test_words);
    return g_test_run();
}
