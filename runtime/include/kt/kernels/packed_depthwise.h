/* kt/kernels/packed_depthwise.h: DEPTHWISE_CONV_2D whose constants the compiler packed for cores with the DSP extension.
 * The conventions are those of kt/kernels/window.h, the results those of kt/kernels/depthwise.h. */
#ifndef KT_KERNELS_PACKED_DEPTHWISE_H
#define KT_KERNELS_PACKED_DEPTHWISE_H

#include "kt/kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Packed depthwise layers: depth multiplier 1. The rest as kt_packed_conv2d_params.
 *
 * stream              four channels at a time: taps x {weights of the first and third channel, of the second and fourth} as int16
 *                     pairs, then 4 x {multiplier, addend, shift}. Where channels are no multiple of 4, the last four stand at its end, some for
 *                     the second time; of fewer than four it has four, of which the others are not read
 * rows                of a band, for the kernels that work so; see there
 * scratch             with `fold` 4 bytes a channel */
typedef struct {
    kt_window window;
    int32_t outside;
    const int32_t *stream;
    const int32_t *fold;
    int32_t bias_limit;
    int32_t rows;
} kt_packed_depthwise_params;

/* kt_depthwise_conv2d_s8 where the clamp is all of int8 and no negative result survives it, and where the clamp is all of int8. */
void kt_packed_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                 int8_t *y, void *scratch);
void kt_packed_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                            void *scratch);

/* The same, four results at a time, of windows of 2 to 127 taps on one axis and 1 to 127 on the other, a stride of 1 or 2 on each axis, and any number
 * of channels. rows: of a band, even.
 * Windows of one row or one column have no border across it and go by lines, rows or columns of the image, with rows = 1; then the bytes below are
 * 32 * P + 16 * ((2 * ceil(results of a line / 4) - 1) * stride + P) with P = max(ceil((taps + stride) / 2), 2), and the result may be x or lie apart.
 * An axis with a dilation of d has a stride of 1 and at least d rows or columns; the bytes below are those of ceil(results / d) along it, and the
 * result may be x, where the border in front is a multiple of d, or lie apart.
 * scratch: with `fold` 4 bytes a channel; then 32 * P * kernel rows, where P = ceil((kernel columns + stride) / 2); then
 * 16 * ((ceil(result width / 2) - 1) * stride + P) * ((rows - 1) * stride + kernel rows). The result may lie behind x by whole bands, or in place on x
 * where it is as large. */
void kt_tiled_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);
void kt_tiled_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);

/* The same for 3x3 windows without dilation whose stride is 1, or strided: 2, in both directions.
 * stream: for each channel 3 words of weights, a kernel row as the bytes {w1, w0, w2, w1}, then {multiplier, addend, shift}.
 * rows: of a band, 4 or 2, strided 2 or 1. scratch: 96 * (ceil(result width / 2) + 1) bytes, strided 80 * (2 *
 * ceil(result width / 2) + 1). The result may lie behind x by
 * whole bands, or with stride 1 and a border of 1 on all sides in place on x: the scratch then takes a row of x more. */
void kt_banded_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                 int8_t *y, void *scratch);
void kt_banded_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                            void *scratch);
void kt_banded_depthwise_strided_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                         int8_t *y, void *scratch);
void kt_banded_depthwise_strided_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                    int8_t *y, void *scratch);

/* The same with a gain, kt_depthwise_conv2d_scaled_s8, of channels that are a multiple of 4: the stream holds the requantisation of a gain of 1.
 * scratch: of the first two 16 bytes a channel, of the others so much more, and none for `fold`, which is given, also where the bias is frozen. */
void kt_packed_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                        const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_packed_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_tiled_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_tiled_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_banded_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                        const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_banded_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_banded_depthwise_strided_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                                const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_banded_depthwise_strided_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                           const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);

/* kt_depthwise_input_gradient_s8, of a 3x3 window of stride 1 with a border of 1 on all sides, one result an input channel.
 *
 * stream              that of kt_banded_depthwise_s8, which may be the same; only the words of its weights are read
 * prescale            [channels]; shift in [2, 31]; the rest as kt_depthwise_input_gradient_params
 * rows                of a band, 4 or 2
 * scratch             96 * (ceil(width / 2) + 1) + width * channels bytes
 * In place on g. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
    int32_t rows;
} kt_banded_depthwise_input_gradient_params;

void kt_banded_depthwise_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g,
                                           int8_t *dx, void *scratch);

/* The same of a window of 2 to 127 taps on one axis and 1 to 127 on the other, 255 taps at most, of any border, with a stride of 1 or 2 on each axis,
 * of four channels or more. Of one row or one column as above, without a stride across; with a dilation as above, without a stride on any axis.
 *
 * stream              that of kt_tiled_depthwise_s8, which may be the same; only the words of its weights are read
 * rows                of a band, even, of lines 1; with a stride between rows of 2 twice as many rows of dx
 * scratch             that of kt_tiled_depthwise_s8 without `fold`, for a stride of 1, max(ceil(kernel rows / stride), 2) kernel rows,
 *                     ceil(kernel columns / stride) kernel columns, and a result of ceil(width of dx / stride) columns; of lines likewise of
 *                     ceil(taps / stride) taps
 * In place on g where dx is as large, else dx may lie behind g by whole bands. */
void kt_tiled_depthwise_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch);

/* The same with a gain, kt_depthwise_scaled_input_gradient_s8. */
void kt_tiled_depthwise_scaled_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                                 const int8_t *gain_exponent, int8_t *dx, void *scratch);
void kt_banded_depthwise_scaled_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g,
                                                  const int8_t *gain, const int8_t *gain_exponent, int8_t *dx, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
