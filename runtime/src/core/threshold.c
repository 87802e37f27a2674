#include "kt/threshold.h"

#include <string.h>

enum { UNIT_BITS = 16, EXPONENT_BIAS = 127, MANTISSA_BITS = 23, LARGEST_EXPONENT = 128, LEAST_SAMPLES = 2 };

int32_t kt_threshold_logarithm(float score)
{
    uint32_t bits;
    int32_t logarithm;
    memcpy(&bits, &score, sizeof bits);
    if ((bits & UINT32_C(0x7FFFFFFF)) > UINT32_C(0x7F800000)) { /* not a number */
        return (int32_t)LARGEST_EXPONENT << UNIT_BITS;
    }
    if ((bits >> 31) != 0U) {
        bits = 0;
    }
    /* exponent and mantissa side by side are the logarithm already, but for the bias */
    logarithm = (int32_t)(bits >> (MANTISSA_BITS - UNIT_BITS));
    return logarithm - ((int32_t)EXPONENT_BIAS << UNIT_BITS);
}

void kt_threshold_learn(kt_threshold *threshold, float score, uint32_t memory)
{
    const int64_t logarithm = kt_threshold_logarithm(score);
    const int64_t before = logarithm - threshold->level;
    int64_t count, square, spread;
    if (threshold->samples < UINT32_MAX) {
        threshold->samples++;
    }
    count = threshold->samples < memory ? threshold->samples : memory;
    threshold->level += (int32_t)(before / count);
    square = before * (logarithm - threshold->level) / ((int64_t)1 << UNIT_BITS);
    spread = threshold->spread + (square - threshold->spread) / count;
    threshold->spread = spread > INT32_MAX ? INT32_MAX : (int32_t)spread;
}

/* The whole part of a square root. */
static uint32_t root(uint64_t square)
{
    uint32_t found = 0, bit;
    for (bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
        const uint64_t tried = (uint64_t)found + bit;
        if (tried * tried <= square) {
            found += bit;
        }
    }
    return found;
}

int32_t kt_threshold_limit(const kt_threshold *threshold, int32_t width)
{
    const int64_t deviation = root((uint64_t)threshold->spread << UNIT_BITS);
    const int64_t limit = threshold->level + deviation * width / 256;
    return limit > INT32_MAX ? INT32_MAX : (int32_t)limit;
}

int kt_threshold_alarm(const kt_threshold *threshold, float score, int32_t width)
{
    return threshold->samples >= LEAST_SAMPLES && kt_threshold_logarithm(score) > kt_threshold_limit(threshold, width);
}
