/* Gradient of BATCH_MATMUL to one of its operands: the gradient of the result times the other operand. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#if !KT_DSP
#define matmul_sum kt_matmul_sum
#include "batch_matmul_gradient.h"

void kt_batch_matmul_gradient_s8(const kt_batch_matmul_gradient_params *params, const int8_t *x, const int8_t *other, int8_t *dx)
{
    batch_matmul_gradient(params, x, other, dx);
}
#endif
