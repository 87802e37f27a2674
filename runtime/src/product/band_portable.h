/* band_portable.h: the bands of band.h in portable C. */
#ifndef KT_BAND_PORTABLE_H
#define KT_BAND_PORTABLE_H

#include "band.h"

/* Value of a channel at column and row of the buffer, of so many input rows. */
KT_INLINE int32_t kt_band_value(const int32_t *columns, int32_t inputs, int32_t column, int32_t row)
{
    const int32_t word = columns[4 * (column / 2 * inputs + row)];
    return column % 2 == 0 ? kt_low(word) : kt_high(word);
}

KT_INLINE int8_t kt_band_result(const int32_t *columns, int32_t inputs, const int32_t *stream, int32_t bias,
                                    int32_t column, int32_t row, int32_t negative)
{
    int32_t sum = bias;
    int32_t i;
    for (i = 0; i < 3; i++) {
        const int32_t word = stream[i];
        sum += (kt_low(word) >> 8) * kt_band_value(columns, inputs, column, row + i);
        sum += (kt_high(word) >> 8) * kt_band_value(columns, inputs, column + 1, row + i);
        sum += (int8_t)(uint8_t)kt_high(word) * kt_band_value(columns, inputs, column + 2, row + i);
    }
    return kt_short_requantize(sum, stream[3], stream[4] - ((sum >> 31) & negative), stream[5]);
}

KT_INLINE int32_t kt_band_rows(const kt_band *band)
{
    return band->top_step == 0 ? 1 : band->bottom == 0 ? 2 : band->bottom_step == 0 ? 3 : 4;
}

/* stride: of the window, in both directions. */
KT_INLINE void kt_band_results(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                   const kt_band *band, int32_t stride, int32_t negative)
{
    const int32_t width = 2 * band->pairs + band->odd;
    const int32_t rows = kt_band_rows(band);
    const int32_t inputs = stride == 1 ? 6 : 5;
    int32_t c, row, x;
    for (c = 0; c < 4; c++, y++, columns++, stream += KT_BAND_STREAM) {
        for (row = 0; row < rows; row++) {
            int8_t *const line = y + row * band->top_step;
            for (x = 0; x < width; x++) {
                line[x * band->step_x] = kt_band_result(columns, inputs, stream, bias[c], stride * x, stride * row, negative);
            }
        }
    }
}

#endif
