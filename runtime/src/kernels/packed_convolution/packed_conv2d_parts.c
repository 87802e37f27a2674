/* CONV_2D and FULLY_CONNECTED from packed weights where neither arena nor stack has room for all values under two windows: a part of them at a
 * time, whose products are added up before they are requantised. */
#include "kt/kernels/packed_convolution.h"
#include "../../product/panel.h"
#include "../../product/product.h"
#include "../window.h"
#include "packed_bias.h"

enum {
    KT_PART_VALUES = 128,    /* of one run of the window */
    KT_PART_CHANNELS = 16,   /* whose sums are kept */
    KT_PARTS_CHANNELS = 256  /* whose results wait until all of them have read */
};

/* Values [low, low + count) of a run of the window at (top, left): of kernel row `run`, or where the window is dilated of tap `run`. */
static void fill_part(const kt_packed_conv2d_params *params, int32_t *word, const int8_t *x, int32_t top, int32_t left, int32_t run, int32_t low,
                      int32_t count)
{
    const kt_window *const window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS], width = window->input[KT_X], taps = window->kernel[KT_X];
    const int dilated = window->dilation[KT_X] != 1;
    const int32_t iy = top + (dilated ? run / taps : run) * window->dilation[KT_Y];
    const int32_t ix = left + (dilated ? run % taps * window->dilation[KT_X] : 0);
    const int32_t first = kt_maximum(-ix, 0) * depth, end = (width - ix) * depth; /* inside the image */
    const int8_t *const from = x + (iy * width + ix) * depth + low;
    if (!kt_within(iy, window->input[KT_Y]) || low >= end || low + count <= first) {
        kt_fill_outside(word, params->outside, kt_run_pairs(count));
    } else if (low >= first && low + count <= end) {
        kt_fill_run(word, from, count);
    } else {
        int8_t part[KT_PART_VALUES];
        int32_t i;
        for (i = 0; i < count; i++) {
            part[i] = (int8_t)(low + i >= first && low + i < end ? from[i] : params->outside);
        }
        kt_fill_run(word, part, count);
    }
}

/* One or two positions, whose first taps are at (top, left). */
typedef struct {
    int32_t count;
    int32_t top[2], left[2];
} positions;

/* Adds the products of all values under the windows to the sums of `channels` channels; stream: of the first. */
static void add_parts(const kt_packed_conv2d_params *params, const positions *at, const int8_t *x, const int32_t *stream, int32_t channels,
                      int32_t (*sums)[KT_PART_CHANNELS])
{
    static const int32_t none[KT_QUAD] = {0};
    const kt_window *const window = &params->window;
    const int dilated = window->dilation[KT_X] != 1;
    const int32_t length = window->input[KT_CHANNELS] * (dilated ? 1 : window->kernel[KT_X]);
    const int32_t runs = window->kernel[KT_Y] * (dilated ? window->kernel[KT_X] : 1);
    const int32_t step = 2 * params->pairs + KT_EPILOGUE;
    int32_t panel[KT_PART_VALUES];
    int32_t run, low, c, i, p;
    for (run = 0; run < runs; run++) {
        for (low = 0; low < length; low += KT_PART_VALUES) {
            const int32_t count = kt_minimum(length - low, KT_PART_VALUES), pairs = kt_run_pairs(count);
            const int32_t *quad = stream;
            for (p = 0; p < at->count; p++) {
                fill_part(params, panel + p, x, at->top[p], at->left[p], run, low, count);
            }
            for (c = 0; c < channels; c += KT_QUAD, quad += step) {
                int32_t part[2][KT_QUAD];
                kt_product_sums(part[0], at->count > 1 ? (int32_t)sizeof part[0] : 0, part[0] + KT_QUAD, none, panel, pairs, quad);
                for (p = 0; p < at->count; p++) {
                    for (i = 0; i < KT_QUAD; i++) {
                        sums[p][c + i] += part[p][i];
                    }
                }
            }
            stream += 2 * pairs;
        }
    }
}

/* All channels of one or two positions. negative: what a negative sum takes from the addend. */
static void compute(const kt_packed_conv2d_params *params, const positions *at, const int8_t *x, const int32_t *bias, int8_t (*y)[KT_PARTS_CHANNELS],
                    int32_t negative)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const int32_t step = 2 * params->pairs + KT_EPILOGUE;
    int32_t first, c, p;
    for (first = 0; first < channels; first += KT_PART_CHANNELS) {
        const int32_t count = kt_minimum(channels - first, KT_PART_CHANNELS), padded = kt_padded_channels(count);
        const int32_t *const stream = params->stream + first / KT_QUAD * step;
        int32_t sums[2][KT_PART_CHANNELS], own[KT_PART_CHANNELS];
        const int32_t *const start =
            kt_packed_bias(bias + first, params->fold == NULL ? NULL : params->fold + first, params->bias_limit, count, own);
        for (p = 0; p < at->count; p++) {
            memcpy(sums[p], start, (size_t)padded * sizeof start[0]);
        }
        add_parts(params, at, x, stream, padded, sums);
        for (c = 0; c < count; c++) {
            const int32_t *const epilogue = stream + c / KT_QUAD * step + 2 * params->pairs + c % KT_QUAD * 3;
            for (p = 0; p < at->count; p++) {
                const int32_t sum = sums[p][c];
                y[p][first + c] = kt_short_requantize(sum, epilogue[0], epilogue[1] - ((sum >> 31) & negative), epilogue[2]);
            }
        }
    }
}

static void walk(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int32_t negative)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X];
    const int32_t total = window->output[KT_Y] * width, direction = kt_direction(x, y);
    int8_t held[2][KT_PARTS_CHANNELS];
    positions at;
    int32_t left, p;
    for (left = total; left > 0; left -= at.count) {
        int32_t number[2];
        at.count = kt_minimum(left, 2);
        for (p = 0; p < at.count; p++) {
            number[p] = direction > 0 ? total - left + p : left - 1 - p;
            at.top[p] = number[p] / width * window->stride[KT_Y] - window->pad[KT_Y];
            at.left[p] = number[p] % width * window->stride[KT_X] - window->pad[KT_X];
        }
        compute(params, &at, x, bias, held, negative);
        for (p = 0; p < at.count; p++) {
            memcpy(y + number[p] * channels, held[p], (size_t)channels);
        }
    }
}

void kt_packed_conv2d_parts_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    walk(params, x, bias, y, 128);
}

void kt_packed_conv2d_parts_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    walk(params, x, bias, y, 0);
}
