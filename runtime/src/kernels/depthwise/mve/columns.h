/* columns.h: depthwise convolutions on cores with Helium, one channel at a time, all values under a window in one vector or few.
 *
 * A tile of results is computed channel by channel. What its windows read of the channel is gathered column by column: rows of a column are
 * neighbours, so that a window is one piece of memory, and its sum one product of vectors. Two result rows share a column with their rows
 * and differ in the lanes of their weights. Any number of channels, of results a channel, any stride and any weights run so; of dilated
 * windows those of stride 1. */
#ifndef KT_DEPTHWISE_COLUMNS_H
#define KT_DEPTHWISE_COLUMNS_H

#include "kt/kernels/depthwise.h"
#include <stddef.h>

#include "../../window.h"
#include "channel_lanes.h"
#include "column_sums.h"
#include "few_taps.h"

enum {
    KT_TILE_VALUES = 384,     /* of a channel that are gathered */
    KT_TILE_RESULTS = 144,    /* of a channel */
    KT_PLANES = 4,            /* channels that are gathered at once */
    KT_MOST_TAPS = 128,
    KT_HELD = 2048,           /* results of all channels that may wait, where they lie over the image */
    KT_FEW = 16,              /* results of a channel in a tile of which not all rows may wait */
    KT_OFFSETS = 65536        /* bytes that a tile may span */
};

/* A rectangle of results, computed in bands of 1 or 2 rows. */
typedef struct {
    int32_t height, columns, rows;
} kt_tile;

/* Rows and columns of what a tile reads that lie inside the image: the first of them, and the first behind them. */
typedef struct {
    int32_t low[2], high[2];
} kt_inside;

/* Where the values of a tile come from and go to, which most tiles have in common. */
typedef struct {
    kt_depthwise_conv2d_params params;
    int32_t tap[2];                 /* weights of a channel from kernel row to row, and from column to column */
    kt_tile tile;
    kt_inside inside;
    int32_t bands, band;            /* bands, and values of each */
    int32_t pitch;                  /* rows of a column */
    int32_t vectors;                /* of a window */
    int32_t values, taps;           /* that are gathered; of a window */
    int few;                        /* one row of few taps, few_taps.h */
    uint16_t from[KT_TILE_VALUES], to[KT_TILE_VALUES];
    uint16_t tap_from[KT_MOST_TAPS], tap_to[KT_MOST_TAPS];
    uint32_t results[KT_TILE_RESULTS];    /* where they go */
    int8_t planes[KT_PLANES][KT_TILE_VALUES + KT_LANES];
    int8_t weights[KT_PLANES][KT_LANES + KT_MOST_TAPS + KT_LANES];    /* zeros, then those of a channel */
    int32_t sums[KT_TILE_RESULTS];
} kt_columns;

/* Columns that n results need, and vectors that their windows fill with `pitch` rows. */
static inline int32_t kt_columns_under(const kt_window *window, int32_t n)
{
    return (n - 1) * (window->dilation[KT_X] == 1 ? window->stride[KT_X] : 1) + window->kernel[KT_X];
}

static inline int32_t kt_pitch_of(const kt_window *window, int32_t rows)
{
    return (rows - 1) * window->stride[KT_Y] + window->kernel[KT_Y];
}

static inline int32_t kt_vectors_of(const kt_window *window, int32_t rows)
{
    const int32_t pitch = kt_pitch_of(window, rows);
    return ((window->kernel[KT_X] - 1) * pitch + pitch + KT_LANES - 1) / KT_LANES;
}

/* Tables of the taps for columns of these rows. */
static inline void kt_set_taps(kt_columns *t, int32_t rows)
{
    const kt_window *window = &t->params.window;
    const int32_t channels = window->output[KT_CHANNELS];
    int32_t ky, kx, tap = 0;
    t->pitch = kt_pitch_of(window, rows);
    t->vectors = kt_vectors_of(window, rows);
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        for (kx = 0; kx < window->kernel[KT_X]; kx++, tap++) {
            t->tap_from[tap] = (uint16_t)((ky * t->tap[KT_Y] + kx * t->tap[KT_X]) * channels);
            t->tap_to[tap] = (uint16_t)(kx * t->pitch + ky);
        }
    }
    t->taps = tap;
    kt_fill_lanes(t->weights[0], 0, (int32_t)sizeof t->weights);
}

