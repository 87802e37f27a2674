/* A global average pool of an image that comes in stripes of rows. */
#include <stddef.h>

#include "average_pool2d.h"

void kt_channel_sums_s8(const kt_channel_sums_params *params, const int8_t *x, const int32_t *before, int32_t *sums)
{
    const int32_t channels = params->channels;
    int32_t position, c;
    for (c = 0; c < channels; c++) {
        sums[c] = before == NULL ? 0 : before[c];
    }
    for (position = 0; position < params->positions; position++, x += channels) {
        for (c = 0; c < channels; c++) {
            sums[c] += x[c];
        }
    }
}

void kt_average_of_sums(const kt_average_of_sums_params *params, const int32_t *sums, int8_t *y)
{
    int32_t c;
    for (c = 0; c < params->channels; c++) {
        y[c] = (int8_t)kt_clamp(kt_rounded_mean(sums[c], params->count), params->clamp[0], params->clamp[1]);
    }
}
