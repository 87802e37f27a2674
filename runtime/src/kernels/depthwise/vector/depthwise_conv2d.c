/* DEPTHWISE_CONV_2D in vectors of channels. */
#include "kt/architecture.h"
#include "kt/kernels/depthwise.h"

#if KT_VECTOR
#include "position.h"

void kt_depthwise_conv2d_s8(const kt_depthwise_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_vector_walk(params, x, bias, y);
}
#endif
