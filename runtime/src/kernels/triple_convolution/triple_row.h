/* triple_row.h: FULLY_CONNECTED of one row from the weights of three sums in two words. The row is read where it lies. */
#ifndef KT_TRIPLE_ROW_H
#define KT_TRIPLE_ROW_H

#include "../../product/triple_dense.h"
#include "triple_conv2d.h"

/* bias, fold: as kt_packed_bias takes them; epilogue: [channels][3]; negative: what a negative sum takes from the addend. */
KT_INLINE void kt_triple_row(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int32_t *fold,
                             const int32_t *epilogue, int8_t *y, int32_t negative)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    const uint8_t *weights = (const uint8_t *)params->stream;
    uint32_t offset = 0;
    int32_t c, i;
    for (i = 0; i < depth; i++) {
        offset -= (uint32_t)x[i] << 7;
    }
    for (c = 0; c < channels; c += 4, weights += 4 * params->length) {
        const int32_t count = kt_minimum(channels - c, 4);
        uint32_t sums[4];
        kt_dense_sums(x, weights, count > 2 ? weights + 2 * params->length : weights, depth, offset, sums);
        for (i = 0; i < count; i++, epilogue += 3) {
            const int32_t start = fold == NULL ? bias[c + i]
                                                       : fold[c + i] + kt_clamp(bias[c + i], -params->bias_limit, params->bias_limit);
            const int32_t sum = (int32_t)sums[i] + start;
            y[c + i] = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

#endif
