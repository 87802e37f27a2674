/* kt_lora_inner_gradient_s8 for the DSP extension: four columns of B at once, two channels an instruction. Columns of many channels, for which the
 * stack has no room, are read where they lie, in two passes: one loop, and what it does with the products is a function that the compiler
 * inlines. */
#include "../lora_inner_gradient.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "four_rows.h"

static const int32_t zeros[KT_ROWS] = {0, 0, 0, 0};

static inline void pack(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed)
{
    kt_pack_rows(b, count, channels, 1, rank, packed);
}

static inline void sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    kt_sum_rows(g, channels, packed, zeros, sums);
}

static __attribute__((noinline)) void packed_gradient(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                                                      const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    uint32_t words[KT_BLOCK_WORDS];
    const kt_column_products products = {pack, sum_columns, words};
    kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
}

enum { COLUMNS = KT_COLUMNS };

/* sums[0..3] of four columns from b on with the gradient g, sums[4..7] with the one at `next`. */
static void products(const int8_t *g, const int8_t *next, const int8_t *b, int32_t channels, int32_t rank, int32_t *sums)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    int32_t c, i;
    for (c = channels; c >= 2; c -= 2, g += 2, next += 2) {
        const uint32_t first = kt_load_word(b), second = kt_load_word(b + rank);
        const uint32_t low = kt_low_halves(first, second), high = kt_high_halves(first, second);
        const uint32_t u = kt_low_halves((uint32_t)g[0], (uint32_t)g[1]);
        const uint32_t v = kt_low_halves((uint32_t)next[0], (uint32_t)next[1]);
        const uint32_t column0 = kt_even(low), column1 = kt_odd(low), column2 = kt_even(high), column3 = kt_odd(high);
        a0 = kt_add_products(column0, u, a0);
        b0 = kt_add_products(column0, v, b0);
        a1 = kt_add_products(column1, u, a1);
        b1 = kt_add_products(column1, v, b1);
        a2 = kt_add_products(column2, u, a2);
        b2 = kt_add_products(column2, v, b2);
        a3 = kt_add_products(column3, u, a3);
        b3 = kt_add_products(column3, v, b3);
        b += 2 * rank;
    }
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    sums[4] = b0;
    sums[5] = b1;
    sums[6] = b2;
    sums[7] = b3;
    for (i = 0; i < COLUMNS && c > 0; i++) {
        sums[i] += *g * b[i];
        sums[COLUMNS + i] += *next * b[i];
    }
}

/* Calls take(sum, context, where the result goes) for each product. */
typedef void taker(int32_t sum, void *context, int8_t *result);

static inline void each_product(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b, int8_t *du,
                                taker *take, void *context)
{
    const int32_t channels = params->channels, rank = params->rank;
    int32_t position, j, i;
    for (position = 0; position + 2 <= params->positions; position += 2) {
        const int8_t *const next = g + channels;
        int8_t *const behind = du + rank;
        for (j = 0; j + COLUMNS <= rank; j += COLUMNS) {
            int32_t sums[2 * COLUMNS];
            products(g, next, b + j, channels, rank, sums);
            for (i = 0; i < COLUMNS; i++) {
                take(sums[i], context, du + j + i);
                take(sums[COLUMNS + i], context, behind + j + i);
            }
        }
        for (; j < rank; j++) {
            take(kt_lora_product(g, b + j, channels, rank), context, du + j);
            take(kt_lora_product(next, b + j, channels, rank), context, behind + j);
        }
        g += 2 * channels;
        du += 2 * rank;
    }
    for (j = 0; j < rank && position < params->positions; j++) {
        take(kt_lora_product(g, b + j, channels, rank), context, du + j);
    }
}

static void keep_largest(int32_t sum, void *context, int8_t *result)
{
    uint32_t *const largest = (uint32_t *)context;
    const uint32_t magnitude = kt_magnitude(sum);
    (void)result;
    *largest = magnitude > *largest ? magnitude : *largest;
}

static void store_rounded(int32_t sum, void *context, int8_t *result)
{
    *result = kt_saturate8(kt_shift_round(sum, *(const int32_t *)context));
}

static __attribute__((noinline)) void gradient_in_two_passes(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                                                             const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    uint32_t largest = 0;
    int32_t shift;
    each_product(params, g, b, du, keep_largest, &largest);
    shift = kt_fitting_shift(largest);
    each_product(params, g, b, du, store_rounded, &shift);
    *du_exponent = (int8_t)kt_minimum(*b_exponent + shift, 127);
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    if (params->channels <= KT_MOST_VALUES) {
        packed_gradient(params, g, b, b_exponent, du, du_exponent);
    } else {
        gradient_in_two_passes(params, g, b, b_exponent, du, du_exponent);
    }
}

#endif
