/* Attention by rows.
 *
 *     y = softmax(q k^T) v, with the roundings of BATCH_MATMUL, SOFTMAX and BATCH_MATMUL */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#include <stddef.h>

#if !KT_DSP
#define matmul_sum kt_matmul_sum
#define matmul_initial kt_matmul_initial
#define matmul_sums kt_matmul_sums
#define weighted_sums kt_weighted_sums
#include "attention.h"

void kt_attention_s8(const kt_attention_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *y, int32_t *scratch)
{
    attention(params, q, k, v, y, scratch);
}
#endif
