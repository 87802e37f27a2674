/* FULLY_CONNECTED of one row from the weights of three sums in two words. */
#include "kt/kernels/triple_convolution.h"
#include "triple_row.h"

KT_INLINE void kt_frozen_row(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int32_t negative)
{
    const int32_t *const epilogue = kt_triple_epilogue(params->stream, params->window.output[KT_CHANNELS], params->length);
    kt_triple_row(params, x, bias, params->fold, epilogue, y, negative);
}

/* Results of any sign. */
void kt_triple_row_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_frozen_row(params, x, bias, y, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_triple_row_relu_s8(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y)
{
    kt_frozen_row(params, x, bias, y, 0);
}
