/* lora_inner_gradient.h: products of a gradient with the columns of B, one by one, or a block of columns at a time.
 *
 * The shift follows the largest sum, and is known at the end alone. With blocks each sum is stored by the shift of the largest so far; what was
 * stored before the shift last grew is computed once more. */
#ifndef KT_LORA_INNER_GRADIENT_H
#define KT_LORA_INNER_GRADIENT_H

#include "kt/kernels/lora.h"
#include "kt/numerics.h"

enum { KT_COLUMNS = 4 }; /* of B, in a block */

/* sum_c b[c, j] * g[c]; b points to column j. */
static inline int32_t kt_lora_product(const int8_t *g, const int8_t *b, int32_t channels, int32_t rank)
{
    int32_t sum = 0;
    int32_t c;
    for (c = 0; c < channels; c++) {
        sum += g[c] * *b;
        b += rank;
    }
    return sum;
}

/* A block of columns where B has it. */
typedef struct {
    const int8_t *b;
    int32_t rank, count;
} kt_columns_of_b;

/* `count` columns of B, the first at b, as kt_sum_columns reads them; columns beyond are 0. */
typedef void kt_pack_columns(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed);

/* Their products with a gradient. */
typedef void kt_sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS]);

/* What a core does, and where a block is packed. */
typedef struct {
    kt_pack_columns *pack;
    kt_sum_columns *sum;
    void *packed;
} kt_column_products;

/* A shift of at least 0, which grows; where it last did: block and position. packed: the block that is. */
typedef struct {
    int32_t shift, first, position, packed;
} kt_growing_shift;

/* Positions from 0 on of the block of columns from `first` on. */
static inline __attribute__((always_inline)) void kt_inner_block(const kt_lora_inner_gradient_params *params,
                                                                 const kt_column_products *products, const int8_t *g, const int8_t *b,
                                                                 int32_t first, int32_t positions, kt_growing_shift *growing, int8_t *du)
{
    const int32_t channels = params->channels, rank = params->rank, count = kt_minimum(rank - first, KT_COLUMNS);
    int32_t shift = growing->shift;
    int32_t position, i;
    if (growing->packed != first) {
        products->pack(b + first, channels, rank, count, products->packed);
        growing->packed = first;
    }
    du += first;
    for (position = 0; position < positions; position++, g += channels, du += rank) {
        int32_t sums[KT_COLUMNS];
        uint32_t bits;
        products->sum(g, channels, products->packed, sums);
        bits = kt_magnitude(sums[0]) | kt_magnitude(sums[1]) | kt_magnitude(sums[2]) | kt_magnitude(sums[3]);
        if (bits >> (shift + 7) != 0) {
            shift = kt_fitting_shift(bits);
            growing->shift = shift;
            growing->first = first;
            growing->position = position;
        }
        for (i = 0; i < count; i++) {
            du[i] = kt_saturate8(kt_shift_round(sums[i], shift));
        }
    }
}

static inline __attribute__((always_inline)) void kt_inner_gradient(const kt_lora_inner_gradient_params *params,
                                                                    const kt_column_products *products, const int8_t *g,
                                                                    const int8_t *b, const int8_t *b_exponent, int8_t *du,
                                                                    int8_t *du_exponent)
{
    kt_growing_shift growing = {0, 0, 0, -1};
    kt_growing_shift last = {0, params->rank - 1, params->positions, 0};
    int32_t pass, first;
    for (pass = 0; pass < 2; pass++) {
        for (first = 0; first <= last.first; first += KT_COLUMNS) {
            kt_inner_block(params, products, g, b, first, first < last.first ? params->positions : last.position, &growing, du);
        }
        last = growing;
    }
    *du_exponent = (int8_t)kt_minimum(*b_exponent + growing.shift, 127);
}

static inline void kt_point_to_columns(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed)
{
    kt_columns_of_b *const columns = packed;
    (void)channels;
    columns->b = b;
    columns->rank = rank;
    columns->count = count;
}

/* Half of the gradients are zero. */
static inline void kt_sum_where_they_lie(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    const kt_columns_of_b *const columns = packed;
    const int8_t *const end = g + channels, *b = columns->b;
    const int32_t rank = columns->rank;
    int32_t first = 0, second = 0, third = 0, fourth = 0, j;
    if (columns->count < KT_COLUMNS) {
        for (j = 0; j < KT_COLUMNS; j++) {
            sums[j] = j < columns->count ? kt_lora_product(g, b + j, channels, rank) : 0;
        }
        return;
    }
    for (; g != end; b += rank) {
        const int32_t value = *g++;
        if (value != 0) {
            first += value * b[0];
            second += value * b[1];
            third += value * b[2];
            fourth += value * b[3];
        }
    }
    sums[0] = first;
    sums[1] = second;
    sums[2] = third;
    sums[3] = fourth;
}

/* Without a copy of the columns. */
static inline void kt_inner_gradient_in_place(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                                                                 const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    kt_columns_of_b columns = {b, params->rank, 0};
    const kt_column_products products = {kt_point_to_columns, kt_sum_where_they_lie, &columns};
    kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
}

#endif
