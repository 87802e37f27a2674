/* kt/kernels/depthwise.h: DEPTHWISE_CONV_2D with the model's own weights, its gradients, and what is trained of it.
 * The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_DEPTHWISE_H
#define KT_KERNELS_DEPTHWISE_H

#include "kt/kernels/window.h"
#include "kt/strict_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* weights             int8 [kernel rows][kernel columns][output channels]
 * depth_multiplier    output channels / input channels; output channel c reads input channel c / depth_multiplier
 * multiplier, shift, offset_sums   as kt_conv2d_params; offset_sums only where no weight is -128 */
typedef struct {
    kt_window window;
    int32_t depth_multiplier;
    int32_t input_offset;
    int32_t output_offset;
    int32_t clamp[2];
    const int8_t *weights;
    const int32_t *multiplier;
    const int8_t *shift;
    const int32_t *offset_sums;
} kt_depthwise_conv2d_params;

/* y[p, c] = clamp(requantize(bias[c] + sum over taps of weights[tap, c] * (x[p, tap, c / depth_multiplier] +
 * input_offset)) + output_offset). Rounds twice. */
void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same of int16 values without zero points, with sums of 64 bits and kt_requantize_wide: |sum| < 2^47, results fit in int32. */
void kt_depthwise_conv2d_s16(const kt_depthwise_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y);

/* kt_depthwise_conv2d_s8 with a gain and scratch, as kt_conv2d_scaled_s8. */
void kt_depthwise_conv2d_scaled_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                   const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);

/* As kt_conv2d_input_gradient_params. */
typedef struct {
    kt_window window;
    int32_t depth_multiplier;
    const int8_t *weights;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_depthwise_input_gradient_params;

/* dx[x, k] = saturate8(shift_round(sum over the windows that cover x, and over the results c of channel k, of
 * G'[c] * weights[tap, c], shift)). scratch: 4 bytes an input channel; for a
 * 3x3 kernel with stride 1 or 2 as many as two rows of up to 8 columns have, or a row of more, from 4 to 16. */
void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch);

/* The same with a gain, as kt_conv2d_scaled_input_gradient_s8. scratch: 2 bytes an output channel, rounded up to 4, more. */
void kt_depthwise_scaled_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                           const int8_t *gain_exponent, int8_t *dx, void *scratch);

/* columns: of the accumulator; rows [output channels]: the column that a channel uses, -1 for none; NULL: its own. */
typedef struct {
    kt_window window;
    int32_t depth_multiplier;
    int32_t input_offset;
    float scale;
    int32_t columns;
    const int16_t *rows;
} kt_depthwise_weight_gradient_params;

/* accumulator[tap, column] += (float)(sum_p g[p, c] * (x[p, tap, c / depth_multiplier] + input_offset)) * (scale *
 * 2^exponent), c the channel of the column; accumulator [kernel rows][kernel columns][columns]. */
void kt_depthwise_weight_gradient(const kt_depthwise_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                                  const int32_t *exponent, float *accumulator);

#ifdef __cplusplus
}
#endif

#endif
