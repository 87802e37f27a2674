/* CONV_2D and FULLY_CONNECTED from exact words, where a weight is -128, results of any sign. */
#include "kt/kernels/packed_convolution.h"
#include "packed_conv2d.h"

void kt_exact_conv2d_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                         void *scratch)
{
    kt_packed_walk(params, x, bias, y, scratch, kt_product_exact_away);
}
