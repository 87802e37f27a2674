/* kt/optim.h: what an update does to the state: an optimizer turns the accumulated gradient into a step, a storage
 * format takes the step. The accumulator carries the step from one to the other and ends as 0. */
#ifndef KT_OPTIM_H
#define KT_OPTIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* momentum: the factor of the old moment; clip: largest Euclidean norm of the mean gradient, 0 for no clipping. */
typedef struct {
    int32_t size;
    float momentum;
    float clip;
} kt_sgd_params;

/* g = accumulator / count, scaled down where its norm exceeds clip; m = momentum * m + g (m = g where the pointer
 * is NULL); accumulator = learning_rate * m. count: samples accumulated, one value > 0; learning_rate: one value. */
void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate);

/* unit [size]: real value of one integer step of each element, > 0. */
typedef struct {
    int32_t size;
    const float *unit;
} kt_step_int32_params;

/* value -= floor(accumulator / unit + 0.5), limited to +-2^30; accumulator = 0. For biases in accumulator units. */
void kt_step_int32(const kt_step_int32_params *params, int32_t *value, float *accumulator);

typedef struct {
    int32_t size;
} kt_step_block16_params;

/* A tensor in 16 bits with one power of two: master * 2^master_exponent, beside the int8 codes that inference reads:
 * value * 2^exponent. It takes the step in the accumulator, then master_exponent in [-32, 100] becomes the smallest
 * that holds the largest element in [-32767, 32767], and exponent = master_exponent + 8 (9 where 8 would take a code
 * out of [-127, 127]). Both round half up. accumulator = 0. */
void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int16_t *master,
                     int8_t *master_exponent, float *accumulator);

/* After an update: range += saturated (at most 30), saturated = 0. One value each; the range of LoRA's inner tensor. */
void kt_adapt_range(int8_t *range, int8_t *saturated);

#ifdef __cplusplus
}
#endif
#endif
