/* four_squares.h: what loops in assembly over a streamed gradient's row have in common: where they find what they need, and from four products of
 * integers in s0 to s3 to the sum of squares in s6. It uses the unit for one number at a time: that of vectors takes subnormal numbers for 0. */
#ifndef KT_OPTIM_FOUR_SQUARES_H
#define KT_OPTIM_FOUR_SQUARES_H

#include <stddef.h>

/* offset, count: as the loop takes the offset of inputs, and elements or turns */
typedef struct {
    const int8_t *x;
    int32_t offset, g, count;
    float scale, factor, total;
} kt_row_of_squares;

typedef char kt_squares_have_their_places[offsetof(kt_row_of_squares, total) == 24 ? 1 : -1];

/* x, offset, g, count to r1 to r4, and the rest to s4 to s6. */
#define KT_TAKE_ROW_OF_SQUARES \
    "ldm r0, {r1-r4}\n\t" \
    "vldr s4, [r0, #16]\n\t" \
    "vldr s5, [r0, #20]\n\t" \
    "vldr s6, [r0, #24]\n\t"

/* FACTOR: KT_TIMES_FACTOR, or "" where it is 1. VMLA rounds the product and then the sum, as VMUL and VADD do. */
#define KT_ADD_FOUR_SQUARES(FACTOR) \
    "vcvt.f32.s32 s0, s0\n\t" \
    "vcvt.f32.s32 s1, s1\n\t" \
    "vcvt.f32.s32 s2, s2\n\t" \
    "vcvt.f32.s32 s3, s3\n\t" \
    "vmul.f32 s0, s0, s4\n\t" \
    "vmul.f32 s1, s1, s4\n\t" \
    "vmul.f32 s2, s2, s4\n\t" \
    "vmul.f32 s3, s3, s4\n\t" \
    FACTOR \
    KT_ADD_SQUARES

#define KT_ADD_SQUARES \
    "vmla.f32 s6, s0, s0\n\t" \
    "vmla.f32 s6, s1, s1\n\t" \
    "vmla.f32 s6, s2, s2\n\t" \
    "vmla.f32 s6, s3, s3\n\t"

#define KT_TIMES_FACTOR \
    "vmul.f32 s0, s0, s5\n\t" \
    "vmul.f32 s1, s1, s5\n\t" \
    "vmul.f32 s2, s2, s5\n\t" \
    "vmul.f32 s3, s3, s5\n\t"

#define KT_GIVE_SUM_OF_SQUARES "vstr s6, [r0, #24]\n\t"

#endif
