/* packed_conv2d_delta.h: the addend of a delta to the sums of a packed layer. The panel holds what lies under the window of two
 * positions in the order of product/panel.h; a row of the delta, which training changes, is read in the model's. */
#ifndef KT_PACKED_CONV2D_DELTA_H
#define KT_PACKED_CONV2D_DELTA_H

#include "kt/kernels/packed_convolution.h"
#include "packed_trained_walk.h"

/* What a delta adds. runs, length: of the values under the window, that are neighbours both in the panel and in a row. */
typedef struct {
    kt_trained_sums trained;
    const int8_t *delta;
    const int16_t *rows;
    int32_t runs, length;
} kt_trained_delta;

/* sum_k row[k] * x[k] of both positions, and sum_k row[k]. */
typedef void kt_delta_products(const kt_trained_delta *delta, const int8_t *row, const int32_t *panel, int32_t sums[3]);

static inline void kt_add_delta(const kt_trained_delta *delta, const kt_sums_block *block, kt_delta_products *products)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    int32_t i, c;
    for (c = block->first; c < block->first + block->count; c++) {
        const int32_t row = delta->rows == NULL ? c : delta->rows[c];
        int32_t *const sum = block->sums + c - block->first;
        int32_t found[3];
        if (row < 0) {
            continue;
        }
        products(delta, delta->delta + row * delta->runs * delta->length, block->panel, found);
        for (i = 0; i < (block->stride == 0 ? 1 : 2); i++) {
            const int32_t product = found[i] - params->outside * found[2];
            const int32_t shift = params->addend_shift[c] + delta->trained.exponent;
            sum[i * block->stride] += kt_scaled_addend(product, params->addend_multiplier[c], shift);
        }
    }
}

static inline kt_trained_delta kt_trained_delta_of(const kt_packed_conv2d_delta_params *params, const int32_t *bias,
                                                   const int8_t *delta, const int8_t *delta_exponent)
{
    const kt_window *const window = &params->layer.window;
    const int apart = window->dilation[1] != 1;
    kt_trained_delta found = {{&params->layer, bias, NULL, NULL, *delta_exponent}, delta, params->rows, 0, 0};
    found.runs = window->kernel[0] * (apart ? window->kernel[1] : 1);
    found.length = window->input[KT_CHANNELS] * (apart ? 1 : window->kernel[1]);
    return found;
}

#endif
