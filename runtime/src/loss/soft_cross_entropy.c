/* Softmax and cross entropy with a distribution: loss = -w sum q ln softmax(y), gradient = w (mass softmax(y) - q), where
 * q is the target with a part `smoothing` spread evenly over all classes, mass its sum, and w the mean of the classes'
 * weights under the target.
 *
 * z = y - max y, p = exp(z), total = p summed in order, share = smoothing / classes * mass;
 * loss = w (mass ln(total) - sum q z); g = mass p / total - q, and at the likeliest class minus the sum of the others
 * (the difference would lose digits near p = 1). float32, one operation at a time. The exponentials are computed again in
 * each pass instead of kept: O(classes). */
#include "gradient.h"

typedef struct {
    const kt_cross_entropy_params *params;
    const int8_t *y;
    const float *target;
    int32_t likeliest;
    float top;
    float total;
    float mass;
    float sure; /* what is left of the target beside the smoothing */
    float share;
    float weight;
    float rest; /* sum of the gradients but the likeliest class's, without the weight */
} row;

static float centred(const row *r, int32_t i)
{
    return kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale) - r->top;
}

static float smoothed(const row *r, int32_t i)
{
    const float own = r->sure * r->target[i];
    return own + r->share;
}

/* Of a class other than the likeliest, without the weight. */
static float difference(const row *r, float z, float q)
{
    const float p = kt_exp(z) / r->total;
    const float expected = r->mass * p;
    return expected - q;
}

static float gradient(const row *r, int32_t i)
{
    const float g = i == r->likeliest ? -r->rest : difference(r, centred(r, i), smoothed(r, i));
    return r->weight * g;
}

static row row_of(const kt_cross_entropy_params *params, const int8_t *y, const float *target)
{
    row r = {params, y, target, 0, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    int8_t top = y[0];
    int32_t i;
    for (i = 1; i < params->size; i++) {
        top = y[i] > top ? y[i] : top;
        r.likeliest = target[i] > target[r.likeliest] ? i : r.likeliest;
    }
    r.top = kt_loss_dequantize(top, params->zero_point, params->scale);
    for (i = 0; i < params->size; i++) {
        const float p = kt_exp(centred(&r, i));
        r.total = r.total + p;
        r.mass = r.mass + target[i];
        if (params->weights != NULL) {
            const float part = params->weights[i] * target[i];
            r.weight = r.weight + part;
        }
    }
    if (params->weights == NULL) {
        r.weight = 1.0f;
    }
    r.sure = 1.0f - params->smoothing;
    r.share = params->smoothing / (float)params->size;
    r.share = r.share * r.mass;
    return r;
}

void kt_soft_cross_entropy(const kt_cross_entropy_params *params, const int8_t *y, const float *target, int8_t *g,
                           int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    row r = row_of(params, y, target);
    float aim = 0.0f;
    float largest = 0.0f;
    float spread;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const float z = centred(&r, i);
        const float q = smoothed(&r, i);
        const float part = q * z;
        aim = aim + part;
        if (i != r.likeliest) {
            const float d = difference(&r, z, q);
            r.rest = r.rest + d;
            largest = kt_larger_magnitude(largest, kt_absolute(r.weight * d));
        }
    }
    largest = kt_larger_magnitude(largest, kt_absolute(r.weight * r.rest));
    spread = r.mass * kt_log(r.total);
    spread = spread - aim;
    *loss = r.weight * spread;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        g[i] = kt_loss_code(gradient(&r, i), factor);
    }
}
