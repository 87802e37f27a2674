/* SOFTMAX from int8 to int16. */
#include "softmax.h"

void kt_softmax_s8_s16(const kt_softmax_params *params, const int8_t *x, int16_t *y)
{
    int32_t row, i;
    for (row = 0; row < params->rows; row++) {
        const softmax_row shared = row_of(params, x, 16);
        for (i = 0; i < params->depth; i++) {
            y[i] = (int16_t)kt_clamp(value_of(params, &shared, x[i]) + INT16_MIN, INT16_MIN, INT16_MAX);
        }
        x += params->depth;
        y += params->depth;
    }
}
