/* Sums of one row with four channels, in portable C. */
#include "triple_dense.h"

#if !KT_ARMV7M && !KT_ARMV6M && !KT_VECTOR

/* The products of a value with two channels each of two pairs. */
#define KT_ADD(i) \
    do { \
        const uint32_t value = (uint32_t)x[i]; \
        a += value * first[2 * (i)]; \
        b += value * first[2 * (i) + 1]; \
        c += value * second[2 * (i)]; \
        d += value * second[2 * (i) + 1]; \
    } while (0)

void KT_IN_ORDER kt_dense_sums(const int8_t *x, const uint8_t *first, const uint8_t *second, int32_t length, uint32_t offset, uint32_t sums[4])
{
    const int8_t *const end = x + (length & -4), *const last = x + length;
    uint32_t a = offset, b = offset, c = offset, d = offset;
    for (; x != end; x += 4, first += 8, second += 8) {
        KT_ADD(0);
        KT_ADD(1);
        KT_ADD(2);
        KT_ADD(3);
    }
    for (; x != last; x++, first += 2, second += 2) {
        KT_ADD(0);
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#endif
