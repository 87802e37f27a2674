/* column_sums.h: what depthwise convolutions on cores with Helium do with one channel: its values gathered, its sums, its results. */
#ifndef KT_COLUMN_SUMS_H
#define KT_COLUMN_SUMS_H

#include "kt/kernels/depthwise.h"

#include "../../mve/dot.h"
#include "../../mve/finish.h"

enum { KT_LANES = 16 };

/* to[i] = from[i], for each of n pairs of offsets. */
static inline void kt_gather_bytes(const int8_t *x, const uint16_t *from, int8_t *y, const uint16_t *to, int32_t n)
{
    __asm__ volatile("wlstp.16 lr, %[n], 2f\n"
            "1:\n\t"
            "vldrh.u16 q0, [%[from]], #16\n\t"
            "vldrb.u16 q1, [%[x], q0]\n\t"
            "vldrh.u16 q2, [%[to]], #16\n\t"
            "vstrb.16 q1, [%[y], q2]\n\t"
            "letp lr, 1b\n"
            "2:\n"
            : [from] "+r"(from), [to] "+r"(to)
            : [n] "r"(n), [x] "r"(x), [y] "r"(y)
            : "lr", "q0", "q1", "q2", "memory");
}

/* The same of KT_PLANES neighbouring channels, whose results lie `step` bytes apart; where fewer are left the last one is taken again. */
static __attribute__((noinline)) void kt_gather_planes(const int8_t *x, int32_t left, const uint16_t *from, int8_t *y, int32_t step,
                                                       const uint16_t *to, int32_t n)
{
    const int8_t *const x1 = x + (left > 1), *const x2 = x1 + (left > 2), *const x3 = x2 + (left > 3);
    __asm__ volatile("wlstp.16 lr, %[n], 2f\n"
            "1:\n\t"
            "vldrh.u16 q0, [%[from]], #16\n\t"
            "vldrh.u16 q1, [%[to]], #16\n\t"
            "vldrb.u16 q2, [%[x0], q0]\n\t"
            "vldrb.u16 q3, [%[x1], q0]\n\t"
            "vldrb.u16 q4, [%[x2], q0]\n\t"
            "vldrb.u16 q5, [%[x3], q0]\n\t"
            "vstrb.16 q2, [%[y0], q1]\n\t"
            "vstrb.16 q3, [%[y1], q1]\n\t"
            "vstrb.16 q4, [%[y2], q1]\n\t"
            "vstrb.16 q5, [%[y3], q1]\n\t"
            "letp lr, 1b\n"
            "2:\n"
            : [from] "+r"(from), [to] "+r"(to)
            : [n] "r"(n), [x0] "r"(x), [x1] "r"(x1), [x2] "r"(x2), [x3] "r"(x3), [y0] "r"(y),
              [y1] "r"(y + step), [y2] "r"(y + 2 * step), [y3] "r"(y + 3 * step)
            : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "memory");
}

#define KT_COLUMN(vector, offset) "vldrb.8 " vector ", [%[x], #" offset "]\n\t"
#define KT_FIRST_SUM(sum, weights, values) "vmladav.s8 %[" sum "], " weights ", " values "\n\t"
#define KT_NEXT_SUM(sum, weights, values) "vmladava.s8 %[" sum "], " weights ", " values "\n\t"
#define KT_WEIGHTS(vector, pointer, offset) "vldrb.8 " vector ", [%[" pointer "], #" offset "]\n\t"
#define KT_NEXT_COLUMN "add %[x], %[x], %[step]\n\t"
#define KT_STORE_ONE "str %[a], [%[to]], #4\n\t"
#define KT_STORE_TWO "strd %[a], %[b], [%[to]], #8\n\t"

/* Windows of bands that lie one behind the other: n of a band, `step` values from one to the next, and `skip` from the last one's next to the
 * first of the next band. to: the sums, one behind the other. */
typedef struct {
    int32_t bands, n, step, skip;
} kt_runs;

