/*
 * The vector translator, side by side with its peers
 *
 * Prints one line of JSON for each figure (see bench.h). Names are
 *
 *   translate/PATTERN/nENTRIES/wWINDOWS/WHAT
 *
 * PATTERN is seq4k, rand4k, ... (see workload.h); WHAT is ns (context, of
 * qemu-p2p or a peer) or a ratio.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "bench.h"
#include "peer.h"

/* Entries of all vectors together: too many for a branch predictor to learn. */
#define ENTRIES (256 * 256)
/* Vectors that stay in the first level cache, as a copy of them does. */
#define FEW_ENTRIES (4 * 256)

static const Peer *const peers[] = {
    &peer_vfio_user, &peer_vhost_user,
#ifdef BENCH_DPDK
    &peer_dpdk,
#endif
    &peer_qemu,
};

/* --- One peer ---------------------------------------------------------- */

static void against(const Peer *peer, const char *pattern_name,
                    Pattern pattern, unsigned windows, unsigned n, bool claim)
{
    g_autoptr(Workload) w = workload_new(pattern,
                                         MIN(windows, peer->max_windows),
                                         4096, n, ENTRIES);
    g_autofree char *note = w->n_windows == windows
        ? g_strdup(peer->function)
        : g_strdup_printf("%s, %u windows, which is all it can hold",
                          peer->function, w->n_windows);
    BenchSide sides[] = {
        { "qemu-p2p", workload_translate, w }, { peer->name, peer->run, w },
    };

    peer->open(w);
    bench_measure(sides, 2, (double)w->n_vectors * w->n);
    peer->close();

    bench_report(bench_ns(&sides[1]), "ns/entry", peer->name, note,
                 "translate/%s/n%u/w%u/%s/ns", pattern_name, n, windows,
                 peer->name);
    if (claim) {
        g_autofree char *spread = bench_ratio_note(&sides[1], &sides[0],
                                                   note);

        bench_report(bench_ratio(&sides[1], &sides[0]), "times faster",
                     peer->name, spread,
                     "translate/%s/n%u/w%u/vs-%s", pattern_name, n, windows,
                     peer->name);
    }
}

static void against_all(void)
{
    static const unsigned counts[] = { 1, 4, 16, 64, 256, 509, 1024, 4096 };

    against(&peer_vfio_user, "seq4k", PATTERN_SEQUENTIAL, 16, 256, true);
    for (unsigned p = 0; p < ARRAY_SIZE(peers); p++) {
        for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
            if (counts[i] <= peers[p]->max_windows ||
                (peers[p] == &peer_qemu && counts[i] == 4096)) {
                against(peers[p], "rand4k", PATTERN_RANDOM, counts[i], 256,
                        true);
            }
        }
    }
}

/* --- Ourselves --------------------------------------------------------- */

static double alone(const char *pattern_name, Pattern pattern, uint32_t len,
                    unsigned windows, unsigned n)
{
    g_autoptr(Workload) w = workload_new(pattern, windows, len, n, ENTRIES);
    BenchSide side = { "qemu-p2p", workload_translate, w };

    bench_measure(&side, 1, (double)w->n_vectors * w->n);
    bench_report(bench_ns(&side), "ns/entry", NULL, "p2p_translate",
                 "translate/%s/n%u/w%u/ns", pattern_name, n, windows);
    return bench_ns(&side);
}

static void by_windows(void)
{
    for (unsigned windows = 1; windows <= 65536; windows *= 4) {
        alone("rand4k", PATTERN_RANDOM, 4096, windows, 256);
        alone("seq4k", PATTERN_SEQUENTIAL, 4096, windows, 256);
    }
}

static void by_length(void)
{
    for (unsigned n = 1; n <= 4096; n *= 4) {
        if (n != 256) {     /* by_windows() has that */
            alone("rand4k", PATTERN_RANDOM, 4096, 64, n);
            alone("seq4k", PATTERN_SEQUENTIAL, 4096, 64, n);
        }
    }
}

static void by_pattern(void)
{
    alone("rand64k", PATTERN_RANDOM, 64 * KiB, 64, 256);
    alone("rand1m", PATTERN_RANDOM, MiB, 64, 256);
    alone("split4k", PATTERN_SPLIT, 4096, 64, 256);
    alone("seq4k-no-merge", PATTERN_NO_MERGE, 4096, 64, 256);
    alone("rand4k-mixed", PATTERN_MIXED, 4096, 64, 256);
}

static void over_memcpy(void)
{
    g_autoptr(Workload) w = workload_new(PATTERN_SEQUENTIAL, 64, 4096, 256,
                                         FEW_ENTRIES);
    BenchSide sides[] = {
        { "qemu-p2p", workload_translate, w }, { "memcpy", workload_copy, w },
    };
    g_autofree char *note = NULL;

    bench_measure(sides, 2, (double)w->n_vectors * w->n);
    bench_report(bench_ns(&sides[1]), "ns/entry", "memcpy", "memcpy",
                 "translate/seq4k/n256/w64/memcpy/ns");
    note = bench_ratio_note(&sides[0], &sides[1],
                            "lower is better; joined to one entry");
    bench_report(bench_ratio(&sides[0], &sides[1]), "times its time",
                 "memcpy", note,
                 "translate/seq4k/n256/w64/over-memcpy");
}

