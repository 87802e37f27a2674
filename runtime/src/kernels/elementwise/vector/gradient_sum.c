/* Sum of two gradients in vectors. */
#include "../gradient_sum.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/words.h"

void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result)
{
    const kt_gradient_sum_params p = *params;
    int32_t i = 0;
    for (; p.shift >= 1 && p.shift <= 31 && i + KT_LANES <= p.size; i += KT_LANES) {
        const kt_word_lanes first = (kt_word_lanes)kt_widen_codes(g + i) * p.multiplier[0];
        const kt_word_lanes second = (kt_word_lanes)kt_widen_codes(other + i) * p.multiplier[1];
        kt_store_narrow(result + i, kt_round_lanes(first + second, p.shift));
    }
    kt_gradient_sum_from(params, g, other, result, i);
}

#endif
