/* Two positions, int8 gradients of exact words. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "portable.h"

void kt_product_gradient(KT_PRODUCT_ARGUMENTS)
{
    kt_product p = KT_PRODUCT_OF_ARGUMENTS;
    const int32_t *const columns = panel;
    int8_t *to = result;
    int32_t position, i;
    for (; to != (const int8_t *)end; to += 4, p.stream += 2 * pairs) {
        for (position = stride == 0 ? 0 : 1; position >= 0; position--) {
            int32_t sums[4] = {bias[0], bias[0], bias[0], bias[0]};
            kt_quad_sums(p.stream, columns + position, 2, pairs, 1, sums);
            for (i = 0; i < 4; i++) {
                to[position * stride + i] = kt_saturate8(sums[i] >> bias[1]);
            }
        }
    }
}
#endif
