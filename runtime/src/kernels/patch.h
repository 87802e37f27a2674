/* patch.h: the products of what lies under a window (window.h) with one kernel, and with four. */
#ifndef KT_PATCH_H
#define KT_PATCH_H

#include "kt/architecture.h"
#include "window.h"

#if KT_VECTOR
#include "vector/patch.h"
#else
/* sum w * (x + offset) over a patch; w points to the kernel's first value. */
static inline int32_t kt_patch_dot(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t offset)
{
    const int32_t length = patch->length;
    int32_t sum = 0;
    int32_t row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = 0; i < length; i++) {
                sum += weights[i] * (values[i] + offset);
            }
        }
    }
    return sum;
}

/* The products of value i with four kernels. */
#define KT_DOT4(i) \
    do { \
        const int32_t value = values[i] + offset; \
        sum0 += w0[i] * value; \
        sum1 += w1[i] * value; \
        sum2 += w2[i] * value; \
        sum3 += w3[i] * value; \
    } while (0)

/* Four kernels at once, `size` values apart: each input value is loaded once. */
static inline void kt_patch_dot4(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset,
                                 int32_t sums[4])
{
    const int32_t length = patch->length;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t row, span, i;
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *w0 = w + (patch->w + row * patch->row_w + span * patch->span_w);
            const int8_t *w1 = w0 + size;
            const int8_t *w2 = w1 + size;
            const int8_t *w3 = w2 + size;
            for (i = length; i >= 4; i -= 4, values += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
                KT_DOT4(0);
                KT_DOT4(1);
                KT_DOT4(2);
                KT_DOT4(3);
            }
            for (; i > 0; i--, values++, w0++, w1++, w2++, w3++) {
                KT_DOT4(0);
            }
        }
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

#if KT_SMALL_DSP
/* The same with four values of each kernel in a word. */
static __attribute__((noinline, unused)) void kt_patch_words4(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size,
                                                              int32_t offset, int32_t sums[4])
{
    const uint32_t offsets = (uint16_t)offset * UINT32_C(0x00010001);
    const int32_t next_x = patch->row_x - patch->spans * patch->span_x, next_w = patch->row_w - patch->spans * patch->span_w;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t row, span, i;
    x += patch->x;
    w += patch->w;
    for (row = patch->rows; row > 0; row--) {
        for (span = patch->spans; span > 0; span--) {
            const int8_t *values = x, *weights = w;
            if (patch->length >= 4) {
                const int8_t *const end = x + (patch->length & ~3);
                uint32_t even, odd, word, half;
                __asm__ volatile("1:\n\t"
                                 "ldr %[even], [%[values]], #4\n\t"
                                 "ldr %[word], [%[weights], %[size]]\n\t"
                                 "sxtab16 %[odd], %[offsets], %[even], ror #8\n\t"
                                 "sxtab16 %[even], %[offsets], %[even]\n\t"
                                 "sxtb16 %[half], %[word]\n\t"
                                 "smlad %[sum1], %[even], %[half], %[sum1]\n\t"
                                 "sxtb16 %[half], %[word], ror #8\n\t"
                                 "ldr %[word], [%[weights], %[size], lsl #1]\n\t"
                                 "smlad %[sum1], %[odd], %[half], %[sum1]\n\t"
                                 "sxtb16 %[half], %[word]\n\t"
                                 "smlad %[sum2], %[even], %[half], %[sum2]\n\t"
                                 "sxtb16 %[half], %[word], ror #8\n\t"
                                 "add %[word], %[weights], %[size]\n\t"
                                 "ldr %[word], [%[word], %[size], lsl #1]\n\t"
                                 "smlad %[sum2], %[odd], %[half], %[sum2]\n\t"
                                 "sxtb16 %[half], %[word]\n\t"
                                 "smlad %[sum3], %[even], %[half], %[sum3]\n\t"
                                 "sxtb16 %[half], %[word], ror #8\n\t"
                                 "ldr %[word], [%[weights]], #4\n\t"
                                 "smlad %[sum3], %[odd], %[half], %[sum3]\n\t"
                                 "sxtb16 %[half], %[word]\n\t"
                                 "smlad %[sum0], %[even], %[half], %[sum0]\n\t"
                                 "sxtb16 %[half], %[word], ror #8\n\t"
                                 "smlad %[sum0], %[odd], %[half], %[sum0]\n\t"
                                 "cmp %[values], %[end]\n\t"
                                 "bne 1b"
                                 : [values] "+r"(values), [weights] "+r"(weights), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2),
                                   [sum3] "+r"(sum3), [even] "=&r"(even), [odd] "=&r"(odd), [word] "=&r"(word), [half] "=&r"(half)
                                 : [end] "r"(end), [offsets] "r"(offsets), [size] "r"(size)
                                 : "cc", "memory");
            }
            for (i = patch->length & 3; i > 0; i--) {
                const int32_t value = *values++ + offset;
                sum0 += weights[0] * value;
                sum1 += weights[size] * value;
                sum2 += weights[2 * size] * value;
                sum3 += weights[3 * size] * value;
                weights++;
            }
            x += patch->span_x;
            w += patch->span_w;
        }
        x += next_x;
        w += next_w;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}
#endif

/* The sums of up to four kernels from w on; returns how many: kernels are taken in fours, the rest singly. */
static inline int32_t kt_patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left,
                                    int32_t offset, int32_t sums[4])
{
    if (left >= 4) {
#if KT_SMALL_DSP
        kt_patch_words4(patch, x, w, size, offset, sums);
#else
        kt_patch_dot4(patch, x, w, size, offset, sums);
#endif
        return 4;
    }
    sums[0] = kt_patch_dot(patch, x, w, offset);
    return 1;
}

#endif
