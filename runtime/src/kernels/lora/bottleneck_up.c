/* Up-projection and residual add of a bottleneck adapter, in the int8 domain of the layer's result.
 *
 *     result = clamp(y + shift_round(U h, -(range + up_exponent)), low, high), half up
 *
 * Only shifts: h has the scale of y times a power of two. U = 0 leaves y as it is. */
#include "kt/kernels/lora.h"
#include "kt/numerics.h"

void kt_bottleneck_up_s8(const kt_bottleneck_up_params *params, const int8_t *y, const int8_t *h, const int8_t *up,
                         const int8_t *up_exponent, const int8_t *range, int8_t *result)
{
    const int32_t width = params->width;
    const int32_t shift = -(*range + *up_exponent);
    int32_t position, c, j;
    for (position = 0; position < params->positions; position++) {
        const int8_t *row = up;
        for (c = 0; c < params->channels; c++, row += width) {
            int32_t sum = 0;
            for (j = 0; j < width; j++) {
                sum += row[j] * h[j];
            }
            sum = kt_add_saturated(kt_shift_round(sum, shift), *y++);
            *result++ = (int8_t)kt_clamp(sum, params->clamp[0], params->clamp[1]);
        }
        h += width;
    }
}
