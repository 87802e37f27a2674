/* panel.h: fills the panel of a product (product.h) with what lies under a window.
 *
 * A window's values are taken in runs, as far as they are neighbours in memory: a kernel row, or one tap where the window is dilated.
 * Four values make the pairs (0, 2) and (1, 3), which is what one load and two extensions give. The rest of a run makes one pair
 * (0, -) or (0, 1), or the two pairs (0, 2) and (1, -); "-" meets a weight of zero. Words of one column lie two apart. */
#ifndef KT_PANEL_H
#define KT_PANEL_H

#include "halves.h"
#include "kt/kernels/window.h"
#include "kt/numerics.h"

#if KT_VECTOR
#include "vector/columns.h"
#else
#define KT_COLUMN_LANES 0
#endif

/* What is left of a run behind its fours. */
KT_INLINE int32_t *kt_fill_rest(int32_t *word, const int8_t *x, int32_t length)
{
    if (length > 0) {
        *word = kt_pair_of(x[0], length == 1 ? 0 : length == 2 ? x[1] : x[2]);
        word += 2;
        if (length == 3) {
            *word = kt_pair_of(x[1], 0);
            word += 2;
        }
    }
    return word;
}

KT_INLINE int32_t *kt_fill_run(int32_t *word, const int8_t *x, int32_t length)
{
    for (; length >= 16; length -= 16, x += 16, word += 16) {
        kt_split_four(x, word, word + 2);
        kt_split_four(x + 4, word + 4, word + 6);
        kt_split_four(x + 8, word + 8, word + 10);
        kt_split_four(x + 12, word + 12, word + 14);
    }
    for (; length >= 4; length -= 4, x += 4, word += 4) {
        kt_split_four(x, word, word + 2);
    }
    return kt_fill_rest(word, x, length);
}

/* Words 0 to 3 of both columns of a panel: four values of each. */
KT_INLINE void kt_fill_fours(int32_t *word, const int8_t *x, const int8_t *other)
{
    kt_split_four(x, word, word + 2);
    kt_split_four(other, word + 1, word + 3);
}

/* The same run of both columns of a panel. */
KT_INLINE void kt_fill_runs(int32_t *word, const int8_t *x, const int8_t *other, int32_t length)
{
#if KT_COLUMN_LANES
    for (; length >= 8; length -= 8, x += 8, other += 8, word += 8) {
        kt_fill_eights(word, x, other);
    }
#endif
    for (; length >= 16; length -= 16, x += 16, other += 16, word += 16) {
        kt_fill_fours(word, x, other);
        kt_fill_fours(word + 4, x + 4, other + 4);
        kt_fill_fours(word + 8, x + 8, other + 8);
        kt_fill_fours(word + 12, x + 12, other + 12);
    }
    for (; length >= 4; length -= 4, x += 4, other += 4, word += 4) {
        kt_fill_fours(word, x, other);
    }
    if (length > 0) {
        kt_fill_rest(word, x, length);
        kt_fill_rest(word + 1, other, length);
    }
}

KT_INLINE int32_t *kt_fill_outside(int32_t *word, int32_t value, int32_t pairs)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; pairs > 0; pairs--, word += 2) {
        *word = pair;
    }
    return word;
}

/* Pairs of a run. */
KT_INLINE int32_t kt_run_pairs(int32_t length)
{
    return (length + 3) / 4 * 2 - ((length & 3) == 1 || (length & 3) == 2 ? 1 : 0);
}

/* A result position. */
typedef struct {
    int32_t y, x;
} kt_position;

/* A walk over all results of a window, forwards or backwards, two at a time. at: the next one; inner, inner_count: results of a row whose windows meet
 * neither the left nor the right border, from the first on. */
typedef struct {
    const kt_window *window;
    const int8_t *x;
    int32_t outside, direction;
    kt_position at;
    int32_t inner, inner_count;
} kt_columns_walk;

/* outside: the value of what lies outside of the image; x [height][width][channels]; direction: 1 from the first result on, -1 from the last. */
void kt_begin_columns(kt_columns_walk *walk, const kt_window *window, int32_t outside, const int8_t *x, int32_t direction);

/* Both columns of a panel: what lies under the window at the next two positions, or where one is left at that one twice. Moves on by both. */
void kt_fill_columns(kt_columns_walk *walk, int32_t *panel, int32_t left);

#endif
