/* float_fours.h: what an update does to every element of a gradient, with a unit for float32: four elements a turn. It uses the unit for one number at a
 * time, as ../four_squares.h does. */
#ifndef KT_OPTIM_DSP_FLOAT_FOURS_H
#define KT_OPTIM_DSP_FLOAT_FOURS_H

#include "../four_squares.h"

/* What is left of a gradient; count: its elements; by: the rate that they are multiplied with, or the total that their squares are added to. */
typedef struct {
    float *accumulator;
    int32_t count;
    float factor, by;
} kt_float_fours;

/* by + (accumulator * factor)^2, in order. */
__attribute__((naked, noinline, unused)) static void kt_add_squares_of_fours(kt_float_fours *fours)
{
    (void)fours;
    __asm__("ldm r0, {r1, r2}\n\t"
            "vldr s5, [r0, #8]\n\t"
            "vldr s6, [r0, #12]\n\t"
            "b 2f\n"
            "1:\n\t"
            "vldm r1!, {s0-s3}\n\t"
            KT_TIMES_FACTOR
            KT_ADD_SQUARES
            "2:\n\t"
            "subs r2, r2, #4\n\t"
            "bge 1b\n\t"
            "adds r2, r2, #4\n\t"
            "beq 4f\n"
            "3:\n\t"
            "vldm r1!, {s0}\n\t"
            "vmul.f32 s0, s0, s5\n\t"
            "vmla.f32 s6, s0, s0\n\t"
            "subs r2, r2, #1\n\t"
            "bne 3b\n"
            "4:\n\t"
            "vstr s6, [r0, #12]\n\t"
            "bx lr\n");
}

/* accumulator * factor * by of the largest multiple of four elements. */
__attribute__((naked, noinline, unused)) static void kt_multiply_fours(kt_float_fours *fours)
{
    (void)fours;
    __asm__("ldm r0, {r1, r2}\n\t"
            "vldr s5, [r0, #8]\n\t"
            "vldr s6, [r0, #12]\n\t"
            "b 2f\n"
            "1:\n\t"
            "vldm r1, {s0-s3}\n\t"
            KT_TIMES_FACTOR
            "vmul.f32 s0, s0, s6\n\t"
            "vmul.f32 s1, s1, s6\n\t"
            "vmul.f32 s2, s2, s6\n\t"
            "vmul.f32 s3, s3, s6\n\t"
            "vstm r1!, {s0-s3}\n"
            "2:\n\t"
            "subs r2, r2, #4\n\t"
            "bge 1b\n\t"
            "bx lr\n");
}

#endif
