/* Softmax cross entropy of the next token at every position: the target of row i is token i + 1, the last row has none.
 *
 * Of a row: z = y - max y, p = exp(z), total = p summed in order, loss = ln(total) - z[target];
 * g = p / total, and at the target minus the sum of the others over total (p - 1 would lose digits near p = 1). Both are
 * divided by the number of targets. Each code of a row has one of 256 differences to its largest, so the exponentials are
 * a table in scratch. float32, one operation at a time.
 *
 * What rounding leaves over of a value is added to the next one of its row: the many tokens whose probability is below half
 * a unit get their share, too, and a row still sums to nearly 0. Rows begin with offsets that are spread evenly. */
#include "gradient.h"

/* 2^16 by the golden ratio. */
enum { OFFSET = 40503 };

typedef struct {
    const int8_t *y;
    int32_t top;
    int32_t target;
    float total;
    float others; /* total without the target */
} row;

static row row_of(const kt_next_token_params *params, const float *powers, const int8_t *y, int32_t target)
{
    row r = {y, y[0], target, 0.0f, 0.0f};
    int32_t i;
    for (i = 1; i < params->size; i++) {
        r.top = y[i] > r.top ? y[i] : r.top;
    }
    for (i = 0; i < params->size; i++) {
        const float p = powers[r.top - y[i]];
        r.total = r.total + p;
        r.others = r.others + (i == target ? 0.0f : p);
    }
    return r;
}

static float gradient(const row *r, const float *powers, int32_t i, float share)
{
    const float part = i == r->target ? -r->others : powers[r->top - r->y[i]];
    const float g = part / r->total;
    return g * share;
}

static float centred(const kt_next_token_params *params, int32_t code, int32_t top)
{
    const float largest = kt_loss_dequantize((int8_t)top, params->zero_point, params->scale);
    return kt_loss_dequantize((int8_t)code, params->zero_point, params->scale) - largest;
}

void kt_next_token_cross_entropy(const kt_next_token_params *params, const int8_t *y, const int8_t *tokens, int8_t *g,
                                 int32_t *exponent, float *loss, void *scratch)
{
    const int32_t size = params->size, targets = params->rows - 1;
    const float share = 1.0f / (float)targets;
    float *const powers = scratch;
    float largest = 0.0f, sum = 0.0f, factor;
    int32_t i, n;
    for (i = 0; i < 256; i++) {
        powers[i] = kt_exp((float)(-i) * params->scale);
    }
    for (n = 0; n < targets; n++) {
        const row r = row_of(params, powers, y + n * size, tokens[n + 1] + params->token_offset);
        const float chosen = centred(params, r.y[r.target], r.top);
        const float difference = kt_log(r.total) - chosen;
        sum = sum + difference;
        for (i = 0; i < size; i++) {
            largest = kt_larger_magnitude(largest, kt_absolute(gradient(&r, powers, i, share)));
        }
    }
    *loss = sum * share;
    *exponent = kt_loss_exponent(largest);
    factor = kt_power_of_two(-*exponent);
    for (n = 0; n < targets; n++) {
        const row r = row_of(params, powers, y + n * size, tokens[n + 1] + params->token_offset);
        float left = (float)(((uint32_t)n * OFFSET) & 0xffffu) * 1.52587890625e-5f - 0.5f; /* 2^-16 */
        for (i = 0; i < size; i++) {
            const float scaled = gradient(&r, powers, i, share) * factor;
            const float value = left + scaled;
            const int32_t code = kt_round_half_up(value);
            left = value - (float)code;
            g[n * size + i] = kt_saturate8(code);
        }
    }
    for (i = targets * size; i < params->rows * size; i++) {
        g[i] = 0;
    }
}
