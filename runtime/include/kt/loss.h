/* kt/loss.h: losses, from the int8 result of a model to its int8 gradient.
 *
 * real y = (q - zero_point) * scale. All arithmetic is float32, in order; O(size), and without scratch but where one is asked for.
 * The gradient gets a power of two of its own: exponent = ceil(log2(max(max|g|, 2^-20) / 127)),
 * g = saturate8(floor(real g * 2^-exponent + 0.5)). One exponent carries the thousandfold change between right and
 * wrong samples, so that all other gradients keep constant shifts.
 * Results and targets within KT_LARGEST_TARGET give a finite loss; a target beyond it, or NaN, gives a loss that means
 * nothing: kt_all_within refuses it before the sample is used. */
#ifndef KT_LOSS_H
#define KT_LOSS_H

#include "kt/strict_float.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* (2 * 1e15)^2 * 2^24 elements stay below the largest float32. */
#define KT_LARGEST_TARGET 1.0e15f

typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
} kt_loss_params;

/* smoothing: how much of the target is spread over all classes, in [0, 1); weights: a factor for each class, or NULL. */
typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
    float smoothing;
    const float *weights;
} kt_cross_entropy_params;

/* loss = -w sum_i q_i ln p_i, real g = w (p - q), with p = softmax(y), w = weights[label] and
 * q = (1 - smoothing) onehot(label) + smoothing / size. label: one value in [0, size).
 * g [size]; exponent and loss: one value each. */
void kt_softmax_cross_entropy(const kt_cross_entropy_params *params, const int8_t *y, const int32_t *label, int8_t *g,
                              int32_t *exponent, float *loss);

/* size: classes, of which those from known on may be closed; closed: the biases with which they are [size - known]. */
typedef struct {
    int32_t size;
    int32_t known;
    int32_t zero_point;
    float scale;
    const int32_t *closed;
} kt_open_cross_entropy_params;

/* The same over the classes that are open, without smoothing or weights. Class c is closed where c >= known and
 * bias[c] <= closed[c - known]: its g is 0. bias [size]: of the layer that gives y. label: of an open class. */
void kt_open_cross_entropy(const kt_open_cross_entropy_params *params, const int8_t *y, const int32_t *label,
                           const int32_t *bias, int8_t *g, int32_t *exponent, float *loss);

/* size: values of a row of y; rows: tokens; token_offset: what a code counts less than its token. */
typedef struct {
    int32_t size;
    int32_t rows;
    int32_t zero_point;
    float scale;
    int32_t token_offset;
} kt_next_token_params;

/* Row i of y [rows, size] are the logits of token i + 1: the mean of rows - 1 cross entropies; the last row of g is 0.
 * tokens [rows]: the model's own input, values in [0, size) once the offset is added. scratch: 256 floats.
 * g is not rounded to nearest: what is left over of a value is added to the next one of its row, rows beginning at
 * offsets that are spread evenly, so that tokens with little probability get their share of g over the rows. */
void kt_next_token_cross_entropy(const kt_next_token_params *params, const int8_t *y, const int8_t *tokens, int8_t *g,
                                 int32_t *exponent, float *loss, void *scratch);

/* The same with a distribution in place of a label: q = (1 - smoothing) target + smoothing / size and
 * w = sum_i weights[i] target[i]. target [size]: in [0, 1], with the sum 1; where its sum is a little off, loss and
 * gradient are those of such a target. */
void kt_soft_cross_entropy(const kt_cross_entropy_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss);

/* smoothing: how much of each target is one half instead, in [0, 1); weights [size]: factors on what is there, or NULL. */
typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
    float smoothing;
    const float *weights;
} kt_binary_cross_entropy_params;

/* Each y is a logit of its own: s = 1 / (1 + exp(-y)), t = (1 - smoothing) target + smoothing / 2,
 * loss = sum_i (-w t ln s - (1 - t) ln(1 - s)) / size, real g = (s - t - (w - 1) t (1 - s)) / size.
 * target [size]: in [0, 1]. */
void kt_binary_cross_entropy(const kt_binary_cross_entropy_params *params, const int8_t *y, const float *target,
                             int8_t *g, int32_t *exponent, float *loss);

/* loss = sum_i (y[i] - target[i])^2 / size, real g = (y - target) * 2 / size. target [size], in real units. */
void kt_mean_squared_error(const kt_loss_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss);

/* delta: the difference from which on the loss is linear. */
typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
    float delta;
} kt_huber_params;

/* d = y - target, c = d clamped to [-delta, delta]: loss = sum_i c (d - c / 2) / size, real g = c / size.
 * target [size], in real units. */
void kt_huber(const kt_huber_params *params, const int8_t *y, const float *target, int8_t *g, int32_t *exponent,
              float *loss);

/* diversity: weight of the spread over classes; rate: how far one sample moves the running mean of the predictions, in
 * (0, 1]; log_prior [size]: logarithms of how often each class is expected, or NULL for all alike. */
typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
    float diversity;
    float rate;
    const float *log_prior;
} kt_information_params;

/* Without a target: p = softmax(y), m the running mean of p, loss = sum_i p_i (diversity (ln m_i - log_prior_i) - ln p_i);
 * over samples the mean is, for diversity 1, minus the mutual information of inputs and answers. real g = dloss / dy with
 * m held. deviation [size], changed: m - 1 / size, all 0 before the first sample; m moves first. */
void kt_information_maximisation(const kt_information_params *params, const int8_t *y, float *deviation, int8_t *g,
                                 int32_t *exponent, float *loss);

typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
    int32_t target_zero_point;
    float target_scale;
} kt_reconstruction_params;

/* The same with an int8 target, the model's own input: real target = (x - target_zero_point) * target_scale. x [size]. */
void kt_reconstruction_error(const kt_reconstruction_params *params, const int8_t *y, const int8_t *x, int8_t *g,
                             int32_t *exponent, float *loss);

#ifdef __cplusplus
}
#endif
#endif
