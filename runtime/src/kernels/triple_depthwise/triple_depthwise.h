/* triple_depthwise.h: depthwise convolutions with three sums in two words, one channel of a band of rows after the other.
 *
 * The result rows of a band are three groups of R neighbours, which may overlap: rows r, second + r and third + r share words. The columns under
 * the windows of the band are filled with the words of one channel before any of its results is written. */
#ifndef KT_TRIPLE_DEPTHWISE_H
#define KT_TRIPLE_DEPTHWISE_H

#include <stddef.h>

#include "kt/kernels/triple_depthwise.h"
#include "../../product/triple_rows.h"
#include "../view.h"

/* A band of one channel. kept: rows of the input above the band that its own results have overwritten, `keeps` of them. */
typedef struct {
    const kt_triple_depthwise_params *params;
    kt_view view;
    uint32_t *plane;
    int8_t *kept;
    int32_t keeps;
    int32_t channel;
    int32_t first, rows; /* result rows */
    int32_t group;       /* R */
    int32_t second, third;
    int32_t height;      /* input rows of a column */
} kt_triple_band;

typedef void kt_triple_rows_kernel(const kt_triple_rows *rows);

/* A value of the channel, wherever it is. */
static inline uint32_t kt_value_of(const kt_triple_band *band, int32_t iy, int32_t ix)
{
    const kt_window *const window = &band->view.window;
    const int32_t width = window->input[KT_X];
    if (iy < 0 || iy >= window->input[KT_Y]) {
        return (uint32_t)band->params->outside;
    }
    if (iy < band->first && band->keeps > 0) {
        return (uint32_t)band->kept[(iy - band->first + band->keeps) * width + ix];
    }
    return (uint32_t)band->view.x[iy * band->view.x_line + ix * band->view.x_next + band->channel];
}

/* One of three positions along a row of the plane: its values, bytes from one column to the next. */
typedef struct {
    const int8_t *x;
    int32_t step;
} kt_lane;

/* The lane of an input row, wherever it is. outside: a value outside of the image. */
static inline kt_lane kt_lane_of(const kt_triple_band *band, int32_t iy, const int8_t *outside)
{
    const kt_window *const window = &band->view.window;
    const int32_t width = window->input[KT_X];
    kt_lane lane = {outside, 0};
    if (iy >= 0 && iy < window->input[KT_Y]) {
        const int kept = iy < band->first && band->keeps > 0;
        lane.x = kept ? band->kept + (iy - band->first + band->keeps) * width : band->view.x + iy * band->view.x_line + band->channel;
        lane.step = kept ? 1 : band->view.x_next;
    }
    return lane;
}

/* Columns [ix, end) of the image, of a row of the plane whose three positions do not all lie in it. word: of the first column. */
static inline void kt_fill_edge(const kt_triple_band *band, uint32_t *word, int32_t top, int32_t ix, int32_t end)
{
    const int32_t stride = band->view.window.stride[KT_Y];
    const int8_t outside = (int8_t)band->params->outside;
    kt_lane first = kt_lane_of(band, top, &outside), second = kt_lane_of(band, top + band->second * stride, &outside);
    kt_lane third = kt_lane_of(band, top + band->third * stride, &outside);
    first.x += ix * first.step;
    second.x += ix * second.step;
    third.x += ix * third.step;
    for (; ix < end; ix++, word += KT_ROW_WORDS * band->height) {
        const uint32_t middle = (uint32_t)*second.x;
        word[0] = (uint32_t)*first.x + (middle << 10);
        word[1] = (uint32_t)*third.x + (middle << 21);
        first.x += first.step;
        second.x += second.step;
        third.x += third.step;
    }
}

#if KT_ARMV7M && defined(__OPTIMIZE__)
#include "armv7m/fill_rows.h"
#else
/* Words of neighbouring rows of one column. second, third: from the first of three positions to the others; line: from row to row. */
KT_INLINE void kt_fill_rows(uint32_t *word, const int8_t *x, int32_t second, int32_t third, int32_t line, int32_t rows)
{
    for (; rows > 0; rows--, word += KT_ROW_WORDS, x += line) {
        const uint32_t middle = (uint32_t)x[second];
        word[0] = (uint32_t)x[0] + (middle << 10);
        word[1] = (uint32_t)x[third] + (middle << 21);
    }
}
#endif

