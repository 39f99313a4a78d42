/*
 * Translation: cases by hand, and a great many at random against the oracle
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include "hw/p2p/map.h"
#include "oracle.h"

#define ALL  UINT64_MAX
#define R    P2P_VEC_READ
#define W    P2P_VEC_WRITE
#define RAM  P2P_VEC_RAM
#define IO   (P2P_VEC_IO | P2P_MAP_THRU_HOST_BRIDGE << P2P_VEC_MAP_SHIFT)
#define CPU  (P2P_VEC_IO | P2P_MAP_CPU << P2P_VEC_MAP_SHIFT)

#define GUEST(a, l, f)  { .addr = { a }, .len = (l), .flags = (f) }
#define BUS(a, l, f)    { .addr = { a }, .len = (l), .flags = (f) }

/* Written behind the room that is given: must still be there afterwards. */
static const P2PBusVec canary = BUS(0xdeadbeefcafe, 0x12345678, 0x9abcdef0);

static char host_ram[0x4000], host_bar[0x1000];

/*
 * 0x0000-0x1fff RAM, at bus 0x10000
 * 0x2000-0x3fff RAM, at bus 0x12000: contiguous with the one before
 * 0x4000-0x4fff BAR of initiator 2, at bus 0x14000: contiguous, but I/O
 * 0x5000-0x5fff BAR of nobody, at bus 0x20000; without a host address
 * 0x6000-0x6fff hole
 * 0x7000-0x7fff BAR of initiator 3: 0 may read, 1 may write
 * 0x8000-0x8fff BAR of initiator 3, revoked
 * the last 4 KiB: RAM, at the end of the bus
 */
static const P2PWindow windows[] = {
    { .gpa = { 0 }, .size = 0x2000, .bus = { 0x10000 }, .host = { host_ram },
      .readers = ALL, .writers = ALL, .owner = P2P_NO_OWNER,
      .kind = P2P_WINDOW_RAM },
    { .gpa = { 0x2000 }, .size = 0x2000, .bus = { 0x12000 },
      .host = { host_ram + 0x2000 }, .readers = ALL, .writers = ALL,
      .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM },
    { .gpa = { 0x4000 }, .size = 0x1000, .bus = { 0x14000 },
      .host = { host_bar }, .readers = ALL, .writers = ALL, .owner = 2,
      .kind = P2P_WINDOW_IO },
    { .gpa = { 0x5000 }, .size = 0x1000, .bus = { 0x20000 }, .readers = ALL,
      .writers = ALL, .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_IO },
    { .gpa = { 0x7000 }, .size = 0x1000, .bus = { 0x30000 }, .readers = 1 << 0,
      .writers = 1 << 1, .owner = 3, .kind = P2P_WINDOW_IO },
    { .gpa = { 0x8000 }, .size = 0x1000, .bus = { 0x40000 }, .owner = 3,
      .kind = P2P_WINDOW_IO, .revoked = true },
    { .gpa = { UINT64_MAX - 0xfff }, .size = 0x1000,
      .bus = { UINT64_MAX - 0xfff }, .readers = ALL, .writers = ALL,
      .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM },
};

/* Initiator 5 is a device model. */
static P2PMap *make_map(void)
{
    return p2p_map_new(windows, G_N_ELEMENTS(windows), 1 << 5, NULL);
}

static void assert_vec(const P2PBusVec *out, const P2PBusVec *want, size_t m)
{
    size_t i;

    for (i = 0; i < m; i++) {
        g_assert_cmphex(out[i].addr.bus, ==, want[i].addr.bus);
        g_assert_cmphex(out[i].len, ==, want[i].len);
        g_assert_cmphex(out[i].flags, ==, want[i].flags);
    }
}

static void check(const P2PMap *map, unsigned initiator,
                  const P2PGuestVec *in, size_t n,
                  const P2PBusVec *want, size_t want_m)
{
    P2PBusVec out[16];
    P2PFault fault = { .index = 77 };
    size_t m = want_m;

    g_assert_cmpuint(want_m, <, G_N_ELEMENTS(out));
    out[want_m] = canary;
    g_assert_cmpint(p2p_translate(map, initiator, in, n, out, &m, &fault),
                    ==, 0);
    g_assert_cmpuint(m, ==, want_m);
    assert_vec(out, want, m);
    g_assert_true(memcmp(&out[want_m], &canary, sizeof(canary)) == 0);
    g_assert_cmpuint(fault.index, ==, 77);
}

#define CHECK(map, initiator, in, want) \
    check(map, initiator, in, G_N_ELEMENTS(in), want, G_N_ELEMENTS(want))

