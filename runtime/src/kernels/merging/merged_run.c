/* Weights of a convolution's channel in its own order. */
#include "merging.h"

#if !KT_DSP

int32_t kt_merged_run(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to)
{
    return kt_merged_singles(channel, at, count, to);
}

#endif
