/* bytes.h: panels of two positions, and values of one, as bytes, for NEON: it multiplies eight or sixteen bytes at once, but four shorts.
 *
 * Eight words of a stream hold four channels' weights of eight values. Those of a panel are shorts, and are narrowed once for all channels where
 * all of them are bytes. Gradients that are scaled for each channel are two bytes. */
#ifndef KT_VECTOR_BYTES_H
#define KT_VECTOR_BYTES_H

#include "lanes.h"

#if defined(__ARM_NEON)
enum { KT_BLOCK_WORDS = 8, KT_MOST_BLOCKS = 256 /* of a quad of channels: longer ones are multiplied as shorts */ };

/* Values of a block, of one position and of the next, in the order that weights are in. high: of values that are no bytes, 256 high + low, both with
 * a sign. */
typedef struct {
    int8x16_t low[2], high[2];
} kt_block_bytes;

/* wide: some value is no byte. */
typedef struct {
    int32_t blocks, wide;
    kt_block_bytes block[KT_MOST_BLOCKS];
} kt_panel_bytes;

/* Sums of four channels, to be added up. */
typedef struct {
    int32x4_t first, second;
} kt_byte_sums;

/* Of eight words: the weights of the channels a and c, two of each in turn, and those of b and d. */
typedef struct {
    int8x16_t ac, bd;
} kt_weight_bytes;

KT_INLINE kt_byte_sums kt_no_byte_sums(void)
{
    return (kt_byte_sums){vdupq_n_s32(0), vdupq_n_s32(0)};
}

KT_INLINE kt_weight_bytes kt_weight_bytes_of(const int32_t words[KT_BLOCK_WORDS], int exact)
{
    const int8x16_t low = vld1q_s8((const int8_t *)words), high = vld1q_s8((const int8_t *)(words + 4));
    const int8x16_t even = vuzp1q_s8(low, high);
    if (exact) {
        return (kt_weight_bytes){veorq_s8(even, vdupq_n_s8(INT8_MIN)), vuzp2q_s8(low, high)};
    }
    /* rounded: what the channel in the low byte adds is less than a half */
    return (kt_weight_bytes){even, vrshrn_high_n_s16(vrshrn_n_s16(vreinterpretq_s16_s8(low), 8), vreinterpretq_s16_s8(high), 8)};
}

KT_INLINE int8x16_t kt_even_shorts(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s16(vuzp1q_s16(vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)));
}

KT_INLINE int8x16_t kt_odd_shorts(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s16(vuzp2q_s16(vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)));
}

#if defined(__ARM_FEATURE_DOTPROD)
#define KT_WIDE_BYTES 1 /* two of these products take less than that of shorts */

/* Four bytes of a channel side by side: values of eight, twice. Sums: {a, a, b, b}, {c, c, d, d}. */
KT_INLINE void kt_set_bytes(int8x16_t bytes[2], int8x16_t two)
{
    bytes[0] = kt_even_shorts(two, two);
    bytes[1] = kt_odd_shorts(two, two);
}

KT_INLINE int8x16_t kt_row_block(const int8_t x[KT_BLOCK_WORDS])
{
    static const uint8_t order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    const int8x8_t values = vtbl1_s8(vld1_s8(x), vreinterpret_s8_u8(vld1_u8(order)));
    return vcombine_s8(values, values);
}

KT_INLINE kt_weight_bytes kt_arranged(kt_weight_bytes w)
{
    return (kt_weight_bytes){kt_even_shorts(w.ac, w.bd), kt_odd_shorts(w.ac, w.bd)};
}

KT_INLINE kt_byte_sums kt_add_byte_products(kt_byte_sums sums, kt_weight_bytes arranged, int8x16_t values, int exact)
{
    (void)exact;
    return (kt_byte_sums){vdotq_s32(sums.first, arranged.ac, values), vdotq_s32(sums.second, arranged.bd, values)};
}

KT_INLINE kt_four_lanes kt_quad_of_bytes(kt_byte_sums sums)
{
    return vpaddq_s32(sums.first, sums.second);
}
#else
#define KT_WIDE_BYTES 0

/* Two bytes of a channel side by side: each pair of values twice. Sums: {a, c, a, c}, {b, d, b, d}. */
KT_INLINE void kt_set_bytes(int8x16_t bytes[2], int8x16_t two)
{
    const int16x8_t pairs = vreinterpretq_s16_s8(two);
    bytes[0] = vreinterpretq_s8_s16(vtrn1q_s16(pairs, pairs));
    bytes[1] = vreinterpretq_s8_s16(vtrn2q_s16(pairs, pairs));
}

