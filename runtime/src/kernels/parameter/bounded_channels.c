/* A trained bias, gain or LoRA's B of which some channels keep within bounds, and the gradient of those that are held. */
#include <string.h>

#include "kt/kernels/parameter.h"
#include "kt/numerics.h"

void kt_bound_channels_s32(const kt_bounded_channels_params *params, const int32_t *x, int32_t *y)
{
    int32_t i, j;
    memcpy(y, x, (size_t)params->channels * (size_t)params->values * sizeof *y);
    for (i = 0; i < params->count; i++) {
        int32_t *const channel = y + params->chosen[i] * params->values;
        for (j = 0; j < params->values; j++) {
            channel[j] = kt_clamp(channel[j], params->low[i], params->high[i]);
        }
    }
}

void kt_bound_channels_s8(const kt_bounded_channels_params *params, const int8_t *x, int8_t *y)
{
    int32_t i, j;
    memcpy(y, x, (size_t)params->channels * (size_t)params->values);
    for (i = 0; i < params->count; i++) {
        int8_t *const channel = y + params->chosen[i] * params->values;
        for (j = 0; j < params->values; j++) {
            channel[j] = (int8_t)kt_clamp(channel[j], params->low[i], params->high[i]);
        }
    }
}

void kt_clear_channels(const kt_clear_channels_params *params, float *accumulator)
{
    int32_t i, j;
    for (i = 0; i < params->count; i++) {
        for (j = 0; j < params->values; j++) {
            accumulator[params->chosen[i] * params->values + j] = 0.0f;
        }
    }
}
