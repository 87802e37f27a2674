/* Gradients of operands of ADD and SUB that were stretched or subtracted. */
#include "reduction.h"

void kt_sum_gradient_s8(const kt_sum_gradient_params *params, const int8_t *g, int8_t *result, void *sums)
{
    const kt_sum_gradient_params p = *params;
    const kt_sum_loops shape = p.shape;
    const int32_t n = shape.extent[KT_INNERMOST];
    int32_t index[KT_INNERMOST] = {0, 0, 0};
    int32_t result_at = 0;
    int32_t rows, i;
#if KT_ROW_PARTS
    const int32_t twice = sums == NULL && p.shift == 0; /* lanes round by a shift to the right: of twice the value it changes nothing */
#endif
    kt_clear_sums(sums, p.size);
    for (rows = kt_rows(shape.extent); rows > 0; rows--) {
        i = 0;
#if KT_ROW_PARTS
        if (kt_reduces_in_lanes(0, 0, shape.result_step[KT_INNERMOST], p.shift + twice, sums)) {
            for (; i + KT_LANES <= n; i += KT_LANES) {
                const kt_word_lanes products = (kt_word_lanes)kt_widen_codes(g + i) * (p.sign * (1 + twice));
                kt_reduce_lanes(products, p.shift + twice, result_at, i, shape.result_step[KT_INNERMOST], result, sums);
            }
        }
#endif
        for (; i < n; i++) {
            kt_reduce(g[i] * p.sign, p.shift, result_at + i * shape.result_step[KT_INNERMOST], result, sums);
        }
        g += n;
        result_at = kt_moved(shape.extent, shape.result_step, index, result_at);
        kt_next_row(shape.extent, index);
    }
    kt_finish_sums(sums, p.size, p.shift, result);
}
