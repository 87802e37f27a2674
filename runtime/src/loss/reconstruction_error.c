/* Mean squared error against the model's own int8 input, dequantised where it is read: an autoencoder's loss without a
 * target and without a copy. float32, one operation at a time. */
#include "squared_error.h"

typedef struct {
    const kt_reconstruction_params *params;
    const int8_t *y;
    const int8_t *x;
} row;

static float difference(const void *context, int32_t i)
{
    const row *const r = context;
    const float y = kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale);
    const float x = kt_loss_dequantize(r->x[i], r->params->target_zero_point, r->params->target_scale);
    return y - x;
}

void kt_reconstruction_error(const kt_reconstruction_params *params, const int8_t *y, const int8_t *x, int8_t *g,
                             int32_t *exponent, float *loss)
{
    const row r = {params, y, x};
    kt_squared_error(difference, &r, params->size, g, exponent, loss);
}
