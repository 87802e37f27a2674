/* The two halves of W^T dY of a 1x1 window whose product gives results, which all of its kernels share. */
#include "packed_input_gradient.h"

void kt_pointwise_panel(const kt_gradient_walk *walk, int32_t position, int32_t direction, int32_t count)
{
    const int32_t pairs = kt_channel_pairs(walk->from.window->output[KT_CHANNELS]);
    int32_t *panel = walk->panel;
    for (; count > 0; count -= 2, position += 2 * direction, panel += 2 * pairs) {
        kt_fill_pointwise(walk, panel, position, direction, count);
    }
}

void kt_pointwise_product(const kt_gradient_walk *walk, int8_t *dx, int32_t stride, int32_t count, int32_t channels)
{
    const int32_t pairs = kt_channel_pairs(walk->from.window->output[KT_CHANNELS]);
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (walk->shift - 1)), walk->shift};
    const int32_t *panel = walk->panel;
    for (; count > 0; count -= 2, dx += 2 * stride, panel += 2 * pairs) {
        kt_product_gradient(dx, count > 1 ? stride : 0, dx + channels, rounding, panel, pairs, walk->stream);
    }
}