#define KT_WINDOWS(WEIGHTS, WINDOW) \
    __asm__ volatile(WEIGHTS \
            "3:\n\t" \
            "dls lr, %[n]\n" \
            "1:\n\t" \
            WINDOW \
            "le lr, 1b\n\t" \
            "add %[x], %[x], %[skip]\n\t" \
            "subs %[bands], #1\n\t" \
            "bne 3b\n" \
            : [a] "=&Te"(a), [b] "=&Te"(b), [x] "+r"(x), [to] "+r"(to), [bands] "+l"(bands) \
            : [n] "r"(runs->n), [step] "r"(runs->step), [skip] "r"(runs->skip), [w0] "r"(w), [w1] "r"(w - shift) \
            : "lr", "cc", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory")

/* One result row; w: weights of whole vectors. */
static inline void kt_one_row(const kt_runs *runs, const int8_t *x, const int8_t *w, int32_t vectors, int32_t *to)
{
    const int32_t shift = 0;
    int32_t bands = runs->bands, a, b;
    if (vectors == 1) {
        KT_WINDOWS(KT_WEIGHTS("q0", "w0", "0"), KT_COLUMN("q4", "0") KT_NEXT_COLUMN KT_FIRST_SUM("a", "q0", "q4") KT_STORE_ONE);
    } else if (vectors == 2) {
        KT_WINDOWS(KT_WEIGHTS("q0", "w0", "0") KT_WEIGHTS("q1", "w0", "16"),
                   KT_COLUMN("q4", "0") KT_COLUMN("q5", "16") KT_NEXT_COLUMN KT_FIRST_SUM("a", "q0", "q4")
                   KT_NEXT_SUM("a", "q1", "q5") KT_STORE_ONE);
    } else if (vectors == 3) {
        KT_WINDOWS(KT_WEIGHTS("q0", "w0", "0") KT_WEIGHTS("q1", "w0", "16") KT_WEIGHTS("q2", "w0", "32"),
                   KT_COLUMN("q4", "0") KT_COLUMN("q5", "16") KT_COLUMN("q6", "32") KT_NEXT_COLUMN KT_FIRST_SUM("a", "q0", "q4")
                   KT_NEXT_SUM("a", "q1", "q5") KT_NEXT_SUM("a", "q2", "q6") KT_STORE_ONE);
    } else if (vectors == 4) {
        KT_WINDOWS(KT_WEIGHTS("q0", "w0", "0") KT_WEIGHTS("q1", "w0", "16") KT_WEIGHTS("q2", "w0", "32") KT_WEIGHTS("q3", "w0", "48"),
                   KT_COLUMN("q4", "0") KT_COLUMN("q5", "16") KT_COLUMN("q6", "32") KT_COLUMN("q7", "48") KT_NEXT_COLUMN
                   KT_FIRST_SUM("a", "q0", "q4") KT_NEXT_SUM("a", "q1", "q5") KT_NEXT_SUM("a", "q2", "q6")
                   KT_NEXT_SUM("a", "q3", "q7") KT_STORE_ONE);
    } else {
        for (; bands > 0; bands--, x += runs->skip) {
            int32_t i;
            for (i = 0; i < runs->n; i++, x += runs->step) {
                *to++ = kt_dot_one(x, w, vectors * KT_LANES, 0);
            }
        }
    }
}

#define KT_COLUMN_AND_NEXT(vector, step) "vldrb.8 " vector ", [%[x]], #" step "\n\t"
#define KT_TWO_WEIGHTS KT_WEIGHTS("q0", "w0", "0") KT_WEIGHTS("q1", "w1", "0")
#define KT_TWO_SUMS KT_FIRST_SUM("a", "q0", "q4") KT_FIRST_SUM("b", "q1", "q4") KT_STORE_TWO

/* Two result rows, whose sums stand side by side; shift: lanes by which the weights of the second one lie further. */
static inline void kt_two_rows(const kt_runs *runs, const int8_t *x, const int8_t *w, int32_t shift, int32_t vectors, int32_t *to)
{
    int32_t bands = runs->bands, a, b;
    if (vectors == 1 && runs->step == 4) { /* 3x3 windows of stride 1 */
        KT_WINDOWS(KT_TWO_WEIGHTS, KT_COLUMN_AND_NEXT("q4", "4") KT_TWO_SUMS);
    } else if (vectors == 1 && runs->step == 10) { /* of stride 2 */
        KT_WINDOWS(KT_TWO_WEIGHTS, KT_COLUMN_AND_NEXT("q4", "10") KT_TWO_SUMS);
    } else if (vectors == 1) {
        KT_WINDOWS(KT_TWO_WEIGHTS, KT_COLUMN("q4", "0") KT_NEXT_COLUMN KT_TWO_SUMS);
    } else {
        KT_WINDOWS(KT_WEIGHTS("q0", "w0", "0") KT_WEIGHTS("q1", "w0", "16") KT_WEIGHTS("q2", "w1", "0") KT_WEIGHTS("q3", "w1", "16"),
                   KT_COLUMN("q4", "0") KT_COLUMN("q5", "16") KT_NEXT_COLUMN KT_FIRST_SUM("a", "q0", "q4")
                   KT_FIRST_SUM("b", "q2", "q4") KT_NEXT_SUM("a", "q1", "q5") KT_NEXT_SUM("b", "q3", "q5") KT_STORE_TWO);
    }
}

/* Sums of one channel to results at y + where[i]; `start` is added first. Shifts go right. */
#define KT_FINISH_CHANNEL(TIES) \
    __asm__ volatile("wlstp.32 lr, %[n], 2f\n" \
            "1:\n\t" \
            "vldrw.32 q0, [%[sums]], #16\n\t" \
            "vadd.i32 q0, q0, %[start]\n\t" \
            "vqrdmulh.s32 q0, q0, %[multiplier]\n\t" \
            "vldrw.32 q1, [%[where]], #16\n\t" \
            TIES \
            "vrshl.s32 q0, %[shift]\n\t" \
            "vmax.s32 q0, q0, %q[low]\n\t" \
            "vmin.s32 q0, q0, %q[high]\n\t" \
            "vadd.i32 q0, q0, %[offset]\n\t" \
            "vstrb.32 q0, [%[y], q1]\n\t" \
            "letp lr, 1b\n" \
            "2:\n" \
            : [sums] "+r"(sums), [where] "+r"(where) \
            : [n] "r"(n), [start] "r"(start), [multiplier] "r"(multiplier), [shift] "r"(shift), [low] "w"(limits->low), \
              [high] "w"(limits->high), [offset] "r"(limits->offset), [y] "r"(y) \
            : "lr", "q0", "q1", "q2", "memory")

#define KT_TIES_UP ""
#define KT_TIES_AWAY "vshr.s32 q2, q0, #31\n\t" "vqadd.s32 q0, q0, q2\n\t"

static __attribute__((noinline)) void kt_finish_any_channel(const int32_t *sums, int32_t n, int32_t initial, int32_t bias, int32_t multiplier,
                                                            int32_t shift, const kt_lanes_clamp *limits, const uint32_t *where, int8_t *y)
{
    for (; n > 0; n -= 4, sums += 4, where += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)n);
        const int32x4_t total = vqaddq_n_s32(vaddq_n_s32(vldrwq_z_s32(sums, lanes), initial), bias);
        const int32x4_t result = kt_clamp_lanes(kt_requantize_lanes_by(total, multiplier, shift), *limits);
        vstrbq_scatter_offset_p_s32(y, vldrwq_z_u32(where, lanes), result, lanes);
    }
}

