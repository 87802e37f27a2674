/* Two positions, int8 gradients of exact words. */
#include "../product.h"

#if KT_VECTOR
#include "product.h"

KT_INLINE void store(int8_t *to, kt_four_lanes sums, int32_t shift)
{
    const kt_four_words shifted = (kt_four_words)sums >> shift;
    const kt_four_words low = shifted < -127;
    const kt_four_words raised = (shifted & ~low) | (low & -127);
    kt_store_bytes(to, kt_four_bytes((kt_four_lanes)raised));
}

void kt_product_gradient(KT_PRODUCT_ARGUMENTS)
{
    const int32_t start[4] = {bias[0], bias[0], bias[0], bias[0]};
    kt_panel_bytes narrow;
    const kt_panel_bytes *bytes = kt_narrow_panel(&narrow, panel, pairs);
    int8_t *to = result;
    for (; to != (const int8_t *)end; to += 4, stream += 2 * pairs) {
        kt_four_lanes sums[2];
        kt_two_sums(start, 0, stream, panel, bytes, pairs, 1, sums);
        if (stride != 0) {
            store(to + stride, sums[1], bias[1]);
        }
        store(to, sums[0], bias[1]);
    }
}
#endif
