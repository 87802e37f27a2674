/* TRANSPOSE of up to four axes: walks the result in order and reads x with the strides of the permuted axes. */
#include "kt/kernels/layout.h"

void kt_transpose_s8(const kt_transpose_params *params, const int8_t *x, int8_t *y)
{
    const kt_transpose_params p = *params;
    int32_t a, b, c, d;
    for (a = 0; a < p.output[0]; a++) {
        for (b = 0; b < p.output[1]; b++) {
            for (c = 0; c < p.output[2]; c++) {
                int32_t at = a * p.stride[0] + b * p.stride[1] + c * p.stride[2];
                for (d = 0; d < p.output[3]; d++) {
                    *y++ = x[at];
                    at += p.stride[3];
                }
            }
        }
    }
}
