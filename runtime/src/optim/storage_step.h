/* storage_step.h: how a step is taken by the int32 and the 16-bit format, whether the step lies in an accumulator or is computed
 * again each time it is read. */
#ifndef KT_OPTIM_STORAGE_STEP_H
#define KT_OPTIM_STORAGE_STEP_H

#include "decay.h"
#include "kt/numerics.h"

enum { KT_LOWEST_EXPONENT = -32, KT_HIGHEST_EXPONENT = 100, KT_MASTER_LIMIT = 127 * 256 + 127 };

/* value - floor(step / unit + lost * value + 0.5), limited to +-2^30 as the steps are: either limit needs one comparison, and neither difference
 * leaves int32. */
static inline int32_t kt_int32_moved(int32_t value, float step, float unit, float lost)
{
    const int32_t limit = INT32_C(1) << 30;
    const float scaled = step / unit;
    const float decayed = lost * (float)value;
    const int32_t steps = kt_round_half_up(scaled + decayed);
    return value - (value < 0 ? kt_minimum(steps, value + limit) : kt_maximum(steps, value - limit));
}

/* code * unit * kept - step */
static inline float kt_block_moved(int32_t code, float unit, float kept, float step)
{
    const float old = kt_times_power((float)code, unit);
    const float left = KT_SMALL_FLOAT && kt_is_one(kept) ? old : old * kept;
    return kt_minus(left, step);
}

/* The smallest exponent, within what the formats hold, that brings magnitudes up to `largest` within `limit`. */
static __attribute__((noinline, unused)) int32_t kt_fitting_exponent(float largest, float limit)
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

/* A master: the code that inference reads, and what rounding took from it. */
static inline int32_t kt_master(int8_t value, int8_t remainder)
{
    return value * 256 + remainder;
}

/* master within +-KT_MASTER_LIMIT: its code, rounded half up, stays within +-127. */
static inline void kt_store_master(int8_t *value, int8_t *remainder, int32_t master)
{
    *value = (int8_t)((master + 128) >> 8);
    *remainder = (int8_t)(uint8_t)master;
}

#endif
