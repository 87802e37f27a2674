/* Products with four rows of weights in three words, in portable C. */
#include "projection.h"

#if !KT_ARMV7M && !KT_ARMV6M

#define KT_ROW(r, i) \
    do { \
        const uint32_t value = (uint32_t)r[i]; \
        r##0 += value * word0; \
        r##1 += value * word1; \
        r##2 += value * word2; \
    } while (0)
#define KT_ROWS(i) \
    do { \
        const uint32_t word0 = weights[KT_PROJECTION_WORDS * (i)], word1 = weights[KT_PROJECTION_WORDS * (i) + 1], word2 = weights[KT_PROJECTION_WORDS * (i) + 2]; \
        KT_ROW(a, i); \
        KT_ROW(b, i); \
        KT_ROW(c, i); \
        KT_ROW(d, i); \
    } while (0)
#define KT_SAVE(r, at) \
    do { \
        (at)[0] = r##0; \
        (at)[1] = r##1; \
        (at)[2] = r##2; \
    } while (0)

void KT_IN_ORDER kt_projection_words(uint32_t *words, const int8_t *x, int32_t step, const uint32_t *weights, int32_t length)
{
    const int8_t *a = x, *b = a + step, *c = b + step, *d = c + step;
    const int8_t *const end = a + length;
    uint32_t a0 = 0, a1 = 0, a2 = 0, b0 = 0, b1 = 0, b2 = 0, c0 = 0, c1 = 0, c2 = 0, d0 = 0, d1 = 0, d2 = 0;
    do {
        KT_ROWS(0);
        KT_ROWS(1);
        KT_ROWS(2);
        KT_ROWS(3);
        weights += 4 * KT_PROJECTION_WORDS;
        a += 4;
        b += 4;
        c += 4;
        d += 4;
    } while (a != end);
    KT_SAVE(a, words);
    KT_SAVE(b, words + KT_PROJECTION_WORDS);
    KT_SAVE(c, words + 2 * KT_PROJECTION_WORDS);
    KT_SAVE(d, words + 3 * KT_PROJECTION_WORDS);
}

#endif
