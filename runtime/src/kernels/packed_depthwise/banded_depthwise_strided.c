/* DEPTHWISE_CONV_2D with a 3x3 window, stride 2, from packed weights, band by band, results of any sign. */
#include "kt/kernels/packed_depthwise.h"
#include "banded_depthwise.h"

void kt_banded_depthwise_strided_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias,
                                    int8_t *y, void *scratch)
{
    kt_banded_walk(params, x, bias, y, scratch, 5, kt_band_away_strided);
}
