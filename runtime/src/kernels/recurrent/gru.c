/* GRU with the reset behind the product: int8 rows, gates and state of 16 bits.
 *
 * The gates of a unit read the row of y before this one. Its state has more bits than that row, and is kept beside it. */
#include "gru_gates.h"

void kt_gru_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int16_t *scratch)
{
    gru_walk(params, x, bias, NULL, y, scratch);
}
