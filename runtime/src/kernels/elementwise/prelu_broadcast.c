/* PRELU of an int8 tensor with slopes that stretch to it. */
#include "prelu.h"
#include "broadcast.h"

void kt_prelu_broadcast_s8(const kt_prelu_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    KT_BROADCAST_ROWS(prelu)
}
