/* FULLY_CONNECTED of one row with a trained gain of each channel, from the weights of three sums in two words: what the sums start from and end
 * with is found for four channels at a time. */
#include "kt/kernels/triple_convolution.h"
#include "triple_gain.h"
#include "triple_row.h"

typedef struct {
    const kt_triple_conv2d_params *params;
    const int32_t *bias;
    kt_gain gain;
} scaled_row;

static inline const int32_t *starts_of(const void *given, int32_t first, int32_t count, const int32_t *usual, int32_t *start, int32_t *epilogue)
{
    const scaled_row *const layer = given;
    kt_gained_channels(layer->params, usual, layer->bias, &layer->gain, first, count, start, epilogue);
    return epilogue;
}

KT_INLINE void run(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain, const int8_t *gain_exponent,
                   int8_t *y, int32_t negative)
{
    const scaled_row layer = {params, bias, kt_gain_of(gain, gain_exponent)};
    kt_triple_row(&params->window, params->stream, params->length, x, y, negative, starts_of, &layer);
}

/* Results of any sign. */
void kt_triple_row_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y)
{
    run(params, x, bias, gain, gain_exponent, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y)
{
    run(params, x, bias, gain, gain_exponent, y, 0);
}
