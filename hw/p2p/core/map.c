/*
 * Window map: how a snapshot is built, changed and read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "map-internal.h"

/* A chunk with fewer windows is joined with the next one when it is changed. */
#define CHUNK_FEW (P2P_CHUNK_WINDOWS / 4)

GQuark p2p_map_error_quark(void)
{
    return g_quark_from_static_string("p2p-map-error-quark");
}

/* Never past the end of the address space, where first + size is 0. */
static uint64_t last_gpa(const P2PWindow *w)
{
    return w->gpa.gpa + (w->size - 1);
}

/* Whole cache lines, freed by free(); as g_malloc(), it does not fail. */
static void *alloc_lines(size_t size)
{
    void *lines;

    size = (size + P2P_CACHE_LINE - 1) & -P2P_CACHE_LINE;
    if (posix_memalign(&lines, P2P_CACHE_LINE, size)) {
        g_error("no memory for %zu bytes of a window map", size);
    }
    return lines;
}

/* --- Checks ------------------------------------------------------------ */

static const char *window_flaw(const P2PWindow *w)
{
    if (w->size == 0) {
        return "is empty";
    }
    if (last_gpa(w) < w->gpa.gpa) {
        return "ends beyond the guest physical address space";
    }
    if (w->bus.bus + (w->size - 1) < w->bus.bus) {
        return "ends beyond the bus address space";
    }
    if (w->kind != P2P_WINDOW_RAM && w->kind != P2P_WINDOW_IO) {
        return "is neither RAM nor I/O";
    }
    if (w->owner != P2P_NO_OWNER && w->kind == P2P_WINDOW_RAM) {
        return "is RAM and yet has an owner";
    }
    if (w->owner != P2P_NO_OWNER && w->owner >= P2P_MAX_INITIATORS) {
        return "has an owner that is no initiator number";
    }
    return NULL;
}

/* @there: windows that there are already. */
static bool check_windows(const P2PWindow *windows, size_t n, size_t there,
                          GError **error)
{
    if (n > P2P_MAX_WINDOWS - there) {
        g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_INVALID,
                    "%zu windows, and %zu more, are too many: a map holds %u",
                    there, n, P2P_MAX_WINDOWS);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *flaw = window_flaw(&windows[i]);

        if (flaw) {
            g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_INVALID,
                        "the window of 0x%" PRIx64 " bytes at guest physical "
                        "address 0x%" PRIx64 " %s",
                        windows[i].size, windows[i].gpa.gpa, flaw);
            return false;
        }
    }
    return true;
}

static bool check_neighbours(uint64_t first, uint64_t last,
                             uint64_t next_first, uint64_t next_last,
                             GError **error)
{
    if (last >= next_first) {
        g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_OVERLAP,
                    "the windows at guest physical addresses "
                    "0x%" PRIx64 "-0x%" PRIx64 " and "
                    "0x%" PRIx64 "-0x%" PRIx64 " overlap",
                    first, last, next_first, next_last);
        return false;
    }
    return true;
}

/* --- Order ------------------------------------------------------------- */

static bool in_order(const P2PWindow *windows, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (windows[i - 1].gpa.gpa > windows[i].gpa.gpa) {
            return false;
        }
    }
    return true;
}

typedef struct Rank {
    uint64_t gpa;
    size_t index;
} Rank;

/* Radix sort, a byte at a time: the time is linear, equal keys keep places. */
static Rank *sort_ranks(Rank *ranks, Rank *spare, size_t n)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t start[256] = { 0 };
        size_t sum = 0;
        Rank *from = ranks;

        for (size_t i = 0; i < n; i++) {
            start[from[i].gpa >> shift & 0xff]++;
        }
        if (start[from[0].gpa >> shift & 0xff] == n) {
            continue;
        }
        for (unsigned byte = 0; byte < 256; byte++) {
            size_t count = start[byte];

            start[byte] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) {
            spare[start[from[i].gpa >> shift & 0xff]++] = from[i];
        }
        ranks = spare;
        spare = from;
    }
    return ranks;
}

