/* Gradient of DEPTHWISE_CONV_2D with a trained delta V to its input.
 *
 *     dx[k] = saturate8(shift_round(frozen[k] + requantize(sum over windows and the results c of channel k of
 *             g[c] * V[tap, c]), shift)), frozen the sums of depthwise_input_gradient.h
 *
 * The delta's share is brought to units of the frozen sums (rounded twice, +-2^30), the total saturates at int32. */
#include "depthwise_delta_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"
#include "gradient_pieces.h"

#if !KT_DSP && !KT_VECTOR

/* What the share of the delta is made of; shift: with the delta's exponent. */
typedef struct {
    const kt_gain *gain;
    const int8_t *g;
    const int8_t *delta;
    int32_t shift;
} kt_delta_share;

/* One row of results of one channel; taps: of the frozen weights, and of the delta. */
static void kt_row_with_delta(const kt_depthwise_input_gradient_params *params, const int32_t *frozen, const int32_t *added,
                              int32_t taps[2][KT_TAPS * KT_TAPS], int32_t columns, int32_t shift, int8_t *result)
{
    const int32_t channels = params->window.input[KT_CHANNELS], multiplier = params->path_multiplier, down = params->shift - 1;
    int32_t i;
    for (; columns > 0; columns -= KT_TAPS, frozen += KT_TAPS, added += KT_TAPS) {
        int32_t sums[KT_TAPS], shares[KT_TAPS];
        kt_three_of_piece(frozen, taps[0], sums);
        kt_three_of_piece(added, taps[1], shares);
        for (i = 0; i < kt_minimum(columns, KT_TAPS); i++, result += channels) {
            *result = shift < 0 && shift > -32 ? kt_piece_result(kt_add_saturated(sums[i], kt_requantize_right(shares[i], multiplier, -shift)), down)
                                               : kt_depthwise_delta_result(params, sums[i], shares[i], shift);
        }
    }
}

static void kt_delta_piece(const kt_depthwise_input_gradient_params *params, const void *context, const kt_gradient_piece *piece, int8_t *results)
{
    const kt_delta_share *const share = context;
    const int32_t channels = params->window.input[KT_CHANNELS], line = piece->columns * channels;
    int32_t scaled[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED], plain[KT_PIECE_ROWS + KT_TAPS - 1][KT_SCALED];
    int32_t taps[2][KT_TAPS * KT_TAPS];
    kt_gradient_piece own = *piece;
    int32_t c, row;
    kt_place_rows(&params->window, share->g, &own);
    memset(scaled, 0, sizeof scaled);
    memset(plain, 0, sizeof plain);
    for (c = 0; c < channels; c++) {
        const int32_t column = params->rows == NULL ? c : params->rows[c];
        kt_turn_taps(params->weights + c, channels, taps[0]);
        kt_scale_piece(piece, channels, c, kt_gained(params->prescale[c], share->gain, c), params->prescale_shift, scaled);
        if (column >= 0) {
            kt_turn_taps(share->delta + column, params->columns, taps[1]);
            kt_scale_piece(&own, channels, c, INT32_C(1) << params->prescale_shift, params->prescale_shift, plain);
        } else {
            memset(taps[1], 0, sizeof taps[1]);
        }
        for (row = 0; row < piece->rows; row++) {
            kt_row_with_delta(params, scaled[row], plain[row], taps, piece->columns, share->shift, results + row * line + c);
        }
    }
}

void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    const int32_t path_shift = params->path_shift + *delta_exponent;
    if (kt_has_pieces(params)) {
        const kt_delta_share share = {&trained, delta_g, delta, path_shift};
        kt_compute_pieces(params, g, &share, dx, scratch, kt_delta_piece);
    } else {
        kt_depthwise_delta_walk(params, g, &trained, delta_g, delta, path_shift, dx, (int32_t *)scratch);
    }
}

#endif
