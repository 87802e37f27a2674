/* conv2d_delta.h: convolutions with a delta, one position and channel after the other. */
#ifndef KT_CONV2D_DELTA_H
#define KT_CONV2D_DELTA_H

#include "kt/kernels/convolution.h"
#include "conv2d.h"

static inline int32_t kt_delta_product(const kt_conv2d_params *params, const kt_trainable *delta, const kt_patch *patch,
                                       const int8_t *x, int32_t position, int32_t channel)
{
    const int32_t row = params->rows == NULL ? channel : params->rows[channel];
    (void)position;
    if (row < 0) {
        return 0;
    }
    return kt_patch_dot(patch, x, delta->weights + row * kt_kernel_size(&params->window), params->input_offset);
}

static inline void kt_conv2d_delta_walk(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                        const int8_t *delta, const int8_t *delta_exponent, int8_t *y)
{
    kt_trainable trainable;
    trainable.weights = delta;
    trainable.u = NULL;
    trainable.exponent = *delta_exponent;
    kt_conv2d_walk(params, x, bias, &trainable, y, kt_requantize, kt_delta_product);
}

#endif
