/* move_row.h: the steps of a row's masters with Helium, four at a time. */
#ifndef KT_OPTIM_MVE_MOVE_ROW_H
#define KT_OPTIM_MVE_MOVE_ROW_H

#include <arm_mve.h>

/* The moved masters of these lanes by float32, in place of those before. */
static __attribute__((noinline)) int32x4_t kt_doubted_lanes(const kt_moves *m, int32_t row, int32_t column, mve_pred16_t lanes, int32x4_t masters,
                                                            int32x4_t stored)
{
    int32_t old[4], moved[4], i;
    vstrwq_s32(old, masters);
    vstrwq_s32(moved, stored);
    for (i = 0; i < 4; i++) {
        if ((lanes >> (4 * i)) & 1) {
            moved[i] = kt_doubted(m, row, column + i, old[i]);
        }
    }
    return vldrwq_s32(moved);
}

/* Takes the steps of a row. */
static __attribute__((noinline)) void kt_move_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
    const kt_streamed *const s = m->streamed;
    const int8_t *const x = s->x;
    const int32_t columns = m->columns, offset = s->offset, down = KT_UNIT_BITS + m->growth, around = m->doubt;
    const int32_t factor = kt_factor_of_row(&m->units, s->g[row]), lowest = (1 << (down - 1)) - around;
    const int32x4_t by = vdupq_n_s32(m->units.factor), keeping = vdupq_n_s32(m->decays ? m->kept_integer : INT32_C(1) << KT_KEPT_BITS);
    int32_t column;
    for (column = 0; column < columns; column += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(columns - column));
        const int32x4_t products = vmulq_n_s32(vaddq_n_s32(vldrbq_z_s32(x + column, lanes), offset), factor);
        const int32x4_t masters = vaddq_s32(vldrbq_z_s32(remainder + column, lanes), vshlq_n_s32(vldrbq_z_s32(value + column, lanes), 8));
        const int32x4_t held = vmulhq_s32(vshlq_n_s32(masters, KT_UNIT_BITS + 32 - KT_KEPT_BITS), keeping);
        const int32x4_t moved = vsubq_s32(vaddq_n_s32(held, lowest), vmulhq_s32(products, by));
        int32x4_t stored = vshlq_r_s32(moved, -down);
        mve_pred16_t doubtful = vcmpneq_m_s32(stored, vshlq_r_s32(vaddq_n_s32(moved, 2 * around), -down), lanes);
        if (doubtful != 0) {
            stored = kt_doubted_lanes(m, row, column, doubtful, masters, stored);
        }
        vstrbq_p_s32(remainder + column, stored, lanes);
        vstrbq_p_s32(value + column, vrshrq_n_s32(stored, 8), lanes);
    }
}

#endif
