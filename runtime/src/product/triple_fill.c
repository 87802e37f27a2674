/* The words of a panel, in portable C. */
#include "triple_panel.h"

#if !KT_ARMV7M && !KT_ARMV6M && !KT_VECTOR

/* One value of each of three positions, and the sums of the words. */
#define KT_FILL(i) \
    do { \
        const uint32_t middle = (uint32_t)b[i]; \
        const uint32_t low = (uint32_t)a[i] + (middle << 10), high = (uint32_t)c[i] + (middle << 21); \
        word[KT_PANEL_WORDS * (i)] = low; \
        word[KT_PANEL_WORDS * (i) + 1] = high; \
        first += low; \
        second += high; \
    } while (0)

void kt_fill_three(uint32_t *word, const int8_t *a, const int8_t *b, const int8_t *c, int32_t count, uint32_t sums[2])
{
    const int8_t *const end = b + count;
    uint32_t first = sums[0], second = sums[1];
    for (; end - b >= 4; a += 4, b += 4, c += 4, word += 4 * KT_PANEL_WORDS) {
        KT_FILL(0);
        KT_FILL(1);
        KT_FILL(2);
        KT_FILL(3);
    }
    for (; b != end; a++, b++, c++, word += KT_PANEL_WORDS) {
        KT_FILL(0);
    }
    sums[0] = first;
    sums[1] = second;
}

#endif
