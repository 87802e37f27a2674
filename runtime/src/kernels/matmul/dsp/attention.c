/* kt_attention_s8 with the DSP extension. The formula and its rounding are those of ../attention.c. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#include <stddef.h>

#if KT_DSP && !KT_MVE
#include "matmul_sum.h"
#define weighted_sums kt_weighted_sums
#include "../attention.h"

void kt_attention_s8(const kt_attention_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *y, int32_t *scratch)
{
    attention(params, q, k, v, y, scratch);
}
#endif
