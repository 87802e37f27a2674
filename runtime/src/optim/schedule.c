/* The learning rate of an update, and what else changes once an update whatever is trained. */
#include "kt/optim.h"

/* One more update: the counter that schedules and random numbers read. It stays at INT32_MAX. */
void kt_count_update(int32_t *updates)
{
    if (*updates < INT32_MAX) {
        *updates = *updates + 1;
    }
}

/* The learning rate falls linearly: rate = base * (1 + (final - 1) * t), t = updates / params->updates, and
 * base * final from t = 1 on. */
void kt_schedule_linear(const kt_schedule_params *params, const float *base, const int32_t *updates, float *rate)
{
    const float fall = params->final - 1.0f;
    float t, share;
    if (*updates >= params->updates) {
        *rate = *base * params->final;
        return;
    }
    t = (float)*updates / (float)params->updates;
    share = fall * t;
    share = 1.0f + share;
    *rate = *base * share;
}

/* The learning rate falls along half a cosine: rate = base * (final + (1 - final) * (1 + cos(pi t)) / 2) with
 * t = updates / params->updates, and base * final from t = 1 on.
 *
 * (1 + cos(pi t)) / 2 = cos(pi t / 2)^2, from the Taylor polynomial of degree 10 on [0, pi / 2]: within 1.5e-7 of the
 * true value, and exactly 1 at 0.
 * Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017). */
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

/* The learning rate falls by a factor every so many updates: rate = base * factor^floor(updates / every), the power by
 * repeated squaring in float32. */
void kt_schedule_step(const kt_schedule_step_params *params, const float *base, const int32_t *updates, float *rate)
{
    uint32_t n = (uint32_t)(*updates / params->every);
    float power = 1.0f;
    float square = params->factor;
    while (n > 0) {
        if (n & 1u) {
            power = power * square;
        }
        square = square * square;
        n >>= 1;
    }
    *rate = *base * power;
}

/* The learning rate of a new head, which starts from nothing and goes faster than what is there already. */
void kt_scaled_rate(const kt_scaled_rate_params *params, const float *base, float *rate)
{
    *rate = *base * params->factor;
}

/* One more factor of a running power, such as Adam's beta^t: a product a step, so it is the same on every core. */
void kt_next_power(const kt_next_power_params *params, float *power)
{
    *power = *power * params->factor;
}
