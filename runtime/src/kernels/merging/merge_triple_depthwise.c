/* Depthwise weights with a merged delta as bytes: for each channel its kernel columns in whole words, then its requantisation. */
#include "merging.h"

#if KT_ARMV6M && defined(__OPTIMIZE__)
/* `count` > 0 weights of one channel of which -127 is the least, from `tap` on, `step` taps apart; returns their sum. A weight and 127 is at most 254
 * and not negative, but where it has to be limited. Four operands are in registers that most instructions of Armv6-M do not know. */
static __attribute__((noinline)) int32_t symmetric_taps(const kt_merging_params *params, const kt_merged_channel *channel, int32_t tap, int32_t step,
                                                        int32_t count, int8_t *to)
{
    const int8_t *w = channel->w + tap * params->channels, *v = channel->v + tap * params->trained;
    int32_t sum = 0, a, b;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t"
                     "movs %[b], #0\n\t"
                     "ldrsb %[a], [%[w], %[b]]\n\t"
                     "ldrsb %[b], [%[v], %[b]]\n\t"
                     "muls %[b], %[factor], %[b]\n\t"
                     "lsls %[a], %[a], #16\n\t"
                     "adds %[a], %[a], %[b]\n\t"
                     "add %[a], %[start]\n\t"
                     "asrs %[a], %[a], #16\n\t"
                     "cmp %[a], #254\n\t"
                     "bhi 3f\n"
                     "2:\n\t"
                     "add %[sum], %[a]\n\t"
                     "subs %[a], #127\n\t"
                     "strb %[a], [%[to]]\n\t"
                     "adds %[to], #1\n\t"
                     "add %[w], %[w_step]\n\t"
                     "add %[v], %[v_step]\n\t"
                     "cmp %[to], %[end]\n\t"
                     "bne 1b\n\t"
                     "b 4f\n"
                     "3:\n\t"
                     "asrs %[b], %[a], #31\n\t"
                     "movs %[a], #254\n\t"
                     "bics %[a], %[a], %[b]\n\t"
                     "b 2b\n"
                     "4:\n"
                     : [to] "+l"(to), [w] "+l"(w), [v] "+l"(v), [sum] "+h"(sum), [a] "=&l"(a), [b] "=&l"(b)
                     : [factor] "l"(channel->factor), [start] "h"(127 * 65536 + 32768), [w_step] "h"(step * params->channels),
                       [v_step] "h"(step * params->trained), [end] "h"(to + count)
                     : "cc", "memory");
    return sum - count * 127;
}
#endif

/* The same of any channel. */
static inline int32_t taps(const kt_merging_params *params, const kt_merged_channel *channel, int32_t tap, int32_t step, int32_t count, int8_t *to)
{
    int32_t sum = 0, i;
#if KT_ARMV6M && defined(__OPTIMIZE__)
    if (channel->lowest == -127) {
        return symmetric_taps(params, channel, tap, step, count, to);
    }
#endif
    for (i = 0; i < count; i++) {
        const int32_t value = kt_merged_tap(params, *channel, tap + i * step);
        to[i] = (int8_t)value;
        sum += value;
    }
    return sum;
}

void kt_merge_triple_depthwise(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t rows = params->kernel[0], columns = params->kernel[1], whole = (rows * columns + 3) & ~3;
    int32_t c, x;
    for (c = 0; c < params->channels; c++) {
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, c);
        int8_t *to = (int8_t *)stream;
        int32_t sum = 0;
        for (x = 0; x < columns; x++) {
            sum += taps(params, &channel, x, columns, rows, to);
            to += rows;
        }
        for (x = rows * columns; x < whole; x++) {
            *to++ = 0;
        }
        fold[c] = params->offset * sum;
        stream = kt_merged_epilogue(params, c, stream + whole / 4);
    }
}
