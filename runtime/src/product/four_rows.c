/* Sums of one row of values with four rows of weights, in portable C. */
#include "four_rows.h"

#if !KT_ARMV6M

void kt_sums_of_four_rows(const int8_t *x, const int8_t *const rows[4], int32_t length, int32_t offset, int32_t sums[4])
{
    const int8_t *const first = rows[0], *const second = rows[1], *const third = rows[2], *const fourth = rows[3];
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], i;
    for (i = 0; i < length; i++) {
        const int32_t value = x[i] + offset;
        a += value * first[i];
        b += value * second[i];
        c += value * third[i];
        d += value * fourth[i];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

#endif
