/* Stochastic gradient descent with a clip of the gradient's norm and, optionally, momentum.
 *
 *     g = accumulator / count * min(1, clip / |accumulator / count|);  m = momentum * m + g;  accumulator = lr * m
 *
 * float32, one operation at a time; the squared norm is summed in order. The clip is the most valuable setting of
 * integer training. */
#include <stddef.h>

#include "kt/numerics.h"
#include "kt/optim.h"

/* Larger sums of squares count as this, so that the norm is finite. */
#define LARGEST_NORM 3.0e38f

static float norm(const float *accumulator, int32_t size, float factor)
{
    float total = 0.0f;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float g = accumulator[i] * factor;
        const float square = g * g;
        total = total + square;
    }
    return kt_sqrt(total > LARGEST_NORM ? LARGEST_NORM : total);
}

void kt_sgd(const kt_sgd_params *params, float *accumulator, float *momentum, const int32_t *count,
            const float *learning_rate)
{
    const int32_t size = params->size;
    const float coefficient = params->momentum;
    const float rate = *learning_rate;
    float factor = 1.0f / (float)*count;
    int32_t i;
    if (params->clip > 0.0f) {
        const float length = norm(accumulator, size, factor);
        if (length > params->clip) {
            const float reduction = params->clip / length;
            factor = factor * reduction;
        }
    }
    for (i = 0; i < size; i++) {
        float step = accumulator[i] * factor;
        if (momentum != NULL) {
            const float kept = coefficient * momentum[i];
            step = kept + step;
            momentum[i] = step;
        }
        accumulator[i] = rate * step;
    }
}
