/* A band of a depthwise layer. Rounded half up. */
#include "band.h"

#if !KT_DSP
#include "band_portable.h"

void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                     const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 1, 0);
}
#endif