/* @windows in ascending order: themselves, or a copy in *@copy. */
static const P2PWindow *sort_windows(const P2PWindow *windows, size_t n,
                                     P2PWindow **copy)
{
    g_autofree Rank *memory = NULL;
    Rank *ranks;

    if (in_order(windows, n)) {
        return windows;
    }
    memory = g_new(Rank, 2 * n);
    for (size_t i = 0; i < n; i++) {
        memory[i] = (Rank) { windows[i].gpa.gpa, i };
    }
    ranks = sort_ranks(memory, memory + n, n);
    *copy = g_new(P2PWindow, n);
    for (size_t i = 0; i < n; i++) {
        (*copy)[i] = windows[ranks[i].index];
    }
    return *copy;
}

static int compare_addresses(const void *a, const void *b)
{
    const P2PGuestAddr *ga = a;
    const P2PGuestAddr *gb = b;

    return (ga->gpa > gb->gpa) - (ga->gpa < gb->gpa);
}

/* --- Chunks ------------------------------------------------------------ */

/* One bit of each of four codes, from and to a mask of four initiators. */
static unsigned spread(uint64_t mask, unsigned first)
{
    unsigned bits = mask >> first & 0xf;

    return (bits | bits << 3 | bits << 6 | bits << 9) & 0x1111;
}

static uint64_t gather(unsigned word, unsigned code_bit, unsigned first)
{
    unsigned bits = word >> __builtin_ctz(code_bit) & 0x1111;

    return (uint64_t)((bits | bits >> 3 | bits >> 6 | bits >> 9) & 0xf)
           << first;
}

static P2PRights rights_of(const P2PWindow *w)
{
    P2PRights rights = {
        .owner = w->owner, .kind = w->kind, .revoked = w->revoked,
    };
    uint64_t self = w->owner == P2P_NO_OWNER ? 0 : UINT64_C(1) << w->owner;
    uint64_t any = w->readers | w->writers;

    if (w->revoked) {
        return rights;
    }
    for (unsigned i = 0; i < P2P_MAX_INITIATORS; i += P2P_CODES_PER_WORD) {
        rights.codes[i / P2P_CODES_PER_WORD] = w->kind == P2P_WINDOW_RAM
            ? spread(w->readers, i) * P2P_CODE_RAM_READ |
              spread(w->writers, i) * P2P_CODE_RAM_WRITE
            : spread(w->readers, i) * P2P_CODE_IO_READ |
              spread(w->writers, i) * P2P_CODE_IO_WRITE |
              spread(w->unrouted & any, i) * P2P_CODE_IO_UNROUTED |
              spread(self & any, i) * P2P_CODE_IO_SELF;
    }
    return rights;
}

static void get_masks(P2PWindow *w, const P2PRights *rights)
{
    bool ram = w->kind == P2P_WINDOW_RAM;

    for (unsigned i = 0; i < P2P_MAX_INITIATORS; i += P2P_CODES_PER_WORD) {
        unsigned word = rights->codes[i / P2P_CODES_PER_WORD];

        w->readers |= gather(word, ram ? P2P_CODE_RAM_READ
                                       : P2P_CODE_IO_READ, i);
        w->writers |= gather(word, ram ? P2P_CODE_RAM_WRITE
                                       : P2P_CODE_IO_WRITE, i);
        w->unrouted |= ram ? 0 : gather(word, P2P_CODE_IO_UNROUTED, i);
    }
}

static bool equal_rights(const P2PWindow *a, const P2PWindow *b)
{
    return a->readers == b->readers && a->writers == b->writers &&
           a->unrouted == b->unrouted && a->owner == b->owner &&
           a->kind == b->kind && a->revoked == b->revoked;
}

/* The rights that the windows of a chunk have, each once. */
typedef struct RightsTable {
    const P2PWindow *windows[P2P_CHUNK_WINDOWS];    /* the first with them */
    uint32_t n;
    uint16_t hash[2 * P2P_CHUNK_WINDOWS];   /* 0: free; else index + 1 */
} RightsTable;

static uint32_t rights_index(RightsTable *table, const P2PWindow *w)
{
    uint64_t mixed = ((w->readers * 31 + w->writers) * 31 + w->unrouted) * 31 +
                     w->owner;
    uint32_t slot = mixed * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    for (;; slot++) {
        uint16_t *entry = &table->hash[slot % G_N_ELEMENTS(table->hash)];

        if (!*entry) {
            table->windows[table->n++] = w;
            *entry = table->n;
            return table->n - 1;
        }
        if (equal_rights(table->windows[*entry - 1], w)) {
            return *entry - 1;
        }
    }
}

