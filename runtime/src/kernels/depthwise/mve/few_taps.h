/* few_taps.h: windows of one row and few taps without a stride, of one channel: four neighbouring results in the lanes of one vector.
 *
 * A window that fills a few lanes of a vector alone (column_sums.h) costs as much as one that fills it. */
#ifndef KT_FEW_TAPS_H
#define KT_FEW_TAPS_H

#include "column_sums.h"

enum {
    KT_FEW_TAPS = 5,    /* of a window; beyond, sums along the taps take fewer instructions */
    KT_FEW_APART = 4    /* results of a vector, and the least in each of several rows */
};

/* Whether windows over so many rows of so many results are such. */
static inline int kt_has_few_taps(const kt_window *window, int32_t rows, int32_t columns)
{
    const int near = window->stride[KT_X] == 1 || window->dilation[KT_X] > 1;
    return window->kernel[KT_Y] == 1 && window->kernel[KT_X] <= KT_FEW_TAPS && near && (rows == 1 || columns >= KT_FEW_APART);
}

#define KT_TAP(offset, weight) "vldrb.s32 q1, [%[x], #" offset "]\n\t" "vmla.s32 q0, q1, %[" weight "]\n\t"
#define KT_THREE_TAPS KT_TAP("-3", "w1") KT_TAP("-2", "w2")
#define KT_TIES_OF_TAPS "vshr.s32 q1, q0, #31\n\t" "vqadd.s32 q0, q0, q1\n\t"
#define KT_FIVE_TAPS KT_THREE_TAPS KT_TAP("-1", "w3") KT_TAP("0", "w4")

/* n results; x: the first value under the first window. */
#define KT_RESULTS_OF_TAPS(TAPS, TIES) \
    __asm__ volatile("wlstp.32 lr, %[n], 2f\n" \
            "1:\n\t" \
            "vldrb.s32 q1, [%[x]], #4\n\t" \
            "vmov q0, %q[start]\n\t" \
            "vmla.s32 q0, q1, %[w0]\n\t" \
            TAPS \
            "vqrdmulh.s32 q0, q0, %q[multiplier]\n\t" \
            TIES \
            "vldrw.32 q1, [%[where]], #16\n\t" \
            "vrshl.s32 q0, q0, %q[shift]\n\t" \
            "vmax.s32 q0, q0, %q[low]\n\t" \
            "vmin.s32 q0, q0, %q[high]\n\t" \
            "vadd.i32 q0, q0, %q[offset]\n\t" \
            "vstrb.32 q0, [%[y], q1]\n\t" \
            "letp lr, 1b\n" \
            "2:\n" \
            : [x] "+l"(x), [where] "+r"(where) \
            : [n] "r"(n), [w0] "r"(w[0]), [w1] "r"(w[1]), [w2] "r"(w[2]), [w3] "r"(w[3]), [w4] "r"(w[4]), [start] "w"(start), \
              [multiplier] "w"(multiplier), [shift] "w"(shift), [low] "w"(limits->low), [high] "w"(limits->high), [offset] "w"(offset), \
              [y] "r"(y) \
            : "lr", "q0", "q1", "memory")

/* Sums of n results, without their start. w: of KT_FEW_TAPS taps, of which the last may be 0. */
static __attribute__((noinline)) void kt_sums_of_taps(const int8_t *x, const int32_t *w, int32_t n, int32_t *sums)
{
    for (; n > 0; n -= 4, x += 4, sums += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)n);
        int32x4_t sum = vdupq_n_s32(0);
        int32_t tap;
        for (tap = 0; tap < KT_FEW_TAPS; tap++) {
            sum = vmlaq_n_s32(sum, vldrbq_z_s32(x + tap, lanes), w[tap]);
        }
        vstrwq_p_s32(sums, sum, lanes);
    }
}

/* What sums of a channel start from and end with. */
typedef struct {
    int32_t start, multiplier, shift;
} kt_few_end;

/* Weights of KT_FEW_TAPS taps: those of a channel, and zeros behind them. */
typedef struct {
    int32_t w[KT_FEW_TAPS];
} kt_few_weights;

static inline kt_few_weights kt_few_weights_of(const int8_t *weights)
{
    const kt_few_weights few = {{weights[0], weights[1], weights[2], weights[3], weights[4]}};
    return few;
}

/* n results of a channel whose sums end as usual. x: its values; weights: its taps, and zeros up to KT_FEW_TAPS; three: it has no more than three. */
static __attribute__((noinline)) void kt_few_taps(const int8_t *x, int32_t n, const int8_t *weights, int three, int ties_up, kt_few_end end,
                                                  const kt_lanes_clamp *limits, const uint32_t *where, int8_t *y)
{
    const kt_few_weights few = kt_few_weights_of(weights);
    const int32_t *const w = few.w;
    const int32x4_t start = vdupq_n_s32(end.start), multiplier = vdupq_n_s32(end.multiplier);
    const int32x4_t shift = vdupq_n_s32(end.shift), offset = vdupq_n_s32(limits->offset);
    if (three && ties_up) {
        KT_RESULTS_OF_TAPS(KT_THREE_TAPS, KT_TIES_UP);
    } else if (three) {
        KT_RESULTS_OF_TAPS(KT_THREE_TAPS, KT_TIES_OF_TAPS);
    } else if (ties_up) {
        KT_RESULTS_OF_TAPS(KT_FIVE_TAPS, KT_TIES_UP);
    } else {
        KT_RESULTS_OF_TAPS(KT_FIVE_TAPS, KT_TIES_OF_TAPS);
    }
}

/* The same of any channel. sums: room for n. */
static inline void kt_few_results(const int8_t *x, int32_t n, const int8_t *weights, int32_t taps, const kt_channel_end *end,
                                  const kt_lanes_clamp *limits, int32_t *sums, const uint32_t *where, int8_t *y)
{
    const kt_few_end usual = {end->start, end->multiplier, end->shift};
    if (end->usual) {
        kt_few_taps(x, n, weights, taps <= 3, end->ties_up, usual, limits, where, y);
    } else {
        const kt_few_weights few = kt_few_weights_of(weights);
        kt_sums_of_taps(x, few.w, n, sums);
        kt_finish_any_channel(sums, n, end->initial, end->bias, end->multiplier, end->shift, limits, where, y);
    }
}

#endif
