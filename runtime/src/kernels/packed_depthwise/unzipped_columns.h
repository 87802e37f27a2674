/* unzipped_columns.h: rows of four channels of an image as words of two neighbouring columns of one channel, in a buffer of columns.
 *
 * Word [column pair][row][channel] holds two columns of a channel as int16. Columns begin with those left of the image that the first window
 * covers. */
#ifndef KT_UNZIPPED_COLUMNS_H
#define KT_UNZIPPED_COLUMNS_H

#include "kt/kernels/window.h"
#include "../../product/halves.h"
#include "../convolution/input_gradient.h"
#include "../gain/gain.h"
#include "../window.h"

/* A gradient is scaled while it is unzipped: (g * m + half) >> shift, m [channels]. Values of a layer are taken as they are (NULL). factor: of
 * the four channels at hand, m << (16 - shift), with which the result stands in the high half. gain: of m, or NULL. */
typedef struct {
    const int16_t *prescale;
    const kt_gain *gain;
    int32_t shift;
    int32_t factor[4];
} kt_scaling;

enum { KT_HALF = 1 << 15 };

/* The factors of four channels of a gradient. */
KT_INLINE void kt_set_factors(kt_scaling *scaling, int32_t c)
{
    int32_t i;
    for (i = 0; i < KT_QUAD; i++) {
        const int32_t m = kt_gained(scaling->prescale[c + i], scaling->gain, c + i);
        scaling->factor[i] = m * (INT32_C(1) << (16 - scaling->shift));
    }
}

/* Words of two neighbouring columns of four channels, in one row. */
typedef struct {
    int32_t first, second;
} kt_two_words;
typedef struct {
    kt_two_words left, right;
} kt_band_words;

KT_INLINE void kt_put_two_words(kt_two_words *words, int32_t first, int32_t second)
{
#if KT_DSP
    __asm__("strd %1, %2, %0" : "=m"(*words) : "r"(first), "r"(second));
#else
    words->first = first;
    words->second = second;
#endif
}

/* Two columns of four channels as one word a channel, scaled. */
KT_INLINE void kt_unzip_scaled(kt_band_words *words, const int8_t *left, const int8_t *right, const kt_scaling *scaling)
{
    const int32_t f0 = scaling->factor[0], f1 = scaling->factor[1], f2 = scaling->factor[2], f3 = scaling->factor[3];
    kt_put_two_words(&words->left, kt_pair_of_high(kt_add_product(KT_HALF, left[0], f0), kt_add_product(KT_HALF, right[0], f0)),
                     kt_pair_of_high(kt_add_product(KT_HALF, left[1], f1), kt_add_product(KT_HALF, right[1], f1)));
    kt_put_two_words(&words->right, kt_pair_of_high(kt_add_product(KT_HALF, left[2], f2), kt_add_product(KT_HALF, right[2], f2)),
                     kt_pair_of_high(kt_add_product(KT_HALF, left[3], f3), kt_add_product(KT_HALF, right[3], f3)));
}

/* Two columns of four channels as one word a channel. */
KT_INLINE void kt_unzip_pair(kt_band_words *words, const int8_t *left, const int8_t *right, const kt_scaling *scaling)
{
#if KT_DSP
    int32_t l, r, low, high, w0, w1, w2, w3;
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, scaling);
        return;
    }
    l = kt_word_at(left);
    r = kt_word_at(right);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(l), "r"(r));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(r), "r"(l));
    __asm__("sxtb16 %0, %1" : "=r"(w0) : "r"(low));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w1) : "r"(low));
    __asm__("sxtb16 %0, %1" : "=r"(w2) : "r"(high));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w3) : "r"(high));
    kt_put_two_words(&words->left, w0, w1);
    kt_put_two_words(&words->right, w2, w3);
#else
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, scaling);
        return;
    }
    kt_put_two_words(&words->left, kt_pair_of(left[0], right[0]), kt_pair_of(left[1], right[1]));
    kt_put_two_words(&words->right, kt_pair_of(left[2], right[2]), kt_pair_of(left[3], right[3]));
#endif
}

/* Column pairs of a row of the buffer, from left to right: outside the image, cut by its left border, inside, cut by its right border,
 * outside again. */
