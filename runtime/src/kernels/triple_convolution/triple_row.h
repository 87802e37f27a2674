/* triple_row.h: FULLY_CONNECTED of one row from the weights of three sums in two words. The row is read where it lies. */
#ifndef KT_TRIPLE_ROW_H
#define KT_TRIPLE_ROW_H

#include "../../product/triple_dense.h"
#include "triple_conv2d.h"
#include "triple_gain.h"

/* bias: as kt_packed_bias takes it with the layer's fold; gain: NULL for none; negative: what a negative sum takes from the addend. */
KT_INLINE void kt_triple_row(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const kt_gain *gain, int8_t *y,
                             int32_t negative)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS], limit = params->bias_limit;
    const int32_t *const usual = kt_triple_epilogue(params->stream, channels, params->length);
    const int32_t *const fold = params->fold;
    const uint8_t *weights = (const uint8_t *)params->stream;
    uint32_t offset = 0;
    int32_t c, i;
    for (i = 0; i < depth; i++) {
        offset -= (uint32_t)x[i] << 7;
    }
    for (c = 0; c < channels; c += 4, weights += 4 * params->length) {
        const int32_t count = kt_minimum(channels - c, 4);
        const int32_t *epilogue = usual + 3 * c;
        int32_t start[4], gained[3 * 4];
        uint32_t sums[4];
        if (gain != NULL) {
            kt_gained_channels(params, usual, bias, gain, c, count, start, gained);
            epilogue = gained;
        }
        kt_dense_sums(x, weights, count > 2 ? weights + 2 * params->length : weights, depth, offset, sums);
        for (i = 0; i < count; i++, epilogue += 3) {
            const int32_t from = gain != NULL ? start[i] : fold == NULL ? bias[c + i] : fold[c + i] + kt_clamp(bias[c + i], -limit, limit);
            const int32_t sum = (int32_t)sums[i] + from;
            y[c + i] = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

#endif
