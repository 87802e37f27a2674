/* step_lanes.h: the step of 16-bit values (../step_block16.c) in integers with Helium, four at a time, from steps in float32: units are those of
 * ../block16.h, or of a larger power of two where steps are large beside the values. */
#ifndef KT_OPTIM_MVE_STEP_LANES_H
#define KT_OPTIM_MVE_STEP_LANES_H

#include <arm_mve.h>
#include <stddef.h>

#include "../block16.h"

/* What is left of a tensor; kt_take_lanes knows the places.
 *
 * shift      KT_STEP_SHIFT and the exponent of units; scale: of a master times 2^15
 * base       half of a stored master's last bit, less the doubt; twice: the doubt, two times; up: what a moved one is shifted by, to the left
 * doubtful   of four whose rounding is in doubt: two bytes, of which a lane has four bits */
typedef struct {
    int8_t *value, *remainder;
    float *accumulator;
    int32_t shift, base, twice, up, scale, count;
    uint32_t doubtful;
} kt_lanes_of_steps;

typedef char kt_steps_have_their_places[offsetof(kt_lanes_of_steps, scale) == 28 && offsetof(kt_lanes_of_steps, doubtful) == 36 ? 1 : -1];

/* Masters in q1 and the bits of steps in q0 to moved units in q2. */
#define KT_MOVED_LANES \
    "vldrw.u32 q0, [r3]\n\t" \
    "vldrb.s32 q1, [r1]\n\t" \
    "vldrb.s32 q2, [r2]\n\t" \
    "vshl.i32 q1, q1, #8\n\t" \
    "vadd.i32 q1, q1, q2\n\t"   /* kt_master */ \
    "vshl.i32 q2, q0, #1\n\t" \
    "vshr.u32 q2, q2, #24\n\t"  /* kt_exponent_field */ \
    "vsub.i32 q2, q2, r4\n\t" \
    "vshl.i32 q3, q0, #8\n\t" \
    "vmax.s32 q2, q2, q5\n\t" \
    "vorr.i32 q3, #0x80000000\n\t" \
    "vshr.s32 q0, q0, #31\n\t" \
    "vshl.u32 q3, q2\n\t" \
    "vshl.i32 q1, q1, #15\n\t" \
    "veor q3, q3, q0\n\t" \
    "vmulh.s32 q2, q1, q4\n\t" \
    "vsub.i32 q3, q3, q0\n\t" \
    "vsub.i32 q2, q2, q3\n\t"

/* r1 to r7 are the first members; r12 is the number of lanes. */
#define KT_TAKE_LANES_OF_STEPS \
    "push {r4-r7, lr}\n\t" \
    "vpush {d8-d13}\n\t" \
    "ldm r0, {r1-r7}\n\t" \
    "ldr r12, [r0, #28]\n\t" \
    "vdup.32 q4, r12\n\t" \
    "mvn r12, #31\n\t" \
    "vdup.32 q5, r12\n\t" \
    "ldr r12, [r0, #32]\n\t"

/* Takes steps and clears the accumulator until some rounding is in doubt, or all are taken: `doubtful` is 0 then. */
__attribute__((naked, noinline)) static void kt_take_lanes(kt_lanes_of_steps *steps)
{
    (void)steps;
    __asm__(KT_TAKE_LANES_OF_STEPS
            "vmov.i32 q6, #0\n\t"
            "dlstp.32 lr, r12\n"
            "1:\n\t"
            KT_MOVED_LANES
            "vadd.i32 q2, q2, r5\n\t"
            "vadd.i32 q3, q2, r6\n\t"
            "vshl.s32 q2, r7\n\t"
            "vshl.s32 q3, r7\n\t"
            "vcmp.i32 ne, q2, q3\n\t"
            "vmrs r12, p0\n\t"
            "cmp r12, #0\n\t"
            "bne 2f\n\t"
            "vstrb.32 q2, [r2], #4\n\t"  /* kt_store_master */
            "vrshr.s32 q2, q2, #8\n\t"
            "vstrw.32 q6, [r3], #16\n\t"
            "vstrb.32 q2, [r1], #4\n\t"
            "letp lr, 1b\n"
            "2:\n\t"
            "lctp\n\t"
            "stm r0, {r1-r3}\n\t"
            "str r12, [r0, #36]\n\t"
            "vpop {d8-d13}\n\t"
            "pop {r4-r7, pc}\n");
}

