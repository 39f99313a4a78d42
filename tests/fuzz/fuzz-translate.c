/*
 * Fuzz target: windows, a change of them, and vectors; all out of the input
 *
 * The input is read as described at each read_*() function; where it ends,
 * all that is still asked for is 0.  So any input means something, and most
 * changes of a byte make another case of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdlib.h>
#include "compare.h"

enum {
    MOST_WINDOWS = 6000,        /* twelve chunks */
    MOST_ENTRIES = 600,
};

/* --- The input --- */

typedef struct Input {
    const uint8_t *data;
    size_t n;
} Input;

static uint64_t read_bytes(Input *input, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n && input->n > 0; i++) {
        value |= (uint64_t)*input->data++ << 8 * i;
        input->n--;
    }
    return value;
}

static uint8_t read_byte(Input *input)
{
    return read_bytes(input, 1);
}

/* A size: two bits say which kind, the others are a part of it. */
static uint64_t read_size(Input *input)
{
    uint8_t how = read_byte(input);

    switch (how & 3) {
    case 0:
        return 1 + (how >> 2);
    case 1:
        return UINT64_C(0x1000) << (how >> 2) % 24;
    case 2:
        return read_bytes(input, 2) + (how >> 2);
    default:
        return read_bytes(input, 8);
    }
}

/* Initiators: none, all, a few, any */
static uint64_t read_mask(Input *input)
{
    uint8_t how = read_byte(input);

    switch (how & 3) {
    case 0:
        return UINT64_MAX;
    case 1:
        return 0;
    case 2:
        return how >> 2;
    default:
        return read_bytes(input, 8);
    }
}

/* --- Windows --- */

/* Behind the one before, with a gap or without; at the top; anywhere */
static uint64_t read_address(Input *input, uint8_t how, uint64_t next)
{
    switch (how & 3) {
    case 0:
        return next;
    case 1:
        return next + read_size(input);
    case 2:
        return -read_size(input);
    default:
        return read_bytes(input, 8);
    }
}

/*
 * A byte of bits: where it is, where it leads to, kind, revoked, owner, and
 * whether it is followed by many like it.
 */
static void read_window(Input *input, GArray *windows)
{
    const P2PWindow *before =
        windows->len ? &g_array_index(windows, P2PWindow, windows->len - 1)
                     : NULL;
    uint8_t how = read_byte(input);
    unsigned copies = how & 0x80 ? read_bytes(input, 2) : 0;
    P2PWindow w = { .owner = P2P_NO_OWNER };

    w.gpa.gpa = read_address(input, how,
                             before ? before->gpa.gpa + before->size : 0);
    w.size = read_size(input);
    w.bus.bus = read_address(input, how >> 2,
                             before ? before->bus.bus + before->size : 0);
    w.readers = read_mask(input);
    w.writers = read_mask(input);
    w.unrouted = read_mask(input);
    w.kind = how >> 4 & 1 ? P2P_WINDOW_IO : P2P_WINDOW_RAM;
    w.revoked = how >> 5 & 1;
    if (how >> 6 & 1) {
        w.owner = read_byte(input);
        w.kind += w.owner == 0xff;
    }
    w.host.hva = w.gpa.gpa % 3 ? (void *)(uintptr_t)w.gpa.gpa : NULL;
    for (unsigned i = 0; i <= copies && windows->len < MOST_WINDOWS; i++) {
        g_array_append_val(windows, w);
        w.gpa.gpa += w.size;
        w.bus.bus += w.size;
    }
}

static GArray *read_windows(Input *input)
{
    GArray *windows = g_array_new(FALSE, FALSE, sizeof(P2PWindow));
    unsigned n = read_byte(input) % 32;

    while (n-- > 0) {
        read_window(input, windows);
    }
    return windows;
}

/* --- What a map must say of windows --- */

typedef unsigned __int128 Wide;

