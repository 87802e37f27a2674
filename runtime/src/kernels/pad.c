/* PAD and PADV2 of an image in height and width, with one int8 value. */
#include <string.h>

#include "kt/kernels.h"

void kt_pad_s8(const kt_pad_params *params, const int8_t *x, int8_t *y)
{
    const size_t channels = (size_t)params->input[2];
    const size_t inside = (size_t)params->input[1] * channels;
    const size_t line = (size_t)params->output[1] * channels;
    const size_t left = (size_t)params->pad[1] * channels;
    int32_t row;
    for (row = 0; row < params->output[0]; row++) {
        const int32_t source = row - params->pad[0];
        memset(y, params->value, line);
        if (source >= 0 && source < params->input[0]) {
            memcpy(y + left, x, inside);
            x += inside;
        }
        y += line;
    }
}