/* From @n windows in ascending order, 1 to P2P_CHUNK_WINDOWS. */
static P2PChunk *chunk_new(const P2PWindow *windows, uint32_t n)
{
    const P2PSlot no_address = { .first = 1, .end = 1 };
    P2P_UNINITIALIZED RightsTable known;
    P2P_UNINITIALIZED uint32_t rights_at[P2P_CHUNK_WINDOWS];
    P2P_UNINITIALIZED uint64_t keys[P2P_CHUNK_WINDOWS];
    P2PTable table;
    P2PChunk *chunk;
    P2PSlot *slots;
    void **hosts;
    P2PRights *rights;
    uint16_t *ranks;
    uint32_t rank = 0;

    known.n = 0;
    memset(known.hash, 0, sizeof(known.hash));
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = windows[i].gpa.gpa;
        rights_at[i] = 1 + rights_index(&known, &windows[i]);
    }
    p2p_table_choose(&table, keys, n);

    chunk = alloc_lines(sizeof(*chunk) + (n + 2) * sizeof(slots[0]) +
                        (n + 1) * sizeof(hosts[0]) +
                        (1 + known.n) * sizeof(rights[0]) +
                        (table.last + 1) * sizeof(ranks[0]));
    slots = chunk->slots;
    hosts = (void **)(slots + n + 2);
    rights = (P2PRights *)(hosts + n + 1);
    ranks = (uint16_t *)(rights + 1 + known.n);

    chunk->refs = 1;
    chunk->n = n;
    chunk->table = table;
    chunk->ranks = ranks;
    chunk->hosts = hosts;
    for (size_t b = 0; b <= table.last; b++) {
        ranks[b] = p2p_table_rank(&table, keys, n, b, &rank);
    }

    rights[0] = (P2PRights) { .owner = P2P_NO_OWNER };
    for (uint32_t i = 0; i < known.n; i++) {
        rights[1 + i] = rights_of(known.windows[i]);
    }
    slots[0] = slots[n + 1] = no_address;
    slots[0].rights = slots[n + 1].rights = &rights[0];
    hosts[0] = NULL;
    for (uint32_t i = 0; i < n; i++) {
        const P2PWindow *w = &windows[i];

        slots[i + 1] = (P2PSlot) {
            .end = w->gpa.gpa + w->size,
            .delta = w->bus.bus - w->gpa.gpa,
            .first = w->gpa.gpa,
            .rights = &rights[rights_at[i]],
        };
        hosts[i + 1] = w->host.hva;
    }
    return chunk;
}

static void chunk_unref(P2PChunk *chunk)
{
    if (g_atomic_int_dec_and_test(&chunk->refs)) {
        free(chunk);
    }
}

/* All but the masks, which cost more, and are those of other windows, too. */
static P2PWindow slot_window_bare(const P2PChunk *chunk, const P2PSlot *slot)
{
    return (P2PWindow) {
        .gpa.gpa = slot->first,
        .size = slot->end - slot->first,
        .bus.bus = slot->first + slot->delta,
        .host.hva = chunk->hosts[slot - chunk->slots],
        .owner = slot->rights->owner,
        .kind = slot->rights->kind,
        .revoked = slot->rights->revoked,
    };
}

static P2PWindow slot_window(const P2PChunk *chunk, const P2PSlot *slot)
{
    P2PWindow window = slot_window_bare(chunk, slot);

    get_masks(&window, slot->rights);
    return window;
}

/* All of its windows. */
static void chunk_windows(const P2PChunk *chunk, P2PWindow *windows)
{
    /* By place among the rights: a window that has them, and its masks. */
    P2PWindow *known[P2P_CHUNK_WINDOWS + 1] = { NULL };

    for (uint32_t i = 0; i < chunk->n; i++) {
        const P2PSlot *slot = &chunk->slots[i + 1];
        P2PWindow **other = &known[slot->rights - chunk->slots[0].rights];

        windows[i] = slot_window_bare(chunk, slot);
        if (*other) {
            windows[i].readers = (*other)->readers;
            windows[i].writers = (*other)->writers;
            windows[i].unrouted = (*other)->unrouted;
        } else {
            get_masks(&windows[i], slot->rights);
            *other = &windows[i];
        }
    }
}

/* --- Directory --------------------------------------------------------- */

static uint64_t chunk_first(const P2PChunk *chunk)
{
    return chunk->slots[1].first;
}

