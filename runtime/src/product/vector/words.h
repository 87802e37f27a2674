/* words.h: the integer primitives of kt/numerics.h on all words of a kt_lanes. */
#ifndef KT_VECTOR_WORDS_H
#define KT_VECTOR_WORDS_H

#include "lanes.h"

KT_INLINE kt_lanes kt_splat(int32_t word)
{
#if defined(__AVX2__)
    return _mm256_set1_epi32(word);
#elif defined(__SSE2__)
    return _mm_set1_epi32(word);
#elif defined(__ARM_NEON)
    return vdupq_n_s32(word);
#else
    return (kt_lanes){word, word, word, word};
#endif
}

KT_INLINE void kt_store_lanes(void *words, kt_lanes v)
{
    memcpy(words, &v, sizeof v);
}

/* a where `choose` is all ones, b where it is 0. */
KT_INLINE kt_lanes kt_choose(kt_word_lanes choose, kt_word_lanes a, kt_word_lanes b)
{
    return (kt_lanes)((a & choose) | (b & ~choose));
}

KT_INLINE kt_lanes kt_clamp_lanes(kt_lanes v, kt_lanes low, kt_lanes high)
{
#if defined(__AVX2__)
    return _mm256_max_epi32(low, _mm256_min_epi32(v, high));
#elif defined(__ARM_NEON)
    return vmaxq_s32(low, vminq_s32(v, high));
#else
    const kt_word_lanes x = (kt_word_lanes)v, l = (kt_word_lanes)low, h = (kt_word_lanes)high;
    const kt_word_lanes less = (kt_word_lanes)kt_choose(x < h, x, h);
    return kt_choose(less > l, less, l);
#endif
}

/* kt_add_saturated */
KT_INLINE kt_lanes kt_add_saturated_lanes(kt_lanes a, kt_lanes b)
{
#if defined(__ARM_NEON)
    return vqaddq_s32(a, b);
#else
    const kt_word_lanes x = (kt_word_lanes)a, y = (kt_word_lanes)b, sum = (kt_word_lanes)kt_add_lanes(a, b);
    const kt_word_lanes beyond = ((x ^ sum) & (y ^ sum)) >> 31;
    return kt_choose(beyond, (x >> 31) ^ INT32_MAX, sum);
#endif
}

/* Each word shifted by its own number, 0 to 31. */
KT_INLINE kt_lanes kt_shift_lanes_left(kt_lanes v, kt_lanes by)
{
#if defined(__AVX2__)
    return _mm256_sllv_epi32(v, by);
#elif defined(__ARM_NEON)
    return vshlq_s32(v, by);
#else
    return (kt_lanes)((kt_word_lanes)v << (kt_word_lanes)by);
#endif
}

KT_INLINE kt_lanes kt_shift_lanes_right(kt_lanes v, kt_lanes by)
{
#if defined(__AVX2__)
    return _mm256_srav_epi32(v, by);
#elif defined(__ARM_NEON)
    return vshlq_s32(v, vnegq_s32(by));
#else
    return (kt_lanes)((kt_word_lanes)v >> (kt_word_lanes)by);
#endif
}

/* kt_high_multiply for a multiplier that is not INT32_MIN. */
KT_INLINE kt_lanes kt_high_multiply_lanes(kt_lanes a, kt_lanes b)
{
#if defined(__AVX2__)
    const __m256i half = _mm256_set1_epi64x(INT64_C(1) << 30);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, b), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32)), half);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
#elif defined(__ARM_NEON)
    return vqrdmulhq_s32(a, b);
#else
    int32_t x[KT_LANES], y[KT_LANES];
    int32_t i;
    kt_store_lanes(x, a);
    kt_store_lanes(y, b);
    for (i = 0; i < KT_LANES; i++) {
        x[i] = (int32_t)(((int64_t)x[i] * y[i] + (INT64_C(1) << 30)) >> 31);
    }
    return kt_load_lanes(x);
#endif
}

/* kt_divide_by_power, n in [0, 31] */
KT_INLINE kt_lanes kt_divide_lanes(kt_lanes v, kt_lanes n)
{
#if defined(__ARM_NEON)
    /* NEON rounds ties up: a negative word is one less before, where there is anything to round */
    const int32x4_t down = vnegq_s32(n);
    return vrshlq_s32(vqaddq_s32(v, vshrq_n_s32(vandq_s32(v, down), 31)), down);
#else
    const kt_word_lanes x = (kt_word_lanes)v;
    const kt_word_lanes mask = ~(kt_word_lanes)kt_shift_lanes_left(kt_splat(-1), n);
    const kt_word_lanes threshold = (mask >> 1) - (x >> 31);
    return (kt_lanes)((kt_word_lanes)kt_shift_lanes_right(v, n) - ((x & mask) > threshold));
#endif
}

