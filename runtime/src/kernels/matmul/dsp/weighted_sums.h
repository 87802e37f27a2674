/* weighted_sums.h: the sum of rows, each times a weight, two products an instruction where the values of a row lie side by side. */
#ifndef KT_DSP_WEIGHTED_SUMS_H
#define KT_DSP_WEIGHTED_SUMS_H

#include "../../dsp/simd.h"
#include "../weighted_sums.h"

/* Four rows times four values: halves of a word hold the values of two rows, which meet the weights of these. */
static inline void weighted_sums(const kt_rows *rows, const int8_t *weights, int32_t weight_offset, int32_t count, int32_t channels, int32_t *sums)
{
    const uint32_t added = kt_low_halves((uint32_t)weight_offset, (uint32_t)weight_offset);
    const int32_t step = rows->step[0];
    int32_t total = 0;
    int32_t c, j;
    if (rows->step[1] != 1) {
        kt_weighted_sums(rows, weights, weight_offset, count, channels, sums);
        return;
    }
    for (j = 0; j < count && rows->offset != 0; j++) { /* sum w (x + o) = sum w x + o sum w, modulo 2^32 on the way and exact at the end */
        total += weights[j] + weight_offset;
    }
    total = (int32_t)((uint32_t)total * (uint32_t)rows->offset);
    for (c = 0; c + 4 <= channels; c += 4) {
        const int8_t *row = rows->values + c;
        int32_t s0 = total, s1 = total, s2 = total, s3 = total;
        for (j = 0; j + 4 <= count; j += 4) {
            const uint32_t word = kt_load_word(weights + j);
            const uint32_t first = kt_load_word(row);
            const uint32_t second = kt_load_word(row += step);
            const uint32_t third = kt_load_word(row += step);
            const uint32_t fourth = kt_load_word(row += step);
            uint32_t factors = kt_add_even(added, word), a = kt_even(first), b = kt_even(third);
            row += step;
            s0 = kt_add_products(factors, kt_low_halves(a, b), s0);
            s2 = kt_add_products(factors, kt_high_halves(a, b), s2);
            a = kt_odd(first);
            b = kt_odd(third);
            s1 = kt_add_products(factors, kt_low_halves(a, b), s1);
            s3 = kt_add_products(factors, kt_high_halves(a, b), s3);
            factors = kt_add_odd(added, word);
            a = kt_even(second);
            b = kt_even(fourth);
            s0 = kt_add_products(factors, kt_low_halves(a, b), s0);
            s2 = kt_add_products(factors, kt_high_halves(a, b), s2);
            a = kt_odd(second);
            b = kt_odd(fourth);
            s1 = kt_add_products(factors, kt_low_halves(a, b), s1);
            s3 = kt_add_products(factors, kt_high_halves(a, b), s3);
        }
        for (; j < count; j++, row += step) {
            const int32_t weight = weights[j] + weight_offset;
            s0 += weight * row[0];
            s1 += weight * row[1];
            s2 += weight * row[2];
            s3 += weight * row[3];
        }
        sums[c] = s0;
        sums[c + 1] = s1;
        sums[c + 2] = s2;
        sums[c + 3] = s3;
    }
    if (c < channels) {
        const kt_rows rest = {rows->values + c, {step, 1}, rows->offset};
        kt_weighted_sums(&rest, weights, weight_offset, count, channels - c, sums + c);
    }
}

#endif
