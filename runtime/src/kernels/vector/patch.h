/* patch.h: the products of a patch with kernels (../window.h) in vectors, sixteen neighbouring values at a time with AVX2. */
#ifndef KT_VECTOR_PATCH_H
#define KT_VECTOR_PATCH_H

#include "../../product/vector/channels.h"

/* sum w * (x + offset) over a patch; w points to the kernel's first value. */
static inline int32_t kt_patch_dot(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t offset)
{
    const kt_lanes added = kt_shorts_of((int16_t)offset);
    const int32_t length = patch->length;
    kt_lanes sums = kt_no_lanes();
    int32_t sum = 0, row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = 0; i + KT_CHANNEL_LANES <= length; i += KT_CHANNEL_LANES) {
                sums = kt_add_pair_products(sums, kt_widen_channels(weights + i), kt_with_offset(values + i, KT_CHANNEL_LANES, added));
            }
            for (; i < length; i++) {
                sum += weights[i] * (values[i] + offset);
            }
        }
    }
    return sum + kt_sum_of(sums);
}

#if defined(__ARM_FEATURE_DOTPROD)
/* Sums of the products of weights and values, four neighbours each, and of the weights alone, which meet the offset at the end. */
typedef struct {
    int32x4_t products[4], weights[4];
} kt_sixteen_sums;

KT_INLINE kt_sixteen_sums kt_no_sixteens(void)
{
    const int32x4_t none = vdupq_n_s32(0);
    return (kt_sixteen_sums){{none, none, none, none}, {none, none, none, none}};
}

/* Of the largest multiple of sixteen values; returns how many. */
KT_INLINE int32_t kt_add_sixteens(kt_sixteen_sums *sums, const int8_t *values, const int8_t *weights, int32_t size, int32_t length)
{
    const int8x16_t one = vdupq_n_s8(1);
    int32_t i, k;
    for (i = 0; i + 16 <= length; i += 16) {
        const int8x16_t value = vld1q_s8(values + i);
        for (k = 0; k < 4; k++) {
            const int8x16_t weight = vld1q_s8(weights + k * size + i);
            sums->products[k] = vdotq_s32(sums->products[k], weight, value);
            sums->weights[k] = vdotq_s32(sums->weights[k], weight, one);
        }
    }
    return i;
}

KT_INLINE kt_four_lanes kt_sixteen_totals(const kt_sixteen_sums *sums, int32_t offset)
{
    const int32x4_t *const p = sums->products, *const w = sums->weights;
    return vmlaq_n_s32(kt_added_up(p[0], p[1], p[2], p[3]), kt_added_up(w[0], w[1], w[2], w[3]), offset);
}
#else
typedef char kt_sixteen_sums;

KT_INLINE kt_sixteen_sums kt_no_sixteens(void)
{
    return 0;
}

KT_INLINE int32_t kt_add_sixteens(kt_sixteen_sums *sums, const int8_t *values, const int8_t *weights, int32_t size, int32_t length)
{
    (void)sums, (void)values, (void)weights, (void)size, (void)length;
    return 0;
}

KT_INLINE kt_four_lanes kt_sixteen_totals(const kt_sixteen_sums *sums, int32_t offset)
{
    (void)sums, (void)offset;
    return kt_four_of(kt_no_lanes());
}
#endif

/* Four kernels at once, `size` values apart: each input value is loaded once. */
static inline void kt_patch_dot4(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset,
                                 int32_t sums[4])
{
    const kt_lanes added = kt_shorts_of((int16_t)offset);
    const kt_pair_sums none = kt_no_pair_sums();
    const int32_t length = patch->length;
    kt_pair_sums total[4] = {none, none, none, none};
    int32_t rest[4] = {0, 0, 0, 0};
    kt_sixteen_sums sixteens = kt_no_sixteens();
    kt_four_lanes whole;
    int32_t row, span, i, k;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = kt_add_sixteens(&sixteens, values, weights, size, length); i + KT_CHANNEL_LANES <= length; i += KT_CHANNEL_LANES) {
                const kt_lanes value = kt_with_offset(values + i, KT_CHANNEL_LANES, added);
                for (k = 0; k < 4; k++) {
                    total[k] = kt_add_to_pair_sums(total[k], kt_widen_channels(weights + k * size + i), value);
                }
            }
            for (; i < length; i++) {
                const int32_t value = values[i] + offset;
                for (k = 0; k < 4; k++) {
                    rest[k] += weights[k * size + i] * value;
                }
            }
        }
    }
    whole = kt_added_up(kt_total_of_pairs(total[0]), kt_total_of_pairs(total[1]), kt_total_of_pairs(total[2]), kt_total_of_pairs(total[3]));
    whole = kt_add_four(kt_add_four(kt_load_four(rest), whole), kt_sixteen_totals(&sixteens, offset));
    memcpy(sums, &whole, sizeof whole);
}

#endif
