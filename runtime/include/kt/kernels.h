/* kt/kernels.h: every kernel that generated code calls, forward and backward, with kt/loss.h, kt/optim.h and kt/packed.h.
 *
 * Conventions
 * - A kernel takes its parameter struct first, then pointers: operands, results, scratch. It returns nothing and cannot fail: shapes
 *   and ranges are checked by the compiler that wrote the call.
 * - Layouts are row major, one sample: activations [height][width][channels] (HWC), weights of a convolution
 *   [output channel][kernel row][kernel column][input channel], of a depthwise one [row][column][output channel].
 * - x, y: int8, real value = scale * (q - zero point). input_offset is MINUS the zero point of the input (as in
 *   CMSIS-NN), output_offset is PLUS the zero point of the result. clamp = {low, high} of the int8 result.
 * - g, dx, du: gradients, int8 in [-127, 127], no zero point, real value = g * scale * 2^exponent: the scale is known to the compiler,
 *   the exponent is the one that the loss, or after it a new head, found for the sample.
 * - multiplier, shift: a positive real number multiplier * 2^(shift - 31), applied by kt_requantize.
 * - Products are summed exactly in int32; the compiler proves from the weights that they fit.
 * - `scratch` is aligned to 4 bytes and needs no initial value; its size is stated per kernel. Other pointers as their type asks.
 * - Buffers must not overlap, with two exceptions. "In place": result and named operand may be one buffer. "Behind": the
 *   result may lie over the operand x (or g), which is lost, as long as no result position covers bytes that it or a
 *   later one still reads; positions are taken forwards, or backwards where the result begins above the operand, as
 *   memmove does. Convolutions, pools and pads work behind, and so do the gradients of convolutions and pads to their
 *   input; the compiler derives the distance from the window (kiloc/ops/_reach.py).
 * - Rounding: "twice" is TensorFlow Lite Micro's, "half up" is to nearest with ties towards plus infinity. */
#ifndef KT_KERNELS_H
#define KT_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a kernel slides over an image. Sizes are {height, width, channels} or {height, width}.
 * pad is {top, left}, negative where the walk starts inside; what is needed at the bottom and on the right follows from
 * the output size. Positions outside the input read as its zero point. */
typedef struct {
    int32_t input[3];
    int32_t output[3];
    int32_t kernel[2];
    int32_t stride[2];
    int32_t dilation[2];
    int32_t pad[2];
} kt_window;

/* ==== convolution and fully connected ================================================================== */

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

/* kt_conv2d_s8 with a trained gain: the sum, without the bias, is multiplied by 1 + gain[c] * 2^gain_exponent, as
 *     sum + requantize(sum, gain[c] * 2^24, gain_exponent + 7), the addend saturated at +-2^30;
 * the total saturates at int32. gain [output channels]; gain = 0 leaves y as it was, bit for bit. */
void kt_conv2d_scaled_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                         const int8_t *gain_exponent, int8_t *y);

/* kt_conv2d_s8 with LoRA: before the requantisation the sum takes
 *     requantize(sum_j b[c, j] * u[p, j]) by addend_multiplier[c] * 2^(addend_shift[c] + u_range + b_exponent - 31),
 * saturated at +-2^30; the total saturates at int32.
 * u [positions][rank] is the result of kt_down_projection_s8; b [output channels][rank]. b = 0 leaves y as it was, bit
 * for bit. u_range, b_exponent: one value each. gain: as above, on the sum with the addend; NULL (both) for none. */
void kt_conv2d_lora_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y);

/* kt_conv2d_s8 with a trainable delta of the weights' shape, or with `rows` of some channels only: before the requantisation the sum
 * takes requantize(sum_k delta[row, k] * (x[p, k] + input_offset)) by the addend tables and 2^delta_exponent, saturated at +-2^30;
 * the total saturates at int32. gain: as above, NULL (both) for none. */
void kt_conv2d_delta_s8(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta, const int8_t *delta_exponent,
                        const int8_t *gain, const int8_t *gain_exponent, int8_t *y);

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

/* dx[x, k] = saturate8(shift_round(sum over the windows that cover x, and over c, of G'[c] * weights[c, tap, k], shift)).
 * gain [output channels]: m[c] becomes m[c] + shift_round(m[c] * gain[c], -gain_exponent), within +-2 m[c]; NULL (both) for none. */
void kt_conv2d_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                 const int8_t *gain_exponent, int8_t *dx);

/* The same with the share of a trained path: before the shift the sum takes requantize(sum over windows and c of path_g[p, c] *
 * path_weights[row, tap, k]) by path_multiplier * 2^(path_shift + path_exponent + weights_exponent - 31), saturated at +-2^30; the
 * total saturates at int32. LoRA: path_g = du, path_weights = A. A delta: path_g = g itself, or with a gain the result of
 * kt_apply_gain_s8 (path_exponent NULL for 0), path_weights = the delta. The exponents: one value each. */
