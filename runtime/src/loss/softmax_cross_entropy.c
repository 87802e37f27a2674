/* Softmax and cross entropy: loss = -w sum q ln softmax(y), gradient = w (softmax(y) - q), where q is the label's one-hot
 * vector with a part `smoothing` spread evenly over all classes, and w the weight of the label's class.
 *
 * z = y - max y, p = exp(z), total = p summed in order, share = smoothing / classes;
 * loss = w (ln(total) - ((1 - smoothing) z[label] + share * sum z));
 * g = p / total - share, and at the label (smoothing - share) minus the sum of the others (p - 1 would lose digits near
 * p = 1). float32, one operation at a time. The exponentials are computed again in each pass instead of kept:
 * O(classes), once a step: compiled for size (cold). */
#include "gradient.h"

typedef struct {
    const kt_cross_entropy_params *params;
    const int8_t *y;
    int32_t label;
    float top;
    float total;
    float others; /* total without the label */
    float sum;    /* of z */
    float share;
    float weight;
} row;

static float centred(const row *r, int32_t i)
{
    return kt_minus(kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale), r->top);
}

static float gradient(const row *r, int32_t i)
{
    float g;
    if (i == r->label) {
        const float rest = r->others / r->total;
        const float spread = kt_minus(r->params->smoothing, r->share);
        g = kt_minus(spread, rest);
    } else {
        const float p = kt_exp(centred(r, i)) / r->total;
        g = kt_minus(p, r->share);
    }
    return r->weight * g;
}

static float loss_of(const row *r)
{
    const float sure = kt_minus(1.0f, r->params->smoothing);
    const float chosen = sure * centred(r, r->label);
    const float spread = r->share * r->sum;
    const float aim = chosen + spread;
    const float difference = kt_minus(kt_log(r->total), aim);
    return r->weight * difference;
}

static row row_of(const kt_cross_entropy_params *params, const int8_t *y, int32_t label)
{
    row r = {params, y, label, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 1.0f};
    int8_t top = y[0];
    int32_t i;
    for (i = 1; i < params->size; i++) {
        top = y[i] > top ? y[i] : top;
    }
    r.top = kt_loss_dequantize(top, params->zero_point, params->scale);
    r.share = params->smoothing / (float)params->size;
    if (params->weights != NULL) {
        r.weight = params->weights[label];
    }
    for (i = 0; i < params->size; i++) {
        const float z = centred(&r, i);
        const float p = kt_exp(z);
        r.total = r.total + p;
        r.others = r.others + (i == label ? 0.0f : p);
        r.sum = r.sum + z;
    }
    return r;
}

__attribute__((cold))
void kt_softmax_cross_entropy(const kt_cross_entropy_params *params, const int8_t *y, const int32_t *label, int8_t *g,
                              int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    const row r = row_of(params, y, *label);
    float largest = 0.0f;
    float factor;
    int32_t i;
    *loss = loss_of(&r);
    for (i = 0; i < size; i++) {
        largest = kt_larger_magnitude(largest, kt_absolute(gradient(&r, i)));
    }
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        g[i] = kt_loss_code(gradient(&r, i), factor);
    }
}
