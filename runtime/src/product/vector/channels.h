/* channels.h: neighbouring channels in the lanes of vectors, two for each word: KT_CHANNEL_LANES of them at a time.
 *
 * Their values are shorts of one kt_lanes, in order. Two values of each channel side by side are words of two, in the order that interleaving
 * leaves them in, which kt_pack_shorts and kt_store_channels turn back. */
#ifndef KT_VECTOR_CHANNELS_H
#define KT_VECTOR_CHANNELS_H

#include "requantize.h"
#include "words.h"

enum { KT_CHANNEL_LANES = 2 * KT_LANES };

/* Words of all channels. */
typedef struct {
    kt_lanes low, high;
} kt_channel_words;

/* int8 values in order. */
KT_INLINE kt_lanes kt_widen_channels(const int8_t *x)
{
#if defined(__AVX2__)
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
#elif defined(__SSE2__)
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)x);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
#elif defined(__ARM_NEON)
    return vreinterpretq_s32_s16(vmovl_s8(vld1_s8(x)));
#else
    int16_t values[KT_CHANNEL_LANES];
    int32_t i;
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        values[i] = x[i];
    }
    return kt_load_lanes(values);
#endif
}

/* The same of the first `count`; the others are 0. */
KT_INLINE kt_lanes kt_widen_some(const int8_t *x, int32_t count)
{
    int8_t all[KT_CHANNEL_LANES] = {0};
    if (count >= KT_CHANNEL_LANES) {
        return kt_widen_channels(x);
    }
    memcpy(all, x, (size_t)count);
    return kt_widen_channels(all);
}

/* The values of two places, channel by channel. */
KT_INLINE kt_channel_words kt_interleave(kt_lanes a, kt_lanes b)
{
#if defined(__AVX2__)
    const kt_channel_words w = {_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)};
#elif defined(__SSE2__)
    const kt_channel_words w = {_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)};
#elif defined(__ARM_NEON)
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    const kt_channel_words w = {vreinterpretq_s32_s16(vzip1q_s16(x, y)), vreinterpretq_s32_s16(vzip2q_s16(x, y))};
#else
    const kt_short_lanes x = (kt_short_lanes)a, y = (kt_short_lanes)b;
    const kt_channel_words w = {(kt_lanes)(kt_short_lanes){x[0], y[0], x[1], y[1], x[2], y[2], x[3], y[3]},
                                (kt_lanes)(kt_short_lanes){x[4], y[4], x[5], y[5], x[6], y[6], x[7], y[7]}};
#endif
    return w;
}

/* Words of memory, a channel each. */
KT_INLINE kt_channel_words kt_load_channels(const int32_t *words)
{
#if defined(__AVX2__)
    const __m256i a = kt_load_lanes(words), b = kt_load_lanes(words + KT_LANES);
    const kt_channel_words w = {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
#else
    const kt_channel_words w = {kt_load_lanes(words), kt_load_lanes(words + KT_LANES)};
#endif
    return w;
}

KT_INLINE void kt_store_channel_words(int32_t *words, kt_channel_words w)
{
#if defined(__AVX2__)
    const __m256i a = _mm256_permute2x128_si256(w.low, w.high, 0x20), b = _mm256_permute2x128_si256(w.low, w.high, 0x31);
    memcpy(words, &a, sizeof a);
    memcpy(words + KT_LANES, &b, sizeof b);
#else
    memcpy(words, &w.low, sizeof w.low);
    memcpy(words + KT_LANES, &w.high, sizeof w.high);
#endif
}

/* Values as words of one each. */
KT_INLINE kt_channel_words kt_words_of(kt_lanes shorts)
{
    const kt_channel_words w = kt_interleave(shorts, shorts);
    const kt_channel_words one = {(kt_lanes)((kt_word_lanes)w.low >> 16), (kt_lanes)((kt_word_lanes)w.high >> 16)};
    return one;
}

/* Words that fit in shorts, as shorts. */
KT_INLINE kt_lanes kt_pack_shorts(kt_channel_words w)
{
#if defined(__AVX2__)
    return _mm256_packs_epi32(w.low, w.high);
#elif defined(__SSE2__)
    return _mm_packs_epi32(w.low, w.high);
#elif defined(__ARM_NEON)
    return vreinterpretq_s32_s16(vcombine_s16(vqmovn_s32(w.low), vqmovn_s32(w.high)));
#else
    int32_t words[KT_CHANNEL_LANES];
    int16_t shorts[KT_CHANNEL_LANES];
    int32_t i;
    kt_store_channel_words(words, w);
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        shorts[i] = (int16_t)kt_clamp(words[i], INT16_MIN, INT16_MAX);
    }
    return kt_load_lanes(shorts);
#endif
}

