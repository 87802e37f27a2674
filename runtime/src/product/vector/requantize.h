/* requantize.h: four results of int8 from four sums, as kt_short_requantize of ../halves.h gives each. */
#ifndef KT_VECTOR_REQUANTIZE_H
#define KT_VECTOR_REQUANTIZE_H

#include "lanes.h"

/* Of four channels. */
typedef struct {
    kt_four_lanes multiplier, addend, shift;
} kt_epilogues;

KT_INLINE kt_four_lanes kt_load_four(const int32_t *words)
{
    kt_four_lanes v;
    memcpy(&v, words, sizeof v);
    return v;
}

KT_INLINE kt_four_lanes kt_four(int32_t a, int32_t b, int32_t c, int32_t d)
{
    const int32_t words[4] = {a, b, c, d};
    return kt_load_four(words);
}

/* Modulo 2^32. */
KT_INLINE kt_four_lanes kt_add_four(kt_four_lanes a, kt_four_lanes b)
{
    return (kt_four_lanes)((kt_four_unsigned)a + (kt_four_unsigned)b);
}

/* epilogue: 4 x {multiplier, addend, shift}. */
KT_INLINE kt_epilogues kt_epilogues_of(const int32_t *epilogue)
{
#if defined(__AVX2__)
    const __m128 first = _mm_loadu_ps((const float *)epilogue), second = _mm_loadu_ps((const float *)(epilogue + 4)),
                 third = _mm_loadu_ps((const float *)(epilogue + 8));
    /* m a s m, a s m a, s m a s */
    const __m128 m23 = _mm_shuffle_ps(second, third, _MM_SHUFFLE(1, 1, 2, 2)), a12 = _mm_shuffle_ps(first, second, _MM_SHUFFLE(0, 0, 1, 1));
    const __m128 a34 = _mm_shuffle_ps(second, third, _MM_SHUFFLE(2, 2, 3, 3)), s12 = _mm_shuffle_ps(first, second, _MM_SHUFFLE(1, 1, 2, 2));
    const kt_epilogues found = {_mm_castps_si128(_mm_shuffle_ps(first, m23, _MM_SHUFFLE(2, 0, 3, 0))),
                                _mm_castps_si128(_mm_shuffle_ps(a12, a34, _MM_SHUFFLE(2, 0, 2, 0))),
                                _mm_castps_si128(_mm_shuffle_ps(s12, third, _MM_SHUFFLE(3, 0, 2, 0)))};
#elif defined(__ARM_NEON)
    const int32x4x3_t parts = vld3q_s32(epilogue);
    const kt_epilogues found = {parts.val[0], parts.val[1], parts.val[2]};
#else
    const kt_epilogues found = {kt_four(epilogue[0], epilogue[3], epilogue[6], epilogue[9]),
                                kt_four(epilogue[1], epilogue[4], epilogue[7], epilogue[10]),
                                kt_four(epilogue[2], epilogue[5], epilogue[8], epilogue[11])};
#endif
    return found;
}

/* The high words of four products. */
KT_INLINE kt_four_lanes kt_high_products(kt_four_lanes a, kt_four_lanes b)
{
#if defined(__AVX2__)
    const __m128i even = _mm_mul_epi32(a, b), odd = _mm_mul_epi32(_mm_srli_epi64(a, 32), _mm_srli_epi64(b, 32));
    return _mm_blend_epi32(_mm_srli_epi64(even, 32), odd, 0xA);
#elif defined(__ARM_NEON)
    return vcombine_s32(vshrn_n_s64(vmull_s32(vget_low_s32(a), vget_low_s32(b)), 32), vshrn_n_s64(vmull_high_s32(a, b), 32));
#else
    int32_t x[4], y[4], high[4];
    int32_t i;
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (i = 0; i < 4; i++) {
        high[i] = (int32_t)(((int64_t)x[i] * y[i]) >> 32);
    }
    return kt_load_four(high);
#endif
}

/* Each word shifted right by its own number, 0 to 31. */
KT_INLINE kt_four_lanes kt_shift_each(kt_four_lanes v, kt_four_lanes shift)
{
#if defined(__AVX2__)
    return _mm_srav_epi32(v, shift);
#elif defined(__ARM_NEON)
    return vshlq_s32(v, vnegq_s32(shift));
#else
    return (kt_four_lanes)((kt_four_words)v >> (kt_four_words)shift);
#endif
}

/* Four bytes, each the word limited to [-128, 127]. */
KT_INLINE int32_t kt_four_bytes(kt_four_lanes v)
{
#if defined(__SSE2__)
    const __m128i shorts = _mm_packs_epi32(v, v);
    return _mm_cvtsi128_si32(_mm_packs_epi16(shorts, shorts));
#elif defined(__ARM_NEON)
    const int16x4_t shorts = vqmovn_s32(v);
    return vget_lane_s32(vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(shorts, shorts))), 0);
#else
    int8_t bytes[4];
    int32_t words[4];
    int32_t i;
    memcpy(words, &v, sizeof words);
    for (i = 0; i < 4; i++) {
        bytes[i] = (int8_t)kt_clamp(words[i], -128, 127);
    }
    return kt_word_at(bytes);
#endif
}

KT_INLINE void kt_store_bytes(int8_t *to, int32_t bytes)
{
    memcpy(to, &bytes, sizeof bytes);
}

/* negative: what a negative sum takes from the addend. */
KT_INLINE int32_t kt_four_results(kt_four_lanes sums, const kt_epilogues *e, int32_t negative)
{
    const kt_four_words scaled = (kt_four_words)kt_high_products((kt_four_lanes)((kt_four_words)sums << 8), e->multiplier);
    const kt_four_words less = ((kt_four_words)sums >> 31) & negative;
    return kt_four_bytes(kt_shift_each((kt_four_lanes)(scaled + (kt_four_words)e->addend - less), e->shift));
}

#endif
