/* streamed_squares.h: the gradient of ../streamed.h in vectors of neighbouring elements, row after row, and its norm: squares in vectors, added one
 * after the other. */
#ifndef KT_OPTIM_VECTOR_STREAMED_SQUARES_H
#define KT_OPTIM_VECTOR_STREAMED_SQUARES_H

#include "../../product/vector/floats.h"

/* Elements at a time: what is stored lane by lane must have reached the cache before vectors read it. */
enum { KT_STREAMED_PIECE = 128 };

/* Where the next elements are. */
typedef struct {
    int32_t row, column;
} kt_streamed_walk;

/* The products of rows of four, LoRA's usual rank, as many as fill the lanes; returns how many. */
static inline int32_t kt_streamed_fours(const kt_streamed *s, kt_streamed_walk *walk, int32_t count, int32_t *products)
{
    const int8_t repeated[8] = {s->x[0], s->x[1], s->x[2], s->x[3], s->x[0], s->x[1], s->x[2], s->x[3]};
    const int32_t half[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
    const kt_word_lanes values = (kt_word_lanes)kt_add_lanes(kt_widen_codes(repeated), kt_splat(s->offset)), first = (kt_word_lanes)kt_load_lanes(half);
    int32_t done;
    for (done = 0; done + KT_LANES <= count; done += KT_LANES, walk->row += KT_LANES / 4) {
        const int8_t *const g = s->g + walk->row;
        const kt_word_lanes factors = (kt_word_lanes)kt_choose(first, (kt_word_lanes)kt_splat(g[0]), (kt_word_lanes)kt_splat(g[KT_LANES / 4 - 1]));
        kt_store_lanes(products + done, (kt_lanes)(values * factors));
    }
    return done;
}

/* g[row] * (x[column] + offset) of the next `count` elements, row after row. */
static inline void kt_streamed_products(const kt_streamed *s, int32_t columns, kt_streamed_walk *walk, int32_t count, int32_t *products)
{
    const int8_t *const x = s->x;
    int32_t done = columns == 4 && walk->column == 0 ? kt_streamed_fours(s, walk, count, products) : 0;
    while (done < count) {
        const int32_t n = kt_minimum(columns - walk->column, count - done), g = s->g[walk->row];
        int32_t i = 0;
        for (; i + KT_LANES <= n; i += KT_LANES) {
            const kt_lanes values = kt_add_lanes(kt_widen_codes(x + walk->column + i), kt_splat(s->offset));
            kt_store_lanes(products + done + i, (kt_lanes)((kt_word_lanes)values * g));
        }
        for (; i < n; i++) {
            products[done + i] = g * (x[walk->column + i] + s->offset);
        }
        done += n;
        walk->column += n;
        if (walk->column == columns) {
            walk->row++;
            walk->column = 0;
        }
    }
}

/* kt_streamed_sum */
KT_INLINE kt_float_lanes kt_streamed_sums(const kt_streamed *s, kt_word_lanes products)
{
    const kt_float_lanes scaled = kt_floats_of(products) * kt_splat_float(s->scale.value);
    return kt_splat_float(0.0f) + scaled;
}

static inline float kt_streamed_squares(const kt_streamed_params *params, const kt_streamed *s)
{
    const int32_t size = params->rows * params->columns;
    kt_streamed_walk walk = {0, 0};
    int32_t products[KT_STREAMED_PIECE];
    float squares[KT_STREAMED_PIECE];
    float total = 0.0f;
    int32_t first, i;
    for (first = 0; first < size; first += KT_STREAMED_PIECE) {
        const int32_t count = kt_minimum(size - first, KT_STREAMED_PIECE), whole = count / KT_LANES * KT_LANES;
        kt_streamed_products(s, params->columns, &walk, count, products);
        for (i = 0; i < whole; i += KT_LANES) {
            const kt_float_lanes gradient = kt_streamed_sums(s, (kt_word_lanes)kt_load_lanes(products + i)) * kt_splat_float(s->factor.value);
            kt_store_floats(squares + i, gradient * gradient);
        }
        for (; i < count; i++) {
            const float gradient = kt_streamed_sum(s, (first + i) / params->columns, (first + i) % params->columns) * s->factor.value;
            squares[i] = gradient * gradient;
        }
        for (i = 0; i < count; i++) {
            total = total + squares[i];
        }
    }
    return total;
}

#endif
