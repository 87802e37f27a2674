/* batch_matmul_gradient.h: every value of the gradient. Included behind the definition of matmul_sum, as batch_matmul.h. */
#include "kt/numerics.h"
#include "matmul.h"

static inline void batch_matmul_gradient(const kt_batch_matmul_gradient_params *params, const int8_t *x, const int8_t *other, int8_t *dx)
{
    const kt_batch_matmul_gradient_params p = *params;
    int32_t batch, row, column;
    for (batch = 0; batch < p.product.batches; batch++) {
        for (row = 0; row < p.product.rows; row++) {
            const int8_t *const left = x + batch * p.product.x[0] + row * p.product.x[1];
            for (column = 0; column < p.product.columns; column++) {
                const int8_t *const right = other + batch * p.product.other[0] + column * p.product.other[1];
                *dx++ = kt_saturate8(kt_shift_round(matmul_sum(&p.product, left, right), p.shift));
            }
        }
    }
}
