/* Bands of a depthwise layer; strided: two rows and columns to the next result. */
#include "band.h"

#if KT_DSP

/* Rounded half up: ReLU layers. */
KT_NAKED void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                              const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE("0") KT_BAND_HALF_UP KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("8") KT_BAND_HALF_UP KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_NARROW_TILE("0") KT_NARROW_HALF_UP KT_STORE_NARROW_TOP KT_SKIP_NARROW_BOTTOM
                     KT_NARROW_TILE("8") KT_NARROW_HALF_UP KT_STORE_NARROW_BOTTOM KT_LEAVE_BAND);
}

/* Rounded half up, strided. */
KT_NAKED void kt_band_half_up_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                      const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL_STRIDED
                     KT_TILE_STRIDED KT_BAND_HALF_UP KT_STORE_TOP KT_NEXT_COLUMNS("160")
                     KT_NARROW_TILE_STRIDED KT_NARROW_HALF_UP KT_STORE_NARROW_TOP KT_LEAVE_BAND);
}

/* Ties away from zero: layers without an activation. */
KT_NAKED void kt_band_away(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE("0") KT_BAND_AWAY KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("8") KT_BAND_AWAY KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_NARROW_TILE("0") KT_NARROW_AWAY KT_STORE_NARROW_TOP KT_SKIP_NARROW_BOTTOM
                     KT_NARROW_TILE("8") KT_NARROW_AWAY KT_STORE_NARROW_BOTTOM KT_LEAVE_BAND);
}

/* Ties away from zero, strided. */
KT_NAKED void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                   const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL_STRIDED
                     KT_TILE_STRIDED KT_BAND_AWAY KT_STORE_TOP KT_NEXT_COLUMNS("160")
                     KT_NARROW_TILE_STRIDED KT_NARROW_AWAY KT_STORE_NARROW_TOP KT_LEAVE_BAND);
}

/* Of the gradient to its input. */
KT_NAKED void kt_band_gradient(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                               const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_GRADIENT_CHANNEL
                     KT_TILE("0") KT_BAND_LIMITED KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("8") KT_BAND_LIMITED KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_NARROW_TILE("0") KT_NARROW_LIMITED KT_STORE_NARROW_TOP KT_SKIP_NARROW_BOTTOM
                     KT_NARROW_TILE("8") KT_NARROW_LIMITED KT_STORE_NARROW_BOTTOM KT_LEAVE_BAND);
}
#endif
