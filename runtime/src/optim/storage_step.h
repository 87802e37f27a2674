/* storage_step.h: how a step is taken by the int32 and the 16-bit format, whether the step lies in an accumulator or is computed
 * again each time it is read. */
#ifndef KT_OPTIM_STORAGE_STEP_H
#define KT_OPTIM_STORAGE_STEP_H

#include "decay.h"
#include "kt/numerics.h"

enum { KT_LOWEST_EXPONENT = -32, KT_HIGHEST_EXPONENT = 100, KT_MASTER_LIMIT = 32767 };

/* value - floor(step / unit + lost * value + 0.5), limited to +-2^30. */
static inline int32_t kt_int32_moved(int32_t value, float step, float unit, float lost)
{
    const int32_t limit = INT32_C(1) << 30;
    const float scaled = step / unit;
    const float decayed = lost * (float)value;
    const int32_t steps = kt_round_half_up(scaled + decayed);
    return kt_clamp(kt_saturate32((int64_t)value - steps), -limit, limit);
}

/* code * unit * kept - step */
static inline float kt_block_moved(int32_t code, float unit, float kept, float step)
{
    const float old = kt_times_power((float)code, unit);
    const float left = KT_SMALL_FLOAT && kt_is_one(kept) ? old : old * kept;
    return kt_minus(left, step);
}

/* The smallest exponent, within what the formats hold, that brings magnitudes up to `largest` within `limit`. */
static inline int32_t kt_fitting_exponent(float largest, float limit)
{
    return kt_minimum(kt_exponent_for(largest, limit, KT_LOWEST_EXPONENT), KT_HIGHEST_EXPONENT);
}

/* moved * factor in 16 bits, half up; NaN gives the lowest value. */
static inline int32_t kt_master_of(float moved, float factor)
{
    const float scaled = kt_times_power(moved, factor);
    const float shifted = scaled + 0.5f;
#if KT_SMALL_FLOAT
    const uint32_t magnitude = kt_float_bits(shifted) & UINT32_C(0x7FFFFFFF);
    if (magnitude >= kt_float_bits((float)KT_MASTER_LIMIT)) {
        return magnitude > UINT32_C(0x7F800000) || magnitude != kt_float_bits(shifted) ? -KT_MASTER_LIMIT : KT_MASTER_LIMIT;
    }
    return kt_floor(shifted);
#endif
    if (!(shifted > -(float)KT_MASTER_LIMIT)) {
        return -KT_MASTER_LIMIT;
    }
    return shifted < (float)KT_MASTER_LIMIT ? kt_floor(shifted) : KT_MASTER_LIMIT;
}

static inline int32_t kt_larger_master(int32_t largest, int32_t master)
{
    return kt_maximum(largest, master < 0 ? -master : master);
}

/* The int8 codes of 16-bit values, of which `largest` has the largest magnitude, with their exponents. */
static inline void kt_block16_codes(int8_t *value, int8_t *exponent, const int16_t *master, int8_t *master_exponent, int32_t size,
                                    int32_t largest, int32_t chosen)
{
    const int32_t shift = largest <= 127 * 256 ? 8 : 9;
    const int32_t half = 1 << (shift - 1);
    int32_t i;
    for (i = 0; i < size; i++) {
        value[i] = (int8_t)((master[i] + half) >> shift); /* kt_shift_round; within +-127 as 127 * 256 is, and 32767 by 9 */
    }
    *master_exponent = (int8_t)chosen;
    *exponent = (int8_t)(chosen + shift);
}

#endif