KT_INLINE int8x16_t kt_row_block(const int8_t x[KT_BLOCK_WORDS])
{
    static const uint8_t order[16] = {0, 2, 0, 2, 1, 3, 1, 3, 4, 6, 4, 6, 5, 7, 5, 7};
    const int8x8_t values = vld1_s8(x);
    return vqtbl1q_s8(vcombine_s8(values, values), vld1q_u8(order));
}

KT_INLINE kt_weight_bytes kt_arranged(kt_weight_bytes w)
{
    return w;
}

/* Two products of a weight of -128 leave 16 bits; only exact words have it. */
KT_INLINE int32x4_t kt_add_pairs_of_bytes(int32x4_t sums, int8x16_t weights, int8x16_t values, int exact)
{
    const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(values));
    return exact ? vpadalq_s16(vpadalq_s16(sums, low), vmull_high_s8(weights, values)) : vpadalq_s16(sums, vmlal_high_s8(low, weights, values));
}

KT_INLINE kt_byte_sums kt_add_byte_products(kt_byte_sums sums, kt_weight_bytes arranged, int8x16_t values, int exact)
{
    return (kt_byte_sums){kt_add_pairs_of_bytes(sums.first, arranged.ac, values, exact),
                          kt_add_pairs_of_bytes(sums.second, arranged.bd, values, exact)};
}

KT_INLINE kt_four_lanes kt_quad_of_bytes(kt_byte_sums sums)
{
    return kt_quad_of(sums.first, sums.second);
}
#endif

/* Words of the last block, of which there are less than eight; the others are 0, and meet values of 0. */
KT_INLINE void kt_copy_words(int32_t to[KT_BLOCK_WORDS], const int32_t *words, int32_t count)
{
    memset(to, 0, KT_BLOCK_WORDS * sizeof *to);
    memcpy(to, words, (size_t)count * sizeof *to);
}

/* Eight words of a panel [pairs][2]. */
typedef struct {
    int16x8_t half[2];
} kt_panel_shorts;

/* Those from word `first` on; 0 where the panel has no more. */
KT_INLINE kt_panel_shorts kt_panel_shorts_of(const int32_t *panel, int32_t words, int32_t first)
{
    kt_panel_shorts shorts;
    int32_t last[KT_BLOCK_WORDS];
    const int32_t *from = panel + first;
    if (words - first < KT_BLOCK_WORDS) {
        kt_copy_words(last, from, words - first);
        from = last;
    }
    memcpy(&shorts, from, sizeof shorts);
    return shorts;
}

/* The upper bytes of a panel whose values are no bytes. NULL where one of them is too large to be two. */
KT_INLINE const kt_panel_bytes *kt_widen_panel(kt_panel_bytes *to, const int32_t *panel, int32_t pairs)
{
    int16x8_t largest = vdupq_n_s16(0);
    int32_t i;
    for (i = 0; i < to->blocks; i++) {
        const kt_panel_shorts x = kt_panel_shorts_of(panel, 2 * pairs, KT_BLOCK_WORDS * i);
        largest = vmaxq_s16(largest, vmaxq_s16(x.half[0], x.half[1]));
        kt_set_bytes(to->block[i].high, vrshrn_high_n_s16(vrshrn_n_s16(x.half[0], 8), x.half[1], 8));
    }
    to->wide = 1;
    return KT_WIDE_BYTES && vmaxvq_s16(largest) < 127 * 256 + 128 ? to : NULL;
}

/* The panel [pairs][2] in bytes, or NULL. */
KT_INLINE const kt_panel_bytes *kt_narrow_panel(kt_panel_bytes *to, const int32_t *panel, int32_t pairs)
{
    uint16x8_t beyond = vdupq_n_u16(0);
    int32_t i;
    to->blocks = (2 * pairs + KT_BLOCK_WORDS - 1) / KT_BLOCK_WORDS;
    to->wide = 0;
    if (to->blocks > KT_MOST_BLOCKS) {
        return NULL;
    }
    for (i = 0; i < to->blocks; i++) {
        const kt_panel_shorts x = kt_panel_shorts_of(panel, 2 * pairs, KT_BLOCK_WORDS * i);
        const uint16x8_t half = vdupq_n_u16(128);
        beyond = vorrq_u16(beyond, vaddq_u16(vreinterpretq_u16_s16(x.half[0]), half));
        beyond = vorrq_u16(beyond, vaddq_u16(vreinterpretq_u16_s16(x.half[1]), half));
        kt_set_bytes(to->block[i].low, vuzp1q_s8(vreinterpretq_s8_s16(x.half[0]), vreinterpretq_s8_s16(x.half[1])));
        if (!KT_WIDE_BYTES && i == 0 && vmaxvq_u16(beyond) > 255) {
            return NULL; /* as most panels that are no bytes tell at once */
        }
    }
    return vmaxvq_u16(beyond) < 256 ? to : KT_WIDE_BYTES ? kt_widen_panel(to, panel, pairs) : NULL;
}

