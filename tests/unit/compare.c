/*
 * What the core says must be what the oracle says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include "compare.h"

/* Written behind the room that is given: must still be there afterwards. */
static const P2PBusVec canary = {
    { 0xdeadbeefcafe }, 0x12345678, 0x9abcdef0
};

static void assert_vec(const P2PBusVec *got, const P2PBusVec *want, size_t m)
{
    if (m == 0 || memcmp(got, want, m * sizeof(*got)) == 0) {
        return;
    }
    for (size_t i = 0; i < m; i++) {
        g_assert_cmphex(got[i].addr.bus, ==, want[i].addr.bus);
        g_assert_cmphex(got[i].len, ==, want[i].len);
        g_assert_cmphex(got[i].flags, ==, want[i].flags);
    }
}

static void assert_same_fault(const P2PFault *got, const P2PFault *want)
{
    g_assert_cmpstr(p2p_fault_reason_str(got->reason), ==,
                    p2p_fault_reason_str(want->reason));
    g_assert_cmpuint(got->index, ==, want->index);
    g_assert_cmphex(got->addr.gpa, ==, want->addr.gpa);
}

/* One translation; @want: the result, or NULL if @want_ret is a failure. */
static void compare_room(const P2PKernels *kernels, const P2PMap *map,
                         unsigned initiator, const P2PGuestVec *in, size_t n,
                         P2PBusVec *out, size_t room, int want_ret,
                         const GArray *want, const P2PFault *want_fault)
{
    P2PFault fault = { .index = n + 1 };
    size_t m = room;
    int ret;

    out[room] = canary;
    ret = p2p_translate_with(kernels, map, initiator, in, n,
                             room ? out : NULL, &m, &fault);
    g_assert_true(memcmp(&out[room], &canary, sizeof(canary)) == 0);
    g_assert_cmpint(ret, ==, want_ret);
    g_assert_cmpuint(m, ==, want ? want->len : 0);
    if (ret == 0) {
        g_assert_cmpuint(fault.index, ==, n + 1);
        assert_vec(out, (const P2PBusVec *)want->data, m);
    } else {
        assert_same_fault(&fault, want_fault);
    }
}

static void compare_success(const P2PKernels *kernels, const P2PMap *map,
                            unsigned initiator, const P2PGuestVec *in,
                            size_t n, const GArray *want)
{
    g_autofree P2PBusVec *out = g_new(P2PBusVec, want->len + 2);
    const P2PFault no_space = { n, { 0 }, P2P_FAULT_NO_SPACE };
    const size_t rooms[] = { want->len + 1, want->len, want->len - 1, 0 };

    for (size_t i = 0; i < G_N_ELEMENTS(rooms); i++) {
        if (rooms[i] <= want->len + 1) {
            compare_room(kernels, map, initiator, in, n, out, rooms[i],
                         rooms[i] < want->len ? -ENOSPC : 0, want, &no_space);
        }
    }
}

static void compare_failure(const P2PKernels *kernels, const P2PMap *map,
                            unsigned initiator, const P2PGuestVec *in,
                            size_t n, int want, const P2PFault *fault)
{
    g_autofree P2PBusVec *out = g_new(P2PBusVec, 2 * n + 1);
    const size_t rooms[] = { 2 * n, n / 2, 0 };

    for (size_t i = 0; i < G_N_ELEMENTS(rooms); i++) {
        compare_room(kernels, map, initiator, in, n, out, rooms[i], want,
                     NULL, fault);
    }
}

static size_t count_crossing(const Oracle *oracle, const P2PGuestVec *in,
                             size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += oracle_find(oracle, in[i].addr.gpa) !=
                 oracle_find(oracle, in[i].addr.gpa + in[i].len - 1);
    }
    return count;
}

void compare_vector(const P2PKernels *kernels, const P2PMap *map,
                    const Oracle *oracle, unsigned initiator,
                    const P2PGuestVec *in, size_t n, Tally *tally)
{
    g_autoptr(GArray) want = g_array_new(FALSE, FALSE, sizeof(P2PBusVec));
    P2PFault fault = { 0 };
    int ret = oracle_translate(oracle, initiator, in, n, want, &fault);

    if (ret == 0) {
        compare_success(kernels, map, initiator, in, n, want);
        tally->entries += n;
        tally->successes++;
        tally->merged += want->len < n;
        tally->crossing += count_crossing(oracle, in, n);
        tally->longest = MAX(tally->longest, want->len);
    } else {
        compare_failure(kernels, map, initiator, in, n, ret, &fault);
        tally->entries += MIN(fault.index + 1, n);
        tally->late_faults += fault.index >= 32 && fault.index < n;
        tally->reasons[fault.reason]++;
    }
}

void compare_cpu_access(const P2PMap *map, const Oracle *oracle,
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
    assert_same_fault(&fault, &want_fault);
    tally->reasons[want_fault.reason]++;
}

void compare_windows(P2PWindow got, P2PWindow want)
{
    g_assert_cmphex(got.gpa.gpa, ==, want.gpa.gpa);
    g_assert_cmphex(got.size, ==, want.size);
    g_assert_cmphex(got.bus.bus, ==, want.bus.bus);
    g_assert_true(got.host.hva == want.host.hva);
    g_assert_cmphex(got.readers, ==, want.readers);
    g_assert_cmphex(got.writers, ==, want.writers);
    g_assert_cmphex(got.unrouted, ==, want.unrouted);
    g_assert_cmpuint(got.owner, ==, want.owner);
    g_assert_cmpuint(got.kind, ==, want.kind);
    g_assert_cmpint(got.revoked, ==, want.revoked);
}
