/*
 * Window maps: how they are shared, published and reclaimed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Concepts
 *   A *map* is a list of *chunks*; neither changes once it is built.  Maps
 *   share chunks, and a chunk counts the maps that have it.
 *   The *writer* derives a map from the current one, publishes it and gives
 *   the old one to call_rcu() (p2p_group_publish() in hw/p2p/group.c).
 *   The *reclaimer* is QEMU's call_rcu thread: it waits for a grace period,
 *   then frees maps (p2p_map_free() in hw/p2p/core/map.c).
 *   A *reader* looks at the current map between rcu_read_lock() and
 *   rcu_read_unlock() (hw/p2p/monitor.c, view.c).
 *   The *deriver* is any other thread that changes and frees maps of its own,
 *   which share chunks with the published ones (p2p_map_change()).
 *
 * Properties, and the words of the assertion that fails
 *   P1  Nobody touches a map or a chunk that has been freed: map_live,
 *       chunk_live.
 *   P2  All that a reader sees from begin to end belongs to the one version
 *       that was current when it began: want.
 *   P3  Nothing is freed twice, no count goes below zero: map_live,
 *       chunk_live, refs.
 *   P4  When all is over, the current map and its chunks are there, each with
 *       one reference, and nothing else is: leaked.
 *   P5  Until all is over, somebody can go on: invalid end state.
 *   P6  Readers never wait, nor do the writer and the deriver: in every state
 *       each of them that has not ended has a step that it can take: enabled
 *       (the claim at the end, with -DCLAIM).  That rules out locks.  It leaves
 *       loops that others could keep a reader in; there is none between its
 *       first step and its last but the one over what it wants to look at.
 *
 * Step by step: what other threads can see of p2p_map_change(),
 * p2p_map_free() and p2p_group_publish(), and RCU as in QEMU's
 * include/qemu/rcu.h and util/rcu.c: rcu_read_lock() (read the counter, then
 * announce it), rcu_read_unlock(), call_rcu(), the reclaimer that takes as
 * many calls as it has counted before the grace period, and the grace period
 * (advance the counter, then see each thread once, in any order, with nothing
 * or with the new counter announced).
 *
 * Assumed
 *   - Threads see each other's steps in one order.  Weak memory is beyond Spin.
 *     There the order comes from RCU (qatomic_rcu_set() releases,
 *     qatomic_rcu_read() acquires, smp_mb_placeholder() of readers pairs with
 *     smp_mb_global() of synchronize_rcu()) and from g_atomic_int_*(), which
 *     are full barriers; tests/unit/test-snapshot.c looks at our side of it
 *     under ThreadSanitizer.
 *   - The RCU counter does not wrap: it has 64 bits.  Hosts with 32-bit longs
 *     count in two phases, which is not modelled.
 *   - call_rcu()'s queue has no end, keeps the order and loses nothing.  Its
 *     two halves, enqueue and count, are one step here: what is not counted
 *     is not taken.  The reclaimer is woken when there is something to do.
 *   - All threads have registered with RCU before.  None nests sections.
 * Not assumed: the BQL, which keeps the writer and the reclaimer's callbacks
 * apart in QEMU.
 *
 * A slot is used once and never again, so "freed" is for ever.  A look at
 * freed memory is found even where malloc() would have given it to somebody
 * else, and one step per look is enough: who follows a pointer late does what
 * a later look does.
 *
 * With one of the MUTANT_* it is the model of a mistake, and must fail.
 */

#ifndef READERS
#define READERS 2               /* threads that only read; 1 or 2 */
#endif
#ifndef CHUNKS
#define CHUNKS 2                /* of each map */
#endif
#ifndef PUBLICATIONS
#define PUBLICATIONS 2          /* maps that the writer makes */
#endif
#ifndef DERIVATIONS
#define DERIVATIONS 1           /* maps that the deriver makes */
#endif

