/* The products of winograd.h at every point. */
#include "winograd.h"

#if !KT_DSP
/* Adds weights x values at one point. */
static void add_point(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs)
{
    int32_t pair, tile, c;
    for (pair = 0; pair < pairs; pair++, weights += 4, values += 2) {
        for (tile = 0; tile < 2; tile++) {
            for (c = 0; c < 4; c++) {
                const int32_t sum = kt_add_low(sums[4 * tile + c], weights[c], values[tile]);
                sums[4 * tile + c] = kt_add_high(sum, weights[c], values[tile]);
            }
        }
    }
}

void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs)
{
    static const int32_t result_of_point[4] = {0, 1, 0, 1}; /* the row of results that a point of rows 1, 2, 0, 3 adds to */
    int32_t column, point, i;
    memset(sums, 0, KT_TILE_SUMS * sizeof *sums);
    for (column = 0; column < 4; column++, sums += 16) {
        for (point = 0; point < 4; point++, weights += 4 * pairs, values += 2 * pairs) {
            add_point(weights, values, sums + 8 * result_of_point[point], pairs);
            for (i = 0; point == 1 && i < 8; i++) {
                const int32_t first = sums[i], second = sums[8 + i];
                sums[i] = first + second;
                sums[8 + i] = first - second;
            }
        }
    }
}
#endif