/* All columns of the band. */
static inline void kt_fill_plane(const kt_triple_band *band)
{
    const kt_window *const window = &band->view.window;
    const int32_t width = window->input[KT_X], stride = window->stride[KT_Y];
    const int32_t line = band->view.x_line, height = band->height;
    const int32_t columns = (window->output[KT_X] - 1) * window->stride[KT_X] + (window->kernel[KT_X] - 1) * window->dilation[KT_X] + 1;
    const int32_t top = band->first * stride - window->pad[KT_Y];
    /* Rows of which all three lie in the image: the first is the highest, the third the lowest. */
    const int32_t from = kt_clamp((band->keeps > 0 ? band->first : 0) - top, 0, height);
    const int32_t to = kt_clamp(window->input[KT_Y] - top - band->third * stride, from, height);
    const int32_t second = band->second * stride * line, third = band->third * stride * line;
    const uint32_t outside = (uint32_t)band->params->outside;
    uint32_t *word = band->plane;
    int32_t column, row;
    for (column = 0; column < columns; column++) {
        const int32_t ix = column - window->pad[KT_X];
        if (ix < 0 || ix >= width) {
            for (row = 0; row < height; row++, word += KT_ROW_WORDS) {
                word[0] = outside + (outside << 10);
                word[1] = outside + (outside << 21);
            }
        } else {
            const int8_t *x = band->view.x + (top + from) * line + ix * band->view.x_next + band->channel;
            uint32_t *const end = word + KT_ROW_WORDS * height;
            word += KT_ROW_WORDS * from;
            kt_fill_rows(word, x, second, third, line, to - from);
            word = end;
        }
    }
    for (row = 0; row < height; row++) {
        row = row == from ? to : row;
        if (row < height) {
            const int32_t first = kt_maximum(window->pad[KT_X], 0);
            kt_fill_edge(band, band->plane + KT_ROW_WORDS * (first * height + row), top + row, first - window->pad[KT_X],
                         kt_minimum(width, columns - window->pad[KT_X]));
        }
    }
}

/* Before a band is written over its input: the rows that the next one still reads. */
static inline void kt_keep_rows(const kt_triple_band *band)
{
    const kt_window *const window = &band->view.window;
    const int32_t width = window->input[KT_X];
    const int32_t end = band->first + band->rows;
    int8_t *kept = band->kept;
    int32_t iy, ix;
    for (iy = end - window->pad[KT_Y]; iy < end; iy++) {
        for (ix = 0; ix < width; ix++) {
            *kept++ = (int8_t)kt_value_of(band, iy, ix);
        }
    }
}

/* The first row of a band's results. weights: of its channel; bias: as kt_triple_rows has it. */
static inline kt_triple_rows kt_rows_of_band(const kt_triple_band *band, const int32_t *weights, int32_t bias)
{
    const kt_window *const window = &band->view.window;
    const int32_t line = band->view.line;
    const kt_triple_rows rows = {band->plane, band->view.y + band->first * line + band->channel, window->output[KT_X],
                                 KT_ROW_WORDS * (int32_t)sizeof(uint32_t) * band->height, band->view.next, line, band->second * line,
                                 band->third * line, weights, bias};
    return rows;
}

/* Results of one of three rows and its two others, one window after the other. */
KT_INLINE void kt_results_of_rows(const kt_triple_rows *rows, const kt_window *window, int32_t kernel_height, int32_t kernel_width, int32_t size,
                                  int32_t negative)
{
    const int32_t *const epilogue = rows->weights + (size + 3) / 4;
    const kt_triple_scale scale = kt_triple_scale_of(rows->bias, epilogue, rows->second, rows->third);
    const int32_t dilation_y = KT_ROW_WORDS * window->dilation[KT_Y];
    const int32_t next = rows->column_bytes / (int32_t)sizeof(uint32_t), dilation_x = next * window->dilation[KT_X];
    const uint32_t *column = rows->column;
    int8_t *y = rows->y;
    int32_t left, kx, ky;
    for (left = rows->columns; left > 0; left--, y += rows->next_column, column += next * window->stride[KT_X]) {
        const int8_t *weight = (const int8_t *)rows->weights;
        const uint32_t *tap_column = column;
        uint32_t words[2] = {0, 0};
        for (kx = 0; kx < kernel_width; kx++, tap_column += dilation_x) {
            const uint32_t *tap = tap_column;
            for (ky = 0; ky < kernel_height; ky++, tap += dilation_y) {
                const uint32_t w = (uint32_t)*weight++;
                words[0] += tap[0] * w;
                words[1] += tap[1] * w;
            }
        }
        kt_three_results(words, y, &scale, negative);
    }
}

