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

#ifndef KT_SMALL
/* The sums of up to four kernels from w on; returns how many: kernels are taken in fours, the rest singly. */
static inline int32_t kt_patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left,
                                    int32_t offset, int32_t sums[4])
{
    if (left >= 4) {
        kt_patch_dot4(patch, x, w, size, offset, sums);
        return 4;
    }
    sums[0] = kt_patch_dot(patch, x, w, offset);
    return 1;
}
#endif

#endif
