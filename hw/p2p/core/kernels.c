/*
 * The loops of the translation that are worth SIMD, in several variants
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map-internal.h"

#ifdef __x86_64__
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
#endif

#define ALWAYS_INLINE __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll 4")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

/* --- Search ------------------------------------------------------------ */

/*
 * Step by step for all entries of a batch, which do not depend on each other:
 * what one of them waits for from memory, the others overlap.
 */
static inline ALWAYS_INLINE void search_chunk(const P2PChunk *chunk,
                                              const P2PGuestVec *in, unsigned n,
                                              const P2PSlot **slots)
{
    UNROLL
    for (size_t i = 0; i < n; i++) {
        slots[i] = p2p_chunk_guess(chunk, in[i].addr.gpa);
    }
    for (uint32_t more = chunk->table.more; more > 0; more /= 2) {
        UNROLL
        for (size_t i = 0; i < n; i++) {
            slots[i] = p2p_slot_step(slots[i], more, in[i].addr.gpa);
        }
    }
}

static inline ALWAYS_INLINE void search_directory(const P2PMap *map,
                                                  const P2PGuestVec *in,
                                                  unsigned n, uint32_t *chunks)
{
    UNROLL
    for (size_t i = 0; i < n; i++) {
        chunks[i] = p2p_map_guess(map, in[i].addr.gpa);
    }
    for (uint32_t more = map->table.more; more > 0; more /= 2) {
        UNROLL
        for (size_t i = 0; i < n; i++) {
            chunks[i] = p2p_map_step(map, chunks[i], more, in[i].addr.gpa);
        }
    }
}

/* Each entry in its own one of @chunks, by number */
static inline ALWAYS_INLINE void search_chunks(const P2PMap *map,
                                               const P2PGuestVec *in,
                                               unsigned n,
                                               const uint32_t *chunks,
                                               const P2PSlot **slots)
{
    P2P_UNINITIALIZED uint32_t more[P2P_BATCH];

    UNROLL
    for (size_t i = 0; i < n; i++) {
        slots[i] = p2p_chunk_guess(map->chunks[chunks[i]], in[i].addr.gpa);
        __builtin_prefetch(slots[i]);
    }
    if (!map->most) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        more[i] = map->chunks[chunks[i]]->table.more;
    }
    for (uint32_t most = map->most; most > 0; most /= 2) {
        UNROLL
        for (size_t i = 0; i < n; i++) {
            slots[i] = p2p_slot_step(slots[i], more[i], in[i].addr.gpa);
            more[i] /= 2;
        }
    }
}

static inline ALWAYS_INLINE void search(const P2PMap *map,
                                        const P2PGuestVec *in, unsigned n,
                                        const P2PSlot **slots)
{
    P2P_UNINITIALIZED uint32_t chunks[P2P_BATCH];

    if (map->n_chunks == 1) {
        search_chunk(map->chunks[0], in, n, slots);
    } else {
        search_directory(map, in, n, chunks);
        search_chunks(map, in, n, chunks, slots);
    }
}

/* --- Entries in lanes -------------------------------------------------- */

/*
 * An entry, { address, length and flags }, and the beginning of its slot,
 * { end, delta }, are both two numbers of 64 bits: LANES entries are worked on
 * at once, the address in one half of each lane, the rest in the other.  The
 * flags of the result are left to the caller.
 *
 * Lanes keeps what is wrong with any entry, to be asked for once in the end:
 *   - it is empty, or ends behind its window; that it does not begin before
 *     it is known
 *   - on the bus, it begins where the one before ends
 *   - it has other flags than the first
 * Sums do not wrap below P2P_BATCH_END, and have no sign.
 */
typedef struct Lanes_portable {
    uint64_t end;
    uint64_t addresses;     /* all bits of all of them */
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
                                            const P2PSlot *const *slots,
                                            P2PBusVec *out)
{
    uint64_t first = in->addr.gpa;
    uint64_t bus = first + slots[0]->delta;
    uint64_t len = in->len;

    l->wrong |= len == 0;
    l->wrong |= first + len > slots[0]->end;
    l->wrong |= bus == l->end;
    l->end = bus + len;
    l->addresses |= first;
    l->other_flags |= in->flags ^ l->flags;
    out->addr.bus = bus;
    out->len = len;
}

