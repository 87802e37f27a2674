/* BATCH_MATMUL of two int8 activations.
 *
 *     y = clamp(requantize(sum (x - z_x) (other - z_other)) + z_y), rounded twice
 *
 * Source: TensorFlow Lite reference kernel BatchMatMul. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#if !KT_DSP
#define matmul_sum kt_matmul_sum
#include "batch_matmul.h"

void kt_batch_matmul_s8(const kt_batch_matmul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    batch_matmul(params, x, other, y);
}
#endif
