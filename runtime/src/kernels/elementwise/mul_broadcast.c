/* MUL of two int8 tensors that stretch to the result. */
#include "mul.h"
#include "broadcast.h"

void kt_mul_broadcast_s8(const kt_mul_broadcast_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    KT_BROADCAST_ROWS(mul)
}
