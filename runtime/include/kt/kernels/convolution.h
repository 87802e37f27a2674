/* kt/kernels/convolution.h: CONV_2D and FULLY_CONNECTED with the model's own weights, their gradients, and what is trained of them.
 * The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_CONVOLUTION_H
#define KT_KERNELS_CONVOLUTION_H

#include "kt/kernels/window.h"
#include "kt/strict_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A fully connected layer is a 1x1 convolution over an image of height = rows and width 1.
 *
 * weights             int8 [output channels][kernel rows][kernel columns][input channels]
 * multiplier, shift   [output channels]: s_x * s_w[c] / s_y
 * The rest belongs to trainable layers (otherwise 0 and NULL):
 * addend_multiplier, addend_shift   [output channels]: from units of s_x to accumulator units s_x * s_w[c]
 * rank                LoRA: columns of B
 * rows                [output channels]: row of the delta that a channel uses, -1 for none; NULL: its own
 * offset_sums         [output channels]: input_offset * sum of the weights; NULL: a kernel that needs it sums them itself */
typedef struct {
    kt_window window;
    int32_t input_offset;
    int32_t output_offset;
    int32_t clamp[2];
    const int8_t *weights;
    const int32_t *multiplier;
    const int8_t *shift;
    const int32_t *addend_multiplier;
    const int8_t *addend_shift;
    int32_t rank;
    const int16_t *rows;
    const int32_t *offset_sums;
} kt_conv2d_params;

/* y[p, c] = clamp(requantize(bias[c] + sum_k weights[c, k] * (x[p, k] + input_offset)) + output_offset), x under the
 * window at p. Rounds twice. bias [output channels], in units of s_x * s_w[c]. */
void kt_conv2d_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same, rounded once (ties away from zero): what LiteRT computes for FULLY_CONNECTED. */
void kt_conv2d_once_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same of int16 values without zero points, with sums of 64 bits: y[p, c] = clamp(requantize(bias[c] + sum_k weights[c, k] * x[p, k])), by
 * kt_requantize_wide. The compiler proves that |sum| < 2^47 and that results fit in int32. */
void kt_conv2d_s16(const kt_conv2d_params *params, const int16_t *x, const int64_t *bias, int16_t *y);

/* The same with a bias of int32: sums fit in int32, and kt_requantize rounds twice. */
void kt_conv2d_s16_bias32(const kt_conv2d_params *params, const int16_t *x, const int32_t *bias, int16_t *y);

/* kt_conv2d_s8 with a trained gain [output channels] (kt/kernels/gain.h) of the sum without the bias: multiplier and shift are those of
 * multiplier * gain, rounded half up; where that leaves int32, half of it is rounded and the shift is one more. In front of it the bias is
 * saturate32(round(bias * inverse / 2^24)), half up, inverse = floor(2^47 / factor), factor the gain in units of 2^-23. gain = 0 leaves y as it
 * was, bit for bit. scratch: 8 bytes a channel, and 1, rounded up to 4; of one position for 32 channels at most. */
void kt_conv2d_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                         const int8_t *gain_exponent, int8_t *y, void *scratch);

/* kt_conv2d_s8 with LoRA: before the requantisation the sum takes
 *     requantize(sum_j b[c, j] * u[p, j]) by addend_multiplier[c] * 2^(addend_shift[c] + u_range + b_exponent - 31),
 * saturated at +-2^30; the total saturates at int32.
 * u [positions][rank] is the result of kt_down_projection_s8; b [output channels][rank]. b = 0 leaves y as it was, bit
 * for bit. u_range, b_exponent: one value each. */
void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, int8_t *y);

/* The same with a gain and scratch, as kt_conv2d_scaled_s8. */
void kt_conv2d_lora_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y,
                              void *scratch);

/* kt_conv2d_s8 with a trainable delta of the weights' shape, or with `rows` of some channels only: before the requantisation the sum
 * takes requantize(sum_k delta[row, k] * (x[p, k] + input_offset)) by the addend tables and 2^delta_exponent, saturated at +-2^30;
 * the total saturates at int32. */
