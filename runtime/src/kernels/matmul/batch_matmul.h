/* batch_matmul.h: every value of a product. Included behind the definition of matmul_sum, which is kt_matmul_sum or gives its bits. */
#include "kt/numerics.h"
#include "matmul.h"

static inline void batch_matmul(const kt_batch_matmul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_batch_matmul_params p = *params;
    int32_t batch, row, column;
    for (batch = 0; batch < p.product.batches; batch++) {
        for (row = 0; row < p.product.rows; row++) {
            const int8_t *const left = x + batch * p.product.x[0] + row * p.product.x[1];
            for (column = 0; column < p.product.columns; column++) {
                const int8_t *const right = other + batch * p.product.other[0] + column * p.product.other[1];
                const int32_t sum = kt_requantize(matmul_sum(&p.product, left, right), p.multiplier, p.shift);
                *y++ = kt_clamp_with_offset(sum, p.output_offset, p.clamp[0], p.clamp[1]);
            }
        }
    }
}
