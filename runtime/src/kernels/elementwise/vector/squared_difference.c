/* SQUARED_DIFFERENCE of two int8 tensors of one shape in vectors. */
#include "../squared_difference.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/words.h"

void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other,
                              int8_t *y)
{
    const kt_squared_difference_params p = *params;
    const kt_lanes low = kt_splat(-128 - p.output_offset), high = kt_splat(127 - p.output_offset);
    int32_t i;
    for (i = 0; i + KT_LANES <= p.size; i += KT_LANES) {
        const kt_word_lanes own = ((kt_word_lanes)kt_widen_codes(x + i) + p.input_offset[0]) * (1 << 7);
        const kt_word_lanes others = ((kt_word_lanes)kt_widen_codes(other + i) + p.input_offset[1]) * (1 << 7);
        const kt_word_lanes a = (kt_word_lanes)kt_requantize_lanes((kt_lanes)own, kt_splat(p.multiplier[0]), kt_splat(p.shift[0]));
        const kt_word_lanes b = (kt_word_lanes)kt_requantize_lanes((kt_lanes)others, kt_splat(p.multiplier[1]), kt_splat(p.shift[1]));
        const kt_word_lanes difference = a - b;
        const kt_lanes scaled = kt_requantize_lanes((kt_lanes)(difference * difference), kt_splat(p.multiplier[2]), kt_splat(p.shift[2]));
        kt_store_narrow(y + i, kt_add_lanes(kt_clamp_lanes(scaled, low, high), kt_splat(p.output_offset)));
    }
    kt_squared_difference_from(params, x, other, y, i);
}

#endif
