/* One position times transposed weights of a forward stream. */
#include "product.h"

#if !KT_DSP
#include "backward.h"

void kt_product_backward_row(KT_BACKWARD_ARGUMENTS)
{
    int32_t quad, pair, i;
    for (; sums != end; sums += 4, stream += 4) {
        for (quad = 0; quad < quads; quad++) {
            for (pair = 0; pair < 2; pair++) {
                const kt_eight_weights w = kt_weights_of(stream + quad * step + 2 * pair);
                for (i = 0; i < 2; i++) {
                    sums[2 * i + pair] += kt_dot_quad(w.of[i], panel + panel_step * quad);
                }
            }
        }
    }
}
#endif
