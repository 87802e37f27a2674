/* FULLY_CONNECTED of one row from the weights of three sums in two words. The row is read where it lies. */
#include "kt/kernels/triple_convolution.h"
#include "triple_conv2d.h"

/* Sums of two channels of bytes w + 128. */
static void kt_row_sums(const int8_t *x, const uint8_t *weights, int32_t length, uint32_t sums[2])
{
    uint32_t first = sums[0], second = sums[1];
    int32_t i;
    for (i = 0; i < length; i++) {
        const uint32_t value = (uint32_t)x[i];
        first += value * weights[2 * i];
        second += value * weights[2 * i + 1];
    }
    sums[0] = first;
    sums[1] = second;
}

KT_INLINE void kt_triple_row(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int32_t negative)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    const uint8_t *weights = (const uint8_t *)params->stream;
    const int32_t *epilogue = kt_triple_epilogue(params->stream, channels, params->length);
    uint32_t offset = 0;
    int32_t c, i;
    for (i = 0; i < depth; i++) {
        offset -= (uint32_t)x[i] << 7;
    }
    for (c = 0; c < channels; c += 2, weights += 2 * params->length) {
        uint32_t sums[2] = {offset, offset};
        kt_row_sums(x, weights, depth, sums);
        for (i = 0; i < kt_minimum(channels - c, 2); i++, epilogue += 3) {
            const int32_t start = params->fold == NULL ? bias[c + i]
                                                       : params->fold[c + i] + kt_clamp(bias[c + i], -params->bias_limit, params->bias_limit);
            const int32_t sum = (int32_t)sums[i] + start;
            y[c + i] = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

/* Results of any sign. */
void kt_triple_row_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_triple_row(params, x, bias, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_triple_row(params, x, bias, y, 0);
}
