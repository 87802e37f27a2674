/* sixteens.h: sixteen neighbouring values with four kernels, for 64-bit Arm with products of bytes that add up four neighbours. */
#ifndef KT_VECTOR_SIXTEENS_H
#define KT_VECTOR_SIXTEENS_H

#include "words.h"

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

#endif