static void check_fault(const P2PMap *map, unsigned initiator,
                        const P2PGuestVec *in, size_t n, int ret,
                        P2PFaultReason reason, size_t index, uint64_t addr)
{
    P2PBusVec out[16];
    P2PFault fault = { 0 };
    size_t m = G_N_ELEMENTS(out);

    g_assert_cmpint(p2p_translate(map, initiator, in, n, out, &m, &fault),
                    ==, ret);
    g_assert_cmpuint(m, ==, 0);
    g_assert_cmpstr(p2p_fault_reason_str(fault.reason), ==,
                    p2p_fault_reason_str(reason));
    g_assert_cmpuint(fault.index, ==, index);
    g_assert_cmphex(fault.addr.gpa, ==, addr);

    m = G_N_ELEMENTS(out);
    g_assert_cmpint(p2p_translate(map, initiator, in, n, out, &m, NULL),
                    ==, ret);
}

/* One entry, and what is wrong with it. */
static void check_bad(const P2PMap *map, unsigned initiator, P2PGuestVec entry,
                      int ret, P2PFaultReason reason, uint64_t addr)
{
    const P2PGuestVec in[] = { GUEST(0, 8, R), entry };

    check_fault(map, initiator, in, 2, ret, reason, 1, addr);
}

static void test_one_window(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec ram[] = { GUEST(0x123, 0x10, R) };
    const P2PBusVec ram_bus[] = { BUS(0x10123, 0x10, R | RAM) };
    const P2PGuestVec io[] = { GUEST(0x4ff0, 0x10, W) };
    const P2PBusVec io_bus[] = { BUS(0x14ff0, 0x10, W | IO) };
    const P2PBusVec self_bus[] = {
        BUS(0x14ff0, 0x10, W | IO | P2P_VEC_SELF)
    };
    const P2PBusVec cpu_bus[] = { BUS(0x14ff0, 0x10, W | CPU) };

    CHECK(map, 0, ram, ram_bus);
    CHECK(map, 5, ram, ram_bus);
    CHECK(map, 63, ram, ram_bus);
    CHECK(map, 0, io, io_bus);
    CHECK(map, 2, io, self_bus);
    CHECK(map, 5, io, cpu_bus);
}

static void test_nothing(void)
{
    g_autoptr(P2PMap) map = make_map();
    size_t m = 0;

    g_assert_cmpint(p2p_translate(map, 0, NULL, 0, NULL, &m, NULL), ==, 0);
    g_assert_cmpuint(m, ==, 0);
    m = 7;
    g_assert_cmpint(p2p_translate(map, 0, NULL, 0, NULL, &m, NULL), ==, 0);
    g_assert_cmpuint(m, ==, 0);
}

static void test_split(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in[] = { GUEST(0x3ff0, 0x1020, R | W) };
    const P2PBusVec want[] = {
        BUS(0x13ff0, 0x10, R | W | RAM),
        BUS(0x14000, 0x1000, R | W | IO),
        BUS(0x20000, 0x10, R | W | IO),
    };

    CHECK(map, 0, in, want);
}

static void test_merge(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec across[] = { GUEST(0x1ff0, 0x20, R) };
    const P2PBusVec across_bus[] = { BUS(0x11ff0, 0x20, R | RAM) };
    const P2PGuestVec in[] = {
        GUEST(0x1000, 0x1000, R), GUEST(0x2000, 0x1000, R),
        GUEST(0x3000, 0x10, W), GUEST(0x3010, 0x10, R),
        GUEST(0x3010, 0x10, R), GUEST(0x3030, 0x10, R),
        GUEST(0x3020, 0x10, R),
    };
    const P2PBusVec want[] = {
        BUS(0x11000, 0x2000, R | RAM),
        BUS(0x13000, 0x10, W | RAM),
        BUS(0x13010, 0x10, R | RAM),
        BUS(0x13010, 0x10, R | RAM),
        BUS(0x13030, 0x10, R | RAM),
        BUS(0x13020, 0x10, R | RAM),
    };
    const P2PGuestVec must[] = {
        GUEST(0x1000, 0x1000, R | P2P_VEC_MUST_BE_RAM), GUEST(0x2000, 1, R),
    };
    const P2PBusVec must_bus[] = { BUS(0x11000, 0x1001, R | RAM) };

    CHECK(map, 0, across, across_bus);
    CHECK(map, 0, in, want);
    /* In-flags that are not carried over do not tell entries apart. */
    CHECK(map, 0, must, must_bus);
}

static void test_no_merge(void)
{
    g_autoptr(P2PMap) map = make_map();
    const uint32_t alone = R | P2P_VEC_NO_MERGE;
    const P2PGuestVec in[] = {
        GUEST(0x0, 8, R), GUEST(0x8, 8, alone), GUEST(0x10, 8, R),
        GUEST(0x18, 8, R),
    };
    const P2PBusVec want[] = {
        BUS(0x10000, 8, R | RAM), BUS(0x10008, 8, R | RAM),
        BUS(0x10010, 16, R | RAM),
    };
    const P2PGuestVec across[] = { GUEST(0x1ff0, 0x20, alone) };
    const P2PBusVec across_bus[] = {
        BUS(0x11ff0, 0x10, R | RAM), BUS(0x12000, 0x10, R | RAM),
    };

    CHECK(map, 0, in, want);
    CHECK(map, 0, across, across_bus);
}

