/* steps.h: the arithmetic of ../gradient.h and ../storage_step.h on the lanes of a vector. */
#ifndef KT_OPTIM_VECTOR_STEPS_H
#define KT_OPTIM_VECTOR_STEPS_H

#include "../../product/vector/floats.h"
#include "../gradient.h"
#include "../storage_step.h"

/* kt_gradient */
KT_INLINE kt_float_lanes kt_gradient_lanes(kt_float_lanes accumulated, kt_float_lanes factor)
{
    const kt_float_lanes g = accumulated * factor;
    const kt_word_lanes bits = (kt_word_lanes)g, magnitude = bits & INT32_MAX;
    const kt_word_lanes within = magnitude <= (int32_t)kt_float_bits(KT_LARGEST_GRADIENT), number = magnitude <= 0x7F800000;
    const kt_word_lanes limited = (bits & INT32_MIN) | (int32_t)kt_float_bits(KT_LARGEST_GRADIENT);
    return (kt_float_lanes)((bits & within) | (limited & ~within & number));
}

/* What a 16-bit value with a step becomes: the operands that are the same for all. */
typedef struct {
    kt_float_lanes unit, kept;
} kt_block_lanes;

/* kt_block_moved */
KT_INLINE kt_float_lanes kt_block_moved_lanes(kt_word_lanes codes, const kt_block_lanes *block, kt_float_lanes step)
{
    const kt_float_lanes old = kt_floats_of(codes) * block->unit;
    const kt_float_lanes left = old * block->kept;
    return left - step;
}

/* kt_master_of */
KT_INLINE kt_word_lanes kt_master_lanes(kt_float_lanes moved, kt_float_lanes factor)
{
    const kt_float_lanes limit = kt_splat_float((float)KT_MASTER_LIMIT), scaled = moved * factor;
    const kt_float_lanes shifted = scaled + kt_splat_float(0.5f);
    const kt_word_lanes above = (kt_word_lanes)(shifted > -limit), below = (kt_word_lanes)(shifted < limit), within = above & below;
    const kt_float_lanes inside = (kt_float_lanes)((kt_word_lanes)shifted & within);
    const kt_word_lanes truncated = __builtin_convertvector(inside, kt_word_lanes);
    const kt_word_lanes floor = truncated + (kt_word_lanes)(kt_floats_of(truncated) > inside);
    const kt_word_lanes beyond = (above & KT_MASTER_LIMIT) | (~above & -KT_MASTER_LIMIT);
    return (kt_word_lanes)kt_choose(within, floor, beyond);
}

/* kt_master */
KT_INLINE kt_word_lanes kt_load_masters(const int8_t *value, const int8_t *remainder)
{
    return (kt_word_lanes)kt_widen_codes(value) * 256 + (kt_word_lanes)kt_widen_codes(remainder);
}

/* kt_store_master */
KT_INLINE void kt_store_masters(int8_t *value, int8_t *remainder, kt_word_lanes masters)
{
    const kt_word_lanes codes = (masters + 128) >> 8;
    kt_store_narrow(value, (kt_lanes)codes);
    kt_store_narrow(remainder, (kt_lanes)(masters - codes * 256));
}

#endif
