/* kt/kernels/elementwise.h: operators element by element, clamp masks, sums of gradients, SOFTMAX. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_ELEMENTWISE_H
#define KT_KERNELS_ELEMENTWISE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* The same from one element type to another; in place on x where both have the same width. */
void kt_requantize_u8_s8(const kt_requantize_params *params, const uint8_t *x, int8_t *y);
void kt_requantize_s8_u8(const kt_requantize_params *params, const int8_t *x, uint8_t *y);
void kt_requantize_s16_s8(const kt_requantize_params *params, const int16_t *x, int8_t *y);
void kt_requantize_s8_s16(const kt_requantize_params *params, const int8_t *x, int16_t *y);
void kt_requantize_s16(const kt_requantize_params *params, const int16_t *x, int16_t *y);
void kt_requantize_s8_s32(const kt_requantize_params *params, const int8_t *x, int32_t *y);
void kt_requantize_s16_s32(const kt_requantize_params *params, const int16_t *x, int32_t *y);

typedef struct {
    int32_t size;
} kt_turn_sign_params;

/* y = x with the highest bit of each byte turned: int8 as uint8 whose zero point is 128 higher, and back. In place on x. */
void kt_turn_sign(const kt_turn_sign_params *params, const void *x, void *y);

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

#endif
