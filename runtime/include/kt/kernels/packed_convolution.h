/* kt/kernels/packed_convolution.h: CONV_2D and FULLY_CONNECTED whose constants the compiler packed for cores with the DSP extension.
 * The conventions are those of kt/kernels/window.h, the results those of kt/kernels/convolution.h. */
#ifndef KT_KERNELS_PACKED_CONVOLUTION_H
#define KT_KERNELS_PACKED_CONVOLUTION_H

#include "kt/kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Packed layers: the same results from weights in the order in which the fast kernels read them. The compiler packs a layer after
 * it has proved what the form needs (kiloc/ops/fast/_packing.py); runtime/src/product/product.h describes stream and panel.
 *
 * outside             zero point of the input: what the window reads outside it
 * stream              weights, and the requantisation of each channel where there is one
 * pairs               pairs of values under the window
 * fold                where the bias is trained, [output channels, rounded up to 4]: what the input's zero point adds to the sums; NULL: the
 *                     bias holds it already, and has as many entries
 * bias_limit          a trained bias counts as within +-bias_limit: beyond it every result is clamped anyway
 * scratch             8 * pairs bytes; with `fold` 4 bytes a channel, rounded up to 4, more. NULL where that is 640 bytes at most: they
 *                     are on the stack then (kt_packed_conv2d_relu_s8 and kt_packed_conv2d_s8) */
typedef struct {
    kt_window window;
    int32_t outside;
    const int32_t *stream;
    int32_t pairs;
    const int32_t *fold;
    int32_t bias_limit;
} kt_packed_conv2d_params;

/* kt_conv2d_s8 where the clamp is all of int8 and no negative result survives it: ReLU with the zero point at -128. */
void kt_packed_conv2d_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch);

/* kt_conv2d_s8 where the clamp is all of int8. */
void kt_packed_conv2d_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                         void *scratch);

/* Both without scratch, in any arena: windows are multiplied in parts that the stack has room for. Output channels are 256 at most. */
void kt_packed_conv2d_parts_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);
void kt_packed_conv2d_parts_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* The same for one row of a fully connected layer whose input channels are a multiple of 4, without scratch. */
void kt_packed_row_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);
void kt_packed_row_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* All four where a weight is -128, of a stream of exact words: each half holds w + 128 of the first channel without a sign, and w of the second.
 * Kernels of int32 sums take such a stream also where sums may be beyond 24 bits. */
void kt_exact_conv2d_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);
void kt_exact_conv2d_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);
void kt_exact_row_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);
void kt_exact_row_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y);

/* All four with a gain, kt_conv2d_scaled_s8: the stream holds the requantisation of a gain of 1. scratch: behind the panel, which rows have
 * none of, 64 bytes for each four channels, of rows for 32 channels at most. */
void kt_packed_conv2d_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                     const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_packed_conv2d_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_packed_row_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_packed_row_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                             const int8_t *gain_exponent, int8_t *y, void *scratch);

/* The same of a stream of exact words. */
void kt_exact_conv2d_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                    const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_exact_conv2d_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                               const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_exact_row_scaled_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                 const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_exact_row_scaled_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                            const int8_t *gain_exponent, int8_t *y, void *scratch);

/* kt_packed_conv2d_relu_s8 and kt_packed_conv2d_s8 for 3x3 windows of stride 1 with a border of 1, by Winograd's transform: input channels are a multiple of 8, output channels of 4,
 * the height of 2, the width of 4.
 * stream              runtime/src/product/winograd.h describes it; after each four channels their requantisation
 * pairs               input channels / 2
 * scratch             128 * pairs + 512 + 16 * input channels bytes; with `fold` 4 bytes an output channel more
 * The result may lie behind x by two whole rows. */
void kt_winograd_conv2d_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                                void *scratch);
void kt_winograd_conv2d_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                           void *scratch);

/* The fields of kt_packed_conv2d_params, with fold and without bias_limit; the stream has no requantisation. The rest as
 * kt_conv2d_params. */
typedef struct {
    kt_window window;
    int32_t outside;
    const int32_t *stream;
    int32_t pairs;
    const int32_t *fold;
    int32_t output_offset;
    int32_t clamp[2];
    const int32_t *multiplier;
    const int8_t *shift;
    const int32_t *addend_multiplier;
    const int8_t *addend_shift;
    int32_t rank;
} kt_packed_conv2d_lora_params;

/* kt_conv2d_lora_s8 or kt_conv2d_s8, for any clamp and rounding twice: u, b, u_range and b_exponent NULL where there is no LoRA.
 * scratch: 8 * pairs bytes. */
void kt_packed_conv2d_lora_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias,
                              const int8_t *u, const int8_t *b, const int8_t *u_range, const int8_t *b_exponent,
                              int8_t *y, void *scratch);

