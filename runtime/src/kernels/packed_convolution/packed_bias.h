/* packed_bias.h: what the sums of a packed layer start from. */
#ifndef KT_PACKED_BIAS_H
#define KT_PACKED_BIAS_H

#include <stddef.h>

#include "kt/numerics.h"

enum { KT_QUAD = 4, KT_EPILOGUE = 12 }; /* channels, and words of their requantisation */

/* Channels rounded up to whole quads. */
static inline int32_t kt_padded_channels(int32_t channels)
{
    return (channels + KT_QUAD - 1) & -KT_QUAD;
}

/* A frozen bias as it is; a trained one limited, with the share of the input's zero point, in `start` [padded channels]. */
static inline const int32_t *kt_packed_bias(const int32_t *bias, const int32_t *fold, int32_t limit, int32_t channels,
                                            int32_t *start)
{
    int32_t c;
    if (fold == NULL) {
        return bias;
    }
    for (c = 0; c < channels; c++) {
        start[c] = fold[c] + kt_clamp(bias[c], -limit, limit);
    }
    for (; c < kt_padded_channels(channels); c++) {
        start[c] = 0;
    }
    return start;
}

#endif
