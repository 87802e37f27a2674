/* PAD and PADV2 of an image in height and width, with one int8 value. */
#include <string.h>

#include "kt/kernels/layout.h"
#include "../window.h"

void kt_pad_s8(const kt_pad_params *params, const int8_t *x, int8_t *y)
{
    const size_t channels = (size_t)params->input[2];
    const size_t inside = (size_t)params->input[1] * channels;
    const size_t line = (size_t)params->output[1] * channels;
    const size_t left = (size_t)params->pad[1] * channels;
    const int32_t direction = kt_direction(x, y);
    int32_t row;
    for (row = kt_first(direction, params->output[0]); kt_within(row, params->output[0]); row += direction) {
        const int32_t source = row - params->pad[0];
        int8_t *const result = y + (size_t)row * line;
        memset(result, params->value, line);
        if (kt_within(source, params->input[0])) {
            memcpy(result + left, x + (size_t)source * inside, inside);
        }
    }
}

void kt_pad_s16(const kt_pad_params *params, const int16_t *x, int16_t *y)
{
    kt_pad_s8(params, (const int8_t *)x, (int8_t *)y);
}
