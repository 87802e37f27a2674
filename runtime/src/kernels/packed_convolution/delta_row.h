/* delta_row.h: one row of a packed fully connected layer with a trainable delta, as the core computes it. The row takes the panel's place and is
 * read where it lies, and so is the delta. */
#ifndef KT_DELTA_ROW_H
#define KT_DELTA_ROW_H

#include "kt/architecture.h"
#include "packed_conv2d_delta.h"

#if KT_DSP
#include "dsp/delta_row.h"
#else
#include "../patch.h"

static void kt_finish_delta_row(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    const kt_trained_delta *const delta = (const kt_trained_delta *)trained;
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int8_t *const x = (const int8_t *)block->panel;
    const int32_t size = delta->length;
    const kt_patch whole = {0, 0, 1, 0, 0, 1, 0, 0, size};
    int32_t c;
    for (c = block->first; c < block->first + block->count; c++) {
        const int32_t row = delta->rows == NULL ? c : delta->rows[c];
        if (row >= 0) {
            const int32_t product = kt_patch_dot(&whole, x, delta->delta + row * size, -params->outside);
            block->sums[c - block->first] += kt_scaled_addend(product, params->addend_multiplier[c], params->addend_shift[c] + delta->trained.exponent);
        }
    }
    kt_finish_sums(trained, block, y);
}
#endif

KT_INLINE void kt_run_delta_row(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                const int8_t *delta_exponent, int8_t *y, kt_product_kernel *product)
{
    const kt_trained_delta trained = kt_trained_delta_of(params, bias, delta, delta_exponent);
    kt_packed_trained_row(&trained.trained, x, y, NULL, product, kt_finish_delta_row);
}

#endif
