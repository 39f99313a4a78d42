/*
 * The loops of the translation that are worth SIMD, in several variants
 *
 * Both take no branch that depends on the data but for the end, so a batch of
 * entries is searched for level by level: what one entry waits for from
 * memory, the others overlap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/*
 * Keys below @limit are those at or below an address if @limit is the key of
 * the address behind it.  The last address of all has none behind it: it does
 * not find a window that begins there, which p2p_map_locate() repairs.
 */
static inline int64_t search_limit(uint64_t gpa)
{
    return p2p_key(gpa + (gpa != UINT64_MAX));
}

/* --- Keys of a node below a limit -------------------------------------- */

static inline unsigned rank_portable(const int64_t *keys, int64_t limit)
{
    unsigned rank = 0;

    for (unsigned half = P2P_NODE_KEYS / 2; half > 0; half /= 2) {
        rank += (keys[rank + half - 1] < limit) * half;
    }
    return rank + (keys[rank] < limit);
}

#ifdef __x86_64__
__attribute__((target("avx2,popcnt")))
static inline unsigned rank_avx2(const int64_t *keys, int64_t limit)
{
    const __m256i *k = (const __m256i *)keys;
    __m256i l = _mm256_set1_epi64x(limit);
    __m256i a = _mm256_packs_epi32(_mm256_cmpgt_epi64(l, k[0]),
                                   _mm256_cmpgt_epi64(l, k[1]));
    __m256i b = _mm256_packs_epi32(_mm256_cmpgt_epi64(l, k[2]),
                                   _mm256_cmpgt_epi64(l, k[3]));

    /* Two bytes for each key, in whatever order */
    return _mm_popcnt_u32(_mm256_movemask_epi8(_mm256_packs_epi16(a, b))) / 2;
}

__attribute__((target("avx512f,popcnt")))
static inline unsigned rank_avx512(const int64_t *keys, int64_t limit)
{
    const __m512i *k = (const __m512i *)keys;
    __m512i l = _mm512_set1_epi64(limit);
    __mmask16 both = _mm512_kunpackb(_mm512_cmplt_epi64_mask(k[1], l),
                                     _mm512_cmplt_epi64_mask(k[0], l));

    return _mm_popcnt_u32(both);
}
#endif

/* --- Search ------------------------------------------------------------ */

/*
 * One template for all variants, for a function that a variant inlines must be
 * compiled for its instructions.
 */
#define DEFINE_SEARCH(variant, attributes)                                    \
attributes                                                                    \
static void search_##variant(const P2PMap *map, const P2PGuestVec *in,        \
                             unsigned n, P2PPlaces *places)                   \
{                                                                             \
    int64_t limit[P2P_BATCH];                                                 \
    size_t node[P2P_BATCH];                                                   \
                                                                              \
    if (!map->levels) {                                                       \
        const P2PChunk *chunk = map->chunks[0];                               \
        bool one_node = chunk->n <= P2P_NODE_KEYS;                            \
                                                                              \
        for (unsigned i = 0; i < n; i++) {                                    \
            int64_t l = search_limit(in[i].addr.gpa);                         \
            uint32_t k = one_node ? 0 : P2P_NODE_KEYS *                       \
                                        rank_##variant(chunk->root, l);       \
                                                                              \
            places->chunk[i] = chunk;                                         \
            places->index[i] = k - 1 + rank_##variant(chunk->keys + k, l);    \
        }                                                                     \
        return;                                                               \
    }                                                                         \
    for (unsigned i = 0; i < n; i++) {                                        \
        limit[i] = search_limit(in[i].addr.gpa);                              \
        node[i] = 0;                                                          \
    }                                                                         \
    for (unsigned l = 0; l < map->levels; l++) {                              \
        const int64_t *level = map->level[l];                                 \
                                                                              \
        for (unsigned i = 0; i < n; i++) {                                    \
            node[i] = node[i] * P2P_FAN_OUT +                                 \
                      rank_##variant(level + node[i] * P2P_NODE_KEYS,         \
                                     limit[i]);                               \
        }                                                                     \
    }                                                                         \
    for (unsigned i = 0; i < n; i++) {                                        \
        const P2PChunk *chunk = map->chunks[node[i]];                         \
                                                                              \
        places->chunk[i] = chunk;                                             \
        __builtin_prefetch(chunk);                                            \
        __builtin_prefetch(chunk->root);                                      \
        __builtin_prefetch(chunk->root + P2P_NODE_KEYS / 2);                  \
    }                                                                         \
    for (unsigned i = 0; i < n; i++) {                                        \
        const P2PChunk *chunk = places->chunk[i];                             \
                                                                              \
        node[i] = P2P_NODE_KEYS * rank_##variant(chunk->root, limit[i]);      \
        __builtin_prefetch(chunk->keys + node[i]);                            \
        __builtin_prefetch(chunk->keys + node[i] + P2P_NODE_KEYS / 2);        \
    }                                                                         \
    for (unsigned i = 0; i < n; i++) {                                        \
        const P2PChunk *chunk = places->chunk[i];                             \
        uint32_t index = node[i] - 1 +                                        \
                         rank_##variant(chunk->keys + node[i], limit[i]);     \
                                                                              \
        places->index[i] = index;                                             \
        __builtin_prefetch(chunk->spans + index);                             \
        __builtin_prefetch(chunk->infos + index);                             \
    }                                                                         \
}

