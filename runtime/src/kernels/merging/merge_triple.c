/* Weights with a merged delta as bytes, greater by 128, of two channels side by side: for each chunk, and in it each two channels, its values
 * (kt/kernels/triple_convolution.h). */
#include "merging.h"

#if (KT_ARMV6M || KT_ARMV7M) && defined(__OPTIMIZE__)
/* The next weight in a, of a factor and half a unit on top; i: from -count to 0. */
#if KT_ARMV6M
#define KT_MERGE_ONE \
    "ldrsb %[a], [%[w], %[i]]\n\t" \
    "ldrsb %[b], [%[v], %[i]]\n\t" \
    "muls %[b], %[factor], %[b]\n\t" \
    "lsls %[a], %[a], #16\n\t" \
    "adds %[a], %[a], %[b]\n\t" \
    "add %[a], %[start]\n\t" \
    "asrs %[a], %[a], #16\n\t"
#define KT_PUT_ONE "strb %[a], [%[to]]\n\tadds %[to], #2\n\t"
#else
#define KT_MERGE_ONE \
    "ldrsb %[a], [%[w], %[i]]\n\t" \
    "ldrsb %[b], [%[v], %[i]]\n\t" \
    "mla %[b], %[factor], %[b], %[start]\n\t" \
    "add %[a], %[b], %[a], lsl #16\n\t" \
    "asrs %[a], %[a], #16\n\t"
#define KT_PUT_ONE "strb %[a], [%[to]], #2\n\t"
#endif

/* `count` > 0 values of one channel of two from `at` on; returns their sum. A value and 128, or 127 where the least is -127, is at most `limit` and
 * not negative, but where it has to be limited: the rest is added behind. Three operands are in registers that most instructions of Armv6-M do not
 * know. */
static __attribute__((noinline)) int32_t values(const kt_merged_channel *channel, int32_t at, int32_t count, uint8_t *to)
{
    const int32_t rest = channel->lowest == -127;
    const int8_t *w = channel->w + at + count, *v = channel->v + at + count;
    int32_t sum = 0, i = -count, a, b;
    __asm__ volatile(".syntax unified\n"
                     "1:\n\t" KT_MERGE_ONE "cmp %[a], %[limit]\n\t"
                     "bhi 3f\n"
                     "2:\n\t"
                     "add %[sum], %[a]\n\t"
                     "add %[a], %[rest]\n\t" KT_PUT_ONE "adds %[i], #1\n\t"
                     "bne 1b\n\t"
                     "b 4f\n"
                     "3:\n\t"
                     "asrs %[b], %[a], #31\n\t"
                     "mov %[a], %[limit]\n\t"
                     "bics %[a], %[a], %[b]\n\t"
                     "b 2b\n"
                     "4:\n"
                     : [to] "+l"(to), [i] "+l"(i), [sum] "+h"(sum), [a] "=&l"(a), [b] "=&l"(b)
                     : [w] "l"(w), [v] "l"(v), [factor] "l"(channel->factor), [start] "h"((128 - rest) * 65536 + 32768), [limit] "h"(255 - rest),
                       [rest] "h"(rest)
                     : "cc", "memory");
    return sum - count * (128 - rest);
}
#else
/* `count` > 0 values of one channel of two from `at` on; returns their sum. */
static inline int32_t values(const kt_merged_channel *channel, int32_t at, int32_t count, uint8_t *to)
{
    const int8_t *w = channel->w + at, *v = channel->v + at;
    const uint8_t *end = to + 2 * count;
    const int32_t factor = channel->factor, lowest = channel->lowest;
    int32_t sum = 0;
    do {
        const int32_t value = kt_merged_value(*w++, *v++, factor, lowest);
        *to = (uint8_t)(value + 128);
        to += 2;
        sum += value;
    } while (to != end);
    return sum;
}
#endif

void kt_merge_triple(const kt_merging_params *params, const int8_t *delta, const int8_t *exponent, int32_t *stream, int32_t *fold)
{
    const int32_t size = kt_merging_size(params);
    const int32_t length = (size + 3) & ~3;
    const int32_t even = (params->channels + 1) & ~1;
    int32_t c, first;
    for (c = 0; c < ((params->channels + 3) & ~3); c++) {
        const int present = c < params->channels;
        const kt_merged_channel channel = kt_merged_channel_of(params, delta, exponent, present ? c : 0);
        int32_t sum = 0;
        for (first = 0; first < length && c < even; first += params->chunk) {
            const int32_t count = length - first < params->chunk ? length - first : params->chunk;
            uint8_t *to = (uint8_t *)stream + even * first + (c & ~1) * count + (c & 1);
            int32_t held = 0;
            if (present) {
                held = size - first < count ? size - first : count;
                sum += values(&channel, first, held, to);
            }
            for (; held < count; held++) {
                to[2 * held] = 128;
            }
        }
        if (fold != NULL) {
            fold[c] = params->offset * sum;
        }
    }
    stream += even * length / 4;
    for (c = 0; c < ((params->channels + 3) & ~3) && params->epilogue != NULL; c++) {
        stream = kt_merged_epilogue(params, c, stream);
    }
}