static void test_merge_limit(void)
{
    const P2PWindow big = {
        .gpa = { 0 }, .size = UINT64_C(1) << 40, .bus = { 0x1000 },
        .readers = ALL, .writers = ALL, .owner = P2P_NO_OWNER,
        .kind = P2P_WINDOW_RAM,
    };
    g_autoptr(P2PMap) map = p2p_map_new(&big, 1, 0, NULL);
    const P2PGuestVec longest[] = {
        GUEST(0, UINT32_MAX, R), GUEST(UINT32_MAX, UINT32_MAX, R),
    };
    const P2PBusVec longest_bus[] = {
        BUS(0x1000, UINT32_MAX, R | RAM),
        BUS(0x1000 + (uint64_t)UINT32_MAX, UINT32_MAX, R | RAM),
    };
    const P2PGuestVec just[] = {
        GUEST(0, 0x80000000, R), GUEST(0x80000000, 0x7fffffff, R),
    };
    const P2PBusVec just_bus[] = { BUS(0x1000, UINT32_MAX, R | RAM) };
    const P2PGuestVec over[] = {
        GUEST(0, 0x80000000, R), GUEST(0x80000000, 0x80000000, R),
        GUEST(0x100000000, 0x10, R),
    };
    const P2PBusVec over_bus[] = {
        BUS(0x1000, 0x80000000, R | RAM),
        BUS(0x80001000, 0x80000010, R | RAM),
    };

    CHECK(map, 0, longest, longest_bus);
    CHECK(map, 0, just, just_bus);
    CHECK(map, 0, over, over_bus);
}

static void test_end_of_address_space(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in[] = { GUEST(UINT64_MAX - 7, 8, R) };
    const P2PBusVec want[] = { BUS(UINT64_MAX - 7, 8, R | RAM) };
    const P2PGuestVec wraps = GUEST(UINT64_MAX - 7, 9, R);
    const P2PGuestVec far = GUEST(UINT64_MAX, UINT32_MAX, R);

    CHECK(map, 0, in, want);
    check_bad(map, 0, wraps, -EINVAL, P2P_FAULT_WRAPS, UINT64_MAX - 7);
    check_bad(map, 0, far, -EINVAL, P2P_FAULT_WRAPS, UINT64_MAX);
}

/* An entry that ends with the bus, and one that begins with it. */
static void test_no_merge_around_the_bus(void)
{
    const P2PWindow both[] = {
        { .gpa = { 0x1000 }, .size = 0x1000, .bus = { UINT64_MAX - 0xfff },
          .readers = ALL, .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM },
        { .gpa = { 0x2000 }, .size = 0x1000, .bus = { 0 },
          .readers = ALL, .owner = P2P_NO_OWNER, .kind = P2P_WINDOW_RAM },
    };
    g_autoptr(P2PMap) map = p2p_map_new(both, 2, 0, NULL);
    const P2PGuestVec in[] = { GUEST(0x1000, 0x2000, R) };
    const P2PBusVec want[] = {
        BUS(UINT64_MAX - 0xfff, 0x1000, R | RAM), BUS(0, 0x1000, R | RAM),
    };

    CHECK(map, 0, in, want);
}

static void test_unmapped(void)
{
    g_autoptr(P2PMap) map = make_map();
    g_autoptr(P2PMap) empty = p2p_map_new(NULL, 0, 0, NULL);
    const P2PGuestVec hole = GUEST(0x6800, 4, R);
    const P2PGuestVec into = GUEST(0x5ff0, 0x20, R);
    const P2PGuestVec from = GUEST(0x6fff, 2, R);
    const P2PGuestVec any[] = { GUEST(0, 1, R) };

    check_bad(map, 0, hole, -EFAULT, P2P_FAULT_UNMAPPED, 0x6800);
    check_bad(map, 0, into, -EFAULT, P2P_FAULT_UNMAPPED, 0x6000);
    check_bad(map, 0, from, -EFAULT, P2P_FAULT_UNMAPPED, 0x6fff);
    check_fault(empty, 0, any, 1, -EFAULT, P2P_FAULT_UNMAPPED, 0, 0);
}

static void test_rights(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec r[] = { GUEST(0x7000, 8, R) };
    const P2PGuestVec w[] = { GUEST(0x7000, 8, W) };
    const P2PGuestVec rw = GUEST(0x7000, 8, R | W);
    const P2PBusVec r_bus[] = { BUS(0x30000, 8, R | IO) };
    const P2PBusVec w_bus[] = { BUS(0x30000, 8, W | IO) };

    CHECK(map, 0, r, r_bus);
    CHECK(map, 1, w, w_bus);
    check_bad(map, 0, w[0], -EACCES, P2P_FAULT_WRITE_DENIED, 0x7000);
    check_bad(map, 1, r[0], -EACCES, P2P_FAULT_READ_DENIED, 0x7000);
    check_bad(map, 0, rw, -EACCES, P2P_FAULT_WRITE_DENIED, 0x7000);
    check_bad(map, 1, rw, -EACCES, P2P_FAULT_READ_DENIED, 0x7000);
    check_bad(map, 4, r[0], -EACCES, P2P_FAULT_NOT_GRANTED, 0x7000);
    /* To own a BAR is not to be granted it. */
    check_bad(map, 3, r[0], -EACCES, P2P_FAULT_NOT_GRANTED, 0x7000);
}

