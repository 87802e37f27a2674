#include "kt/storage.h"

void kt_block16_restore(int16_t *master, int8_t *master_exponent, const int8_t *codes, const int8_t *exponent, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        master[i] = (int16_t)(codes[i] * 256);
    }
    *master_exponent = (int8_t)(*exponent - 8 < -32 ? -32 : *exponent - 8);
}

int kt_all_within(const float *values, size_t size, float low, float high)
{
    if (values == NULL) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        /* NaN fails both comparisons. */
        if (!(values[i] >= low && values[i] <= high)) {
            return 0;
        }
    }
    return 1;
}
