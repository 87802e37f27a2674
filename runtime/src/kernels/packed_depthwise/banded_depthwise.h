/* banded_depthwise.h: depthwise convolutions with a 3x3 window, a band of rows at a time.
 *
 * A band reads the rows of four channels, writes its results, and goes on with the next four. Where result and input are one buffer, a
 * channel's results lie over nothing but what was read for them, and the last row of a band is kept for the next one (the halo).
 * Otherwise the results of a whole band may not lie over what it reads; bands are taken forwards or backwards, as positions are elsewhere. */
#ifndef KT_BANDED_DEPTHWISE_H
#define KT_BANDED_DEPTHWISE_H

#include "kt/kernels/packed_depthwise.h"
#include "../../product/band.h"
#include "../packed_convolution/packed_gain.h"
#include "../convolution/input_gradient.h"
#include "../window.h"

/* A gradient is scaled while it is unzipped: (g * m + half) >> shift, m [channels]. Values of a layer are taken as they are (NULL). factor: of
 * the four channels at hand, m << (16 - shift), with which the result stands in the high half. gain: of m, or NULL. */
typedef struct {
    const int16_t *prescale;
    const kt_gain *gain;
    int32_t shift;
    int32_t factor[4];
} kt_scaling;

enum { KT_HALF = 1 << 15 };

/* Two columns of four channels as one word a channel, scaled. */
KT_INLINE void kt_unzip_scaled(int32_t *words, const int8_t *left, const int8_t *right, int32_t inputs,
                               const kt_scaling *scaling)
{
    const int32_t f0 = scaling->factor[0], f1 = scaling->factor[1], f2 = scaling->factor[2], f3 = scaling->factor[3];
    words[0] = kt_pair_of_high(kt_add_product(KT_HALF, left[0], f0), kt_add_product(KT_HALF, right[0], f0));
    words[inputs] = kt_pair_of_high(kt_add_product(KT_HALF, left[1], f1), kt_add_product(KT_HALF, right[1], f1));
    words[2 * inputs] = kt_pair_of_high(kt_add_product(KT_HALF, left[2], f2), kt_add_product(KT_HALF, right[2], f2));
    words[3 * inputs] = kt_pair_of_high(kt_add_product(KT_HALF, left[3], f3), kt_add_product(KT_HALF, right[3], f3));
}

/* Two columns of four channels as one word a channel. */
KT_INLINE void kt_unzip_pair(int32_t *words, const int8_t *left, const int8_t *right, int32_t inputs,
                               const kt_scaling *scaling)
{
#if KT_DSP
    uint32_t l, r, low, high;
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, inputs, scaling);
        return;
    }
    memcpy(&l, left, 4);
    memcpy(&r, right, 4);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(l), "r"(r));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(r), "r"(l));
    __asm__("sxtb16 %0, %1" : "=r"(words[0]) : "r"(low));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(words[inputs]) : "r"(low));
    __asm__("sxtb16 %0, %1" : "=r"(words[2 * inputs]) : "r"(high));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(words[3 * inputs]) : "r"(high));
#else
    int32_t c;
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, inputs, scaling);
        return;
    }
    for (c = 0; c < 4; c++) {
        words[c * inputs] = kt_pair_of(left[c], right[c]);
    }
#endif
}

/* Column pairs of a row of the buffer, from left to right: outside the image, cut by its left border, inside, cut by its right border,
 * outside again. */
typedef struct {
    int32_t before, cut_left, inside, cut_right, after;
} kt_columns;

static inline kt_columns kt_columns_of(const kt_window *window)
{
    const int32_t width = window->input[KT_X];
    const int32_t tiles = (window->output[KT_X] + 1) / 2;
    const int32_t pairs = tiles * window->stride[KT_X] + 1;
    const int32_t pad = kt_maximum(window->pad[KT_X], 0);
    kt_columns columns;
    int32_t left;
    columns.before = kt_minimum(pad / 2, pairs);
    columns.cut_left = kt_minimum(pad % 2, pairs - columns.before);
    left = pairs - columns.before - columns.cut_left;
    columns.inside = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) / 2, left);
    left -= columns.inside;
    columns.cut_right = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) % 2, left);
    columns.after = left - columns.cut_right;
    return columns;
}

static inline int32_t kt_columns_count(const kt_columns *columns)
{
    return columns->before + columns->cut_left + columns->inside + columns->cut_right + columns->after;
}

