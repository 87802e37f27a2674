/* A band of a depthwise layer. Rounded half up. */
#include "band.h"

#if KT_DSP
KT_NAKED void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                              const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE("0") KT_BAND_HALF_UP KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("8") KT_BAND_HALF_UP KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_NARROW_TILE("0") KT_NARROW_HALF_UP KT_STORE_NARROW_TOP KT_SKIP_NARROW_BOTTOM
                     KT_NARROW_TILE("8") KT_NARROW_HALF_UP KT_STORE_NARROW_BOTTOM KT_LEAVE_BAND);
}
#endif
