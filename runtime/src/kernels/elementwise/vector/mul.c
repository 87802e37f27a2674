/* MUL of two int8 tensors of one shape in vectors. */
#include "../mul.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/words.h"

void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_mul_params p = *params;
    const kt_lanes low = kt_splat(p.clamp[0] - p.output_offset), high = kt_splat(p.clamp[1] - p.output_offset);
    int32_t i;
    for (i = 0; i + KT_LANES <= p.size; i += KT_LANES) {
        const kt_word_lanes a = (kt_word_lanes)kt_widen_codes(x + i) + p.input_offset[0];
        const kt_word_lanes b = (kt_word_lanes)kt_widen_codes(other + i) + p.input_offset[1];
        const kt_lanes scaled = kt_requantize_lanes((kt_lanes)(a * b), kt_splat(p.multiplier), kt_splat(p.shift));
        kt_store_narrow(y + i, kt_add_lanes(kt_clamp_lanes(scaled, low, high), kt_splat(p.output_offset)));
    }
    kt_mul_from(params, x, other, y, i);
}

#endif
