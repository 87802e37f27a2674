/* Weights of a convolution's channel for Helium. */
#include "../merging.h"

#if KT_MVE

/* Eight at once, of a factor below KT_SHORT_FACTOR: the upper half of a product, rounded, is the change of a weight. */
static inline int32_t eight_at_once(const int8_t *w, const int8_t *v, const kt_merged_channel *channel, int32_t count, int8_t *to)
{
    int32_t sum = 0;
    __asm__ volatile("wlstp.16 lr, %[count], 2f\n"
                     "1:\n\t"
                     "vldrb.s16 q0, [%[v]], #8\n\t"
                     "vrmulh.s16 q0, q0, %q[factor]\n\t"
                     "vldrb.s16 q1, [%[w]], #8\n\t"
                     "vadd.i16 q0, q0, q1\n\t"
                     "vmin.s16 q0, q0, %q[highest]\n\t"
                     "vmax.s16 q0, q0, %q[lowest]\n\t"
                     "vaddva.s16 %[sum], q0\n\t"
                     "vstrb.16 q0, [%[to]], #8\n\t"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [v] "+l"(v), [w] "+l"(w), [to] "+l"(to), [sum] "+Te"(sum)
                     : [count] "r"(count), [factor] "w"(vdupq_n_s16((int16_t)channel->factor)), [highest] "w"(vdupq_n_s16(127)),
                       [lowest] "w"(vdupq_n_s16((int16_t)channel->lowest))
                     : "lr", "q0", "q1", "memory");
    return sum;
}

int32_t kt_merged_run(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to)
{
    if (channel->factor < KT_SHORT_FACTOR) {
        return eight_at_once(channel->w + at, channel->v + at, channel, count, to);
    }
    return kt_merged_singles(channel, at, count, to);
}

#endif
