/* Bands of a depthwise layer; strided: two rows and columns to the next result. */
#include "band.h"

#if !KT_DSP
#include "band_portable.h"

/* Rounded half up: ReLU layers. */
void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                     const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 1, 0);
}

/* Rounded half up, strided. */
void kt_band_half_up_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                             const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 2, 0);
}

/* Ties away from zero: layers without an activation. */
void kt_band_away(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 1, 128);
}

/* Ties away from zero, strided. */
void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                          const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 2, 128);
}

/* Of the gradient to its input. */
/* A kernel row, from its last tap on, over three columns. */
static int32_t row_sum(const int32_t *columns, int32_t weights, int32_t column, int32_t row)
{
    return (int8_t)(uint8_t)kt_high(weights) * kt_band_value(columns, 6, column, row) +
           (kt_high(weights) >> 8) * kt_band_value(columns, 6, column + 1, row) +
           (kt_low(weights) >> 8) * kt_band_value(columns, 6, column + 2, row);
}

void kt_band_gradient(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band)
{
    const int32_t width = 2 * band->pairs + band->odd;
    const int32_t rows = kt_band_rows(band);
    int32_t c, row, x;
    for (c = 0; c < 4; c++, y++, columns++, stream += KT_BAND_STREAM) {
        for (row = 0; row < rows; row++) {
            for (x = 0; x < width; x++) {
                const int32_t sum = row_sum(columns, stream[2], x, row) + row_sum(columns, stream[1], x, row + 1) +
                                    row_sum(columns, stream[0], x, row + 2);
                y[row * band->top_step + x * band->step_x] = kt_saturate8((bias[0] + sum) >> bias[1]);
            }
        }
    }
}
#endif
