/* lion.h: the arithmetic of Lion on a run of elements, whatever its moment is stored in. */
#ifndef KT_OPTIM_LION_H
#define KT_OPTIM_LION_H

#include "gradient.h"
#include "kt/optim.h"

/* accumulator = rate * sign(beta1 * m + (1 - beta1) * g), m = beta2 * m + (1 - beta2) * g; sign(0) = 0.
 * Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023). */
static inline void kt_lion_steps(const kt_lion_params *params, float factor, float rate, float *accumulator, float *m,
                                 int32_t count)
{
    const float rest1 = 1.0f - params->beta1;
    const float rest2 = 1.0f - params->beta2;
    int32_t i;
    for (i = 0; i < count; i++) {
        const float g = kt_gradient(accumulator[i], factor);
        const float looked = params->beta1 * m[i];
        const float kept = params->beta2 * m[i];
        const float weighed = rest1 * g;
        const float added = rest2 * g;
        const float direction = looked + weighed;
        m[i] = kept + added;
        accumulator[i] = direction > 0.0f ? rate : (direction < 0.0f ? -rate : 0.0f);
    }
}

#endif
