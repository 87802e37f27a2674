/* kt_max_pool2d_s8 for the DSP extension: four channels at once, the last one by one. */
#include "../max_pool2d.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

/* The largest of four channels; x points to the first of them. */
static inline uint32_t four_maxima(const kt_patch *patch, const int8_t *x, int32_t columns)
{
    uint32_t largest = kt_four(INT8_MIN);
    int32_t row, column;
    for (row = 0; row < patch->rows; row++) {
        const int8_t *values = x + row * patch->row_x;
        for (column = columns; column > 0; column--, values += patch->span_x) {
            const uint32_t word = kt_load_word(values);
            (void)__ssub8((int8x4_t)word, (int8x4_t)largest);
            largest = __sel(word, largest);
        }
    }
    return largest;
}

static void maxima(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns, int8_t *result)
{
    const int32_t whole = params->window.output[KT_CHANNELS] & ~3;
    const uint32_t low = kt_four(params->clamp[0]), high = kt_four(params->clamp[1]);
    int32_t c;
    for (c = 0; c < whole; c += 4) {
        kt_store_word(result + c, kt_clamp_bytes(four_maxima(patch, x + patch->x + c, columns), low, high));
    }
    kt_maxima_from(params, patch, x, columns, whole, result);
}

void kt_max_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_max_walk(params, x, y, maxima);
}
#endif
