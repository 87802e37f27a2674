/* finish.h: from int32 sums of channels to int8 results, four channels at a time.
 *
 *     y[c] = clamp(requantize(saturate32(sum[c] + bias[c]), multiplier[c], shift[c]) + offset) */
#ifndef KT_FINISH_H
#define KT_FINISH_H

#include "lanes.h"

/* The tables of all channels of a layer, the zero point of its result and its range. */
typedef struct {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    int32_t offset;
    const int32_t *clamp;
    kt_shift_kind kind;
} kt_finish;

/* Sums of one or two positions, `distance` apart, and where their results go. */
typedef struct {
    const int32_t *sums;
    int32_t distance;
    int8_t *y0, *y1;
} kt_finish_positions;

static inline kt_finish kt_finish_of(const int32_t *bias, const int32_t *multiplier, const int8_t *shift,
                                     int32_t channels, int32_t offset, const int32_t *clamp)
{
    kt_finish finish;
    finish.bias = bias;
    finish.multiplier = multiplier;
    finish.shift = shift;
    finish.offset = offset;
    finish.clamp = clamp;
    finish.kind = kt_shift_kind_of(shift, channels, offset, clamp[0]);
    return finish;
}

/* One position, shifts of any kind. */
static inline void kt_finish_any(const kt_finish *finish, int32_t first, int32_t count, const int32_t *sums, int8_t *y)
{
    const kt_lanes_clamp limits = kt_lanes_clamp_of(finish->offset, finish->clamp);
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t bias = vldrwq_z_s32(finish->bias + first + c, rest);
        const int32x4_t multiplier = vldrwq_z_s32(finish->multiplier + first + c, rest);
        const int32x4_t shift = vldrbq_z_s32(finish->shift + first + c, rest);
        const int32x4_t total = vqaddq_s32(vldrwq_z_s32(sums + c, rest), bias);
        vstrbq_p_s32(y + c, kt_clamp_lanes(kt_requantize_lanes(total, multiplier, shift), limits), rest);
    }
}

/* Where shifts go right, kt_requantize is VQRDMULH and VRSHL, which rounds ties up: one less where the value (and the shift)
 * is negative makes that away from zero. Assembly, because gcc has no loads and stores that move their address on. */
#define KT_AWAY_FROM_ZERO(x) \
    "vand q3, " x ", q1\n\t" \
    "vshr.s32 q3, q3, #31\n\t" \
    "vqadd.s32 " x ", " x ", q3\n\t"
#define KT_AS_IT_IS(x)

#define KT_FINISH_ONE(TIES) \
    __asm__ volatile("wlstp.32 lr, %[count], 2f\n"     /* four channels a turn, at last fewer */ \
                     "1:\n\t" \
                     "vldrw.32 q0, [%[sums0]], #16\n\t" \
                     "vldrw.32 q1, [%[bias]], #16\n\t" \
                     "vqadd.s32 q0, q0, q1\n\t" \
                     "vldrw.32 q1, [%[multiplier]], #16\n\t" \
                     "vqrdmulh.s32 q0, q0, q1\n\t" \
                     "vldrb.s32 q1, [%[shift]], #4\n\t" \
                     TIES("q0") \
                     "vrshl.s32 q0, q0, q1\n\t" \
                     "vmax.s32 q0, q0, %q[low]\n\t" \
                     "vmin.s32 q0, q0, %q[high]\n\t" \
                     "vadd.i32 q0, q0, %[offset]\n\t" \
                     "vstrb.32 q0, [%[y0]], #4\n\t" \
                     "letp lr, 1b\n" \
                     "2:\n" \
                     : [sums0] "+r"(p.sums), [bias] "+r"(bias), [multiplier] "+r"(multiplier), [shift] "+l"(shift), \
                       [y0] "+l"(p.y0) \
                     : [count] "r"(count), [offset] "r"(limits.offset), [low] "w"(limits.low), [high] "w"(limits.high) \
                     : "lr", "q0", "q1", "q3", "memory")

