/* Bands of a depthwise layer; strided: two rows and columns to the next result. */
#include "band.h"

#if KT_DSP

/* Rounded half up: ReLU layers. */
KT_NAKED void kt_band_half_up(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                              const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE("0") KT_BAND_HALF_UP KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("2") KT_BAND_HALF_UP KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_LAST_COLUMN(KT_BAND_HALF_UP) KT_NARROW_TILE KT_NARROW_HALF_UP KT_STORE_NARROW KT_LEAVE_BAND
                     KT_SINGLE_ROWS(KT_SINGLE_ROW KT_SINGLE_HALF_UP, "96"));
}

/* Rounded half up, strided. */
KT_NAKED void kt_band_half_up_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                      const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE_STRIDED KT_BAND_HALF_UP KT_STORE_TOP KT_NEXT_COLUMNS("160")
                     KT_NARROW_TILE_STRIDED KT_NARROW_HALF_UP KT_STORE_NARROW KT_LEAVE_BAND
                     KT_SINGLE_ROWS(KT_SINGLE_ROW_STRIDED KT_SINGLE_HALF_UP, "160"));
}

/* Ties away from zero: layers without an activation. */
KT_NAKED void kt_band_away(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias, const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE("0") KT_BAND_AWAY KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("2") KT_BAND_AWAY KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_LAST_COLUMN(KT_BAND_AWAY) KT_NARROW_TILE KT_NARROW_AWAY KT_STORE_NARROW KT_LEAVE_BAND
                     KT_SINGLE_ROWS(KT_SINGLE_ROW KT_SINGLE_AWAY, "96"));
}

/* Ties away from zero, strided. */
KT_NAKED void kt_band_away_strided(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                                   const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_CHANNEL
                     KT_TILE_STRIDED KT_BAND_AWAY KT_STORE_TOP KT_NEXT_COLUMNS("160")
                     KT_NARROW_TILE_STRIDED KT_NARROW_AWAY KT_STORE_NARROW KT_LEAVE_BAND
                     KT_SINGLE_ROWS(KT_SINGLE_ROW_STRIDED KT_SINGLE_AWAY, "160"));
}

/* Of the gradient to its input. */
KT_NAKED void kt_band_gradient(int8_t *y, const int32_t *columns, const int32_t *stream, const int32_t *bias,
                               const kt_band *band)
{
    __asm__ volatile(KT_ENTER_BAND KT_NEXT_GRADIENT_CHANNEL
                     KT_TILE("0") KT_BAND_LIMITED KT_STORE_TOP KT_SKIP_BOTTOM
                     KT_TILE("2") KT_BAND_LIMITED KT_STORE_BOTTOM KT_NEXT_COLUMNS("96")
                     KT_LAST_COLUMN(KT_BAND_LIMITED) KT_NARROW_TILE KT_NARROW_LIMITED KT_STORE_NARROW KT_LEAVE_BAND
                     KT_SINGLE_ROWS(KT_SINGLE_ROW KT_SINGLE_LIMITED, "96"));
}
#endif