static void test_revoked(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in = GUEST(0x8010, 8, R);
    const P2PGuestVec into = GUEST(0x7ff8, 16, R);

    check_bad(map, 0, in, -ESTALE, P2P_FAULT_REVOKED, 0x8010);
    check_bad(map, 3, in, -ESTALE, P2P_FAULT_REVOKED, 0x8010);
    check_bad(map, 0, into, -ESTALE, P2P_FAULT_REVOKED, 0x8000);
}

static void test_bad_flags(void)
{
    g_autoptr(P2PMap) map = make_map();
    const uint32_t bad[] = {
        0, P2P_VEC_NO_MERGE, P2P_VEC_MUST_BE_IO, R | 1 << 5, R | P2P_VEC_RAM,
        R | P2P_VEC_IO, R | 1u << 31,
        R | P2P_VEC_MUST_BE_IO | P2P_VEC_MUST_BE_RAM,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        const P2PGuestVec in = GUEST(0x10, 8, bad[i]);

        check_bad(map, 0, in, -EINVAL, P2P_FAULT_BAD_FLAGS, 0x10);
    }
}

static void test_kinds(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec ram[] = { GUEST(0, 8, R | P2P_VEC_MUST_BE_RAM) };
    const P2PBusVec ram_bus[] = { BUS(0x10000, 8, R | RAM) };
    const P2PGuestVec io[] = { GUEST(0x4000, 8, R | P2P_VEC_MUST_BE_IO) };
    const P2PBusVec io_bus[] = { BUS(0x14000, 8, R | IO) };
    const P2PGuestVec not_io = GUEST(0, 8, R | P2P_VEC_MUST_BE_IO);
    const P2PGuestVec not_ram = GUEST(0x3ff8, 16, R | P2P_VEC_MUST_BE_RAM);

    CHECK(map, 0, ram, ram_bus);
    CHECK(map, 0, io, io_bus);
    check_bad(map, 0, not_io, -EINVAL, P2P_FAULT_WRONG_KIND, 0);
    check_bad(map, 0, not_ram, -EINVAL, P2P_FAULT_WRONG_KIND, 0x4000);
}

static void test_bad_initiator(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in[] = { GUEST(0, 8, R), GUEST(8, 8, R) };

    check_fault(map, 64, in, 2, -EINVAL, P2P_FAULT_NO_INITIATOR, 2, 0);
    check_fault(map, UINT_MAX, in, 2, -EINVAL, P2P_FAULT_NO_INITIATOR, 2, 0);
    check_fault(map, P2P_NO_OWNER, in, 0, -EINVAL, P2P_FAULT_NO_INITIATOR, 0,
                0);
}

static void test_order_of_faults(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec zero_and_flags = GUEST(0x6000, 0, 0);
    const P2PGuestVec wrap_and_flags = GUEST(UINT64_MAX, 2, 0);
    const P2PGuestVec flags_and_hole = GUEST(0x6000, 8, 0);
    const P2PGuestVec right_and_kind =
        GUEST(0x7000, 8, W | P2P_VEC_MUST_BE_RAM);
    const P2PGuestVec right_and_hole = GUEST(0x5ff8, 0x2000, W);
    const P2PGuestVec two[] = { GUEST(0x8000, 8, R), GUEST(0, 0, R) };

    check_bad(map, 0, zero_and_flags, -EINVAL, P2P_FAULT_ZERO_LENGTH, 0x6000);
    check_bad(map, 0, wrap_and_flags, -EINVAL, P2P_FAULT_WRAPS, UINT64_MAX);
    check_bad(map, 0, flags_and_hole, -EINVAL, P2P_FAULT_BAD_FLAGS, 0x6000);
    check_bad(map, 0, right_and_kind, -EACCES, P2P_FAULT_WRITE_DENIED,
              0x7000);
    check_bad(map, 0, right_and_hole, -EFAULT, P2P_FAULT_UNMAPPED, 0x6000);
    check_fault(map, 0, two, 2, -ESTALE, P2P_FAULT_REVOKED, 0, 0x8000);
}

