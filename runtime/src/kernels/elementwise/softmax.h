/* What softmax_s8 and softmax_s16 share: gemmlowp's fixed point.
 *
 * Source: TensorFlow Lite reference kernel for quantised softmax: scaled differences with 5 integer bits, their sum
 * with 12, all products rounded by kt_high_multiply. */
#ifndef KT_SRC_KERNELS_ELEMENTWISE_SOFTMAX_H
#define KT_SRC_KERNELS_ELEMENTWISE_SOFTMAX_H

#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

enum { DIFFERENCE_BITS = 5, SUM_BITS = 12 };

/* exp(-2^k) in 1/2^31 for k = -2 .. 4: the factor of bit 24 + i of a difference. */
static const int32_t exp_of_bit[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};

/* exp(a), a <= 0 with 5 integer bits; result in 1/2^31. A Taylor series around -1/8 for the part below 1/4, then one
 * factor a bit for the rest. */
static inline int32_t exp_negative(int32_t a)
{
    const int32_t quarter = INT32_C(1) << 24;
    const int32_t part = (a & (quarter - 1)) - quarter;
    const int32_t rest = part - a;
    const int32_t x = part * (1 << DIFFERENCE_BITS) + (INT32_C(1) << 28);
    const int32_t x2 = kt_high_multiply(x, x);
    const int32_t x3 = kt_high_multiply(x2, x);
    const int32_t x4 = kt_high_multiply(x2, x2);
    const int32_t cubic = kt_high_multiply(kt_divide_by_power(x4, 2) + x3, 715827883) + x2;
    int32_t result = 1895147668 + kt_high_multiply(1895147668, x + kt_divide_by_power(cubic, 1));
    int32_t i;
    if (a == 0) {
        return INT32_MAX;
    }
    for (i = 0; i < 7; i++) {
        if (rest & (INT32_C(1) << (24 + i))) {
            result = kt_high_multiply(result, exp_of_bit[i]);
        }
    }
    return result;
}

/* 1 / sum as a number in 1/2^31 (Newton's method on the normalised sum); `bits` is the length of the sum. */
static inline int32_t reciprocal(uint32_t sum, int32_t bits)
{
    const int32_t half = (int32_t)((sum << (32 - bits)) >> 1);
    int32_t y = 1515870810 + kt_high_multiply(half, -1010580540);
    int32_t i;
    for (i = 0; i < 3; i++) {
        const int32_t error = (INT32_C(1) << 29) - kt_high_multiply(half, y);
        y = y + kt_shift_left_saturated(kt_high_multiply(y, error), 2);
    }
    return kt_shift_left_saturated(y, 1);
}

/* A function of its own, for it is long and called twice. */
static __attribute__((noinline)) int32_t scaled_exp(const kt_softmax_params *params, int32_t difference)
{
    return exp_negative(kt_high_multiply(kt_shift_left_saturated(difference, params->shift), params->multiplier));
}

/* Of a row: its largest value, and what an exponential is multiplied by, in 1/2^(31 - over). */
typedef struct {
    int32_t largest;
    int32_t scale;
    int32_t over;
} softmax_row;

static inline softmax_row row_of(const kt_softmax_params *params, const int8_t *x)
{
    const int32_t depth = params->depth;
    int32_t largest = -128;
    uint32_t sum = 0;
    int32_t bits, i;
    for (i = 0; i < depth; i++) {
        largest = kt_maximum(largest, x[i]);
    }
    for (i = 0; i < depth; i++) {
        if (x[i] - largest >= params->smallest) {
            sum += (uint32_t)kt_divide_by_power(scaled_exp(params, x[i] - largest), SUM_BITS);
        }
    }
    bits = kt_bit_length(sum);
    return (softmax_row){largest, reciprocal(sum, bits), SUM_BITS - (32 - bits)};
}

/* The probability of a value in 1/2^bits. */
static inline int32_t probability(const kt_softmax_params *params, softmax_row row, int32_t x, int32_t bits)
{
    const int32_t shift = row.over + 31 - bits;
    if (x - row.largest < params->smallest || shift > 31) {
        return 0;
    }
    return kt_divide_by_power(kt_high_multiply(row.scale, scaled_exp(params, x - row.largest)), shift);
}

#endif