/* The largest magnitude of moved values, in units. */
__attribute__((naked, noinline)) static int32_t kt_largest_of_lanes(const kt_lanes_of_steps *steps)
{
    (void)steps;
    __asm__(KT_TAKE_LANES_OF_STEPS
            "movs r0, #0\n\t"
            "dlstp.32 lr, r12\n"
            "1:\n\t"
            KT_MOVED_LANES
            "adds r1, #4\n\t"
            "adds r2, #4\n\t"
            "adds r3, #16\n\t"
            "vmaxav.s32 r0, q2\n\t"
            "letp lr, 1b\n\t"
            "vpop {d8-d13}\n\t"
            "pop {r4-r7, pc}\n");
}

/* Bits of the largest magnitude of steps, at least one. */
__attribute__((naked, noinline)) static uint32_t kt_largest_step_of_lanes(const float *steps, int32_t count)
{
    (void)steps;
    (void)count;
    __asm__("push {r4, lr}\n\t"
            "movs r2, #0\n\t"
            "dlstp.32 lr, r1\n"
            "1:\n\t"
            "vldrw.u32 q0, [r0], #16\n\t"
            "vshl.i32 q0, q0, #1\n\t"
            "vmaxv.u32 r2, q0\n\t"
            "letp lr, 1b\n\t"
            "lsrs r0, r2, #1\n\t"
            "pop {r4, pc}\n");
}

/* A magnitude in units, as KT_MOVED_LANES has those of masters. */
static inline int32_t kt_units_of_magnitude(int32_t magnitude, int32_t scale)
{
    return (int32_t)(((int64_t)(magnitude * (1 << (KT_UNIT_BITS + 32 - KT_KEPT_BITS))) * scale) >> 32);
}

/* Finds what is added to the exponent of units, and how far a moved value in units may be from float32's; returns whether float32 is certain to do the
 * same. What the largest code and the largest step say is mostly enough. */
static int kt_growth_of_lanes(const kt_lanes_of_steps *s, uint32_t largest_step, int32_t exponent, int32_t *growth, int32_t *doubt)
{
    const int32_t code = kt_largest_code(s->value, s->count) * 256, left = kt_maximum(kt_exponent_field(largest_step) - s->shift, -31);
    const int32_t reach = (int32_t)((largest_step << 8 | KT_HALF_WORD) >> -left) + 1 + KT_SCALED_DOUBT;
    int32_t least = kt_units_of_magnitude(kt_maximum(code - 128, 0), s->scale) - reach, most = kt_units_of_magnitude(code + 128, s->scale) + reach;
    if (!kt_is_certain_between(kt_maximum(least, 0), most, exponent, growth)) {
        const int32_t largest = kt_largest_of_lanes(s);
        least = kt_maximum(largest - KT_SCALED_DOUBT, 0);
        most = largest + KT_SCALED_DOUBT;
        if (!kt_is_certain_between(least, most, exponent, growth)) {
            return 0;
        }
    }
    *doubt = kt_doubtful_units(most) + KT_SCALED_DOUBT;
    return 1;
}

/* Returns whether it was done. */
static int kt_step_in_lanes(int8_t *value, int8_t *exponent, int8_t *remainder, float *accumulator, int32_t count, float kept)
{
    const int32_t held = *exponent - 8;
    const uint32_t largest_step = count > 0 ? kt_largest_step_of_lanes(accumulator, count) : 0;
    const int32_t field = kt_exponent_field(largest_step), coarser = kt_maximum(field - KT_EXPONENT_BIAS - held - KT_LARGEST_STEP, 0);
    kt_lanes_of_steps s = {value, remainder, accumulator, KT_STEP_SHIFT + held + coarser, 0, 0, 0, 0, count, 0};
    int32_t growth, doubt, i;
    if (count <= 0 || field == 255 || coarser > KT_KEPT_BITS || !(kept >= 0.0f && kept <= 1.0f)) {
        return 0;
    }
    s.scale = kt_scale_of_masters(kept, coarser);
    if (!kt_growth_of_lanes(&s, largest_step, held + coarser, &growth, &doubt)) {
        return 0;
    }
    s.up = -(KT_UNIT_BITS + growth);
    s.base = (1 << (-s.up - 1)) - doubt;
    s.twice = 2 * doubt;
    while (s.count > 0) {
        kt_take_lanes(&s);
        for (i = 0; s.doubtful != 0 && i < 4 && s.value < value + count; i++, s.value++, s.remainder++, s.accumulator++) {
            const int32_t moved = kt_doubtful_master(kt_master(*s.value, *s.remainder), kept, *s.accumulator, held, coarser + growth);
            kt_store_master(s.value, s.remainder, moved);
            *s.accumulator = 0.0f;
        }
        s.count = (int32_t)(value + count - s.value);
    }
    *exponent = (int8_t)(held + coarser + growth + 8);
    return 1;
}

#endif
