/* kt_attention_s8 on cores with Helium. The formula and its rounding are those of ../attention.c. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#include <stddef.h>

#if KT_MVE
#include "matmul_sum.h"
#include "weighted_sums.h"
#include "../attention.h"

void kt_attention_s8(const kt_attention_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *y, int32_t *scratch)
{
    attention(params, q, k, v, y, scratch);
}
#endif