/* --- What no translator can do without --------------------------------- */

typedef struct Floor {
    Workload *w;
    uint32_t *places;       /* the window of each entry, known beforehand */
    uint64_t *deltas;       /* of each window */
} Floor;

static double run_floor(void *opaque, unsigned times)
{
    Floor *f = opaque;
    Workload *w = f->w;

    while (times--) {
        for (unsigned v = 0; v < w->n_vectors; v++) {
            const P2PGuestVec *in = w->entries + (size_t)v * w->n;
            const uint32_t *places = f->places + (size_t)v * w->n;

            for (unsigned i = 0; i < w->n; i++) {
                w->out[i].addr.bus = in[i].addr.gpa + f->deltas[places[i]];
                w->out[i].len = in[i].len;
                w->out[i].flags = in[i].flags;
            }
            __asm__ volatile("" : : "r"(w->out) : "memory");
        }
    }
    return -1;
}

/* Read an entry, add what belongs to its window, write: no search, no check. */
static void floor_of(unsigned windows)
{
    g_autoptr(Workload) w = workload_new(PATTERN_RANDOM, windows, 4096, 256,
                                         ENTRIES);
    size_t total = (size_t)w->n_vectors * w->n;
    g_autofree uint32_t *places = g_new(uint32_t, total);
    g_autofree uint64_t *deltas = g_new(uint64_t, windows);
    Floor f = { w, places, deltas };
    BenchSide sides[] = {
        { "floor", run_floor, &f }, { "qemu-p2p", workload_translate, w },
    };

    for (unsigned i = 0; i < windows; i++) {
        deltas[i] = w->windows[i].bus.bus - w->windows[i].gpa.gpa;
    }
    for (size_t i = 0; i < total; i++) {
        places[i] = (w->entries[i].addr.gpa - WORKLOAD_BASE) /
                    WORKLOAD_STRIDE;
    }
    bench_measure(sides, 2, total);
    bench_report(bench_ns(&sides[0]), "ns/entry", NULL,
                 "no search, no check: add and copy",
                 "translate/rand4k/n256/w%u/floor/ns", windows);
    bench_report(bench_ratio(&sides[1], &sides[0]), "times its time",
                 "the floor", "lower is better",
                 "translate/rand4k/n256/w%u/over-floor", windows);
}

static void growth(void)
{
    g_autoptr(Workload) few = workload_new(PATTERN_RANDOM, 64, 4096, 256,
                                           ENTRIES);
    g_autoptr(Workload) many = workload_new(PATTERN_RANDOM, 65536, 4096, 256,
                                            ENTRIES);
    BenchSide sides[] = {
        { "w64", workload_translate, few },
        { "w65536", workload_translate, many },
    };
    g_autofree char *note = NULL;

    bench_measure(sides, 2, (double)few->n_vectors * few->n);
    note = bench_ratio_note(&sides[1], &sides[0], "lower is better");
    bench_report(bench_ratio(&sides[1], &sides[0]), "times its time",
                 "qemu-p2p with 64 windows", note,
                 "translate/rand4k/n256/growth-w65536-over-w64");
}

/* --- Snapshots --------------------------------------------------------- */

#define PUBLISH_US 1000
#define THROUGHPUT_SECONDS 0.25

/* As P2PGroup has it: QEMU's RCU frees what no reader can see. */
typedef struct Snapshot {
    struct rcu_head rcu;
    P2PMap *map;
} Snapshot;

typedef struct Shared {
    Workload *w;
    Snapshot *snapshot;
    bool stop;
    bool more;                  /* the map has the writer's window */
    unsigned publications;
    double publish_seconds;     /* of all of them */
} Shared;

typedef struct Reader {
    Shared *shared;
    uint64_t entries;
} Reader;

static void snapshot_free(Snapshot *snapshot)
{
    p2p_map_free(snapshot->map);
    g_free(snapshot);
}

static gpointer read_snapshots(gpointer opaque)
{
    Reader *reader = opaque;
    Shared *shared = reader->shared;
    Workload *w = shared->w;
    g_autofree P2PBusVec *out = g_new(P2PBusVec, 2 * w->n);

    rcu_register_thread();
    for (unsigned i = 0; !qatomic_read(&shared->stop);
         i = (i + 1) % w->n_vectors) {
        size_t m = 2 * w->n;
        P2PFault fault;

        RCU_READ_LOCK_GUARD();
        if (p2p_translate(qatomic_rcu_read(&shared->snapshot)->map,
                          WORKLOAD_INITIATOR, w->entries + (size_t)i * w->n,
                          w->n, out, &m, &fault)) {
            g_error("entry %zu: %s", fault.index,
                    p2p_fault_reason_str(fault.reason));
        }
        reader->entries += w->n;
    }
    rcu_unregister_thread();
    return NULL;
}

