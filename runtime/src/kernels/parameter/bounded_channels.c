/* A trained bias or gain of which some channels keep within bounds, and the gradient of those that are held. */
#include <string.h>

#include "kt/kernels/parameter.h"
#include "kt/numerics.h"

void kt_bound_channels_s32(const kt_bounded_channels_params *params, const int32_t *x, int32_t *y)
{
    int32_t i;
    memcpy(y, x, (size_t)params->channels * sizeof *y);
    for (i = 0; i < params->count; i++) {
        int32_t *const one = &y[params->chosen[i]];
        *one = kt_clamp(*one, params->low[i], params->high[i]);
    }
}

void kt_bound_channels_s8(const kt_bounded_channels_params *params, const int8_t *x, int8_t *y)
{
    int32_t i;
    memcpy(y, x, (size_t)params->channels);
    for (i = 0; i < params->count; i++) {
        int8_t *const one = &y[params->chosen[i]];
        *one = (int8_t)kt_clamp(*one, params->low[i], params->high[i]);
    }
}

void kt_clear_channels(const kt_clear_channels_params *params, float *accumulator)
{
    int32_t i;
    for (i = 0; i < params->count; i++) {
        accumulator[params->chosen[i]] = 0.0f;
    }
}
