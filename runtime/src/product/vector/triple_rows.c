/* Results of 3x3 windows in rows of three sums in two words, in vectors: the words of neighbouring rows in the lanes. */
#include "../triple_rows.h"

#if KT_VECTOR
#include "quads.h"

enum { TAPS = 9, COLUMNS = 3 };

/* Two words, and zeros. */
KT_INLINE kt_four_unsigned two_words(const uint32_t *words)
{
    return (kt_four_unsigned){words[0], words[1], 0, 0};
}

KT_INLINE kt_four_unsigned four_words(const uint32_t *words)
{
    return (kt_four_unsigned)kt_load_four((const int32_t *)(const void *)words);
}

/* The words of two rows that lie so many rows of the plane apart. */
KT_INLINE kt_four_unsigned words_of_two(const uint32_t *words, int32_t apart)
{
    return apart == 1 ? four_words(words) : (kt_four_unsigned){words[0], words[1], words[4], words[5]};
}

/* The lowest 21 bits as signed values. */
KT_INLINE kt_four_unsigned lowest_sums(kt_four_unsigned words)
{
    return (kt_four_unsigned)((kt_four_words)(words << 11) >> 11);
}

KT_INLINE void kt_rows(const kt_triple_rows *rows, int32_t count, int32_t stride, int32_t negative)
{
    const int8_t *const weights = (const int8_t *)rows->weights;
    const int32_t *const epilogue = rows->weights + 3;
    const kt_epilogues epilogues = {kt_four(epilogue[0], epilogue[0], epilogue[0], epilogue[0]),
                                    kt_four(epilogue[1], epilogue[1], epilogue[1], epilogue[1]),
                                    kt_four(epilogue[2], epilogue[2], epilogue[2], epilogue[2])};
    const int32_t next = rows->column_bytes / (int32_t)sizeof(uint32_t), bias = rows->bias >> 8;
    const uint32_t *column = rows->column;
    int8_t *y = rows->y;
    int32_t left, i, row;
    for (left = rows->columns; left > 0; left--, y += rows->next_column, column += stride * next) {
        kt_four_unsigned ab = {0, 0, 0, 0}, c = {0, 0, 0, 0};
        kt_four_unsigned low, high, first, second, third, rest;
        uint32_t words[8];
        int32_t bytes[3];
        for (i = 0; i < TAPS; i++) {
            const uint32_t *const at = column + i / COLUMNS * next + KT_ROW_WORDS * (i % COLUMNS);
            ab += kt_times_four(words_of_two(at, stride), weights[i]);
            if (count == 3) {
                c += kt_times_four(two_words(at + 2 * KT_ROW_WORDS), weights[i]);
            }
        }
        memcpy(words, &ab, sizeof ab);
        memcpy(words + 4, &c, sizeof c);
        low = (kt_four_unsigned){words[0], words[2], words[4], 0};
        high = (kt_four_unsigned){words[1], words[3], words[5], 0};
        third = lowest_sums(high); /* kt_three_sums of each row */
        high -= third;
        rest = low - (kt_four_unsigned)((kt_four_words)high >> 11);
        first = lowest_sums(rest);
        second = (kt_four_unsigned)(((kt_four_words)(rest - first) >> 10) + ((kt_four_words)high >> 21));
        bytes[0] = kt_four_results((kt_four_lanes)(first + (uint32_t)bias), &epilogues, negative);
        bytes[1] = kt_four_results((kt_four_lanes)(second + (uint32_t)bias), &epilogues, negative);
        bytes[2] = kt_four_results((kt_four_lanes)(third + (uint32_t)bias), &epilogues, negative);
        for (row = 0; row < count; row++) {
            int8_t *const result = y + row * rows->next_row;
            result[0] = (int8_t)(bytes[0] >> (8 * row));
            result[rows->second] = (int8_t)(bytes[1] >> (8 * row));
            result[rows->third] = (int8_t)(bytes[2] >> (8 * row));
        }
    }
}

#include "../triple_rows_named.h"

/* Windows of two rows that lie so many rows of the plane apart, in the lanes. */
KT_INLINE void window_words(uint32_t *words, const kt_triple_taps *taps, int32_t apart)
{
    const uint32_t *column = taps->column;
    const int8_t *weights = taps->weights;
    const int32_t next = taps->next / (int32_t)sizeof *column;
    kt_four_unsigned sums = {0, 0, 0, 0};
    int32_t width, row;
    for (width = taps->width; width > 0; width--, column += next) {
        for (row = 0; row < taps->height; row++) {
            sums += kt_times_four(words_of_two(column + KT_ROW_WORDS * row, apart), *weights++);
        }
    }
    memcpy(words, &sums, sizeof sums);
}

void kt_triple_window_words(uint32_t *words, const kt_triple_taps *taps)
{
    window_words(words, taps, 1);
}

void kt_triple_strided_words(uint32_t *words, const kt_triple_taps *taps)
{
    window_words(words, taps, 2);
}

#endif