static void test_no_space(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in[] = {
        GUEST(0x1ff0, 0x20, R), GUEST(0x100, 8, R), GUEST(0x108, 8, R),
        GUEST(0x3ff0, 0x20, R),
    };
    const P2PBusVec want[] = {
        BUS(0x11ff0, 0x20, R | RAM), BUS(0x10100, 0x10, R | RAM),
        BUS(0x13ff0, 0x10, R | RAM), BUS(0x14000, 0x10, R | IO),
    };
    const P2PGuestVec hole_later[] = {
        GUEST(0, 8, R), GUEST(0x100, 8, R), GUEST(0x6000, 8, R),
    };
    P2PBusVec out[4];
    P2PFault fault;
    size_t room, m;

    CHECK(map, 0, in, want);
    for (room = 0; room < 4; room++) {
        memset(&fault, 0xff, sizeof(fault));
        out[room] = canary;
        m = room;
        g_assert_cmpint(p2p_translate(map, 0, in, 4, room ? out : NULL, &m,
                                      &fault), ==, -ENOSPC);
        g_assert_cmpuint(m, ==, 4);
        g_assert_cmpint(fault.reason, ==, P2P_FAULT_NO_SPACE);
        g_assert_cmpuint(fault.index, ==, 4);
        g_assert_cmphex(fault.addr.gpa, ==, 0);
        g_assert_true(memcmp(&out[room], &canary, sizeof(canary)) == 0);
    }

    m = 1;
    g_assert_cmpint(p2p_translate(map, 0, hole_later, 3, out, &m, &fault),
                    ==, -EFAULT);
    g_assert_cmpuint(m, ==, 0);
    g_assert_cmpuint(fault.index, ==, 2);
}

static void check_cpu_fault(const P2PMap *map, unsigned initiator,
                            P2PGuestVec entry, int ret, P2PFaultReason reason,
                            size_t index, uint64_t addr)
{
    P2PHostAddr host = { host_ram };
    P2PFault fault = { 0 };

    g_assert_cmpint(p2p_map_cpu_access(map, initiator, &entry, &host, &fault),
                    ==, ret);
    g_assert_cmpint(fault.reason, ==, reason);
    g_assert_cmpuint(fault.index, ==, index);
    g_assert_cmphex(fault.addr.gpa, ==, addr);
    g_assert_true(host.hva == host_ram);
    g_assert_cmpint(p2p_map_cpu_access(map, initiator, &entry, &host, NULL),
                    ==, ret);
}

static void test_cpu_access(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec ram = GUEST(0x10, 0x1ff0, R);
    const P2PGuestVec bar = GUEST(0x4ff8, 8, W);
    const P2PGuestVec split = GUEST(0x1fff, 2, R);
    const P2PGuestVec split_hole = GUEST(0x3fff, 0x3000, R);
    const P2PGuestVec no_host = GUEST(0x5000, 8, R);
    const P2PGuestVec hole = GUEST(0x6000, 8, R);
    const P2PGuestVec denied = GUEST(0x7000, 8, W);
    const P2PGuestVec revoked = GUEST(0x8000, 8, R);
    const P2PGuestVec zero = GUEST(0x10, 0, R);
    P2PHostAddr host = { NULL };
    P2PFault fault = { .index = 77 };

    g_assert_cmpint(p2p_map_cpu_access(map, 0, &ram, &host, &fault), ==, 0);
    g_assert_true(host.hva == host_ram + 0x10);
    g_assert_cmpint(p2p_map_cpu_access(map, 0, &bar, &host, &fault), ==, 0);
    g_assert_true(host.hva == host_bar + 0xff8);
    g_assert_cmpuint(fault.index, ==, 77);

    check_cpu_fault(map, 0, split, -EINVAL, P2P_FAULT_SPLIT, 0, 0x2000);
    check_cpu_fault(map, 0, split_hole, -EFAULT, P2P_FAULT_UNMAPPED, 0,
                    0x6000);
    check_cpu_fault(map, 0, no_host, -EINVAL, P2P_FAULT_NOT_MAPPABLE, 0,
                    0x5000);
    check_cpu_fault(map, 0, hole, -EFAULT, P2P_FAULT_UNMAPPED, 0, 0x6000);
    check_cpu_fault(map, 0, denied, -EACCES, P2P_FAULT_WRITE_DENIED, 0,
                    0x7000);
    check_cpu_fault(map, 0, revoked, -ESTALE, P2P_FAULT_REVOKED, 0, 0x8000);
    check_cpu_fault(map, 0, zero, -EINVAL, P2P_FAULT_ZERO_LENGTH, 0, 0x10);
    check_cpu_fault(map, 64, ram, -EINVAL, P2P_FAULT_NO_INITIATOR, 1, 0);
}

/* --- at random --- */

enum {
    MAX_WINDOWS = 40,
    MAX_ENTRIES = 64,
    VECTORS_PER_MAP = 40,
    ENTRIES_WANTED = 1000000,
};

/* What the random cases came to: proof that they are worth something. */
typedef struct Tally {
    size_t entries;  /* up to the one with the fault, where there is one */
    size_t successes, merged, crossing, longest;
    size_t reasons[P2P_FAULT__MAX];  /* of vectors, and of CPU accesses */
} Tally;

