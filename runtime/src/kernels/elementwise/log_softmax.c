/* LOG_SOFTMAX over the last axis, int8 to int8, in gemmlowp's fixed point.
 *
 *     y[i] = 16 * (x[i] - max - ln sum_j exp(x[j] - max)) + 127
 *
 * Source: TensorFlow Lite Micro. */
#include "softmax.h"

enum { OUTPUT_BITS = 4, LOGARITHM_UNIT = 30 - DIFFERENCE_BITS };

/* Of x in (0, 1], without integer bits; the result has two. */
static int32_t divided(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t y = 1515870810 + kt_high_multiply(half, -1010580540);
    int32_t i;
    for (i = 0; i < 3; i++) {
        const int32_t error = (INT32_C(1) << 29) - kt_high_multiply(half, y);
        y = y + kt_shift_left_saturated(kt_high_multiply(y, error), 2);
    }
    return kt_shift_left_saturated(y, 1);
}

/* ln x of x >= 1 in 1/2^19, in 1/2^26. x = r 2^z with r near 2^(-1/4); ln r is a quotient of polynomials. */
static int32_t logarithm(int32_t x)
{
    const int32_t sqrt_half = 1518500250, centre = 1805811301;
    const int32_t quarter = kt_divide_by_power(INT32_C(1) << 29, DIFFERENCE_BITS + 1);
    const int32_t zeros = 32 - kt_bit_length((uint32_t)x);
    const int32_t halved = 31 - kt_bit_length((uint32_t)kt_high_multiply(x, sqrt_half));
    const int32_t first = kt_shift_left_saturated(kt_high_multiply(kt_shift_left_saturated(x, zeros - 1), sqrt_half),
                                                  1);
    const int32_t r = kt_minimum(first, kt_shift_left_saturated(x, halved));
    const int32_t z = kt_maximum(kt_shift_left_saturated(SUM_BITS - zeros, LOGARITHM_UNIT) + quarter,
                                 kt_shift_left_saturated(SUM_BITS - halved, LOGARITHM_UNIT) - quarter);
    const int32_t p = (int32_t)(((int64_t)r + centre + 1) >> 1), q = 2 * (r - centre);
    const int32_t square = kt_high_multiply(q, q);
    const int32_t numerator = kt_high_multiply(q, r) + kt_high_multiply(kt_high_multiply(q, square), 117049297);
    const int32_t slope = 1057819769 + q + kt_high_multiply(127690142, square);
    const int32_t denominator = kt_high_multiply(p, slope) + kt_high_multiply(638450708, q);
    const int32_t quotient = kt_high_multiply(kt_divide_by_power(numerator, DIFFERENCE_BITS + 1), divided(denominator));
    return kt_shift_left_saturated(kt_high_multiply(z, 1488522236) + quotient, 1);
}

void kt_log_softmax_s8(const kt_log_softmax_params *params, const int8_t *x, int8_t *y)
{
    const kt_softmax_params *const scaling = &params->row;
    const int32_t depth = scaling->depth;
    int32_t r, i;
    for (r = 0; r < scaling->rows; r++, x += depth, y += depth) {
        int32_t largest = -128, sum = 0;
        int32_t log_sum, least;
        for (i = 0; i < depth; i++) {
            largest = kt_maximum(largest, x[i]);
        }
        for (i = 0; i < depth; i++) {
            if (x[i] - largest >= scaling->smallest) {
                sum += kt_divide_by_power(scaled_exp(scaling, x[i] - largest), SUM_BITS);
            }
        }
        log_sum = logarithm(sum);
        least = kt_requantize(log_sum + INT32_MIN, params->reverse_multiplier, params->reverse_shift);
        least = kt_maximum(scaling->smallest - 1, least);
        for (i = 0; i < depth; i++) {
            const int32_t difference = x[i] - largest;
            int32_t value = -128;
            if (difference > least) {
                value = kt_high_multiply(kt_shift_left_saturated(difference, scaling->shift), scaling->multiplier);
                value = kt_divide_by_power(value - log_sum, 31 - DIFFERENCE_BITS - OUTPUT_BITS) + 127;
            }
            y[i] = (int8_t)kt_clamp(value, -128, 127);
        }
    }
}