#if KT_ARMV6M
enum { KT_ROWS_AT_ONCE = 8 };

/* The same of 3x3 windows whose rows are not dilated, for `count` neighbouring rows. */
KT_INLINE void kt_results_of_columns(const kt_triple_rows *rows, const kt_window *window, int32_t count, int32_t negative)
{
    const int8_t *const weights = (const int8_t *)rows->weights;
    const int32_t *const epilogue = rows->weights + 3;
    const kt_triple_scale scale = kt_triple_scale_of(rows->bias, epilogue, rows->second, rows->third);
    const int32_t next = rows->column_bytes * window->dilation[KT_X], three = 3 * KT_ROW_WORDS * (int32_t)sizeof(uint32_t);
    const int32_t step = KT_ROW_WORDS * window->stride[KT_Y];
    const uint32_t *column = rows->column;
    uint32_t words[2 * KT_ROWS_AT_ONCE];
    int32_t taps[9];
    kt_triple_windows_of_rows of_rows = {words, NULL, NULL, taps, next - three, 2 * next + three - step * (int32_t)sizeof(uint32_t)};
    int8_t *y = rows->y;
    int32_t left, row, i;
    for (i = 0; i < 9; i++) {
        taps[i] = weights[i];
    }
    for (left = rows->columns; left > 0; left--, y += rows->next_column, column += rows->column_bytes / 4 * window->stride[KT_X]) {
        int8_t *result = y;
        for (row = 0; row < count; row += KT_ROWS_AT_ONCE) {
            const int32_t part = kt_minimum(count - row, KT_ROWS_AT_ONCE);
            of_rows.column = column + row * step;
            of_rows.end = words + 2 * part;
            kt_triple_row_words(&of_rows);
            for (i = 0; i < part; i++, result += rows->next_row) {
                kt_three_results(words + 2 * i, result, &scale, negative);
            }
        }
    }
}
#endif

/* Kernel rows that kt_triple_window_words takes: an odd number, of which the last is 0 where a window has an even one. */
static inline int32_t kt_tapped_height(const kt_window *window)
{
    const int as_is = !KT_ARMV6M && window->stride[KT_Y] == 2; /* of kt_triple_strided_words */
    return as_is ? window->kernel[KT_Y] : window->kernel[KT_Y] | 1;
}

/* Whether neighbouring rows, as many as KT_TAPPED_ROWS, have kernels of their own (triple_rows.h): of windows that are not dilated, in one row at a
 * time or with a stride of at most two. */
KT_INLINE int kt_has_tapped_rows(const kt_window *window)
{
    const int32_t height = kt_tapped_height(window);
    const int copied = KT_ARMV6M || height != window->kernel[KT_Y];
    const int fits = !copied || height * window->kernel[KT_X] <= KT_MOST_TAPS;
    return window->dilation[KT_Y] == 1 && window->kernel[KT_Y] > 1 && fits && (KT_TAPPED_ROWS == 1 || window->stride[KT_Y] <= 2);
}

/* Weights in the order and number that windows of `height` kernel rows read them. */
static inline void kt_copy_taps(kt_triple_tap *taps, const int8_t *weights, const kt_window *window, int32_t height)
{
    int32_t kx, ky;
    for (kx = 0; kx < window->kernel[KT_X]; kx++) {
        for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
            *taps++ = *weights++;
        }
        for (; ky < height; ky++) {
            *taps++ = 0;
        }
    }
}

/* Windows that follow each other: words from one to the next, and bytes between their results. */
typedef struct {
    int32_t count, words, bytes;
} kt_triple_walk;

/* The first rows of a group of such windows, as many as are neighbours in whole numbers of KT_TAPPED_ROWS; returns how many. Goes along the rows or
 * down the columns, whichever are longer. */
