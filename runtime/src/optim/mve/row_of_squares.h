/* row_of_squares.h: the squares of a row's gradient on cores with Helium: four products at once. */
#ifndef KT_OPTIM_MVE_ROW_OF_SQUARES_H
#define KT_OPTIM_MVE_ROW_OF_SQUARES_H

#include "../four_squares.h"

#define KT_LANES_OF_SQUARES(FACTOR) \
    __asm__("push {r4, lr}\n\t" \
            KT_TAKE_ROW_OF_SQUARES \
            "dlstp.32 lr, r4\n" \
            "1:\n\t" \
            "vldrb.s32 q0, [r1], #4\n\t" \
            "vadd.i32 q0, q0, r2\n\t" \
            "vmul.i32 q0, q0, r3\n\t" \
            KT_ADD_FOUR_SQUARES(FACTOR) \
            "letp lr, 1b\n\t" \
            KT_GIVE_SUM_OF_SQUARES \
            "pop {r4, pc}\n")

/* Adds the squares of a row's elements, in order; all factors are finite, so that lanes beyond the row add 0. count: elements. */
__attribute__((naked, noinline)) static void kt_add_lanes_of_squares(kt_row_of_squares *row)
{
    (void)row;
    KT_LANES_OF_SQUARES(KT_TIMES_FACTOR);
}

/* The same where the factor is 1. */
__attribute__((naked, noinline)) static void kt_add_lanes_of_plain_squares(kt_row_of_squares *row)
{
    (void)row;
    KT_LANES_OF_SQUARES("");
}

/* total + the squares of a row's elements, in order. */
static inline float kt_add_row_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    kt_row_of_squares squares = {s->x, s->offset, s->g[row], params->columns, s->scale.value, s->factor.value, total};
    if (!s->sparse) {
        return kt_add_squares_one_by_one(params, s, row, 0, total);
    }
    if (squares.factor == 1.0f) {
        kt_add_lanes_of_plain_squares(&squares);
    } else {
        kt_add_lanes_of_squares(&squares);
    }
    return squares.total;
}

#endif