/* The same of a stream of exact words, as above. */
void kt_exact_conv2d_lora_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                              const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);

/* Both for one row of a fully connected layer whose input channels are a multiple of 4, without scratch. */
void kt_packed_sums_row_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y);
void kt_exact_sums_row_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                          const int8_t *u_range, const int8_t *b_exponent, int8_t *y);

/* Both of any positions with a gain. scratch: that of kt_conv2d_scaled_s8 more, in front. */
void kt_packed_conv2d_lora_scaled_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias,
                                     const int8_t *u, const int8_t *b, const int8_t *u_range, const int8_t *b_exponent,
                                     const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_exact_conv2d_lora_scaled_s8(const kt_packed_conv2d_lora_params *params, const int8_t *x, const int32_t *bias,
                                    const int8_t *u, const int8_t *b, const int8_t *u_range, const int8_t *b_exponent,
                                    const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);

/* layer               as for a layer without LoRA; fold NULL: the bias is frozen
 * addend_limit        an addend beyond it leaves every result at its clamp, whatever the bias within bias_limit
 * addend              of each channel the addend_multiplier of kt_conv2d_params and its addend_shift less least_shift, which is the least of all
 * rank                as there
 * An addend that is shifted to the right is within rank * 2^13: beside a trained bias beyond bias_limit it makes no difference. */
typedef struct {
    kt_packed_conv2d_params layer;
    const int32_t *addend;
    int32_t least_shift;
    int32_t addend_limit;
    int32_t rank;
} kt_packed_lora_params;

/* kt_conv2d_lora_s8 where the clamp is all of int8, and under a ReLU as kt_packed_conv2d_relu_s8: the product starts from the bias and the addend
 * of each position, and requantises. scratch: as without LoRA, never NULL. */
void kt_packed_lora_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                       const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);
void kt_packed_lora_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                            const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);

/* The same for one row of a fully connected layer whose input channels are a multiple of 4, without scratch. */
void kt_packed_lora_row_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y);
void kt_packed_lora_row_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                                const int8_t *u_range, const int8_t *b_exponent, int8_t *y);

/* All four of a stream of exact words, as above. */
void kt_exact_lora_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                      const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);
void kt_exact_lora_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                           const int8_t *u_range, const int8_t *b_exponent, int8_t *y, void *scratch);
void kt_exact_lora_row_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                          const int8_t *u_range, const int8_t *b_exponent, int8_t *y);
void kt_exact_lora_row_relu_s8(const kt_packed_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                               const int8_t *u_range, const int8_t *b_exponent, int8_t *y);

/* rows: as in kt_conv2d_params. packed_rows: rows of the delta, where scratch has room for them behind the panel, 0 where it has none. */
typedef struct {
    kt_packed_conv2d_lora_params layer;
    const int16_t *rows;
    int32_t packed_rows;
} kt_packed_conv2d_delta_params;

/* kt_conv2d_delta_s8 in the same way: the delta is as training keeps it. scratch: 8 * pairs bytes; with
 * packed rows 2 * pairs + 12 more for each of them, rounded up to 4, and 32, and 32 an output channel. */
void kt_packed_conv2d_delta_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias,
                               const int8_t *delta, const int8_t *delta_exponent, int8_t *y, void *scratch);

/* The same for one row of a fully connected layer whose input channels are a multiple of 4, without scratch; packed_rows is 0. */
void kt_packed_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y);

/* The same of any positions with a gain. scratch: that of kt_conv2d_scaled_s8 more, in front. */
void kt_packed_conv2d_delta_scaled_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias,
                                      const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                                      const int8_t *gain_exponent, int8_t *y, void *scratch);

/* All three of a stream of exact words, as above. */
void kt_exact_conv2d_delta_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                              const int8_t *delta_exponent, int8_t *y, void *scratch);
void kt_exact_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                           const int8_t *delta_exponent, int8_t *y);
void kt_exact_conv2d_delta_scaled_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                     const int8_t *delta_exponent, const int8_t *gain, const int8_t *gain_exponent, int8_t *y, void *scratch);

/* kt_conv2d_input_gradient_s8 without a gain, of a window without dilation, from transposed weights.
 *
 * stream              exact words of product.h. Positions of the input fall into stride[0] * stride[1] phases by what is left of
 *                     y + pad and of x + pad; each has the taps that meet it, last tap first. Phases follow one another.
 * prescale            [output channels, rounded up to 4]
 * scratch             8 * the most pairs of a phase bytes; NULL where that is 512 bytes at most: they are on the stack then
 * The rest as kt_conv2d_input_gradient_params. With strides dx may lie behind g by groups of two positions of each phase, or by rows
 * that are no whole groups. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_packed_input_gradient_params;

void kt_packed_input_gradient_s8(const kt_packed_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch);

/* The same of a window of 1x1 with stride 1 and no border, whose input channels are a multiple of 4; shift: 2 to 31.
 *
 * first, rest         input channels of `stream`, a multiple of 4, where those behind them have a stream of their own; else rest is NULL
 * The rest as kt_packed_input_gradient_params. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    int32_t first;
    const int32_t *rest;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_packed_pointwise_input_gradient_params;

void kt_packed_pointwise_input_gradient_s8(const kt_packed_pointwise_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch);

/* The same with a gain, kt_conv2d_scaled_input_gradient_s8. scratch: in front of the panel 2 bytes an output channel, rounded up to 4 channels. */
void kt_packed_scaled_input_gradient_s8(const kt_packed_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *dx, void *scratch);

