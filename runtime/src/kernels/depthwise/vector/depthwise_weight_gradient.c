/* Gradient of a depthwise delta in vectors of channels: for each tap the sum over pairs of positions. */
#include "../depthwise_weight_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/column_sums.h"

/* The sums of one tap and of `count` channels over the rows and columns of results whose windows have it inside the image. */
KT_INLINE void sum_tap(const kt_depthwise_weight_gradient_params *params, int32_t ky, int32_t kx, const int8_t *g, const int8_t *x,
                       int32_t count, int32_t sums[KT_CHANNEL_LANES])
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], step = window->stride[KT_X] * channels;
    const kt_lanes none = kt_no_lanes(), offset = kt_shorts_of((int16_t)params->input_offset);
    kt_channel_words total = {none, none};
    int32_t oy, end_y, first, end, ox;
    kt_outputs_of(window, KT_Y, ky, &oy, &end_y);
    kt_outputs_of(window, KT_X, kx, &first, &end);
    for (; oy < end_y && first < end; oy++) {
        const int32_t iy = oy * window->stride[KT_Y] + ky * window->dilation[KT_Y] - window->pad[KT_Y];
        const int32_t ix = first * window->stride[KT_X] + kx * window->dilation[KT_X] - window->pad[KT_X];
        const int8_t *values = x + (iy * window->input[KT_X] + ix) * channels;
        const int8_t *gradient = g + (oy * window->output[KT_X] + first) * channels;
        for (ox = first; ox < end; ox += 2, values += 2 * step, gradient += 2 * channels) {
            const int both = ox + 1 < end;
            const kt_channel_words pair = kt_interleave(kt_widen_some(gradient, count), both ? kt_widen_some(gradient + channels, count) : none);
            const kt_channel_words under =
                kt_interleave(kt_with_offset(values, count, offset), both ? kt_with_offset(values + step, count, offset) : none);
            kt_add_products_of(&total, &pair, &under);
        }
    }
    kt_store_channel_words(sums, total);
}

void kt_depthwise_weight_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                  const int32_t *exponent, float *accumulator)
{
    const kt_window *const window = &params->window;
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = window->output[KT_CHANNELS];
    int32_t sums[KT_CHANNEL_LANES];
    int32_t ky, kx, c, i;
    if (params->depth_multiplier != 1) {
        kt_depthwise_weight_gradient_from(params, g, x, scale, accumulator, 0);
        return;
    }
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        for (kx = 0; kx < window->kernel[KT_X]; kx++, accumulator += params->columns) {
            for (c = 0; c < channels; c += KT_CHANNEL_LANES) {
                const int32_t count = kt_minimum(channels - c, KT_CHANNEL_LANES);
                if (count == KT_CHANNEL_LANES) {
                    sum_tap(params, ky, kx, g + c, x + c, KT_CHANNEL_LANES, sums);
                } else {
                    sum_tap(params, ky, kx, g + c, x + c, count, sums);
                }
                for (i = 0; i < count; i++) {
                    const int32_t column = kt_delta_column(params, c + i);
                    if (column >= 0) {
                        accumulator[column] = kt_accumulate(accumulator[column], sums[i], scale);
                    }
                }
            }
        }
    }
}
#endif
