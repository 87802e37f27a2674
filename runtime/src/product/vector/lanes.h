/* lanes.h: vectors of int32 and int16 on a computer: AVX2, SSE2, NEON, or those that gcc and clang have for any processor.
 *
 * A kt_lanes holds KT_LANES words of 32 bits: eight with AVX2, four elsewhere. Every function here is exact, so that results do not depend on
 * which of them a compiler has. */
#ifndef KT_VECTOR_LANES_H
#define KT_VECTOR_LANES_H

#include "../halves.h"

#if defined(__AVX2__)
#include <immintrin.h>
enum { KT_LANES = 8 };
typedef __m256i kt_lanes;
typedef __m128i kt_four_lanes;
#elif defined(__SSE2__)
#include <emmintrin.h>
enum { KT_LANES = 4 };
typedef __m128i kt_lanes;
typedef __m128i kt_four_lanes;
#elif defined(__ARM_NEON)
#include <arm_neon.h>
enum { KT_LANES = 4 };
typedef int32x4_t kt_lanes;
typedef int32x4_t kt_four_lanes;
#else
enum { KT_LANES = 4 };
typedef int32_t kt_lanes __attribute__((vector_size(16)));
typedef int32_t kt_four_lanes __attribute__((vector_size(16)));
#endif

/* Shorts of the same size; arithmetic on them is the compiler's. */
typedef int16_t kt_short_lanes __attribute__((vector_size(4 * KT_LANES)));
typedef uint16_t kt_unsigned_short_lanes __attribute__((vector_size(4 * KT_LANES)));
typedef int32_t kt_word_lanes __attribute__((vector_size(4 * KT_LANES)));
typedef int32_t kt_four_words __attribute__((vector_size(16)));
typedef uint32_t kt_unsigned_lanes __attribute__((vector_size(4 * KT_LANES)));
typedef uint32_t kt_four_unsigned __attribute__((vector_size(16)));

KT_INLINE kt_lanes kt_load_lanes(const void *words)
{
    kt_lanes v;
    memcpy(&v, words, sizeof v);
    return v;
}

/* The first `count` words, less than KT_LANES and even; the others are 0, and are not read. */
KT_INLINE kt_lanes kt_load_some(const void *words, int32_t count)
{
#if defined(__AVX2__)
    return _mm256_maskload_epi32(words, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
#else
    int32_t all[KT_LANES] = {0};
    if (count >= 2) {
        memcpy(all, words, 8);
    }
    return kt_load_lanes(all);
#endif
}

KT_INLINE kt_lanes kt_no_lanes(void)
{
    const int32_t none[KT_LANES] = {0};
    return kt_load_lanes(none);
}

/* Modulo 2^32. */
KT_INLINE kt_lanes kt_add_lanes(kt_lanes a, kt_lanes b)
{
    return (kt_lanes)((kt_unsigned_lanes)a + (kt_unsigned_lanes)b);
}

/* sums + low half * low half + high half * high half, word by word. */
KT_INLINE kt_lanes kt_add_pair_products(kt_lanes sums, kt_lanes a, kt_lanes b)
{
#if defined(__AVX2__)
    return kt_add_lanes(sums, _mm256_madd_epi16(a, b));
#elif defined(__SSE2__)
    return kt_add_lanes(sums, _mm_madd_epi16(a, b));
#elif defined(__ARM_NEON)
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return vaddq_s32(sums, vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y)));
#else
    return kt_add_lanes(sums, ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16));
#endif
}

/* Sums of many such products. NEON multiplies and adds the halves apart, and adds neighbours once at the end. */
#if defined(__ARM_NEON)
typedef struct {
    int32x4_t low, high;
} kt_pair_sums;
#else
typedef kt_lanes kt_pair_sums;
#endif

KT_INLINE kt_pair_sums kt_no_pair_sums(void)
{
#if defined(__ARM_NEON)
    return (kt_pair_sums){kt_no_lanes(), kt_no_lanes()};
#else
    return kt_no_lanes();
#endif
}

