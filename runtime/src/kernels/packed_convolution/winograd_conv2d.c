/* CONV_2D of 3x3 windows by Winograd's transform in exact integers. */
#include "kt/kernels/packed_convolution.h"
#include "winograd_conv2d.h"

/* Results of any sign. */
void kt_winograd_conv2d_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                           void *scratch)
{
    kt_winograd_walk(params, x, bias, y, scratch, 128);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_winograd_conv2d_relu_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                                void *scratch)
{
    kt_winograd_walk(params, x, bias, y, scratch, 0);
}
