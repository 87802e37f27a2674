/* kt_lora_inner_gradient_s8 for the DSP extension: four columns of B at once, two channels an instruction. Columns of up to KT_MOST_VALUES channels are
 * packed on the stack; longer ones are read where they lie. */
#include "../lora_inner_gradient.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "four_rows.h"

static const int32_t zeros[KT_ROWS] = {0, 0, 0, 0};

/* A block of columns: packed, or where it lies. */
typedef struct {
    uint32_t words[KT_BLOCK_WORDS];
    kt_columns_of_b columns;
} block_of_columns;

static __attribute__((noinline)) void pack(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed)
{
    block_of_columns *const block = packed;
    if (channels <= KT_MOST_VALUES) {
        kt_pack_rows(b, count, channels, 1, rank, block->words);
    } else {
        kt_point_to_columns(b, channels, rank, count, &block->columns);
    }
}

/* sums[i] = sum_c b[c, i] g[c] of four columns whose rows are `rank` apart, two channels at a time. */
static inline void sum_where_they_lie(const int8_t *g, int32_t channels, const int8_t *b, int32_t rank, int32_t sums[KT_COLUMNS])
{
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t c;
    for (c = channels; c >= 2; c -= 2, g += 2, b += 2 * rank) {
        const uint32_t first = kt_load_word(b), second = kt_load_word(b + rank);
        const uint32_t low = kt_low_halves(first, second), high = kt_high_halves(first, second);
        const uint32_t gradients = kt_low_halves((uint32_t)g[0], (uint32_t)g[1]);
        sum0 = kt_add_products(kt_even(low), gradients, sum0);
        sum1 = kt_add_products(kt_odd(low), gradients, sum1);
        sum2 = kt_add_products(kt_even(high), gradients, sum2);
        sum3 = kt_add_products(kt_odd(high), gradients, sum3);
    }
    sums[0] = c > 0 ? sum0 + *g * b[0] : sum0;
    sums[1] = c > 0 ? sum1 + *g * b[1] : sum1;
    sums[2] = c > 0 ? sum2 + *g * b[2] : sum2;
    sums[3] = c > 0 ? sum3 + *g * b[3] : sum3;
}

static __attribute__((noinline)) void sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    const block_of_columns *const block = packed;
    int32_t j;
    if (channels <= KT_MOST_VALUES) {
        kt_sum_rows(g, channels, block->words, zeros, sums);
    } else if (block->columns.count == KT_COLUMNS) {
        sum_where_they_lie(g, channels, block->columns.b, block->columns.rank, sums);
    } else {
        for (j = 0; j < KT_COLUMNS; j++) {
            sums[j] = j < block->columns.count ? kt_lora_product(g, block->columns.b + j, channels, block->columns.rank) : 0;
        }
    }
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    block_of_columns block;
    const kt_column_products products = {pack, sum_columns, &block};
    kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
}

#endif