static void build_directory(P2PMap *map)
{
    static const uint32_t only_chunk[] = { 0 };
    size_t n = map->n_chunks - 1;
    uint32_t *ranks;
    uint32_t rank = 0;

    if (map->n_chunks < 2) {
        map->ranks = only_chunk;
        return;
    }
    map->separators = alloc_lines(n * sizeof(map->separators[0]) +
                                  P2P_TABLE_BUCKETS(n) * sizeof(ranks[0]));
    ranks = (uint32_t *)(map->separators + n);
    map->ranks = ranks;
    for (size_t i = 0; i < n; i++) {
        map->separators[i] = chunk_first(map->chunks[i + 1]);
    }
    p2p_table_choose(&map->table, map->separators, n);
    for (size_t b = 0; b <= map->table.last; b++) {
        ranks[b] = p2p_table_rank(&map->table, map->separators, n, b, &rank);
    }
}

/* --- Building ---------------------------------------------------------- */

typedef struct Build {
    GPtrArray *chunks;          /* of P2PChunk, references */
    GArray *pending;            /* of P2PWindow, not yet in a chunk */
    const P2PWindow *add;       /* what is left of it, ascending */
    size_t n_add;
    const P2PGuestAddr *remove; /* likewise */
    size_t n_remove;
} Build;

static void emit_chunks(Build *build, const P2PWindow *windows, size_t n)
{
    size_t n_chunks = (n + P2P_CHUNK_WINDOWS - 1) / P2P_CHUNK_WINDOWS;

    for (size_t i = 0; i < n_chunks; i++) {
        size_t begin = (uint64_t)i * n / n_chunks;
        size_t end = (uint64_t)(i + 1) * n / n_chunks;

        g_ptr_array_add(build->chunks,
                        chunk_new(windows + begin, end - begin));
    }
}

static bool set_unknown(uint64_t gpa, GError **error)
{
    g_set_error(error, P2P_MAP_ERROR, P2P_MAP_ERROR_UNKNOWN,
                "no window begins at guest physical address 0x%" PRIx64, gpa);
    return false;
}

static void take_add(Build *build)
{
    g_array_append_val(build->pending, *build->add);
    build->add++;
    build->n_add--;
}

/* Add to what is pending: @chunk, with the changes up to address @last. */
static bool merge_chunk(Build *build, const P2PChunk *chunk, uint64_t last,
                        GError **error)
{
    P2P_UNINITIALIZED P2PWindow windows[P2P_CHUNK_WINDOWS];

    chunk_windows(chunk, windows);
    for (uint32_t i = 0; i < chunk->n; i++) {
        P2PWindow w = windows[i];

        while (build->n_add && build->add->gpa.gpa < w.gpa.gpa) {
            take_add(build);
        }
        if (build->n_remove && build->remove->gpa <= w.gpa.gpa) {
            if (build->remove->gpa < w.gpa.gpa) {
                return set_unknown(build->remove->gpa, error);
            }
            build->remove++;
            build->n_remove--;
        } else {
            g_array_append_val(build->pending, w);
        }
    }
    while (build->n_add && build->add->gpa.gpa <= last) {
        take_add(build);
    }
    return true;
}

static bool merge(Build *build, const P2PMap *map, GError **error)
{
    for (size_t i = 0; i < map->n_chunks; i++) {
        P2PChunk *chunk = map->chunks[i];
        bool at_end = i + 1 == map->n_chunks;
        uint64_t last = at_end ? UINT64_MAX
                               : chunk_first(map->chunks[i + 1]) - 1;

        if (!build->pending->len &&
            !(build->n_add && build->add->gpa.gpa <= last) &&
            !(build->n_remove && build->remove->gpa <= last)) {
            g_atomic_int_inc(&chunk->refs);
            g_ptr_array_add(build->chunks, chunk);
            continue;
        }
        if (!merge_chunk(build, chunk, last, error)) {
            return false;
        }
        if (build->pending->len >= CHUNK_FEW || at_end) {
            emit_chunks(build, (const P2PWindow *)build->pending->data,
                        build->pending->len);
            g_array_set_size(build->pending, 0);
        }
    }
    return !build->n_remove || set_unknown(build->remove->gpa, error);
}

