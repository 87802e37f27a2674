/* Mean squared error: loss = sum (y - target)^2 / size, summed in order; gradient = (y - target) * (2 / size).
 * float32, one operation at a time. */
#include "squared_error.h"

typedef struct {
    const kt_loss_params *params;
    const int8_t *y;
    const float *target;
} row;

static float difference(const void *context, int32_t i)
{
    const row *const r = context;
    return kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale) - r->target[i];
}

void kt_mean_squared_error(const kt_loss_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss)
{
    const row r = {params, y, target};
    kt_squared_error(difference, &r, params->size, g, exponent, loss);
}
