/* tiling.h: bands of rows for kernels that go by tiles of two by two results (tiled_depthwise.h).
 *
 * Four channels of a band stand unzipped in a buffer (unzipped_columns.h), in the order of bands and channels of banded_depthwise.h. The weights that
 * tiles meet are made from a stream for four channels at a time. */
#ifndef KT_TILING_H
#define KT_TILING_H

#include "tiled_depthwise.h"

/* Results of windows over x with a stride of 1 or 2. The image of results may be a part of a larger one, as every second of its rows and columns.
 *
 * line, next: bytes from one row of results to the next, and from one column. stream: of the taps, as kt_packed_depthwise_params has it, `quad_words`
 * for four channels; first_tap, tap_step, row_step: words of it to the first tap of a window, from one tap to the next and from one kernel row to the
 * next; tap_rows: kernel rows that have taps, where others multiply by 0; times: bits by which weights are shifted. starts: of the sums, `start_step`
 * words from channel to channel and `start_quad_step` from four to four, which count as times `unit`; epilogues: what results end with, likewise.
 * scaling: of x, or NULL. rows: of a band, even. */
typedef struct {
    kt_window window;
    const int8_t *x;
    int8_t *y;
    int32_t outside, line, next, rows;
    const int32_t *stream;
    int32_t quad_words, first_tap, tap_step, row_step, tap_rows, times;
    const int32_t *starts, *epilogues;
    int32_t start_step, start_quad_step, epilogue_step, epilogue_quad_step, unit;
    const kt_scaling *scaling;
} kt_tiling;

/* Where a tiling works. */
typedef struct {
    kt_columns columns;
    int32_t pairs;        /* words of a row under two neighbouring windows */
    int32_t inputs;       /* rows of the buffer */
    int32_t *weights;     /* of four channels, [4][pairs][kernel rows][2] */
    kt_band_words *words; /* [columns][inputs] */
} kt_tile_buffer;

/* Four channels from c on, of which those from `first` on are written. starts, epilogues: of the first of the four. */
typedef struct {
    const int32_t *starts, *epilogues;
    int32_t c, first, end;
    kt_scaling scaling;
} kt_tiled_quad;

/* Fills the rows of the buffer from `done` on, of which the first is row `top` of x. */
typedef void kt_tile_filling(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done);

/* All results of one tiling, or of several over the same x, whose results are parts of one image: band by band. scratch: that of the largest. */
void kt_walk_tiles(const kt_tiling *tilings, int32_t count, int32_t *scratch, kt_tile_filling *fill, kt_tiled_kernel *kernel);

/* One row of the image under all windows, of fewer than four channels. */
static inline void kt_unzip_few(const kt_tiling *t, const kt_tile_buffer *b, const int8_t *x, kt_band_words *words)
{
    const kt_window *const window = &t->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], pairs = kt_columns_count(&b->columns);
    int32_t ix = -window->pad[KT_X], pair, c;
    for (pair = 0; pair < pairs; pair++, ix += 2, words += b->inputs) {
        int32_t *const word = &words->left.first;
        for (c = 0; c < channels; c++) {
            const int32_t left = kt_within(ix, width) ? x[ix * channels + c] : t->outside;
            const int32_t right = kt_within(ix + 1, width) ? x[(ix + 1) * channels + c] : t->outside;
            word[c] = kt_pair_of(left, right);
        }
    }
}

/* The rows of the buffer from `done` on, of which the first is row `top` of the image. x: its four channels. */
KT_INLINE void kt_fill_tiles(const kt_tiling *t, const kt_tile_buffer *b, const int8_t *x, int32_t top, int32_t done, const kt_scaling *scaling)
{
    const kt_window *const window = &t->window;
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels, pairs = kt_columns_count(&b->columns);
    const int32_t low = kt_clamp(-top, done, b->inputs), high = kt_clamp(window->input[KT_Y] - top, low, b->inputs);
    const int8_t zero = (int8_t)t->outside, outside[KT_QUAD] = {zero, zero, zero, zero};
    int32_t row;
    for (row = done; row < low; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, b->inputs);
    }
    if (channels < KT_QUAD && scaling == NULL) {
        for (; row < high; row++) {
            kt_unzip_few(t, b, x + (top + row) * line, b->words + row);
        }
    } else {
        x += (top + low) * line + kt_maximum(-window->pad[KT_X], 0) * channels;
        kt_unzip_inside(&b->columns, x, channels, line, outside, b->words + low, high - low, b->inputs, scaling);
    }
    for (row = high; row < b->inputs; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, b->inputs);
    }
}

#endif