/* n numbers from `first` on, `step` from one to the next; returns where the next one goes. */
static inline uint16_t *kt_steps16(uint16_t *to, uint32_t first, int32_t step, int32_t n)
{
    uint16x8_t numbers = vaddq_n_u16(vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)step), (uint16_t)first);
    int32_t i;
    for (i = 0; i < n; i += 8) {
        vstrhq_p_u16(to + i, numbers, vctp16q((uint32_t)(n - i)));
        numbers = vaddq_n_u16(numbers, (uint16_t)(8 * step));
    }
    return to + n;
}

/* The same, `apart` words apart. */
static inline void kt_steps32(uint32_t *to, int32_t apart, uint32_t first, int32_t step, int32_t n)
{
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)apart);
    uint32x4_t numbers = vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)step), first);
    int32_t i;
    for (i = 0; i < n; i += 4, to += 4 * apart) {
        vstrwq_scatter_shifted_offset_p_u32(to, places, numbers, vctp32q((uint32_t)(n - i)));
        numbers = vaddq_n_u32(numbers, (uint32_t)(4 * step));
    }
}

/* Tables of a tile whose first window starts at (top, left); kept where they are those of the tile before. apart: results from column to
 * column; width: of a row of results. */
static inline void kt_set_tile(kt_columns *t, const kt_tile *tile, int32_t top, int32_t left, int32_t apart, int32_t width)
{
    const kt_window *window = &t->params.window;
    const int32_t channels = window->input[KT_CHANNELS], outputs = window->output[KT_CHANNELS];
    const int32_t line = window->input[KT_X] * channels;
    const int32_t down = window->dilation[KT_Y] * line, across = window->dilation[KT_X] * channels;
    const int32_t wide = kt_columns_under(window, tile->columns);
    const int32_t span = (tile->height - 1) * window->stride[KT_Y] + (window->kernel[KT_Y] - 1) * window->dilation[KT_Y] + 1;
    kt_inside inside;
    uint16_t *from = t->from, *to = t->to;
    uint32_t *results = t->results;
    int32_t row = 0, b, r;
    inside.low[KT_Y] = kt_clamp(-top, 0, span);
    inside.high[KT_Y] = kt_clamp(window->input[KT_Y] - top, 0, span);
    inside.low[KT_X] = kt_minimum(kt_divide_up(kt_maximum(-left, 0), window->dilation[KT_X]), wide);
    inside.high[KT_X] = kt_clamp(kt_divide_up(kt_maximum(window->input[KT_X] - left, 0), window->dilation[KT_X]), inside.low[KT_X], wide);
    if (tile->height == t->tile.height && tile->rows == t->tile.rows && tile->columns == t->tile.columns &&
        inside.low[KT_Y] == t->inside.low[KT_Y] && inside.high[KT_Y] == t->inside.high[KT_Y] &&
        inside.low[KT_X] == t->inside.low[KT_X] && inside.high[KT_X] == t->inside.high[KT_X]) {
        return;
    }
    t->tile = *tile;
    t->inside = inside;
    t->band = wide * t->pitch;
    t->bands = (tile->height + tile->rows - 1) / tile->rows;
    t->few = tile->rows == 1 && kt_has_few_taps(window, tile->height, tile->columns);
    for (b = 0; b < t->bands; b++, row += tile->rows) {
        int32_t first, end, place, value;
        row = kt_minimum(row, tile->height - tile->rows); /* the last band may compute a row again */
        first = kt_divide_up(kt_maximum(inside.low[KT_Y] - row * window->stride[KT_Y], 0), window->dilation[KT_Y]);
        end = kt_divide_up(kt_maximum(inside.high[KT_Y] - row * window->stride[KT_Y], 0), window->dilation[KT_Y]);
        end = kt_minimum(end, t->pitch);
        place = b * t->band + inside.low[KT_X] * t->pitch;
        value = row * window->stride[KT_Y] * line + inside.low[KT_X] * across;
        for (r = first; r < end; r++) {
            kt_steps16(from, (uint32_t)(value + r * down), across, inside.high[KT_X] - inside.low[KT_X]);
            to = kt_steps16(to, (uint32_t)(place + r), t->pitch, inside.high[KT_X] - inside.low[KT_X]);
            from += inside.high[KT_X] - inside.low[KT_X];
        }
        for (r = 0; r < tile->rows; r++) {
            kt_steps32(results + r, tile->rows, (uint32_t)((row + r) * width * outputs), apart * outputs, tile->columns);
        }
        results += tile->rows * tile->columns;
        if (t->few && b + 1 < t->bands) {
            /* All rows are taken as one: what windows across two of them give goes to a result that a later vector writes. */
            const uint32_t later = (uint32_t)((row + 1) * width * outputs + (KT_FEW_APART - 1) * apart * outputs);
            kt_steps32(results, 1, later, 0, wide - tile->columns);
            results += wide - tile->columns;
        }
    }
    t->values = (int32_t)(from - t->from);
    for (b = 0; b < KT_PLANES; b++) {
        kt_fill_lanes(t->planes[b], -t->params.input_offset, t->bands * t->band + KT_LANES);
    }
}

