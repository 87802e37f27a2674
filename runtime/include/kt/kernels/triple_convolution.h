/* kt/kernels/triple_convolution.h: CONV_2D and FULLY_CONNECTED whose constants the compiler packed for cores without the DSP extension.
 * The conventions are those of kt/kernels/window.h, the results those of kt/kernels/convolution.h. */
#ifndef KT_KERNELS_TRIPLE_CONVOLUTION_H
#define KT_KERNELS_TRIPLE_CONVOLUTION_H

#include "kt/kernels/packed_convolution.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Three sums in two words (runtime/src/product/triple.h); kiloc/ops/fast/triple.py proves what that needs.
 *
 * outside             zero point of the input: what the window reads outside it
 * stream              bytes w + 128: for each chunk, and in it each two channels, [values of the chunk][2]; then {multiplier, addend, shift} of
 *                     every channel where they are requantised in the product
 * length              values under the window, rounded up to 4
 * chunk               values that are summed at once, a multiple of 4; the last chunk may have fewer
 * fold, bias_limit    as kt_packed_conv2d_params
 * scratch             16 * chunk + 16 bytes; where the length is more than one chunk 24 bytes a channel, rounded up to 2, more; where the window
 *                     is no single pixel of stride 1 an input pixel, rounded up to 4, more; with `fold` 4 bytes a channel, rounded up to 4, more. NULL where
 *                     that is 672 bytes at most: all is on the stack then */
typedef struct {
    kt_window window;
    int32_t outside;
    const int32_t *stream;
    int32_t length;
    int32_t chunk;
    const int32_t *fold;
    int32_t bias_limit;
} kt_triple_conv2d_params;

/* kt_conv2d_s8 where the clamp is all of int8 and no negative result survives it: ReLU with the zero point at -128. */
void kt_triple_conv2d_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);

/* kt_conv2d_s8 where the clamp is all of int8. */
void kt_triple_conv2d_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);

/* The same for one row of a fully connected layer, without scratch: length is rounded up from `window.input[2]`, chunk is the length. */
void kt_triple_row_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);
void kt_triple_row_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same with a trained gain, in the stream's requantisation. fold is not NULL. scratch: that of a frozen bias and 16 bytes a channel; rows
 * have none. */
void kt_triple_conv2d_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_triple_conv2d_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_triple_row_scaled_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y);
void kt_triple_row_scaled_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y);

/* kt_packed_conv2d_lora_s8 (kt/kernels/packed_convolution.h), with a stream as above, without requantisation; layer.pairs is the length.
 * scratch: as above with a frozen bias. */
typedef struct {
    kt_packed_conv2d_lora_params layer;
    int32_t chunk;
} kt_triple_conv2d_lora_params;

void kt_triple_conv2d_lora_s8(const kt_triple_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                              const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);

/* The same with a gain. scratch: that of kt_conv2d_scaled_s8 more, in front. */
void kt_triple_conv2d_lora_scaled_s8(const kt_triple_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u,
                                     const int8_t *b, const int8_t *u_range, const int8_t *b_exponent, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch);

/* kt_packed_lora_s8 and kt_packed_lora_relu_s8 (kt/kernels/packed_convolution.h), with a stream as above; layer.layer.pairs is the length. scratch:
 * as above with a frozen bias. */
typedef struct {
    kt_packed_lora_params layer;
    int32_t chunk;
} kt_triple_lora_params;

void kt_triple_lora_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);
void kt_triple_lora_relu_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                            const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);

/* The same for one row of a fully connected layer, without scratch. */
void kt_triple_lora_row_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y);
void kt_triple_lora_row_relu_s8(const kt_triple_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                                const int8_t *u_range, const int8_t *b_exponent, int8_t *y);

/* kt_packed_delta_row_s8 (kt/kernels/packed_convolution.h), with a stream as above, without requantisation; layer.pairs is the length. */
void kt_triple_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y);

/* kt_conv2d_input_gradient_s8 without a gain, from the stream of the layer itself, whose input channels are a multiple of 4. length, chunk: of
 * the stream, as above. The rest as kt_conv2d_input_gradient_params. With strides dx may lie behind g by groups of four positions of each phase,
 * or by rows that are no whole groups. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    int32_t length;
    int32_t chunk;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_triple_input_gradient_params;

void kt_triple_input_gradient_s8(const kt_triple_input_gradient_params *params, const int8_t *g, int8_t *dx);

/* The same with a gain. scratch: 2 bytes an output channel. */
void kt_triple_scaled_input_gradient_s8(const kt_triple_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *dx, void *scratch);

/* kt_conv2d_path_input_gradient_s8 without a gain, in the same way. path_rows: as in kt_conv2d_input_gradient_params. */
typedef struct {
    kt_triple_input_gradient_params layer;
    int32_t path_channels;
    int32_t path_multiplier;
    int32_t path_shift;
    const int16_t *path_rows;
} kt_triple_path_input_gradient_params;

void kt_triple_path_input_gradient_s8(const kt_triple_path_input_gradient_params *params, const int8_t *g, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights, const int8_t *weights_exponent, int8_t *dx);

#ifdef __cplusplus
}
#endif

#endif
