/* patch.h: the products of a patch with kernels (../window.h) in vectors, sixteen neighbouring values at a time with AVX2. */
#ifndef KT_VECTOR_PATCH_H
#define KT_VECTOR_PATCH_H

#include "../../product/vector/channels.h"
#include "../../product/vector/sixteens.h"

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
