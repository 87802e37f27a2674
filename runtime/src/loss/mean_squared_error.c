/* Mean squared error: loss = sum (y - target)^2 / size, summed in order; gradient = (y - target) * (2 / size).
 * float32, one operation at a time. */
#include "gradient.h"

static float difference(const kt_loss_params *params, const int8_t *y, const float *target, int32_t i)
{
    return kt_loss_dequantize(params, y[i]) - target[i];
}

void kt_mean_squared_error(const kt_loss_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    const float count = (float)size;
    const float twice_over_count = 2.0f / count;
    float squares = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float d = difference(params, y, target, i);
        const float square = d * d;
        const float gradient = d * twice_over_count;
        squares = squares + square;
        largest = kt_larger_magnitude(largest, kt_absolute(gradient));
    }
    *loss = squares / count;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        const float gradient = difference(params, y, target, i) * twice_over_count;
        g[i] = kt_loss_code(gradient, factor);
    }
}
