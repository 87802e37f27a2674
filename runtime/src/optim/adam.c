/* Adam. */
#include "adam.h"
#include "blocks.h"

/* Moments in float32. */
void kt_adam(const kt_adam_params *params, float *accumulator, float *first_moment, float *second_moment,
             const int32_t *count, const float *learning_rate, const float *first_power, const float *second_power)
{
    const kt_adam_update u =
        kt_adam_begin(params, accumulator, *count, *learning_rate, *first_power, *second_power);
    kt_adam_steps(params, &u, accumulator, first_moment, second_moment, params->size);
}

/* Moments in 8 bits: one block at a time is decoded, moved and stored again. */
void kt_adam8(const kt_adam8_params *params, float *accumulator, int8_t *first_moment, float *first_moment_scale,
              uint8_t *second_moment, float *second_moment_scale, const int32_t *count, const float *learning_rate,
              const float *first_power, const float *second_power, const int32_t *updates, const int32_t *seed,
              int32_t first)
{
    const kt_adam_params *const adam = &params->adam;
    const kt_adam_update u = kt_adam_begin(adam, accumulator, *count, *learning_rate, *first_power, *second_power);
    const uint32_t key = kt_random_key(*seed, *updates, params->stream);
    float m[KT_STATE_BLOCK];
    float v[KT_STATE_BLOCK];
    int32_t start;
    for (start = 0; start < adam->size; start += KT_STATE_BLOCK) {
        const int32_t length = kt_minimum(adam->size - start, KT_STATE_BLOCK);
        float *const scale1 = &first_moment_scale[start / KT_STATE_BLOCK];
        float *const scale2 = &second_moment_scale[start / KT_STATE_BLOCK];
        kt_load_linear(&first_moment[start], *scale1, m, length);
        kt_load_root(&second_moment[start], *scale2, v, length);
        kt_adam_steps(adam, &u, &accumulator[start], m, v, length);
        *scale1 = kt_store_linear(m, &first_moment[start], length);
        *scale2 = kt_store_root(v, &second_moment[start], length, key, first + start);
    }
}
