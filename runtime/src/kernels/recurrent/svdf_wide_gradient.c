/* Gradient of an SVDF whose state has 16 bits. */
#include "svdf_gradient.h"

void kt_svdf_input_gradient_s16(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int16_t *time, int8_t *dx,
                               int32_t *scratch)
{
    svdf_input_gradient(params, g, x, NULL, time, dx, scratch);
}
