/* After an update: LoRA's inner tensor gets one more bit of range where a sample saturated it. */
#include "kt/numerics.h"
#include "kt/optim.h"

enum { LARGEST_RANGE = 30 };

void kt_adapt_range(int8_t *range, int8_t *saturated)
{
    *range = (int8_t)kt_minimum(*range + *saturated, LARGEST_RANGE);
    *saturated = 0;
}