static bool is_sound(const P2PWindow *w)
{
    const Wide top = (Wide)1 << 64;

    return w->size > 0 && (Wide)w->gpa.gpa + w->size <= top &&
           (Wide)w->bus.bus + w->size <= top &&
           (w->kind == P2P_WINDOW_IO || w->kind == P2P_WINDOW_RAM) &&
           (w->owner == P2P_NO_OWNER ||
            (w->kind == P2P_WINDOW_IO && w->owner < P2P_MAX_INITIATORS));
}

static int compare_places(const void *a, const void *b)
{
    const P2PWindow *x = a;
    const P2PWindow *y = b;

    return x->gpa.gpa < y->gpa.gpa ? -1 : x->gpa.gpa > y->gpa.gpa;
}

/* Sorts, too. */
static bool are_sound(GArray *windows)
{
    const P2PWindow *ws = (const P2PWindow *)windows->data;

    if (windows->len > 0) {
        qsort(windows->data, windows->len, sizeof(*ws), compare_places);
    }
    for (guint i = 0; i < windows->len; i++) {
        if (!is_sound(&ws[i]) ||
            (i > 0 && (Wide)ws[i - 1].gpa.gpa + ws[i - 1].size >
                      ws[i].gpa.gpa)) {
            return false;
        }
    }
    return true;
}

static void check_map(const P2PMap *map, GError *error, bool sound,
                      const GArray *windows)
{
    if (!sound) {
        g_assert_null(map);
        g_assert_nonnull(error);
        return;
    }
    g_assert_no_error(error);
    g_assert_nonnull(map);
    g_assert_cmpuint(p2p_map_size(map), ==, windows->len);
    for (guint i = 0; i < windows->len; i += 1 + windows->len / 64) {
        compare_windows(p2p_map_window(map, i),
                        oracle_told(g_array_index(windows, P2PWindow, i)));
    }
}

/* --- The change --- */

/*
 * Takes the windows of @remove out of @windows; false if one is not there, or
 * not any more.  Both ascend.
 */
static bool take_out(GArray *windows, const GArray *remove)
{
    P2PWindow *ws = (P2PWindow *)windows->data;
    guint kept = 0;
    guint r = 0;

    for (guint i = 0; i < windows->len; i++) {
        if (r < remove->len &&
            g_array_index(remove, P2PGuestAddr, r).gpa == ws[i].gpa.gpa) {
            r++;
        } else {
            ws[kept++] = ws[i];
        }
    }
    g_array_set_size(windows, kept);
    return r == remove->len;
}