void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta, const int8_t *delta_exponent,
                        int8_t *y);

/* The same with a gain and scratch, as kt_conv2d_scaled_s8. */
void kt_conv2d_delta_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                               const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);

/* Gradient of a convolution to its input.
 *
 * prescale        int16 [output channels]: m[c] = s_w[c] / max s_w in 1/2^15
 * prescale_shift  p: G'[c] = (g[c] * m[c] + 2^(p-1)) >> p
 * shift           of the int32 sums; transposed: weights [input channel][kernel row][kernel column][output channel], or NULL
 * The rest belongs to a trained path (otherwise 0 and NULL):
 * path_channels   channels of the gradient that enters it: rank of LoRA, output channels of a delta
 * path_rows       [path channels]: row of the path's weights, -1 for none; NULL: channel c uses row c
 * path_multiplier, path_shift: from units of the path's product to units of the sums */
typedef struct {
    kt_window window;
    const int8_t *weights;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
    const int8_t *transposed;
    int32_t path_channels;
    const int16_t *path_rows;
    int32_t path_multiplier;
    int32_t path_shift;
} kt_conv2d_input_gradient_params;

/* dx[x, k] = saturate8(shift_round(sum over the windows that cover x, and over c, of G'[c] * weights[c, tap, k], shift)). */
void kt_conv2d_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, int8_t *dx);

/* The same with a gain [output channels], of which prescale has room for some: m[c] becomes
 * min(2^15 - 1, shift_round(m[c] * gain in units of 2^-14, 14)). scratch: 2 bytes an output channel. */
void kt_conv2d_scaled_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *dx, void *scratch);

/* kt_conv2d_input_gradient_s8 with the share of a trained path: before the shift the sum takes requantize(sum over windows and c of path_g[p, c] *
 * path_weights[row, tap, k]) by path_multiplier * 2^(path_shift + path_exponent + weights_exponent - 31), saturated at +-2^30; the
 * total saturates at int32. gain: as above, NULL (both) for none. LoRA: path_g = du, path_weights = A. A delta: path_g = g itself, or with a gain the result of
 * kt_apply_gain_s8 (path_exponent NULL for 0), path_weights = the delta. The exponents: one value each. */
void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                      const int8_t *gain_exponent, const int8_t *path_g, const int8_t *path_exponent,
                                      const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx);

/* The same of a new head, with its delta, by a shift k of each sample's own instead of `shift`: the smallest, at least 0, that brings
 * the sample's largest sum to seven bits. exponent: of g; dx_exponent = exponent + k, one value each. */
void kt_new_head_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int32_t *exponent, const int8_t *gain,
                                   const int8_t *gain_exponent, const int8_t *delta_g, const int8_t *delta, const int8_t *delta_exponent,
                                   int8_t *dx, int32_t *dx_exponent);

/* rows: where not every channel is trained, the accumulator's row for each output channel in ascending order, -1 for
 * none; NULL: channel c has row c. transposed: of a 1x1 layer, inputs that scratch has room for at all positions, or 0. */
typedef struct {
    kt_window window;
    int32_t input_offset;
    float scale;
    const int16_t *rows;
    int32_t transposed;
} kt_weight_gradient_params;

/* accumulator[c, k] += (float)(sum_p g[p, c] * (x[p, k] + input_offset)) * (scale * 2^(exponent + exponent_offset)),
 * x under the window at p; accumulator [output channels][kernel rows][kernel columns][input channels].
 * The exponents (one value each; exponent_offset may be NULL for 0) are added, then limited to [-126, 127].
 * At most 66,310 positions, so that the sums fit in int32. scratch: NULL, or where kernel rows are neighbours of two values or more, room for x with
 * the border that windows meet; with transposed, a multiple of 3, positions * (transposed + 2) bytes. */
void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
