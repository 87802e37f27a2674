/* winograd.h: 3x3 convolutions of stride 1 as Winograd's F(2x2, 3x3) in exact integers.
 *
 *     Y = A^T ((2G) w (2G)^T . B^T x B) A = 4 (w * x)
 *
 * for a tile of 2 x 2 results from 4 x 4 values: 16 products in place of 36. Transformed weights have 12 bits, transformed values 10, sums
 * 32, so that nothing is rounded. Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); G is doubled to
 * keep integers.
 *
 * values [16 points][pairs][2 tiles] and weights, for four channels, [16 points][pairs][4 channels]: pairs of input channels as in panel.h;
 * sums [16 points][2 tiles][4 channels]. */
#ifndef KT_WINOGRAD_H
#define KT_WINOGRAD_H

#include "halves.h"

enum { KT_POINTS = 16 };

/* sums = weights x values at every point. pairs are a multiple of 4. */
void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs);

/* B^T of four words. */
KT_INLINE void kt_transform_four(int32_t p, int32_t q, int32_t r, int32_t u, int32_t *first, int32_t step)
{
    first[0] = kt_subtract_pairs(p, r);
    first[step] = kt_add_pairs(q, r);
    first[2 * step] = kt_subtract_pairs(r, q);
    first[3 * step] = kt_subtract_pairs(q, u);
}

/* B^T x B of a tile whose first value is x; values: of this tile. row, channels: bytes from row to row and from column to column. */
static inline void kt_transform_tile(const int8_t *x, int32_t row, int32_t channels, int32_t *values)
{
    const int32_t point = channels; /* words: channels / 2 pairs of two tiles */
    int32_t c, i, half;
    for (c = 0; c < channels; c += 4, x += 4, values += 4) {
        int32_t rows[32];
        for (i = 0; i < 4; i++) {
            const int8_t *const at = x + i * row;
            int32_t even[4], odd[4], column;
#pragma GCC unroll 4
            for (column = 0; column < 4; column++) {
                kt_split_four(at + column * channels, &even[column], &odd[column]);
            }
            kt_transform_four(even[0], even[1], even[2], even[3], rows + 4 * i, 1);
            kt_transform_four(odd[0], odd[1], odd[2], odd[3], rows + 16 + 4 * i, 1);
        }
        for (half = 0; half < 2; half++) {
            for (i = 0; i < 4; i++) {
                const int32_t *const t = rows + 16 * half + i;
                kt_transform_four(t[0], t[4], t[8], t[12], values + 2 * half + i * point, 4 * point);
            }
        }
    }
}

/* A^T M A of one tile and channel: four results, 4 times the convolution, in the order left to right, then down. */
KT_INLINE void kt_inverse_transform(const int32_t *m, int32_t results[4])
{
    int32_t s[8], i;
#pragma GCC unroll 4
    for (i = 0; i < 4; i++) {
        const int32_t first = m[8 * (4 + i)], second = m[8 * (8 + i)];
        s[i] = m[8 * i] + first + second;
        s[4 + i] = first - second - m[8 * (12 + i)];
    }
    results[0] = s[0] + s[1] + s[2];
    results[1] = s[1] - s[2] - s[3];
    results[2] = s[4] + s[5] + s[6];
    results[3] = s[5] - s[6] - s[7];
}

#endif
