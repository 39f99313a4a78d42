/*
 * Random numbers and random windows for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "random.h"

uint64_t random_u64(void)
{
    return (uint64_t)(uint32_t)g_test_rand_int() << 32 |
           (uint32_t)g_test_rand_int();
}

uint64_t random_below(uint64_t n)
{
    return random_u64() % n;
}

bool one_in(unsigned n)
{
    return random_below(n) == 0;
}

size_t random_entries_wanted(size_t usual)
{
    const char *wanted = g_getenv("P2P_TEST_ENTRIES");

    return wanted ? g_ascii_strtoull(wanted, NULL, 10) : usual;
}

uint64_t random_size(void)
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
        return UINT64_MAX;
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

void random_window(P2PWindow *w, const P2PWindow *before)
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

void random_windows(P2PWindow *ws, size_t n)
{
    /* Of the same size, in which case a gap before each is, too; or 0 */
    uint64_t size = one_in(4) ? UINT64_C(1) << random_below(24) : 0;
    uint64_t gap = random_below(4) * size;
    uint64_t end = 0;
    uint64_t base;

    memset(ws, 0, n * sizeof(*ws));
    for (size_t i = 0; i < n; i++) {
        ws[i].gpa.gpa = end + (size ? gap : i ? random_gap() : 0);
        ws[i].size = size ?: random_size();
        end = ws[i].gpa.gpa + ws[i].size;
        random_window(&ws[i], i ? &ws[i - 1] : NULL);
    }
    base = n == 0 || one_in(2) ? 0 : one_in(2) ? -end : random_below(-end);
    if (size) {
        base &= -size;
    }
    for (size_t i = 0; i < n; i++) {
        ws[i].gpa.gpa += base;
    }
}

void random_shuffle(P2PWindow *ws, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(i);
        P2PWindow w = ws[i - 1];

        ws[i - 1] = ws[j];
        ws[j] = w;
    }
}