/* Sums of two positions in q0 and q2, with their bias, to their results. */
#define KT_FINISH_Q0_Q2(TIES) \
                     "vldrw.32 q1, [%[multiplier]], #16\n\t" \
                     "vqrdmulh.s32 q0, q0, q1\n\t" \
                     "vqrdmulh.s32 q2, q2, q1\n\t" \
                     "vldrb.s32 q1, [%[shift]], #4\n\t" \
                     TIES("q0") \
                     TIES("q2") \
                     "vrshl.s32 q0, q0, q1\n\t" \
                     "vrshl.s32 q2, q2, q1\n\t" \
                     "vmax.s32 q0, q0, %q[low]\n\t" \
                     "vmax.s32 q2, q2, %q[low]\n\t" \
                     "vmin.s32 q0, q0, %q[high]\n\t" \
                     "vmin.s32 q2, q2, %q[high]\n\t" \
                     "vadd.i32 q0, q0, %[offset]\n\t" \
                     "vadd.i32 q2, q2, %[offset]\n\t" \
                     "vstrb.32 q0, [%[y0]], #4\n\t" \
                     "vstrb.32 q2, [%[y1]], #4\n\t"

#define KT_FINISH_TWO(TIES) \
    __asm__ volatile("wlstp.32 lr, %[count], 2f\n" \
                     "1:\n\t" \
                     "vldrw.32 q1, [%[bias]], #16\n\t" \
                     "vldrw.32 q0, [%[sums0]], #16\n\t" \
                     "vldrw.32 q2, [%[sums1]], #16\n\t" \
                     "vqadd.s32 q0, q0, q1\n\t" \
                     "vqadd.s32 q2, q2, q1\n\t" \
                     KT_FINISH_Q0_Q2(TIES) \
                     "letp lr, 1b\n" \
                     "2:\n" \
                     : [sums0] "+r"(p.sums), [sums1] "+r"(sums1), [bias] "+r"(bias), [multiplier] "+r"(multiplier), \
                       [shift] "+l"(shift), [y0] "+l"(p.y0), [y1] "+l"(p.y1) \
                     : [count] "r"(count), [offset] "r"(limits.offset), [low] "w"(limits.low), [high] "w"(limits.high) \
                     : "lr", "q0", "q1", "q2", "q3", "memory")

/* Sums that lie in pairs of two positions, without what they start from. at: addresses of four pairs, less 32. */
#define KT_FINISH_PAIRS(TIES) \
    __asm__ volatile("wlstp.32 lr, %[count], 2f\n" \
                     "1:\n\t" \
                     "vldrw.u32 q0, [%q[at], #32]!\n\t" \
                     "vldrw.u32 q2, [%q[at], #4]\n\t" \
                     "vldrw.32 q1, [%[start]], #16\n\t" \
                     "vadd.i32 q0, q0, q1\n\t" \
                     "vadd.i32 q2, q2, q1\n\t" \
                     KT_FINISH_Q0_Q2(TIES) \
                     "letp lr, 1b\n" \
                     "2:\n" \
                     : [at] "+w"(at), [start] "+r"(start), [multiplier] "+r"(multiplier), [shift] "+l"(shift), \
                       [y0] "+l"(y0), [y1] "+l"(y1) \
                     : [count] "r"(count), [offset] "r"(limits.offset), [low] "w"(limits.low), [high] "w"(limits.high) \
                     : "lr", "q0", "q1", "q2", "q3", "memory")

/* `count` channels from the first on, at one position. */
static inline void kt_finish_one(const kt_finish *finish, int32_t first, int32_t count, kt_finish_positions p)
{
    const kt_lanes_clamp limits = kt_lanes_clamp_of(finish->offset, finish->clamp);
    const int32_t *bias = finish->bias + first;
    const int32_t *multiplier = finish->multiplier + first;
    const int8_t *shift = finish->shift + first;
    if (finish->kind == KT_RECTIFIED) {
        KT_FINISH_ONE(KT_AS_IT_IS);
    } else if (finish->kind == KT_RIGHT_SHIFT) {
        KT_FINISH_ONE(KT_AWAY_FROM_ZERO);
    } else {
        kt_finish_any(finish, first, count, p.sums, p.y0);
    }
}

