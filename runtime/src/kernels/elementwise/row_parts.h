/* row_parts.h: parts of rows of the gradients of reduction.h at once: in vectors of a computer, lanes of Helium, or four values of C with the DSP
 * extension. */
#ifndef KT_ROW_PARTS_H
#define KT_ROW_PARTS_H

#include "kt/architecture.h"

#if KT_MVE
#include "../mve/words.h"
#elif KT_DSP
#include "../dsp/words.h"
#else
#include "../../product/vector/words.h"
#endif

/* Whether the lanes take a row: operands stand still or lie side by side, and so do the sums; what is alone is rounded by a shift to the right. */
static inline int kt_reduces_in_lanes(int32_t own_step, int32_t other_step, int32_t result_step, int32_t shift, const int32_t *sums)
{
    const int steps = (own_step | other_step | result_step) >> 1 == 0;
    return steps && (sums != NULL || (result_step == 1 && shift >= 1 && shift <= 31));
}

/* KT_LANES values of an operand, or the one that stands still. */
KT_INLINE kt_word_lanes kt_operand_lanes(const int8_t *x, int32_t i, int32_t step)
{
    return (kt_word_lanes)(step == 0 ? kt_splat(*x) : kt_widen_codes(x + i));
}

/* kt_reduce of KT_LANES products of a row, from element i of it on. at: of the row. */
KT_INLINE void kt_reduce_lanes(kt_word_lanes products, int32_t shift, int32_t at, int32_t i, int32_t step, int8_t *result, int32_t *sums)
{
    if (sums == NULL) {
        kt_store_narrow(result + at + i, kt_round_lanes(products, shift));
    } else if (step == 0) {
        sums[at] = (int32_t)((uint32_t)sums[at] + (uint32_t)kt_sum_of((kt_lanes)products));
    } else {
        kt_store_lanes(sums + at + i, kt_add_lanes(kt_load_lanes(sums + at + i), (kt_lanes)products));
    }
}

/* As much of a row as fills lanes, within KT_PAIR_GRADIENT. */
#define KT_PAIR_LANES(element) \
    if (kt_reduces_in_lanes(shape.own_step[KT_INNERMOST], shape.other_step[KT_INNERMOST], shape.result_step[KT_INNERMOST], p.shift, sums)) { \
        for (; i + KT_LANES <= n; i += KT_LANES) { \
            const kt_word_lanes own_values = kt_operand_lanes(own + own_at, i, shape.own_step[KT_INNERMOST]); \
            const kt_word_lanes other_values = kt_operand_lanes(other + other_at, i, shape.other_step[KT_INNERMOST]); \
            const kt_word_lanes products = (kt_word_lanes)kt_widen_codes(g + i) * element##_lanes(&p, own_values, other_values); \
            kt_reduce_lanes(products, p.shift, result_at, i, shape.result_step[KT_INNERMOST], result, sums); \
        } \
    }

#endif
