/* attention_row.h: parts of a row of attention (../attention_row.h, ../attention_slopes.h) on lanes. */
#ifndef KT_MVE_ATTENTION_ROW_H
#define KT_MVE_ATTENTION_ROW_H

#include "../../mve/gradient_lanes.h"
#include "../../mve/lanes.h"

enum { KT_ROW_PIECE = 32 };

/* Codes of `count` sums: kt_clamp_with_offset of kt_requantize_right; multiplier not negative, right in [1, 31]. */
static inline void kt_codes_of_sums(const int32_t *sums, int32_t count, int32_t multiplier, int32_t right, int32_t offset, int8_t *codes)
{
    const int32_t clamp[2] = {-128, 127};
    const kt_lanes_clamp limits = kt_lanes_clamp_of(offset, clamp);
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t scaled = kt_requantize_lanes_right(vldrwq_z_s32(sums + c, rest), multiplier, -right);
        vstrbq_p_s32(codes + c, kt_clamp_lanes(scaled, limits), rest);
    }
}

/* 256 bytes of a table by int8 codes. table: of -128. */
static inline int8x16_t kt_look_up_lanes(const int8_t *table, int8x16_t codes, mve_pred16_t rest)
{
    return vldrbq_gather_offset_z_s8(table, vreinterpretq_u8_s8(veorq_s8(codes, vdupq_n_s8(-128))), rest);
}

/* What an int8 code reads of a table of 256 codes, four at a time. */
static inline int32x4_t kt_look_up_words(const int8_t *table, const int8_t *codes, mve_pred16_t rest)
{
    const uint32x4_t at = vreinterpretq_u32_s32(vaddq_n_s32(vldrbq_z_s32(codes, rest), 128));
    return vldrbq_gather_offset_z_s32(table, at, rest);
}

/* The largest that `count` codes read of the table. */
static inline int32_t kt_largest_of(const int8_t *table, const int8_t *codes, int32_t count)
{
    int32_t largest = -128, c;
    for (c = 0; c < count; c += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)(count - c));
        largest = vmaxvq_p_s8((int8_t)largest, kt_look_up_lanes(table, vldrbq_z_s8(codes + c, rest), rest), rest);
    }
    return largest;
}

/* Exponentials of four codes. */
static inline int32x4_t kt_exponentials_of(const int8_t *table, const int32_t *exponentials, int32_t largest, const int8_t *codes, mve_pred16_t rest)
{
    const int32x4_t below = vsubq_s32(vdupq_n_s32(largest), kt_look_up_words(table, codes, rest));
    return vldrwq_gather_shifted_offset_z_s32(exponentials, vreinterpretq_u32_s32(below), rest);
}

/* The sum of `count` exponentials, each rounded to 1/2^(31 - bits). */
static inline uint32_t kt_sum_of_exponentials(const int8_t *table, const int32_t *exponentials, int32_t largest, const int8_t *codes, int32_t count,
                                              int32_t bits)
{
    uint32_t sum = 0;
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t found = kt_exponentials_of(table, exponentials, largest, codes + c, rest);
        sum = vaddvaq_p_u32(sum, vrshlq_n_u32(vreinterpretq_u32_s32(found), -bits), rest);
    }
    return sum;
}

/* Probabilities, less 128, of four exponentials that are not negative; shift in [1, 31]. */
static inline int32x4_t kt_probability_lanes(int32x4_t exponentials, int32x4_t scale, int32x4_t shift)
{
    const uint32x4_t parts = vrshlq_u32(vreinterpretq_u32_s32(vqrdmulhq_s32(exponentials, scale)), vnegq_s32(shift));
    return vsubq_n_s32(vreinterpretq_s32_u32(vminq_u32(parts, vdupq_n_u32(255))), 128);
}

/* Probabilities, less 128, of `count` codes, which may lie in the same place. */
static inline void kt_probabilities_of_codes(const int8_t *table, const int32_t *exponentials, int32_t largest, int32_t scale, int32_t shift,
                                             const int8_t *codes, int32_t count, int8_t *probabilities)
{
    int32_t c;
    if (shift > 31) {
        kt_fill_lanes(probabilities, -128, count);
        return;
    }
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t found = kt_exponentials_of(table, exponentials, largest, codes + c, rest);
        vstrbq_p_s32(probabilities + c, kt_probability_lanes(found, vdupq_n_s32(scale), vdupq_n_s32(shift)), rest);
    }
}

/* saturate8(shift_round(sums)) */
static inline void kt_round_row(const int32_t *sums, int32_t count, int32_t shift, int8_t *row)
{
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        vstrbq_p_s32(row + c, kt_saturate_lanes(kt_shift_round_lanes(vldrwq_z_s32(sums + c, rest), shift)), rest);
    }
}

