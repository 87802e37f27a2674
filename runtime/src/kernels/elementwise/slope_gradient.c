/* Gradients of PRELU, with constant slopes. */
#include "reduction.h"

void kt_slope_gradient_s8(const kt_slope_gradient_params *params, const int8_t *g, const int8_t *own,
                               const int8_t *other, int8_t *result, void *sums)
{
    const kt_slope_gradient_params p = *params;
    const kt_pair_loops shape = p.shape;
    const int32_t n = shape.extent[KT_INNERMOST];
    int32_t index[KT_INNERMOST] = {0, 0, 0};
    int32_t result_at = 0, own_at = 0, other_at = 0;
    int32_t rows, i;
    kt_clear_sums(sums, p.size);
    for (rows = kt_rows(shape.extent); rows > 0; rows--) {
        for (i = 0; i < n; i++) {
            const int32_t own_value = own[own_at + i * shape.own_step[KT_INNERMOST]];
            const int32_t other_value = other[other_at + i * shape.other_step[KT_INNERMOST]];
            const int32_t slope = kt_shift_round((other_value + p.offset[1]) * p.factor[1], 8);
            const int32_t factor = own_value + p.offset[0] >= 0 ? p.factor[0] : slope;
            kt_reduce(g[i] * factor, p.shift, result_at + i * shape.result_step[KT_INNERMOST], result, sums);
        }
        g += n;
        result_at = kt_moved(shape.extent, shape.result_step, index, result_at);
        own_at = kt_moved(shape.extent, shape.own_step, index, own_at);
        other_at = kt_moved(shape.extent, shape.other_step, index, other_at);
        kt_next_row(shape.extent, index);
    }
    kt_finish_sums(sums, p.size, p.shift, result);
}
