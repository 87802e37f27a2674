/* Gradient of a GRU through time. */
#include "gru_gradient.h"

void kt_gru_gradient_s8(const kt_gru_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias, int8_t *dz,
                        int32_t *scratch)
{
    const sequence s = {x, y, bias, NULL};
    gru_gradient(params, g, &s, dz, scratch);
}