void kt_conv2d_path_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                      const int8_t *gain_exponent, const int8_t *path_g, const int8_t *path_exponent,
                                      const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx);

/* The same of a new head, with its delta, by a shift k of each sample's own instead of `shift`: the smallest, at least 0, that brings
 * the sample's largest sum to seven bits. exponent: of g; dx_exponent = exponent + k, one value each. */
void kt_new_head_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, const int32_t *exponent, const int8_t *gain,
                                   const int8_t *gain_exponent, const int8_t *delta_g, const int8_t *delta, const int8_t *delta_exponent,
                                   int8_t *dx, int32_t *dx_exponent);

/* ==== depthwise convolution ============================================================================ */

/* weights             int8 [kernel rows][kernel columns][output channels]
 * depth_multiplier    output channels / input channels; output channel c reads input channel c / depth_multiplier
 * multiplier, shift, offset_sums   as kt_conv2d_params; offset_sums only where no weight is -128
 * The rest belongs to a delta (otherwise 0 and NULL):
 * addend_multiplier, addend_shift   as kt_conv2d_params
 * columns             of the delta
 * rows                [output channels]: the column that a channel uses, -1 for none; NULL: its own */
typedef struct {
    kt_window window;
    int32_t depth_multiplier;
    int32_t input_offset;
    int32_t output_offset;
    int32_t clamp[2];
    const int8_t *weights;
    const int32_t *multiplier;
    const int8_t *shift;
    const int32_t *addend_multiplier;
    const int8_t *addend_shift;
    int32_t columns;
    const int16_t *rows;
    const int32_t *offset_sums;
} kt_depthwise_conv2d_params;

/* y[p, c] = clamp(requantize(bias[c] + sum over taps of weights[tap, c] * (x[p, tap, c / depth_multiplier] +
 * input_offset)) + output_offset). Rounds twice. */
void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same with trained parts, formulas as kt_conv2d_delta_s8 and kt_conv2d_scaled_s8: a delta [kernel rows]
 * [kernel columns][columns] and a gain [output channels]; NULL (value and exponent) for what is not there. */
void kt_depthwise_conv2d_trained_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y);

/* As kt_conv2d_input_gradient_params; columns, rows: of the delta. */
typedef struct {
    kt_window window;
    int32_t depth_multiplier;
    const int8_t *weights;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
    int32_t path_multiplier;
    int32_t path_shift;
    int32_t columns;
    const int16_t *rows;
} kt_depthwise_input_gradient_params;

/* dx[x, k] = saturate8(shift_round(sum over the windows that cover x, and over the results c of channel k, of
 * G'[c] * weights[tap, c], shift)). gain: as kt_conv2d_input_gradient_s8. scratch: 4 bytes an input channel; for a
 * 3x3 kernel with stride 1 or 2 as many as two rows of up to 8 columns have, or a row of more, from 4 to 16. */
void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    const int8_t *gain, const int8_t *gain_exponent, int8_t *dx, void *scratch);

/* The same with the share of a delta: before the shift the sum takes
 *     requantize(sum over windows and the results c of channel k of delta_g[c] * delta[tap, column]) by
 *     path_multiplier * 2^(path_shift + delta_exponent - 31), saturated at +-2^30; the total saturates at int32.
 * delta_g: g itself, or with a gain the result of kt_apply_gain_s8. scratch: 8 * input channels bytes. */
void kt_depthwise_delta_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                          const int8_t *gain, const int8_t *gain_exponent, const int8_t *delta_g,
                                          const int8_t *delta, const int8_t *delta_exponent, int8_t *dx, void *scratch);

/* ==== LoRA and bottleneck adapters ===================================================================== */

/* window: the layer's, its output channels are the rank; low: -127, or 0 for a rectifier. */
typedef struct {
    kt_window window;
    int32_t input_offset;
    int32_t low;
} kt_down_projection_params;

/* u[p, j] = clamp(shift_round(sum_k a[j, k] * (x[p, k] + input_offset), range - a_exponent), low, 127).
 * a [rank][kernel rows][kernel columns][input channels], u [positions][rank].
 * saturated: one value, set to 1 when an element exceeded 127 or fell below a low of -127, else kept; NULL: not
 * wanted. */
void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u);

typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t rank;
} kt_lora_inner_gradient_params;

/* du[p, j] = saturate8(shift_round(sum_c b[c, j] * g[p, c], k)), k >= 0 the smallest for which the largest magnitude
 * has at most 7 bits (found by a first pass, so no buffer is needed).
 * du_exponent: one value, min(b_exponent + k, 127). b [channels][rank]. */
