/* kt/checked_values.h: which targets a loss can be computed from. */
#ifndef KT_CHECKED_VALUES_H
#define KT_CHECKED_VALUES_H

#include "kt/strict_float.h"

#include <stddef.h>

/* Whether every value is in [low, high]. NaN is not, NULL holds none. */
int kt_all_within(const float *values, size_t size, float low, float high);

#endif