DEFINE_SEARCH(portable, )

/* --- Run --------------------------------------------------------------- */

/* An entry: its address, its length and flags. */
typedef uint64_t Entry __attribute__((vector_size(16), aligned(8)));

static inline bool differs(Entry difference)
{
    return difference[0] | difference[1];
}

static size_t run_portable(const P2PGuestVec *in, size_t n)
{
    const Entry *entries = (const Entry *)in;
    const Entry step = { in[0].len, 0 };
    Entry expected = entries[0];
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        Entry second = expected + step;
        Entry third = second + step;
        Entry fourth = third + step;

        if (differs((entries[i] ^ expected) | (entries[i + 1] ^ second) |
                    (entries[i + 2] ^ third) | (entries[i + 3] ^ fourth))) {
            break;
        }
        expected = fourth + step;
    }
    for (; i < n && !differs(entries[i] ^ expected); i++) {
        expected += step;
    }
    return i;
}

#ifdef __x86_64__
DEFINE_SEARCH(avx2, __attribute__((target("avx2,popcnt"))))
DEFINE_SEARCH(avx512, __attribute__((target("avx512f,popcnt"))))

__attribute__((target("avx2")))
static size_t run_avx2(const P2PGuestVec *in, size_t n)
{
    const int64_t len = in[0].len;
    const __m256i step = _mm256_set_epi64x(0, 2 * len, 0, 2 * len);
    const __m256i steps = _mm256_slli_epi64(step, 2);
    __m256i a = _mm256_add_epi64(
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)in)),
        _mm256_set_epi64x(0, len, 0, 0));
    __m256i b = _mm256_add_epi64(a, step);
    __m256i c = _mm256_add_epi64(b, step);
    __m256i d = _mm256_add_epi64(c, step);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256i *entries = (const __m256i *)(in + i);
        __m256i ab = _mm256_or_si256(
            _mm256_xor_si256(a, _mm256_loadu_si256(entries)),
            _mm256_xor_si256(b, _mm256_loadu_si256(entries + 1)));
        __m256i cd = _mm256_or_si256(
            _mm256_xor_si256(c, _mm256_loadu_si256(entries + 2)),
            _mm256_xor_si256(d, _mm256_loadu_si256(entries + 3)));
        __m256i all = _mm256_or_si256(ab, cd);

        if (!_mm256_testz_si256(all, all)) {
            break;
        }
        a = _mm256_add_epi64(a, steps);
        b = _mm256_add_epi64(b, steps);
        c = _mm256_add_epi64(c, steps);
        d = _mm256_add_epi64(d, steps);
    }
    /* What is left begins where a run of its own would. */
    if (i < n && in[i].addr.gpa == in[0].addr.gpa + i * (uint64_t)len &&
        in[i].len == in[0].len && in[i].flags == in[0].flags) {
        i += run_portable(in + i, MIN(n - i, 8));
    }
    return i;
}

static bool supported_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

static bool supported_avx512(void)
{
    return supported_avx2() && __builtin_cpu_supports("avx512f");
}
#endif

/* --- Choice ------------------------------------------------------------ */

static bool supported_always(void)
{
    return true;
}

const P2PKernels p2p_kernels[] = {
    { "portable", supported_always, search_portable, run_portable },
#ifdef __x86_64__
    { "avx2", supported_avx2, search_avx2, run_avx2 },
    { "avx512", supported_avx512, search_avx512, run_avx2 },
#endif
    { NULL }
};

const P2PKernels *p2p_kernels_best(void)
{
    static const P2PKernels *best;
    const P2PKernels *kernels = __atomic_load_n(&best, __ATOMIC_RELAXED);

    if (!kernels) {
        kernels = p2p_kernels;
        for (const P2PKernels *k = p2p_kernels; k->name; k++) {
            if (k->supported()) {
                kernels = k;
            }
        }
        __atomic_store_n(&best, kernels, __ATOMIC_RELAXED);
    }
    return kernels;
}