enum { KT_LARGE = INT32_C(1) << 30 };

/* How the results of a channel end. start: of their sums. */
typedef struct {
    int32_t initial, bias, start, multiplier, shift;
    int usual;    /* the shift goes right, and the start is no sum that wraps */
    int ties_up;  /* ties of negative values do not matter, or there are none */
} kt_channel_end;

/* Of output channel c. rectified: low of the clamp is the zero point. */
static inline kt_channel_end kt_channel_end_of(const kt_depthwise_conv2d_params *params, int32_t c, int32_t initial, int32_t bias, int rectified)
{
    const int32_t shift = params->shift[c];
    const kt_channel_end end = {initial, bias, (int32_t)((uint32_t)initial + (uint32_t)bias), params->multiplier[c], shift,
                                kt_goes_right(shift) && bias <= KT_LARGE && bias >= -KT_LARGE, rectified || shift == 0};
    return end;
}

/* Results of the tile's `n` sums for a channel. */
static inline void kt_finish_channel(const kt_channel_end *end, const int32_t *sums, int32_t n, const kt_lanes_clamp *limits, const uint32_t *where,
                                     int8_t *y)
{
    const int32_t start = end->start, multiplier = end->multiplier, shift = end->shift;
    if (!end->usual) {
        kt_finish_any_channel(sums, n, end->initial, end->bias, multiplier, shift, limits, where, y);
    } else if (end->ties_up) {
        KT_FINISH_CHANNEL(KT_TIES_UP);
    } else {
        KT_FINISH_CHANNEL(KT_TIES_AWAY);
    }
}

#endif