static __attribute__((noinline)) int32_t kt_tapped_rows(kt_triple_rows *rows, const kt_window *window, int32_t left, int32_t size, int32_t negative)
{
    const kt_triple_scale scale = kt_triple_scale_of(rows->bias, rows->weights + (size + 3) / 4, rows->second, rows->third);
    const int32_t next = rows->column_bytes / (int32_t)sizeof *rows->column;
    const kt_triple_walk down = {left / KT_TAPPED_ROWS, KT_TAPPED_ROWS * KT_ROW_WORDS * window->stride[KT_Y], KT_TAPPED_ROWS * rows->next_row};
    const kt_triple_walk along = {rows->columns, next * window->stride[KT_X], rows->next_column};
    const kt_triple_walk outer = down.count > along.count ? along : down, inner = down.count > along.count ? down : along;
    const int32_t height = kt_tapped_height(window);
    kt_triple_taps window_of = {NULL, rows->weights, rows->column_bytes * window->dilation[KT_X], window->kernel[KT_X], height};
    kt_triple_tap taps[KT_MOST_TAPS];
    int32_t i, k, row;
    if (KT_ARMV6M || height != window->kernel[KT_Y]) {
        kt_copy_taps(taps, (const int8_t *)rows->weights, window, height);
        window_of.weights = taps;
    }
    for (i = 0; i < outer.count; i++) {
        int8_t *y = rows->y + i * outer.bytes;
        window_of.column = rows->column + i * outer.words;
        for (k = inner.count; k > 0; k--, window_of.column += inner.words, y += inner.bytes) {
            uint32_t words[KT_TAPPED_ROWS * KT_ROW_WORDS];
#if !KT_ARMV6M
            if (window->stride[KT_Y] == 2) {
                kt_triple_strided_words(words, &window_of);
            } else {
                kt_triple_window_words(words, &window_of);
            }
#else
            kt_triple_window_words(words, &window_of);
#endif
            for (row = 0; row < KT_TAPPED_ROWS; row++) {
                kt_three_results(words + KT_ROW_WORDS * row, y + row * rows->next_row, &scale, negative);
            }
        }
    }
    rows->column += down.count * down.words;
    rows->y += down.count * down.bytes;
    return down.count * KT_TAPPED_ROWS;
}

/* Rows of 3x3 windows with a stride of two, two at a time; an odd row at the end is taken with the one before it, for the second time. */
KT_INLINE void kt_strided_pairs(kt_triple_rows *rows, int32_t words, int32_t left, kt_triple_rows_kernel *strided)
{
    for (;;) {
        int32_t step;
        strided(rows);
        left -= 2;
        if (left <= 0) {
            return;
        }
        step = kt_minimum(left, 2);
        rows->column += words * step;
        rows->y += rows->next_row * step;
        left += 2 - step;
    }
}

/* Kernels of 3x3 windows: of two and three rows, and of two of a stride of two; NULL where there are none. */
typedef struct {
    kt_triple_rows_kernel *two, *three, *strided;
} kt_triple_small_kernels;

#define KT_SMALL_KERNELS(rounding) \
    { \
        KT_TWO_ROWS(rounding), KT_THREE_ROWS(rounding), KT_STRIDED_ROWS(rounding) \
    }

/* weights: of the channel, with its requantisation behind them; bias: what its sums start from. */
KT_INLINE void kt_results_of_band(const kt_triple_band *band, const int32_t *weights, int32_t bias, int32_t negative, kt_triple_small_kernels kernels)
{
    const kt_window *const window = &band->view.window;
    const int32_t line = band->view.line;
    const int32_t size = window->kernel[KT_Y] * window->kernel[KT_X];
    const int32_t small = window->kernel[KT_Y] == 3 && window->kernel[KT_X] == 3;
    const int32_t whole = small && window->dilation[KT_Y] == 1 && window->dilation[KT_X] == 1 && kernels.three != NULL && band->group > 1;
    const int32_t words = KT_ROW_WORDS * window->stride[KT_Y];
    kt_triple_rows rows = kt_rows_of_band(band, weights, bias);
    int32_t left = band->group;
    if (whole && window->stride[KT_Y] == 2 && window->stride[KT_X] == 2) {
        rows.bias = bias * 256;
        kt_strided_pairs(&rows, words, left, kernels.strided);
        return;
    }
    if (whole && window->stride[KT_Y] == 1 && window->stride[KT_X] == 1) {
        rows.bias = bias * 256;
        while (left > 0) {
            const int32_t count = left == 2 || left == 4 ? 2 : 3;
            (count == 2 ? kernels.two : kernels.three)(&rows);
            left -= count;
            rows.column += words * count;
            rows.y += line * count;
        }
        return;
    }
#if KT_ARMV6M
    if (small && window->dilation[KT_Y] == 1) {
        kt_results_of_columns(&rows, window, left, negative);
        return;
    }
#endif
    if (!small && kt_has_tapped_rows(window)) {
        left -= kt_tapped_rows(&rows, window, left, size, negative);
    }
    for (; left > 0; left--, rows.column += words, rows.y += line) {
        if (small) {
            kt_results_of_rows(&rows, window, 3, 3, 9, negative);
        } else {
            kt_results_of_rows(&rows, window, window->kernel[KT_Y], window->kernel[KT_X], size, negative);
        }
    }
}