/* Words of the first `count` channels; the others are 0. */
KT_INLINE kt_channel_words kt_load_channels_of(const int32_t *words, int32_t count)
{
    int32_t all[KT_CHANNEL_LANES] = {0};
    if (count >= KT_CHANNEL_LANES) {
        return kt_load_channels(words);
    }
    memcpy(all, words, (size_t)count * sizeof *words);
    return kt_load_channels(all);
}

/* The same of codes. */
KT_INLINE kt_channel_words kt_load_codes_of(const int8_t *codes, int32_t count)
{
    return kt_words_of(kt_widen_some(codes, count));
}

/* The same of shorts. */
KT_INLINE kt_channel_words kt_load_shorts_of(const int16_t *shorts, int32_t count)
{
    int16_t all[KT_CHANNEL_LANES] = {0};
    if (count >= KT_CHANNEL_LANES) {
        return kt_words_of(kt_load_lanes(shorts));
    }
    memcpy(all, shorts, (size_t)count * sizeof *shorts);
    return kt_words_of(kt_load_lanes(all));
}

KT_INLINE kt_lanes kt_shorts_of(int16_t value)
{
    int16_t values[KT_CHANNEL_LANES];
    int32_t i;
    for (i = 0; i < KT_CHANNEL_LANES; i++) {
        values[i] = value;
    }
    return kt_load_lanes(values);
}

/* Values with an offset. */
KT_INLINE kt_lanes kt_with_offset(const int8_t *y, int32_t count, kt_lanes offset)
{
    return (kt_lanes)((kt_short_lanes)kt_widen_some(y, count) + (kt_short_lanes)offset);
}

/* kt_requantize of all channels, then an addend limited to +-2^30. */
KT_INLINE kt_channel_words kt_requantize_channels(kt_channel_words x, kt_channel_words multiplier, kt_channel_words shift)
{
    const kt_channel_words result = {kt_requantize_lanes(x.low, multiplier.low, shift.low), kt_requantize_lanes(x.high, multiplier.high, shift.high)};
    return result;
}

KT_INLINE kt_channel_words kt_clamp_channels(kt_channel_words x, int32_t low, int32_t high)
{
    const kt_lanes least = kt_splat(low), most = kt_splat(high);
    const kt_channel_words result = {kt_clamp_lanes(x.low, least, most), kt_clamp_lanes(x.high, least, most)};
    return result;
}

KT_INLINE kt_channel_words kt_add_saturated_channels(kt_channel_words a, kt_channel_words b)
{
    const kt_channel_words result = {kt_add_saturated_lanes(a.low, b.low), kt_add_saturated_lanes(a.high, b.high)};
    return result;
}

KT_INLINE kt_channel_words kt_add_to_channels(kt_channel_words a, int32_t b)
{
    const kt_channel_words result = {kt_add_lanes(a.low, kt_splat(b)), kt_add_lanes(a.high, kt_splat(b))};
    return result;
}

KT_INLINE void kt_add_products_of(kt_channel_words *sums, const kt_channel_words *a, const kt_channel_words *b)
{
    sums->low = kt_add_pair_products(sums->low, a->low, b->low);
    sums->high = kt_add_pair_products(sums->high, a->high, b->high);
}

/* 1 where values of single places are multiplied and added up as fast as two places side by side. */
#if defined(__ARM_NEON)
#define KT_SINGLE_PLACES 1

/* sums + a * b, channel by channel, of values in order. */
KT_INLINE void kt_add_single_products(kt_channel_words *sums, kt_lanes a, kt_lanes b)
{
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    sums->low = vmlal_s16(sums->low, vget_low_s16(x), vget_low_s16(y));
    sums->high = vmlal_high_s16(sums->high, x, y);
}

/* The first values of interleaved ones, and the second, in order. */
KT_INLINE kt_lanes kt_first_place(kt_channel_words w)
{
    return vreinterpretq_s32_s16(vuzp1q_s16(vreinterpretq_s16_s32(w.low), vreinterpretq_s16_s32(w.high)));
}

KT_INLINE kt_lanes kt_second_place(kt_channel_words w)
{
    return vreinterpretq_s32_s16(vuzp2q_s16(vreinterpretq_s16_s32(w.low), vreinterpretq_s16_s32(w.high)));
}

