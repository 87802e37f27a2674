/* adam.h: the arithmetic of Adam on a run of elements, whatever its moments are stored in. */
#ifndef KT_OPTIM_ADAM_H
#define KT_OPTIM_ADAM_H

#include "gradient.h"
#include "kt/optim.h"

/* What is the same for all elements of an update. */
typedef struct {
    float factor;
    float rate;
    float correction1; /* 1 / (1 - beta1^t) */
    float correction2;
} kt_adam_update;

/* m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g^2;
 * accumulator = rate * (m * correction1) / (sqrt(v * correction2) + epsilon).
 * Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015). */
static inline void kt_adam_steps(const kt_adam_params *params, const kt_adam_update *u, float *accumulator, float *m,
                                 float *v, int32_t count)
{
    const float rest1 = 1.0f - params->beta1;
    const float rest2 = 1.0f - params->beta2;
    int32_t i;
    for (i = 0; i < count; i++) {
        const float g = kt_gradient(accumulator[i], u->factor);
        const float kept1 = params->beta1 * m[i];
        const float added1 = rest1 * g;
        const float kept2 = params->beta2 * v[i];
        const float square = g * g;
        const float added2 = rest2 * square;
        float up, down;
        m[i] = kept1 + added1;
        v[i] = kept2 + added2;
        up = m[i] * u->correction1;
        down = v[i] * u->correction2;
        down = kt_sqrt(down) + params->epsilon;
        up = up / down;
        accumulator[i] = u->rate * up;
    }
}

/* power1, power2: beta1^t and beta2^t of the t-th update. */
static inline kt_adam_update kt_adam_begin(const kt_adam_params *params, const float *accumulator, int32_t count,
                                           float rate, float power1, float power2)
{
    const float rest1 = 1.0f - power1;
    const float rest2 = 1.0f - power2;
    kt_adam_update u;
    u.factor = kt_gradient_factor(accumulator, params->size, count, params->clip);
    u.rate = rate;
    u.correction1 = 1.0f / rest1;
    u.correction2 = 1.0f / rest2;
    return u;
}

#endif
