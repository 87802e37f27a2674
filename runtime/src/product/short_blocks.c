/* Sums and results of a block of channels (short_blocks.h). */
#include "short_blocks.h"
#include "halves.h"

#ifdef KT_SMALL
#include <string.h>

/* A value limited to int8. */
static inline int8_t kt_saturate_code(int32_t value)
{
#if KT_SMALL_DSP
    return (int8_t)__ssat(value, 8);
#else
    return (int8_t)kt_clamp(value, INT8_MIN, INT8_MAX);
#endif
}

int32_t kt_requantize_any(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return kt_high_multiply(kt_shift_left_saturated(x, kt_minimum(shift, 31)), multiplier);
    }
    return kt_divide_by_power(kt_high_multiply(x, multiplier), kt_minimum(-shift, 31));
}

void kt_finish_block(const kt_results *results, const int32_t *sums, const int32_t *bias, int32_t first, int32_t count, int8_t *y)
{
    const int32_t *multiplier = results->multiplier + first;
    const int8_t *shift = results->shift + first;
    const int32_t offset = results->offset, low = results->clamp[0], high = results->clamp[1];
    int8_t *const end = y + (first + count);
    bias += first;
    y += first;
    do {
        const int32_t total = kt_add_words(*sums++, *bias++), factor = *multiplier++, left = *shift++;
        const int32_t scaled = (uint32_t)~left < 31 ? kt_requantize_right(total, factor, -left) : kt_requantize_any(total, factor, left);
        *y++ = kt_saturate_code(kt_add_words(scaled, offset));
    } while (y != end);
    if (low > INT8_MIN || high < INT8_MAX) {
        for (; count > 0; count--) {
            y--;
            *y = (int8_t)kt_clamp(*y, low, high);
        }
    }
}

void kt_round_block(const int32_t *sums, int32_t shift, int32_t count, int8_t *result)
{
    const int8_t *const end = result + count;
    if (shift < 2 || shift > 31) {
        while (result != end) {
            *result++ = kt_saturate8(kt_shift_round(*sums++, shift));
        }
        return;
    }
    shift--; /* as half of the sum shifted by one less: nothing leaves int32 */
#if KT_SMALL_DSP
    for (; end - result >= 4; result += 4, sums += 4) {
        const int32_t first = __ssat(((sums[0] >> shift) + 1) >> 1, 8), second = __ssat(((sums[1] >> shift) + 1) >> 1, 8);
        const int32_t third = __ssat(((sums[2] >> shift) + 1) >> 1, 8), fourth = __ssat(((sums[3] >> shift) + 1) >> 1, 8);
        kt_store_word(result, kt_symmetric(kt_bytes(first, second, third, fourth)));
    }
#endif
    while (result != end) {
        *result++ = kt_saturate8(((*sums++ >> shift) + 1) >> 1);
    }
}

const int8_t *kt_gather_patch(kt_patch *patch, const int8_t *x, int32_t size, int32_t offset, int8_t *row)
{
    int32_t i, j;
    if (size > KT_GATHERED_VALUES || patch->length == size) {
        return x;
    }
    memset(row, -offset, (size_t)size);
    for (i = 0; i < patch->rows; i++) {
        for (j = 0; j < patch->spans; j++) {
            memcpy(row + (patch->w + i * patch->row_w + j * patch->span_w), x + (patch->x + i * patch->row_x + j * patch->span_x),
                   (size_t)patch->length);
        }
    }
    patch->x = patch->w = 0;
    patch->rows = patch->spans = 1;
    patch->length = size;
    return row;
}

#if KT_SMALL_DSP
/* sums[i] += sum over k of w[i * size + k] * (x[k] + offset), four values in a word; length: of values, and count: of kernels, multiples of 4. */
static __attribute__((noinline)) void kt_add_words_of_kernels(const int8_t *x, const int8_t *w, int32_t size, uint32_t offsets, int32_t length,
                                                              int32_t count, int32_t *sums)
{
    const int8_t *const end = x + length;
    int32_t *const last = sums + count;
    const int32_t next = 4 * size - length, third = 3 * size;
    do {
        int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
        uint32_t even, odd, word, half;
        __asm__ volatile("1:\n\t"
                         "ldr %[even], [%[x]], #4\n\t"
                         "ldr %[word], [%[w], %[size]]\n\t"
                         "sxtab16 %[odd], %[offsets], %[even], ror #8\n\t"
                         "sxtab16 %[even], %[offsets], %[even]\n\t"
                         "sxtb16 %[half], %[word]\n\t"
                         "smlad %[sum1], %[even], %[half], %[sum1]\n\t"
                         "sxtb16 %[half], %[word], ror #8\n\t"
                         "ldr %[word], [%[w], %[size], lsl #1]\n\t"
                         "smlad %[sum1], %[odd], %[half], %[sum1]\n\t"
                         "sxtb16 %[half], %[word]\n\t"
                         "smlad %[sum2], %[even], %[half], %[sum2]\n\t"
                         "sxtb16 %[half], %[word], ror #8\n\t"
                         "ldr %[word], [%[w], %[third]]\n\t"
                         "smlad %[sum2], %[odd], %[half], %[sum2]\n\t"
                         "sxtb16 %[half], %[word]\n\t"
                         "smlad %[sum3], %[even], %[half], %[sum3]\n\t"
                         "sxtb16 %[half], %[word], ror #8\n\t"
                         "ldr %[word], [%[w]], #4\n\t"
                         "smlad %[sum3], %[odd], %[half], %[sum3]\n\t"
                         "sxtb16 %[half], %[word]\n\t"
                         "smlad %[sum0], %[even], %[half], %[sum0]\n\t"
                         "sxtb16 %[half], %[word], ror #8\n\t"
                         "smlad %[sum0], %[odd], %[half], %[sum0]\n\t"
                         "cmp %[x], %[end]\n\t"
                         "bne 1b"
                         : [x] "+r"(x), [w] "+r"(w), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3),
                           [even] "=&r"(even), [odd] "=&r"(odd), [word] "=&r"(word), [half] "=&r"(half)
                         : [end] "r"(end), [offsets] "r"(offsets), [size] "r"(size), [third] "r"(third)
                         : "cc", "memory");
        sums[0] = sum0;
        sums[1] = sum1;
        sums[2] = sum2;
        sums[3] = sum3;
        sums += 4;
        x -= length;
        w += next;
    } while (sums != last);
}

void kt_sum_patch(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset, int32_t count, int32_t *sums)
{
    const int32_t length = patch->length, words = length & ~3, fours = count & ~3;
    int32_t row, span, i, k;
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            if (words > 0 && fours > 0) {
                kt_add_words_of_kernels(values, weights, size, (uint16_t)offset * UINT32_C(0x00010001), words, fours, sums);
            }
            for (i = words < length ? 0 : fours; i < count; i++) {
                for (k = i < fours ? words : 0; k < length; k++) {
                    sums[i] += weights[i * size + k] * (values[k] + offset);
                }
            }
        }
    }
}
#else
void kt_sum_patch(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t offset, int32_t count, int32_t *sums)
{
    for (; count >= 4; count -= 4, sums += 4, w += 4 * size) {
        kt_patch_dot4(patch, x, w, size, offset, sums);
    }
    for (; count > 0; count--, w += size) {
        *sums++ = kt_patch_dot(patch, x, w, offset);
    }
}
#endif

#endif
