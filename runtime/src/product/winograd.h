/* winograd.h: 3x3 convolutions of stride 1 as Winograd's F(2x2, 3x3) in exact integers.
 *
 *     Y = A^T ((2G) w (2G)^T . B^T x B) A = 4 (w * x)
 *
 * for a tile of 2 x 2 results from 4 x 4 values: 16 products in place of 36. Transformed weights have 12 bits, transformed values 10, sums
 * 32, so that nothing is rounded. Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); G is doubled to
 * keep integers.
 *
 * Half of A^T M A is a part of the products: what points of rows 1 and 2 give, added and subtracted, is what the sums of row 0 and of row 3 start
 * from. Points follow one another by column, and in a column as rows 1, 2, 0 and 3; values of row 3 are negated.
 *
 * values [16 points][pairs][2 tiles] and weights, for four channels, [16 points][pairs][4 channels]: pairs of input channels as in panel.h;
 * sums [4 columns][2 rows of results][2 tiles][4 channels]. */
#ifndef KT_WINOGRAD_H
#define KT_WINOGRAD_H

#include "halves.h"

enum { KT_POINTS = 16, KT_TILE_SUMS = 64, KT_TILE_COLUMNS = 6 }; /* columns of values under two tiles side by side */

/* A^T M of two tiles, M = weights x values. pairs are a multiple of 4. */
void kt_winograd_points(const int32_t *weights, const int32_t *values, int32_t *sums, int32_t pairs);

/* B^T x B of two tiles side by side whose first value is x. row, channels: bytes from row to row and from column to column. */
static inline void kt_transform_tiles(const int8_t *x, int32_t row, int32_t channels, int32_t *values)
{
    const int32_t point = channels; /* words: channels / 2 pairs of two tiles */
    int32_t c, i;
    for (c = 0; c < channels; c += 4, x += 4, values += 4) {
        int32_t columns[8 * KT_TILE_COLUMNS];
        const int8_t *at = x;
        for (i = 0; i < KT_TILE_COLUMNS; i++, at += channels) {
            int32_t *const column = columns + 8 * i;
            int32_t even[4], odd[4];
            kt_split_four(at, &even[0], &odd[0]);
            kt_split_four(at + row, &even[1], &odd[1]);
            kt_split_four(at + 2 * row, &even[2], &odd[2]);
            kt_split_four(at + 3 * row, &even[3], &odd[3]);
            column[0] = kt_add_pairs(even[1], even[2]);
            column[1] = kt_subtract_pairs(even[2], even[1]);
            column[2] = kt_subtract_pairs(even[0], even[2]);
            column[3] = kt_subtract_pairs(even[3], even[1]);
            column[4] = kt_add_pairs(odd[1], odd[2]);
            column[5] = kt_subtract_pairs(odd[2], odd[1]);
            column[6] = kt_subtract_pairs(odd[0], odd[2]);
            column[7] = kt_subtract_pairs(odd[3], odd[1]);
        }
        for (i = 0; i < 8; i++) { /* four points of a column, of either pair */
            const int32_t *const t = columns + i;
            const int32_t second = t[8], third = t[16], fourth = t[24], fifth = t[32];
            int32_t *to = values + (i & 3) * point + 2 * (i >> 2);
            to[0] = kt_subtract_pairs(t[0], third);
            to[1] = kt_subtract_pairs(third, fifth);
            to += 4 * point;
            to[0] = kt_add_pairs(second, third);
            to[1] = kt_add_pairs(fourth, fifth);
            to += 4 * point;
            to[0] = kt_subtract_pairs(third, second);
            to[1] = kt_subtract_pairs(fifth, fourth);
            to += 4 * point;
            to[0] = kt_subtract_pairs(second, fourth);
            to[1] = kt_subtract_pairs(fourth, t[40]);
        }
    }
}

/* What is left of A^T M A, of one tile and channel: four results, 4 times the convolution, in the order left to right, then down. */
KT_INLINE void kt_inverse_transform(const int32_t *sums, int32_t results[4])
{
    int32_t i;
#pragma GCC unroll 2
    for (i = 0; i < 2; i++, sums += 8) {
        const int32_t second = sums[16], third = sums[32];
        results[2 * i] = sums[0] + second + third;
        results[2 * i + 1] = second - third - sums[48];
    }
}

#endif
