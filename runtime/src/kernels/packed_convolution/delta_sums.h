/* delta_sums.h: packed layers with a trainable delta, as the core computes them. */
#ifndef KT_DELTA_SUMS_H
#define KT_DELTA_SUMS_H

#include "kt/architecture.h"

#if KT_DSP
#include "dsp/delta_sums.h"
#elif KT_VECTOR
#include "vector/delta_sums.h"
#else
#include "packed_conv2d_delta.h"

/* A row in pairs as the panel has them: four values make (0, 2) and (1, 3); of three left over the third is the second's partner. */
static void kt_delta_products_of(const kt_trained_delta *delta, const int8_t *row, const int32_t *panel, int32_t sums[3])
{
    int32_t run, at;
    sums[0] = sums[1] = sums[2] = 0;
    for (run = 0; run < delta->runs; run++, row += delta->length, panel += 2 * kt_run_pairs(delta->length)) {
        for (at = 0; at < delta->length; at++) {
            const int32_t rest = delta->length - at / 4 * 4;
            const int32_t place = at % 4;
            const int32_t pair = rest == 2 ? 0 : place % 2;
            const int high = rest == 2 ? place == 1 : place >= 2;
            const int32_t *const words = panel + 2 * (at / 4 * 2 + pair);
            sums[0] += row[at] * (high ? kt_high(words[0]) : kt_low(words[0]));
            sums[1] += row[at] * (high ? kt_high(words[1]) : kt_low(words[1]));
            sums[2] += row[at];
        }
    }
}

static void kt_finish_delta(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    kt_add_delta((const kt_trained_delta *)trained, block, kt_delta_products_of);
    kt_finish_sums(trained, block, y);
}

KT_INLINE void kt_run_delta(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y, void *scratch, kt_product_kernel *product)
{
    const kt_trained_delta trained = kt_trained_delta_of(params, bias, delta, delta_exponent);
    kt_packed_trained_walk(&trained.trained, x, y, scratch, product, kt_finish_delta);
}
#endif

#endif
