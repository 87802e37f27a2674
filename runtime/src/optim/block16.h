/* block16.h: the step of 16-bit values with one power of two in integers, for cores without a unit for float32, without decay.
 *
 * A value less its step is master * 2^e - step. Both are taken here in units of 2^(e - 12), the step without its fraction: that tells the result
 * of the two roundings (float32's, then half up) unless it lies within a few units of where it changes. There, and where steps are
 * large beside the values, float32 itself is asked (storage_step.h), so that all bits are its own. */
#ifndef KT_OPTIM_BLOCK16_H
#define KT_OPTIM_BLOCK16_H

#include "../product/soft_float.h"
#include "largest_code.h"
#include "storage_step.h"

enum {
    KT_UNIT_BITS = 12,
    KT_STEP_SHIFT = 158 - KT_UNIT_BITS, /* of a significand in 32 bits with the exponent field 0, to units of 2^-12 */
    KT_LEAST_GROWTH = -3,
    KT_MOST_GROWTH = 3,
    KT_KEPT_BITS = 29,    /* of 1 in what masters are multiplied by, where they decay or units are coarser */
    KT_SCALED_DOUBT = 8,  /* units by which such a product may be off */
    KT_LARGEST_STEP = 15  /* bits of the largest step in a master's last, of which units are not coarser */
};

/* What a master times 2^15 is multiplied by, of which the upper word is units of 2^coarser: kept, at most 1, is what decay leaves. */
static inline int32_t kt_scale_of_masters(float kept, int32_t coarser)
{
    const int32_t one = INT32_C(1) << KT_KEPT_BITS;
    return (kept == 1.0f ? one : (int32_t)(kept * (float)one)) >> kt_minimum(coarser, 31);
}

/* master - step in units of 2^-12 of the master's; shift: KT_STEP_SHIFT + the master's exponent - the field of the step's. */
KT_INLINE int32_t kt_moved_units(int32_t master, uint32_t step, int32_t shift)
{
    const int32_t magnitude = (int32_t)((step << 8 | KT_HALF_WORD) >> kt_minimum(shift, 31));
    const int32_t sign = (int32_t)step >> 31;
    return master * (1 << KT_UNIT_BITS) - ((magnitude ^ sign) - sign);
}

/* The larger of `largest` and the magnitudes of moved values, in units; -1 where a step is too large for them, or `largest` is -1. */
static inline int32_t kt_largest_units(const int8_t *value, const int8_t *remainder, const float *steps, int32_t count, int32_t exponent,
                                       int32_t largest)
{
    int32_t i;
    for (i = 0; i < count && largest >= 0; i++) {
        const uint32_t step = kt_float_bits(steps[i]);
        const int32_t shift = KT_STEP_SHIFT + exponent - kt_exponent_field(step);
        if (shift < 2) {
            return -1;
        }
        largest = kt_maximum(largest, (int32_t)kt_magnitude(kt_moved_units(kt_master(value[i], remainder[i]), step, shift)));
    }
    return largest;
}

/* How far float32's value may be from these units, up to a magnitude: two roundings by half of the last of 24 bits, and the fraction of the step. */
KT_INLINE int32_t kt_doubtful_units(int32_t largest)
{
    return 3 + (largest >> 23);
}

/* What the largest magnitude adds to the exponent in *growth; returns whether float32 is certain to choose the same. */
static inline int kt_is_certain_growth(int32_t largest, int32_t exponent, int32_t *growth)
{
    const int32_t least = kt_maximum(KT_LOWEST_EXPONENT - exponent, KT_LEAST_GROWTH), doubt = kt_doubtful_units(largest);
    int32_t chosen = least;
    while (chosen <= KT_MOST_GROWTH && largest > KT_MASTER_LIMIT << (KT_UNIT_BITS + chosen)) {
        chosen++;
    }
    *growth = chosen;
    return largest >= 0 && chosen <= KT_MOST_GROWTH && exponent + chosen <= KT_HIGHEST_EXPONENT &&
           largest + doubt <= KT_MASTER_LIMIT << (KT_UNIT_BITS + chosen) &&
           (exponent + chosen == KT_LOWEST_EXPONENT || largest - doubt > KT_MASTER_LIMIT << (KT_UNIT_BITS - 1 + chosen));
}

/* The same where the largest magnitude is at least `least`, and none is greater than `most`. */
static inline int kt_is_certain_between(int32_t least, int32_t most, int32_t exponent, int32_t *growth)
{
    int32_t other;
    return kt_is_certain_growth(least, exponent, &other) && kt_is_certain_growth(most, exponent, growth) && *growth == other;
}

/* One value by float32. */
static __attribute__((noinline, unused)) int32_t kt_doubtful_master(int32_t master, float kept, float step, int32_t exponent, int32_t growth)
{
    return kt_master_of(kt_block_moved(master, kt_power_of_two(exponent), kept, step), kt_power_of_two(-(exponent + growth)));
}

/* Takes the steps; exponent: of the masters; largest: of all. */
static inline void kt_move_masters(int8_t *value, int8_t *remainder, const float *steps, int32_t count, int32_t exponent, int32_t growth,
                                   int32_t largest)
{
    const uint32_t doubt = (uint32_t)kt_doubtful_units(largest);
    const int32_t down = KT_UNIT_BITS + growth, half = 1 << (down - 1);
    const uint32_t fraction = (1U << down) - 1;
    int32_t i;
    for (i = 0; i < count; i++) {
        const uint32_t step = kt_float_bits(steps[i]);
        const int32_t master = kt_master(value[i], remainder[i]);
        int32_t moved;
        if (step << 1 == 0) {
            moved = (master * (1 << KT_UNIT_BITS) + half) >> down;
        } else {
            const int32_t units = kt_moved_units(master, step, KT_STEP_SHIFT + exponent - kt_exponent_field(step)) + half;
            moved = units >> down;
            if (((uint32_t)units & fraction) - doubt > fraction - 2 * doubt) {
                moved = kt_doubtful_master(master, 1.0f, steps[i], exponent, growth);
            }
        }
        kt_store_master(&value[i], &remainder[i], moved);
    }
}

#endif
