/* Products with and sums of constants of a value a channel, in one pass over the data. */
#include "elementwise_chain.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_elementwise_chain_s8(const kt_elementwise_chain_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->count, channels = params->channels;
    kt_chain_step steps[KT_CHAIN_STEPS];
    int32_t row, c, i;
    kt_chain_steps(params, steps);
    for (row = 0; row < params->rows; row++) {
        for (c = 0; c < channels; c++) {
            int8_t value = *x++;
            for (i = 0; i < count; i++) {
                value = kt_chain_element(&steps[i], value, steps[i].constants[c]);
            }
            *y++ = value;
        }
    }
}

#endif
