/* SQUARED_DIFFERENCE of two int8 tensors: both brought to a common scale with 7 extra bits; the square has at most 31
 * bits.
 *
 * Source: TensorFlow Lite Micro; every requantisation rounds twice. */
#include "squared_difference.h"
#include "half_scale.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

static void square_half(const kt_squared_difference_params *params, int exact, const int8_t *half, const int8_t *other, int8_t *y)
{
    const kt_half_terms terms = kt_half_terms_of(params->input_offset, params->multiplier, params->shift, exact, 1 << 7);
    const int32_t last = params->multiplier[2], down = -params->shift[2], zero_point = params->output_offset;
    int32_t i;
    for (i = 0; i < params->size; i++) {
        const int32_t difference = kt_exact_term(&terms, half[i]) - kt_other_term(&terms, other[i]);
        y[i] = (int8_t)kt_clamp(kt_requantize_right(difference * difference, last, down) + zero_point, -128, 127);
    }
}

void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other,
                              int8_t *y)
{
    if (kt_has_half(params->multiplier, params->shift, 0)) {
        square_half(params, 0, x, other, y);
    } else if (kt_has_half(params->multiplier, params->shift, 1)) {
        square_half(params, 1, other, x, y);
    } else {
        kt_squared_difference_from(params, x, other, y, 0);
    }
}

#endif
