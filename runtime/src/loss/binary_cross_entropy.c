/* Binary cross entropy of logits, each of its own: loss = sum (max(y, 0) - y t + ln(1 + exp(-|y|))) / size, summed in
 * order; gradient = (logistic(y) - t) / size, t = (1 - smoothing) target + smoothing / 2. A weight w of what is there adds
 * (w - 1) t (max(-y, 0) + ln(1 + exp(-|y|))) to an element's loss and takes (w - 1) t logistic(-y) from its gradient.
 * float32, one operation at a time; the exponentials are computed again in the second pass instead of kept. */
#include "gradient.h"

typedef struct {
    float y;
    float target; /* smoothed */
    float more;   /* (w - 1) t */
    float small;  /* exp(-|y|) */
    float whole;  /* 1 + exp(-|y|) */
} logit;

static logit logit_of(const kt_binary_cross_entropy_params *params, int8_t y, const float *target, int32_t i)
{
    logit l;
    const float sure = 1.0f - params->smoothing;
    const float own = sure * target[i];
    const float half = params->smoothing * 0.5f;
    l.y = kt_loss_dequantize(y, params->zero_point, params->scale);
    l.target = own + half;
    l.more = 0.0f;
    if (params->weights != NULL) {
        const float above = params->weights[i] - 1.0f;
        l.more = above * l.target;
    }
    l.small = kt_exp(-kt_absolute(l.y));
    l.whole = 1.0f + l.small;
    return l;
}

static float loss_of(const logit *l)
{
    const float logarithm = kt_log(l->whole);
    const float positive = l->y > 0.0f ? l->y : 0.0f;
    const float negative = l->y < 0.0f ? -l->y : 0.0f;
    const float chosen = l->y * l->target;
    const float difference = positive - chosen;
    const float plain = difference + logarithm;
    const float missed = negative + logarithm;
    const float weighted = l->more * missed;
    return plain + weighted;
}

static float gradient_of(const logit *l, float share)
{
    const float logistic = (l->y >= 0.0f ? 1.0f : l->small) / l->whole;
    const float opposite = (l->y >= 0.0f ? l->small : 1.0f) / l->whole;
    const float plain = logistic - l->target;
    const float weighted = l->more * opposite;
    const float difference = plain - weighted;
    return difference * share;
}

void kt_binary_cross_entropy(const kt_binary_cross_entropy_params *params, const int8_t *y, const float *target,
                             int8_t *g, int32_t *exponent, float *loss)
{
    const int32_t size = params->size;
    const float count = (float)size;
    const float share = 1.0f / count;
    float total = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    for (i = 0; i < size; i++) {
        const logit l = logit_of(params, y[i], target, i);
        total = total + loss_of(&l);
        largest = kt_larger_magnitude(largest, kt_absolute(gradient_of(&l, share)));
    }
    *loss = total / count;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < size; i++) {
        const logit l = logit_of(params, y[i], target, i);
        g[i] = kt_loss_code(gradient_of(&l, share), factor);
    }
}
