/* SOFTMAX from int8 to int8. */
#include "softmax.h"

void kt_softmax_s8(const kt_softmax_params *params, const int8_t *x, int8_t *y)
{
    int32_t row, i;
    for (row = 0; row < params->rows; row++) {
        const softmax_row shared = row_of(params, x, 8);
        for (i = 0; i < params->depth; i++) {
            y[i] = (int8_t)kt_clamp(value_of(params, &shared, x[i]) + INT8_MIN, INT8_MIN, INT8_MAX);
        }
        x += params->depth;
        y += params->depth;
    }
}
