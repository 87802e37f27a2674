/* SQUARED_DIFFERENCE of two int8 tensors that stretch to the result. */
#include "squared_difference.h"
#include "broadcast.h"

void kt_squared_difference_broadcast_s8(const kt_squared_difference_broadcast_params *params, const int8_t *x,
                                        const int8_t *other, int8_t *y)
{
    KT_BROADCAST_ROWS(squared_difference)
}
