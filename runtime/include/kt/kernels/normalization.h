/* kt/kernels/normalization.h: rows brought to a mean of 0 and a variance of 1. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_NORMALIZATION_H
#define KT_KERNELS_NORMALIZATION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* epsilon * 2^epsilon_shift: what is added to the variance of a row, in units of (s_x / depth)^2 / 2^8. gamma [depth]: what a normalised value is
 * multiplied by; multiplier, shift: from 1/32 of its units to steps of the result. depth <= 2048. */
typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t epsilon;
    int32_t epsilon_shift;
    const int16_t *gamma;
    int32_t multiplier;
    int32_t shift;
    int32_t output_offset;
} kt_layer_normalization_params;

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, row by row; beta [depth] in 1/32 of gamma's units. In place on x. */
void kt_layer_normalization_s8(const kt_layer_normalization_params *params, const int8_t *x, const int32_t *beta, int8_t *y);

/* The same of int16 values without a zero point; not in place. */
void kt_layer_normalization_s16(const kt_layer_normalization_params *params, const int16_t *x, const int32_t *beta, int8_t *y);

typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t epsilon;
    int32_t epsilon_shift;
    const int16_t *gamma;
    int32_t shift;
} kt_layer_normalization_gradient_params;

/* With h = g * gamma and n the normalised x: dx = (h - mean(h) - n * mean(h * n)) / sqrt(variance + epsilon), in units of s_g * s_gamma / s_x,
 * which are shifted by `shift`. In place on g. */
void kt_layer_normalization_gradient_s8(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int8_t *x, int8_t *dx);

/* The same with x of int16, in units of s_g * s_gamma / s_x / 2^6. In place on g. */
void kt_layer_normalization_gradient_s16(const kt_layer_normalization_gradient_params *params, const int8_t *g, const int16_t *x, int8_t *dx);

#ifdef __cplusplus
}
#endif

#endif
