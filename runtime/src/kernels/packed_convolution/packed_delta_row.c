/* FULLY_CONNECTED of one row from packed weights with a trainable delta. */
#include "packed_delta_row.h"
#include "kt/architecture.h"

#if !KT_DSP
#include "../patch.h"

static void add_row(const kt_trained_delta *delta, const kt_sums_block *block, const int8_t *x)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
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
}

void kt_packed_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y)
{
    kt_run_delta_row(params, x, bias, delta, delta_exponent, y, add_row, kt_finish_sums);
}
#endif
