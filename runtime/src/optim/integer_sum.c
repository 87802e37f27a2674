/* Gradients summed in integers, which the accumulator holds in its 32 bits until the update makes float32 of them. */
#include "kt/numerics.h"
#include "kt/optim.h"

/* 2^20 */
#define KT_SUM_UNITS 1048576.0f

static int32_t integer_of(float held)
{
    const uint32_t bits = kt_float_bits(held);
    return bits <= (uint32_t)INT32_MAX ? (int32_t)bits : -(int32_t)(UINT32_MAX - bits) - 1;
}

void kt_integer_sum(const kt_integer_sum_params *params, const float *gradient, float *accumulator)
{
    int32_t i;
    for (i = 0; i < params->size; i++) {
        const float scaled = gradient[i] * KT_SUM_UNITS;
        const int32_t steps = gradient[i] == gradient[i] ? kt_round_half_up(scaled) : 0;
        const int64_t sum = (int64_t)integer_of(accumulator[i]) + steps;
        accumulator[i] = kt_float_of_bits((uint32_t)(sum > INT32_MAX ? INT32_MAX : sum < -INT32_MAX ? -INT32_MAX : sum));
    }
}

void kt_from_integers(const kt_integer_sum_params *params, float *accumulator)
{
    int32_t i;
    for (i = 0; i < params->size; i++) {
        accumulator[i] = (float)integer_of(accumulator[i]) * (1.0f / KT_SUM_UNITS);
    }
}
