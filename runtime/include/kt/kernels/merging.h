/* kt/kernels/merging.h: weights of layers with a trained delta, made in front of a call in the order in which its kernel reads them.
 * The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_MERGING_H
#define KT_KERNELS_MERGING_H

#include "kt/kernels/window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* W'[c, k] = clamp(W[c, k] + ((V[r, k] * f[c] + 2^15) >> 16), lowest, 127), f[c] = round(2^16 * 2^exponent / s_w[c]), at most 2^23 - 1; r is the row
 * of the delta V that channel c uses, W' = W where it has none. While the sum of |W'| of a channel lies above largest[c], f[c] is halved.
 *
 * weights             W, int8, in the layer's own order: [channels][kernel rows][kernel columns][depth], or with by_column that of a depthwise
 *                     layer, [kernel rows][kernel columns][channels]
 * multiplier, shift   [channels]: 1 / s_w[c]
 * rows                [channels]: row of the delta that a channel uses, -1 for none; NULL: its own
 * largest             [channels], or NULL for no bound
 * spare               with largest, [channels]: by how much every weight of a channel may move at once, so that their sum stays within it
 * epilogue            [channels][3]: the requantisation that the stream holds behind the weights, or NULL
 * trained             rows of the delta, in the order of the weights
 * offset              minus the zero point of the layer's input
 * dilated             the window is, so that values of two taps are no neighbours
 * chunk               as kt_triple_conv2d_params
 * exact               the stream holds exact words of product.h, of lowest -128 or of sums beyond 24 bits
 *
 * fold [channels] takes offset * sum of the weights of a channel. */
typedef struct {
    const int8_t *weights;
    const int32_t *multiplier;
    const int8_t *shift;
    const int16_t *rows;
    const int32_t *largest;
    const int8_t *spare;
    const int32_t *epilogue;
    int32_t channels;
    int32_t trained;
    int32_t by_column;
    int32_t lowest;
    int32_t offset;
    int32_t kernel[2];
    int32_t stride[2];
    int32_t depth;
    int32_t dilated;
    int32_t chunk;
    int32_t exact;
} kt_merging_params;

/* In the layer's own order. */
void kt_merge_weights(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights);

/* The same, with kt_conv2d_params.offset_sums. */
void kt_merge_offsets(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights, int32_t *offset_sums);

/* The first, and kt_conv2d_input_gradient_params.transposed: kernels read one of them. */
void kt_merge_transposed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int8_t *weights, int8_t *transposed);

/* kt_packed_conv2d_params and kt_packed_conv2d_lora_params: stream and fold, of channels rounded up to 4. */
void kt_merge_packed(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold);

/* kt_packed_input_gradient_params.stream. */
void kt_merge_packed_gradient(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream);

/* kt_triple_conv2d_params and kt_triple_conv2d_lora_params: stream and fold, of channels rounded up to 4; and with fold NULL
 * kt_triple_input_gradient_params.stream. */
void kt_merge_triple(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold);

/* kt_packed_depthwise_params: stream and fold, of 3x3 windows in bands and of others; with fold NULL
 * kt_banded_depthwise_input_gradient_params.stream, likewise. */
void kt_merge_banded_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold);
void kt_merge_packed_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold);

/* kt_triple_depthwise_params: stream and fold. */
void kt_merge_triple_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold);

#ifdef __cplusplus
}
#endif

#endif
