/* row_of_squares.h: the squares of a streamed gradient's row with the DSP extension and a unit for float32, four elements a turn. Zeros are added like
 * all others: that takes less than passing over them, and changes nothing. */
#ifndef KT_OPTIM_DSP_ROW_OF_SQUARES_H
#define KT_OPTIM_DSP_ROW_OF_SQUARES_H

#include "../four_squares.h"

#define KT_FOURS_OF_SQUARES(FACTOR) \
    __asm__("push {r4-r6, lr}\n\t" \
            KT_TAKE_ROW_OF_SQUARES \
            "1:\n\t" \
            "ldr r5, [r1], #4\n\t" \
            "sxtab16 r6, r2, r5, ror #8\n\t"  /* inputs 1 and 3 */ \
            "sxtab16 r5, r2, r5\n\t"          /* 0 and 2 */ \
            "smulbb r12, r3, r5\n\t" \
            "smulbb lr, r3, r6\n\t" \
            "smulbt r5, r3, r5\n\t" \
            "smulbt r6, r3, r6\n\t" \
            "vmov s0, s1, r12, lr\n\t" \
            "vmov s2, s3, r5, r6\n\t" \
            KT_ADD_FOUR_SQUARES(FACTOR) \
            "subs r4, r4, #1\n\t" \
            "bne 1b\n\t" \
            KT_GIVE_SUM_OF_SQUARES \
            "pop {r4-r6, pc}\n")

/* Adds the squares of a row's elements, in order. offset: of inputs, in each half; count: turns, at least one. */
__attribute__((naked, noinline)) static void kt_add_fours_of_squares(kt_row_of_squares *row)
{
    (void)row;
    KT_FOURS_OF_SQUARES(KT_TIMES_FACTOR);
}

/* The same where the factor is 1. */
__attribute__((naked, noinline)) static void kt_add_fours_of_plain_squares(kt_row_of_squares *row)
{
    (void)row;
    KT_FOURS_OF_SQUARES("");
}

/* total + the squares of a row's elements, in order. */
static inline float kt_add_row_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    const int32_t offsets = (int32_t)((uint32_t)(uint16_t)s->offset * 0x10001u);
    kt_row_of_squares squares = {s->x, offsets, s->g[row], params->columns >> 2, s->scale.value, s->factor.value, total};
    if (squares.count > 0 && squares.factor == 1.0f) {
        kt_add_fours_of_plain_squares(&squares);
    } else if (squares.count > 0) {
        kt_add_fours_of_squares(&squares);
    }
    return kt_add_squares_one_by_one(params, s, row, params->columns & ~3, squares.total);
}

#endif