KT_INLINE int32_t *kt_outside_pairs(int32_t *words, int32_t value, int32_t count, int32_t inputs)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; count > 0; count--, words += 4 * inputs) {
        words[0] = pair;
        words[inputs] = pair;
        words[2 * inputs] = pair;
        words[3 * inputs] = pair;
    }
    return words;
}

/* Rows of one column pair; left, right: its two columns in the first of them, each with the bytes from row to row. */
KT_INLINE void kt_unzip_rows(int32_t *words, const int8_t *left, int32_t left_step, const int8_t *right,
                             int32_t right_step, int32_t rows, int32_t inputs, const kt_scaling *scaling)
{
    for (; rows > 0; rows--, left += left_step, right += right_step, words++) {
        kt_unzip_pair(words, left, right, inputs, scaling);
    }
}

/* Rows inside the image of four channels; x points to the first of them in the first row and the first column that is read. step, line: bytes
 * from column to column and from row to row. */
KT_INLINE void kt_unzip_inside(const kt_columns *columns, const int8_t *x, int32_t step, int32_t line, const int8_t *outside,
                               int32_t *words, int32_t rows, int32_t inputs, const kt_scaling *scaling)
{
    int32_t i;
    for (i = 0; columns->before > 0 && i < rows; i++) {
        kt_outside_pairs(words + i, *outside, columns->before, inputs);
    }
    words += columns->before * 4 * inputs;
    if (columns->cut_left) {
        kt_unzip_rows(words, outside, 0, x, line, rows, inputs, scaling);
        words += 4 * inputs;
        x += step;
    }
    for (i = columns->inside; i > 0; i--, x += 2 * step, words += 4 * inputs) {
        kt_unzip_rows(words, x, line, x + step, line, rows, inputs, scaling);
    }
    if (columns->cut_right) {
        kt_unzip_rows(words, x, line, outside, 0, rows, inputs, scaling);
        words += 4 * inputs;
    }
    for (i = 0; columns->after > 0 && i < rows; i++) {
        kt_outside_pairs(words + i, *outside, columns->after, inputs);
    }
}

/* What the bands of a layer share. fold: as in kt_packed_depthwise_params. halo: one row of the input [width][channels], as it was before a
 * band was written; NULL where the result lies elsewhere. */
typedef struct {
    const kt_window *window;
    kt_columns columns;
    int32_t outside;
    const int32_t *stream;
    const int32_t *fold;
    int32_t bias_limit;
    const int8_t *x;
    const int32_t *bias;
    int8_t *y;
    int32_t *words;
    int8_t *halo;
    kt_band_kernel *kernel;
} kt_bands;

/* Four channels of a row of the image, `step` bytes from column to column. */
KT_INLINE void kt_keep_row(int8_t *halo, const int8_t *row, int32_t width, int32_t step)
{
    for (; width > 0; width--, halo += step, row += step) {
        memcpy(halo, row, 4);
    }
}

/* What the sums of four channels start from. */
KT_INLINE const int32_t *kt_band_start(const kt_bands *b, int32_t c, int32_t *folded)
{
    int32_t i;
    if (b->fold == NULL) {
        return b->bias + c;
    }
    for (i = 0; i < KT_QUAD; i++) {
        folded[i] = b->fold[c + i] + kt_clamp(b->bias[c + i], -b->bias_limit, b->bias_limit);
    }
    return folded;
}

/* The stream of four channels with their gains. */
KT_INLINE const int32_t *kt_gained_stream(const int32_t *stream, const kt_gain *gain, int32_t c, int32_t *own)
{
    int32_t i;
    for (i = 0; i < KT_QUAD; i++) {
        int32_t *const words = own + i * KT_BAND_STREAM;
        words[0] = stream[0], words[1] = stream[1], words[2] = stream[2];
        kt_gained_epilogue(stream + 3, gain, c + i, words + 3);
        stream += KT_BAND_STREAM;
    }
    return own;
}

/* The factors of four channels of a gradient. */
KT_INLINE void kt_set_factors(kt_scaling *scaling, int32_t c)
{
    int32_t i;
    for (i = 0; i < KT_QUAD; i++) {
        const int32_t m = kt_gained(scaling->prescale[c + i], scaling->gain, c + i);
        scaling->factor[i] = m * (INT32_C(1) << (16 - scaling->shift));
    }
}

#if KT_VECTOR
#include "vector/band_rows.h"
#endif

