/* triple_rows.h: sums of one channel's windows, of three result rows in two words (triple.h).
 *
 * A column of a plane holds, for each of its input rows, the words of the three rows that the three result rows need. */
#ifndef KT_TRIPLE_ROWS_H
#define KT_TRIPLE_ROWS_H

#include "triple.h"

enum { KT_ROW_WORDS = 2 };

/* The windows of one channel along a row of results, 3x3: two or three neighbouring results of each of three rows, or two of a stride of two.
 *
 * column: of the first window; column_bytes: from one to the next. y: the first result; then bytes to the next column, the next row, and to
 * the second and third of three rows. weights: 9 of [kernel column][kernel row] in three words, then multiplier, addend, shift. bias: times
 * 256. */
typedef struct {
    const uint32_t *column;
    int8_t *y;
    int32_t columns;
    int32_t column_bytes;
    int32_t next_column, next_row;
    int32_t second, third;
    const int32_t *weights;
    int32_t bias;
} kt_triple_rows;

#if KT_ARMV6M
typedef int32_t kt_triple_tap;
#else
typedef int8_t kt_triple_tap;
#endif

/* Windows of two rows or more. column: of the first kernel column's words; weights: kt_triple_tap [kernel column][kernel row]; next: bytes from one
 * kernel column to the next; width: kernel columns; height: kernel rows. */
typedef struct {
    const uint32_t *column;
    const void *weights;
    int32_t next;
    int32_t width, height;
} kt_triple_taps;

enum { KT_TAPPED_ROWS = KT_ARMV6M ? 1 : 2, KT_MOST_TAPS = 49 };

/* The words of KT_TAPPED_ROWS neighbouring rows under a window of an odd number of rows, [rows][2]. */
void kt_triple_window_words(uint32_t *words, const kt_triple_taps *taps);

#if !KT_ARMV6M
/* The same of two rows whose windows lie two rows of the plane apart, of any number of rows. */
void kt_triple_strided_words(uint32_t *words, const kt_triple_taps *taps);

#define KT_TWO_ROWS(rounding) kt_triple_two_rows_##rounding
#define KT_THREE_ROWS(rounding) kt_triple_three_rows_##rounding
void kt_triple_two_rows_half_up(const kt_triple_rows *rows);
void kt_triple_two_rows_away(const kt_triple_rows *rows);
void kt_triple_three_rows_half_up(const kt_triple_rows *rows);
void kt_triple_three_rows_away(const kt_triple_rows *rows);
#define KT_STRIDED_ROWS(rounding) kt_triple_strided_rows_##rounding
void kt_triple_strided_rows_half_up(const kt_triple_rows *rows);
void kt_triple_strided_rows_away(const kt_triple_rows *rows);
#else
/* Words of the 3x3 windows of neighbouring results. words, end: of the results, 2 each; taps: 9 weights of [kernel column][kernel row];
 * next_column: bytes from the end of one kernel column in the plane to the next; back: from the end of the last to the next result's first. */
typedef struct {
    uint32_t *words;
    const uint32_t *end;
    const uint32_t *column;
    const int32_t *taps;
    int32_t next_column, back;
} kt_triple_windows_of_rows;

void kt_triple_row_words(const kt_triple_windows_of_rows *rows);
/* the kernels have the others in C */
#define KT_TWO_ROWS(rounding) NULL
#define KT_THREE_ROWS(rounding) NULL
#define KT_STRIDED_ROWS(rounding) NULL
#endif

#endif
