/* Weights of a convolution's channel for the DSP extension: four at once, limited as bytes. */
#include "../merging.h"

#if KT_DSP && !KT_MVE

#ifdef __OPTIMIZE__ /* else too few registers are free */
/* {low, second, even, odd} of products and 32768 - 65536 * taken: changes of four weights, less what is taken; then the weights. */
#define KT_MERGE_FOUR \
    "ldr %[even], [%[v]], #4\n\t" \
    "sxtb16 %[odd], %[even], ror #8\n\t" \
    "sxtb16 %[even], %[even]\n\t" \
    "smlabb %[low], %[even], %[factor], %[half]\n\t" \
    "smlatb %[even], %[even], %[factor], %[half]\n\t" \
    "smlabb %[second], %[odd], %[factor], %[half]\n\t" \
    "smlatb %[odd], %[odd], %[factor], %[half]\n\t" \
    "pkhtb %[even], %[even], %[low], asr #16\n\t" \
    "pkhtb %[odd], %[odd], %[second], asr #16\n\t" \
    "ldr %[low], [%[w]], #4\n\t" \
    "lsls %[odd], %[odd], #8\n\t" \
    "sel %[even], %[even], %[odd]\n\t" \
    "qadd8 %[even], %[even], %[low]\n\t" \
    "qadd8 %[even], %[even], %[taken]\n\t" \
    "str %[even], [%[to]], #4\n\t" \
    "eor %[even], %[even], #0x80808080\n\t" \
    "usada8 %[sum], %[even], %[taken], %[sum]\n\t"

/* `fours` > 0 times four weights of a factor below KT_SHORT_FACTOR. A sum of bytes is limited to [-128, 127]; where -127 is the least, 1 is taken from
 * it first and given back behind. Sums are of distances from what is taken, which no byte, greater by 128, lies below. */
static inline int32_t four_at_once(const kt_merged_channel *channel, int32_t at, int32_t fours, int8_t *to)
{
    const int8_t *w = channel->w + at, *v = channel->v + at;
    const int8_t *end = w + 4 * fours;
    const int32_t taken = channel->lowest == -127;
    uint32_t sum = 0, even, odd, low, second = (uint32_t)fours;
    __asm__ volatile("mov %[low], #0x00ff00ff\n\t"
                     "mov %[odd], #0x00010001\n\t"
                     "uadd8 %[low], %[low], %[odd]\n\t" /* bytes 0 and 2 carry, so that `sel` takes those of its first operand */
                     "lsls %[second], %[second], #31\n\t"
                     "beq 1f\n\t" KT_MERGE_FOUR "cmp %[w], %[end]\n\t"
                     "beq 2f\n"
                     "1:\n\t" KT_MERGE_FOUR KT_MERGE_FOUR "cmp %[w], %[end]\n\t"
                     "bne 1b\n"
                     "2:\n"
                     : [w] "+r"(w), [v] "+r"(v), [to] "+r"(to), [sum] "+r"(sum), [even] "=&r"(even), [odd] "=&r"(odd), [low] "=&r"(low),
                       [second] "+r"(second)
                     : [end] "r"(end), [factor] "r"(channel->factor), [half] "r"(32768 - 65536 * taken), [taken] "r"(taken * 0x01010101)
                     : "cc", "memory");
    return (int32_t)sum - 4 * fours * (128 - taken);
}
#endif

int32_t kt_merged_run(const kt_merged_channel *channel, int32_t at, int32_t count, int8_t *to)
{
#ifdef __OPTIMIZE__
    if (channel->factor < KT_SHORT_FACTOR && count >= 4) {
        const int32_t whole = count & ~3, sum = four_at_once(channel, at, whole / 4, to);
        return sum + kt_merged_singles(channel, at + whole, count - whole, to + whole);
    }
#endif
    return kt_merged_singles(channel, at, count, to);
}

#endif
