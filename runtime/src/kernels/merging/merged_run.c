/* Weights of a convolution's channel in its own order. */
#include "merging.h"

#if !KT_DSP

int32_t kt_merged_run(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to)
{
    const int8_t *w = channel->w + at, *v = channel->v + at;
    const int32_t factor = channel->factor, lowest = channel->lowest;
    int32_t sum = 0, i;
    for (i = 0; i < count; i++) {
        const int32_t value = kt_merged_value(w[i], v[i], factor, lowest);
        to[i] = (int8_t)value;
        sum += value;
    }
    return sum;
}

#endif
