/* Binary cross entropy of logits, each of its own: loss = sum (max(y, 0) - y t + ln(1 + exp(-|y|))) / size, summed in
 * order; gradient = (logistic(y) - t) / size. float32, one operation at a time; the exponentials are computed again in
 * the second pass instead of kept. */
#include "gradient.h"

typedef struct {
    float y;
    float small; /* exp(-|y|) */
    float whole; /* 1 + exp(-|y|) */
} logit;

static logit logit_of(const kt_loss_params *params, int8_t y)
{
    logit l;
    l.y = kt_loss_dequantize(y, params->zero_point, params->scale);
    l.small = kt_exp(-kt_absolute(l.y));
    l.whole = 1.0f + l.small;
    return l;
}

static float loss_of(const logit *l, float target)
{
    const float positive = l->y > 0.0f ? l->y : 0.0f;
    const float chosen = l->y * target;
    const float difference = positive - chosen;
    return difference + kt_log(l->whole);
}

static float gradient_of(const logit *l, float target, float share)
{
    const float logistic = (l->y >= 0.0f ? 1.0f : l->small) / l->whole;
    const float difference = logistic - target;
    return difference * share;
}

void kt_binary_cross_entropy(const kt_loss_params *params, const int8_t *y, const float *target, int8_t *g,
                             int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    const float count = (float)size;
    const float share = 1.0f / count;
    float total = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const logit l = logit_of(params, y[i]);
        total = total + loss_of(&l, target[i]);
        largest = kt_larger_magnitude(largest, kt_absolute(gradient_of(&l, target[i], share)));
    }
    *loss = total / count;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        const logit l = logit_of(params, y[i]);
        g[i] = kt_loss_code(gradient_of(&l, target[i], share), factor);
    }
}
