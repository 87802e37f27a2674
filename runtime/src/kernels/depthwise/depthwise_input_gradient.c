/* Gradient of DEPTHWISE_CONV_2D to its input.
 *
 *     dx[k] = saturate8(shift_round(sum over windows and the results c of channel k of G'[c] * w[tap, c], shift)),
 *     G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 *
 * Both roundings are half up. Where pairs of values are multiplied at once, four channels at a time are as fast as pieces, with less code. */
#include "depthwise_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"
#include "gradient_pieces.h"

#if !KT_DSP && !KT_VECTOR

/* One row of results of one channel. */
static void kt_row_of_piece(const int32_t *g, const int32_t weights[KT_TAPS * KT_TAPS], int32_t columns, int32_t shift, int32_t channels, int8_t *result)
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

static void kt_frozen_piece(const kt_depthwise_input_gradient_params *params, const void *context, const kt_gradient_piece *piece, int8_t *results)
{
    const int32_t channels = params->window.input[KT_CHANNELS], line = piece->columns * channels;
    int32_t scaled[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED];
    int32_t weights[KT_TAPS * KT_TAPS];
    int32_t c, row;
    (void)context;
    memset(scaled, 0, sizeof scaled);
    for (c = 0; c < channels; c++) {
        kt_turn_taps(params->weights + c, channels, weights);
        kt_scale_piece(piece, channels, c, params->prescale[c], params->prescale_shift, scaled);
        for (row = 0; row < piece->rows; row++) {
            kt_row_of_piece(scaled[row], weights, piece->columns, params->shift - 1, channels, results + row * line + c);
        }
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    if (!KT_SMALL_DSP && kt_has_pieces(params)) {
        kt_compute_pieces(params, g, NULL, dx, scratch, kt_frozen_piece);
    } else {
        kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
    }
}

#endif
