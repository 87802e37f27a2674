/* gradient_pieces.h: the input gradient of 3x3 depthwise windows of stride 1 or 2, one result a channel: a piece of a row of results at a time, or
 * two short rows, channel by channel. Gradients are scaled once a piece. The finished piece lies in the scratch until all channels have been read:
 * the results may lie over g. */
#ifndef KT_GRADIENT_PIECES_H
#define KT_GRADIENT_PIECES_H

#include "../../product/halves.h"
#include "depthwise_input_gradient.h"

enum { KT_TAPS = 3, KT_PIECE_ROWS = 2, KT_SCALED = KT_DEPTHWISE_COLUMNS + 2 + KT_TAPS - 1 };

/* Results: rows [y, y + rows), columns [x, x + columns). row: gradients that the results' windows meet, from the first that exists on, NULL
 * where none does. They stand `stride` apart, from `from` to `end`, among the positions that the windows reach. */
typedef struct {
    int32_t y, rows, x, columns;
    const int8_t *row[KT_PIECE_ROWS + KT_TAPS - 1];
    int32_t stride, from, end;
} kt_gradient_piece;

static inline void kt_place_rows(const kt_window *window, const int8_t *g, kt_gradient_piece *piece)
{
    const int32_t stride = window->stride[KT_X];
    const int32_t left = piece->x + window->pad[KT_X] - (KT_TAPS - 1);
    int32_t row;
    piece->stride = stride;
    piece->from = left < 0 ? -left : stride == 1 ? 0 : left & 1;
    piece->end = kt_clamp((window->output[KT_X] - 1) * stride + 1 - left, 0, piece->columns + KT_TAPS - 1);
    for (row = 0; row < piece->rows + KT_TAPS - 1; row++) {
        const int32_t oy = kt_output_at(window, KT_Y, piece->y, KT_TAPS - 1 - row);
        const int32_t first = (left + piece->from) / stride;
        piece->row[row] = oy < 0 ? NULL : g + (oy * window->output[KT_X] + first) * window->output[KT_CHANNELS];
    }
}

/* G' of one channel, 0 where there is none; `scaled` holds zeros elsewhere, or what was scaled there before. Gradients lie side by side there. */
static __attribute__((noinline)) void kt_scale_piece(const kt_gradient_piece *piece, int32_t channels, int32_t c, int32_t m, int32_t shift,
                                                     int32_t scaled[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED])
{
    const int32_t half = (int32_t)(UINT32_C(1) << (shift - 1)), rows = piece->rows + KT_TAPS - 1;
    const int32_t count = (piece->end - piece->from + piece->stride - 1) / piece->stride;
    int32_t row;
    for (row = 0; row < rows; row++) {
        if (piece->row[row] != NULL) {
            const int8_t *gradient = piece->row[row] + c;
            int32_t *value = scaled[row] + piece->from / piece->stride;
            int32_t *const end = value + count;
            for (; value < end; gradient += channels) {
                *value++ = (*gradient * m + half) >> shift;
            }
        }
    }
}

/* A result of its sum, by a shift of one more. */
KT_INLINE int8_t kt_piece_result(int32_t sum, int32_t shift)
{
    return kt_saturate8(((sum >> shift) + 1) >> 1);
}

/* Sums of three neighbouring results. weights: from the last tap to the first. */
KT_INLINE void kt_three_of_piece(const int32_t *row, const int32_t weights[KT_TAPS * KT_TAPS], int32_t sums[3])
{
    const int32_t *w = weights;
    const int32_t *const end = weights + KT_TAPS * KT_TAPS;
    int32_t first = 0, second = 0, third = 0;
    for (; w != end; w += KT_TAPS, row += KT_SCALED) {
        const int32_t w0 = w[0], w1 = w[1], w2 = w[2];
        int32_t value = row[0];
        first += value * w0;
        value = row[1];
        first += value * w1;
        second += value * w0;
        value = row[2];
        first += value * w2;
        second += value * w1;
        third += value * w0;
        value = row[3];
        second += value * w2;
        third += value * w1;
        third += row[4] * w2;
    }
    sums[0] = first;
    sums[1] = second;
    sums[2] = third;
}

