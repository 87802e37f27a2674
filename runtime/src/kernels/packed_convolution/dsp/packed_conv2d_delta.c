/* kt_packed_conv2d_delta_s8 for the DSP extension: a row is widened as it is read, for both positions at once. */
#include "kt/kernels/packed_convolution.h"
#include "../packed_conv2d_delta.h"

#if KT_DSP

#include "packed_sums.h"

/* Adds the products of a pair of the row. */
KT_INLINE void add_pair(uint32_t pair, const int32_t *panel, int32_t sums[3])
{
    sums[0] = kt_add_products(pair, (uint32_t)panel[0], sums[0]);
    sums[1] = kt_add_products(pair, (uint32_t)panel[1], sums[1]);
    sums[2] = kt_add_products(pair, UINT32_C(0x00010001), sums[2]);
}

/* What is left of a run behind its fours, in pairs as `kt_fill_run` has them. */
static __attribute__((noinline)) const int32_t *add_rest(const int8_t *row, int32_t length, const int32_t *panel, int32_t sums[3])
{
    add_pair((uint32_t)kt_pair_of(row[0], length == 1 ? 0 : length == 2 ? row[1] : row[2]), panel, sums);
    panel += 2;
    if (length == 3) {
        add_pair((uint32_t)kt_pair_of(row[1], 0), panel, sums);
        panel += 2;
    }
    return panel;
}

static __attribute__((noinline)) void products(const kt_trained_delta *delta, const int8_t *row, const int32_t *panel, int32_t sums[3])
{
    int32_t local[3] = {0, 0, 0};
    int32_t run;
    for (run = delta->runs; run > 0; run--) {
        int32_t left;
        for (left = delta->length; left >= 4; left -= 4, row += 4, panel += 4) {
            const uint32_t word = kt_load_word(row);
            add_pair(kt_even(word), panel, local);
            add_pair(kt_odd(word), panel + 2, local);
        }
        if (left > 0) {
            panel = add_rest(row, left, panel, local);
            row += left;
        }
    }
    sums[0] = local[0];
    sums[1] = local[1];
    sums[2] = local[2];
}

static void finish(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    kt_add_delta((const kt_trained_delta *)trained, block, products);
    kt_add_bias(trained, block);
    kt_requantize_block(trained, block, y);
}

void kt_packed_conv2d_delta_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias,
                               const int8_t *delta, const int8_t *delta_exponent, const int8_t *gain,
                               const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    const kt_trained_delta trained = kt_trained_delta_of(params, bias, delta, delta_exponent, gain, gain_exponent);
    kt_packed_trained_walk(&trained.trained, x, y, scratch, finish);
}

#endif
