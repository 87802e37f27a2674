/* Some channels of a trained tensor, and their gradient among that of all channels. */
#include <string.h>

#include "kt/kernels/parameter.h"

void kt_take_channels(const kt_some_channels_params *params, const void *x, void *y)
{
    const kt_some_channels_params p = *params;
    const uint8_t *from = x;
    uint8_t *to = y;
    int32_t o, i;
    for (o = 0; o < p.outer; o++) {
        for (i = 0; i < p.count; i++) {
            memcpy(to, from + p.chosen[i] * p.block, (size_t)p.block);
            to += p.block;
        }
        from += p.channels * p.block;
    }
}

void kt_add_channels(const kt_some_channels_params *params, const float *part, float *accumulator)
{
    const kt_some_channels_params p = *params;
    int32_t o, i, j;
    for (o = 0; o < p.outer; o++) {
        for (i = 0; i < p.count; i++) {
            float *const to = accumulator + p.chosen[i] * p.block;
            for (j = 0; j < p.block; j++) {
                to[j] += part[j];
            }
            part += p.block;
        }
        accumulator += p.channels * p.block;
    }
}
