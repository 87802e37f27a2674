/* kt/kernels/parameter.h: gradients of parameters that do not depend on the kind of their layer. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_PARAMETER_H
#define KT_KERNELS_PARAMETER_H

#include <stdint.h>

#include "kt/strict_float.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t size;
} kt_clear_gradient_params;

/* gradient[i] = 0: where each sample updates at once, a gradient starts in the arena instead of an accumulator. */
void kt_clear_gradient(const kt_clear_gradient_params *params, float *gradient);

/* A trained tensor [outer, channels, block] of which some channels are computed with, `count` of them, in ascending order. block: bytes of
 * what is taken, elements of a gradient. */
typedef struct {
    int32_t outer;
    int32_t channels;
    int32_t count;
    int32_t block;
    const int16_t *chosen;
} kt_some_channels_params;

/* y[o, i] = x[o, chosen[i]]. */
void kt_take_channels(const kt_some_channels_params *params, const void *x, void *y);

/* accumulator[o, chosen[i]] += part[o, i]. */
void kt_add_channels(const kt_some_channels_params *params, const float *part, float *accumulator);

/* Bounds of `count` of the channels of a trained bias, gain or LoRA's B. values: of a channel, one after the other. chosen: which channels, in
 * ascending order; low, high: what each of them keeps within. */
typedef struct {
    int32_t channels;
    int32_t values;
    int32_t count;
    const int16_t *chosen;
    const int32_t *low;
    const int32_t *high;
} kt_bounded_channels_params;

/* y[c, j] = x[c, j], limited to [low[i], high[i]] where c is chosen[i]: of a bias, and of the codes of a gain or of B. */
void kt_bound_channels_s32(const kt_bounded_channels_params *params, const int32_t *x, int32_t *y);
void kt_bound_channels_s8(const kt_bounded_channels_params *params, const int8_t *x, int8_t *y);

/* values: of a channel. chosen: `count` of the channels, in ascending order. */
typedef struct {
    int32_t values;
    int32_t count;
    const int16_t *chosen;
} kt_clear_channels_params;

/* accumulator[c, j] = 0 where c is chosen: what is held has no gradient. */
void kt_clear_channels(const kt_clear_channels_params *params, float *accumulator);

/* scale: real value of one unit of the sums, without the exponents. */
typedef struct {
    int32_t positions;
    int32_t channels;
    float scale;
} kt_bias_gradient_params;

/* accumulator[c] += (float)(sum_p g[p, c]) * (scale * 2^exponent): one float32 rounding an operation.
 * exponent: one value (of the loss), limited to [-126, 127]. */
void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent, float *accumulator);

/* positions: up to 2^15; floor: the lower end of the layer's clamp, as a code + 128. */
typedef struct {
    int32_t positions;
    int32_t channels;
    int32_t floor;
} kt_channel_moments_params;

/* What the results y [positions, channels] of a layer are like, for re-normalisation: with u = y + 128, the means over the positions, rounded half
 * up, of 256 u, 16 u^2 and 256 [u > floor] are added to moments [3, channels], and 1 to the count of samples behind them. A count of 1024 is
 * halved first, with all moments: they run. */
void kt_channel_moments(const kt_channel_moments_params *params, const int8_t *y, int32_t *moments);

typedef struct {
    int32_t size;
    float scale;
} kt_gradient_of_sums_params;

/* result[i] = accumulator[i] + sums[i] * (scale * 2^exponents), without an accumulator (NULL) from 0: of whole numbers up to 2^24 which stripes
 * of rows summed. exponent: as above; exponent_offset: one more power of two, or NULL. result may be the sums or the accumulator. */
void kt_gradient_of_sums(const kt_gradient_of_sums_params *params, const float *sums, const int32_t *exponent,
                         const int8_t *exponent_offset, const float *accumulator, float *result);

typedef struct {
    int32_t size;
} kt_total_of_sums_params;

/* result[i] = total[i] + sums[i], without a total (NULL) from 0; result may be the total. sums: whole numbers up to 2^24. */
void kt_total_of_sums(const kt_total_of_sums_params *params, const float *sums, const int32_t *total, int32_t *result);

/* kt_gradient_of_sums of such a total; result may be where the total lies. */
void kt_gradient_of_total(const kt_gradient_of_sums_params *params, const int32_t *total, const int32_t *exponent,
                          const int8_t *exponent_offset, const float *accumulator, float *result);

#ifdef __cplusplus
}
#endif

#endif
