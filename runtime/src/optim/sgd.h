/* sgd.h: the arithmetic of SGD on a run of elements, whatever its moment is stored in. */
#ifndef KT_OPTIM_SGD_H
#define KT_OPTIM_SGD_H

#include <stddef.h>

#include "gradient.h"
#include "kt/optim.h"

/* accumulator = rate * step, with m = momentum * m + g, step = m (g + momentum * m with Nesterov); without m: step = g.
 * Sources: Polyak, "Some Methods of Speeding Up the Convergence of Iteration Methods" (1964); Sutskever et al., "On the
 * Importance of Initialization and Momentum in Deep Learning" (2013). */
static inline void kt_sgd_steps(const kt_sgd_params *params, float factor, float rate, float *accumulator, float *m,
                                int32_t count)
{
    const kt_float_factor coefficient = kt_factor_of(params->momentum), by = kt_factor_of(factor), scaled = kt_factor_of(rate);
    int32_t i;
    for (i = 0; i < count; i++) {
        const float g = kt_gradient_by(accumulator[i], &by);
        float step = g;
        if (m != NULL) {
            const float kept = kt_times(m[i], &coefficient);
            m[i] = kept + g;
            step = m[i];
            if (params->nesterov) {
                const float ahead = kt_times(m[i], &coefficient);
                step = g + ahead;
            }
        }
        accumulator[i] = kt_times(step, &scaled);
    }
}

#endif
