/* kt_attention_gradient_s8 with the DSP extension. The formula and its rounding are those of ../attention_gradient.c. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#include <stddef.h>

#if KT_DSP && !KT_MVE
#include "matmul_sum.h"
#define weighted_sums kt_weighted_sums
#include "../attention_gradient.h"

void kt_attention_gradient_s8(const kt_attention_gradient_params *params, const int8_t *g, const int8_t *q, const int8_t *k, const int8_t *v,
                              int8_t *dq, int8_t *dk, int8_t *dv, int32_t *scratch)
{
    attention_gradient(params, (attention_batch){g, q, k, v, dq, dk, dv}, scratch);
}
#endif
