/* Gradient of DEPTHWISE_CONV_2D to its input.
 *
 *     dx[k] = saturate8(shift_round(sum over windows and the results c of channel k of G'[c] * w[tap, c], shift)),
 *     G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 *
 * Both roundings are half up. Where pairs of values are multiplied at once, four channels at a time are as fast as pieces, with less code. */
#include "depthwise_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

#include "gradient_pieces.h"

/* One row of results of one channel. */
static __attribute__((noinline)) void kt_row_of_piece(const int32_t *g, const int32_t weights[KT_TAPS * KT_TAPS], int32_t columns, int32_t shift,
                                                      int32_t channels, int8_t *result)
{
    int32_t sums[KT_TAPS];
    for (; columns >= KT_TAPS; columns -= KT_TAPS, g += KT_TAPS) {
        kt_three_of_piece(g, weights, sums);
        *result = kt_piece_result(sums[0], shift);
        result += channels;
        *result = kt_piece_result(sums[1], shift);
        result += channels;
        *result = kt_piece_result(sums[2], shift);
        result += channels;
    }
    if (columns > 0) {
        kt_two_of_piece(g, weights, sums);
        *result = kt_piece_result(sums[0], shift);
        if (columns > 1) {
            result[channels] = kt_piece_result(sums[1], shift);
        }
    }
}

/* The results of a piece of one channel, `line` from row to row. */
static void kt_channel_of_piece(const kt_gradient_piece *piece, int32_t scaled[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED],
                                const int32_t weights[KT_TAPS * KT_TAPS], int32_t shift, int32_t channels, int32_t line, int8_t *result)
{
    const int32_t columns = piece->columns, lead = piece->from & 1;
    int32_t row;
    for (row = 0; row < piece->rows; row++, result += line) {
        const int8_t *const *met = piece->row + row;
        if (piece->stride == 1) {
            kt_row_of_piece(scaled[row], weights, columns, shift, channels, result);
        } else if (met[1] != NULL) { /* and neither of the others */
            kt_strided_row(scaled[row + 1], weights + KT_TAPS, lead, columns, shift, channels, result);
        } else {
            kt_strided_row_between(scaled[row], weights, lead, columns, shift, channels, result);
        }
    }
}

/* A piece, channel by channel. */
static void kt_compute_piece(const kt_depthwise_input_gradient_params *params, const int8_t *g, kt_gradient_piece *piece, int8_t *dx, int8_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], line = piece->columns * channels;
    int32_t scaled[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED];
    int32_t weights[KT_TAPS * KT_TAPS];
    int32_t c, row;
    memset(scaled, 0, sizeof scaled);
    kt_place_rows(window, g, piece);
    for (c = 0; c < channels; c++) {
        kt_turn_taps(params->weights + c, channels, weights);
        kt_scale_piece(piece, channels, c, params->prescale[c], params->prescale_shift, scaled);
        kt_channel_of_piece(piece, scaled, weights, params->shift - 1, channels, line, scratch + c);
    }
    for (row = 0; row < piece->rows; row++) {
        memcpy(dx + ((piece->y + row) * window->input[KT_X] + piece->x) * channels, scratch + row * line, (size_t)line);
    }
}

/* Narrow images: two whole rows at a time; others: pieces of a row. */
static void kt_compute_pieces(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t direction = kt_direction(g, dx);
    const int32_t step = width <= 8 ? 2 : 1, pieces = (width + KT_DEPTHWISE_COLUMNS - 1) / KT_DEPTHWISE_COLUMNS;
    int32_t y, i;
    for (y = direction > 0 ? 0 : (height - 1) / step * step; kt_within(y, height); y += direction * step) {
        for (i = kt_first(direction, pieces); kt_within(i, pieces); i += direction) {
            const int32_t x = i * width / pieces;
            kt_gradient_piece piece = {y, kt_minimum(step, height - y), x, (i + 1) * width / pieces - x, {NULL}, 0, 0, 0};
            kt_compute_piece(params, g, &piece, dx, scratch);
        }
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    if (!KT_SMALL_DSP && kt_has_pieces(params)) {
        kt_compute_pieces(params, g, dx, scratch);
    } else {
        kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
    }
}

#endif
