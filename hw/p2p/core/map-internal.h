/*
 * The inside of a window map, for the files of the core only
 *
 * Concepts
 *   A map is a B+ tree whose nodes are two cache lines of keys.  The windows
 *   are kept in *chunks*, each with the last two levels of the tree; above
 *   them is the map's own directory.
 *   A chunk never changes.  Maps that differ in a few windows share all other
 *   chunks, so that publishing one more window copies one chunk and the
 *   directory, not 65,536 windows.
 *
 *      directory   level[0] ─ … ─ level[levels - 1]      separators
 *                                       │
 *      chunk       root ─ keys, spans, infos, hosts      up to 272 windows
 *
 *   A *separator* is the first address of the child behind it: the child to
 *   go to is the number of separators at or below the address.  A *key* is a
 *   window's first address.  Both are kept with their highest bit flipped,
 *   because SIMD compares signed numbers; unused ones are P2P_KEY_UNUSED.
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

/* Keys of a node, and children of an inner one. */
#define P2P_NODE_KEYS 16
#define P2P_FAN_OUT (P2P_NODE_KEYS + 1)
#define P2P_CHUNK_WINDOWS (P2P_FAN_OUT * P2P_NODE_KEYS)

/* Of a directory: 17^6 chunks would be more than P2P_MAX_WINDOWS. */
#define P2P_MAX_LEVELS 6

#define P2P_KEY_UNUSED INT64_MAX

static inline int64_t p2p_key(uint64_t gpa)
{
    return (int64_t)(gpa ^ (UINT64_C(1) << 63));
}

static inline uint64_t p2p_key_gpa(int64_t key)
{
    return (uint64_t)key ^ (UINT64_C(1) << 63);
}

/* What a translation always needs of a window, apart from what it may need. */
typedef struct P2PSpan {
    uint64_t last;      /* guest physical address of the last byte */
    uint64_t delta;     /* bus minus guest physical address */
} P2PSpan;

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

/* The codes of all initiators; windows of a chunk that have the same share. */
#define P2P_CODES_PER_WORD (16 / P2P_CODE_BITS)
#define P2P_RIGHTS_WORDS   (P2P_MAX_INITIATORS / P2P_CODES_PER_WORD)

/* A window's other properties, and which word of the rights is its first. */
#define P2P_INFO_OWNER        0x7fu
#define P2P_INFO_NO_OWNER     0x7fu
#define P2P_INFO_IO           (1u << 7)
#define P2P_INFO_REVOKED      (1u << 8)
#define P2P_INFO_RIGHTS_SHIFT 9

typedef struct P2PChunk {
    /* Maps that have it; atomic. Readers do not wait for who writes this. */
    int refs;

    uint32_t n __attribute__((aligned(P2P_CACHE_LINE)));    /* windows */
    const P2PSpan *spans;
    void *const *hosts;         /* P2PHostAddr of the first byte */
    const uint32_t *infos;      /* infos[-1]: of what is below the windows */
    const uint16_t *rights;     /* the first P2P_RIGHTS_WORDS: nothing */

    /* Separators: keys[P2P_NODE_KEYS], keys[2 * P2P_NODE_KEYS] ... */
    int64_t root[P2P_NODE_KEYS] __attribute__((aligned(P2P_CACHE_LINE)));
    int64_t keys[];     /* n, up to the next multiple of P2P_NODE_KEYS */
} P2PChunk;

struct P2PMap {
    uint64_t cpu_initiators;
    size_t n;           /* windows */
    size_t n_chunks;
    P2PChunk **chunks;  /* ascending; none is empty */
    unsigned levels;    /* of the directory; 0: one chunk at most */
    int64_t *level[P2P_MAX_LEVELS]; /* nodes, from the root down */
    int64_t *separators;            /* memory of all levels */
};

/* A window of a map; index P2P_NOWHERE: the address is below all windows. */
#define P2P_NOWHERE UINT32_MAX
typedef struct P2PPlace {
    const P2PChunk *chunk;
    uint32_t index;
} P2PPlace;

/* Those of a batch: written and read in the same units, which is faster. */
#define P2P_BATCH 16
#define P2P_BATCH_UNIT 2    /* no kernel works on more at once */
typedef struct P2PPlaces {
    const P2PChunk *only;               /* of all; NULL: they have their own */
    const P2PChunk *chunk[P2P_BATCH];
    uint32_t index[P2P_BATCH];
} P2PPlaces;

static inline P2PPlace p2p_place(const P2PPlaces *places, unsigned i)
{
    return (P2PPlace) { places->only ?: places->chunk[i], places->index[i] };
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

/* @rights: of the chunk. */
static inline unsigned p2p_code(const P2PInitiator *initiator,
                                const uint16_t *rights, uint32_t info)
{
    const uint16_t *words = rights + (info >> P2P_INFO_RIGHTS_SHIFT);

    return words[initiator->word] >> initiator->shift & (P2P_CODES - 1);
}

static inline uint64_t p2p_place_first(P2PPlace place)
{
    return p2p_key_gpa(place.chunk->keys[place.index]);
}

/* --- map.c ------------------------------------------------------------- */

typedef struct P2PKernels P2PKernels;

/* The last window that begins at or below @addr, if one may hold it. */
P2PPlace p2p_map_locate(const P2PKernels *kernels, const P2PMap *map,
                        P2PGuestAddr addr);

/* --- kernels.c --------------------------------------------------------- */

/*
 * The loops that are worth SIMD.  All variants give the same results; the
 * others in the list can be asked for by tests.
 */
struct P2PKernels {
    const char *name;
    bool (*supported)(void);

    /*
     * For each of @n entries, 1 to P2P_BATCH, the last window that begins at
     * or below its address; P2P_NOWHERE for the last address of all.  @map has
     * windows.
     */
    void (*search)(const P2PMap *map, const P2PGuestVec *in, unsigned n,
                   P2PPlaces *places);

    /*
     * Search, and translate entries that each lie in one window, may be
     * accessed, have equal flags, and are no neighbours on the bus, neither of
     * each other nor of what ends at the bus address @end.  Returns whether
     * that is so; if not, @places is all that is of use.
     */
    bool (*batch)(const P2PMap *map, const P2PInitiator *initiator,
                  const P2PGuestVec *in, unsigned n, uint64_t end,
                  P2PBusVec *out, P2PPlaces *places);

    /*
     * How many of @n entries, 1 or more, each begin where the one before ends
     * and have the same length and flags.
     */
    size_t (*run)(const P2PGuestVec *in, size_t n);
};

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
