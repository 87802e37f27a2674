/* Huber's loss: c (d - c / 2) / size, summed in order, with d = y - target and c = d clamped to [-delta, delta], so
 * d^2 / 2 of a small difference and a straight line beyond delta; gradient = c * (1 / size).
 * float32, one operation at a time. */
#include "gradient.h"

static float difference_of(const kt_huber_params *params, int8_t y, float target)
{
    return kt_loss_dequantize(y, params->zero_point, params->scale) - target;
}

static float clamped(const kt_huber_params *params, float difference)
{
    const float above = difference > -params->delta ? difference : -params->delta;
    return above < params->delta ? above : params->delta;
}

void kt_huber(const kt_huber_params *params, const int8_t *y, const float *target, int8_t *g, int32_t *exponent,
              float *loss)
{
    const int32_t size = params->size;
    const float count = (float)size;
    const float share = 1.0f / count;
    float total = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float d = difference_of(params, y[i], target[i]);
        const float c = clamped(params, d);
        const float half = 0.5f * c;
        const float rest = d - half;
        const float part = c * rest;
        const float gradient = c * share;
        total = total + part;
        largest = kt_larger_magnitude(largest, kt_absolute(gradient));
    }
    *loss = total / count;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        const float c = clamped(params, difference_of(params, y[i], target[i]));
        const float gradient = c * share;
        g[i] = kt_loss_code(gradient, factor);
    }
}