KT_INLINE kt_pair_sums kt_add_to_pair_sums(kt_pair_sums sums, kt_lanes a, kt_lanes b)
{
#if defined(__ARM_NEON)
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return (kt_pair_sums){vmlal_s16(sums.low, vget_low_s16(x), vget_low_s16(y)), vmlal_high_s16(sums.high, x, y)};
#else
    return kt_add_pair_products(sums, a, b);
#endif
}

KT_INLINE kt_lanes kt_total_of_pairs(kt_pair_sums sums)
{
#if defined(__ARM_NEON)
    return vpaddq_s32(sums.low, sums.high);
#else
    return sums;
#endif
}

/* Word 0 twice, word 2 twice, and so on; the same of words 1, 3. */
KT_INLINE kt_lanes kt_even_twice(kt_lanes v)
{
#if defined(__AVX2__)
    return _mm256_shuffle_epi32(v, 0xA0);
#elif defined(__SSE2__)
    return _mm_shuffle_epi32(v, 0xA0);
#elif defined(__ARM_NEON)
    return vtrn1q_s32(v, v);
#else
    return (kt_lanes){v[0], v[0], v[2], v[2]};
#endif
}

KT_INLINE kt_lanes kt_odd_twice(kt_lanes v)
{
#if defined(__AVX2__)
    return _mm256_shuffle_epi32(v, 0xF5);
#elif defined(__SSE2__)
    return _mm_shuffle_epi32(v, 0xF5);
#elif defined(__ARM_NEON)
    return vtrn2q_s32(v, v);
#else
    return (kt_lanes){v[1], v[1], v[3], v[3]};
#endif
}

/* Values as they lie, KT_LANES of them, as the pairs (0, 2), (1, 3), (4, 6), (5, 7), each twice. */
KT_INLINE kt_lanes kt_row_twice(const int8_t *x)
{
#if defined(__AVX2__)
    const __m128i order = _mm_setr_epi8(0, 2, 0, 2, 1, 3, 1, 3, 4, 6, 4, 6, 5, 7, 5, 7);
    int64_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_set1_epi64x(bytes), order));
#else
    const int32_t even = kt_pair_of(x[0], x[2]), odd = kt_pair_of(x[1], x[3]);
    const int32_t words[4] = {even, even, odd, odd};
    return kt_load_lanes(words);
#endif
}

/* Both halves of the lanes added, where there are eight. */
KT_INLINE kt_four_lanes kt_four_of(kt_lanes v)
{
#if defined(__AVX2__)
    return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
#else
    return v;
#endif
}

/* {a, c, a, c} and {b, d, b, d}, to be added up: {a, b, c, d}. */
KT_INLINE kt_four_lanes kt_quad_of(kt_lanes ac, kt_lanes bd)
{
    const kt_four_lanes even = kt_four_of(ac), odd = kt_four_of(bd);
#if defined(__SSE2__)
    return _mm_add_epi32(_mm_unpacklo_epi32(even, odd), _mm_unpackhi_epi32(even, odd));
#elif defined(__ARM_NEON)
    return vaddq_s32(vzip1q_s32(even, odd), vzip2q_s32(even, odd));
#else
    return (kt_four_lanes){even[0] + even[2], odd[0] + odd[2], even[1] + even[3], odd[1] + odd[3]};
#endif
}

/* Of paired words (product.h): the weights of the first channel, and those of the second. */
KT_INLINE kt_lanes kt_first_weights(kt_lanes words)
{
    return (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)words << 8) >> 8);
}

KT_INLINE kt_lanes kt_second_weights(kt_lanes words, kt_lanes first)
{
#if defined(__ARM_NEON) /* rounded: what the first one adds is less than a half */
    (void)first;
    return vreinterpretq_s32_s16(vrshrq_n_s16(vreinterpretq_s16_s32(words), 8));
#else
    return (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)words - (kt_unsigned_short_lanes)first) >> 8);
#endif
}

/* Of exact words. */
KT_INLINE kt_lanes kt_first_exact(kt_lanes words)
{
    return (kt_lanes)((kt_short_lanes)((kt_unsigned_short_lanes)words & 0xFF) - 128);
}

KT_INLINE kt_lanes kt_second_exact(kt_lanes words)
{
    return (kt_lanes)((kt_short_lanes)words >> 8);
}

#endif