/* The same of two. */
KT_INLINE void kt_two_of_piece(const int32_t *row, const int32_t weights[KT_TAPS * KT_TAPS], int32_t sums[2])
{
    const int32_t *w = weights;
    const int32_t *const end = weights + KT_TAPS * KT_TAPS;
    int32_t first = 0, second = 0;
    for (; w != end; w += KT_TAPS, row += KT_SCALED) {
        const int32_t w0 = w[0], w1 = w[1], w2 = w[2];
        int32_t value = row[1];
        first += row[0] * w0 + value * w1;
        second += value * w0;
        value = row[2];
        first += value * w2;
        second += value * w1 + row[3] * w2;
    }
    sums[0] = first;
    sums[1] = second;
}

/* Two neighbouring results at stride 2, of the gradient in front of both and the one between them; weights: of three taps in a row, from the last to
 * the first. */
KT_INLINE int32_t kt_even_result(int32_t before, int32_t between, const int32_t *weights)
{
    return before * weights[0] + between * weights[2];
}

KT_INLINE int32_t kt_odd_result(int32_t between, const int32_t *weights)
{
    return between * weights[1];
}

/* A row of results at stride 2 that meets one row of gradients; lead: whether the first result is an odd one. */
static __attribute__((noinline)) void kt_strided_row(const int32_t *value, const int32_t *weights, int32_t lead, int32_t columns, int32_t shift,
                                                     int32_t channels, int8_t *result)
{
    int32_t before = *value++;
    if (lead) {
        *result = kt_piece_result(kt_odd_result(before, weights), shift);
        result += channels;
        columns--;
    }
    for (; columns > 0; columns -= 2) {
        const int32_t between = *value++;
        *result = kt_piece_result(kt_even_result(before, between, weights), shift);
        result += channels;
        if (columns > 1) {
            *result = kt_piece_result(kt_odd_result(between, weights), shift);
            result += channels;
        }
        before = between;
    }
}

/* One that meets two, the second of which the first row of taps meets. */
static __attribute__((noinline)) void kt_strided_row_between(const int32_t *value, const int32_t *weights, int32_t lead, int32_t columns, int32_t shift,
                                                             int32_t channels, int8_t *result)
{
    const int32_t *const behind = weights + KT_TAPS * (KT_TAPS - 1);
    int32_t before = value[0], before_behind = value[2 * KT_SCALED];
    if (lead) {
        *result = kt_piece_result(kt_odd_result(before, weights) + kt_odd_result(before_behind, behind), shift);
        result += channels;
        columns--;
    }
    for (value++; columns > 0; columns -= 2, value++) {
        const int32_t between = value[0], between_behind = value[2 * KT_SCALED];
        *result = kt_piece_result(kt_even_result(before, between, weights) + kt_even_result(before_behind, between_behind, behind), shift);
        result += channels;
        if (columns > 1) {
            *result = kt_piece_result(kt_odd_result(between, weights) + kt_odd_result(between_behind, behind), shift);
            result += channels;
        }
        before = between;
        before_behind = between_behind;
    }
}

/* The weights of a channel, `step` from tap to tap, from the last to the first. */
static inline void kt_turn_taps(const int8_t *weights, int32_t step, int32_t taps[KT_TAPS * KT_TAPS])
{
    int32_t i;
    for (i = KT_TAPS * KT_TAPS - 1; i >= 0; i--, weights += step) {
        taps[i] = *weights;
    }
}

static inline int kt_has_pieces(const kt_depthwise_input_gradient_params *params)
{
    const kt_window *const window = &params->window;
    const int32_t stride = window->stride[KT_Y];
    return window->kernel[KT_Y] == KT_TAPS && window->kernel[KT_X] == KT_TAPS && stride == window->stride[KT_X] && (stride == 1 || stride == 2) &&
           window->dilation[KT_Y] == 1 && window->dilation[KT_X] == 1 && params->depth_multiplier == 1 && params->shift > 1 && params->shift < 32;
}

#endif