/* All channels of the tile that is set; x: where its first window starts, y: where its first result goes. */
static __attribute__((noinline)) void kt_compute_tile(kt_columns *t, const int8_t *x, const int32_t *bias, int rectified,
                                                      const kt_lanes_clamp *limits, int8_t *y)
{
    const kt_depthwise_conv2d_params *params = &t->params;
    const kt_window *window = &params->window;
    const int32_t inputs = window->input[KT_CHANNELS], factor = params->depth_multiplier, vectors = t->vectors;
    const int32_t step = t->pitch * (window->dilation[KT_X] == 1 ? window->stride[KT_X] : 1);
    const int32_t results = t->bands * t->tile.columns * t->tile.rows;
    const kt_runs runs = {t->bands, t->tile.columns, step, t->band - t->tile.columns * step};
    int32_t c = 0, channel, copy, plane, planes;
    for (channel = 0; channel < inputs; channel += planes) {
        planes = kt_minimum(inputs - channel, KT_PLANES);
        kt_gather_planes(x + channel, planes, t->from, t->planes[0], (int32_t)sizeof t->planes[0], t->to, t->values);
        if (factor == 1) {
            kt_gather_planes(params->weights + c, planes, t->tap_from, t->weights[0] + KT_LANES, (int32_t)sizeof t->weights[0], t->tap_to, t->taps);
        }
        for (plane = 0; plane < planes; plane++) {
            for (copy = 0; copy < factor; copy++, c++) {
                int8_t *const weights = t->weights[factor == 1 ? plane : 0] + KT_LANES;
                kt_channel_end end;
                int32_t initial;
                if (factor > 1) {
                    kt_gather_bytes(params->weights + c, t->tap_from, weights, t->tap_to, t->taps);
                }
                initial = params->offset_sums != NULL ? params->offset_sums[c] : params->input_offset * kt_sum_lanes(weights, vectors * KT_LANES);
                if (t->tile.rows == 2) {
                    kt_two_rows(&runs, t->planes[plane], weights, window->stride[KT_Y], vectors, t->sums);
                } else if (t->few) {
                    end = kt_channel_end_of(params, c, initial, bias[c], rectified);
                    kt_few_results(t->planes[plane], t->bands * t->band - t->taps + 1, weights, t->taps, &end, limits, t->sums, t->results, y + c);
                    continue;
                } else {
                    kt_one_row(&runs, t->planes[plane], weights, vectors, t->sums);
                }
                end = kt_channel_end_of(params, c, initial, bias[c], rectified);
                kt_finish_channel(&end, t->sums, results, limits, t->results, y + c);
            }
        }
    }
}

/* How a layer is cut into tiles: each of whole rows, or of a part of one row. */
typedef struct {
    int32_t rows, height, columns;    /* of a band; most of a tile */
    int32_t phases;                  /* sets of columns that dilated windows do not mix */
    int held;                        /* results of a tile wait until all channels have read */
} kt_tiling;

/* The next rows of results; returns how many, 0 where there are none left, and the first one. */
static inline int32_t kt_next_rows(const kt_tiling *tiling, int32_t direction, int32_t *low, int32_t *high, int32_t *oy)
{
    const int32_t rows = kt_minimum(tiling->height, *high - *low);
    *oy = direction > 0 ? *low : *high - rows;
    *low += direction > 0 ? rows : 0;
    *high -= direction > 0 ? 0 : rows;
    return rows;
}

