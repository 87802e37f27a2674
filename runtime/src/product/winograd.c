/* The products of winograd.h at every point. */
#include "winograd.h"

#if !KT_DSP
void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs)
{
    int32_t point, pair, tile, c;
    memset(sums, 0, 8 * KT_POINTS * sizeof *sums);
    for (point = 0; point < KT_POINTS; point++, sums += 8) {
        for (pair = 0; pair < pairs; pair++, weights += 4, values += 2) {
            for (tile = 0; tile < 2; tile++) {
                for (c = 0; c < 4; c++) {
                    const int32_t sum = kt_add_low(sums[4 * tile + c], weights[c], values[tile]);
                    sums[4 * tile + c] = kt_add_high(sum, weights[c], values[tile]);
                }
            }
        }
    }
}
#endif