/* The band of `rows` result rows from oy on, every channel. scaling: of a gradient, whose kernel takes one shift in place of biases. gain: of
 * the layer, or NULL. */
KT_INLINE void kt_banded_rows(const kt_bands *b, int32_t oy, int32_t rows, int32_t inputs, const kt_scaling *scaling, const kt_gain *gain)
{
    const kt_window *const window = b->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X];
    const int32_t line = width * channels;
    const int32_t next = window->output[KT_X] * channels;
    const int8_t zero = (int8_t)b->outside;
    const int8_t outside[4] = {zero, zero, zero, zero};
    const int32_t top = oy * window->stride[KT_Y] - window->pad[KT_Y];
    const int32_t read = (rows - 1) * window->stride[KT_Y] + 3;
    const int32_t low = kt_clamp(-top, 0, read), high = kt_clamp(window->input[KT_Y] - top, low, read);
    const int32_t kept = b->halo != NULL && low == 0 ? 1 : 0; /* rows that were overwritten */
    const kt_band band = {channels, rows > 1 ? next : 0, rows > 2 ? 2 * next : 0, rows > 3 ? next : 0,
                          window->output[KT_X] / 2, window->output[KT_X] % 2};
    const int8_t *x = b->x + top * line + kt_maximum(-window->pad[KT_X], 0) * channels;
    const int32_t *stream = b->stream;
    int32_t *const words = b->words;
    kt_scaling own = {NULL, NULL, 0, {0, 0, 0, 0}};
    int32_t c, row;
    if (scaling != NULL) {
        own = *scaling;
    }
    for (c = 0; c < channels; c += KT_QUAD, x += KT_QUAD, stream += KT_QUAD * KT_BAND_STREAM) {
        const kt_scaling *const scale = scaling == NULL ? NULL : &own;
        int32_t folded[KT_QUAD], gained[KT_QUAD * KT_BAND_STREAM];
        const int32_t *const words_of = gain == NULL ? stream : kt_gained_stream(stream, gain, c, gained);
        if (scaling != NULL) {
            kt_set_factors(&own, c);
        }
        for (row = 0; row < low; row++) {
            kt_outside_pairs(words + row, zero, kt_columns_count(&b->columns), inputs);
        }
        if (kept) {
            kt_unzip_inside(&b->columns, b->halo + c, channels, 0, outside, words, 1, inputs, scale);
        }
        row = low + kept;
        kt_unzip_inside(&b->columns, x + row * line, channels, line, outside, words + row, high - row, inputs, scale);
        for (row = high; row < read; row++) {
            kt_outside_pairs(words + row, zero, kt_columns_count(&b->columns), inputs);
        }
        if (b->halo != NULL) {
            kt_keep_row(b->halo + c, b->x + (oy + rows - 1) * line + c, width, channels);
        }
        b->kernel(b->y + oy * next + c, words, words_of, scaling == NULL ? kt_band_start(b, c, folded) : b->bias, &band);
    }
}

/* height: rows of a band; inputs: rows of the buffer, 6 or 5. */
KT_INLINE void kt_walk_bands(kt_bands *b, int32_t height, int32_t inputs, const kt_scaling *scaling, const kt_gain *gain)
{
    const int32_t bands = (b->window->output[KT_Y] + height - 1) / height;
    const int32_t direction = kt_direction(b->x, b->y);
    int32_t band;
    b->columns = kt_columns_of(b->window);
    b->halo = b->x == b->y ? (int8_t *)(b->words + kt_columns_count(&b->columns) * 4 * inputs) : NULL;
    for (band = kt_first(direction, bands); kt_within(band, bands); band += direction) {
        const int32_t oy = band * height;
#if KT_VECTOR
        if (kt_band_has_room(b->window)) {
            kt_vector_rows(b, oy, kt_minimum(b->window->output[KT_Y] - oy, height), scaling, gain);
            continue;
        }
#endif
        kt_banded_rows(b, oy, kt_minimum(b->window->output[KT_Y] - oy, height), inputs, scaling, gain);
    }
}

/* gain: NULL for none. */
KT_INLINE void kt_banded_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch, int32_t inputs, const kt_gain *gain, kt_band_kernel *kernel)
{
    kt_bands b = {&params->window,    {0, 0, 0, 0, 0}, params->outside, params->stream, params->fold,
                  params->bias_limit, x,               bias,            y,              scratch,
                  NULL,               kernel};
    kt_walk_bands(&b, params->rows, inputs, NULL, gain);
}

#endif