/* At two positions. Not inlined: in a larger function the compiler may have too few registers for the operands. */
static __attribute__((noinline, unused)) void kt_finish_two(const kt_finish *finish, int32_t first, int32_t count, kt_finish_positions p)
{
    const kt_lanes_clamp limits = kt_lanes_clamp_of(finish->offset, finish->clamp);
    const int32_t *bias = finish->bias + first;
    const int32_t *multiplier = finish->multiplier + first;
    const int8_t *shift = finish->shift + first;
    const int32_t *sums1 = p.sums + p.distance;
    if (finish->kind == KT_RECTIFIED) {
        KT_FINISH_TWO(KT_AS_IT_IS);
    } else if (finish->kind == KT_RIGHT_SHIFT) {
        KT_FINISH_TWO(KT_AWAY_FROM_ZERO);
    } else {
        kt_finish_any(finish, first, count, p.sums, p.y0);
        kt_finish_any(finish, first, count, sums1, p.y1);
    }
}

/* Tables of the channels at hand and the range, which many positions share. start: initial + bias, or NULL where the bias can saturate
 * the total. */
typedef struct {
    const int32_t *initial, *bias, *multiplier, *start;
    const int8_t *shift;
    kt_lanes_clamp limits;
} kt_finish_tables;

/* initial: what the sums start from; with their products they stay below 2^30. start: room for `count` sums, a multiple of four. */
static inline kt_finish_tables kt_finish_tables_of(const kt_finish *finish, int32_t first, int32_t count, const int32_t *initial,
                                                   int32_t *start)
{
    kt_finish_tables tables;
    uint32_t most = 0;
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t bias = vldrwq_z_s32(finish->bias + first + c, rest);
        most = vmaxavq_s32(most, bias);
        vstrwq_s32(start + c, vaddq_s32(vldrwq_z_s32(initial + c, rest), bias));
    }
    tables.start = most <= 1u << 30 ? start : NULL;
    tables.initial = initial;
    tables.bias = finish->bias + first;
    tables.multiplier = finish->multiplier + first;
    tables.shift = finish->shift + first;
    tables.limits = kt_lanes_clamp_of(finish->offset, finish->clamp);
    return tables;
}

static __attribute__((noinline, unused)) void kt_finish_any_pairs(const kt_finish_tables *tables, int32_t count, const int32_t (*sums)[2],
                                                                  int8_t *y0, int8_t *y1)
{
    int32_t c;
    for (c = 0; c < count; c += 4) {
        const mve_pred16_t rest = vctp32q((uint32_t)(count - c));
        const int32x4_t initial = vldrwq_z_s32(tables->initial + c, rest);
        const int32x4_t bias = vldrwq_z_s32(tables->bias + c, rest);
        const int32x4_t multiplier = vldrwq_z_s32(tables->multiplier + c, rest);
        const int32x4_t shift = vldrbq_z_s32(tables->shift + c, rest);
        const uint32x4_t places = vidupq_n_u32(0, 8);
        const int32x4_t sum0 = vldrwq_gather_offset_z_s32(sums[c], places, rest);
        const int32x4_t sum1 = vldrwq_gather_offset_z_s32(sums[c] + 1, places, rest);
        const int32x4_t x0 = kt_requantize_lanes(vqaddq_s32(vaddq_s32(sum0, initial), bias), multiplier, shift);
        const int32x4_t x1 = kt_requantize_lanes(vqaddq_s32(vaddq_s32(sum1, initial), bias), multiplier, shift);
        vstrbq_p_s32(y0 + c, kt_clamp_lanes(x0, tables->limits), rest);
        vstrbq_p_s32(y1 + c, kt_clamp_lanes(x1, tables->limits), rest);
    }
}

/* `count` channels of two positions whose sums lie in pairs. */
static inline void kt_finish_pairs(const kt_finish_tables *tables, kt_shift_kind kind, int32_t count,
                                   const int32_t (*sums)[2], int8_t *y0, int8_t *y1)
{
    const kt_lanes_clamp limits = tables->limits;
    const int32_t *start = tables->start, *multiplier = tables->multiplier;
    const int8_t *shift = tables->shift;
    uint32x4_t at = vaddq_n_u32(vidupq_n_u32(0, 8), (uint32_t)(uintptr_t)sums - 32);
    if (kind == KT_RECTIFIED) {
        KT_FINISH_PAIRS(KT_AS_IT_IS);
    } else if (kind == KT_RIGHT_SHIFT) {
        KT_FINISH_PAIRS(KT_AWAY_FROM_ZERO);
    } else {
        kt_finish_any_pairs(tables, count, sums, y0, y1);
    }
}

#endif
