/* Products with transposed weights of a forward stream, in vectors: values in the lanes, the weights of two channels in each word. */
#include "../product.h"

#if KT_VECTOR
#include "quads.h"

enum { QUADS = 128 /* of the factors on the stack */, BLOCK = 4 /* vectors of a row's words at once */ };

/* What the words of four channels meet at one position: the pairs (a, b), (a, b), (c, d), (c, d). g: the pairs (a, c) and (b, d). */
KT_INLINE void factors_of(const int32_t g[2], int32_t factors[4])
{
    factors[0] = factors[1] = kt_pair_of(g[0], g[1]);
    factors[2] = factors[3] = kt_pair_of(kt_high(g[0]), kt_high(g[1]));
}

/* Words of the channels a and b, and of c and d, in turn: their weights for a half of each, channels beside each other. */
KT_INLINE kt_channel_words weights_of(kt_lanes words)
{
    const kt_lanes first = kt_first_weights(words);
    return kt_interleave(first, kt_second_weights(words, first));
}

/* The first `count` words of a vector, all or half of it. */
KT_INLINE kt_lanes load(const int32_t *words, int32_t count)
{
    return count == KT_LANES ? kt_load_lanes(words) : kt_load_some(words, count);
}

/* Quads of words, `step` apart, with factors [quads][4], added to the sums of a value a word; blocks * KT_LANES of them, or `count` of one block. */
KT_INLINE void add_row(int32_t *sums, const int32_t *stream, int32_t step, const int32_t *factors, int32_t quads, int32_t blocks, int32_t count)
{
    const kt_lanes none = kt_no_lanes();
    kt_channel_words total[BLOCK] = {{none, none}, {none, none}, {none, none}, {none, none}};
    int32_t quad, i;
    for (quad = 0; quad < quads; quad++, stream += step, factors += 4) {
        const kt_lanes four = kt_every_quad(factors);
        const kt_channel_words twice = {four, four};
        for (i = 0; i < blocks; i++) {
            const kt_channel_words weights = weights_of(load(stream + KT_LANES * i, count));
            kt_add_products_of(&total[i], &weights, &twice);
        }
    }
    for (i = 0; i < blocks; i++) {
        const kt_channel_words halves = kt_interleave_words(total[i].low, total[i].high);
        const kt_lanes added = kt_add_lanes(kt_add_lanes(halves.low, halves.high), load(sums + KT_LANES * i, count));
        memcpy(sums + KT_LANES * i, &added, (size_t)count * sizeof *sums);
    }
}

/* One position. */
void kt_product_backward_row(KT_BACKWARD_ARGUMENTS)
{
    int32_t factors[4 * QUADS];
    const int32_t values = (int32_t)(end - sums);
    int32_t first, quad, i;
    for (first = 0; first < quads; first += QUADS, stream += QUADS * step, panel += QUADS * panel_step) {
        const int32_t some = kt_minimum(quads - first, QUADS);
        for (quad = 0; quad < some; quad++) {
            factors_of(panel + panel_step * quad, factors + 4 * quad);
        }
        for (i = 0; i + BLOCK * KT_LANES <= values; i += BLOCK * KT_LANES) {
            add_row(sums + i, stream + i, step, factors, some, BLOCK, KT_LANES);
        }
        for (; i + KT_LANES <= values; i += KT_LANES) {
            add_row(sums + i, stream + i, step, factors, some, 1, KT_LANES);
        }
        if (i < values) {
            add_row(sums + i, stream + i, step, factors, some, 1, 4);
        }
    }
}

/* The sums of four positions for the values of a vector of words: [values][4]. */
KT_INLINE void add_four(int32_t *sums, const int32_t *stream, int32_t step, const int32_t *factors, int32_t quads, int32_t count)
{
    const kt_lanes none = kt_no_lanes();
    kt_channel_words total[4] = {{none, none}, {none, none}, {none, none}, {none, none}};
    kt_lanes of_position[4];
    int32_t quad, i;
    for (quad = 0; quad < quads; quad++, stream += step, factors += 16) {
        const kt_channel_words weights = weights_of(load(stream, count));
        for (i = 0; i < 4; i++) {
            const kt_lanes four = kt_every_quad(factors + 4 * i);
            const kt_channel_words twice = {four, four};
            kt_add_products_of(&total[i], &weights, &twice);
        }
    }
    for (i = 0; i < 4; i++) {
        const kt_channel_words halves = kt_interleave_pairs(total[i].low, total[i].high);
        of_position[i] = kt_add_lanes(halves.low, halves.high);
    }
    kt_add_by_value(sums, of_position, count);
}

/* Four positions. */
void kt_product_backward(KT_BACKWARD_ARGUMENTS)
{
    int32_t factors[4 * QUADS];
    const int32_t words = (int32_t)(end - sums) / 4;
    int32_t first, quad, i;
    for (first = 0; first < quads; first += QUADS / 4, stream += QUADS / 4 * step, panel += QUADS / 4 * panel_step) {
        const int32_t some = kt_minimum(quads - first, QUADS / 4);
        for (quad = 0; quad < some; quad++) {
            for (i = 0; i < 4; i++) {
                factors_of(panel + panel_step * quad + 2 * i, factors + 16 * quad + 4 * i);
            }
        }
        for (i = 0; i + KT_LANES <= words; i += KT_LANES) {
            add_four(sums + 4 * i, stream + i, step, factors, some, KT_LANES);
        }
        if (i < words) {
            add_four(sums + 4 * i, stream + i, step, factors, some, 4);
        }
    }
}

#endif
