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

/* sum_j b[j] * u[j] */
static inline int32_t up_projection(const int8_t *b, const int8_t *u, int32_t rank)
{
    int32_t sum = 0;
    for (; rank >= 4; rank -= 4, b += 4, u += 4) {
        int32_t even, odd, b_even, b_odd;
        kt_split_four(u, &even, &odd);
        kt_split_four(b, &b_even, &b_odd);
        sum = kt_add_both(kt_add_both(sum, even, b_even), odd, b_odd);
    }
    for (; rank > 0; rank--) {
        sum += *b++ * *u++;
    }
    return sum;
}

/* An addend, within +-2^30: a right shift leaves no more. */
static inline int32_t scaled_addend(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift < 0 && shift > -32) {
        return kt_requantize_right(x, multiplier, -shift);
    }
    return kt_clamp(kt_requantize(x, multiplier, shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

static inline int8_t result_of(int32_t total, int32_t multiplier, int32_t shift, int32_t offset, int32_t low, int32_t high)
{
    if (shift < 0 && shift > -32) {
        return (int8_t)kt_clamp(kt_requantize_right(total, multiplier, -shift) + offset, low, high);
    }
    return kt_clamp_with_offset(kt_requantize(total, multiplier, shift), offset, low, high);
}

/* `count` channels of one position from `first` on. What the loop reads is held in variables: a stored int8 may be anything to C. */
static void finish_position(const kt_packed_conv2d_lora_params *params, const kt_addends *addends, const int32_t *sums,
                            const int32_t *bias, int32_t position, int32_t first, int32_t count, int8_t *y)
{
    const kt_gain gain = addends->gain;
    const int32_t rank = params->rank, exponent = addends->exponent;
    const int32_t offset = params->output_offset, low = params->clamp[0], high = params->clamp[1];
    const int32_t *const multiplier = params->multiplier, *const addend_multiplier = params->addend_multiplier;
    const int8_t *const shift = params->shift, *const addend_shift = params->addend_shift;
    const int8_t *const u = addends->u == NULL ? NULL : addends->u + position * rank;
    const int8_t *b = u == NULL ? NULL : addends->b + first * rank;
    int32_t c;
    y += position * params->window.output[KT_CHANNELS];
    for (c = first; c < first + count; c++) {
        int32_t addend = 0, total = *sums++;
        if (u != NULL) {
            addend = scaled_addend(up_projection(b, u, rank), addend_multiplier[c], addend_shift[c] + exponent);
            b += rank;
        }
        if (gain.codes != NULL) {
            total = kt_saturate32(kt_with_gain(&gain, (int64_t)total + addend, c) + bias[c]);
        } else {
            total = kt_add_words(total + addend, bias[c]); /* the sum of the product has 24 bits */
        }
        y[c] = result_of(total, multiplier[c], shift[c], offset, low, high);
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
