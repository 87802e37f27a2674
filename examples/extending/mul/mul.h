/* extending/mul.h: products element by element. Included by generated C as "extending/mul.h". */
#ifndef EXTENDING_MUL_H
#define EXTENDING_MUL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* input_offset: minus the zero points of x and other; multiplier, shift: s_x * s_other / s_y (kt/numerics.h). */
typedef struct {
    int32_t size;
    int32_t input_offset[2];
    int32_t output_offset;
    int32_t multiplier;
    int32_t shift;
    int32_t clamp[2];
} extending_mul_params;

/* y = clamp(requantize((x + offset) * (other + offset)) + output_offset), size elements each. In place on x. */
void extending_mul_s8(const extending_mul_params *params, const int8_t *x, const int8_t *other, int8_t *y);

/* input_offset: minus the zero point of other. */
typedef struct {
    int32_t size;
    int32_t input_offset;
    int32_t shift;
} extending_mul_gradient_params;

/* result = saturate8(shift_round(g * (other + input_offset), shift)), size elements each. In place on g. */
void extending_mul_gradient_s8(const extending_mul_gradient_params *params, const int8_t *g, const int8_t *other, int8_t *result);

#ifdef __cplusplus
}
#endif

#endif
