/* product.h: the matrix product behind every packed layer: a panel of two positions times all channels of a stream.
 *
 * A panel holds the values under the windows of two neighbouring positions as int16 pairs: word [pair][position]. A stream holds the
 * weights, four channels a, b, c, d at a time, in the order in which the product reads them:
 *
 *     pairs x {word of a and b, word of c and d}, then what the channels' epilogue needs
 *
 * In a paired word each half holds one of the pair's two weights of both channels, as b * 256 + a. One multiplication of the word
 * by a pair of values gives 256 B + A, one of its low bytes gives A, so that two channels cost one load and one extension; exact
 * while |B| < 2^23, which the compiler proves.
 *
 * An exact word holds b * 256 + a + 128. Its high bytes are b, so that one multiplication gives 256 B + A + 128 X, X the sum of the values, and
 * one of the high bytes B: A follows from them and X exactly, whatever the sums. X is found once for all channels. */
#ifndef KT_PRODUCT_H
#define KT_PRODUCT_H

#include "kt/architecture.h"
#include "kt/kernels/window.h"

/* result: of the first position, int8 or int32; stride: bytes from there to the second position's; 0: there is none, and what the
 * panel holds of it does not matter. end: behind the result's last channel; channels are a multiple of 4.
 * bias [channels]: the sums start from it. panel [pairs][2]. */
#define KT_PRODUCT_ARGUMENTS \
    void *result, int32_t stride, const void *end, const int32_t *bias, const void *panel, int32_t pairs, \
        const int32_t *stream

typedef void kt_product_kernel(KT_PRODUCT_ARGUMENTS);

/* int8 results; the epilogue is 4 x {multiplier, addend, shift}: with q = 256 * sum,
 *     result = saturate_to_int8(((q * multiplier >> 32) + addend) >> shift)
 * Equal to rounding twice where no negative result survives the clamp. */
void kt_product_half_up(KT_PRODUCT_ARGUMENTS);

/* The same with 128 less in the addend where the sum is negative: ties away from zero, as rounding twice does. */
void kt_product_away(KT_PRODUCT_ARGUMENTS);

/* The same of layers whose requantisation is trained: bias holds, for each four channels, what their sums start from, and then the epilogue. That
 * of the stream is passed over. */
void kt_product_scaled_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_scaled_away(KT_PRODUCT_ARGUMENTS);

/* The same of layers whose sums start from something else at each position: bias holds, for each four channels, what those of the first position
 * start from, and then those of the second. */
void kt_product_started_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_started_away(KT_PRODUCT_ARGUMENTS);

/* All of these, and of one position, of a stream of exact words: a weight may be -128. */
void kt_product_exact_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_away(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_started_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_started_away(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_row_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_row_away(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_scaled_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_scaled_away(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_scaled_row_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_exact_scaled_row_away(KT_PRODUCT_ARGUMENTS);

/* int32 sums [channels]; no epilogue. */
void kt_product_sums(KT_PRODUCT_ARGUMENTS);

/* int32 sums of a stream of exact words, exact for any sum in int32. */
void kt_product_exact_sums(KT_PRODUCT_ARGUMENTS);

/* int8 results of a stream of exact words; bias: {2^(shift - 1), shift} for all, with which the compiler proves sums to stay in int32.
 *     result = (sum + 2^(shift - 1)) >> shift, limited to [-127, 127] */
void kt_product_gradient(KT_PRODUCT_ARGUMENTS);

/* The same of sums that start from something else at each position, with the DSP extension alone. bias: for each four channels what those of the
 * first position start from, those of the second, and the shift. */
void kt_product_started_gradient(KT_PRODUCT_ARGUMENTS);

/* One position whose values are read as int8 where they lie: panel is an int8 pointer, pairs are even, stride is not used. */
void kt_product_row_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_row_away(KT_PRODUCT_ARGUMENTS);
void kt_product_scaled_row_half_up(KT_PRODUCT_ARGUMENTS);
void kt_product_scaled_row_away(KT_PRODUCT_ARGUMENTS);

/* int32 sums of one such position; no epilogue. */
void kt_product_row_sums(KT_PRODUCT_ARGUMENTS);

/* The same of a stream of exact words, exact for any sum in int32. */
void kt_product_exact_row_sums(KT_PRODUCT_ARGUMENTS);

/* Back through a stream of paired words: to the sums of each value under the window, those of all channels' gradients times its weights.
 *
 * sums, end: of the values from the stream's first pair on, a multiple of 4 of them. panel: for each four channels the pairs (a, c) and
 * (b, d) of every position, four channels panel_step words behind the four before. quads: fours of channels, step: words of the stream from
 * one to the next. stream: the first pair of the first. */
#define KT_BACKWARD_ARGUMENTS \
    int32_t *sums, const int32_t *end, const int32_t *panel, int32_t quads, const int32_t *stream, int32_t step, int32_t panel_step

/* Four positions; sums [pairs][2][4]. */
void kt_product_backward(KT_BACKWARD_ARGUMENTS);

/* One position; sums [values] in their own order. panel_step: 2. */
void kt_product_backward_row(KT_BACKWARD_ARGUMENTS);

#endif