static uint64_t random_u64(void)
{
    return (uint64_t)(uint32_t)g_test_rand_int() << 32 |
           (uint32_t)g_test_rand_int();
}

static uint64_t random_below(uint64_t n)
{
    return random_u64() % n;
}

static bool one_in(unsigned n)
{
    return random_below(n) == 0;
}

static uint64_t random_size(void)
{
    switch (random_below(6)) {
    case 0:
        return 1;
    case 1:
        return 1 + random_below(64);
    case 2:
        return 1 + random_below(0x3000);
    case 3:
        return 1 + random_below(UINT64_C(3) << 32);
    default:
        return (1 + random_below(16)) * 0x1000;
    }
}

static uint64_t random_gap(void)
{
    switch (random_below(8)) {
    case 0:
        return 1 + random_below(16);
    case 1:
        return (1 + random_below(16)) * 0x1000;
    case 2:
        return random_below(UINT64_C(1) << 36);
    default:
        return 0;
    }
}

static uint64_t random_rights(void)
{
    switch (random_below(12)) {
    case 0:
        return 0;
    case 1:
    case 2:
        return random_u64();
    default:
        return ALL;
    }
}

/* Often where the window before ends: at the last possible address, at 0. */
static uint64_t random_bus(const P2PWindow *w, const P2PWindow *before)
{
    uint64_t last = -w->size;

    if (before && !one_in(4)) {
        uint64_t next = before->bus.bus + before->size;

        if (next <= last) {
            return next;
        }
    }
    switch (random_below(8)) {
    case 0:
        return last;
    case 1:
        return 0;
    default:
        return random_below(last) & ~UINT64_C(0xfff);
    }
}

static void random_window(P2PWindow *w, const P2PWindow *before)
{
    w->bus.bus = random_bus(w, before);
    w->host.hva = one_in(8) ? NULL : (void *)(uintptr_t)random_below(1 << 30);
    w->readers = random_rights();
    w->writers = random_rights();
    w->unrouted = random_rights();
    w->kind = one_in(2) ? P2P_WINDOW_RAM : P2P_WINDOW_IO;
    w->owner = P2P_NO_OWNER;
    if (w->kind == P2P_WINDOW_IO && !one_in(4)) {
        w->owner = random_below(one_in(2) ? 4 : P2P_MAX_INITIATORS);
    }
    w->revoked = one_in(24);
    /* Alike, so that they may be joined. */
    if (before && one_in(2)) {
        w->readers = before->readers;
        w->writers = before->writers;
        w->unrouted = before->unrouted;
        w->kind = before->kind;
        w->owner = before->owner;
    }
}

static size_t random_windows(P2PWindow *ws)
{
    size_t n = one_in(16) ? random_below(2) : 1 + random_below(MAX_WINDOWS);
    uint64_t end = 0;
    uint64_t base;
    size_t i;

    memset(ws, 0, n * sizeof(*ws));
    for (i = 0; i < n; i++) {
        ws[i].gpa.gpa = end + (i ? random_gap() : 0);
        ws[i].size = random_size();
        end = ws[i].gpa.gpa + ws[i].size;
        random_window(&ws[i], i ? &ws[i - 1] : NULL);
    }
    /* At the bottom of the address space, at its top, or in between. */
    base = n == 0 || one_in(3) ? 0 : one_in(2) ? -end : random_below(-end);
    for (i = 0; i < n; i++) {
        ws[i].gpa.gpa += base;
    }
    for (i = n; i > 1; i--) {
        size_t j = random_below(i);
        P2PWindow w = ws[i - 1];

        ws[i - 1] = ws[j];
        ws[j] = w;
    }
    return n;
}

static uint32_t random_flags(void)
{
    uint32_t flags = 1 + random_below(3);

    if (one_in(12)) {
        flags |= P2P_VEC_NO_MERGE;
    }
    return flags;
}

/* Anything: the edges of windows, and what the caller must not say. */
static void random_wild_entry(const Oracle *oracle, P2PGuestVec *e)
{
    e->flags = one_in(20) ? random_below(128) : random_flags();
    if (one_in(100)) {
        e->flags |= 1u << random_below(32);
    }
    e->addr.gpa = random_u64();
    if (oracle->n > 0 && !one_in(20)) {
        const P2PWindow *w = &oracle->windows[random_below(oracle->n)];

        e->addr.gpa = w->gpa.gpa + (one_in(2) ? w->size : 0) +
                      random_below(9) - 4;
    }
    switch (random_below(12)) {
    case 0:
        e->len = random_below(20) ? UINT32_MAX : 0;
        break;
    case 1:
        e->len = 1 + random_below(UINT32_MAX);
        break;
    case 2:
        /* To the very end of the address space, or a byte beyond it. */
        e->len = -e->addr.gpa + random_below(2);
        break;
    default:
        e->len = 1 + random_below(one_in(2) ? 16 : 0x5000);
        break;
    }
}

