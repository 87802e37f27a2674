/* kt/kernels/window.h: the conventions of all kernels, and the window that slides over an image.
 *
 * Each header of this folder declares the kernels of the folder of the same name in runtime/src/kernels, forward and backward.
 *
 * Conventions
 * - A kernel takes its parameter struct first, then pointers: operands, results, scratch. It returns nothing and cannot fail: shapes
 *   and ranges are checked by the compiler that wrote the call.
 * - Layouts are row major, one sample: activations [height][width][channels] (HWC), weights of a convolution
 *   [output channel][kernel row][kernel column][input channel], of a depthwise one [row][column][output channel].
 * - x, y: int8, real value = scale * (q - zero point). input_offset is MINUS the zero point of the input (as in
 *   CMSIS-NN), output_offset is PLUS the zero point of the result. clamp = {low, high} of the int8 result.
 * - g, dx, du: gradients, int8 in [-127, 127], no zero point, real value = g * scale * 2^exponent: the scale is known to the compiler,
 *   the exponent is the one that the loss, or after it a new head, found for the sample.
 * - multiplier, shift: a positive real number multiplier * 2^(shift - 31), applied by kt_requantize.
 * - Products are summed exactly in int32; the compiler proves from the weights that they fit.
 * - `scratch` is aligned to 4 bytes and needs no initial value; its size is stated per kernel. Other pointers as their type asks.
 * - Buffers must not overlap, with two exceptions. "In place": result and named operand may be one buffer. "Behind": the
 *   result may lie over the operand x (or g), which is lost, as long as no result position covers bytes that it or a
 *   later one still reads; positions are taken forwards, or backwards where the result begins above the operand, as
 *   memmove does. Convolutions, pools and pads work behind, and so do the gradients of convolutions and pads to their
 *   input; the compiler derives the distance from the window (kiloc/ops/_window_reach.py).
 * - Rounding: "twice" is TensorFlow Lite Micro's, "half up" is to nearest with ties towards plus infinity. */
#ifndef KT_KERNELS_WINDOW_H
#define KT_KERNELS_WINDOW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a kernel slides over an image. Sizes are {height, width, channels} or {height, width}.
 * pad is {top, left}, negative where the walk starts inside; what is needed at the bottom and on the right follows from
 * the output size. Positions outside the input read as its zero point. */
typedef struct {
    int32_t input[3];
    int32_t output[3];
    int32_t kernel[2];
    int32_t stride[2];
    int32_t dilation[2];
    int32_t pad[2];
} kt_window;

#ifdef __cplusplus
}
#endif

#endif
