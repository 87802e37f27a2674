/* Products with transposed weights of a forward stream. */
#include "product.h"

#if !KT_DSP && !KT_VECTOR
#include "backward.h"

/* Four positions. */
void kt_product_backward(KT_BACKWARD_ARGUMENTS)
{
    int32_t quad, position, i;
    for (; sums != end; sums += 8, stream += 2) {
        for (quad = 0; quad < quads; quad++) {
            const kt_eight_weights w = kt_weights_of(stream + quad * step);
            for (position = 0; position < 4; position++) {
                const int32_t *const g = panel + panel_step * quad + 2 * position;
                for (i = 0; i < 2; i++) {
                    sums[4 * i + position] += kt_dot_quad(w.of[i], g);
                }
            }
        }
    }
}

/* One position. */
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
