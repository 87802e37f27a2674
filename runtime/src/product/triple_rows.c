/* Results of 3x3 windows in rows of three sums in two words, in portable C: one load of a word serves the windows of all neighbouring rows. */
#include "triple_rows.h"

#if !KT_ARMV7M && !KT_ARMV6M && !KT_VECTOR

/* The products of one weight with the words of a row. */
#define KT_ADD(row, weight, word) \
    do { \
        row##0 += (word)[0] * (weight); \
        row##1 += (word)[1] * (weight); \
    } while (0)

/* The sums of two rows. */
#define KT_PUT_TWO_ROWS(words) \
    do { \
        (words)[0] = a0; \
        (words)[1] = a1; \
        (words)[2] = b0; \
        (words)[3] = b1; \
    } while (0)

/* One kernel column of two rows, and of the third. */
#define KT_TWO_ROWS_OF(column, weights) \
    const uint32_t w0 = (uint32_t)(weights)[0], w1 = (uint32_t)(weights)[1], w2 = (uint32_t)(weights)[2]; \
    KT_ADD(a, w0, (column)); \
    KT_ADD(a, w1, (column) + 2); \
    KT_ADD(b, w0, (column) + 2); \
    KT_ADD(a, w2, (column) + 4); \
    KT_ADD(b, w1, (column) + 4); \
    KT_ADD(b, w2, (column) + 6)
#define KT_THREE_ROWS_OF(column, weights) \
    KT_TWO_ROWS_OF(column, weights); \
    KT_ADD(c, w0, (column) + 4); \
    KT_ADD(c, w1, (column) + 6); \
    KT_ADD(c, w2, (column) + 8)

/* The words of neighbouring rows under one window, [rows][2]. */
static void KT_IN_ORDER kt_two_rows(uint32_t *words, const uint32_t *column, int32_t next, const int8_t *weights)
{
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    const int8_t *const end = weights + 9;
    for (; weights != end; weights += 3, column += next) {
        KT_TWO_ROWS_OF(column, weights);
    }
    KT_PUT_TWO_ROWS(words);
}

static void KT_IN_ORDER kt_three_rows(uint32_t *words, const uint32_t *column, int32_t next, const int8_t *weights)
{
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0;
    const int8_t *const end = weights + 9;
    for (; weights != end; weights += 3, column += next) {
        KT_THREE_ROWS_OF(column, weights);
    }
    KT_PUT_TWO_ROWS(words);
    words[4] = c0;
    words[5] = c1;
}

/* Of two rows with a stride of two. */
static void KT_IN_ORDER kt_strided_rows(uint32_t *words, const uint32_t *column, int32_t next, const int8_t *weights)
{
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    const int8_t *const end = weights + 9;
    for (; weights != end; weights += 3, column += next) {
        const uint32_t w0 = (uint32_t)weights[0], w1 = (uint32_t)weights[1], w2 = (uint32_t)weights[2];
        KT_ADD(a, w0, column);
        KT_ADD(a, w1, column + 2);
        KT_ADD(a, w2, column + 4);
        KT_ADD(b, w0, column + 4);
        KT_ADD(b, w1, column + 6);
        KT_ADD(b, w2, column + 8);
    }
    KT_PUT_TWO_ROWS(words);
}

KT_INLINE void kt_rows(const kt_triple_rows *rows, int32_t count, int32_t stride, int32_t negative)
{
    const kt_triple_scale scale = kt_triple_scale_of(rows->bias >> 8, rows->weights + 3, rows->second, rows->third);
    const int32_t next = rows->column_bytes / (int32_t)sizeof(uint32_t);
    const uint32_t *column = rows->column;
    int8_t *y = rows->y;
    int32_t left, row;
    for (left = rows->columns; left > 0; left--, y += rows->next_column, column += stride * next) {
        uint32_t words[3 * KT_ROW_WORDS];
        if (stride == 2) {
            kt_strided_rows(words, column, next, (const int8_t *)rows->weights);
        } else if (count == 3) {
            kt_three_rows(words, column, next, (const int8_t *)rows->weights);
        } else {
            kt_two_rows(words, column, next, (const int8_t *)rows->weights);
        }
        for (row = 0; row < count; row++) {
            kt_three_results(words + KT_ROW_WORDS * row, y + row * rows->next_row, &scale, negative);
        }
    }
}

void KT_IN_ORDER kt_triple_window_words(uint32_t *words, const kt_triple_taps *taps)
{
    const uint32_t *column = taps->column;
    const int8_t *weights = taps->weights;
    const int32_t next = taps->next / (int32_t)sizeof *column;
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    int32_t width, pairs;
    for (width = taps->width; width > 0; width--, column += next) {
        const uint32_t *word = column;
        uint32_t weight = (uint32_t)*weights++;
        KT_ADD(a, weight, word);
        for (pairs = taps->height / 2; pairs > 0; pairs--, word += 4, weights += 2) {
            KT_ADD(b, weight, word + 2);
            weight = (uint32_t)weights[0];
            KT_ADD(a, weight, word + 2);
            KT_ADD(b, weight, word + 4);
            weight = (uint32_t)weights[1];
            KT_ADD(a, weight, word + 4);
        }
        KT_ADD(b, weight, word + 2);
    }
    KT_PUT_TWO_ROWS(words);
}

void KT_IN_ORDER kt_triple_strided_words(uint32_t *words, const kt_triple_taps *taps)
{
    const uint32_t *column = taps->column;
    const int8_t *weights = taps->weights;
    const int32_t next = taps->next / (int32_t)sizeof *column;
    uint32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
    int32_t width, height;
    for (width = taps->width; width > 0; width--, column += next) {
        const uint32_t *word = column;
        for (height = taps->height; height > 0; height--, word += KT_ROW_WORDS) {
            const uint32_t weight = (uint32_t)*weights++;
            KT_ADD(a, weight, word);
            KT_ADD(b, weight, word + 2 * KT_ROW_WORDS);
        }
    }
    KT_PUT_TWO_ROWS(words);
}

#include "triple_rows_named.h"

#else

typedef int kt_no_rows; /* a translation unit is not empty in C99 */

#endif
