/* CONV_2D and FULLY_CONNECTED from packed weights with what a trained layer adds to the sums, or with a requantisation that has no
 * packed form: the product gives int32 sums of two positions, the rest is that of conv2d.h. */
#include "conv2d.h"
#include "packed_conv2d.h"

typedef struct {
    const int8_t *u;
    const int8_t *b;
    int32_t exponent;
    kt_gain gain;
} kt_addends;

static int32_t lora_addend(const kt_packed_conv2d_lora_params *params, const kt_addends *addends, int32_t position,
                           int32_t channel)
{
    const int32_t rank = params->rank;
    const int8_t *const u = addends->u + position * rank;
    const int8_t *const b = addends->b + channel * rank;
    const int32_t shift = params->addend_shift[channel] + addends->exponent;
    int32_t sum = 0;
    int32_t j;
    for (j = 0; j < rank; j++) {
        sum += b[j] * u[j];
    }
    return kt_clamp(kt_requantize(sum, params->addend_multiplier[channel], shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

/* `count` channels of one position from `first` on. */
static void finish_position(const kt_packed_conv2d_lora_params *params, const kt_addends *addends, const int32_t *sums,
                            const int32_t *bias, int32_t position, int32_t first, int32_t count, int8_t *y)
{
    int32_t c;
    y += position * params->window.output[KT_CHANNELS];
    for (c = first; c < first + count; c++) {
        int64_t total = *sums++;
        int32_t scaled;
        if (addends->u != NULL) {
            total += lora_addend(params, addends, position, c);
        }
        total = kt_with_gain(&addends->gain, total, c) + bias[c];
        scaled = kt_requantize(kt_saturate32(total), params->multiplier[c], params->shift[c]);
        y[c] = kt_clamp_with_offset(scaled, params->output_offset, params->clamp[0], params->clamp[1]);
    }
}

/* One position, and another where `two`: a block of channels after the other. */
static void finish_panel(const kt_packed_conv2d_lora_params *params, const kt_addends *addends, const int32_t *panel,
                         const int32_t *bias, int32_t position, int two, int32_t other, int8_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t *stream = params->stream;
    int32_t sums[2 * KT_START_BLOCK];
    int32_t first;
    for (first = 0; first < channels; first += KT_START_BLOCK) {
        const int32_t count = kt_minimum(channels - first, KT_START_BLOCK);
        const int32_t padded = kt_padded_channels(count);
        const int32_t *const start = params->fold + first;
        kt_product_sums(sums, two ? 4 * padded : 0, sums + padded, start, panel, params->pairs, stream);
        stream += padded / KT_QUAD * 2 * params->pairs;
        finish_position(params, addends, sums, bias, position, first, count, y);
        if (two) {
            finish_position(params, addends, sums + padded, bias, other, first, count, y);
        }
    }
}

void kt_packed_conv2d_lora_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias,
                              const int8_t *u, const int8_t *b, const int8_t *u_range, const int8_t *b_exponent,
                              const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t direction = kt_direction(x, y);
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    kt_position at = {kt_first(direction, window->output[KT_Y]), kt_first(direction, window->output[KT_X])};
    int32_t position = at.y * window->output[KT_X] + at.x;
    kt_addends addends = {u, b, 0, kt_gain_of(gain, gain_exponent)};
    if (u != NULL) {
        addends.exponent = *u_range + *b_exponent;
    }
    for (; left > 0; left -= 2, position += 2 * direction) {
        kt_fill_two(window, params->outside, scratch, x, direction, left, &at);
        finish_panel(params, &addends, scratch, bias, position, left > 1, position + direction, y);
    }
}
