/* Gradient of PAD: g without the border. `input` is the shape of dx, `output` that of g. */
#include <string.h>

#include "kt/kernels/layout.h"
#include "../window.h"

void kt_pad_gradient_s8(const kt_pad_params *params, const int8_t *g, int8_t *dx)
{
    const size_t channels = (size_t)params->input[2];
    const size_t inside = (size_t)params->input[1] * channels;
    const size_t line = (size_t)params->output[1] * channels;
    const int32_t direction = kt_direction(g, dx);
    int32_t row;
    g += (size_t)params->pad[0] * line + (size_t)params->pad[1] * channels;
    for (row = kt_first(direction, params->input[0]); kt_within(row, params->input[0]); row += direction) {
        memcpy(dx + (size_t)row * inside, g + (size_t)row * line, inside);
    }
}
