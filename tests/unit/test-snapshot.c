/*
 * Maps in use by several threads: one publishes, the others read without a
 * lock, and what nobody can see any more is freed
 *
 * Each version of the map has a window that tells the version, and replaces
 * the windows of one block.  So the bus addresses of all windows follow from
 * the version, and a reader that sees a mixture of two versions notices.
 *
 * Who may still read an old map is told in the simplest way there is: a
 * reader says, between two maps, which of the versions it has seen published
 * (quiescent states).  QEMU has RCU for that.
 *
 * It is worth most under ThreadSanitizer, which knows of no order but that of
 * the atomic accesses: GLib's locks and threads are not used.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include "map-internal.h"
#include "random.h"

enum {
    WINDOWS = 3000,
    BLOCKS = 10,        /* of windows; version v replaces block v % BLOCKS */
    BLOCK = WINDOWS / BLOCKS,
    READERS = 3,
    PENDING = 4,        /* old maps that wait for the readers */
    ENTRIES = 48,
};

#define WINDOW_SIZE UINT64_C(0x1000)
#define STRIDE      UINT64_C(0x3000)
#define VERSION_BUS (UINT64_C(1) << 40)         /* bytes for each version */

/* What the threads share. */
typedef struct Stage {
    unsigned long versions;             /* to be published */
    _Atomic(P2PMap *) current;
    atomic_ulong published;             /* the version of current, or less */
    atomic_bool done;                   /* nothing more is published */
    atomic_ulong quiet[READERS];        /* reads no version below this */
} Stage;

typedef struct Reader {
    Stage *stage;
    unsigned number;
    unsigned long seen;                 /* different versions */
    unsigned long vectors;
    unsigned long derived;
} Reader;

