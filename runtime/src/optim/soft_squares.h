/* soft_squares.h: the norm of a streamed gradient on cores without a unit for float32.
 *
 * A sum of squares in float32, rounded after each, is a significand of 24 bits; to tell what one more square adds to it, that square need only be known
 * in 2^-8 of its last bit, unless the sum then lies within a few of these of where its rounding changes. There, and where squares are large beside
 * the sum, the square itself is made, so that all bits are float32's. */
#ifndef KT_OPTIM_SOFT_SQUARES_H
#define KT_OPTIM_SOFT_SQUARES_H

#include "gradient.h"

enum { KT_SQUARE_DOUBT = 4, KT_MOST_SQUARE = 1 << 28, KT_LEAST_SUM = 60 };

/* total    the sum as far as it is not `held`
 * held     its significand, in the upper 24 bits
 * square   that of the significand of the gradient of a product of 1, in 32 bits; unit: the field of its exponent
 * down     by how much a product with it is shifted to bits of `held`; limit: what such a square must be below, 0 where none is to be had */
typedef struct {
    float total;
    uint32_t held, square, limit;
    int32_t unit, down;
} kt_soft_sum;

/* a * b / 2^32, at most 3 less */
KT_INLINE uint32_t kt_upper_words(uint32_t a, uint32_t b)
{
#if KT_ARMV6M
    const uint32_t a1 = a >> 16, a0 = a & 0xFFFF, b1 = b >> 16, b0 = b & 0xFFFF;
    return a1 * b1 + (a1 * b0 >> 16) + (a0 * b1 >> 16);
#else
    return (uint32_t)(((uint64_t)a * b) >> 32);
#endif
}

/* Takes a total, from which squares are added in its bits. Its gradients, their squares beside it and it itself are normal numbers. */
static inline void kt_hold_sum(kt_soft_sum *sum, float total)
{
    const uint32_t bits = kt_float_bits(total);
    const int32_t field = kt_exponent_field(bits);
    sum->total = total;
    sum->held = kt_significand(bits) << 8;
    sum->down = field - 2 * sum->unit + 94;
    sum->limit = sum->unit != 0 && field > KT_LEAST_SUM && field < 255 && sum->down >= 0 && sum->down < 32 ? KT_MOST_SQUARE : 0;
    sum->down &= 31;
}

static inline float kt_held_sum(const kt_soft_sum *sum)
{
    return kt_float_of_bits((kt_float_bits(sum->total) & ~(KT_LEADING_BIT - 1)) | ((sum->held >> 8) & (KT_LEADING_BIT - 1)));
}

/* Adds the square of one element of the gradient. */
static __attribute__((noinline)) void kt_add_square_itself(kt_soft_sum *sum, const kt_streamed *s, int32_t product)
{
    const float gradient = kt_times(kt_add_scaled_sum(0.0f, product, &s->scale), &s->factor), square = gradient * gradient;
    kt_hold_sum(sum, kt_held_sum(sum) + square);
}

/* Adds those of a row. */
static inline void kt_add_row_of_squares(kt_soft_sum *sum, const kt_streamed *s, int32_t row, int32_t columns)
{
    const int8_t *x = s->x, *const end = x + columns;
    const int32_t g = s->g[row];
    for (; x < end; x++) {
        const int32_t product = g * (*x + s->offset);
        if (product != 0 || !s->sparse) {
            const uint32_t term = kt_upper_words((uint32_t)(product * product), sum->square) >> sum->down, next = sum->held + term;
            const uint32_t doubt = KT_SQUARE_DOUBT + (term >> 21);
            if (term < sum->limit && (int32_t)(next + 128) < 0 && (next & 255) - 128 + doubt > 2 * doubt) {
                sum->held = (next + 128) & ~UINT32_C(255);
            } else {
                kt_add_square_itself(sum, s, product);
            }
        }
    }
}

/* The squares of the gradient's elements, summed in order. */
static inline float kt_streamed_squares(const kt_streamed_params *params, const kt_streamed *s)
{
    const uint32_t scale = kt_float_bits(s->scale.value), unit = kt_float_bits(kt_times(s->scale.value, &s->factor));
    const int32_t field = kt_exponent_field(unit);
    const int usual = s->sparse && kt_exponent_field(scale) > 0 && kt_exponent_field(scale) < 255 - 16 && field > 1 && field < 255 - 16;
    kt_soft_sum sum;
    int32_t row;
    sum.unit = usual ? field : 0;
    sum.square = (uint32_t)(((uint64_t)kt_significand(unit) * kt_significand(unit)) >> 16);
    kt_hold_sum(&sum, 0.0f);
    for (row = 0; row < params->rows; row++) {
        if (s->g[row] != 0 || !s->sparse) {
            kt_add_row_of_squares(&sum, s, row, params->columns);
        }
    }
    return kt_held_sum(&sum);
}

#endif