/* Whether results of any rows lie over nothing that they or later ones read. */
static inline int kt_rows_are_apart(const kt_window *window, const kt_tiling *tiling, const int8_t *x, const int8_t *y)
{
    const int32_t line = window->input[KT_X] * window->input[KT_CHANNELS], next = window->output[KT_X] * window->output[KT_CHANNELS];
    const int32_t direction = kt_direction(x, y), reach = (window->kernel[KT_Y] - 1) * window->dilation[KT_Y];
    int32_t low = 0, high = window->output[KT_Y], oy, rows;
    while ((rows = kt_next_rows(tiling, direction, &low, &high, &oy)) > 0) {
        const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
        const int32_t bottom = top + (rows - 1) * window->stride[KT_Y] + reach + 1;
        if (direction > 0 ? y + (oy + rows) * next > x + kt_clamp(top, 0, window->input[KT_Y]) * line
                          : y + oy * next < x + kt_clamp(bottom, 0, window->input[KT_Y]) * line) {
            return 0;
        }
    }
    return 1;
}

/* The tiles of a layer; 0 where it has none. apart: results and image share no memory. */
static inline int kt_tiling_of(const kt_window *window, int apart, const int8_t *x, const int8_t *y, kt_tiling *tiling)
{
    const int32_t height = window->output[KT_Y], line = window->input[KT_X] * window->input[KT_CHANNELS];
    const int32_t outputs = window->output[KT_CHANNELS], down = window->dilation[KT_Y];
    int32_t width, pitch;
    int few;
    tiling->phases = window->dilation[KT_X];
    tiling->held = 0;
    width = (window->output[KT_X] + tiling->phases - 1) / tiling->phases;
    few = kt_has_few_taps(window, height, window->output[KT_X] / tiling->phases);
    for (tiling->rows = down == 1 && height > 1 && !few && kt_vectors_of(window, 2) <= 2 ? 2 : 1; tiling->rows > 0; tiling->rows--) {
        pitch = kt_pitch_of(window, tiling->rows);
        tiling->columns = width;
        while (tiling->columns > 0 && (kt_columns_under(window, tiling->columns) * pitch > KT_TILE_VALUES ||
                                       tiling->rows * tiling->columns > KT_TILE_RESULTS)) {
            tiling->columns--;
        }
        if (tiling->columns > 0 && ((pitch - 1) * down + 1) * line <= KT_OFFSETS) {
            break;
        }
    }
    if (tiling->rows == 0) {
        return 0;
    }
    tiling->height = tiling->rows;
    if (tiling->columns == width) {
        const int32_t values = kt_columns_under(window, width) * pitch, band = tiling->rows * window->stride[KT_Y] * line;
        int32_t bands = kt_minimum(KT_TILE_VALUES / values, KT_TILE_RESULTS / (few ? values : tiling->rows * width));
        bands = kt_minimum(bands, 1 + (KT_OFFSETS - ((pitch - 1) * down + 1) * line) / band);
        tiling->height = kt_minimum(tiling->rows * bands, height);
    } else {
        tiling->columns = kt_divide_up(width, kt_divide_up(width, tiling->columns));
    }
    if (apart || kt_rows_are_apart(window, tiling, x, y)) {
        return 1;
    }
    tiling->held = 1;
    tiling->height = kt_clamp(KT_HELD / (window->output[KT_X] * outputs), 1, tiling->height);
    tiling->rows = kt_minimum(tiling->rows, tiling->height);
    if (tiling->height * window->output[KT_X] * outputs > KT_HELD || tiling->columns < width) {
        tiling->rows = 1;
        tiling->height = 1;
        tiling->columns = kt_minimum(tiling->columns, KT_HELD / outputs);
        return tiling->phases == 1 && tiling->columns >= kt_minimum(KT_FEW, width);
    }
    return 1;
}

