/* band.h: depthwise convolutions with a 3x3 window over a band of rows, four channels at a time.
 *
 * The four channels of the band's input rows stand unzipped in a buffer of columns: word [column pair][row][channel] holds two
 * neighbouring columns of one channel as int16, of six rows, or with stride 2 of five. Columns begin with those left of the
 * image that the first window covers. One load of a word serves two windows beside each other, and three or two below each
 * other.
 *
 * The stream holds for each channel 3 words of weights, a kernel row as the bytes {w1, w0, w2, w1}, and then multiplier, addend and shift:
 * two masks of a word give the pairs (w0, w1) and (w1, w2), each weight times 256, so that sums need no scaling before they
 * are requantised as product.h says. */
#ifndef KT_BAND_H
#define KT_BAND_H

#include "halves.h"

enum { KT_BAND_STREAM = 6 };

/* Result rows and columns of a band, in steps of bytes: 2 x 2 results are computed at once.
 * top_step: to the second row, 0 where there is none; bottom: to the third row, 0 where there is none; bottom_step: to the fourth from the
 * third. Bands of stride 2 have no third row. odd: whether a last column stands alone. */
typedef struct {
    int32_t step_x;
    int32_t top_step;
    int32_t bottom;
    int32_t bottom_step;
    int32_t pairs;
    int32_t odd;
} kt_band;

/* Four channels from `bias` on; y, columns, stream and bias point to the first of them. */
typedef void kt_band_kernel(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                            const kt_band *band);

/* Rounded half up, or ties away from zero; strided: two rows and columns of the input to the next result. */
void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band);
void kt_band_half_up_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                             const kt_band *band);
void kt_band_away(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band);
void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                          const kt_band *band);

/* The same over gradients of 16 bits with the taps of the same stream turned round, weights as they are; bias {2^(shift - 1), shift} for all.
 * Nine products leave room for the half: a result is (sum + 2^(shift - 1)) >> shift, limited to [-127, 127]. */
void kt_band_gradient(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band);

#endif
