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

/* A gain of channel c is 1 + code[c] * 2^exponent within [1/8, 2]. Where kernels ask for gain and gain_exponent, gain holds the codes,
 * gain_exponent one value. */

/* result[p, c] = saturate8(shift_round(g[p, c] * m[c], 14)), m[c] the gain in units of 2^-14: g * gain with the scale of g. In place on g. */
void kt_apply_gain_s8(const kt_apply_gain_params *params, const int8_t *g, const int8_t *gain,
                      const int8_t *gain_exponent, int8_t *result);

/* result_offset, result_scale: MINUS the zero point of y, its scale; unit [channels]: of a step of each bias; scale: of g. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t result_offset;
    float result_scale;
    const float *unit;
    float scale;
} kt_gain_gradient_params;

/* accumulator[c] += (result_scale * (sum_p g * (y + result_offset)) - bias[c] * unit[c] * (sum_p g)) / gain * (scale * 2^exponent), one float32
 * rounding an operation. */
void kt_gain_gradient(const kt_gain_gradient_params *params, const int8_t *g, const int8_t *y, const int32_t *bias,
                      const int8_t *gain, const int8_t *gain_exponent, const int32_t *exponent, float *accumulator);

#ifdef __cplusplus
}
#endif

#endif