void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent);

/* clamp: the range of y. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t width;
    int32_t clamp[2];
} kt_bottleneck_up_params;

/* result[p, c] = clamp(y[p, c] + shift_round(sum_j up[c, j] * h[p, j], -(range + up_exponent))). h [positions][width]
 * of kt_down_projection_s8, up [channels][width]; up = 0 leaves y as it was. In place on y. */
void kt_bottleneck_up_s8(const kt_bottleneck_up_params *params, const int8_t *y, const int8_t *h, const int8_t *up,
                         const int8_t *up_exponent, const int8_t *range, int8_t *result);

/* fraction: bits of the sum below one step of g. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t width;
    int32_t fraction;
    int32_t shift;
} kt_bottleneck_input_gradient_params;

/* dy[p, c] = saturate8(shift_round(g[p, c] * 2^fraction + path, shift)), path = shift_round(sum_j down[j, c] *
 * dh[p, j], -(fraction + dh_exponent + down_exponent)), saturated at +-2^30. down [width][channels]. In place on g. */
void kt_bottleneck_input_gradient_s8(const kt_bottleneck_input_gradient_params *params, const int8_t *g,
                                     const int8_t *dh, const int8_t *dh_exponent, const int8_t *down,
                                     const int8_t *down_exponent, int8_t *dy);

/* ==== trained gains ==================================================================================== */

typedef struct {
    int32_t positions;
    int32_t channels;
} kt_apply_gain_params;

/* result[p, c] = saturate8(shift_round(g[p, c] * m[c], 14)), m[c] = 2^14 + shift_round(gain[c], -(exponent + 14)),
 * limited to +-2^23: g * (1 + gain) with the scale of g. In place on g. */
void kt_apply_gain_s8(const kt_apply_gain_params *params, const int8_t *g, const int8_t *gain,
                      const int8_t *gain_exponent, int8_t *result);

/* result_offset, result_scale: MINUS the zero point of y, its scale; unit [channels]: value of a bias's step; scale: of g. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t result_offset;
    float result_scale;
    const float *unit;
    float scale;
} kt_gain_gradient_params;

/* accumulator[c] += (result_scale * sum_p g * (y + result_offset) - bias[c] * unit[c] * sum_p g) /
 * max(1 + gain[c] * 2^gain_exponent, 1/16) * (scale * 2^exponent), one float32 rounding an operation. */
void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                      const int8_t *gain, const int8_t *gain_exponent, const int32_t *exponent, float *accumulator);

/* ==== gradients of parameters ========================================================================== */

typedef struct {
    int32_t size;
} kt_clear_gradient_params;

/* gradient[i] = 0: where each sample updates at once, a gradient starts in the arena instead of an accumulator. */
void kt_clear_gradient(const kt_clear_gradient_params *params, float *gradient);

/* scale: real value of one unit of the sums, without the exponents. */
typedef struct {
    int32_t positions;
    int32_t channels;
    float scale;
} kt_bias_gradient_params;

/* accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent): one float32 rounding an operation.
 * exponent: one value (of the loss), limited to [-126, 127]. */
void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent, float *accumulator);

/* rows: where not every channel is trained, the accumulator's row for each output channel in ascending order, -1 for
 * none; NULL: channel c has row c. */
typedef struct {
    kt_window window;
    int32_t input_offset;
    float scale;
    const int16_t *rows;
} kt_weight_gradient_params;

/* accumulator[c, k] += (float)(sum_p g[p, c] * (x[p, k] + input_offset)) * (scale * 2^(exponent + exponent_offset)),
 * x under the window at p; accumulator [output channels][kernel rows][kernel columns][input channels].
 * The exponents (one value each; exponent_offset may be NULL for 0) are added, then limited to [-126, 127].
 * At most 66,310 positions, so that the sums fit in int32. */
void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator);

/* columns, rows: as kt_depthwise_conv2d_params, of the accumulator. */
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

/* ==== pools ============================================================================================ */

typedef struct {
    kt_window window;
    int32_t clamp[2];
} kt_pool2d_params;

/* y = clamp(mean of the elements under the window and inside the input), rounded half away from zero. */
void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y);

/* y = clamp(largest element under the window and inside the input). */
void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y);

/* smallest_count: elements inside the input under the window that has fewest of them (average pool only). */
typedef struct {
    kt_window window;
    int32_t smallest_count;
    int32_t shift;
} kt_pool2d_gradient_params;

/* dx = saturate8(shift_round(sum of g * m over the windows that cover x, shift)),
 * m = round(2^15 * smallest_count / elements of that window). */
void kt_average_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, int8_t *dx);

