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

/* The same of int16 values without zero points, with 2^15 in place of 2^20. In place on x. */
void kt_add_s16(const kt_add_params *params, const int16_t *x, const int16_t *other, int16_t *y);

/* The same of operands that are subtracted. */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier[3];
    int32_t shift[3];
    int32_t clamp[2];
} kt_sub_params;

/* y = clamp(requantize(requantize((x + offset) * 2^20) - requantize((other + offset) * 2^20)) + output_offset).
 * In place on x. */
void kt_sub_s8(const kt_sub_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* The same of int16 values without zero points, with 2^15 in place of 2^20. In place on x. */
void kt_sub_s16(const kt_sub_params *params, const int16_t *x, const int16_t *other, int16_t *y);

/* input_offset of x and other; multiplier and shift of the product. */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
    int32_t clamp[2];
} kt_mul_params;

/* y = clamp(requantize((x + offset) * (other + offset)) + output_offset). In place on x. */
void kt_mul_s8(const kt_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* The same of int16 values without zero points. In place on x. */
void kt_mul_s16(const kt_mul_params *params, const int16_t *x, const int16_t *other, int16_t *y);

typedef struct {
    int32_t size;
} kt_maximum_params;

/* The larger of x and other. In place on x. */
void kt_maximum_s8(const kt_maximum_params *params, const int8_t *x, const int8_t *other, int8_t *y);

typedef struct {
    int32_t size;
} kt_minimum_params;

/* The smaller of x and other. In place on x. */
void kt_minimum_s8(const kt_minimum_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* input_offset of x and other; multiplier and shift of x, of other and of the square. */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier[3];
    int32_t shift[3];
} kt_squared_difference_params;

/* y = saturate(requantize((requantize((x + offset) * 2^7) - requantize((other + offset) * 2^7))^2) + output_offset), to int8.
 * In place on x. */
void kt_squared_difference_s8(const kt_squared_difference_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* input_offset of x and of the slopes; multiplier and shift of x, and of its product with a slope. */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier[2];
    int32_t shift[2];
} kt_prelu_params;

/* y = saturate(requantize(x + offset) + output_offset) to int8, or where x + offset is negative saturate(requantize((x + offset) *
 * (other + offset)) + output_offset); other: slopes. In place on x. */
void kt_prelu_s8(const kt_prelu_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* Loops over a result in its order, outermost first, and how many elements each operand moves on with each: 0 where it is
 * stretched. The innermost step is 0 or 1. */
typedef struct {
    int32_t extent[4];
    int32_t x_step[4];
    int32_t other_step[4];
} kt_broadcast;

/* row: of one pass of the innermost loop, whose extent is its size. */
typedef struct {
    kt_add_params row;
    kt_broadcast shape;
} kt_add_broadcast_params;

typedef struct {
    kt_sub_params row;
    kt_broadcast shape;
} kt_sub_broadcast_params;

typedef struct {
    kt_mul_params row;
    kt_broadcast shape;
} kt_mul_broadcast_params;

typedef struct {
    kt_maximum_params row;
    kt_broadcast shape;
} kt_maximum_broadcast_params;

typedef struct {
    kt_minimum_params row;
    kt_broadcast shape;
} kt_minimum_broadcast_params;

typedef struct {
    kt_squared_difference_params row;
    kt_broadcast shape;
} kt_squared_difference_broadcast_params;

typedef struct {
    kt_prelu_params row;
    kt_broadcast shape;
} kt_prelu_broadcast_params;

/* The operators above, of operands that stretch to the result. In place on x where it does not stretch. */
void kt_add_broadcast_s8(const kt_add_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void kt_add_broadcast_s16(const kt_add_broadcast_params *params, const int16_t *x, const int16_t *other, int16_t *y);
void kt_sub_broadcast_s8(const kt_sub_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void kt_sub_broadcast_s16(const kt_sub_broadcast_params *params, const int16_t *x, const int16_t *other, int16_t *y);
void kt_mul_broadcast_s8(const kt_mul_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void kt_mul_broadcast_s16(const kt_mul_broadcast_params *params, const int16_t *x, const int16_t *other, int16_t *y);
void kt_maximum_broadcast_s8(const kt_maximum_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void kt_minimum_broadcast_s8(const kt_minimum_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);
void kt_squared_difference_broadcast_s8(const kt_squared_difference_broadcast_params *params, const int8_t *x, const int8_t *other,
                                        int8_t *y);

void kt_prelu_broadcast_s8(const kt_prelu_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* Loops over gradients of a result: steps of the gradient that is computed, and of what its factor is made of. */
typedef struct {
    int32_t extent[4];
    int32_t result_step[4];
} kt_sum_loops;

typedef struct {
    int32_t extent[4];
    int32_t result_step[4];
    int32_t factor_step[4];
} kt_product_loops;

typedef struct {
    int32_t extent[4];
    int32_t result_step[4];
    int32_t own_step[4];
    int32_t other_step[4];
} kt_pair_loops;

/* size: of the result; sign: 1 or -1. */
typedef struct {
    int32_t size;
    kt_sum_loops shape;
    int32_t sign;
    int32_t shift;
} kt_sum_gradient_params;

/* result = saturate8(shift_round(sign * sum g, shift)), the sum over all g that an element of the result was stretched to.
 * sums: `size` int32 of scratch, NULL where nothing was stretched. In place on g where sums is NULL. */
void kt_sum_gradient_s8(const kt_sum_gradient_params *params, const int8_t *g, int8_t *result, void *sums);

typedef struct {
    int32_t size;
    kt_product_loops shape;
    int32_t factor_offset;
    int32_t shift;
} kt_product_gradient_params;

/* result = saturate8(shift_round(sum g * (factor + factor_offset), shift)); sums as above. */
void kt_product_gradient_s8(const kt_product_gradient_params *params, const int8_t *g, const int8_t *factor, int8_t *result,
                            void *sums);

typedef struct {
    int32_t size;
    kt_pair_loops shape;
    int32_t sign;
    int32_t shift;
} kt_choice_gradient_params;

/* result = saturate8(shift_round(sum g * f, shift)), f: 2 where own is larger than other (sign 1) or smaller (-1), 1 where
 * they are equal, else 0; sums as above. */
void kt_choice_gradient_s8(const kt_choice_gradient_params *params, const int8_t *g, const int8_t *own, const int8_t *other,
                           int8_t *result, void *sums);

/* offset and multiplier of own and other; multipliers in 1/2^14, at most 2^14. */
typedef struct {
    int32_t size;
    kt_pair_loops shape;
    int32_t offset[2];
    int32_t multiplier[2];
    int32_t shift;
} kt_difference_gradient_params;

/* result = saturate8(shift_round(sum g * f, shift)), f = shift_round((own + offset) * multiplier - (other + offset) *
 * multiplier, 10); sums as above. */
void kt_difference_gradient_s8(const kt_difference_gradient_params *params, const int8_t *g, const int8_t *own,
                               const int8_t *other, int8_t *result, void *sums);

/* offset of own and other; factor: of 1, and in 1/2^8 of other. */
typedef struct {
    int32_t size;
    kt_pair_loops shape;
    int32_t offset[2];
    int32_t factor[2];
    int32_t shift;
} kt_slope_gradient_params;

/* result = saturate8(shift_round(sum g * f, shift)), f = factor[0] where own + offset is not negative, else
 * shift_round((other + offset) * factor[1], 8); sums as above. */
void kt_slope_gradient_s8(const kt_slope_gradient_params *params, const int8_t *g, const int8_t *own, const int8_t *other,
                          int8_t *result, void *sums);

/* table: results of the codes -128 .. 127. */
typedef struct {
    int32_t size;
    const int8_t *table;
} kt_lookup_params;

/* y = table[x + 128]. In place on x. */
void kt_lookup_s8(const kt_lookup_params *params, const int8_t *x, int8_t *y);

/* One operator of a chain. constants: of each channel; adds: 1 of a sum, whose multipliers and shifts are those of x and of the sum, 0 of a
 * product, whose multiplier and shift are the first. */
typedef struct {
    const int32_t *constants;
    int32_t adds;
    int32_t input_offset;
    int32_t output_offset;
    int32_t multiplier[2];
    int32_t shift[2];
    int32_t clamp[2];
} kt_chain_step;

/* count: of the steps, 2 to 4. */
typedef struct {
    int32_t rows;
    int32_t channels;
    int32_t count;
    kt_chain_step first;
    kt_chain_step second;
    kt_chain_step third;
    kt_chain_step fourth;
} kt_elementwise_chain_params;

/* Of each of rows * channels elements what the steps make of it, one after the other; constant: of its channel.
 * product: clamp(requantize((x + input_offset) * constant) + output_offset);
 * sum: clamp(requantize(requantize((x + input_offset) * 2^20) + constant) + output_offset). In place on x. */
void kt_elementwise_chain_s8(const kt_elementwise_chain_params *params, const int8_t *x, int8_t *y);

/* slopes: of the codes -128 .. 127. */
typedef struct {
    int32_t size;
    const int8_t *slopes;
    int32_t shift;
} kt_lookup_gradient_params;

/* result = saturate8(shift_round(g * slopes[x + 128], shift)). In place on g. */
void kt_lookup_gradient_s8(const kt_lookup_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *result);

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
void kt_mask_gradient_s16(const kt_mask_params *params, const int8_t *g, const int16_t *y, int8_t *result);

/* mask: one bit an element, lowest bit first, 1 where low < y < high; (size + 7) / 8 bytes, the last filled with 0. */
void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask);
void kt_save_mask_s16(const kt_mask_params *params, const int16_t *y, uint8_t *mask);

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

/* y[r, i] = 65536 * softmax(x[r])[i] - 32768. */
void kt_softmax_s8_s16(const kt_softmax_params *params, const int8_t *x, int16_t *y);

typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t shift;
} kt_softmax_gradient_params;

/* dx[i] = saturate8(shift_round(p[i] * (256 * g[i] - m), shift)), m = 256 * sum_j p[j] * g[j] / sum_j p[j] to nearest, p = y + 128, y of
 * kt_softmax_s8. In place on g. */
void kt_softmax_gradient_s8(const kt_softmax_gradient_params *params, const int8_t *g, const int8_t *y, int8_t *dx);

/* row: of SOFTMAX with beta 1; reverse_multiplier, reverse_shift: from 1/2^26 to steps of x. */
typedef struct {
    kt_softmax_params row;
    int32_t reverse_multiplier;
    int32_t reverse_shift;
} kt_log_softmax_params;

/* y[r, i] = 16 * ln softmax(x[r])[i] + 127 in gemmlowp's fixed point. In place on x. */
void kt_log_softmax_s8(const kt_log_softmax_params *params, const int8_t *x, int8_t *y);

/* probabilities: of the results -128 .. 127, in 1/2^10. */
typedef struct {
    int32_t rows;
    int32_t depth;
    const int16_t *probabilities;
    int32_t shift;
} kt_log_softmax_gradient_params;

/* dx[i] = saturate8(shift_round(2^10 * g[i] - p[i] * sum_j g[j], shift)), p of y, the result of kt_log_softmax_s8. In place on g. */
void kt_log_softmax_gradient_s8(const kt_log_softmax_gradient_params *params, const int8_t *g, const int8_t *y, int8_t *dx);

/* multiplier, shift: codes of x to 1 / (3 * 4096), rounded half up; sigmoid: 256 entries, 65536 / (1 + e^(-i / 24)). */
typedef struct {
    int32_t size;
    int32_t multiplier;
    int32_t shift;
    const uint16_t *sigmoid;
} kt_function_s16_params;

/* y = 1 / (1 + e^-x), and tanh x, in 2^-15. In place. */
void kt_logistic_s16(const kt_function_s16_params *params, const int16_t *x, int16_t *y);
void kt_tanh_s16(const kt_function_s16_params *params, const int16_t *x, int16_t *y);

/* multiplier, shift: differences of x to steps of 10 / 65535. exponential: e^x over [-10, 0], reciprocal: 1 / (1 + x) over [0, 1], 513 entries
 * each in 2^-15. depth < 65536. */
typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t multiplier;
    int32_t shift;
    const int16_t *exponential;
    const int16_t *reciprocal;
} kt_softmax_s16_params;

/* y = softmax of each row of int16 values, in 2^-15. In place. */
void kt_softmax_s16(const kt_softmax_s16_params *params, const int16_t *x, int16_t *y);

#ifdef __cplusplus
}
#endif

#endif
