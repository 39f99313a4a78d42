/*
 * The inside of a window map, for the files of the core only
 *
 * Concepts
 *   Windows are kept in *chunks* of some hundred, each window in a *slot*;
 *   above the chunks is the map's own directory.
 *   A chunk never changes.  Maps that differ in a few windows share all other
 *   chunks, so that publishing one more window copies one chunk and the
 *   directory, not 65,536 windows.
 *
 *      directory   table, separators     which chunk
 *                    │
 *      chunk       table, slots          which window
 *
 *   A *key* is the first address of a window or, as a *separator*, of a chunk
 *   but the first.  To search is to find how many keys are at or below an
 *   address.  A *table* tells that nearly: it cuts addresses into buckets of
 *   equal size.  What it leaves open is found by halving.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_P2P_CORE_MAP_INTERNAL_H
#define HW_P2P_CORE_MAP_INTERNAL_H

#include "hw/p2p/map.h"

#define P2P_CACHE_LINE 64

/*
 * For arrays of the inner loops, all of which is written before it is read:
 * QEMU is built with -ftrivial-auto-var-init=zero.
 */
#if __has_attribute(uninitialized)
#define P2P_UNINITIALIZED __attribute__((uninitialized))
#else
#define P2P_UNINITIALIZED
#endif

/* --- Tables ------------------------------------------------------------ */

/*
 * Buckets have 2^shift addresses each, the first one all below as well, the
 * last one all behind.  The *rank* of each is kept beside the table: how many
 * keys are at or below its first address.  At or below any other address in it
 * are at most so many more as the table says.  That is 0 where buckets begin at
 * keys, as with regular windows, and in the worst case the number of keys.
 */
typedef struct P2PTable {
    uint64_t base;      /* where the first bucket begins */
    uint64_t last;      /* number of the last bucket */
    uint32_t shift;
    uint32_t more;
} P2PTable;

/* Buckets that a table has at most. */
#define P2P_TABLE_BUCKETS(keys) (2 * (keys) + 3)

static inline size_t p2p_table_bucket(const P2PTable *table, uint64_t gpa)
{
    uint64_t bucket = (MAX(gpa, table->base) - table->base) >> table->shift;

    return MIN(bucket, table->last);
}

/* The first address in it */
static inline uint64_t p2p_table_first(const P2PTable *table, size_t bucket)
{
    return bucket ? table->base + ((uint64_t)bucket << table->shift) : 0;
}

/*
 * p2p_table_choose: in table.c.  A table that leaves little open, for the time
 * it takes.
 *
 * @keys: @n of them, 1 or more, ascending
 */
void p2p_table_choose(P2PTable *table, const uint64_t *keys, uint32_t n);

/*
 * The rank of @bucket; less if halving would look at keys that are not there.
 * @at: how many keys are at or below the one before, brought up to date
 */
static inline uint32_t p2p_table_rank(const P2PTable *table,
                                      const uint64_t *keys, uint32_t n,
                                      size_t bucket, uint32_t *at)
{
    uint64_t first = p2p_table_first(table, bucket);

    while (*at < n && keys[*at] <= first) {
        ++*at;
    }
    return MIN(*at, n - table->more);
}

/* --- Chunks ------------------------------------------------------------ */

/*
 * What an initiator may do in a window, in four bits.  In guest RAM the lower
 * two say whether it may read and write.  In a BAR there is more to tell: the
 * upper two say that, and one of them is set if a lower one is.
 */
#define P2P_CODE_NOTHING     0u
#define P2P_CODE_RAM_READ    1u
#define P2P_CODE_RAM_WRITE   2u
#define P2P_CODE_IO_UNROUTED 1u
#define P2P_CODE_IO_SELF     2u
#define P2P_CODE_IO_READ     4u
#define P2P_CODE_IO_WRITE    8u
#define P2P_CODE_BITS        4
#define P2P_CODES            (1u << P2P_CODE_BITS)

#define P2P_CODES_PER_WORD (16 / P2P_CODE_BITS)
#define P2P_RIGHTS_WORDS   (P2P_MAX_INITIATORS / P2P_CODES_PER_WORD)

/* All that windows often have in common; those of a chunk share it. */
typedef struct P2PRights {
    uint16_t codes[P2P_RIGHTS_WORDS];   /* of all initiators */
    uint16_t owner;
    uint8_t kind;
    bool revoked;
} P2PRights;

/* A window: half a cache line, and all of it that a translation needs. */
typedef struct P2PSlot {
    uint64_t end;       /* address behind the last byte; 0: there is none */
    uint64_t delta;     /* bus minus guest physical address */
    uint64_t first;     /* guest physical address of the first byte */
    const P2PRights *rights;
} P2PSlot;

#define P2P_CHUNK_WINDOWS 512

typedef struct P2PChunk {
    /* Maps that have it; atomic. Readers do not wait for who writes this. */
    int refs;

    uint32_t n __attribute__((aligned(P2P_CACHE_LINE)));    /* windows */
    P2PTable table;
    const uint16_t *ranks;      /* of the table's buckets */
    void *const *hosts;         /* P2PHostAddr of each slot's first byte */

    /*
     * Before and behind the windows is a slot that holds no address.  As it is,
     * the index of a slot is the number of windows up to its own.
     */
    P2PSlot slots[] __attribute__((aligned(P2P_CACHE_LINE)));
} P2PChunk;

struct P2PMap {
    uint64_t cpu_initiators;
    size_t n;           /* windows */
    size_t n_chunks;
    P2PChunk **chunks;  /* ascending; none is empty */

