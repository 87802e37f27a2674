/* kt/kernels/triple_depthwise.h: DEPTHWISE_CONV_2D whose constants the compiler packed for cores without the DSP extension.
 * The conventions are those of kt/kernels/window.h, the results those of kt/kernels/depthwise.h. */
#ifndef KT_KERNELS_TRIPLE_DEPTHWISE_H
#define KT_KERNELS_TRIPLE_DEPTHWISE_H

#include "kt/kernels/packed_convolution.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Three sums in two words (runtime/src/product/triple.h): those of three rows of one channel; one result of each input channel. A band of result
 * rows is computed at once, channel by channel. y may be x where x is as large; else it may lie behind x by whole bands.
 *
 * outside             zero point of the input: what the window reads outside it
 * stream              of each channel: bytes of its weights [kernel column][kernel row], filled up to whole words, then multiplier, addend, shift
 * fold                where the bias is trained, [channels]: what the input's zero point adds to the sums; NULL: the bias holds it already
 * bias_limit          a trained bias counts as within +-bias_limit
 * rows                of a band
 *                     An axis with a dilation of d and a stride of 1 goes by d images of every d-th row or column, one after the other; then y may be
 *                     x, where the border in front is a multiple of d, or lie apart, and the rows and columns of scratch are those of the largest
 *                     of these images; of one line, those of images that are alike lie side by side
 * scratch             8 bytes for each of the columns under the windows of a row and, of each, the rows under those of ceil(rows / 3) results, and
 *                     8 more where the kernel has an even number of rows; where
 *                     y may be x with several bands, pad[0] rows of the input's width, rounded up to 4 bytes, more */
typedef struct {
    kt_window window;
    int32_t outside;
    const int32_t *stream;
    const int32_t *fold;
    int32_t bias_limit;
    int32_t rows;
} kt_triple_depthwise_params;

/* kt_depthwise_conv2d_s8 where the clamp is all of int8 and no negative result survives it: ReLU with the zero point at -128. */
void kt_triple_depthwise_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);

/* kt_depthwise_conv2d_s8 where the clamp is all of int8. */
void kt_triple_depthwise_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch);

/* The same with a trained gain, in the stream's requantisation. fold is not NULL. scratch: the words that the stream has of one channel more, in
 * front. */
void kt_triple_depthwise_scaled_relu_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                        const int8_t *gain_exponent, int8_t *y, void *scratch);
void kt_triple_depthwise_scaled_s8(const kt_triple_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                   const int8_t *gain_exponent, int8_t *y, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
