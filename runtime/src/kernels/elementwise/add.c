/* ADD of two int8 tensors of one shape: both brought to a common scale with 20 extra bits, added, requantised once.
 *
 * The common scale is twice the larger one, so that each term has at most 28 bits and their sum fits in int32.
 * Source: TensorFlow Lite 8-bit quantisation specification; every requantisation rounds twice. */
#include "add.h"
#include "kt/architecture.h"

#if !KT_DSP && !KT_VECTOR

enum { KT_HALF = 1 << 30 };

/* Whether an operand's scale is half the common one, so that its term is exact. */
static int kt_is_half(const kt_add_params *p, int operand)
{
    return p->multiplier[operand] == KT_HALF && p->shift[operand] == 0;
}

/* Elements of which the operand `exact` is so; the other is shifted right by n > 0, the sum by -shift[2] > 0. An operand that is exact too is
 * taken twice as large and halved. */
static void kt_add_half(const kt_add_params *params, int exact, const int8_t *half, const int8_t *other, int8_t *y)
{
    const int scaled = 1 - exact;
    const int doubled = kt_is_half(params, scaled);
    const int32_t unit = INT32_C(1) << (doubled ? 21 : 20), n = doubled ? 1 : -params->shift[scaled];
    const int32_t half_offset = params->input_offset[exact], offset = params->input_offset[scaled];
    const int32_t multiplier = params->multiplier[scaled], last = params->multiplier[2], down = -params->shift[2];
    const int32_t zero_point = params->output_offset, low = params->clamp[0], high = params->clamp[1];
    int32_t i;
    for (i = 0; i < params->size; i++) {
        const int32_t term = kt_requantize_right((other[i] + offset) * unit, multiplier, n);
        const int32_t sum = (half[i] + half_offset) * (INT32_C(1) << 19) + term;
        y[i] = (int8_t)kt_clamp(kt_requantize_right(sum, last, down) + zero_point, low, high);
    }
}

/* Whether kt_add_half may take the operand `exact`. */
static int kt_adds_half(const kt_add_params *p, int exact)
{
    const int32_t n = kt_is_half(p, 1 - exact) ? 1 : -p->shift[1 - exact], down = -p->shift[2];
    return kt_is_half(p, exact) && n > 0 && n < 32 && down > 0 && down < 32;
}

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    if (kt_adds_half(params, 0)) {
        kt_add_half(params, 0, x, other, y);
    } else if (kt_adds_half(params, 1)) {
        kt_add_half(params, 1, other, x, y);
    } else {
        kt_add_from(params, x, other, y, 0);
    }
}

#endif
