/* QUANTIZE from one element type to another.
 *
 *     y = clamp(requantize(x - z_x) + z_y)
 *
 * Source: TensorFlow Lite 8-bit quantisation specification; rounded twice. */
#include "kt/kernels/elementwise.h"
#include "kt/numerics.h"

/* The zero point of y is inside the clamp, so neither difference overflows: it is 0 where y has 32 bits. */
static int32_t requantized(const kt_requantize_params *params, int32_t x)
{
    const int32_t scaled = kt_requantize(x + params->input_offset, params->multiplier, params->shift);
    const int32_t low = params->clamp[0] - params->output_offset, high = params->clamp[1] - params->output_offset;
    return kt_clamp(scaled, low, high) + params->output_offset;
}

void kt_requantize_u8_s8(const kt_requantize_params *params, const uint8_t *x, int8_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = (int8_t)requantized(&p, x[i]);
    }
}

void kt_requantize_s8_u8(const kt_requantize_params *params, const int8_t *x, uint8_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = (uint8_t)requantized(&p, x[i]);
    }
}

void kt_requantize_s16_s8(const kt_requantize_params *params, const int16_t *x, int8_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = (int8_t)requantized(&p, x[i]);
    }
}

void kt_requantize_s8_s16(const kt_requantize_params *params, const int8_t *x, int16_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = (int16_t)requantized(&p, x[i]);
    }
}

void kt_requantize_s16(const kt_requantize_params *params, const int16_t *x, int16_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = (int16_t)requantized(&p, x[i]);
    }
}

void kt_requantize_s8_s32(const kt_requantize_params *params, const int8_t *x, int32_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = requantized(&p, x[i]);
    }
}

void kt_requantize_s16_s32(const kt_requantize_params *params, const int16_t *x, int32_t *y)
{
    const kt_requantize_params p = *params;
    for (int32_t i = 0; i < p.size; i++) {
        y[i] = requantized(&p, x[i]);
    }
}
