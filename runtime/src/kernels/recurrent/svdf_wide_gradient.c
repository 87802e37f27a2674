/* Gradient of an SVDF whose state has 16 bits. */
#include "svdf_gradient.h"

void kt_svdf_input_gradient_s16(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int16_t *time, int8_t *dx,
                                int32_t *scratch)
{
    const kt_svdf_params *p = &params->layer;
    int32_t unit, filter;
    memset(scratch, 0, (size_t)p->depth * sizeof *scratch);
    for (unit = 0; unit < p->units; unit++) {
        for (filter = unit * p->rank; filter < (unit + 1) * p->rank; filter++) {
            add_filter(params, filter, g[unit] * time[(filter + 1) * p->memory - 1], x, INT16_MIN, INT16_MAX, scratch);
        }
    }
    write_gradient(params, scratch, dx);
}