static bool check_overlap(const GPtrArray *chunks, GError **error)
{
    const P2PSlot *before = NULL;   /* of the chunk before, the last one */

    for (guint i = 0; i < chunks->len; i++) {
        P2PChunk *chunk = g_ptr_array_index(chunks, i);
        /* One that others have, too, was checked when it was new. */
        uint32_t n = g_atomic_int_get(&chunk->refs) == 1 ? chunk->n : 1;

        for (uint32_t j = 1; j <= n; j++) {
            const P2PSlot *slot = &chunk->slots[j];
            const P2PSlot *b = j > 1 ? slot - 1 : before;

            if (b && !check_neighbours(b->first, b->end - 1, slot->first,
                                       slot->end - 1, error)) {
                return false;
            }
        }
        before = &chunk->slots[chunk->n];
    }
    return true;
}

/* Takes the references in @chunks. */
static P2PMap *map_of_chunks(GPtrArray *chunks, uint64_t cpu_initiators)
{
    P2PMap *map = alloc_lines(sizeof(*map));

    memset(map, 0, sizeof(*map));
    map->cpu_initiators = cpu_initiators;
    map->n_chunks = chunks->len;
    for (guint i = 0; i < chunks->len; i++) {
        const P2PChunk *chunk = g_ptr_array_index(chunks, i);

        map->n += chunk->n;
        map->most |= chunk->table.more;
    }
    map->chunks = (P2PChunk **)g_ptr_array_free(chunks, false);
    build_directory(map);
    return map;
}

/* --- Interface --------------------------------------------------------- */

P2PMap *p2p_map_change(const P2PMap *map,
                       const P2PGuestAddr *remove, size_t n_remove,
                       const P2PWindow *add, size_t n_add, GError **error)
{
    g_autofree P2PGuestAddr *sorted_remove = NULL;
    g_autofree P2PWindow *sorted_add = NULL;
    Build build = { .n_add = n_add, .n_remove = n_remove };
    bool ok;

    if (!check_windows(add, n_add, map->n - MIN(n_remove, map->n), error)) {
        return NULL;
    }
    build.add = sort_windows(add, n_add, &sorted_add);
    if (n_remove) {
        sorted_remove = g_new(P2PGuestAddr, n_remove);
        memcpy(sorted_remove, remove, n_remove * sizeof(*remove));
        qsort(sorted_remove, n_remove, sizeof(*remove), compare_addresses);
        build.remove = sorted_remove;
    }

    build.chunks = g_ptr_array_new();
    build.pending = g_array_new(false, false, sizeof(P2PWindow));
    ok = merge(&build, map, error);
    if (ok) {
        /* Only left if there was no window before. */
        emit_chunks(&build, build.add, build.n_add);
        ok = check_overlap(build.chunks, error);
    }
    g_array_free(build.pending, true);
    if (!ok) {
        for (guint i = 0; i < build.chunks->len; i++) {
            chunk_unref(g_ptr_array_index(build.chunks, i));
        }
        g_ptr_array_free(build.chunks, true);
        return NULL;
    }
    return map_of_chunks(build.chunks, map->cpu_initiators);
}

P2PMap *p2p_map_new(const P2PWindow *windows, size_t n,
                    uint64_t cpu_initiators, GError **error)
{
    const P2PMap nothing = { .cpu_initiators = cpu_initiators };

    return p2p_map_change(&nothing, NULL, 0, windows, n, error);
}

void p2p_map_free(P2PMap *map)
{
    if (!map) {
        return;
    }
    for (size_t i = 0; i < map->n_chunks; i++) {
        chunk_unref(map->chunks[i]);
    }
    free(map->separators);
    g_free(map->chunks);
    free(map);
}

size_t p2p_map_size(const P2PMap *map)
{
    return map->n;
}

P2PWindow p2p_map_window(const P2PMap *map, size_t i)
{
    const P2PChunk *const *chunk = (const P2PChunk *const *)map->chunks;

    g_assert(i < map->n);
    while (i >= (*chunk)->n) {
        i -= (*chunk)->n;
        chunk++;
    }
    return slot_window(*chunk, &(*chunk)->slots[i + 1]);
}

bool p2p_map_find(const P2PMap *map, P2PGuestAddr addr, P2PWindow *window)
{
    const P2PChunk *chunk;
    const P2PSlot *slot;

    if (!map->n) {
        return false;
    }
    chunk = p2p_map_chunk(map, addr.gpa);
    slot = p2p_chunk_slot(chunk, addr.gpa);
    if (!p2p_slot_holds(slot, addr.gpa)) {
        return false;
    }
    *window = slot_window(chunk, slot);
    return true;
}
