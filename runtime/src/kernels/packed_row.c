/* FULLY_CONNECTED of one row from packed weights, results of any sign. The row is read where it lies. */
#include "packed_conv2d.h"

void kt_packed_row_s8(const kt_packed_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_packed_results(params, kt_start_of(params, bias, scratch), x, y, 0, kt_product_row_away);
}
