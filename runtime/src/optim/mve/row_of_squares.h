/* row_of_squares.h: the squares of a row's gradient on cores with Helium: four products at once, whose float32 the unit for one number at a time makes, as
 * that of vectors takes subnormal numbers for 0. */
#ifndef KT_OPTIM_MVE_ROW_OF_SQUARES_H
#define KT_OPTIM_MVE_ROW_OF_SQUARES_H

#include <stddef.h>

/* KT_LANES_OF_SQUARES knows the places. */
typedef struct {
    const int8_t *x;
    int32_t offset, g, columns;
    float scale, factor, total;
} kt_lanes_of_squares;

typedef char kt_squares_have_their_places[offsetof(kt_lanes_of_squares, total) == 24 ? 1 : -1];

/* FACTOR: what multiplies four elements by the factor; "" where it is 1. */
#define KT_LANES_OF_SQUARES(FACTOR) \
    __asm__("push {r4, lr}\n\t" \
            "ldm r0, {r1-r4}\n\t" \
            "vldr s4, [r0, #16]\n\t" \
            "vldr s5, [r0, #20]\n\t" \
            "vldr s6, [r0, #24]\n\t" \
            "dlstp.32 lr, r4\n" \
            "1:\n\t" \
            "vldrb.s32 q0, [r1], #4\n\t" \
            "vadd.i32 q0, q0, r2\n\t" \
            "vmul.i32 q0, q0, r3\n\t" \
            "vcvt.f32.s32 s0, s0\n\t" \
            "vcvt.f32.s32 s1, s1\n\t" \
            "vcvt.f32.s32 s2, s2\n\t" \
            "vcvt.f32.s32 s3, s3\n\t" \
            "vmul.f32 s0, s0, s4\n\t" \
            "vmul.f32 s1, s1, s4\n\t" \
            "vmul.f32 s2, s2, s4\n\t" \
            "vmul.f32 s3, s3, s4\n\t" \
            FACTOR \
            "vmla.f32 s6, s0, s0\n\t" /* rounded twice */ \
            "vmla.f32 s6, s1, s1\n\t" \
            "vmla.f32 s6, s2, s2\n\t" \
            "vmla.f32 s6, s3, s3\n\t" \
            "letp lr, 1b\n\t" \
            "vstr s6, [r0, #24]\n\t" \
            "pop {r4, pc}\n")

/* Adds the squares of a row's elements, in order; all factors are finite, so that lanes beyond the row add 0. */
__attribute__((naked, noinline)) static void kt_add_lanes_of_squares(kt_lanes_of_squares *row)
{
    (void)row;
    KT_LANES_OF_SQUARES("vmul.f32 s0, s0, s5\n\t"
                        "vmul.f32 s1, s1, s5\n\t"
                        "vmul.f32 s2, s2, s5\n\t"
                        "vmul.f32 s3, s3, s5\n\t");
}

/* The same where the factor is 1. */
__attribute__((naked, noinline)) static void kt_add_lanes_of_plain_squares(kt_lanes_of_squares *row)
{
    (void)row;
    KT_LANES_OF_SQUARES("");
}

/* total + the squares of a row's elements, in order. */
static inline float kt_add_row_of_squares(const kt_streamed_params *params, const kt_streamed *s, int32_t row, float total)
{
    kt_lanes_of_squares squares = {s->x, s->offset, s->g[row], params->columns, s->scale.value, s->factor.value, total};
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