/* Six words of each channel, which lie side by side, word by word. */
KT_INLINE void kt_load_six(const int32_t *words, kt_channel_words six[6])
{
    const int32x4x3_t a = vld3q_s32(words), b = vld3q_s32(words + 12), c = vld3q_s32(words + 24), d = vld3q_s32(words + 36);
    int32_t i;
    for (i = 0; i < 3; i++) { /* words i and i + 3 of two channels each */
        six[i] = (kt_channel_words){vuzp1q_s32(a.val[i], b.val[i]), vuzp1q_s32(c.val[i], d.val[i])};
        six[i + 3] = (kt_channel_words){vuzp2q_s32(a.val[i], b.val[i]), vuzp2q_s32(c.val[i], d.val[i])};
    }
}
#else
#define KT_SINGLE_PLACES 0
#endif

/* (value * factor + half) >> 16, which fits in 16 bits. */
KT_INLINE kt_lanes kt_scale_channels(kt_lanes shorts, const kt_channel_words *factor, int32_t half)
{
    const kt_channel_words w = kt_words_of(shorts);
    const kt_channel_words scaled = {
        (kt_lanes)(((kt_word_lanes)w.low * (kt_word_lanes)factor->low + half) >> 16),
        (kt_lanes)(((kt_word_lanes)w.high * (kt_word_lanes)factor->high + half) >> 16),
    };
    return kt_pack_shorts(scaled);
}

/* The first `count` channels as int8, limited to [-128, 127]. */
KT_INLINE void kt_store_channels(int8_t *y, kt_channel_words w, int32_t count)
{
    int8_t all[KT_CHANNEL_LANES];
#if defined(__AVX2__)
    const __m256i shorts = _mm256_packs_epi32(w.low, w.high);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(shorts), _mm256_extracti128_si256(shorts, 1));
    memcpy(count >= KT_CHANNEL_LANES ? y : all, &bytes, sizeof bytes);
#elif defined(__ARM_NEON)
    vst1_s8(count >= KT_CHANNEL_LANES ? y : all, vqmovn_s16(vcombine_s16(vqmovn_s32(w.low), vqmovn_s32(w.high))));
#else
    const int32_t low = kt_four_bytes(w.low), high = kt_four_bytes(w.high);
    memcpy(count >= KT_CHANNEL_LANES ? y : all, &low, sizeof low);
    memcpy((count >= KT_CHANNEL_LANES ? y : all) + 4, &high, sizeof high);
#endif
    if (count < KT_CHANNEL_LANES) {
        memcpy(y, all, (size_t)count);
    }
}

/* -- the requantisation of kt_short_requantize, of all channels ------------------------------------------- */

typedef struct {
    kt_channel_words multiplier, addend, shift;
} kt_channel_epilogues;

KT_INLINE kt_lanes kt_scale_lanes(kt_lanes sums, kt_lanes multiplier, kt_lanes addend, kt_lanes shift, int32_t negative)
{
#if defined(__AVX2__)
    const __m256i q = _mm256_slli_epi32(sums, 8);
    const __m256i even = _mm256_mul_epi32(q, multiplier), odd = _mm256_mul_epi32(_mm256_srli_epi64(q, 32), _mm256_srli_epi64(multiplier, 32));
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    const __m256i less = _mm256_and_si256(_mm256_srai_epi32(sums, 31), _mm256_set1_epi32(negative));
    return _mm256_srav_epi32(_mm256_sub_epi32(_mm256_add_epi32(high, addend), less), shift);
#else
    const kt_four_words high = (kt_four_words)kt_high_products((kt_four_lanes)((kt_four_words)sums << 8), multiplier);
    const kt_four_words less = ((kt_four_words)sums >> 31) & negative;
    return kt_shift_each((kt_four_lanes)(high + (kt_four_words)addend - less), shift);
#endif
}

/* negative: what a negative sum takes from the addend. The results still have to be limited. */
KT_INLINE kt_channel_words kt_scale_sums(kt_channel_words sums, const kt_channel_epilogues *e, int32_t negative)
{
    const kt_channel_words scaled = {
        kt_scale_lanes(sums.low, e->multiplier.low, e->addend.low, e->shift.low, negative),
        kt_scale_lanes(sums.high, e->multiplier.high, e->addend.high, e->shift.high, negative),
    };
    return scaled;
}

/* sums >> shift, at least -127. */
KT_INLINE kt_lanes kt_shift_gradient(kt_lanes sums, int32_t shift)
{
#if defined(__ARM_NEON)
    return vmaxq_s32(vshlq_s32(sums, vdupq_n_s32(-shift)), vdupq_n_s32(-127));
#else
    const kt_word_lanes shifted = (kt_word_lanes)sums >> shift;
    const kt_word_lanes low = shifted < -127;
    return (kt_lanes)((shifted & ~low) | (low & -127));
#endif
}

#endif