/* The band of result rows from `first` on. */
static inline void kt_triple_place(kt_triple_band *band, int32_t first)
{
    const kt_window *const window = &band->view.window;
    band->first = first;
    band->rows = kt_minimum(band->params->rows, window->output[KT_Y] - first);
    band->group = (band->rows + 2) / 3;
    band->second = kt_minimum(band->group, band->rows - band->group);
    band->third = band->rows - band->group;
    band->height = (band->group - 1) * window->stride[KT_Y] + (window->kernel[KT_Y] - 1) * window->dilation[KT_Y] + 1;
}

/* Words of a channel's weights. */
static inline int32_t kt_words_of_taps(const kt_window *window)
{
    return (window->kernel[KT_Y] * window->kernel[KT_X] + 3) / 4;
}

/* The weights of the band's channel, and what its sums start from. */
static inline const int32_t *kt_band_weights(const kt_triple_band *band)
{
    return band->params->stream + band->channel * (kt_words_of_taps(&band->view.window) + 3);
}

static inline int32_t kt_band_bias(const kt_triple_band *band, const int32_t *bias)
{
    const kt_triple_depthwise_params *const params = band->params;
    const int32_t c = band->channel;
    return params->fold == NULL ? bias[c] : params->fold[c] + kt_clamp(bias[c], -params->bias_limit, params->bias_limit);
}

/* The results of one channel of a band whose plane is filled. */
typedef void kt_band_results(const void *context, const kt_triple_band *band);

/* All channels of all bands of a view. band: where its plane is. */
KT_INLINE void kt_walk_triple_view(kt_triple_band band, const void *context, kt_band_results *results)
{
    const kt_window *const window = &band.view.window;
    const int32_t channels = window->output[KT_CHANNELS], height = window->output[KT_Y], rows = band.params->rows;
    const int32_t direction = kt_direction(band.view.x, band.view.y);
    const int32_t bands = (height + rows - 1) / rows;
    const int in_place = band.view.x == band.view.y && window->input[KT_Y] == height && window->input[KT_X] == window->output[KT_X];
    int32_t index = kt_first(direction, bands), left;
    kt_triple_place(&band, 0);
    if (in_place && bands > 1) {
        const int32_t columns = window->output[KT_X] - 1 + (window->kernel[KT_X] - 1) * window->dilation[KT_X] + 1;
        band.kept = (int8_t *)(band.plane + KT_ROW_WORDS * columns * band.height);
    }
    for (left = bands * channels; left > 0; left--) {
        kt_triple_place(&band, index * rows);
        kt_fill_plane(&band);
        if (band.kept != NULL) {
            kt_keep_rows(&band);
            band.keeps = window->pad[KT_Y];
        }
        results(context, &band);
        if (in_place) { /* a channel after the other: each is overwritten by itself alone */
            index++;
            if (index == bands) {
                index = band.keeps = 0;
                band.channel++;
            }
        } else {
            band.channel++;
            if (band.channel == channels) {
                band.channel = 0;
                index += direction;
            }
        }
    }
}

/* All of a layer, one phase after the other. */
KT_INLINE void kt_walk_triple_bands(const kt_triple_depthwise_params *params, const int8_t *x, int8_t *y, void *scratch, const void *context,
                                    kt_band_results *results)
{
    const kt_view whole = kt_view_of(&params->window, x, y);
    kt_triple_band band = {params, whole, scratch, NULL, 0, 0, 0, 0, 0, 0, 0, 0};
    kt_phase phase = {0, 0};
    while (kt_next_phase(&band.view, &whole, &phase)) {
        kt_walk_triple_view(band, context, results);
    }
}

#endif
