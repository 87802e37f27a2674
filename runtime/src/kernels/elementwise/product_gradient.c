/* Gradients of the operands of MUL: the gradient of the result times the other operand. */
#include "reduction.h"

void kt_product_gradient_s8(const kt_product_gradient_params *params, const int8_t *g, const int8_t *factor,
                            int8_t *result, void *sums)
{
    const kt_product_gradient_params p = *params;
    const kt_product_loops shape = p.shape;
    const int32_t n = shape.extent[KT_INNERMOST];
    int32_t index[KT_INNERMOST] = {0, 0, 0};
    int32_t result_at = 0, factor_at = 0;
    int32_t rows, i;
    kt_clear_sums(sums, p.size);
    for (rows = kt_rows(shape.extent); rows > 0; rows--) {
        i = 0;
#if KT_ROW_PARTS
        if (kt_reduces_in_lanes(shape.factor_step[KT_INNERMOST], 0, shape.result_step[KT_INNERMOST], p.shift, sums)) {
            for (; i + KT_LANES <= n; i += KT_LANES) {
                const kt_word_lanes factors = kt_operand_lanes(factor + factor_at, i, shape.factor_step[KT_INNERMOST]) + p.factor_offset;
                const kt_word_lanes products = (kt_word_lanes)kt_widen_codes(g + i) * factors;
                kt_reduce_lanes(products, p.shift, result_at, i, shape.result_step[KT_INNERMOST], result, sums);
            }
        }
#endif
        for (; i < n; i++) {
            const int32_t factor_value = factor[factor_at + i * shape.factor_step[KT_INNERMOST]];
            kt_reduce(g[i] * (factor_value + p.factor_offset), p.shift,
                      result_at + i * shape.result_step[KT_INNERMOST], result, sums);
        }
        g += n;
        result_at = kt_moved(shape.extent, shape.result_step, index, result_at);
        factor_at = kt_moved(shape.extent, shape.factor_step, index, factor_at);
        kt_next_row(shape.extent, index);
    }
    kt_finish_sums(sums, p.size, p.shift, result);
}
