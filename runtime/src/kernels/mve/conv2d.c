/* kt_conv2d_s8 on cores with Helium: products 16 a instruction, requantised four channels at a time. The formula and its
 * rounding are those of ../conv2d.c. */
#include "kt/architecture.h"
#include "kt/kernels.h"

#if KT_MVE
#include "../conv2d.h"
#include "conv2d_lanes.h"

typedef struct {
    kt_conv2d_chunk chunk;
    kt_finish finish;
    const int32_t *initial;    /* of all channels, or NULL: each chunk's is made when it is needed */
} layer;

/* All channels of one or two positions; x: their windows, y: their results. */
static void compute(layer *l, const int8_t *const x[2], int8_t *const y[2], int32_t positions)
{
    const kt_conv2d_params *params = l->chunk.params;
    const int32_t channels = params->window.output[KT_CHANNELS];
    int32_t sums[2][KT_CHUNK];
    int32_t own[KT_CHUNK];
    kt_finish_positions results;
    int32_t first;
    for (first = 0; first < channels; first += KT_CHUNK) {
        l->chunk.first = first;
        l->chunk.count = kt_minimum(channels - first, KT_CHUNK);
        l->chunk.initial = l->initial + first;
        if (l->initial == NULL) {
            const int8_t *w = params->weights + first * l->chunk.size;
            kt_initial_sums(w, l->chunk.size, l->chunk.count, params->input_offset, own);
            l->chunk.initial = own;
        }
        results.sums = sums[0];
        results.distance = KT_CHUNK;
        results.y0 = y[0] + first;
        results.y1 = y[positions - 1] + first;
        if (positions == 2) {
            kt_chunk_sums_of_two(&l->chunk, x, sums);
            kt_finish_two(&l->finish, first, l->chunk.count, results);
        } else {
            kt_chunk_sums_of_one(&l->chunk, x[0], sums[0]);
            kt_finish_one(&l->finish, first, l->chunk.count, results);
        }
    }
}

/* pair: positions taken at a time; copied: through panels. */
static void walk(layer *l, const int8_t *x, int8_t *y, int32_t pair, int copied)
{
    const kt_conv2d_params *params = l->chunk.params;
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t height = window->output[KT_Y];
    const int32_t width = window->output[KT_X];
    const int32_t direction = kt_direction(x, y);
    int8_t panel[2 * KT_PANEL];
    const int8_t *values[2];
    int8_t *results[2];
    int32_t held = 0;
    int32_t oy, ox;
    for (oy = kt_first(direction, height); kt_within(oy, height); oy += direction) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = kt_first(direction, width); kt_within(ox, width); ox += direction) {
            results[held] = y + (oy * width + ox) * channels;
            if (copied) {
                values[held] = panel + held * KT_PANEL;
                kt_fill_panel(params, &rows, ox, x, l->chunk.size, panel + held * KT_PANEL);
            } else {
                const int32_t ix = ox * window->stride[KT_X] - window->pad[KT_X];
                values[held] = x + (rows.index * window->input[KT_X] + ix) * depth;
            }
            if (++held == pair) {
                compute(l, values, results, held);
                held = 0;
            }
        }
    }
    if (held != 0) {
        compute(l, values, results, held);
    }
}

static int apart(const kt_window *window, const int8_t *x, const int8_t *y)
{
    const int32_t values = window->input[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t results = window->output[KT_Y] * window->output[KT_X] * window->output[KT_CHANNELS];
    return (uintptr_t)y >= (uintptr_t)(x + values) || (uintptr_t)x >= (uintptr_t)(y + results);
}

void kt_conv2d_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int pieces = kt_windows_are_pieces(window);
    int32_t initial[KT_CHUNK];
    layer l;
    l.chunk.params = params;
    l.chunk.size = kt_kernel_size(window);
    l.finish = kt_finish_of(bias, params->multiplier, params->shift, channels, params->output_offset, params->clamp);
    l.initial = params->offset_sums;
    if (l.initial == NULL && channels <= KT_CHUNK) {
        kt_initial_sums(params->weights, l.chunk.size, channels, params->input_offset, initial);
        l.initial = initial;
    }
    if (pieces && apart(window, x, y)) {
        walk(&l, x, y, 2, 0);
    } else if (l.chunk.size <= KT_PANEL) {
        walk(&l, x, y, 2, 1);
    } else if (pieces) {
        walk(&l, x, y, 1, 0);
    } else if (l.chunk.size <= 2 * KT_PANEL) {
        walk(&l, x, y, 1, 1);
    } else {
        kt_conv2d_walk(params, x, bias, NULL, y, kt_requantize, NULL);
    }
}
#endif
