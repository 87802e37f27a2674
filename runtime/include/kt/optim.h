/* kt/optim.h: what an update does to the state: an optimizer turns the accumulated gradient into a step, a storage
 * format takes the step. The accumulator carries the step from one to the other and ends as 0.
 *
 * Every optimizer works with every storage format. count: samples accumulated, one value > 0; learning_rate: one value;
 * updates: updates so far, one value; seed: one value. All arithmetic is float32, one operation at a time. */
#ifndef KT_OPTIM_H
#define KT_OPTIM_H

#include "kt/kernels/convolution.h"
#include "kt/strict_float.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of an 8-bit moment that share a scale: an eighth of a byte more each. Measured with LoRA on four models:
 * 32 and 64 lose the same (within noise) against float32, and most tensors that are trained have fewer than 64. */
enum { KT_STATE_BLOCK = 32 };

/* ==== optimizers ======================================================================================= *
 *
 * g = accumulator / count, scaled down where its norm exceeds clip (0: no clipping), each element within +-1e18.
 * The accumulator becomes the step that the storage format subtracts. The functions that end in 8 do the same with
 * moments in 8 bits: codes [size] and a float32 scale for each KT_STATE_BLOCK of them (runtime/src/optim/blocks.h). */

typedef struct {
    int32_t size;
    float clip;
} kt_clip_gradient_params;

/* accumulator = g, for an optimizer that then goes over the tensor in parts, with a count of 1 and no clip. */
void kt_clip_gradient(const kt_clip_gradient_params *params, float *accumulator, const int32_t *count);

typedef struct {
    int32_t size;
} kt_integer_sum_params;

/* accumulator += round(gradient * 2^20), half up, where the 32 bits of an element hold an int32, and the same in whatever
 * order samples come: for devices that train together. It saturates at +-(2^31 - 1); NaN adds nothing. */
void kt_integer_sum(const kt_integer_sum_params *params, const float *gradient, float *accumulator);

/* The float32 that these integers stand for, in their place: what an optimizer reads. */
void kt_from_integers(const kt_integer_sum_params *params, float *accumulator);

/* momentum: the factor of the old moment; nesterov: 0 or 1. */
typedef struct {
    int32_t size;
    float momentum;
    int32_t nesterov;
    float clip;
} kt_sgd_params;

/* m = momentum * m + g; step = learning_rate * m, or learning_rate * (g + momentum * m) with nesterov.
 * momentum NULL: step = learning_rate * g. */
void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate);

void kt_sgd8(const kt_sgd_params *params, float *accumulator, int8_t *momentum, float *momentum_scale,
             const int32_t *count, const float *learning_rate);

typedef struct {
    int32_t size;
    float beta1;
    float beta2;
    float clip;
} kt_lion_params;

/* step = learning_rate * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * g. */
void kt_lion(const kt_lion_params *params, float *accumulator, float *momentum, const int32_t *count,
             const float *learning_rate);

void kt_lion8(const kt_lion_params *params, float *accumulator, int8_t *momentum, float *momentum_scale,
              const int32_t *count, const float *learning_rate);

typedef struct {
    int32_t size;
    float beta1;
    float beta2;
    float epsilon;
    float clip;
} kt_adam_params;

/* stream: names this tensor's random numbers. */
typedef struct {
    kt_adam_params adam;
    int32_t stream;
} kt_adam8_params;

/* m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
 * step = learning_rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
 * first_power, second_power: beta1^t and beta2^t of this update, one value each (kt_next_power). first: index in its
 * tensor of the first element, a multiple of KT_STATE_BLOCK, by which random numbers go. */
void kt_adam(const kt_adam_params *params, float *accumulator, float *first_moment, float *second_moment,
             const int32_t *count, const float *learning_rate, const float *first_power, const float *second_power);

void kt_adam8(const kt_adam8_params *params, float *accumulator, int8_t *first_moment, float *first_moment_scale,
              uint8_t *second_moment, float *second_moment_scale, const int32_t *count, const float *learning_rate,
              const float *first_power, const float *second_power, const int32_t *updates, const int32_t *seed,
              int32_t first);

/* ==== storage formats ================================================================================== *
 *
 * value = value * (1 - min(1, learning_rate * decay)) - accumulator, rounded and saturated; accumulator = 0.
 * learning_rate NULL: no decay. */

/* unit [size]: real value of one integer step of each element, > 0. */
typedef struct {
    int32_t size;
    const float *unit;
    float decay;
} kt_step_int32_params;

/* For biases in accumulator units: value -= floor(accumulator / unit + decayed + 0.5), limited to +-2^30. */
void kt_step_int32(const kt_step_int32_params *params, int32_t *value, float *accumulator, const float *learning_rate);

typedef struct {
    int32_t size;
    float decay;
} kt_step_block16_params;

