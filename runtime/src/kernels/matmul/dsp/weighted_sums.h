/* weighted_sums.h: the sum of rows, each times a weight, two products an instruction where the values of a row lie side by side. */
#ifndef KT_DSP_WEIGHTED_SUMS_H
#define KT_DSP_WEIGHTED_SUMS_H

#include "../../dsp/simd.h"
#include "../weighted_sums.h"

/* Four rows times four values: halves of a word hold the values of two rows, which meet the weights of these. */
static inline void weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const uint32_t added = kt_low_halves((uint32_t)weight_offset, (uint32_t)weight_offset);
    const uint32_t offset = kt_low_halves((uint32_t)rows->offset, (uint32_t)rows->offset);
    const int32_t step = rows->step[0];
    int32_t c, j;
    if (rows->step[1] != 1) {
        kt_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
    for (c = 0; c + 4 <= channels; c += 4) {
        const int8_t *row = rows->values + c;
        int32_t sum[4] = {0, 0, 0, 0};
        for (j = 0; j + 4 <= count; j += 4, row += 4 * step) {
            const uint32_t word = kt_load_word(weights + j);
            const uint32_t even = kt_add_even(added, word);
            const uint32_t odd = kt_add_odd(added, word);
            const uint32_t first = kt_load_word(row);
            const uint32_t second = kt_load_word(row + step);
            const uint32_t third = kt_load_word(row + 2 * step);
            const uint32_t fourth = kt_load_word(row + 3 * step);
            uint32_t a = kt_add_even(offset, first), b = kt_add_even(offset, third);
            sum[0] = kt_add_products(even, kt_low_halves(a, b), sum[0]);
            sum[2] = kt_add_products(even, kt_high_halves(a, b), sum[2]);
            a = kt_add_odd(offset, first);
            b = kt_add_odd(offset, third);
            sum[1] = kt_add_products(even, kt_low_halves(a, b), sum[1]);
            sum[3] = kt_add_products(even, kt_high_halves(a, b), sum[3]);
            a = kt_add_even(offset, second);
            b = kt_add_even(offset, fourth);
            sum[0] = kt_add_products(odd, kt_low_halves(a, b), sum[0]);
            sum[2] = kt_add_products(odd, kt_high_halves(a, b), sum[2]);
            a = kt_add_odd(offset, second);
            b = kt_add_odd(offset, fourth);
            sum[1] = kt_add_products(odd, kt_low_halves(a, b), sum[1]);
            sum[3] = kt_add_products(odd, kt_high_halves(a, b), sum[3]);
        }
        for (; j < count; j++, row += step) {
            const int32_t weight = weights[j] + weight_offset;
            sum[0] += weight * (row[0] + rows->offset);
            sum[1] += weight * (row[1] + rows->offset);
            sum[2] += weight * (row[2] + rows->offset);
            sum[3] += weight * (row[3] + rows->offset);
        }
        memcpy(sums + c, sum, sizeof sum);
    }
    if (c < channels) {
        const kt_rows rest = {rows->values + c, {step, 1}, rows->offset};
        kt_weighted_sums(&rest, weights, weight_offset, count, channels - c, sums + c);
    }
}

#endif