/* kt_conv2d_path_input_gradient_s8 without a gain, in the same way, always with scratch. path_channels, path_multiplier, path_shift, path_rows: as
 * there. path_limit: what LoRA may add before sums with half a unit of the result leave int32; 0: not known. Of a delta path_g is g, over which dx
 * may lie as without a path. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
    int32_t path_channels;
    int32_t path_multiplier;
    int32_t path_shift;
    int32_t path_limit;
    const int16_t *path_rows;
} kt_packed_path_input_gradient_params;

void kt_packed_path_input_gradient_s8(const kt_packed_path_input_gradient_params *params, const int8_t *g,
                                      const int8_t *path_g, const int8_t *path_exponent, const int8_t *path_weights,
                                      const int8_t *weights_exponent, int8_t *dx, void *scratch);

/* kt_conv2d_input_gradient_s8 without a gain, from the stream of the packed layer itself. Its input channels are a multiple of 4.
 *
 * step                words of the stream from four output channels to the next four
 * prescale            [output channels, rounded up to 4]; shift in [2, 31]; half a unit of the result added to a sum stays in int32
 * scratch             a panel of 2 bytes an output channel, rounded up to 4, for each of ceil((kernel[1] - 1) * dilation[1] / stride[1]) + 4
 *                     columns, or for one of a single position (1x1, no stride or pad); with larger windows than 1x1 also 16 bytes an input
 *                     channel. NULL where that is 768 bytes at most, 512 with a 1x1 window, or of a single position with at most 128
 *                     input channels: all is on the stack then
 * The rest as kt_conv2d_input_gradient_params. With strides dx may lie behind g by groups of four positions of each phase, or by rows that are
 * no whole groups. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    int32_t step;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_shared_input_gradient_params;

void kt_shared_input_gradient_s8(const kt_shared_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch);

/* kt_conv2d_path_input_gradient_s8 with LoRA and without a gain, in the same way; sums may be anything in int32. */
typedef struct {
    kt_shared_input_gradient_params layer;
    int32_t path_channels;
    int32_t path_multiplier;
    int32_t path_shift;
} kt_shared_path_input_gradient_params;

void kt_shared_path_input_gradient_s8(const kt_shared_path_input_gradient_params *params, const int8_t *g, const int8_t *path_g,
                                      const int8_t *path_exponent, const int8_t *path_weights, const int8_t *weights_exponent,
                                      int8_t *dx, void *scratch);

/* In front of a gradient that has no transposed weights in flash: `stream` of kt_packed_input_gradient_params from that of the packed layer itself,
 * whose window has no dilation, and whose input channels are a multiple of 4.
 *
 * stream              paired words of product.h
 * step                words of it from four output channels to the next four
 * channels, depth     output and input channels */
typedef struct {
    const int32_t *stream;
    int32_t step;
    int32_t kernel[2];
    int32_t stride[2];
    int32_t channels;
    int32_t depth;
} kt_repacking_params;

void kt_repack_stream(const kt_repacking_params *params, int32_t *stream);

/* The same of a 1x1 window without strides; depth: input channels from the first one on, or all. */
void kt_repack_pointwise(const kt_repacking_params *params, int32_t *stream);

/* kt_packed_pointwise_input_gradient_s8 without transposed weights in flash, which it makes of some input channels at a time, for each block of
 * positions again, or of all once.
 *
 * stream, step        as of kt_repacking_params
 * positions           of a block, an even number
 * channels            input channels whose weights are made at once, a multiple of 4
 * scratch             4 bytes for each position of a block and pair of output channels where that is more than 768 bytes, else all positions are
 *                     on the stack, and 2 for each of `channels` and pair; one or two channels that are left of pairs are a pair
 * The rest as kt_packed_input_gradient_params. */
typedef struct {
    kt_window window;
    const int32_t *stream;
    int32_t step;
    int32_t positions;
    int32_t channels;
    const int16_t *prescale;
    int32_t prescale_shift;
    int32_t shift;
} kt_blocked_input_gradient_params;

void kt_blocked_input_gradient_s8(const kt_blocked_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
