/* Sums over the rows of a matrix for the DSP extension: two columns in the halves of a word, up to 256 rows in 16 bits. */
#include "column_sums.h"
#include "kt/architecture.h"
#include "kt/numerics.h"

#if KT_DSP

#include "simd.h"

enum { KT_ROWS_AT_ONCE = 256 };

/* totals[c] += sums, {even, odd} of four columns. */
static inline void kt_add_sums(int32_t *totals, uint32_t even, uint32_t odd)
{
    totals[0] += (int16_t)even;
    totals[1] += (int16_t)odd;
    totals[2] += (int32_t)even >> 16;
    totals[3] += (int32_t)odd >> 16;
}

/* Rows that begin at words. */
#define KT_ADD_ROW \
    "ldrd %[a], %[b], [%[x]]\n\t" \
    "add %[x], %[step]\n\t" \
    "sxtab16 %[even0], %[even0], %[a]\n\t" \
    "sxtab16 %[odd0], %[odd0], %[a], ror #8\n\t" \
    "sxtab16 %[even1], %[even1], %[b]\n\t" \
    "sxtab16 %[odd1], %[odd1], %[b], ror #8\n\t"

#ifdef __OPTIMIZE__ /* else too few registers are free */
static inline void kt_sum_eight(const int8_t *x, int32_t step, int32_t rows, int32_t *totals)
{
    uint32_t even0 = 0, odd0 = 0, even1 = 0, odd1 = 0, a, b;
    __asm__ volatile("1:\n\t" /* rows that are no four */
                     "tst %[rows], #3\n\t"
                     "beq 2f\n\t" KT_ADD_ROW "subs %[rows], #1\n\t"
                     "b 1b\n"
                     "2:\n\t"
                     "cbz %[rows], 4f\n"
                     "3:\n\t" KT_ADD_ROW KT_ADD_ROW KT_ADD_ROW KT_ADD_ROW "subs %[rows], #4\n\t"
                     "bne 3b\n"
                     "4:\n"
                     : [x] "+r"(x), [rows] "+l"(rows), [even0] "+r"(even0), [odd0] "+r"(odd0), [even1] "+r"(even1), [odd1] "+r"(odd1),
                       [a] "=&r"(a), [b] "=&r"(b)
                     : [step] "r"(step)
                     : "cc", "memory");
    kt_add_sums(totals, even0, odd0);
    kt_add_sums(totals + 4, even1, odd1);
}
#endif

static inline void kt_sum_four(const int8_t *x, int32_t step, int32_t rows, int32_t *totals)
{
    uint32_t even = 0, odd = 0;
    for (; rows > 0; rows--, x += step) {
        const uint32_t word = kt_load_word(x);
        even = kt_add_even(even, word);
        odd = kt_add_odd(odd, word);
    }
    kt_add_sums(totals, even, odd);
}

void kt_column_sums(const int8_t *x, int32_t step, int32_t rows, int32_t count, int32_t *totals)
{
    int32_t c;
    for (; rows > 0; rows -= KT_ROWS_AT_ONCE, x += KT_ROWS_AT_ONCE * step) {
        const int32_t now = kt_minimum(rows, KT_ROWS_AT_ONCE);
#ifdef __OPTIMIZE__
        if (count == KT_COLUMNS_AT_ONCE && (step & 3) == 0 && kt_has_words(x)) {
            kt_sum_eight(x, step, now, totals);
            continue;
        }
#endif
        for (c = 0; c < count; c += 4) {
            kt_sum_four(x + c, step, now, totals + c);
        }
    }
}

#endif