/* The tiles of these rows, from left to right or from right to left. */
static inline void kt_compute_rows(kt_columns *t, const kt_tiling *tiling, int32_t oy, int32_t rows, const int8_t *x, const int32_t *bias,
                                   int rectified, const kt_lanes_clamp *limits, int8_t *y)
{
    const kt_window *window = &t->params.window;
    const int32_t width = window->output[KT_X], outputs = window->output[KT_CHANNELS];
    const int32_t direction = kt_direction(x, y), step = tiling->phases;
    const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
    const int whole = tiling->phases > 1 || tiling->columns == width; /* rows of results */
    int8_t held[KT_HELD];
    kt_tile tile;
    int32_t phase, first;
    tile.rows = kt_minimum(tiling->rows, rows);
    tile.height = rows;
    if (t->pitch != kt_pitch_of(window, tile.rows)) {
        t->tile.height = 0;
        kt_set_taps(t, tile.rows);
    }
    for (phase = 0; phase < tiling->phases; phase++) {
        const int32_t count = (width - phase + step - 1) / step, segments = kt_divide_up(count, tiling->columns);
        for (first = kt_first(direction, segments); kt_within(first, segments); first += direction) {
            const int32_t from = first * tiling->columns;
            const int32_t ox = phase + from * step;
            const int32_t left = ox * window->stride[KT_X] - window->pad[KT_X];
            int8_t *const results = tiling->held ? held + (whole ? ox * outputs : 0) : y + (oy * width + ox) * outputs;
            tile.columns = kt_minimum(count - from, tiling->columns);
            kt_set_tile(t, &tile, top, left, step, width);
            kt_compute_tile(t, x + (top * window->input[KT_X] + left) * window->input[KT_CHANNELS], bias, rectified, limits, results);
            if (tiling->held && !whole) {
                kt_copy_lanes(y + (oy * width + ox) * outputs, held, tile.columns * outputs);
            }
        }
    }
    if (tiling->held && whole) {
        kt_copy_lanes(y + oy * width * outputs, held, rows * width * outputs);
    }
}

/* Whether 16 channels at a time take fewer instructions than these tiles; what each takes was counted. */
static inline int kt_channels_take_less(const kt_window *window, const kt_tiling *tiling)
{
    const int32_t channels = window->output[KT_CHANNELS], height = window->output[KT_Y], width = window->output[KT_X];
    const int32_t taps = window->kernel[KT_Y] * window->kernel[KT_X];
    const int32_t tiles = kt_divide_up(height, tiling->height) * kt_divide_up(width, tiling->columns);
    const int few = tiling->rows == 1 && kt_has_few_taps(window, height, width / tiling->phases);
    const int32_t result = (few ? 5 : tiling->rows == 2 ? 5 + window->stride[KT_X] : 9) + kt_maximum(taps - KT_LANES, 0) / 3;
    const int64_t by_columns = channels * (int64_t)(130 * tiles + height * width * result);
    return (int64_t)height * width * (kt_divide_up(channels, KT_LANES) * (52 + 13 * taps) + 40) < by_columns;
}

/* All of a layer; 0 where its windows are not of that kind or, if only then, where 16 channels at a time take less, and nothing is done. */
static __attribute__((noinline)) int kt_depthwise_by_columns(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                                             int8_t *y, int only_if_faster)
{
    const kt_lanes_clamp limits = kt_lanes_clamp_of(params->output_offset, params->clamp);
    const int rectified = params->clamp[0] >= params->output_offset;
    int32_t low = 0, high, values, results, oy, rows;
    kt_tiling tiling;
    kt_columns t;
    kt_window *const window = &t.params.window;
    t.params = *params;
    t.tap[KT_Y] = window->kernel[KT_X];
    t.tap[KT_X] = 1;
    t.pitch = 0;
    t.taps = window->kernel[KT_Y] * window->kernel[KT_X];
    if (kt_turned(window)) {
        t.tap[KT_X] = t.tap[KT_Y];
        t.tap[KT_Y] = 1;
    }
    high = window->output[KT_Y];
    values = window->input[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    results = high * window->output[KT_X] * window->output[KT_CHANNELS];
    if (t.taps > KT_MOST_TAPS || t.taps * window->output[KT_CHANNELS] > KT_OFFSETS ||
        (window->dilation[KT_X] > 1 && window->stride[KT_X] > 1) ||
        !kt_tiling_of(window, (uintptr_t)y >= (uintptr_t)(x + values) || (uintptr_t)x >= (uintptr_t)(y + results), x, y, &tiling)) {
        return 0;
    }
    if (only_if_faster && kt_lanes_have_room(params) && kt_channels_take_less(window, &tiling)) {
        return 0;
    }
    while ((rows = kt_next_rows(&tiling, kt_direction(x, y), &low, &high, &oy)) > 0) {
        kt_compute_rows(&t, &tiling, oy, rows, x, bias, rectified, &limits, y);
    }
    return 1;
}

#endif