/* 0 is NULL.  Then the first current map, the writer's, the deriver's. */
#define WRITER_FIRST 1
#define WRITER_LAST (WRITER_FIRST + PUBLICATIONS)
#define DERIVER_FIRST (WRITER_LAST + 1)
#define DERIVER_LAST (DERIVER_FIRST + DERIVATIONS)
#define MAP_SLOTS (DERIVER_LAST + 1)

/* 0 is NULL.  Then those of both first maps, and one for each map made. */
#define CHUNK_OF(map) (CHUNKS + map)
#define CHUNK_SLOTS (CHUNK_OF(DERIVER_LAST) + 1)

typedef List {
    byte at[CHUNKS];
};

bit map_live[MAP_SLOTS];
List chunks[MAP_SLOTS];         /* of a map: indices of the next three */
bit chunk_live[CHUNK_SLOTS];
byte refs[CHUNK_SLOTS];
byte value[CHUNK_SLOTS];        /* its windows: the chunk's own number */

List want[MAP_SLOTS];           /* the version: what value[] should say */

byte current = WRITER_FIRST;    /* P2PGroup.snapshot */

/* Threads that take part in RCU: index of ctr[] */
#define DERIVER READERS
#define RCU_THREADS (READERS + 1)
#define WRITER RCU_THREADS
#define THREADS (RCU_THREADS + 1)

byte rcu_gp_ctr = 1;
byte ctr[RCU_THREADS];          /* 0: in no critical section */
chan rcu_queue = [PUBLICATIONS] of { byte };

bit ended[THREADS];
byte pid_of[THREADS];

#ifdef MUTANT_READER_LOCK
bit locked;                     /* by the writer */
#endif

/* --- RCU for readers ----------------------------------------------------- */

inline rcu_read_lock(me) {
    gp = rcu_gp_ctr;
    ctr[me] = gp
}

inline rcu_read_unlock(me) {
    ctr[me] = 0;
    gp = 0
}

/* --- Maps and chunks ----------------------------------------------------- */

/* A look at the chunk at place p of map m; it has to be that of a version. */
inline look(m, p, version) {
    d_step {
        assert(map_live[m]);
        c = chunks[m].at[p];
        assert(chunk_live[c]);
        assert(value[c] == want[version].at[p]);
        c = 0
    }
}

/*
 * p2p_map_change() from one map to another that differs in the chunk at place
 * pos.  First that chunk: nobody sees the new map yet, so it takes one step.
 */
inline map_begin(to, from) {
    d_step {
        assert(map_live[from]);
        map_live[to] = true;
        for (p : 0 .. CHUNKS - 1) {
            want[to].at[p] = want[from].at[p]
        }
#ifdef MUTANT_IN_PLACE
        c = chunks[from].at[pos];
        assert(chunk_live[c]);
        refs[c]++;
#else
        c = CHUNK_OF(to);
        chunk_live[c] = true;
        refs[c] = 1;
#endif
        value[c] = CHUNK_OF(to);
        want[to].at[pos] = CHUNK_OF(to);
        chunks[to].at[pos] = c;
        c = 0;
        p = 0
    }
}

/*
 * Then the others, one by one: g_atomic_int_inc().  Of the one at place pos,
 * the windows that stay are read.
 */
inline map_share(to, from) {
    do
    :: atomic {
            p == pos ->
            assert(map_live[from] && chunk_live[chunks[from].at[p]]);
            p++
        }
    :: p < CHUNKS && p != pos ->
        d_step {
            assert(map_live[from]);
            c = chunks[from].at[p];
            assert(chunk_live[c]);
            assert(refs[c] > 0);
#ifndef MUTANT_TORN_INC
            refs[c]++;
#else
            n = refs[c]
        }
        d_step {
            refs[c] = n + 1;
            n = 0;
#endif
            chunks[to].at[p] = c;
            c = 0;
            p++
        }
    :: atomic {
            p == CHUNKS ->
            p = 0;
            break
        }
    od
}

