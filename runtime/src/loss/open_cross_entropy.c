/* Softmax and cross entropy over the classes that are open: loss = ln sum exp z - z[label], z = y - max y, gradient = softmax(y),
 * at the label minus the sum of the others. float32, one operation at a time, as in softmax_cross_entropy.c. */
#include "gradient.h"

typedef struct {
    const kt_open_cross_entropy_params *params;
    const int8_t *y;
    const int32_t *bias;
    int32_t label;
    float top;
    float total;
    float others; /* total without the label */
} row;

static int closed(const row *r, int32_t i)
{
    return i >= r->params->known && r->bias[i] <= r->params->closed[i - r->params->known];
}

static float centred(const row *r, int32_t i)
{
    return kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale) - r->top;
}

static float gradient(const row *r, int32_t i)
{
    if (i == r->label) {
        const float rest = r->others / r->total;
        return -rest;
    }
    return closed(r, i) ? 0.0f : kt_exp(centred(r, i)) / r->total;
}

void kt_open_cross_entropy(const kt_open_cross_entropy_params *params, const int8_t *y, const int32_t *label,
                           const int32_t *bias, int8_t *g, int32_t *exponent, float *loss)
{
    row r = {params, y, bias, *label, 0.0f, 0.0f, 0.0f};
    int8_t top = y[0];
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 1; i < params->size; i++) {
        top = !closed(&r, i) && y[i] > top ? y[i] : top;
    }
    r.top = kt_loss_dequantize(top, params->zero_point, params->scale);
    for (i = 0; i < params->size; i++) {
        const float p = closed(&r, i) ? 0.0f : kt_exp(centred(&r, i));
        r.total = r.total + p;
        r.others = r.others + (i == r.label ? 0.0f : p);
    }
    *loss = kt_log(r.total) - centred(&r, r.label);
    for (i = 0; i < params->size; i++) {
        largest = kt_larger_magnitude(largest, kt_absolute(gradient(&r, i)));
    }
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < params->size; i++) {
        g[i] = kt_loss_code(gradient(&r, i), factor);
    }
}
