/*
 * Translation: cases by hand, with each variant of the kernels
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include "variants.h"

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

static int translate(const P2PMap *map, unsigned initiator,
                     const P2PGuestVec *in, size_t n,
                     P2PBusVec *out, size_t *m, P2PFault *fault)
{
    return p2p_translate_with(variant, map, initiator, in, n, out, m, fault);
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
    g_assert_cmpint(translate(map, initiator, in, n, out, &m, &fault),
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

    g_assert_cmpint(translate(map, initiator, in, n, out, &m, &fault),
                    ==, ret);
    g_assert_cmpuint(m, ==, 0);
    g_assert_cmpstr(p2p_fault_reason_str(fault.reason), ==,
                    p2p_fault_reason_str(reason));
    g_assert_cmpuint(fault.index, ==, index);
    g_assert_cmphex(fault.addr.gpa, ==, addr);

    m = G_N_ELEMENTS(out);
    g_assert_cmpint(translate(map, initiator, in, n, out, &m, NULL),
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

    g_assert_cmpint(translate(map, 0, NULL, 0, NULL, &m, NULL), ==, 0);
    g_assert_cmpuint(m, ==, 0);
    m = 7;
    g_assert_cmpint(translate(map, 0, NULL, 0, NULL, &m, NULL), ==, 0);
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

/* Jumps, as many as batches want, then one that continues the last of them */
static void test_no_merge_after_jumps(void)
{
    g_autoptr(P2PMap) map = make_map();

    for (unsigned n = 2; n < 3 * P2P_BATCH; n++) {
        P2PGuestVec in[3 * P2P_BATCH];
        P2PBusVec out[3 * P2P_BATCH];
        size_t m = G_N_ELEMENTS(out);

        for (unsigned i = 0; i + 1 < n; i++) {
            in[i] = (P2PGuestVec) {
                { (i % 2 ? 0x4000 : 0) + i * 0x20 }, 8, R | P2P_VEC_NO_MERGE
            };
        }
        in[n - 1] = in[n - 2];
        in[n - 1].addr.gpa += 8;
        in[n - 1].flags = R;
        g_assert_cmpint(translate(map, 0, in, n, out, &m, NULL), ==, 0);
        g_assert_cmpuint(m, ==, n);
    }
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

/* Entries that continue each other, the last one beyond the end */
static void test_run_that_wraps(void)
{
    g_autoptr(P2PMap) map = make_map();
    const P2PGuestVec in[] = {
        GUEST(-0xc00, 0x300, R), GUEST(-0x600, 0x300, R),
        GUEST(-0x300, 0x300, R), GUEST(0, 0x300, R), GUEST(0x300, 0x300, R),
    };
    const P2PBusVec want[] = {
        BUS(-0xc00, 0x300, R | RAM), BUS(-0x600, 0x600, R | RAM),
        BUS(0x10000, 0x600, R | RAM),
    };
    const P2PGuestVec wraps[] = {
        GUEST(-0xc00, 0x300, R), GUEST(-0x480, 0x300, R),
        GUEST(-0x180, 0x300, R), GUEST(0x180, 0x300, R),
    };

    CHECK(map, 0, in, want);
    check_fault(map, 0, wraps, 4, -EINVAL, P2P_FAULT_WRAPS, 2, -0x180);
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

static void check_behind_the_last(uint64_t base, unsigned n)
{
    P2PWindow many[P2P_CHUNK_WINDOWS];
    g_autoptr(P2PMap) map = NULL;
    const uint64_t end = base + n * 0x1000;
    const P2PGuestVec across[] = { GUEST(end - 8, 16, R) };
    const P2PGuestVec behind[] = { GUEST(end - 8, 8, R), GUEST(end, 8, R) };

    for (unsigned i = 0; i < n; i++) {
        many[i] = windows[0];
        many[i].gpa.gpa = base + i * 0x1000;
        many[i].size = 0x1000;
        /* If it were taken for a window's end, all would be below it. */
        many[i].host.hva = (void *)UINTPTR_MAX;
    }
    map = p2p_map_new(many, n, 0, NULL);
    check_fault(map, 0, across, 1, -EFAULT, P2P_FAULT_UNMAPPED, 0, end);
    check_fault(map, 0, behind, 2, -EFAULT, P2P_FAULT_UNMAPPED, 1, end);
}

/* What is in memory behind a chunk's last window is no window. */
static void test_behind_the_last(void)
{
    for (unsigned n = 1; n <= P2P_CHUNK_WINDOWS; n++) {
        check_behind_the_last(0, n);
        /* Too high for batches */
        check_behind_the_last(UINT64_C(1) << 63, n);
    }
}

/* A length of 0 less one is more than 32 bits, but less than this window. */
static void test_zero_length(void)
{
    P2PWindow big = windows[0];
    g_autoptr(P2PMap) map = NULL;
    const P2PGuestVec zero = GUEST(0x1000, 0, R);

    big.size = UINT64_C(1) << 40;
    map = p2p_map_new(&big, 1, 0, NULL);
    check_bad(map, 0, zero, -EINVAL, P2P_FAULT_ZERO_LENGTH, 0x1000);
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
        g_assert_cmpint(translate(map, 0, in, 4, room ? out : NULL, &m,
                                      &fault), ==, -ENOSPC);
        g_assert_cmpuint(m, ==, 4);
        g_assert_cmpint(fault.reason, ==, P2P_FAULT_NO_SPACE);
        g_assert_cmpuint(fault.index, ==, 4);
        g_assert_cmphex(fault.addr.gpa, ==, 0);
        g_assert_true(memcmp(&out[room], &canary, sizeof(canary)) == 0);
    }

    m = 1;
    g_assert_cmpint(translate(map, 0, hole_later, 3, out, &m, &fault),
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    variants_add("/translate/one-window", test_one_window);
    variants_add("/translate/nothing", test_nothing);
    variants_add("/translate/split", test_split);
    variants_add("/translate/merge", test_merge);
    variants_add("/translate/no-merge", test_no_merge);
    variants_add("/translate/no-merge-after-jumps", test_no_merge_after_jumps);
    variants_add("/translate/merge-limit", test_merge_limit);
    variants_add("/translate/end-of-address-space", test_end_of_address_space);
    variants_add("/translate/run-that-wraps", test_run_that_wraps);
    variants_add("/translate/no-merge-around-the-bus",
                 test_no_merge_around_the_bus);
    variants_add("/translate/unmapped", test_unmapped);
    variants_add("/translate/behind-the-last", test_behind_the_last);
    variants_add("/translate/zero-length", test_zero_length);
    variants_add("/translate/rights", test_rights);
    variants_add("/translate/revoked", test_revoked);
    variants_add("/translate/bad-flags", test_bad_flags);
    variants_add("/translate/kinds", test_kinds);
    variants_add("/translate/bad-initiator", test_bad_initiator);
    variants_add("/translate/order-of-faults", test_order_of_faults);
    variants_add("/translate/no-space", test_no_space);
    /* Of one entry only: no kernel to choose */
    g_test_add_func("/translate/cpu-access", test_cpu_access);
    return g_test_run();
}