    uint32_t most;      /* all bits of the chunks' P2PTable.more */

    P2PTable table;             /* of the separators; one chunk: one bucket */
    uint64_t *separators;       /* n_chunks - 1 */
    const uint32_t *ranks;      /* of the table's buckets */
};

/* --- Search ------------------------------------------------------------ */

/*
 * First a guess, from a table; then, if there may be more, steps that halve how
 * many.  No branch depends on the address: half of them would be a surprise.
 */
static inline uint32_t p2p_map_guess(const P2PMap *map, uint64_t gpa)
{
    return map->ranks[p2p_table_bucket(&map->table, gpa)];
}

static inline uint32_t p2p_map_step(const P2PMap *map, uint32_t chunk,
                                    uint32_t more, uint64_t gpa)
{
    uint32_t half = more - more / 2;

    /* Written like this, or compilers make it a branch. */
    return chunk +
           (half & -(uint32_t)(map->separators[chunk + half - 1] <= gpa));
}

static inline const P2PSlot *p2p_chunk_guess(const P2PChunk *chunk,
                                             uint64_t gpa)
{
    return chunk->slots + chunk->ranks[p2p_table_bucket(&chunk->table, gpa)];
}

static inline const P2PSlot *p2p_slot_step(const P2PSlot *slot, uint32_t more,
                                           uint64_t gpa)
{
    uint32_t half = more - more / 2;

    return slot[half].first <= gpa ? slot + half : slot;
}

/* Of those that a map with windows has, the chunk that may hold @gpa. */
static inline const P2PChunk *p2p_map_chunk(const P2PMap *map, uint64_t gpa)
{
    uint32_t chunk = p2p_map_guess(map, gpa);

    for (uint32_t more = map->table.more; more > 0; more /= 2) {
        chunk = p2p_map_step(map, chunk, more, gpa);
    }
    return map->chunks[chunk];
}

/* The last window that begins at or below @gpa, or the slot before them. */
static inline const P2PSlot *p2p_chunk_slot(const P2PChunk *chunk, uint64_t gpa)
{
    const P2PSlot *slot = p2p_chunk_guess(chunk, gpa);

    for (uint32_t more = chunk->table.more; more > 0; more /= 2) {
        slot = p2p_slot_step(slot, more, gpa);
    }
    return slot;
}

static inline bool p2p_slot_holds(const P2PSlot *slot, uint64_t gpa)
{
    return gpa >= slot->first && gpa <= slot->end - 1;
}

/* --- An initiator ------------------------------------------------------ */

/* What it may do in a window, and what the result says of the window. */
typedef struct P2PVerdict {
    uint32_t allowed;       /* bit f: an entry with flags f may pass */
    uint32_t flags;         /* of the result, but for read and write */
} P2PVerdict;

typedef struct P2PInitiator {
    unsigned word;          /* where its codes are: of the rights, */
    unsigned shift;         /* and in the word */
    const P2PVerdict *verdicts;     /* by code */
} P2PInitiator;

static inline P2PInitiator p2p_initiator(unsigned number,
                                         const P2PVerdict *verdicts)
{
    return (P2PInitiator) {
        .word = number / P2P_CODES_PER_WORD,
        .shift = number % P2P_CODES_PER_WORD * P2P_CODE_BITS,
        .verdicts = verdicts,
    };
}

static inline unsigned p2p_code(const P2PInitiator *initiator,
                                const P2PRights *rights)
{
    return rights->codes[initiator->word] >> initiator->shift &
           (P2P_CODES - 1);
}

/* --- kernels.c --------------------------------------------------------- */

#define P2P_BATCH 32
#define P2P_BATCH_UNIT 2    /* no kernel works on more at once */

/* Where windows and entries lie that are translated in batches. */
#define P2P_BATCH_END (UINT64_C(1) << 62)

/*
 * The loops that are worth SIMD.  All variants give the same results; the
 * others in the list can be asked for by tests.
 */
typedef struct P2PKernels {
    const char *name;
    bool (*supported)(void);

    /*
     * Search for the slots of @n entries, 1 to P2P_BATCH, and translate them if
     * each lies in one window, may be accessed, has the same flags, and is no
     * neighbour on the bus, neither of the one before nor of what ends at the
     * bus address @end.  Returns whether that is so; if not, @slots is all that
     * is of use.  It may say no to a batch of another size than P2P_BATCH, and
     * to addresses from P2P_BATCH_END on.  @map has windows.
     */
    bool (*batch)(const P2PMap *map, const P2PInitiator *initiator,
                  const P2PGuestVec *in, unsigned n, uint64_t end,
                  P2PBusVec *out, const P2PSlot **slots);

    /*
     * How many of @n entries, 1 or more, each begin where the one before ends
     * and have the same length and flags.
     */
    size_t (*run)(const P2PGuestVec *in, size_t n);
} P2PKernels;

/* From the simplest on; ends with a NULL name. */
extern const P2PKernels p2p_kernels[];

/* The last ones that this processor supports. */
const P2PKernels *p2p_kernels_best(void);

/* --- translate.c ------------------------------------------------------- */

int p2p_translate_with(const P2PKernels *kernels,
                       const P2PMap *map, unsigned initiator,
                       const P2PGuestVec *in, size_t n,
                       P2PBusVec *out, size_t *m, P2PFault *fault);

#endif /* HW_P2P_CORE_MAP_INTERNAL_H */
