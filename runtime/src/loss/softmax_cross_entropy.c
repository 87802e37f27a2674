/* Softmax and cross entropy: loss = -ln softmax(y)[label], gradient = softmax(y) - onehot(label).
 *
 * z = y - max y, p = exp(z), total = p summed in order; loss = ln(total) - z[label], g = p / total, and at the label
 * minus the sum of the others (p - 1 would lose digits near p = 1). float32, one operation at a time. The exponentials
 * are computed again in each pass instead of kept: O(classes). */
#include "gradient.h"

typedef struct {
    const kt_loss_params *params;
    const int8_t *y;
    int32_t label;
    float top;
    float total;
    float others; /* total without the label */
} row;

static float centred(const row *r, int32_t i)
{
    return kt_loss_dequantize(r->params, r->y[i]) - r->top;
}

static float gradient(const row *r, int32_t i)
{
    if (i == r->label) {
        return -r->others / r->total;
    }
    return kt_exp(centred(r, i)) / r->total;
}

void kt_softmax_cross_entropy(const kt_loss_params *params, const int8_t *y, const int32_t *label, int8_t *g,
                              int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    row r = {params, y, *label, 0.0f, 0.0f, 0.0f};
    float largest = 0.0f;
    float factor;
    int32_t i;
    int8_t top = y[0];
    for (i = 1; i < size; i++) {
        top = y[i] > top ? y[i] : top;
    }
    r.top = kt_loss_dequantize(params, top);
    for (i = 0; i < size; i++) {
        const float p = kt_exp(centred(&r, i));
        r.total = r.total + p;
        r.others = r.others + (i == r.label ? 0.0f : p);
    }
    *loss = kt_log(r.total) - centred(&r, r.label);
    for (i = 0; i < size; i++) {
        largest = kt_larger_magnitude(largest, kt_absolute(gradient(&r, i)));
    }
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        g[i] = kt_loss_code(gradient(&r, i), factor);
    }
}
