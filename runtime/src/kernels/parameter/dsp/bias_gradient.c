/* kt_bias_gradient for the DSP extension: eight channels at once, then four, then one by one. */
#include "../bias_gradient.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/column_sums.h"

/* With fewer positions the portable loop is faster. */
enum { FEWEST = 4 };

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = params->channels;
    const int32_t whole = params->positions < FEWEST ? 0 : channels & ~3;
    int32_t c = 0;
    while (c < whole) {
        const int32_t count = whole - c >= KT_COLUMNS_AT_ONCE ? KT_COLUMNS_AT_ONCE : 4;
        int32_t totals[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t i;
        kt_column_sums(g + c, channels, params->positions, count, totals);
        for (i = 0; i < count; i++) {
            accumulator[c + i] = kt_accumulate(accumulator[c + i], totals[i], scale);
        }
        c += count;
    }
    kt_bias_gradient_of(params, g, scale, accumulator, c, channels);
}

#endif
