#include "kt/checked_values.h"

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
