/* through_time.h: what gradients of recurrent operators share. codegen/kiloc/ops/backward/_through_time.py in C. */
#ifndef KT_RECURRENT_THROUGH_TIME_H
#define KT_RECURRENT_THROUGH_TIME_H

#include <string.h>

#include "kt/numerics.h"

/* How the sums of `gates` gates become the gradient of the state in front of them, as parameters of gradients have it. */
typedef struct {
    int32_t gates;
    const int32_t *prescale;
    int32_t room;
    int32_t multiplier;
    int32_t multiplier_shift;
} kt_backward;

/* 1 - x^2 and x (1 - x) of x in 2^-15, in 2^-31. */
static inline int32_t of_square(int32_t x)
{
    return (1 << 30) - x * x == 1 << 30 ? INT32_MAX : 2 * ((1 << 30) - x * x);
}

static inline int32_t of_product(int32_t x)
{
    return 2 * x * ((1 << 15) - x);
}

/* a * b of b in 2^-15, times c in 2^-31. */
static inline int32_t product(int32_t a, int32_t b, int32_t c)
{
    return kt_high_multiply(kt_high_multiply(a, b * 65536), c);
}

/* The gradient of the hidden state before a step from those of its sums, which are spoilt. recurrent [gates * units, units]. */
static inline void through_recurrent(const kt_backward *p, const int8_t *recurrent, int32_t units, int32_t *sums, int32_t *hidden)
{
    const int32_t rows = p->gates * units;
    uint32_t largest = 0;
    int32_t narrowed, row, unit;
    for (row = 0; row < rows; row++) {
        sums[row] = kt_high_multiply(sums[row], p->prescale[row / units]);
        if (kt_magnitude(sums[row]) > largest) {
            largest = kt_magnitude(sums[row]);
        }
    }
    narrowed = kt_maximum(kt_bit_length(largest) - p->room, 0);
    memset(hidden, 0, (size_t)units * sizeof *hidden);
    for (row = 0; row < rows; row++) {
        const int32_t z = kt_shift_round(sums[row], narrowed);
        for (unit = 0; unit < units; unit++) {
            hidden[unit] += z * recurrent[row * units + unit];
        }
    }
    for (unit = 0; unit < units; unit++) {
        hidden[unit] = kt_requantize(hidden[unit], p->multiplier, p->multiplier_shift + narrowed);
    }
}

#endif
