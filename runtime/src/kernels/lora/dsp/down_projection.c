/* kt_down_projection_s8 for the DSP extension: four kernels at once, two products an instruction. */
#include "../down_projection.h"
#include "kt/kernels/lora.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

/* sum + products of four values with four weights */
static inline int32_t add_four(const int8_t *w, uint32_t even, uint32_t odd, int32_t sum)
{
    const uint32_t word = kt_load_word(w);
    return kt_add_products(kt_odd(word), odd, kt_add_products(kt_even(word), even, sum));
}

/* sums[i] += sum_j w[i * size + j] * (x[j] + offset), j in [0, length). */
static void span_sums(const int8_t *x, const int8_t *w, int32_t length, int32_t size, int32_t offset, int32_t sums[4])
{
    const uint32_t added = (uint16_t)offset * UINT32_C(0x00010001);
    const int8_t *w0 = w, *w1 = w0 + size, *w2 = w1 + size, *w3 = w2 + size;
    int32_t sum0 = sums[0], sum1 = sums[1], sum2 = sums[2], sum3 = sums[3];
    int32_t left;
    for (left = length; left >= 4; left -= 4) {
        const uint32_t word = kt_load_word(x);
        const uint32_t even = kt_add_halves(kt_even(word), added), odd = kt_add_halves(kt_odd(word), added);
        sum0 = add_four(w0, even, odd, sum0);
        sum1 = add_four(w1, even, odd, sum1);
        sum2 = add_four(w2, even, odd, sum2);
        sum3 = add_four(w3, even, odd, sum3);
        x += 4;
        w0 += 4;
        w1 += 4;
        w2 += 4;
        w3 += 4;
    }
    for (; left > 0; left--) {
        const int32_t value = *x++ + offset;
        sum0 += *w0++ * value;
        sum1 += *w1++ * value;
        sum2 += *w2++ * value;
        sum3 += *w3++ * value;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

/* kt_patch_sums (../window.h), four kernels at once. */
static int32_t patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left, int32_t offset,
                          int32_t sums[4])
{
    int32_t row, span;
    if (left < 4) {
        sums[0] = kt_patch_dot(patch, x, w, offset);
        return 1;
    }
    memset(sums, 0, 4 * sizeof *sums);
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *const weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            span_sums(values, weights, patch->length, size, offset, sums);
        }
    }
    return 4;
}

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const int8_t hit = kt_project_all(params, x, a, *range - *a_exponent, u, patch_sums);
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}

#endif
