/* MAXIMUM of two int8 tensors that stretch to the result. */
#include "maximum.h"
#include "broadcast.h"

void kt_maximum_broadcast_s8(const kt_maximum_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    KT_BROADCAST_ROWS(maximum)
}