#if defined(MUTANT_EARLY_PUBLISH) || defined(MUTANT_LATE_REFERENCE)
/* The other chunks, without a reference; map_share(to, to) takes it. */
inline map_point(to, from) {
    d_step {
        for (p : 0 .. CHUNKS - 1) {
            if
            :: p != pos -> chunks[to].at[p] = chunks[from].at[p]
            :: else
            fi
        }
        p = 0
    }
}
#endif

/*
 * p2p_map_free(): for each chunk g_atomic_int_dec_and_test(), perhaps free().
 * As nobody may touch a map from the first step of this, nor a chunk from the
 * moment when its count is 0, that is when they count as freed.
 */
inline map_free(m) {
    do
    :: p < CHUNKS ->
        d_step {
            assert(map_live[m] || p > 0);
            map_live[m] = false;
            c = chunks[m].at[p];
            assert(chunk_live[c]);
            assert(refs[c] > 0);
#ifdef MUTANT_TORN_DEC
            n = refs[c]
        }
        d_step {
            refs[c] = n - 1;
            n = 0;
#else
            refs[c]--;
#endif
#ifdef MUTANT_SPLIT_TEST
        }
        d_step {
#endif
            if
            :: refs[c] == 0 ->
                assert(chunk_live[c]);
                chunk_live[c] = false;
                value[c] = 0
            :: else
            fi;
            chunks[m].at[p] = 0;
            want[m].at[p] = 0;
            c = 0;
            p++
        }
    :: atomic {
            p == CHUNKS ->
            p = 0;
            break
        }
    od
}

/* --- Threads ------------------------------------------------------------- */

/* Any number of critical sections; in each, any number of looks. */
proctype reader(byte me)
{
    byte gp, m, version, p, c;

    do
    ::
#ifdef MUTANT_LATE_ANNOUNCE
        m = current;
#endif
        rcu_read_lock(me);
#ifdef MUTANT_READER_LOCK
        !locked;
#endif
        d_step {
#ifndef MUTANT_LATE_ANNOUNCE
            m = current;
#endif
            version = m
        }
        do
        :: atomic {
#ifdef MUTANT_RELOAD
                m = current;
#endif
                select(p : 0 .. CHUNKS - 1);
                look(m, p, version);
                p = 0
            }
        :: d_step {
#ifndef MUTANT_NO_UNLOCK
                rcu_read_unlock(me);
#endif
                m = 0;
                version = 0
            }
            break
        od
    :: ended[me] = true;
        break
    od
}

/* Nobody else writes current. */
proctype writer()
{
    byte new = WRITER_FIRST;
    byte old, pos, p, c, n;

    do
    :: new < WRITER_LAST ->
        atomic {
            old = new;
            new++;
            select(pos : 0 .. CHUNKS - 1)
        }
        map_begin(new, old);
#ifdef MUTANT_EARLY_PUBLISH
        map_point(new, old);
#else
        map_share(new, old);
#endif
#ifdef MUTANT_READER_LOCK
        locked = true;
#endif
#ifndef MUTANT_EARLY_CALL
        current = new;
#endif
        rcu_queue ! old;
#ifdef MUTANT_CALL_TWICE
        rcu_queue ! old;
#endif
#ifdef MUTANT_EARLY_CALL
        current = new;
#endif
#ifdef MUTANT_READER_LOCK
        locked = false;
#endif
#ifdef MUTANT_EARLY_PUBLISH
        map_share(new, new);
#endif
    :: new == WRITER_LAST ->
        ended[WRITER] = true;
        break
    od
}

/* wait_for_readers(): one that has left its section, or begun a new one */
inline see(t) {
    d_step {
        !seen[t] && (ctr[t] == 0 || ctr[t] == rcu_gp_ctr) ->
        seen[t] = true;
        n_seen++
    }
}

