/*
 * The loops of the translation that are worth SIMD, in several variants
 *
 * They take no branch that depends on the data but for the end, so a batch of
 * entries is searched for level by level: what one entry waits for from
 * memory, the others overlap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

#ifdef __x86_64__
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
#endif

/* As many separators as AVX2 compares at once, and one. */
#define P2P_FEW_LEAVES 5

/*
 * Keys below @limit are those at or below an address if @limit is the key of
 * the address behind it.  Behind the last address of all is 0, below which is
 * no key: it finds nothing, which p2p_map_locate() repairs.
 */
static inline int64_t search_limit(uint64_t gpa)
{
    return p2p_key(gpa + 1);
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

static inline unsigned rank_few_portable(const int64_t *keys, int64_t limit)
{
    unsigned rank = 0;

    for (unsigned i = 0; i < P2P_FEW_LEAVES - 1; i++) {
        rank += keys[i] < limit;
    }
    return rank;
}

#ifdef __x86_64__
/* In the first keys of a root with so many leaves at most. */
TARGET_AVX2
static inline unsigned rank_few_avx2(const int64_t *keys, int64_t limit)
{
    __m256i below = _mm256_cmpgt_epi64(_mm256_set1_epi64x(limit),
                                       *(const __m256i *)keys);

    return _mm_popcnt_u32(_mm256_movemask_pd(_mm256_castsi256_pd(below)));
}

TARGET_AVX2
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
#endif

#define ALWAYS_INLINE __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll 4")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* --- Entries in lanes -------------------------------------------------- */

/*
 * An entry, { address, length and flags }, and the span of its window,
 * { last, delta }, are both two numbers of 64 bits: LANES entries are worked
 * on at once, the address in one half of each lane, the rest in the other.
 * Lanes keeps what is wrong with any entry, to be asked for once in the end:
 *   - it begins behind the window, is empty, or longer than what is left of it
 *   - on the bus, it begins where the one before ends
 *   - it has other flags than the first
 */
typedef struct Lanes_portable {
    uint64_t end;
    uint32_t flags;
    uint32_t other_flags;
    unsigned wrong;
} Lanes_portable;

static inline void lanes_begin_portable(Lanes_portable *l, uint32_t flags,
                                        uint64_t end)
{
    *l = (Lanes_portable) { .end = end, .flags = flags };
}

static inline void lanes_translate_portable(Lanes_portable *l,
                                            const P2PGuestVec *in,
                                            const P2PSpan *const *spans,
                                            P2PBusVec *out)
{
    uint64_t first = in->addr.gpa;
    uint64_t bus = first + spans[0]->delta;
    uint64_t len = in->len;
    uint64_t rest;

    l->wrong += __builtin_sub_overflow(spans[0]->last, first, &rest);
    l->wrong += len - 1 > rest;
    l->wrong += bus == l->end;
    l->end = bus + len;
    l->other_flags |= in->flags ^ l->flags;
    out->addr.bus = bus;
    out->len = len;
}

static inline bool lanes_end_portable(const Lanes_portable *l)
{
    return !l->wrong && !l->other_flags;
}

#ifdef __x86_64__
typedef struct Lanes_avx2 {
    __m256i end;            /* in the upper address */
    __m256i flags;
    __m256i other_flags;
    __m256i wrong;          /* in the addresses: not 0 */
} Lanes_avx2;

static inline TARGET_AVX2 void lanes_begin_avx2(Lanes_avx2 *l, uint32_t flags,
                                                uint64_t end)
{
    l->end = _mm256_set1_epi64x(end);
    l->flags = _mm256_set1_epi64x((uint64_t)flags << 32);
    l->other_flags = _mm256_setzero_si256();
    l->wrong = _mm256_setzero_si256();
}

/* a > b, unsigned, which AVX2 does not have */
static inline TARGET_AVX2 __m256i greater_avx2(__m256i a, __m256i b)
{
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);

    return _mm256_cmpgt_epi64(_mm256_xor_si256(a, sign),
                              _mm256_xor_si256(b, sign));
}

static inline TARGET_AVX2 __m256i swap_avx2(__m256i a)
{
    return _mm256_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2));
}

static inline TARGET_AVX2 void lanes_translate_avx2(Lanes_avx2 *l,
                                                    const P2PGuestVec *in,
                                                    const P2PSpan *const *spans,
                                                    P2PBusVec *out)
{
    const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
    const __m256i one = _mm256_set1_epi64x(1);
    __m256i entry = _mm256_loadu_si256((const __m256i *)in);
    __m256i span = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)spans[0])),
        _mm_loadu_si128((const __m128i *)spans[1]), 1);
    __m256i len = _mm256_and_si256(swap_avx2(entry), low);
    __m256i bus = _mm256_add_epi64(entry, swap_avx2(span));
    __m256i end = _mm256_add_epi64(bus, len);
    __m256i before = _mm256_permute2x128_si256(l->end, end, 0x21);
    __m256i wrong = _mm256_or_si256(
        greater_avx2(entry, span),
        greater_avx2(_mm256_sub_epi64(len, one),
                     _mm256_sub_epi64(span, entry)));

    l->wrong = _mm256_or_si256(l->wrong, _mm256_or_si256(
                                   wrong, _mm256_cmpeq_epi64(bus, before)));
    l->other_flags = _mm256_or_si256(l->other_flags,
                                     _mm256_xor_si256(entry, l->flags));
    l->end = end;
    _mm256_storeu_si256((__m256i *)out,
                        _mm256_blend_epi32(bus, _mm256_and_si256(entry, low),
                                           0xcc));
}

static inline TARGET_AVX2 bool lanes_end_avx2(const Lanes_avx2 *l)
{
    const __m256i address = _mm256_set_epi64x(0, -1, 0, -1);
    const __m256i flags = _mm256_set_epi32(-1, 0, 0, 0, -1, 0, 0, 0);

    return _mm256_testz_si256(l->wrong, address) &&
           _mm256_testz_si256(l->other_flags, flags);
}
#endif

/* --- Search and batch -------------------------------------------------- */

#define VARIANT(name) name##_portable
#define TARGET
#define LANES 1
#include "kernel.c.inc"

#ifdef __x86_64__
#define VARIANT(name) name##_avx2
#define TARGET TARGET_AVX2
#define LANES 2
#include "kernel.c.inc"
#endif

/* --- Run --------------------------------------------------------------- */

/* An entry: its address, its length and flags. */
typedef uint64_t Entry __attribute__((vector_size(16), aligned(8), may_alias));

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
TARGET_AVX2
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

/* The compiler's, not QEMU's host/cpuinfo.h: the core is built alone, too. */
static bool supported_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}
#endif

/* --- Choice ------------------------------------------------------------ */

static bool supported_always(void)
{
    return true;
}

const P2PKernels p2p_kernels[] = {
    { "portable", supported_always, search_portable, batch_portable,
      run_portable },
#ifdef __x86_64__
    { "avx2", supported_avx2, search_avx2, batch_avx2, run_avx2 },
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