typedef struct {
    int32_t before, cut_left, inside, cut_right, after;
} kt_columns;

/* pairs: of a row under all windows. */
static inline kt_columns kt_columns_of(const kt_window *window, int32_t pairs)
{
    const int32_t width = window->input[KT_X];
    const int32_t pad = kt_maximum(window->pad[KT_X], 0);
    kt_columns columns;
    int32_t left;
    columns.before = kt_minimum(pad / 2, pairs);
    columns.cut_left = kt_minimum(pad % 2, pairs - columns.before);
    left = pairs - columns.before - columns.cut_left;
    columns.inside = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) / 2, left);
    left -= columns.inside;
    columns.cut_right = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) % 2, left);
    columns.after = left - columns.cut_right;
    return columns;
}

static inline int32_t kt_columns_count(const kt_columns *columns)
{
    return columns->before + columns->cut_left + columns->inside + columns->cut_right + columns->after;
}

/* One row of so many column pairs outside of the image. */
KT_INLINE void kt_outside_pairs(kt_band_words *words, int32_t value, int32_t count, int32_t inputs)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; count > 0; count--, words += inputs) {
        kt_put_two_words(&words->left, pair, pair);
        kt_put_two_words(&words->right, pair, pair);
    }
}

/* Rows of one column pair; left, right: its two columns in the first of them, each with the bytes from row to row. */
KT_INLINE void kt_unzip_rows(kt_band_words *words, const int8_t *left, int32_t left_step, const int8_t *right,
                             int32_t right_step, int32_t rows, const kt_scaling *scaling)
{
    if (rows == 4) { /* of most bands */
        kt_unzip_pair(words, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 1, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 2, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 3, left, right, scaling);
        return;
    }
    for (; rows > 0; rows--, left += left_step, right += right_step, words++) {
        kt_unzip_pair(words, left, right, scaling);
    }
}

/* The columns of one row inside the image of four channels, as kt_unzip_inside has them. words: of the first. */
KT_INLINE void kt_unzip_line(const kt_columns *columns, const int8_t *x, int32_t step, const int8_t *outside, kt_band_words *words,
                             const kt_scaling *scaling)
{
    int32_t left = columns->inside;
    if (columns->cut_left) {
        kt_unzip_pair(words++, outside, x, scaling);
        x += step;
    }
    for (; left > 0; left--, words++, x += 2 * step) {
        kt_unzip_pair(words, x, x + step, scaling);
    }
    if (columns->cut_right) {
        kt_unzip_pair(words, x, outside, scaling);
    }
}

/* Rows inside the image of four channels. x: their first column that is read, in the first row. step, line: bytes from column to column and
 * from row to row. Pairs wholly outside stand in `words` already. */
KT_INLINE void kt_unzip_inside(const kt_columns *columns, const int8_t *x, int32_t step, int32_t line, const int8_t *outside,
                               kt_band_words *words, int32_t rows, int32_t inputs, const kt_scaling *scaling)
{
    const int32_t count = columns->cut_left + columns->inside + columns->cut_right;
    int32_t i;
    words += columns->before * inputs;
    if (inputs == 1) {
        kt_unzip_line(columns, x, step, outside, words, scaling);
        return;
    }
    for (i = 0; i < count; i++, words += inputs) {
        const int8_t *left = x, *right = outside;
        int32_t left_step = line, right_step = 0;
        if (i == 0 && columns->cut_left) {
            left = outside, left_step = 0;
        } else {
            x += step;
        }
        if (i + 1 < count || !columns->cut_right) {
            right = x, right_step = line;
            x += step;
        }
        kt_unzip_rows(words, left, left_step, right, right_step, rows, scaling);
    }
}

/* Whether input and result of a layer are one buffer, or share no byte. */
KT_INLINE int kt_channels_apart(const kt_window *window, const int8_t *from, const int8_t *to)
{
    const int32_t *const input = window->input, *const output = window->output;
    const uintptr_t x = (uintptr_t)from, y = (uintptr_t)to;
    return x == y || x + (uintptr_t)(input[KT_Y] * input[KT_X] * input[KT_CHANNELS]) <= y ||
           y + (uintptr_t)(output[KT_Y] * output[KT_X] * input[KT_CHANNELS]) <= x;
}

#endif