/* Within what is granted, often where the entry before ends. */
static void random_tame_entry(const Oracle *oracle, unsigned initiator,
                              const P2PGuestVec *before, P2PGuestVec *e)
{
    const P2PWindow *w = NULL;
    uint64_t bit = UINT64_C(1) << initiator;
    uint64_t offset = 0;
    unsigned tries;

    e->flags = before && !one_in(3) ? before->flags : random_flags();
    if (before && !one_in(3)) {
        e->addr.gpa = before->addr.gpa + before->len;
        w = oracle_find(oracle, e->addr.gpa);
    }
    for (tries = 0; tries < 20; tries++) {
        if (w && !w->revoked &&
            (!(e->flags & R) || w->readers & bit) &&
            (!(e->flags & W) || w->writers & bit)) {
            break;
        }
        w = &oracle->windows[random_below(oracle->n)];
        offset = one_in(2) ? 0 : random_below(w->size);
        e->addr.gpa = w->gpa.gpa + offset;
    }
    if (!w) {
        e->len = 1;
        return;
    }
    offset = e->addr.gpa - w->gpa.gpa;
    e->len = MIN(w->size - offset, UINT32_MAX);
    if (one_in(2)) {
        e->len = 1 + random_below(e->len);
    } else if (e->len < UINT32_MAX / 2 &&
               oracle_find(oracle, e->addr.gpa + e->len) && one_in(4)) {
        e->len += 1 + random_below(0x4000);
    }
    e->flags &= ~(P2P_VEC_MUST_BE_IO | P2P_VEC_MUST_BE_RAM);
    if (one_in(8)) {
        e->flags |= w->kind == P2P_WINDOW_RAM ? P2P_VEC_MUST_BE_RAM
                                              : P2P_VEC_MUST_BE_IO;
    }
}

static size_t random_vector(const Oracle *oracle, unsigned initiator,
                            P2PGuestVec *in)
{
    size_t n = one_in(64) ? 0 : 1 + random_below(MAX_ENTRIES);
    bool wild = oracle->n == 0 || one_in(4);
    size_t i;

    for (i = 0; i < n; i++) {
        if (wild || one_in(400)) {
            random_wild_entry(oracle, &in[i]);
        } else {
            random_tame_entry(oracle, initiator, i ? &in[i - 1] : NULL,
                              &in[i]);
        }
    }
    return n;
}

static void assert_same_fault(const P2PFault *got, const P2PFault *want)
{
    g_assert_cmpstr(p2p_fault_reason_str(got->reason), ==,
                    p2p_fault_reason_str(want->reason));
    g_assert_cmpuint(got->index, ==, want->index);
    g_assert_cmphex(got->addr.gpa, ==, want->addr.gpa);
}

/* With room for all, for just enough, for one less, and for none. */
static void compare_success(const P2PMap *map, unsigned initiator,
                            const P2PGuestVec *in, size_t n,
                            const GArray *want)
{
    g_autofree P2PBusVec *out = g_new(P2PBusVec, want->len + 2);
    size_t rooms[] = { want->len + 1, want->len, want->len - 1, 0 };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(rooms); i++) {
        size_t room = rooms[i];
        size_t m = room;
        P2PFault fault = { .index = n + 1 };
        P2PFault no_space = { n, { 0 }, P2P_FAULT_NO_SPACE };
        int ret;

        if (room > want->len + 1) {
            continue;
        }
        out[room] = canary;
        ret = p2p_translate(map, initiator, in, n, room ? out : NULL, &m,
                            &fault);
        g_assert_cmpuint(m, ==, want->len);
        g_assert_true(memcmp(&out[room], &canary, sizeof(canary)) == 0);
        if (room >= want->len) {
            g_assert_cmpint(ret, ==, 0);
            g_assert_cmpuint(fault.index, ==, n + 1);
            assert_vec(out, (const P2PBusVec *)want->data, m);
        } else {
            g_assert_cmpint(ret, ==, -ENOSPC);
            assert_same_fault(&fault, &no_space);
        }
    }
}

static void compare_failure(const P2PMap *map, unsigned initiator,
                            const P2PGuestVec *in, size_t n, int want,
                            const P2PFault *want_fault)
{
    P2PBusVec out[4 * MAX_ENTRIES];
    size_t m = random_below(G_N_ELEMENTS(out));
    size_t room = m;
    P2PFault fault = { 0 };

    out[room] = canary;
    g_assert_cmpint(p2p_translate(map, initiator, in, n, out, &m, &fault),
                    ==, want);
    g_assert_cmpuint(m, ==, 0);
    g_assert_true(memcmp(&out[room], &canary, sizeof(canary)) == 0);
    assert_same_fault(&fault, want_fault);
}

