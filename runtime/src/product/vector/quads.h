/* quads.h: a kt_lanes as quads of four words each, one without AVX2 and two with it. */
#ifndef KT_VECTOR_QUADS_H
#define KT_VECTOR_QUADS_H

#include "channels.h"

enum { KT_QUADS = KT_LANES / 4 };

/* The same four words in every quad. */
KT_INLINE kt_lanes kt_every_quad(const int32_t four[4])
{
#if defined(__AVX2__)
    return _mm256_broadcastsi128_si256(kt_load_four(four));
#else
    return kt_load_four(four);
#endif
}

/* Of the quads of two vectors: {a0, b0, a1, b1}, {a2, b2, a3, b3}. */
KT_INLINE kt_channel_words kt_interleave_words(kt_lanes a, kt_lanes b)
{
#if defined(__AVX2__)
    const kt_channel_words w = {_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)};
#elif defined(__SSE2__)
    const kt_channel_words w = {_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)};
#elif defined(__ARM_NEON)
    const kt_channel_words w = {vzip1q_s32(a, b), vzip2q_s32(a, b)};
#else
    const kt_channel_words w = {(kt_lanes){a[0], b[0], a[1], b[1]}, (kt_lanes){a[2], b[2], a[3], b[3]}};
#endif
    return w;
}

/* {a0, a1, b0, b1}, {a2, a3, b2, b3}. */
KT_INLINE kt_channel_words kt_interleave_pairs(kt_lanes a, kt_lanes b)
{
#if defined(__AVX2__)
    const kt_channel_words w = {_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)};
#elif defined(__SSE2__)
    const kt_channel_words w = {_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)};
#elif defined(__ARM_NEON)
    const int64x2_t x = vreinterpretq_s64_s32(a), y = vreinterpretq_s64_s32(b);
    const kt_channel_words w = {vreinterpretq_s32_s64(vzip1q_s64(x, y)), vreinterpretq_s32_s64(vzip2q_s64(x, y))};
#else
    const kt_channel_words w = {(kt_lanes){a[0], a[1], b[0], b[1]}, (kt_lanes){a[2], a[3], b[2], b[3]}};
#endif
    return w;
}

/* Bytes without a sign, as shorts in order. */
KT_INLINE kt_lanes kt_widen_bytes(const uint8_t *bytes)
{
#if defined(__AVX2__)
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
#elif defined(__SSE2__)
    return _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)bytes), _mm_setzero_si128());
#elif defined(__ARM_NEON)
    return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(bytes)));
#else
    int16_t values[KT_CHANNEL_LANES];
    int32_t i;
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        values[i] = bytes[i];
    }
    return kt_load_lanes(values);
#endif
}

/* Four words times a factor, modulo 2^32. */
KT_INLINE kt_four_unsigned kt_times_four(kt_four_unsigned words, int32_t factor)
{
#if defined(__AVX2__)
    return (kt_four_unsigned)_mm_mullo_epi32((__m128i)words, _mm_set1_epi32(factor));
#else
    return words * (uint32_t)factor;
#endif
}

/* Quads of four vectors turned: of the words j of all of them, in each quad {a_j, b_j, c_j, d_j}. */
KT_INLINE void kt_turn_quads(const kt_lanes v[4], kt_lanes turned[4])
{
    const kt_channel_words first = kt_interleave_words(v[0], v[1]), second = kt_interleave_words(v[2], v[3]);
    const kt_channel_words low = kt_interleave_pairs(first.low, second.low), high = kt_interleave_pairs(first.high, second.high);
    turned[0] = low.low;
    turned[1] = low.high;
    turned[2] = high.low;
    turned[3] = high.high;
}

/* sums[value][i] += v[i][value] of the first `count` values of the lanes. */
KT_INLINE void kt_add_by_value(int32_t *sums, const kt_lanes v[4], int32_t count)
{
    int32_t words[4 * KT_LANES];
    kt_lanes turned[4];
    int32_t quad, j;
    kt_turn_quads(v, turned);
    for (j = 0; j < 4; j++) {
        kt_store_lanes(words + KT_LANES * j, turned[j]);
    }
    for (quad = 0; quad < KT_QUADS; quad++) {
        for (j = 0; j < 4 && 4 * quad + j < count; j++, sums += 4) {
            const kt_four_lanes added = kt_add_four(kt_load_four(sums), kt_load_four(words + KT_LANES * j + 4 * quad));
            memcpy(sums, &added, sizeof added);
        }
    }
}

#endif
