/* Information maximisation: loss = sum_i p_i surplus_i, surplus_i = diversity (ln m_i - log_prior_i) - ln p_i, with
 * p = softmax(y) and m = deviation + 1 / size the running mean of the predictions, which takes in this one first;
 * g_i = dloss / dy_i with m held = p_i (surplus_i - loss).
 *
 * z = y - max y, total = exp(z) summed in order, p = exp(z) / total, ln p = z - ln(total). float32, one operation at a
 * time. The exponentials are computed again in each pass instead of kept: O(classes). */
#include "gradient.h"

/* 2^-24: a mean probability below this counts as this. */
#define LEAST_MEAN 5.9604644775390625e-8f

typedef struct {
    const kt_information_params *params;
    const int8_t *y;
    const float *deviation;
    float top;
    float total;
    float log_total;
    float even;
} row;

static float centred(const row *r, int32_t i)
{
    return kt_loss_dequantize(r->y[i], r->params->zero_point, r->params->scale) - r->top;
}

static float probability(const row *r, int32_t i)
{
    return kt_exp(centred(r, i)) / r->total;
}

static float surplus(const row *r, int32_t i)
{
    const float mean = r->deviation[i] + r->even;
    float crowding = kt_log(mean > LEAST_MEAN ? mean : LEAST_MEAN);
    const float log_p = centred(r, i) - r->log_total;
    if (r->params->log_prior != NULL) {
        crowding = crowding - r->params->log_prior[i];
    }
    crowding = r->params->diversity * crowding;
    return crowding - log_p;
}

static row row_of(const kt_information_params *params, const int8_t *y, const float *deviation)
{
    row r = {params, y, deviation, 0.0f, 0.0f, 0.0f, 0.0f};
    int8_t top = y[0];
    int32_t i;
    for (i = 1; i < params->size; i++) {
        top = y[i] > top ? y[i] : top;
    }
    r.top = kt_loss_dequantize(top, params->zero_point, params->scale);
    for (i = 0; i < params->size; i++) {
        const float p = kt_exp(centred(&r, i));
        r.total = r.total + p;
    }
    r.log_total = kt_log(r.total);
    r.even = 1.0f / (float)params->size;
    return r;
}

static void remember(const row *r, float *deviation)
{
    int32_t i;
    for (i = 0; i < r->params->size; i++) {
        const float own = probability(r, i) - r->even;
        const float way = own - deviation[i];
        const float part = r->params->rate * way;
        deviation[i] = deviation[i] + part;
    }
}

static float gradient(const row *r, int32_t i, float loss)
{
    const float difference = surplus(r, i) - loss;
    return probability(r, i) * difference;
}

void kt_information_maximisation(const kt_information_params *params, const int8_t *y, float *deviation, int8_t *g,
                                 int32_t *exponent, float *loss)
{
    const row r = row_of(params, y, deviation);
    float sum = 0.0f;
    float largest = 0.0f;
    float factor;
    int32_t i;
    remember(&r, deviation);
    for (i = 0; i < params->size; i++) {
        const float part = probability(&r, i) * surplus(&r, i);
        sum = sum + part;
    }
    for (i = 0; i < params->size; i++) {
        largest = kt_larger_magnitude(largest, kt_absolute(gradient(&r, i, sum)));
    }
    *loss = sum;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (i = 0; i < params->size; i++) {
        g[i] = kt_loss_code(gradient(&r, i, sum), factor);
    }
}