static uint64_t random_step(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

/* --- What a version holds --- */

static uint64_t gpa_of(unsigned window)
{
    return STRIDE * (window + 1);
}

/* The last version up to @version that has replaced the window */
static unsigned long version_of(unsigned window, unsigned long version)
{
    unsigned long block = window / BLOCK;

    if (window == 0) {
        return version;
    }
    return version < block ? 0 : version - (version - block) % BLOCKS;
}

static P2PWindow window_of(unsigned window, unsigned long version)
{
    return (P2PWindow) {
        .gpa = { gpa_of(window) }, .size = WINDOW_SIZE,
        .bus = { version_of(window, version) * VERSION_BUS + gpa_of(window) },
        .readers = UINT64_MAX, .owner = P2P_NO_OWNER,
    };
}

static P2PMap *first_map(void)
{
    g_autofree P2PWindow *ws = g_new(P2PWindow, WINDOWS);

    for (unsigned i = 0; i < WINDOWS; i++) {
        ws[i] = window_of(i, 0);
    }
    return p2p_map_new(ws, WINDOWS, 0, NULL);
}

static P2PMap *next_map(const P2PMap *map, unsigned long version)
{
    P2PGuestAddr remove[BLOCK + 1];
    P2PWindow add[BLOCK + 1];
    unsigned first = version % BLOCKS * BLOCK;
    unsigned n = 0;

    if (first > 0) {
        add[n++] = window_of(0, version);
    }
    for (unsigned i = first; i < first + BLOCK; i++) {
        add[n++] = window_of(i, version);
    }
    for (unsigned i = 0; i < n; i++) {
        remove[i] = add[i].gpa;
    }
    return p2p_map_change(map, remove, n, add, n, NULL);
}

/* --- Readers --- */

/* Near, far and runs; the first entry is in the window of the version. */
static void fill_vector(P2PGuestVec *in, unsigned *windows, uint64_t *state)
{
    unsigned window = 0;

    for (unsigned i = 0; i < ENTRIES; i++) {
        in[i] = (P2PGuestVec) {
            { gpa_of(window) + random_step(state) % 8 * 8 }, 8,
            P2P_VEC_READ | P2P_VEC_NO_MERGE
        };
        windows[i] = window;
        if (random_step(state) % 4) {
            window = random_step(state) % WINDOWS;
        }
    }
}

/* Returns the version. */
static unsigned long check_map(const P2PMap *map, uint64_t *state)
{
    P2PGuestVec in[ENTRIES];
    P2PBusVec out[ENTRIES];
    unsigned windows[ENTRIES];
    size_t m = ENTRIES;
    unsigned long version;

    fill_vector(in, windows, state);
    g_assert_cmpint(p2p_translate(map, 0, in, ENTRIES, out, &m, NULL), ==, 0);
    g_assert_cmpuint(m, ==, ENTRIES);
    version = out[0].addr.bus / VERSION_BUS;
    for (unsigned i = 0; i < ENTRIES; i++) {
        g_assert_cmphex(out[i].addr.bus - in[i].addr.gpa, ==,
                        version_of(windows[i], version) * VERSION_BUS);
    }
    return version;
}

/* A map of the reader's own, which shares windows with those of the writer */
static void derive(const P2PMap *map, unsigned number, uint64_t *state)
{
    P2PWindow w = window_of(random_step(state) % WINDOWS, 0);
    P2PWindow found;
    P2PMap *own;

    w.gpa.gpa += WINDOW_SIZE;
    w.bus.bus = number;
    own = p2p_map_change(map, NULL, 0, &w, 1, NULL);
    g_assert_nonnull(own);
    check_map(own, state);
    g_assert_true(p2p_map_find(own, w.gpa, &found));
    g_assert_cmpuint(found.bus.bus, ==, number);
    p2p_map_free(own);
}

static void *read_maps(void *opaque)
{
    Reader *r = opaque;
    Stage *stage = r->stage;
    uint64_t state = r->number;
    unsigned long last = 0;
    bool done = false;

    while (!done) {
        unsigned long least = atomic_load(&stage->published);
        unsigned long version;
        P2PMap *map;

        /* From here on, nothing that was replaced before is read. */
        atomic_store(&stage->quiet[r->number], least);
        done = atomic_load(&stage->done);

        map = atomic_load(&stage->current);
        version = check_map(map, &state);
        g_assert_cmpuint(version, >=, MAX(least, last));
        g_assert_cmpuint(check_map(map, &state), ==, version);
        if (r->vectors % 16 == 0) {
            derive(map, r->number, &state);
            r->derived++;
        }
        if (version == last) {
            sched_yield();      /* to the writer */
        }
        r->seen += version != last;
        r->vectors += 2;
        last = version;
    }
    g_assert_cmpuint(last, ==, stage->versions);
    atomic_store(&stage->quiet[r->number], ULONG_MAX);
    return NULL;
}

/* --- The writer --- */

/* Until nobody reads versions below @version any more. */
static void wait_for_readers(Stage *stage, unsigned long version)
{
    for (unsigned i = 0; i < READERS; i++) {
        while (atomic_load(&stage->quiet[i]) < version) {
            sched_yield();
        }
    }
}

static void publish_maps(Stage *stage)
{
    P2PMap *old[PENDING] = { NULL };

    for (unsigned long v = 1; v <= stage->versions; v++) {
        P2PMap *map = atomic_load(&stage->current);
        P2PMap *next = next_map(map, v);

        g_assert_nonnull(next);
        atomic_store(&stage->current, next);
        atomic_store(&stage->published, v);

        /* old[i] was replaced by version i modulo PENDING, the oldest here. */
        if (old[v % PENDING]) {
            wait_for_readers(stage, v - PENDING);
            p2p_map_free(old[v % PENDING]);
        }
        old[v % PENDING] = map;
    }
    atomic_store(&stage->done, true);
    wait_for_readers(stage, stage->versions);
    for (unsigned i = 0; i < PENDING; i++) {
        p2p_map_free(old[i]);
    }
}

static void test_snapshot(void)
{
    Stage stage = { .versions = random_entries_wanted(1000000) / 100 };
    Reader readers[READERS];
    pthread_t threads[READERS];
    P2PMap *map;

    stage.current = first_map();
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (Reader) { .stage = &stage, .number = i };
        g_assert_cmpint(pthread_create(&threads[i], NULL, read_maps,
                                       &readers[i]), ==, 0);
    }
    publish_maps(&stage);
    for (unsigned i = 0; i < READERS; i++) {
        g_assert_cmpint(pthread_join(threads[i], NULL), ==, 0);
        g_test_message("reader %u: %lu vectors, %lu of %lu versions, "
                       "%lu maps of its own", i, readers[i].vectors,
                       readers[i].seen, stage.versions, readers[i].derived);
        /* The writer does not go on without it. */
        g_assert_cmpuint(readers[i].seen, >=,
                         stage.versions / (PENDING + 3));
    }

    /* All others are freed: nothing is shared any more. */
    map = atomic_load(&stage.current);
    for (size_t c = 0; c < map->n_chunks; c++) {
        g_assert_cmpint(map->chunks[c]->refs, ==, 1);
    }
    p2p_map_free(map);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot/publish", test_snapshot);
    return g_test_run();
}
