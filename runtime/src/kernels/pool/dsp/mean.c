/* kt_mean_s8 for the DSP extension: eight columns at once, then four, then one by one. */
#include "../mean.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/column_sums.h"

void kt_mean_s8(const kt_mean_params *params, const int8_t *x, int8_t *y)
{
    const int32_t rows = params->extent[1];
    const int32_t inner = params->extent[2];
    const int32_t whole = inner & ~3;
    int32_t o;
    for (o = 0; o < params->extent[0]; o++, x += rows * inner, y += inner) {
        int32_t first = 0;
        while (first < whole) {
            const int32_t count = whole - first >= 8 ? 8 : 4;
            int32_t totals[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            int32_t i;
            kt_column_sums(x + first, inner, rows, count, totals);
            for (i = 0; i < count; i++) {
                y[first + i] = kt_mean_of(params, totals[i]);
            }
            first += count;
        }
        kt_mean_from(params, x, y, first);
    }
}

#endif
