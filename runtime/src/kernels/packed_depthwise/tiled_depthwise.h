/* tiled_depthwise.h: the windows of one channel for depthwise convolutions with a stride of one or two, two by two results at a time.
 *
 * Of a word of two columns a window that begins at the left one and its neighbour each need a pair of weights, the neighbour's shifted by the
 * stride; each word meets them in the windows of two rows of results. Weights of a layer are times 256, so that sums need no scaling before they
 * are requantised (product.h). */
#ifndef KT_TILED_DEPTHWISE_H
#define KT_TILED_DEPTHWISE_H

#include "packed_depthwise.h"
#include "unzipped_columns.h"

/* What two by two results read: kernel rows, columns of words, bytes from the end of one column to the next, rows from one result to the next. */
typedef struct {
    int32_t rows, columns, gap, stride;
} kt_tile;

/* One channel of a band. words [columns][inputs][4]: of the first result; weights [tile columns][kernel rows][2]; start: of the sums; down, right:
 * words from one tile to the next; width, rows: of the results, which are `line` and `next` bytes apart. */
typedef struct {
    kt_tile tile;
    const int32_t *words, *weights, *epilogue;
    int32_t start, down, right;
    int8_t *y;
    int32_t width, rows, line, next;
} kt_tiled_rows;

typedef void kt_tiled_kernel(const kt_tiled_rows *of);

#if KT_DSP && defined(__OPTIMIZE__) /* too few registers without */
#include "dsp/tile_window.h"
#else
KT_INLINE int32_t kt_add_pair(int32_t sum, int32_t values, int32_t weights)
{
    return sum + kt_low(values) * kt_low(weights) + kt_high(values) * kt_high(weights);
}

KT_INLINE kt_four_sums kt_tile_window(kt_four_sums sums, const int32_t *words, const int32_t *weights, const kt_tile *tile)
{
    const int32_t below = KT_QUAD * tile->stride;
    int32_t column, row;
    for (column = 0; column < tile->columns; column++, words += tile->gap / 4) {
        for (row = 0; row < tile->rows; row++, words += KT_QUAD, weights += 2) {
            sums.a = kt_add_pair(sums.a, words[0], weights[0]);
            sums.b = kt_add_pair(sums.b, words[0], weights[1]);
            sums.c = kt_add_pair(sums.c, words[below], weights[0]);
            sums.d = kt_add_pair(sums.d, words[below], weights[1]);
        }
    }
    return sums;
}

KT_INLINE kt_four_sums kt_line_window(int32_t start, const int32_t *words, const int32_t *weights, int32_t pairs)
{
    const kt_four_sums sums = {start, start, start, start};
    const kt_tile tile = {pairs, 1, 0, 1};
    return kt_tile_window(sums, words, weights, &tile);
}
#endif

enum { KT_OF_GRADIENT = -1 };

/* One result. negative: what a negative sum takes from the addend; KT_OF_GRADIENT: of a gradient, whose sum is shifted. */
KT_INLINE int8_t kt_tile_result(int32_t sum, int32_t multiplier, int32_t addend, int32_t shift, int32_t negative)
{
    return negative == KT_OF_GRADIENT ? kt_saturate8(sum >> shift) : kt_requantize_scaled(sum, multiplier, addend - ((sum >> 31) & negative), shift);
}

/* The results of a line. negative, stride: as below. */
KT_INLINE void kt_lined_results(const kt_tiled_rows *of, int32_t negative, int32_t stride)
{
    const kt_tile tile = {of->tile.rows, 1, 0, stride};
    const int32_t multiplier = of->epilogue[0], addend = of->epilogue[1], shift = of->epilogue[2];
    const int32_t next = of->next, start = of->start, *words = of->words;
    const kt_four_sums starts = {start, start, start, start};
    int8_t *y = of->y;
    int32_t left;
    for (left = of->width; left > 0; left -= KT_QUAD, words += 2 * KT_QUAD * stride) {
        const kt_four_sums sums = stride == 1 ? kt_line_window(start, words, of->weights, tile.rows) : kt_tile_window(starts, words, of->weights, &tile);
        *y = kt_tile_result(sums.a, multiplier, addend, shift, negative);
        y += next;
        if (left == 1) {
            return;
        }
        *y = kt_tile_result(sums.b, multiplier, addend, shift, negative);
        y += next;
        if (left == 2) {
            return;
        }
        *y = kt_tile_result(sums.c, multiplier, addend, shift, negative);
        y += next;
        if (left == 3) {
            return;
        }
        *y = kt_tile_result(sums.d, multiplier, addend, shift, negative);
        y += next;
    }
}

/* Rows of results. negative: as above; stride: between rows, known to the caller. */
KT_INLINE void kt_tiled_results(const kt_tiled_rows *of, int32_t negative, int32_t stride)
{
    const kt_tile tile = {of->tile.rows, of->tile.columns, of->tile.gap, stride};
    const int32_t multiplier = of->epilogue[0], addend = of->epilogue[1], shift = of->epilogue[2];
    const int32_t line = of->line, next = of->next, start = of->start;
    const int32_t *words = of->words;
    int8_t *y = of->y;
    int32_t rows, left;
    for (rows = of->rows; rows > 0; rows -= 2, y += 2 * line, words += of->down) {
        const int32_t *at = words;
        int8_t *result = y;
        for (left = of->width; left > 0; left -= 2, at += of->right, result += 2 * next) {
            kt_four_sums sums = {start, start, start, start};
            sums = kt_tile_window(sums, at, of->weights, &tile);
            result[0] = kt_tile_result(sums.a, multiplier, addend, shift, negative);
            if (left > 1) {
                result[next] = kt_tile_result(sums.b, multiplier, addend, shift, negative);
            }
            if (rows > 1) {
                result[line] = kt_tile_result(sums.c, multiplier, addend, shift, negative);
                if (left > 1) {
                    result[line + next] = kt_tile_result(sums.d, multiplier, addend, shift, negative);
                }
            }
        }
    }
}

#endif