/* The sums over `count` of (p + 128) g, and of p + 128. */
static inline void kt_mean_sums(const int8_t *p, const int8_t *g, int32_t count, int32_t sums[2])
{
    int32_t products = 0, parts = 0, c;
    for (c = 0; c < count; c += 8) {
        const mve_pred16_t rest = vctp16q((uint32_t)(count - c));
        const int16x8_t part = vaddq_n_s16(vldrbq_z_s16(p + c, rest), 128);
        products = vmladavaq_p_s16(products, part, vldrbq_z_s16(g + c, rest), rest);
        parts = vaddvaq_p_s16(parts, part, rest);
    }
    sums[0] = products;
    sums[1] = parts;
}

/* softmax_slope of four gradients. p: less 128. */
static inline int32x4_t kt_slope_lanes(int32x4_t p, int32x4_t g, int32x4_t mean, int32_t shift)
{
    const int32x4_t product = vmulq_s32(vaddq_n_s32(p, 128), vsubq_s32(vshlq_n_s32(g, 8), mean));
    return kt_saturate_lanes(kt_shift_round_lanes(product, shift));
}

/* softmax_slope of `count` gradients, in their place. p: less 128. */
static inline void kt_softmax_slopes(const int8_t *p, int32_t mean, int32_t shift, int32_t count, int8_t *g)
{
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        vstrbq_p_s32(g + c, kt_slope_lanes(vldrbq_z_s32(p + c, rest), vldrbq_z_s32(g + c, rest), vdupq_n_s32(mean), shift), rest);
    }
}

/* The gradients of `count` scores from those of what softmax reads, in their place: two tables of 256, by these and by the codes of the scores. */
static inline void kt_slopes_through(const int8_t *through, const int8_t *codes, int32_t count, int8_t *slopes)
{
    int32_t c;
    for (c = 0; c < count; c += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)(count - c));
        const int8x16_t slope = kt_look_up_lanes(through, vldrbq_z_s8(slopes + c, rest), rest);
        vstrbq_p_s8(slopes + c, vandq_s8(slope, kt_look_up_lanes(through + 256, vldrbq_z_s8(codes + c, rest), rest)), rest);
    }
}

/* What ../attention_gradient.h keeps of four queries, two words of each: the scale; and the mean in 16 bits, the largest code and `over` in 8 each. */
static inline int32x4x2_t kt_kept_lanes(const void *kept)
{
    return vld2q_s32((const int32_t *)kept);
}

/* Probabilities, less 128, of four codes, each by the softmax of its own query. */
static inline void kt_kept_probabilities(const int8_t *table, const int32_t *exponentials, const void *kept, const int8_t *codes,
                                         int8_t *probabilities)
{
    const int32x4x2_t rows = kt_kept_lanes(kept);
    const mve_pred16_t all = vctp32q(4);
    const int32x4_t largest = vshrq_n_s32(vshlq_n_s32(rows.val[1], 8), 24), shift = vaddq_n_s32(vshrq_n_s32(rows.val[1], 24), 31 - 8);
    const uint32x4_t below = vreinterpretq_u32_s32(vsubq_s32(largest, kt_look_up_words(table, codes, all)));
    const int32x4_t found = vldrwq_gather_shifted_offset_s32(exponentials, below);
    const int32x4_t seen = kt_probability_lanes(found, rows.val[0], vminq_s32(shift, vdupq_n_s32(31)));
    vstrbq_s32(probabilities, vpselq_s32(vdupq_n_s32(-128), seen, vcmpgtq_n_s32(shift, 31)));
}

/* softmax_slope of four gradients, each by the mean of its own query, in their place. */
static inline void kt_kept_slopes(const void *kept, const int8_t *p, int32_t shift, int8_t *g)
{
    const int32x4x2_t rows = kt_kept_lanes(kept);
    const int32x4_t mean = vshrq_n_s32(vshlq_n_s32(rows.val[1], 16), 16);
    vstrbq_s32(g, kt_slope_lanes(vldrbq_s32(p), vldrbq_s32(g), mean, shift));
}

/* sums[c] += weight (row[c] + offset), c < count */
static inline void kt_add_row(int32_t *sums, int32_t weight, const int8_t *row, int32_t offset, int32_t count)
{
    const int32_t *from = sums;
    __asm__ volatile("wlstp.32 lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.s32 q0, [%[row]], #4\n\t"
                     "vldrw.32 q1, [%[from]], #16\n\t"
                     "vadd.i32 q0, q0, %[offset]\n\t"
                     "vmla.i32 q1, q0, %[weight]\n\t"
                     "vstrw.32 q1, [%[sums]], #16\n\t"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [row] "+l"(row), [from] "+r"(from), [sums] "+r"(sums)
                     : [count] "r"(count), [offset] "r"(offset), [weight] "r"(weight)
                     : "lr", "q0", "q1", "memory");
}

#endif
