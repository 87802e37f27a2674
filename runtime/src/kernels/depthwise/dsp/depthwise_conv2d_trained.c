/* kt_depthwise_conv2d_trained_s8 for the DSP extension: with scratch a channel of a row at a time (row_sums.h), without it four channels at
 * once. Where only some channels have a delta, without scratch its sums are taken one by one. */
#include "../depthwise_conv2d.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "row_sums.h"
#include "taps.h"

enum {
    MOST_TAPS = 1 << 15, /* of products of codes whose doubled sum is an int32 */
    LARGEST_SHIFT = 20   /* 2^19 and more is at the clamp after it, so that a total may be limited to +-2^30, whose double is an int32 */
};

/* From the sums of four channels and of their deltas to results; the usual shifts as in packed_convolution/dsp/packed_sums.h. */
static __attribute__((noinline)) void finish(const kt_depthwise_conv2d_params *params, const kt_depthwise_trained *trained, const int32_t *bias,
                                             int32_t c, const int32_t sums[4], const int32_t products[4], int8_t *y)
{
    const int32_t low = params->clamp[0], high = params->clamp[1], twice_offset = 2 * params->output_offset + 1;
    const int32_t exponent = trained->exponent;
    const int usual = params->window.kernel[KT_Y] * params->window.kernel[KT_X] <= MOST_TAPS;
    const uint32_t largest = trained->gain.codes == NULL ? LARGEST_SHIFT : 0;
    int32_t i;
    for (i = 0; i < 4; i++, c++) {
        const int32_t down = -(params->addend_shift[c] + exponent), end = -params->shift[c], multiplier = params->multiplier[c];
        int32_t addend, total;
        if ((uint32_t)(down - 1) < 31 && usual) {
            const int32_t twice = 2 * products[i];
            addend = (kt_add_high_product(twice, params->addend_multiplier[c], (int32_t)(UINT32_C(1) << (down - 1))) + (twice >> 31)) >> down;
        } else {
            addend = kt_clamp(kt_requantize(products[i], params->addend_multiplier[c], -down), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
        }
        total = __qadd(sums[i] + addend, bias[c]);
        if ((uint32_t)(end - 1) < largest) {
            const int32_t twice = __qadd(total, total);
            const int32_t added = (int32_t)((uint32_t)twice_offset << (end - 1)); /* offset * 2^n + 2^(n-1) */
            y[i] = (int8_t)kt_clamp((kt_add_high_product(twice, multiplier, added) + (twice >> 31)) >> end, low, high);
        } else {
            y[i] = kt_depthwise_result(params, total, &trained->gain, c);
        }
    }
}

/* Sums of the deltas of four channels of which only some have one. */
static void sum_some(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *delta, const int8_t *x, int32_t c,
                     int32_t products[4])
{
    int32_t i;
    for (i = 0; i < 4; i++) {
        const int32_t column = params->rows[c + i];
        products[i] = column < 0 ? 0 : kt_depthwise_sum(&params->window, patch, x + i, delta + column, params->columns, params->input_offset);
    }
}

static void position(const kt_depthwise_conv2d_params *params, const kt_depthwise_patch *patch, const int8_t *x,
                     const int32_t *bias, const kt_depthwise_trained *trained, int8_t *y)
{
    const int32_t channels = params->window.input[KT_CHANNELS];
    const uint32_t added = (uint16_t)params->input_offset * UINT32_C(0x00010001);
    const kt_rectangle taps = kt_taps_of(&params->window, patch);
    int32_t c;
    for (c = 0; c < channels; c += 4) {
        const int8_t *const values = x + (patch->x + c);
        int32_t sums[4], products[4];
        kt_sum_four_channels(&taps, params->weights + (patch->tap * channels + c), values, added, sums);
        if (params->rows == NULL) {
            kt_sum_four_channels(&taps, trained->delta + (patch->tap * channels + c), values, added, products);
        } else {
            sum_some(params, patch, trained->delta, values, c, products);
        }
        finish(params, trained, bias, c, sums, products, y + c);
    }
}

/* -- rows ---------------------------------------------------------------------------------------------------- */

/* What makes results of the sums of one channel. */
typedef struct {
    int32_t addend_multiplier, addend_half, addend_down; /* multiplier 0: no delta */
    int32_t bias;
    int32_t multiplier, added, down;
} requantization;

/* The sums of a block to results, which gcc would compute from values in memory. Those of the delta are 256 bytes behind the others. */
static __attribute__((naked, noinline)) void finish_block(const requantization *of __attribute__((unused)),
                                                          const int32_t *sums __attribute__((unused)), int8_t *y __attribute__((unused)),
                                                          kt_block_results *results __attribute__((unused)))
{
    __asm__ volatile("push {r3-r11, lr}\n\t" /* the results at sp */
                     "ldm r0, {r4-r10}\n\t"
                     "1:\n\t"
                     "ldr r0, [sp]\n\t"
                     "ldr r0, [r0]\n\t"      /* step */
                     "ldr r3, [sp]\n\t"
                     "ldr r3, [r3, #12]\n\t" /* count */
                     "2:\n\t"
                     "ldr r11, [r1, #256]\n\t"
                     "ldr r12, [r1], #4\n\t"
                     "lsl r11, #1\n\t"
                     "smmlar lr, r11, r4, r5\n\t"
                     "add lr, lr, r11, asr #31\n\t"
                     "asr lr, r6\n\t"
                     "add r12, lr\n\t"
                     "qadd r12, r12, r7\n\t"
                     "qadd r12, r12, r12\n\t"
                     "smmlar lr, r12, r8, r9\n\t"
                     "add lr, lr, r12, asr #31\n\t"
                     "asr lr, r10\n\t"
                     "ssat lr, #8, lr\n\t"
                     "strb lr, [r2]\n\t"
                     "add r2, r0\n\t"
                     "subs r3, #1\n\t"
                     "bne 2b\n\t"
                     "ldr r3, [sp]\n\t"
                     "ldrd r0, r11, [r3, #4]\n\t" /* skip, rows left */
                     "add r2, r0\n\t"
                     "ldr r12, [r3, #12]\n\t"
                     "and r12, #1\n\t"
                     "add r1, r1, r12, lsl #2\n\t"
                     "subs r11, #1\n\t"
                     "str r11, [r3, #8]\n\t"
                     "bne 1b\n\t"
                     "pop {r3-r11, pc}");
}

/* The same by the meaning of each step. column: of the delta, -1 for none. */
static __attribute__((noinline)) void finish_any(const kt_depthwise_conv2d_params *params, const kt_depthwise_trained *trained, int32_t bias,
                                                 int32_t c, int32_t column, const int32_t *sums, const kt_row_block *block,
                                                 int8_t *y, const kt_block_results *to)
{
    const int32_t words = kt_row_words(block->count);
    int32_t row, i;
    for (row = 0; row < block->rows; row++, y += to->skip) {
        for (i = 0; i < block->count; i++, y += to->step) {
            const int32_t at = row * words + i;
            int32_t addend = 0;
            if (column >= 0) {
                addend = kt_requantize(sums[at + KT_ROW_RESULTS], params->addend_multiplier[c], params->addend_shift[c] + trained->exponent);
            }
            *y = kt_depthwise_result(params, __qadd(sums[at] + kt_clamp(addend, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT), bias), &trained->gain, c);
        }
    }
}

/* Rows of results of channel c, from the unzipped rows x of its input. */
static __attribute__((noinline)) void channel_rows(const kt_depthwise_conv2d_params *params, const kt_depthwise_trained *trained, int32_t bias,
                                                   const kt_row_window *w, const int16_t *x, int32_t c, int32_t rows, int8_t *y)
{
    const int32_t channels = params->window.output[KT_CHANNELS], width = params->window.output[KT_X];
    const int32_t column = params->rows == NULL ? c : params->rows[c];
    const int32_t addend_down = -(params->addend_shift[c] + trained->exponent), down = -params->shift[c];
    const int usual = (column < 0 || (uint32_t)(addend_down - 1) < 31) && (uint32_t)(down - 1) < LARGEST_SHIFT && trained->gain.codes == NULL &&
                      params->clamp[0] == -128 && params->clamp[1] == 127;
    uint32_t weights[KT_ROW_PAIRS], codes[KT_ROW_PAIRS];
    int32_t sums[2 * KT_ROW_RESULTS];
    requantization of = {0, 0, 1, bias, params->multiplier[c], 0, down};
    kt_row_block block;
    int32_t row, first;
    kt_pair_weights(params->weights + c, w->kernel, channels, w->kernel[1] * channels, weights);
    if (column >= 0) {
        kt_pair_weights(trained->delta + column, w->kernel, params->columns, w->kernel[1] * params->columns, codes);
    } else {
        memset(sums + KT_ROW_RESULTS, 0, KT_ROW_RESULTS * sizeof *sums);
    }
    if (usual) {
        of.added = (int32_t)((uint32_t)(2 * params->output_offset + 1) << (down - 1));
        if (column >= 0) {
            of.addend_multiplier = params->addend_multiplier[c];
            of.addend_half = (int32_t)(UINT32_C(1) << (addend_down - 1));
            of.addend_down = addend_down;
        }
    }
    for (first = 0; first < width; first += block.count) {
        for (row = 0; row < rows; row += block.rows) {
            int8_t *const result = y + (row * width + first) * channels;
            kt_block_results to;
            block = kt_row_block_of(w, x + row * w->stride * w->width, rows - row, first, width - first);
            to = kt_block_results_of(&block, width, channels);
            kt_sum_block(w, &block, weights, sums);
            if (column >= 0) {
                kt_sum_block(w, &block, codes, sums + KT_ROW_RESULTS);
            }
            if (usual) {
                finish_block(&of, sums, result, &to);
            } else {
                finish_any(params, trained, bias, c, column, sums, &block, result, &to);
            }
        }
    }
}

/* Bands of results, as many rows at a time as scratch has room for. */
static void in_bands(const kt_depthwise_conv2d_params *params, const kt_depthwise_trained *trained, const int8_t *x, const int32_t *bias,
                     int8_t *y, int16_t *buffer)
{
    const kt_window *const window = &params->window;
    const int32_t height = params->band_rows, bands = (window->output[KT_Y] + height - 1) / height;
    const int32_t channels = window->output[KT_CHANNELS], direction = kt_direction(x, y);
    const int32_t left = kt_maximum(window->pad[KT_X], 0), skip = kt_maximum(-window->pad[KT_X], 0);
    const kt_row_window w = kt_row_window_of(window->kernel, window->stride[KT_X], window->output[KT_X], height, left + window->input[KT_X] - skip);
    const kt_row_source from = {x, {window->input[KT_Y], window->input[KT_X]}, window->input[KT_CHANNELS], 1, left, skip,
                                (uint16_t)params->input_offset * UINT32_C(0x00010001), NULL, 0};
    int32_t moved = 0, band, c;
    for (band = kt_first(direction, bands); kt_within(band, bands); band += direction) {
        const int32_t oy = band * height, rows = kt_minimum(window->output[KT_Y] - oy, height);
        int8_t *const result = y + oy * window->output[KT_X] * channels;
        kt_unzip_band(&from, &w, oy * w.stride - window->pad[KT_Y], moved, rows, buffer);
        moved = direction * height * w.stride;
        for (c = 0; c < channels; c++) {
            const int16_t *const plane = buffer + (params->depth_multiplier == 1 ? c : c / params->depth_multiplier) * w.width * w.height;
            channel_rows(params, trained, bias[c], &w, plane, c, rows, result + c);
        }
    }
}

void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const int fours = params->depth_multiplier == 1 && params->window.input[KT_CHANNELS] % 4 == 0;
    kt_depthwise_trained trained;
    trained.delta = delta;
    trained.exponent = *delta_exponent;
    trained.gain = kt_gain_of(gain, gain_exponent);
    if (params->band_rows > 0) {
        in_bands(params, &trained, x, bias, y, scratch);
    } else if (fours) {
        kt_depthwise_walk(params, x, bias, &trained, y, position);
    } else {
        kt_depthwise_walk(params, x, bias, &trained, y, kt_depthwise_position);
    }
}

#endif
