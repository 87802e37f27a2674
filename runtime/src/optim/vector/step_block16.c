/* A step of a tensor held in 16 bits, in vectors. */
#include "kt/architecture.h"
#include "kt/optim.h"

#if KT_VECTOR
#include "steps.h"

void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int8_t *remainder,
                     float *accumulator, const float *learning_rate)
{
    const float kept = 1.0f - kt_decay_lost(params->decay, learning_rate);
    const float unit = kt_power_of_two(*exponent - 8);
    const kt_block_lanes block = {kt_splat_float(unit), kt_splat_float(kept)};
    const int32_t size = params->size, whole = size / KT_LANES * KT_LANES;
    kt_word_lanes largest_bits = (kt_word_lanes)kt_no_lanes();
    float largest, factor;
    int32_t chosen, i;
    for (i = 0; i < whole; i += KT_LANES) {
        const kt_float_lanes moved = kt_block_moved_lanes(kt_load_masters(value + i, remainder + i), &block, kt_load_floats(accumulator + i));
        kt_store_floats(accumulator + i, moved);
        largest_bits = kt_larger_words(largest_bits, (kt_word_lanes)moved & INT32_MAX);
    }
    largest = kt_float_of_bits((uint32_t)kt_largest_of(largest_bits));
    for (; i < size; i++) {
        accumulator[i] = kt_block_moved(kt_master(value[i], remainder[i]), unit, kept, accumulator[i]);
        largest = kt_larger_magnitude(largest, kt_absolute(accumulator[i]));
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    for (i = 0; i < whole; i += KT_LANES) {
        kt_store_masters(value + i, remainder + i, kt_master_lanes(kt_load_floats(accumulator + i), kt_splat_float(factor)));
    }
    for (; i < size; i++) {
        kt_store_master(&value[i], &remainder[i], kt_master_of(accumulator[i], factor));
    }
    memset(accumulator, 0, (size_t)size * sizeof *accumulator); /* 0.0f */
    *exponent = (int8_t)(chosen + 8);
}

#endif
