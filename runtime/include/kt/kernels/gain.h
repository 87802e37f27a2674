/* kt/kernels/gain.h: trained gains. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_GAIN_H
#define KT_KERNELS_GAIN_H

#include <stdint.h>

#include "kt/strict_float.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t positions;
    int32_t channels;
} kt_apply_gain_params;

/* result[p, c] = saturate8(shift_round(g[p, c] * m[c], 14)), m[c] = 2^14 + shift_round(gain[c], -(exponent + 14)),
 * limited to +-2^23: g * (1 + gain) with the scale of g. In place on g. */
void kt_apply_gain_s8(const kt_apply_gain_params *params, const int8_t *g, const int8_t *gain,
                      const int8_t *gain_exponent, int8_t *result);

/* result_offset, result_scale: MINUS the zero point of y, its scale; unit [channels]: value of a bias's step; scale: of g. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t result_offset;
    float result_scale;
    const float *unit;
    float scale;
} kt_gain_gradient_params;

/* accumulator[c] += (result_scale * sum_p g * (y + result_offset) - bias[c] * unit[c] * sum_p g) /
 * max(1 + gain[c] * 2^gain_exponent, 1/16) * (scale * 2^exponent), one float32 rounding an operation. */
void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                      const int8_t *gain, const int8_t *gain_exponent, const int32_t *exponent, float *accumulator);

#ifdef __cplusplus
}
#endif

#endif
