/* Stochastic gradient descent with a clip of the gradient's norm and, optionally, a momentum. */
#include "sgd.h"
#include "blocks.h"

/* kt_sgd_steps without momentum, of elements within their limit, from the first on; returns how many. */
KT_INLINE int32_t kt_take_steps(float factor, float rate, float *accumulator, int32_t count)
{
#if KT_FLOAT_FOURS
    kt_float_fours fours = {accumulator, count, factor, rate};
    kt_multiply_fours(&fours);
    return count & -4;
#elif KT_SOFT_FLOAT || defined(KT_SMALL)
    (void)factor, (void)rate, (void)accumulator, (void)count;
    return 0;
#else
    int32_t i;
    for (i = 0; i < count; i++) {
        accumulator[i] = accumulator[i] * factor * rate;
    }
    return count;
#endif
}

/* Momentum in float32. */
void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate)
{
    int within;
    const float factor = kt_gradient_factor_within(accumulator, params->size, *count, params->clip, &within);
    const int32_t done = within && momentum == NULL ? kt_take_steps(factor, *learning_rate, accumulator, params->size) : 0;
    kt_sgd_steps(params, factor, *learning_rate, accumulator + done, momentum, params->size - done);
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
