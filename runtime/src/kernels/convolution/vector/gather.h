/* gather.h: the sums of W^T dY at one input position (../conv2d_input_gradient.h) in vectors: input channels in the lanes, output channels in pairs. */
#ifndef KT_VECTOR_GATHER_H
#define KT_VECTOR_GATHER_H

#include "../../../product/vector/prescale.h"

enum { KT_FACTORS = 256 /* output channels at once */, KT_GATHERED = 2 /* vectors of channels at once */ };

/* Scaled gradients of `count` output channels from c on, at most KT_FACTORS, and a 0 behind them. */
static inline void kt_factors_of(const kt_conv2d_input_gradient_params *params, const int8_t *gradient, const kt_gain *gain, int32_t c, int32_t count,
                                 int16_t *factors)
{
    const int16_t *prescale = params->prescale + c;
    const int32_t shift = params->prescale_shift;
    int16_t gained[KT_FACTORS];
    int32_t i;
    for (i = 0; gain != NULL && gain->codes != NULL && i < count; i++) {
        gained[i] = (int16_t)kt_gained(prescale[i], gain, c + i);
    }
    prescale = i > 0 ? gained : prescale;
    for (i = 0; i + KT_CHANNEL_LANES <= count; i += KT_CHANNEL_LANES) {
        const kt_channel_words m = kt_words_of(kt_load_lanes(prescale + i));
        kt_store_lanes(factors + i, kt_prescaled_channels(gradient + c + i, m, shift, KT_CHANNEL_LANES));
    }
    for (; i < count; i++) {
        factors[i] = (int16_t)kt_prescaled(gradient[c + i], prescale[i], shift);
    }
    factors[i] = 0;
}

/* row[k] of `blocks` vectors, of which `count` channels of each exist, takes the products with rows of weights, `step` apart. */
KT_INLINE void kt_add_factors(int32_t *row, const int8_t *weights, int32_t step, const int16_t *factors, int32_t channels, int32_t blocks, int32_t count)
{
    kt_channel_words sums[KT_GATHERED];
    int32_t c, i;
    for (i = 0; i < blocks; i++) {
        sums[i] = kt_load_channels_of(row + KT_CHANNEL_LANES * i, count);
    }
    for (c = 0; c < channels; c += 2, weights += 2 * step) {
        const int8_t *const next = c + 1 < channels ? weights + step : weights; /* an odd last one meets a factor of 0 */
        const kt_lanes both = kt_splat(kt_word_at(factors + c));
        const kt_channel_words twice = {both, both};
        for (i = 0; i < blocks; i++) {
            const kt_lanes first = kt_widen_some(weights + KT_CHANNEL_LANES * i, count), second = kt_widen_some(next + KT_CHANNEL_LANES * i, count);
            const kt_channel_words pair = kt_interleave(first, second);
            kt_add_products_of(&sums[i], &pair, &twice);
        }
    }
    for (i = 0; i < blocks; i++) {
        int32_t words[KT_CHANNEL_LANES];
        kt_store_channel_words(count < KT_CHANNEL_LANES ? words : row + KT_CHANNEL_LANES * i, sums[i]);
        if (count < KT_CHANNEL_LANES) {
            memcpy(row, words, (size_t)count * sizeof *row);
        }
    }
}

static inline void kt_conv2d_gather(const kt_conv2d_input_gradient_params *params, const int8_t *g,
                                    const kt_gain *gain, int32_t y, int32_t x, int32_t first, int32_t count,
                                    int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t size = window->input[KT_CHANNELS], channels = window->output[KT_CHANNELS], step = kt_kernel_size(window);
    int16_t factors[KT_FACTORS + 1];
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)count * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        int32_t c, k;
        for (c = 0; c < channels; c += KT_FACTORS) {
            const int8_t *const weights = params->weights + c * step + meeting.tap * size + first;
            const int32_t some = kt_minimum(channels - c, KT_FACTORS);
            kt_factors_of(params, g + meeting.position * channels, gain, c, some, factors);
            for (k = 0; k + KT_GATHERED * KT_CHANNEL_LANES <= count; k += KT_GATHERED * KT_CHANNEL_LANES) {
                kt_add_factors(row + k, weights + k, step, factors, some, KT_GATHERED, KT_CHANNEL_LANES);
            }
            for (; k + KT_CHANNEL_LANES <= count; k += KT_CHANNEL_LANES) {
                kt_add_factors(row + k, weights + k, step, factors, some, 1, KT_CHANNEL_LANES);
            }
            if (k < count) {
                kt_add_factors(row + k, weights + k, step, factors, some, 1, count - k);
            }
        }
    }
}

#endif
