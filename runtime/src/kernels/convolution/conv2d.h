/* conv2d.h: the loop that all convolutions share. They differ in the rounding of the requantisation and in what a
 * trainable layer adds to the sum; both are functions that the compiler inlines into each kernel.
 *
 *     total = sum_k weights[c, k] * (x[p, k] + input_offset)
 *           + clamp(requantize(product(p, c), addend_multiplier[c], addend_shift[c] + exponent), +-2^30)
 *     y[p, c] = clamp(rounding(saturate32(total + bias[c]), multiplier[c], shift[c]) + output_offset)
 *
 * A gain is a part of multiplier, shift and bias (../gain/gain.h). */
#ifndef KT_CONV2D_H
#define KT_CONV2D_H

#include "kt/kernels/convolution.h"
#include <stddef.h>

#include "../../product/short_blocks.h"
#include "../patch.h"

typedef int32_t kt_rounding(int32_t x, int32_t multiplier, int32_t shift);

/* What a trainable layer multiplies: weights of one kind, for LoRA the inner tensor u. */
typedef struct {
    const int8_t *weights;
    const int8_t *u;
    int32_t exponent;
} kt_trainable;

/* The integer product of a trainable layer for result position p and channel c, in units of s_x * 2^exponent. */
typedef int32_t kt_product(const kt_conv2d_params *params, const kt_trainable *trainable, const kt_patch *patch,
                           const int8_t *x, int32_t position, int32_t channel);

static inline int8_t kt_conv2d_result(const kt_conv2d_params *params, int64_t total, int32_t channel, kt_rounding *rounding)
{
    const int32_t scaled = rounding(kt_saturate32(total), params->multiplier[channel], params->shift[channel]);
    return kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
}

static inline int32_t kt_conv2d_addend(const kt_conv2d_params *params, int32_t product, int32_t channel,
                                       int32_t exponent)
{
    const int32_t shift = params->addend_shift[channel] + exponent;
    const int32_t scaled = kt_requantize(product, params->addend_multiplier[channel], shift);
    return kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

#if defined(KT_SMALL) && !defined(KT_LONG_SUMS)
#if KT_SMALL_DSP
/* sums[i] takes what LoRA of rank 4 adds to channel first + i. */
static __attribute__((noinline, unused)) void kt_add_rank_four(const kt_conv2d_params *params, const kt_trainable *lora, int32_t position,
                                                               int32_t first, int32_t count, int32_t *sums)
{
    const uint32_t u = kt_load_word(lora->u + 4 * position);
    const uint32_t even = kt_even(u), odd = kt_odd(u);
    const int8_t *b = lora->weights + 4 * first;
    const int32_t *multiplier = params->addend_multiplier + first;
    const int8_t *shift = params->addend_shift + first;
    const int32_t exponent = lora->exponent;
    int32_t *const end = sums + count;
    do {
        const uint32_t word = kt_load_word(b);
        const int32_t factor = *multiplier++, down = -(*shift++ + exponent);
        int32_t product = kt_add_products(odd, kt_odd(word), __smuad((int16x2_t)even, (int16x2_t)kt_even(word)));
        if (factor < 0 || (uint32_t)(down + 12) >= 44) {
            product = kt_clamp(kt_requantize_any(product, factor, -down), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
        } else if (down > 0) { /* kt_requantize_right of 17 bits */
            product = kt_add_high_product(2 * product, factor, 0);
            product = (((product + (product >> 31)) >> (down - 1)) + 1) >> 1;
        } else { /* shifted left it has 30 bits at most */
            product = kt_add_high_product(product * (2 << -down), factor, 0);
        }
        *sums++ += product;
        b += 4;
    } while (sums != end);
}
#endif

/* All channels of one position, a block at a time. product, trainable: NULL for a layer without trainable weights, product alone for LoRA of rank 4.
 * Sums of a window of up to 2^15
 * values stay within 2^30 - 1, as addends do: a sum and its addend do not leave int32. */
static inline void kt_conv2d_position(const kt_conv2d_params *params, const kt_patch *patch, const int8_t *x,
                                      const int32_t *bias, const kt_trainable *trainable, int32_t position, int8_t *y,
                                      kt_rounding *rounding, kt_product *product)
{
    const kt_results results = kt_results_of(params->multiplier, params->shift, params->output_offset, params->clamp);
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t offset = params->input_offset;
    kt_patch whole = *patch;
    int8_t row[KT_GATHERED_VALUES];
    int32_t sums[KT_SHORT_BLOCK];
    int32_t first, i;
    x = kt_gather_patch(&whole, x, size, offset, row);
    for (first = 0; first < channels; first += KT_SHORT_BLOCK) {
        const int32_t count = kt_minimum(channels - first, KT_SHORT_BLOCK);
        kt_sum_patch(&whole, x, params->weights + first * size, size, offset, count, sums);
        for (i = 0; product != NULL && i < count; i++) {
            const int32_t sum = product(params, trainable, &whole, x, position, first + i);
            sums[i] += kt_conv2d_addend(params, sum, first + i, trainable->exponent);
        }
#if KT_SMALL_DSP
        if (product == NULL && trainable != NULL) {
            kt_add_rank_four(params, trainable, position, first, count, sums);
        }
#endif
        if (rounding == kt_requantize) {
            kt_finish_block(&results, sums, bias, first, count, y);
            continue;
        }
        for (i = 0; i < count; i++) {
            y[first + i] = kt_conv2d_result(params, (int64_t)sums[i] + bias[first + i], first + i, rounding);
        }
    }
}
#else
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
            y[channel] = kt_conv2d_result(params, total, channel, rounding);
        }
        weights += done * size;
    }
}
#endif

#if KT_VECTOR
#include "vector/groups.h"
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
#if KT_VECTOR
    if (rounding == kt_requantize && kt_groups_have_room(params, trainable, product != NULL)) {
        if (product == NULL) {
            kt_walk_groups(params, x, bias, trainable, y, 0);
        } else {
            kt_walk_groups(params, x, bias, trainable, y, 1);
        }
        return;
    }
#endif
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
            const int32_t position = oy * width + ox;
            int8_t *const result = y + position * channels;
#if KT_VECTOR
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
