/* ADD of two int8 tensors of one shape: both brought to a common scale with 20 extra bits, added, requantised once.
 *
 * The common scale is twice the larger one, so that each term has at most 28 bits and their sum fits in int32.
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "add.h"
#include "half_scale.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

static void add_half(const kt_add_params *params, int exact, const int8_t *half, const int8_t *other, int8_t *y)
{
    const kt_half_terms terms = kt_half_terms_of(params->input_offset, params->multiplier, params->shift, exact, INT32_C(1) << 20);
    const int32_t last = params->multiplier[2], down = -params->shift[2];
    const int32_t zero_point = params->output_offset, low = params->clamp[0], high = params->clamp[1];
    int32_t i;
    for (i = 0; i < params->size; i++) {
        const int32_t term = kt_other_term(&terms, other[i]);
        y[i] = (int8_t)kt_clamp(kt_requantize_right(kt_exact_term(&terms, half[i]) + term, last, down) + zero_point, low, high);
    }
}

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    if (kt_has_half(params->multiplier, params->shift, 0)) {
        add_half(params, 0, x, other, y);
    } else if (kt_has_half(params->multiplier, params->shift, 1)) {
        add_half(params, 1, other, x, y);
    } else {
        kt_add_from(params, x, other, y, 0);
    }
}

#endif
