/* columns.h: eight values at a time into columns of a panel (../panel.h, ../scaled_panel.h), with AVX2 and NEON. */
#ifndef KT_VECTOR_COLUMNS_H
#define KT_VECTOR_COLUMNS_H

#include "lanes.h"

#if defined(__AVX2__)
#define KT_COLUMN_LANES 1

/* Eight values of both columns. */
KT_INLINE void kt_fill_eights(int32_t *word, const int8_t *x, const int8_t *other)
{
    const __m128i order = _mm_setr_epi8(0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15);
    const __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)x), second = _mm_loadl_epi64((const __m128i *)(const void *)other);
    const kt_lanes words = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(_mm_unpacklo_epi64(first, second), order));
    memcpy(word, &words, sizeof words);
}

/* (g * m + half) >> shift of eight values, shift in [1, 15], in one column. */
KT_INLINE void kt_fill_eight_scaled(int32_t *word, const int8_t *g, const int16_t *m, int32_t half, int32_t shift)
{
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    const __m128i values = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)g)), one = _mm_set1_epi16(1);
    const __m128i factors = _mm_loadu_si128((const __m128i *)(const void *)m), halves = _mm_set1_epi16((int16_t)half);
    const __m128i low = _mm_madd_epi16(_mm_unpacklo_epi16(values, one), _mm_unpacklo_epi16(factors, halves));
    const __m128i high = _mm_madd_epi16(_mm_unpackhi_epi16(values, one), _mm_unpackhi_epi16(factors, halves));
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m128i pairs = _mm_shuffle_epi8(_mm_packs_epi32(_mm_sra_epi32(low, by), _mm_sra_epi32(high, by)), order);
    word[0] = _mm_extract_epi32(pairs, 0);
    word[2] = _mm_extract_epi32(pairs, 1);
    word[4] = _mm_extract_epi32(pairs, 2);
    word[6] = _mm_extract_epi32(pairs, 3);
}
#elif defined(__ARM_NEON)
#define KT_COLUMN_LANES 1

KT_INLINE void kt_fill_eights(int32_t *word, const int8_t *x, const int8_t *other)
{
    static const uint8_t order[16] = {0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15};
    const int8x16_t values = vqtbl1q_s8(vcombine_s8(vld1_s8(x), vld1_s8(other)), vld1q_u8(order));
    const int16x8_t low = vmovl_s8(vget_low_s8(values)), high = vmovl_high_s8(values);
    memcpy(word, &low, sizeof low);
    memcpy(word + 4, &high, sizeof high);
}

KT_INLINE void kt_fill_eight_scaled(int32_t *word, const int8_t *g, const int16_t *m, int32_t half, int32_t shift)
{
    static const uint8_t order[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    const int16x8_t values = vmovl_s8(vld1_s8(g)), factors = vld1q_s16(m);
    const int32x4_t by = vdupq_n_s32(-shift), start = vdupq_n_s32(half);
    const int32x4_t low = vshlq_s32(vmlal_s16(start, vget_low_s16(values), vget_low_s16(factors)), by);
    const int32x4_t high = vshlq_s32(vmlal_high_s16(start, values, factors), by);
    const int8x16_t shorts = vreinterpretq_s8_s16(vuzp1q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high)));
    const int32x4_t pairs = vreinterpretq_s32_s8(vqtbl1q_s8(shorts, vld1q_u8(order)));
    vst1q_lane_s32(word, pairs, 0);
    vst1q_lane_s32(word + 2, pairs, 1);
    vst1q_lane_s32(word + 4, pairs, 2);
    vst1q_lane_s32(word + 6, pairs, 3);
}
#else
#define KT_COLUMN_LANES 0
#endif

#endif
