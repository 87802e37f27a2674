/* kt_batch_matmul_s8 on cores with Helium. The formula and its rounding are those of ../batch_matmul.c. */
#include "kt/architecture.h"
#include "kt/kernels/matmul.h"

#if KT_MVE
#include "matmul_sum.h"
#include "../batch_matmul.h"

void kt_batch_matmul_s8(const kt_batch_matmul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    batch_matmul(params, x, other, y);
}
#endif