/* The values x [2 * pairs], pairs even, of one position in the first half of each block, or NULL. */
KT_INLINE const kt_panel_bytes *kt_arrange_row(kt_panel_bytes *to, const int8_t *x, int32_t pairs)
{
    const int32_t values = 2 * pairs;
    int32_t i;
    to->blocks = (values + KT_BLOCK_WORDS - 1) / KT_BLOCK_WORDS;
    to->wide = 0;
    if (to->blocks > KT_MOST_BLOCKS) {
        return NULL;
    }
    for (i = 0; i < to->blocks; i++) {
        int8_t last[KT_BLOCK_WORDS] = {0};
        const int32_t rest = values - KT_BLOCK_WORDS * i;
        if (rest < KT_BLOCK_WORDS) {
            memcpy(last, x + KT_BLOCK_WORDS * i, (size_t)rest);
        }
        to->block[i].low[0] = kt_row_block(rest < KT_BLOCK_WORDS ? last : x + KT_BLOCK_WORDS * i);
    }
    return to;
}

/* Those of two positions. */
typedef struct {
    kt_byte_sums low, next_low, high, next_high;
} kt_block_sums;

/* The products of a block added. two, wide: constants. */
KT_INLINE void kt_add_block(kt_block_sums *sums, const int32_t words[KT_BLOCK_WORDS], const kt_block_bytes *values, int two, int exact, int wide)
{
    const kt_weight_bytes weights = kt_arranged(kt_weight_bytes_of(words, exact));
    sums->low = kt_add_byte_products(sums->low, weights, values->low[0], exact);
    if (two) {
        sums->next_low = kt_add_byte_products(sums->next_low, weights, values->low[1], exact);
    }
    if (wide) {
        sums->high = kt_add_byte_products(sums->high, weights, values->high[0], exact);
        sums->next_high = kt_add_byte_products(sums->next_high, weights, values->high[1], exact);
    }
}

/* Sums of four channels and one position, or two. words: of the stream. */
KT_INLINE void kt_add_blocks(const int32_t *stream, int32_t words, const kt_panel_bytes *panel, int two, int exact, int wide, kt_four_lanes *result)
{
    const kt_byte_sums none = kt_no_byte_sums();
    const kt_block_bytes *values = panel->block, *const end = values + words / KT_BLOCK_WORDS;
    const int32_t rest = words % KT_BLOCK_WORDS;
    kt_block_sums sums = {none, none, none, none};
    for (; values != end; values++, stream += KT_BLOCK_WORDS) {
        kt_add_block(&sums, stream, values, two, exact, wide);
    }
    if (rest != 0) {
        int32_t last[KT_BLOCK_WORDS];
        kt_copy_words(last, stream, rest);
        kt_add_block(&sums, last, values, two, exact, wide);
    }
    result[0] = kt_quad_of_bytes(sums.low);
    if (two) {
        result[1] = kt_quad_of_bytes(sums.next_low);
    }
    if (wide) {
        result[0] = vaddq_s32(result[0], vshlq_n_s32(kt_quad_of_bytes(sums.high), 8));
        result[1] = vaddq_s32(result[1], vshlq_n_s32(kt_quad_of_bytes(sums.next_high), 8));
    }
}

KT_INLINE void kt_sums_of_bytes(const int32_t *stream, int32_t words, const kt_panel_bytes *panel, int two, int exact, kt_four_lanes *result)
{
    if (KT_WIDE_BYTES && two && panel->wide) {
        kt_add_blocks(stream, words, panel, two, exact, 1, result);
    } else {
        kt_add_blocks(stream, words, panel, two, exact, 0, result);
    }
}
#else /* other vectors multiply as many pairs of shorts at once */
typedef char kt_panel_bytes;

KT_INLINE const kt_panel_bytes *kt_narrow_panel(kt_panel_bytes *to, const int32_t *panel, int32_t pairs)
{
    (void)to, (void)panel, (void)pairs;
    return NULL;
}

KT_INLINE const kt_panel_bytes *kt_arrange_row(kt_panel_bytes *to, const int8_t *x, int32_t pairs)
{
    (void)to, (void)x, (void)pairs;
    return NULL;
}

KT_INLINE void kt_sums_of_bytes(const int32_t *stream, int32_t words, const kt_panel_bytes *panel, int two, int exact, kt_four_lanes *result)
{
    (void)stream, (void)words, (void)panel, (void)two, (void)exact, (void)result;
}
#endif

#endif
