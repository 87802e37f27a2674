/* A band of a depthwise layer. Ties away from zero, two rows and columns to the next result. */
#include "band.h"

#if !KT_DSP
#include "band_portable.h"

void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                          const kt_band *band)
{
    kt_band_results(y, columns, stream, bias, band, 2, 128);
}
#endif
