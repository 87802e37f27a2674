/* conv2d.h: the loop that all convolutions share. They differ in the rounding of the requantisation and in what a
 * trainable layer adds to the sum; both are functions that the compiler inlines into each kernel.
 *
 *     total = sum_k weights[c, k] * (x[p, k] + input_offset)
 *           + clamp(requantize(product(p, c), addend_multiplier[c], addend_shift[c] + exponent), +-2^30)
 *     y[p, c] = clamp(rounding(saturate32(total + bias[c]), multiplier[c], shift[c]) + output_offset)
 *
 * A gain is a part of multiplier and shift (gain.h). */
#ifndef KT_CONV2D_H
#define KT_CONV2D_H

#include "kt/kernels/convolution.h"
#include <stddef.h>

#include "../gain/gain.h"
#include "../window.h"

typedef int32_t kt_rounding(int32_t x, int32_t multiplier, int32_t shift);

/* What a trainable layer multiplies: weights of one kind, for LoRA the inner tensor u, and a gain. */
typedef struct {
    const int8_t *weights;
    const int8_t *u;
    int32_t exponent;
    kt_gain gain;
} kt_trainable;

/* The integer product of a trainable layer for result position p and channel c, in units of s_x * 2^exponent. */
typedef int32_t kt_product(const kt_conv2d_params *params, const kt_trainable *trainable, const kt_patch *patch,
                           const int8_t *x, int32_t position, int32_t channel);

/* gain: NULL or one without codes where the layer has none; with one the rounding is kt_requantize. */
static inline int8_t kt_conv2d_result(const kt_conv2d_params *params, int64_t total, const kt_gain *gain, int32_t channel,
                                      kt_rounding *rounding)
{
    const int32_t multiplier = params->multiplier[channel], shift = params->shift[channel], sum = kt_saturate32(total);
    const int32_t scaled =
        gain == NULL ? rounding(sum, multiplier, shift) : kt_requantize_gained(sum, multiplier, shift, gain, channel);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

static inline int32_t kt_conv2d_addend(const kt_conv2d_params *params, int32_t product, int32_t channel,
                                       int32_t exponent)
{
    const int32_t shift = params->addend_shift[channel] + exponent;
    const int32_t scaled = kt_requantize(product, params->addend_multiplier[channel], shift);
    return kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

/* All channels of one position. product, trainable: NULL for a layer without trainable weights. */
static inline void kt_conv2d_position(const kt_conv2d_params *params, const kt_patch *patch, const int8_t *x,
                                      const int32_t *bias, const kt_trainable *trainable, int32_t position, int8_t *y,
                                      kt_rounding *rounding, kt_product *product)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t offset = params->input_offset;
    const int8_t *weights = params->weights;
    int32_t sums[4];
    int32_t channel = 0;
    while (channel < channels) {
        const int32_t done = kt_patch_sums(patch, x, weights, size, channels - channel, offset, sums);
        int32_t i;
        for (i = 0; i < done; i++, channel++) {
            int64_t total = sums[i];
            if (product != NULL) {
                const int32_t sum = product(params, trainable, patch, x, position, channel);
                total += kt_conv2d_addend(params, sum, channel, trainable->exponent);
            }
            total += bias[channel];
            y[channel] = kt_conv2d_result(params, total, trainable == NULL ? NULL : &trainable->gain, channel, rounding);
        }
        weights += done * size;
    }
}

#if defined(KT_VECTOR) && KT_VECTOR
#include "vector/position.h"
#endif

static inline void kt_conv2d_walk(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                  const kt_trainable *trainable, int8_t *y, kt_rounding *rounding, kt_product *product)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            const int32_t position = oy * width + ox;
            int8_t *const result = y + position * channels;
#if defined(KT_VECTOR) && KT_VECTOR
            if (rounding == kt_requantize && kt_column_has_room(window)) {
                kt_conv2d_in_vectors(params, &patch, x, bias, trainable, position, result, product);
                continue;
            }
#endif
            kt_conv2d_position(params, &patch, x, bias, trainable, position, result, rounding, product);
        }
    }
}

#endif