/* A tensor in 16 bits with one power of two, (256 * value + remainder) * 2^(exponent - 8), of which inference reads
 * value * 2^exponent. It takes the step, then exponent in [-24, 108] becomes the smallest with which the largest element is within
 * +-(127 * 256 + 127), so that no code leaves [-127, 127]. Elements and codes round half up; remainder: [-128, 127]. */
void kt_step_block16(const kt_step_block16_params *params, int8_t *value, int8_t *exponent, int8_t *remainder,
                     float *accumulator, const float *learning_rate);

typedef struct {
    int32_t size;
    float decay;
    int32_t stream;
} kt_step_block8_params;

/* A tensor in 8 bits with one power of two, value * 2^exponent: 1 byte a parameter. exponent in [-32, 100] becomes the
 * smallest that holds the largest element in [-127, 127]. Rounds stochastically (kt/random.h). */
void kt_step_block8(const kt_step_block8_params *params, int8_t *value, int8_t *exponent, float *accumulator,
                    const int32_t *updates, const int32_t *seed, const float *learning_rate);

/* ==== updates without a gradient in memory ============================================================= *
 *
 * SGD without momentum, for one sample and one position: the gradient is computed again whenever it is read, then
 * clipped and taken as above. gradient[r, k] = (float)(g[r] * (x[k] + input_offset)) * (scale * 2^exponents), g[r] alone
 * for a bias. decay: as in the steps above, 0 for none; unit: of a bias, NULL for weights. */
typedef struct {
    int32_t rows;
    int32_t columns;
    int32_t input_offset;
    float scale;
    float clip;
    float decay;
    const float *unit;
} kt_streamed_params;

/* The int32 format of kt_step_int32. */
void kt_streamed_bias(const kt_streamed_params *params, const int8_t *g, const int32_t *exponent, int32_t *value,
                      const int32_t *count, const float *learning_rate);

/* The 16-bit format of kt_step_block16. exponent_offset: added to the exponent, NULL for none. */
void kt_streamed_weights(const kt_streamed_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                         const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                         const int32_t *count, const float *learning_rate);

/* streamed: its rows are those that are trained; channels: of g */
typedef struct {
    kt_streamed_params streamed;
    int32_t channels;
} kt_streamed_channels_params;

/* kt_streamed_weights where not every channel is trained. rows: of each channel its row of the weights, -1 for none. scratch: as many bytes as rows are
 * trained. */
void kt_streamed_channels(const kt_streamed_channels_params *params, const int8_t *g, const int16_t *rows, const int8_t *x,
                          const int32_t *exponent, const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent,
                          int8_t *remainder, const int32_t *count, const float *learning_rate, void *scratch);

/* gradient: without rows of its own and without scratch; rows, columns: of the accumulator that it would add to, `part` rows of which stand in
 * memory at a time; clip: largest norm, 0 for none; decay: as in kt_step_block16. */
typedef struct {
    kt_weight_gradient_params gradient;
    int32_t rows;
    int32_t columns;
    int32_t part;
    float clip;
    float decay;
} kt_streamed_rows_params;

/* SGD without momentum on one sample, for weights in the 16-bit format of kt_step_block16: their gradient is computed again for its norm, for the
 * largest value, and for the step. scratch: 4 * part * columns + 2 * rows bytes. */
void kt_streamed_rows(const kt_streamed_rows_params *params, const int8_t *g, const int8_t *x, const int32_t *exponent,
                      const int8_t *exponent_offset, int8_t *value, int8_t *value_exponent, int8_t *remainder,
                      const int32_t *count, const float *learning_rate, void *scratch);

/* ==== once an update =================================================================================== */

typedef struct {
    int32_t every;
    float factor;
} kt_schedule_step_params;

/* updates: how many the fall takes, > 0; final: the share of the base rate that is left after it. */
typedef struct {
    int32_t updates;
    float final;
} kt_schedule_params;

/* rate = base * (a share that falls with the number of updates so far). One value each. */
void kt_schedule_step(const kt_schedule_step_params *params, const float *base, const int32_t *updates, float *rate);
void kt_schedule_linear(const kt_schedule_params *params, const float *base, const int32_t *updates, float *rate);
void kt_schedule_cosine(const kt_schedule_params *params, const float *base, const int32_t *updates, float *rate);

typedef struct {
    float factor;
} kt_scaled_rate_params;

/* rate = base * factor: of tensors that learn faster than the others. One value each. */
void kt_scaled_rate(const kt_scaled_rate_params *params, const float *base, float *rate);

typedef struct {
    float factor;
} kt_next_power_params;

/* power *= factor. */
void kt_next_power(const kt_next_power_params *params, float *power);

/* updates += 1, up to INT32_MAX. */
void kt_count_update(int32_t *updates);

/* After an update: range += saturated (at most 30), saturated = 0. One value each; the range of LoRA's inner tensor. */
void kt_adapt_range(int8_t *range, int8_t *saturated);

#ifdef __cplusplus
}
#endif
#endif