static inline bool lanes_end_portable(const Lanes_portable *l)
{
    return !l->wrong && !l->other_flags && l->addresses < P2P_BATCH_END;
}

#ifdef __x86_64__
typedef struct Lanes_avx2 {
    __m256i end;            /* in the upper address */
    __m256i flags;
    __m256i all;            /* entries: the bits that any has, */
    __m256i least;          /* and the least of each 32 bits */
    __m256i wrong;          /* in the addresses: not 0 */
} Lanes_avx2;

static inline TARGET_AVX2 void lanes_begin_avx2(Lanes_avx2 *l, uint32_t flags,
                                                uint64_t end)
{
    l->end = _mm256_set1_epi64x(end);
    l->flags = _mm256_set1_epi64x((uint64_t)flags << 32);
    l->all = _mm256_setzero_si256();
    l->least = _mm256_set1_epi32(-1);
    l->wrong = _mm256_setzero_si256();
}

static inline TARGET_AVX2
void lanes_translate_avx2(Lanes_avx2 *l, const P2PGuestVec *in,
                          const P2PSlot *const *slots, P2PBusVec *out)
{
    const __m256i take_len = _mm256_broadcastsi128_si256(
        _mm_set_epi32(-1, -1, -1, 0x0b0a0908));
    __m256i entry = _mm256_loadu_si256((const __m256i *)in);
    __m256i slot = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)slots[0])),
        _mm_loadu_si128((const __m128i *)slots[1]), 1);
    __m256i len = _mm256_shuffle_epi8(entry, take_len);
    __m256i delta = _mm256_shuffle_epi32(slot, _MM_SHUFFLE(1, 0, 3, 2));
    __m256i bus = _mm256_add_epi64(entry, delta);
    __m256i end = _mm256_add_epi64(bus, len);
    __m256i before = _mm256_permute2x128_si256(l->end, end, 0x21);

    l->wrong = _mm256_or_si256(l->wrong, _mm256_or_si256(
        _mm256_cmpgt_epi64(_mm256_add_epi64(entry, len), slot),
        _mm256_cmpeq_epi64(bus, before)));
    l->all = _mm256_or_si256(l->all, entry);
    l->least = _mm256_min_epu32(l->least, entry);
    l->end = end;
    _mm256_storeu_si256((__m256i *)out, _mm256_blend_epi32(bus, entry, 0xcc));
}

static inline TARGET_AVX2 bool lanes_end_avx2(const Lanes_avx2 *l)
{
    const __m256i address = _mm256_set_epi64x(0, -1, 0, -1);
    const __m256i high = _mm256_and_si256(
        address, _mm256_set1_epi64x(-(int64_t)P2P_BATCH_END));
    const __m256i flags = _mm256_set_epi32(-1, 0, 0, 0, -1, 0, 0, 0);
    const __m256i len = _mm256_set_epi32(0, -1, 0, 0, 0, -1, 0, 0);
    /* None has a bit that the first has not, or less than the first. */
    __m256i other_flags = _mm256_or_si256(_mm256_xor_si256(l->all, l->flags),
                                          _mm256_xor_si256(l->least, l->flags));
    __m256i empty = _mm256_cmpeq_epi32(l->least, _mm256_setzero_si256());

    return _mm256_testz_si256(l->wrong, address) &&
           _mm256_testz_si256(l->all, high) &&
           _mm256_testz_si256(other_flags, flags) &&
           _mm256_testz_si256(empty, len);
}
#endif

/* --- Batch ------------------------------------------------------------- */

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
    { "portable", supported_always, batch_portable, run_portable },
#ifdef __x86_64__
    { "avx2", supported_avx2, batch_avx2, run_avx2 },
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
