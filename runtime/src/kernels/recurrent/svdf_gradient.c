/* Gradient of an SVDF whose state has 8 bits. */
#include "svdf_gradient.h"

void kt_svdf_input_gradient_s8(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *time, int8_t *dx,
                               int32_t *scratch)
{
    svdf_input_gradient(params, g, x, time, NULL, dx, scratch);
}