/* Shifted left, limited to int32. */
KT_INLINE kt_lanes kt_saturate_left(kt_lanes v, kt_lanes by)
{
#if defined(__ARM_NEON)
    return vqshlq_s32(v, by);
#else
    const kt_word_lanes x = (kt_word_lanes)v;
    const kt_lanes moved = kt_shift_lanes_left(v, by);
    const kt_word_lanes back = (kt_word_lanes)kt_shift_lanes_right(moved, by);
    return kt_choose(back == x, (kt_word_lanes)moved, (x >> 31) ^ INT32_MAX);
#endif
}

/* kt_requantize; multipliers are not negative. */
KT_INLINE kt_lanes kt_requantize_lanes(kt_lanes v, kt_lanes multiplier, kt_lanes shift)
{
    const kt_word_lanes s = (kt_word_lanes)shift;
    const kt_lanes zero = kt_no_lanes(), most = kt_splat(31);
    const kt_lanes left = kt_clamp_lanes(shift, zero, most), right = kt_clamp_lanes((kt_lanes)(-s), zero, most);
    return kt_divide_lanes(kt_high_multiply_lanes(kt_saturate_left(v, left), multiplier), right);
}

/* kt_saturate8 of kt_shift_round, shift in [1, 31] */
KT_INLINE kt_lanes kt_round_lanes(kt_word_lanes sums, int32_t shift)
{
    const kt_word_lanes rounded = (sums >> shift) + ((sums >> (shift - 1)) & 1);
    return kt_clamp_lanes((kt_lanes)rounded, kt_splat(-127), kt_splat(127));
}

/* KT_LANES int8 codes as words. */
KT_INLINE kt_lanes kt_widen_codes(const int8_t *codes)
{
#if defined(__AVX2__)
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)codes));
#elif defined(__ARM_NEON)
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)))));
#else
    const int32_t words[4] = {codes[0], codes[1], codes[2], codes[3]};
    return kt_load_lanes(words);
#endif
}

/* KT_LANES bytes, each the word limited to [-128, 127]. */
KT_INLINE void kt_store_narrow(int8_t *to, kt_lanes v)
{
#if defined(__AVX2__)
    const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(shorts, shorts));
    memcpy(to, &bytes, sizeof bytes);
#elif defined(__SSE2__)
    const __m128i shorts = _mm_packs_epi32(v, v);
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packs_epi16(shorts, shorts));
    memcpy(to, &bytes, sizeof bytes);
#elif defined(__ARM_NEON)
    const int16x4_t shorts = vqmovn_s32(v);
    const int32_t bytes = vget_lane_s32(vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(shorts, shorts))), 0);
    memcpy(to, &bytes, sizeof bytes);
#else
    int32_t words[KT_LANES];
    int32_t i;
    kt_store_lanes(words, v);
    for (i = 0; i < KT_LANES; i++) {
        to[i] = (int8_t)kt_clamp(words[i], -128, 127);
    }
#endif
}

/* {all of a added up, all of b, of c, of d} */
KT_INLINE kt_four_lanes kt_added_up(kt_lanes a, kt_lanes b, kt_lanes c, kt_lanes d)
{
    const kt_four_lanes p = kt_four_of(a), q = kt_four_of(b), r = kt_four_of(c), s = kt_four_of(d);
#if defined(__SSE2__)
    const __m128i pq = _mm_add_epi32(_mm_unpacklo_epi32(p, q), _mm_unpackhi_epi32(p, q));
    const __m128i rs = _mm_add_epi32(_mm_unpacklo_epi32(r, s), _mm_unpackhi_epi32(r, s));
    return _mm_add_epi32(_mm_unpacklo_epi64(pq, rs), _mm_unpackhi_epi64(pq, rs));
#elif defined(__ARM_NEON)
    return vpaddq_s32(vpaddq_s32(p, q), vpaddq_s32(r, s));
#else
    return (kt_four_lanes){p[0] + p[1] + p[2] + p[3], q[0] + q[1] + q[2] + q[3], r[0] + r[1] + r[2] + r[3], s[0] + s[1] + s[2] + s[3]};
#endif
}

/* The sum of all words. */
KT_INLINE int32_t kt_sum_of(kt_lanes v)
{
#if defined(__ARM_NEON)
    return vaddvq_s32(v);
#else
    int32_t words[KT_LANES];
    uint32_t sum = 0;
    int32_t i;
    kt_store_lanes(words, v);
    for (i = 0; i < KT_LANES; i++) {
        sum += (uint32_t)words[i];
    }
    return (int32_t)sum;
#endif
}

#endif
