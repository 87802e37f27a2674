/* kt_lora_inner_gradient_s8 for the DSP extension: four columns of B at once, two channels an instruction. Columns of up to KT_MOST_VALUES channels are
 * packed on the stack; longer ones are read where they lie, and of few positions their sums are kept there until the shift is known. */
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

#ifdef __OPTIMIZE__
/* Two rows of B at b and 2 * rank behind it, with the gradients of both; then b moves on by a row. */
#define ADD_TWO_ROWS(gradients) \
    "ldr %[first], [%[b]]\n\t" \
    "ldr %[second], [%[b], %[rank], lsl #1]\n\t" \
    "add %[b], %[rank]\n\t" \
    "pkhbt %[both], %[first], %[second], lsl #16\n\t" \
    "pkhtb %[second], %[second], %[first], asr #16\n\t" \
    "sxtb16 %[first], %[both]\n\t" \
    "sxtb16 %[both], %[both], ror #8\n\t" \
    "smlad %[sum0], %[first], %[" gradients "], %[sum0]\n\t" \
    "smlad %[sum1], %[both], %[" gradients "], %[sum1]\n\t" \
    "sxtb16 %[first], %[second]\n\t" \
    "sxtb16 %[second], %[second], ror #8\n\t" \
    "smlad %[sum2], %[first], %[" gradients "], %[sum2]\n\t" \
    "smlad %[sum3], %[second], %[" gradients "], %[sum3]\n\t"

/* sums[i] = sum_c b[c, i] g[c] of four columns whose rows are `rank` apart; channels, a multiple of 4. */
static inline void sum_fours(const int8_t *g, int32_t channels, const int8_t *b, int32_t rank, int32_t sums[KT_COLUMNS])
{
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    const int8_t *const end = g + channels;
    uint32_t even, odd, first, second, both;
    if (channels > 0) {
        __asm__ volatile("1:\n\t"
                         "ldr %[even], [%[g]], #4\n\t"
                         "sxtb16 %[odd], %[even], ror #8\n\t"
                         "sxtb16 %[even], %[even]\n\t" ADD_TWO_ROWS("even") ADD_TWO_ROWS("odd")
                         "add %[b], %[b], %[rank], lsl #1\n\t"
                         "cmp %[g], %[end]\n\t"
                         "bne 1b\n\t"
                         : [g] "+r"(g), [b] "+r"(b), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3),
                           [even] "=&r"(even), [odd] "=&r"(odd), [first] "=&r"(first), [second] "=&r"(second), [both] "=&r"(both)
                         : [rank] "r"(rank), [end] "r"(end)
                         : "cc", "memory");
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

/* The same of `count` columns. Of fewer than four the last four of B are summed, or where it has no four, up to where rows can be read as words. */
static inline void sum_where_they_lie(const int8_t *g, int32_t channels, const kt_columns_of_b *columns, int32_t sums[KT_COLUMNS])
{
    const int32_t rank = columns->rank, count = columns->count, before = rank < KT_COLUMNS ? 0 : KT_COLUMNS - count;
    const int32_t whole = (channels - (rank < KT_COLUMNS ? KT_COLUMNS : 0)) & ~3; /* a word may reach over three rows */
    int32_t every[KT_COLUMNS];
    int32_t c, j;
    sum_fours(g, whole, columns->b - before, rank, every);
    for (j = 0; j < KT_COLUMNS; j++) {
        sums[j] = j < count ? every[before + j] : 0;
    }
    for (c = whole; c < channels; c++) {
        for (j = 0; j < count; j++) {
            sums[j] += g[c] * columns->b[c * rank + j];
        }
    }
}
#else
static inline void sum_where_they_lie(const int8_t *g, int32_t channels, const kt_columns_of_b *columns, int32_t sums[KT_COLUMNS])
{
    kt_sum_where_they_lie(g, channels, columns, sums);
}
#endif

static __attribute__((noinline)) void sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    const block_of_columns *const block = packed;
    if (channels <= KT_MOST_VALUES) {
        kt_sum_rows(g, channels, block->words, zeros, sums);
    } else {
        sum_where_they_lie(g, channels, &block->columns, sums);
    }
}

/* Longer columns, whose sums at all positions there is room for. */
static __attribute__((noinline)) void gradient_of_sums(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                                                       const int8_t *b_exponent, int32_t *sums, int8_t *du, int8_t *du_exponent)
{
    const int32_t channels = params->channels, rank = params->rank, all = params->positions * rank;
    uint32_t bits = 0;
    int32_t first, position, shift, i;
    for (first = 0; first < rank; first += KT_COLUMNS) {
        kt_columns_of_b columns;
        kt_point_to_columns(b + first, channels, rank, kt_minimum(rank - first, KT_COLUMNS), &columns);
        for (position = 0; position < params->positions; position++) {
            int32_t found[KT_COLUMNS];
            sum_where_they_lie(g + position * channels, channels, &columns, found);
            for (i = 0; i < columns.count; i++) {
                bits |= kt_magnitude(found[i]);
                sums[position * rank + first + i] = found[i];
            }
        }
    }
    shift = kt_fitting_shift(bits);
    for (i = 0; i < all; i++) {
        du[i] = kt_saturate8(kt_shift_round(sums[i], shift));
    }
    *du_exponent = (int8_t)kt_minimum(*b_exponent + shift, 127);
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    block_of_columns block;
    const kt_column_products products = {pack, sum_columns, &block};
    if (params->channels > KT_MOST_VALUES && params->positions * params->rank <= KT_BLOCK_WORDS) {
        gradient_of_sums(params, g, b, b_exponent, (int32_t *)block.words, du, du_exponent);
        return;
    }
    kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
}

#endif
