/* Gradient of attention, in two passes: rows of queries, then columns of keys. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#include <stddef.h>

#if !KT_DSP
#define matmul_sum kt_matmul_sum
#define matmul_initial kt_matmul_initial
#define matmul_sums kt_matmul_sums
#define weighted_sums kt_weighted_sums
#include "attention_gradient.h"

void kt_attention_gradient_s8(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *q, const int8_t *k, const int8_t *v,
                              int8_t *dq, int8_t *dk, int8_t *dv, int32_t *scratch)
{
    attention_gradient(params, (attention_batch){g, q, k, v, dq, dk, dv}, scratch);
}
#endif