static void compare_cpu_access(const P2PMap *map, const Oracle *oracle,
                               unsigned initiator, const P2PGuestVec *entry,
                               Tally *tally)
{
    P2PFault fault = { 0 };
    P2PFault want_fault = { 0 };
    P2PHostAddr host = { (void *)&fault };
    void *want_hva = (void *)&fault;
    int want = oracle_cpu_access(oracle, initiator, entry, &want_hva,
                                 &want_fault);

    g_assert_cmpint(p2p_map_cpu_access(map, initiator, entry, &host, &fault),
                    ==, want);
    g_assert_true(host.hva == want_hva);
    if (initiator >= P2P_MAX_INITIATORS) {
        g_assert_cmpint(fault.reason, ==, P2P_FAULT_NO_INITIATOR);
    } else {
        assert_same_fault(&fault, &want_fault);
    }
    tally->reasons[want_fault.reason]++;
}

static size_t count_crossing(const Oracle *oracle, const P2PGuestVec *in,
                             size_t n)
{
    size_t count = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        count += oracle_find(oracle, in[i].addr.gpa) !=
                 oracle_find(oracle, in[i].addr.gpa + in[i].len - 1);
    }
    return count;
}

static void compare_vector(const P2PMap *map, const Oracle *oracle,
                           Tally *tally)
{
    g_autoptr(GArray) want = g_array_new(FALSE, FALSE, sizeof(P2PBusVec));
    unsigned initiator = random_below(one_in(2) ? 4 : P2P_MAX_INITIATORS);
    P2PGuestVec in[MAX_ENTRIES];
    size_t n = random_vector(oracle, initiator, in);
    P2PFault fault = { 0 };
    int ret;

    if (one_in(500)) {
        initiator = P2P_MAX_INITIATORS + random_below(3);
    }
    ret = oracle_translate(oracle, initiator, in, n, want, &fault);
    if (ret == 0) {
        compare_success(map, initiator, in, n, want);
        tally->entries += n;
        tally->successes++;
        tally->merged += want->len < n;
        tally->crossing += count_crossing(oracle, in, n);
        tally->longest = MAX(tally->longest, want->len);
    } else {
        compare_failure(map, initiator, in, n, ret, &fault);
        tally->entries += MIN(fault.index + 1, n);
        tally->reasons[fault.reason]++;
    }
    if (n > 0) {
        compare_cpu_access(map, oracle, initiator, &in[0], tally);
    }
}

static void test_random(void)
{
    Tally tally = { 0 };
    size_t i;

    while (tally.entries < ENTRIES_WANTED) {
        P2PWindow ws[MAX_WINDOWS];
        Oracle oracle = {
            .windows = ws,
            .n = random_windows(ws),
            .cpu_initiators = random_u64(),
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(P2PMap) map = p2p_map_new(ws, oracle.n,
                                            oracle.cpu_initiators, &error);

        g_assert_no_error(error);
        for (i = 0; i < VECTORS_PER_MAP; i++) {
            compare_vector(map, &oracle, &tally);
        }
    }

    g_test_message("%zu entries, %zu vectors translated (%zu merged, %zu "
                   "entries across windows, results of up to %zu entries)",
                   tally.entries, tally.successes, tally.merged,
                   tally.crossing, tally.longest);
    g_assert_cmpuint(tally.successes, >, 1000);
    g_assert_cmpuint(tally.merged, >, 1000);
    g_assert_cmpuint(tally.crossing, >, 1000);
    for (i = P2P_FAULT_UNMAPPED; i < P2P_FAULT__MAX; i++) {
        /* The oracle has room: compare_success() takes it away. */
        if (i != P2P_FAULT_NO_SPACE) {
            g_test_message("%zu times: %s", tally.reasons[i],
                           p2p_fault_reason_str(i));
            g_assert_cmpuint(tally.reasons[i], >, 10);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/translate/one-window", test_one_window);
    g_test_add_func("/translate/nothing", test_nothing);
    g_test_add_func("/translate/split", test_split);
    g_test_add_func("/translate/merge", test_merge);
    g_test_add_func("/translate/no-merge", test_no_merge);
    g_test_add_func("/translate/merge-limit", test_merge_limit);
    g_test_add_func("/translate/end-of-address-space",
                    test_end_of_address_space);
    g_test_add_func("/translate/no-merge-around-the-bus",
                    test_no_merge_around_the_bus);
    g_test_add_func("/translate/unmapped", test_unmapped);
    g_test_add_func("/translate/rights", test_rights);
    g_test_add_func("/translate/revoked", test_revoked);
    g_test_add_func("/translate/bad-flags", test_bad_flags);
    g_test_add_func("/translate/kinds", test_kinds);
    g_test_add_func("/translate/bad-initiator", test_bad_initiator);
    g_test_add_func("/translate/order-of-faults", test_order_of_faults);
    g_test_add_func("/translate/no-space", test_no_space);
    g_test_add_func("/translate/cpu-access", test_cpu_access);
    g_test_add_func("/translate/random", test_random);
    return g_test_run();
}
