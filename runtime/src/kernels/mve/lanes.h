/* lanes.h: the rounding of kt/numerics.h on four int32 lanes, the same bits, and the loads and stores around it. */
#ifndef KT_LANES_H
#define KT_LANES_H

#include <arm_mve.h>

#include "kt/numerics.h"

/* What is known of the requantisation of all channels; less general kinds take fewer instructions. */
typedef enum {
    KT_ANY_SHIFT,     /* left or right, of any size */
    KT_RIGHT_SHIFT,   /* every shift in [-31, 0] */
    KT_RECTIFIED      /* as before, and results below the zero point are clamped: how negative ties round does not matter */
} kt_shift_kind;

/* kt_requantize on lanes. */
static inline int32x4_t kt_requantize_lanes(int32x4_t x, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t left = vminq_s32(vmaxq_s32(shift, vdupq_n_s32(0)), vdupq_n_s32(31));
    const int32x4_t right = vmaxq_s32(vminq_s32(shift, vdupq_n_s32(0)), vdupq_n_s32(-31));
    x = vqrdmulhq_s32(vqshlq_s32(x, left), multiplier);
    /* VRSHL rounds ties up; one less where x and the shift are negative makes that away from zero. */
    x = vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31));
    return vrshlq_s32(x, right);
}

/* kt_divide_by_power on lanes, all by 2^-shift; shift in [-31, 0]. */
static inline int32x4_t kt_divide_lanes(int32x4_t x, int32_t shift)
{
    if (shift != 0) {
        x = vqaddq_s32(x, vshrq_n_s32(x, 31));
    }
    return vrshlq_n_s32(x, shift);
}

/* Whether one shift is in [-31, 0]. */
static inline int kt_goes_right(int32_t shift)
{
    return shift <= 0 && shift >= -31;
}

/* kt_requantize on lanes by one multiplier; shift in [-31, 0]. */
static inline int32x4_t kt_requantize_lanes_right(int32x4_t x, int32_t multiplier, int32_t shift)
{
    return kt_divide_lanes(vqrdmulhq_n_s32(x, multiplier), shift);
}

/* The same, any shift. */
static inline int32x4_t kt_requantize_lanes_by(int32x4_t x, int32_t multiplier, int32_t shift)
{
    return kt_requantize_lanes(x, vdupq_n_s32(multiplier), vdupq_n_s32(shift));
}

/* The kind of `channels` shifts, for results that are clamped to [low, ...] with zero point `offset`. */
static inline kt_shift_kind kt_shift_kind_of(const int8_t *shift, int32_t channels, int32_t offset, int32_t low)
{
    int32_t c;
    for (c = 0; c < channels; c += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)(channels - c));
        const int8x16_t values = vldrbq_z_s8(shift + c, rest);
        if (vmaxvq_s8(0, values) > 0 || vminvq_s8(0, values) < -31) {
            return KT_ANY_SHIFT;
        }
    }
    return low >= offset ? KT_RECTIFIED : KT_RIGHT_SHIFT;
}

/* The range of a result and its zero point: kt_clamp_with_offset on lanes. */
typedef struct {
    int32_t offset;
    int32x4_t low, high;
} kt_lanes_clamp;

static inline kt_lanes_clamp kt_lanes_clamp_of(int32_t offset, const int32_t clamp[2])
{
    kt_lanes_clamp limits;
    limits.offset = offset;
    limits.low = vdupq_n_s32(clamp[0] - offset);
    limits.high = vdupq_n_s32(clamp[1] - offset);
    return limits;
}

static inline int32x4_t kt_clamp_lanes(int32x4_t x, kt_lanes_clamp limits)
{
    return vaddq_n_s32(vminq_s32(vmaxq_s32(x, limits.low), limits.high), limits.offset);
}

/* Copies n >= 0 bytes; the loop's own predicate takes care of the last ones. */
static inline void kt_copy_lanes(int8_t *to, const int8_t *from, int32_t n)
{
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"        /* n elements of 8 bits, none: skip */
                     "1:\n\t"
                     "vldrb.8 q0, [%[from]], #16\n\t"
                     "vstrb.8 q0, [%[to]], #16\n\t"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [n] "r"(n)
                     : "lr", "q0", "memory");
}

/* Sets n >= 0 bytes. */
static inline void kt_fill_lanes(int8_t *to, int32_t value, int32_t n)
{
    const int8x16_t values = vdupq_n_s8((int8_t)value);
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n\t"
                     "vstrb.8 %q[values], [%[to]], #16\n\t"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [to] "+r"(to)
                     : [n] "r"(n), [values] "w"(values)
                     : "lr", "memory");
}

#endif