static gpointer write_snapshots(gpointer opaque)
{
    Shared *shared = opaque;
    P2PWindow more = {
        .gpa.gpa = 0x1000, .size = 0x1000, .owner = P2P_NO_OWNER,
    };

    rcu_register_thread();
    while (!qatomic_read(&shared->stop)) {
        Snapshot *old = shared->snapshot;
        Snapshot *new = g_new0(Snapshot, 1);
        double start = bench_now();

        new->map = p2p_map_change(old->map, &more.gpa, shared->more, &more,
                                  !shared->more, NULL);
        g_assert_nonnull(new->map);
        qatomic_rcu_set(&shared->snapshot, new);
        shared->publish_seconds += bench_now() - start;
        shared->publications++;
        shared->more = !shared->more;
        call_rcu(old, snapshot_free, rcu);
        g_usleep(PUBLISH_US);
    }
    rcu_unregister_thread();
    return NULL;
}

/* Entries that all readers together translate in a second. */
static double throughput(Shared *shared, unsigned n_readers, bool write)
{
    g_autofree Reader *readers = g_new0(Reader, n_readers);
    g_autofree GThread **threads = g_new(GThread *, n_readers);
    GThread *writer = NULL;
    uint64_t entries = 0;
    double start = bench_now();

    shared->stop = false;
    for (unsigned i = 0; i < n_readers; i++) {
        readers[i].shared = shared;
        threads[i] = g_thread_new("reader", read_snapshots, &readers[i]);
    }
    if (write) {
        writer = g_thread_new("writer", write_snapshots, shared);
    }
    g_usleep(THROUGHPUT_SECONDS * G_USEC_PER_SEC);
    qatomic_set(&shared->stop, true);
    for (unsigned i = 0; i < n_readers; i++) {
        g_thread_join(threads[i]);
        entries += readers[i].entries;
    }
    start = bench_now() - start;
    if (writer) {
        g_thread_join(writer);
    }
    return entries / start;
}

static void readers_and_writer(unsigned n_readers, bool claim)
{
    g_autoptr(Workload) w = workload_new(PATTERN_RANDOM, 65536, 4096, 256,
                                         ENTRIES);
    Shared shared = { .w = w, .snapshot = g_new0(Snapshot, 1) };
    double ratio[BENCH_ROUNDS], with[BENCH_ROUNDS];
    g_autofree char *name = claim
        ? g_strdup("translate/readers-with-writer-over-alone")
        : g_strdup_printf("translate/readers%u-with-writer-over-alone",
                          n_readers);

    shared.snapshot->map = p2p_map_new(w->windows, w->n_windows, 0, NULL);
    for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
        double alone;

        if (i % 2) {
            alone = throughput(&shared, n_readers, false);
            with[i] = throughput(&shared, n_readers, true);
        } else {
            with[i] = throughput(&shared, n_readers, true);
            alone = throughput(&shared, n_readers, false);
        }
        ratio[i] = with[i] / alone;
    }
    bench_report(bench_median(ratio, BENCH_ROUNDS), "throughput ratio",
                 "qemu-p2p without a writer",
                 "65536 windows, 1000 publications a second asked for",
                 "%s", name);
    bench_report(bench_median(with, BENCH_ROUNDS) / 1e6, "million entries/s",
                 NULL, "rand4k/n256/w65536, with a writer",
                 "translate/readers%u-with-writer/throughput", n_readers);
    bench_report(shared.publications / (BENCH_ROUNDS * THROUGHPUT_SECONDS),
                 "per second", NULL, "publications while readers run",
                 "translate/readers%u-with-writer/publications", n_readers);
    if (claim) {
        bench_report(shared.publish_seconds / shared.publications * 1e6,
                     "us", NULL, "to derive and publish, one window among "
                     "65536 differs, readers running",
                     "translate/publish/w65536/us");
    }
    snapshot_free(shared.snapshot);
}

static void bulk_load(void)
{
    for (unsigned n = 1024; n <= 65536; n *= 8) {
        g_autoptr(Workload) w = workload_new(PATTERN_RANDOM, n, 4096, 1, 1);
        double ns[BENCH_ROUNDS];

        for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
            double start = bench_now();
            g_autoptr(P2PMap) map = p2p_map_new(w->windows, n, 0, NULL);

            ns[i] = (bench_now() - start) * 1e9 / n;
            g_assert_cmpuint(p2p_map_size(map), ==, n);
        }
        bench_report(bench_median(ns, BENCH_ROUNDS), "ns/window", NULL,
                     "p2p_map_new", "translate/load/w%u/ns", n);
    }
}

int main(void)
{
    unsigned cores = g_get_num_processors();

    against_all();
    by_windows();
    by_length();
    by_pattern();
    over_memcpy();
    floor_of(64);
    floor_of(4096);
    growth();
    for (unsigned n = 1; n < cores; n++) {
        readers_and_writer(n, false);
    }
    readers_and_writer(cores, true);
    bulk_load();
    return 0;
}
