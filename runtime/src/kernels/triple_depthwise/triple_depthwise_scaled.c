/* DEPTHWISE_CONV_2D with three sums in two words and a trained gain of each channel. */
#include "kt/kernels/triple_depthwise.h"
#include "triple_depthwise.h"

/* The words of one channel stand in front of the band. */
KT_INLINE void kt_triple_depthwise_with_gain(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                             const int8_t *gain_exponent, int8_t *y, void *scratch, int32_t negative, kt_triple_rows_kernel *two,
                                             kt_triple_rows_kernel *three)
{
    const kt_gained_channel gained = {kt_gain_of(gain, gain_exponent), scratch};
    const int32_t words = (params->window.kernel[KT_Y] * params->window.kernel[KT_X] + 3) / 4 + 3;
    kt_triple_depthwise(params, x, bias, &gained, y, (int32_t *)scratch + words, negative, two, three);
}

/* Results of any sign. */
void kt_triple_depthwise_scaled_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_triple_depthwise_with_gain(params, x, bias, gain, gain_exponent, y, scratch, 128, KT_TWO_ROWS(away), KT_THREE_ROWS(away));
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_depthwise_scaled_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_triple_depthwise_with_gain(params, x, bias, gain, gain_exponent, y, scratch, 0, KT_TWO_ROWS(half_up), KT_THREE_ROWS(half_up));
}
