/* Stochastic gradient descent with a clip of the gradient's norm and, optionally, a momentum. */
#include "sgd.h"
#include "blocks.h"

#if !KT_SOFT_FLOAT && !defined(KT_SMALL)
/* kt_sgd_steps without momentum, of elements within their limit. */
static void take_steps(float factor, float rate, float *accumulator, int32_t count)
{
    int32_t i = 0;
#if KT_FLOAT_FOURS
    if (count >= 4) {
        kt_float_fours fours = {accumulator, count / 4, factor, rate, 0.0f};
        kt_multiply_fours(&fours);
        i = count / 4 * 4;
    }
#endif
    for (; i < count; i++) {
        accumulator[i] = accumulator[i] * factor * rate;
    }
}
#endif

/* Momentum in float32. */
void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate)
{
    int within;
    const float factor = kt_gradient_factor_within(accumulator, params->size, *count, params->clip, &within);
#if !KT_SOFT_FLOAT && !defined(KT_SMALL)
    if (within && momentum == NULL) {
        take_steps(factor, *learning_rate, accumulator, params->size);
        return;
    }
#endif
    kt_sgd_steps(params, factor, *learning_rate, accumulator, momentum, params->size);
}

/* Momentum in 8 bits: one block at a time is decoded, moved and stored again. */
void kt_sgd8(const kt_sgd_params *params, float *accumulator, int8_t *momentum, float *momentum_scale,
             const int32_t *count, const float *learning_rate)
{
    const float factor = kt_gradient_factor(accumulator, params->size, *count, params->clip);
    float m[KT_STATE_BLOCK];
    int32_t start;
    for (start = 0; start < params->size; start += KT_STATE_BLOCK) {
        const int32_t length = kt_minimum(params->size - start, KT_STATE_BLOCK);
        float *const scale = &momentum_scale[start / KT_STATE_BLOCK];
        kt_load_linear(&momentum[start], *scale, m, length);
        kt_sgd_steps(params, factor, *learning_rate, &accumulator[start], m, length);
        *scale = kt_store_linear(m, &momentum[start], length);
    }
}
