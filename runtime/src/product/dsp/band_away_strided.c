/* A band of a depthwise layer. Ties away from zero, two rows and columns to the next result. */
#include "band.h"

#if KT_DSP
KT_NAKED void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                   const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL_STRIDED
                     KT_TILE_STRIDED KT_BAND_AWAY KT_STORE_TOP KT_NEXT_COLUMNS("160")
                     KT_NARROW_TILE_STRIDED KT_NARROW_AWAY KT_STORE_NARROW_TOP KT_LEAVE_BAND);
}
#endif
