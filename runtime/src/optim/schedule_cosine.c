/* The learning rate falls along half a cosine: rate = base * (final + (1 - final) * (1 + cos(pi t)) / 2) with
 * t = updates / params->updates, and base * final from t = 1 on.
 *
 * (1 + cos(pi t)) / 2 = cos(pi t / 2)^2, from the Taylor polynomial of degree 10 on [0, pi / 2]: within 1.5e-7 of the
 * true value, and exactly 1 at 0.
 * Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017). */
#include "kt/optim.h"

#define HALF_PI 1.57079637f

/* cos(x)^2 for x in [0, pi / 2] */
static float squared_cosine(float x)
{
    static const float coefficient[5] = {2.48015876e-5f, -1.38888892e-3f, 4.16666679e-2f, -0.5f, 1.0f};
    const float z = x * x;
    float p = -2.75573188e-7f;
    int32_t i;
    for (i = 0; i < 5; i++) {
        p = p * z;
        p = p + coefficient[i];
    }
    return p * p;
}

void kt_schedule_cosine(const kt_schedule_params *params, const float *base, const int32_t *updates, float *rate)
{
    const float range = 1.0f - params->final;
    float t, share;
    if (*updates >= params->updates) {
        *rate = *base * params->final;
        return;
    }
    t = (float)*updates / (float)params->updates;
    share = squared_cosine(t * HALF_PI);
    share = range * share;
    share = params->final + share;
    *rate = *base * share;
}
