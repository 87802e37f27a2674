/* A band of the gradient of a depthwise layer to its input. */
#include "band.h"

#if !KT_DSP
#include "band_portable.h"

/* The pairs of a kernel row over three columns. */
static int32_t row_sum(const int32_t *columns, const int32_t *weights, int32_t column, int32_t row)
{
    return kt_low(weights[0]) * kt_band_value(columns, 6, column, row) +
           kt_high(weights[0]) * kt_band_value(columns, 6, column + 1, row) +
           kt_high(weights[1]) * kt_band_value(columns, 6, column + 2, row);
}

void kt_band_gradient(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band)
{
    const int32_t width = 2 * band->pairs + band->odd;
    const int32_t rows = kt_band_rows(band);
    int32_t c, row, x;
    for (c = 0; c < 4; c++, y++, columns += 6, stream += KT_BAND_STREAM) {
        for (row = 0; row < rows; row++) {
            for (x = 0; x < width; x++) {
                const int32_t sum = row_sum(columns, stream, x, row) + row_sum(columns, stream + 2, x, row + 1) +
                                    row_sum(columns, stream + 4, x, row + 2);
                y[row * band->top_step + x * band->step_x] = kt_saturate8((bias[0] + sum) >> bias[1]);
            }
        }
    }
}
#endif
