#include "kt/new_class.h"

#include "../optim/storage_step.h"

int kt_class_closed(const kt_new_class_params *params, const int32_t *bias, int32_t label)
{
    return label >= params->known && bias[label] <= params->closed[label - params->known];
}

int32_t kt_closed_class(const kt_new_class_params *params, const int32_t *bias)
{
    int32_t c;
    for (c = params->known; c < params->classes; c++) {
        if (kt_class_closed(params, bias, c)) {
            return c;
        }
    }
    return -1;
}

/* How far the largest result of the open classes is above their mean, and that result. */
static float gap(const kt_new_class_params *params, const int8_t *y, const int32_t *bias, int32_t *top)
{
    int32_t open = 0, sum = 0, c;
    float above;
    *top = -128;
    for (c = 0; c < params->classes; c++) {
        if (!kt_class_closed(params, bias, c)) {
            *top = kt_maximum(*top, y[c]);
            sum += y[c];
            open++;
        }
    }
    above = (float)(open * *top - sum) / (float)open;
    return above * params->y_scale;
}

void kt_open_class(const kt_new_class_params *params, int32_t label, const int8_t *x, const int8_t *y, int8_t *value,
                   int8_t *exponent, int8_t *remainder, int32_t *bias)
{
    const int32_t size = params->classes * params->depth, first = label * params->depth;
    const float unit = kt_power_of_two(*exponent - 8);
    int64_t square = 0, product = 0;
    float length, a = 0.0f, largest = 0.0f, factor, result, centre;
    int32_t top, chosen, i;
    const float above = gap(params, y, bias, &top);
    for (i = 0; i < params->depth; i++) {
        const int32_t q = x[i] - params->x_zero_point, d = q - params->mean[i];
        square += (int64_t)d * d;
        product += (int64_t)d * q;
    }
    length = (float)square * params->x_scale;
    if (square > 0) {
        a = above / length;
    }
    for (i = 0; i < size; i++) {
        const int32_t at = i - first;
        const float moved = at >= 0 && at < params->depth
                                ? a * (float)(x[at] - params->x_zero_point - params->mean[at])
                                : (float)kt_master(value[i], remainder[i]) * unit;
        largest = kt_larger_magnitude(largest, kt_absolute(moved));
    }
    chosen = kt_fitting_exponent(largest, (float)KT_MASTER_LIMIT);
    factor = kt_power_of_two(-chosen);
    for (i = 0; i < size; i++) {
        const int32_t at = i - first;
        const float moved = at >= 0 && at < params->depth
                                ? a * (float)(x[at] - params->x_zero_point - params->mean[at])
                                : (float)kt_master(value[i], remainder[i]) * unit;
        kt_store_master(&value[i], &remainder[i], kt_master_of(moved, factor));
    }
    *exponent = (int8_t)(chosen + 8);
    result = (float)(top + 1 - params->y_zero_point) * params->y_scale;
    centre = a * params->x_scale;
    centre = centre * (float)product;
    result = result - centre;
    bias[label] = kt_int32_moved(0, -result, params->unit[label], 0.0f);
    if (kt_class_closed(params, bias, label)) { /* it is open, however low its bias */
        bias[label] = params->closed[label - params->known] + 1;
    }
}
