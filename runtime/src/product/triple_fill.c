/* The words of a panel, in portable C. */
#include "triple_panel.h"

#if !KT_ARMV7M

void kt_fill_three(uint32_t *word, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count, uint32_t sums[2])
{
    const int8_t *const end = b + count;
    uint32_t first = sums[0], second = sums[1];
    for (; b != end; word += KT_PANEL_WORDS) {
        const uint32_t middle = (uint32_t)*b++;
        const uint32_t low = (uint32_t)*a++ + (middle << 10), high = (uint32_t)*c++ + (middle << 21);
        word[0] = low;
        word[1] = high;
        first += low;
        second += high;
    }
    sums[0] = first;
    sums[1] = second;
}

#endif
