/* kt/quantize.h: real values, and the integers that stand for them in a model's inputs and outputs: real = scale * (q - zero_point).
 *
 * The header of a model has functions with its own scales and zero points, which call these. They give the bits of kilotune's
 * Python on every core, whatever flags an application is compiled with. */
#ifndef KT_QUANTIZE_H
#define KT_QUANTIZE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* real / scale in float32, rounded to the nearest integer, halves away from zero, plus zero_point, limited to [low, high].
 * scale is above 0. Infinity gives a limit, and NaN, which Python refuses, zero_point. */
int32_t kt_quantize(float real, float scale, int32_t zero_point, int32_t low, int32_t high);

/* scale * (q - zero_point) in float32. q and zero_point are within 16 bits, or zero_point is 0. */
float kt_dequantize(int32_t q, float scale, int32_t zero_point);

#ifdef __cplusplus
}
#endif
#endif
