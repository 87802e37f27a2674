/* Lion. */
#include "lion.h"
#include "blocks.h"

/* Moment in float32. */
void kt_lion(const kt_lion_params *params, float *accumulator, float *momentum, const int32_t *count,
             const float *learning_rate)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    kt_lion_steps(params, factor, *learning_rate, accumulator, momentum, params->size);
}

/* Moment in 8 bits: one block at a time is decoded, moved and stored again. */
void kt_lion8(const kt_lion_params *params, float *accumulator, int8_t *momentum, float *momentum_scale,
              const int32_t *count, const float *learning_rate)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    float m[KT_STATE_BLOCK];
    int32_t start;
    for (start = 0; start < params->size; start += KT_STATE_BLOCK) {
        const int32_t length = kt_minimum(params->size - start, KT_STATE_BLOCK);
        float *const scale = &momentum_scale[start / KT_STATE_BLOCK];
        kt_load_linear(&momentum[start], *scale, m, length);
        kt_lion_steps(params, factor, *learning_rate, &accumulator[start], m, length);
        *scale = kt_store_linear(m, &momentum[start], length);
    }
}