static int compare_gpas(const void *a, const void *b)
{
    const P2PGuestAddr *x = a;
    const P2PGuestAddr *y = b;

    return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

/* Each: a byte of bits, then the number of a window, or an address */
static GArray *read_removes(Input *input, const GArray *windows)
{
    GArray *removes = g_array_new(FALSE, FALSE, sizeof(P2PGuestAddr));
    unsigned n = read_byte(input) % 16;

    while (n-- > 0) {
        uint8_t how = read_byte(input);
        unsigned copies = how & 0x80 ? read_byte(input) : 0;
        guint i = read_bytes(input, 2);
        P2PGuestAddr gpa;

        if (how % 16 == 15 || windows->len == 0) {
            gpa.gpa = read_bytes(input, 8);
            g_array_append_val(removes, gpa);
            continue;
        }
        for (unsigned c = 0; c <= copies; c++) {
            gpa = g_array_index(windows, P2PWindow,
                                (i + c) % windows->len).gpa;
            g_array_append_val(removes, gpa);
        }
    }
    return removes;
}

/* Returns the new map, and its windows in @windows; or NULL: as it was. */
static P2PMap *read_change(Input *input, const P2PMap *map, GArray **windows)
{
    g_autoptr(GArray) result = g_array_copy(*windows);
    g_autoptr(GArray) remove = read_removes(input, *windows);
    g_autoptr(GArray) add = read_windows(input);
    g_autoptr(GError) error = NULL;
    P2PMap *changed = p2p_map_change(
        map, (const P2PGuestAddr *)remove->data, remove->len,
        (const P2PWindow *)add->data, add->len, &error);
    bool sound;

    if (remove->len > 0) {
        qsort(remove->data, remove->len, sizeof(P2PGuestAddr), compare_gpas);
    }
    sound = take_out(result, remove);
    if (add->len > 0) {
        g_array_append_vals(result, add->data, add->len);
    }
    sound = are_sound(result) && sound;
    check_map(changed, error, sound, result);
    if (changed) {
        GArray *old = *windows;

        *windows = g_steal_pointer(&result);
        result = old;
    }
    return changed;
}

/* --- Vectors --- */

/* A byte of bits: where, how long, and how many that continue it */
static size_t read_entries(Input *input, const GArray *windows,
                           P2PGuestVec *in, size_t n)
{
    uint8_t how = read_byte(input);
    uint8_t flags = read_byte(input);
    unsigned copies = how & 0x40 ? read_byte(input) : 0;
    P2PGuestVec e;

    e.len = read_size(input);
    e.flags = flags & 0x80 ? read_bytes(input, 4) : flags;
    if ((how & 3) == 0 && n > 0) {
        e.addr.gpa = in[n - 1].addr.gpa + in[n - 1].len;
    } else if ((how & 3) < 3 && windows->len > 0) {
        guint i = read_bytes(input, 2) % windows->len;
        const P2PWindow *w = &g_array_index(windows, P2PWindow, i);
        uint8_t offset = read_byte(input);

        e.addr.gpa = (how & 3) == 1 ? w->gpa.gpa + offset
                                    : w->gpa.gpa + w->size - offset;
    } else {
        e.addr.gpa = read_bytes(input, 8);
    }
    for (unsigned i = 0; i <= copies && n < MOST_ENTRIES; i++) {
        in[n++] = e;
        if (how & 0x20) {
            /* From window to window */
            e.addr.gpa = windows->len
                ? g_array_index(windows, P2PWindow,
                                (n * 2654435761u) % windows->len).gpa.gpa : 0;
        } else {
            e.addr.gpa += e.len;
        }
    }
    return n;
}

static void translate(Input *input, const P2PMap *map, const GArray *windows)
{
    const Oracle oracle = {
        .windows = (const P2PWindow *)windows->data,
        .n = windows->len,
        .cpu_initiators = map->cpu_initiators,
        .ascending = windows->len > 0,
    };
    unsigned initiator = read_byte(input) % (P2P_MAX_INITIATORS + 1);
    unsigned groups = read_byte(input) % 64;
    P2PGuestVec in[MOST_ENTRIES];
    Tally tally = { 0 };
    size_t n = 0;

    while (groups-- > 0) {
        n = read_entries(input, windows, in, n);
    }
    for (const P2PKernels *k = p2p_kernels; k->name; k++) {
        if (k->supported()) {
            compare_vector(k, map, &oracle, initiator, in, n, &tally);
        }
    }
    for (size_t i = 0; i < n; i += 1 + n / 8) {
        compare_cpu_access(map, &oracle, initiator, &in[i], &tally);
    }
}

/* Windows, a vector, a change, a vector; then the first map once more */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input input = { data, size };
    uint64_t cpu_initiators = read_mask(&input);
    g_autoptr(GArray) windows = read_windows(&input);
    g_autoptr(GArray) changed_windows = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(P2PMap) map = p2p_map_new((const P2PWindow *)windows->data,
                                        windows->len, cpu_initiators, &error);
    P2PMap *changed;

    check_map(map, error, are_sound(windows), windows);
    if (!map) {
        return 0;
    }
    translate(&input, map, windows);
    changed_windows = g_array_copy(windows);
    changed = read_change(&input, map, &changed_windows);
    if (changed) {
        translate(&input, changed, changed_windows);
        p2p_map_free(changed);
    }
    check_map(map, NULL, true, windows);
    return 0;
}