/* call_rcu_thread() and synchronize_rcu() */
proctype reclaimer()
{
    byte calls, n_seen, m, p, c, n;
    bit seen[RCU_THREADS];

    do
    :: atomic {
            len(rcu_queue) > 0 ->
            calls = len(rcu_queue)
        }
#ifndef MUTANT_NO_GRACE_PERIOD
        rcu_gp_ctr++;
        do
        :: see(0)
        :: see(1)
#if READERS > 1
        :: see(2)
#endif
        :: n_seen == RCU_THREADS ->
            d_step {
                for (p : 0 .. RCU_THREADS - 1) {
                    seen[p] = false
                }
                n_seen = 0;
                p = 0
            }
            break
        od;
#endif
#ifdef MUTANT_LATE_COUNT
        calls = len(rcu_queue);
#endif
        do
        :: atomic {
                calls > 0 ->
                rcu_queue ? m
            }
#ifdef MUTANT_FORGOTTEN_CHUNK
            p = 1;
#endif
            map_free(m);
            atomic {
                m = 0;
                calls--
            }
        :: else -> break
        od
    :: atomic {
            len(rcu_queue) == 0 && ended[WRITER] -> break
        }
    od
}

/*
 * Holds one map.  Derives the next one from it, or in a critical section from
 * the current one; then frees the one before.
 */
proctype deriver()
{
    byte own = DERIVER_FIRST;
    byte new = DERIVER_FIRST;
    byte gp, m, pos, p, c, n;

    do
    :: new < DERIVER_LAST ->
        atomic {
            new++;
            select(pos : 0 .. CHUNKS - 1)
        }
        if
        :: m = own
        ::
            rcu_read_lock(DERIVER);
            m = current
        fi;
        map_begin(new, m);
#ifdef MUTANT_LATE_REFERENCE
        map_point(new, m);
#else
        map_share(new, m);
#endif
        if
        :: gp ->
            d_step {
                rcu_read_unlock(DERIVER);
                m = 0
            }
        :: else -> m = 0
        fi;
        map_free(own);
#ifdef MUTANT_LATE_REFERENCE
        map_share(new, new);
#endif
        atomic {
            own = new;
            pos = 0
        }
    :: else -> break
    od;
    atomic {
        select(p : 0 .. CHUNKS - 1);
        look(own, p, own);
        p = 0
    }
    map_free(own);
    ended[DERIVER] = true
}

/* --- Begin and end ------------------------------------------------------- */

init {
    byte i;
    bit leaked;
    bit held[CHUNK_SLOTS];

    atomic {
        map_live[WRITER_FIRST] = true;
        map_live[DERIVER_FIRST] = true;
        for (i : 0 .. CHUNKS - 1) {
            chunks[WRITER_FIRST].at[i] = i + 1;
            chunks[DERIVER_FIRST].at[i] = i + 1;
            want[WRITER_FIRST].at[i] = i + 1;
            want[DERIVER_FIRST].at[i] = i + 1;
            value[i + 1] = i + 1;
            chunk_live[i + 1] = true;
            refs[i + 1] = 2
        }
        pid_of[0] = run reader(0);
#if READERS > 1
        pid_of[1] = run reader(1);
#endif
        pid_of[DERIVER] = run deriver();
        pid_of[WRITER] = run writer();
        run reclaimer()
    }

    d_step {
        _nr_pr == 1 ->
        for (i : 0 .. CHUNKS - 1) {
            held[chunks[current].at[i]] = true
        }
        for (i : 0 .. MAP_SLOTS - 1) {
            leaked = leaked || map_live[i] != (i == current)
        }
        for (i : 0 .. CHUNK_SLOTS - 1) {
            leaked = leaked || chunk_live[i] != held[i] || refs[i] != held[i]
        }
    }
    assert(!leaked)
}

#ifdef CLAIM
#define NEVER_WAITS(thread) (ended[thread] || enabled(pid_of[thread]))

never {
    do
    :: assert(NEVER_WAITS(0) && NEVER_WAITS(READERS - 1) &&
              NEVER_WAITS(DERIVER) && NEVER_WAITS(WRITER))
    od
}
#endif
