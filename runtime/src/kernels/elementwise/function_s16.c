/* LOGISTIC and TANH of int16 values, by a table of 256 entries with straight lines between them.
 *
 * Source: TensorFlow Lite's reference kernels for int16. */
#include "kt/kernels/elementwise.h"
#include "../table16.h"

/* In 1 / (3 * 4096); the product has 30 bits. */
static inline int32_t units(const kt_function_s16_params *p, int32_t x)
{
    return (x * p->multiplier + (int32_t)((UINT32_C(1) << p->shift) >> 1)) >> p->shift;
}

void kt_logistic_s16(const kt_function_s16_params *params, const int16_t *x, int16_t *y)
{
    const kt_function_s16_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        y[i] = (int16_t)kt_logistic16(p.sigmoid, units(&p, x[i]));
    }
}

void kt_tanh_s16(const kt_function_s16_params *params, const int16_t *x, int16_t *y)
{
    const kt_function_s16_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        y[i] = (int16_t)kt_tanh16(p.sigmoid, units(&p, x[i]));
    }
}
