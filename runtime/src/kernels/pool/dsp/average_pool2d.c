/* kt_average_pool2d_s8 for the DSP extension: eight channels at once, then four, then one by one. */
#include "../average_pool2d.h"
#include "kt/kernels/pool.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/column_sums.h"

/* The sums of eight or four channels; x points to the first of them. Rows that follow each other are one. */
static void patch_sums(const kt_patch *patch, const int8_t *x, int32_t columns, int32_t count, int32_t *totals)
{
    const int together = columns * patch->span_x == patch->row_x;
    const int32_t length = together ? patch->rows * columns : columns;
    int32_t rows = together ? 1 : patch->rows;
    for (; rows > 0; rows--, x += patch->row_x) {
        kt_column_sums(x, patch->span_x, length, count, totals);
    }
}

/* All channels under one window with `count` elements. */
static void average(const kt_pool2d_params *params, const kt_patch *patch, const int8_t *x, int32_t columns, int32_t count,
                    int8_t *result)
{
    const int32_t whole = count == 0 ? 0 : params->window.output[KT_CHANNELS] & ~3;
    const int32_t low = params->clamp[0], high = params->clamp[1], half = count / 2; /* read once: results may lie anywhere */
    int32_t c = 0;
    while (c < whole) {
        const int32_t channels = whole - c >= 8 ? 8 : 4;
        int32_t totals[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t i;
        patch_sums(patch, x + patch->x + c, columns, channels, totals);
        for (i = 0; i < channels; i++) {
            const int32_t total = totals[i];
            result[c + i] = (int8_t)kt_clamp((total > 0 ? total + half : total - half) / count, low, high);
        }
        c += channels;
    }
    kt_average_from(params, patch, x, columns, count, c, result);
}

void kt_average_pool2d_s8(const kt_pool2d_params *params, const int8_t *x, int8_t *y)
{
    kt_average_walk(params, x, y, average);
}

#endif
