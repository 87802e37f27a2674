/* sum.h: sums and differences of int8 tensors (../add.h, ../sub.h) in vectors: all of their requantisations as they stand there. */
#ifndef KT_VECTOR_SUM_H
#define KT_VECTOR_SUM_H

#include "../../../product/vector/words.h"

/* What a sum and a difference have in common. */
typedef struct {
    const int32_t *input_offset, *multiplier, *shift, *clamp;
    int32_t output_offset;
} kt_sum_of_two;

KT_INLINE kt_lanes kt_term_lanes(const kt_sum_of_two *p, const int8_t *x, int32_t operand)
{
    const kt_word_lanes value = (kt_word_lanes)kt_add_lanes(kt_widen_codes(x), kt_splat(p->input_offset[operand]));
    return kt_requantize_lanes((kt_lanes)(value << 20), kt_splat(p->multiplier[operand]), kt_splat(p->shift[operand]));
}

/* Elements of the largest multiple of the lanes; returns how many. The result may be one of the operands. difference: of x and other. */
KT_INLINE int32_t kt_sum_in_lanes(const kt_sum_of_two *p, int32_t size, const int8_t *x, const int8_t *other, int difference, int8_t *y)
{
    const kt_lanes low = kt_splat(p->clamp[0] - p->output_offset), high = kt_splat(p->clamp[1] - p->output_offset);
    int32_t i;
    for (i = 0; i + KT_LANES <= size; i += KT_LANES) {
        const kt_word_lanes a = (kt_word_lanes)kt_term_lanes(p, x + i, 0), b = (kt_word_lanes)kt_term_lanes(p, other + i, 1);
        const kt_lanes sum = (kt_lanes)(difference ? a - b : a + b);
        const kt_lanes scaled = kt_requantize_lanes(sum, kt_splat(p->multiplier[2]), kt_splat(p->shift[2]));
        kt_store_narrow(y + i, kt_add_lanes(kt_clamp_lanes(scaled, low, high), kt_splat(p->output_offset)));
    }
    return i;
}

#endif