/* dx = saturate8(shift_round(sum of g over the windows whose first largest element is x, shift)). */
void kt_max_pool2d_gradient_s8(const kt_pool2d_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx);

/* ==== mean ============================================================================================= */

/* extent: the tensor as {outer, count, inner}; the middle axis is reduced. */
typedef struct {
    int32_t extent[3];
    int32_t input_offset;
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
} kt_mean_params;

/* y[o, i] = saturate(requantize(sum_n (x[o, n, i] + input_offset)) + output_offset), in [-128, 127]; the multiplier
 * holds s_x / (s_y * count). Rounds twice. */
void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y);

/* dx[o, n, i] = g[o, i]; nothing is rounded, the scale of dx absorbs 1 / count. Uses extent only. */
void kt_mean_gradient_s8(const kt_mean_params *params, const int8_t *g, int8_t *dx);

/* ==== element by element =============================================================================== */

/* input_offset of x and other; multiplier and shift of x, of other and of the sum. */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier[3];
    int32_t shift[3];
    int32_t clamp[2];
} kt_add_params;

/* y = clamp(requantize(requantize((x + offset) * 2^20) + requantize((other + offset) * 2^20)) + output_offset).
 * In place on x. */
void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y);

typedef struct {
    int32_t size;
    int32_t input_offset;
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
    int32_t clamp[2];
} kt_requantize_params;

/* y = clamp(requantize(x + input_offset) + output_offset). In place on x. */
void kt_requantize_s8(const kt_requantize_params *params, const int8_t *x, int8_t *y);

/* low, high: the clamp of the forward result (kt_apply_mask_s8 does not read them). */
typedef struct {
    int32_t size;
    int32_t low;
    int32_t high;
} kt_mask_params;

/* result = g where low < y < high, else 0. In place on g. */
void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result);

/* mask: one bit an element, lowest bit first, 1 where low < y < high; (size + 7) / 8 bytes, the last filled with 0. */
void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask);

/* result = g where the bit is 1, else 0. In place on g. */
void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result);

/* multiplier: of g and other, in 1/2^14, at most 2^14. */
typedef struct {
    int32_t size;
    int32_t multiplier[2];
    int32_t shift;
} kt_gradient_sum_params;

/* result = saturate8(shift_round(g * multiplier[0] + other * multiplier[1], shift)). In place on g. */
void kt_gradient_sum_s8(const kt_gradient_sum_params *params, const int8_t *g, const int8_t *other, int8_t *result);

/* ==== layout =========================================================================================== */

/* input, output: {height, width, channels}; pad: {top, left}. */
typedef struct {
    int32_t input[3];
    int32_t output[3];
    int32_t pad[2];
    int32_t value;
} kt_pad_params;

/* y = x with a border of `value`. */
void kt_pad_s8(const kt_pad_params *params, const int8_t *x, int8_t *y);

/* dx = g without the border; `input` is the shape of dx, `output` that of g. */
void kt_pad_gradient_s8(const kt_pad_params *params, const int8_t *g, int8_t *dx);

/* offset, count: where the stripe begins and how many values it has; size: values of the image. */
typedef struct {
    int32_t offset;
    int32_t count;
    int32_t size;
} kt_write_rows_params;

/* y = x with y[offset + i] = part[i]; x NULL: the other values of y are left alone. In place on x. */
void kt_write_rows_s8(const kt_write_rows_params *params, const int8_t *part, const int8_t *x, int8_t *y);

/* output: shape of the result, four axes (1 in front where there are fewer); stride: elements of x from one index to
 * the next of each result axis. */
typedef struct {
    int32_t output[4];
    int32_t stride[4];
} kt_transpose_params;

void kt_transpose_s8(const kt_transpose_params *params, const int8_t *x, int8_t *y);

/* ==== softmax ========================================================================================== */

/* multiplier, shift: beta * s_x in 1/2^26; smallest: differences to the largest element below this count as zero
 * probability. depth < 4096. */
typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t multiplier;
    int32_t shift;
    int32_t smallest;
} kt_softmax_params;

/* y[r, i] = 256 * softmax(x[r])[i] - 128 in gemmlowp's fixed point. In place on x. */
void kt_softmax_s8(const kt_softmax_params *params, const int8_t *x, int8_t *y);

typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t shift;
} kt_softmax_gradient_params;

/* dx[i] = saturate8(shift_round(p[i] * (256 * g[i] - sum_j p[j] * g[j]), shift)), p = y + 128, y of kt_softmax_s8.
 * In place on g. */
void kt_softmax_gradient_s8(const kt_softmax_gradient_params *params, const int8_t *g, const int8_t *y, int8_t *dx);

#ifdef __cplusplus
}
#endif

#include "kt/loss.h"
#include "kt/optim.h"
#include "kt/packed.h"

#endif
