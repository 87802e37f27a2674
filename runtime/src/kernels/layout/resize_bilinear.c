/* RESIZE_BILINEAR: weights in 1/1024, their products exact in int32, rounded once.
 * Source: TensorFlow Lite reference kernel ResizeBilinearInteger. */
#include "kt/kernels/layout.h"

void kt_resize_bilinear_s8(const kt_resize_params *params, const int8_t *x, int8_t *y)
{
    const kt_resize_params p = *params;
    int32_t o, row, column, i;
    for (o = 0; o < p.outer; o++) {
        for (row = 0; row < p.output[0]; row++) {
            const int32_t *const r = p.rows + 3 * row;
            const int8_t *const upper = x + r[0] * p.input[1] * p.block;
            const int8_t *const lower = x + r[1] * p.input[1] * p.block;
            for (column = 0; column < p.output[1]; column++) {
                const int32_t *const c = p.columns + 3 * column;
                const int32_t left = c[0] * p.block;
                const int32_t right = c[1] * p.block;
                for (i = 0; i < p.block; i++) {
                    const int32_t above = upper[left + i] * (1024 - c[2]) + upper[right + i] * c[2];
                    const int32_t below = lower[left + i] * (1024 - c[2]) + lower[right + i] * c[2];
                    const int32_t sum = above * (1024 - r[2]) + below * r[2];
                    *y++ = (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
                }
            }
        }
        x += p.input[0] * p.input[1] * p.block;
    }
}
