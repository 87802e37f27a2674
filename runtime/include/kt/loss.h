/* kt/loss.h: losses, from the int8 result of a model to its int8 gradient.
 *
 * real y = (q - zero_point) * scale. All arithmetic is float32, in order; O(size) and without scratch.
 * The gradient gets a power of two of its own: exponent = ceil(log2(max(max|g|, 2^-20) / 127)),
 * g = saturate8(floor(real g * 2^-exponent + 0.5)). One exponent carries the thousandfold change between right and
 * wrong samples, so that all other gradients keep constant shifts.
 * A loss that is not finite is written as such; g and exponent mean nothing then and must not be used. */
#ifndef KT_LOSS_H
#define KT_LOSS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t size;
    int32_t zero_point;
    float scale;
} kt_loss_params;

/* loss = -ln softmax(y)[label], real g = softmax(y) - onehot(label). label: one value in [0, size).
 * g [size]; exponent and loss: one value each. */
void kt_softmax_cross_entropy(const kt_loss_params *params, const int8_t *y, const int32_t *label, int8_t *g,
                              int32_t *exponent, float *loss);

/* loss = sum_i (y[i] - target[i])^2 / size, real g = (y - target) * 2 / size. target [size], in real units. */
void kt_mean_squared_error(const kt_loss_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss);

#ifdef __cplusplus
}
#endif
#endif
