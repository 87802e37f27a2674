/* fill_rows.h: words of three positions in nine instructions: included by ../triple_depthwise.h. */
#ifndef KT_ARMV7M_FILL_ROWS_H
#define KT_ARMV7M_FILL_ROWS_H

/* Words of neighbouring rows of one column. second, third: from the first of three positions to the others; line: from row to row. */
KT_INLINE void kt_fill_rows(uint32_t *word, const int8_t *x, int32_t second, int32_t third, int32_t line, int32_t rows)
{
    const uint32_t *const end = word + KT_ROW_WORDS * rows;
    uint32_t low, high, middle;
    if (rows <= 0) {
        return;
    }
    __asm__ volatile("1:\n\t"
                     "ldrsb %[middle], [%[x], %[second]]\n\t"
                     "ldrsb %[low], [%[x]]\n\t"
                     "ldrsb %[high], [%[x], %[third]]\n\t"
                     "add %[low], %[low], %[middle], lsl #10\n\t"
                     "add %[high], %[high], %[middle], lsl #21\n\t"
                     "strd %[low], %[high], [%[word]], #8\n\t"
                     "add %[x], %[x], %[line]\n\t"
                     "cmp %[word], %[end]\n\t"
                     "bne 1b\n\t"
                     : [word] "+r"(word), [x] "+r"(x), [low] "=&r"(low), [high] "=&r"(high), [middle] "=&r"(middle)
                     : [second] "r"(second), [third] "r"(third), [line] "r"(line), [end] "r"(end)
                     : "cc", "memory");
}

#endif
