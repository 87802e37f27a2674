/* squared_error.h: loss and gradient of a squared error, whatever the target is read from. */
#ifndef KT_LOSS_SQUARED_ERROR_H
#define KT_LOSS_SQUARED_ERROR_H

#include "gradient.h"

/* y - target of one element; `context` is the caller's. */
typedef float kt_difference(const void *context, int32_t i);

/* loss = sum of squared differences / size, summed in order; gradient = difference * (2 / size). */
static inline void kt_squared_error(kt_difference *difference, const void *context, int32_t size, int8_t *g,
                                    int32_t *exponent, float *loss)
{
    const float count = (float)size;
    const float twice_over_count = 2.0f / count;
    float squares = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float d = difference(context, i);
        const float square = d * d;
        const float gradient = d * twice_over_count;
        squares = squares + square;
        largest = kt_larger_magnitude(largest, kt_absolute(gradient));
    }
    *loss = squares / count;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        const float gradient = difference(context, i) * twice_over_count;
        g[i] = kt_loss_code(gradient, factor);
    }
}

#endif
