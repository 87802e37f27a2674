/* tile_window.h: the windows of two by two results, two products an instruction: included by ../tiled_depthwise.h. */
#ifndef KT_DSP_TILE_WINDOW_H
#define KT_DSP_TILE_WINDOW_H

#include "../packed_depthwise.h"

/* A word under the upper results and the one under the lower results, with their weights. */
#define KT_TILE_PRODUCTS(upper, lower) \
    "smlad %[a], %[" upper "], %[even], %[a]\n\t" \
    "smlad %[b], %[" upper "], %[odd], %[b]\n\t" \
    "smlad %[c], %[" lower "], %[even], %[c]\n\t" \
    "smlad %[d], %[" lower "], %[odd], %[d]\n\t"
#define KT_TILE_WEIGHTS "ldrd %[even], %[odd], [%[weights]], #8\n\t"

/* A kernel row whose upper word is in a register: that of the lower results is the upper one of the next kernel row. */
#define KT_TILE_ROW(upper, lower) KT_TILE_WEIGHTS "ldr %[" lower "], [%[words], #16]!\n\t" KT_TILE_PRODUCTS(upper, lower)

/* A kernel row of stride 2: the lower results are two rows of the buffer further. */
#define KT_TILE_STRIDED_ROW \
    KT_TILE_WEIGHTS "ldr %[lower], [%[words], #32]\n\tldr %[upper], [%[words]], #16\n\t" KT_TILE_PRODUCTS("upper", "lower")

/* steps: kernel rows in bits 0 to 7, then 16 bits with the bytes from the end of one column to the next, and from bit 24 on the columns less one. */
#define KT_TILE_WINDOW(first, two_rows, row) \
    __asm__ volatile("1:\n\t" \
                     first \
                     "ubfx %[n], %[steps], #1, #7\n" \
                     "2:\n\t" \
                     two_rows \
                     "subs %[n], %[n], #1\n\t" \
                     "bne 2b\n\t" \
                     "lsls %[n], %[steps], #31\n\t" \
                     "beq 3f\n\t" \
                     row \
                     "3:\n\t" \
                     "ubfx %[n], %[steps], #8, #16\n\t" \
                     "subs %[steps], %[steps], #0x1000000\n\t" \
                     "add.w %[words], %[words], %[n]\n\t" \
                     "bpl 1b\n\t" \
                     : [a] "+r"(sums.a), [b] "+r"(sums.b), [c] "+r"(sums.c), [d] "+r"(sums.d), [words] "+r"(words), [weights] "+r"(weights), \
                       [upper] "=&r"(upper), [lower] "=&r"(lower), [even] "=&r"(even), [odd] "=&r"(odd), [n] "=&r"(n), [steps] "+r"(steps) \
                     : \
                     : "cc", "memory")

/* Windows of two kernel rows or more, fewer than 128. */
KT_INLINE kt_four_sums kt_tile_window(kt_four_sums sums, const int32_t *words, const int32_t *weights, const kt_tile *tile)
{
    int32_t steps = tile->rows | tile->gap << 8 | (tile->columns - 1) << 24, upper, lower, even, odd, n;
    if (tile->stride == 1) {
        KT_TILE_WINDOW("ldr %[upper], [%[words]]\n\t", KT_TILE_ROW("upper", "lower") KT_TILE_ROW("lower", "upper"), KT_TILE_ROW("upper", "lower"));
    } else {
        KT_TILE_WINDOW("", KT_TILE_STRIDED_ROW KT_TILE_STRIDED_ROW, KT_TILE_STRIDED_ROW);
    }
    return sums;
}

/* The windows of four neighbours in a line: a word is the lower one of one pair of weights and the upper one of the next. pairs: 2 or more. */
KT_INLINE kt_four_sums kt_line_window(int32_t start, const int32_t *words, const int32_t *weights, int32_t pairs)
{
    kt_four_sums sums;
    int32_t upper, lower, even, odd;
    __asm__ volatile("ldr %[upper], [%[words]]\n\t" KT_TILE_WEIGHTS "ldr %[lower], [%[words], #16]!\n\t"
                     "smlad %[a], %[upper], %[even], %[start]\n\t"
                     "smlad %[b], %[upper], %[odd], %[start]\n\t"
                     "smlad %[c], %[lower], %[even], %[start]\n\t"
                     "smlad %[d], %[lower], %[odd], %[start]\n\t"
                     "subs %[pairs], %[pairs], #3\n\t"
                     "bmi 2f\n"
                     "1:\n\t" KT_TILE_ROW("lower", "upper") KT_TILE_ROW("upper", "lower")
                     "subs %[pairs], %[pairs], #2\n\t"
                     "bpl 1b\n"
                     "2:\n\t"
                     "lsls %[pairs], %[pairs], #31\n\t"
                     "beq 3f\n\t" KT_TILE_ROW("lower", "upper")
                     "3:\n\t"
                     : [a] "=&r"(sums.a), [b] "=&r"(sums.b), [c] "=&r"(sums.c), [d] "=&r"(sums.d), [words] "+r"(words), [weights] "+r"(weights),
                       [upper] "=&r"(upper), [lower] "=&r"(lower), [even] "=&r"(even), [odd] "=&r"(odd), [pairs] "+r"(pairs)
                     : [start] "r"(start)
                     : "cc", "memory");
    return sums;
}

#endif
