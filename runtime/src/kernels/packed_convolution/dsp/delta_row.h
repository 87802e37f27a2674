/* delta_row.h: ../delta_row.h for the DSP extension: four rows of the delta at once. */
#ifndef KT_DSP_DELTA_ROW_H
#define KT_DSP_DELTA_ROW_H

#include "../../dsp/four_row_sums.h"
#include "../packed_conv2d_delta.h"
#include "packed_sums.h"

static __attribute__((noinline)) void kt_add_delta_row(const kt_trained_delta *delta, const kt_sums_block *block)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
    const int8_t *const x = (const int8_t *)block->panel;
    const int32_t size = delta->length, end = block->first + block->count;
    const int8_t *rows[4];
    int32_t channel[4], found[4];
    int32_t waiting = 0, c, i;
    for (c = block->first; c < end; c++) {
        const int32_t row = delta->rows == NULL ? c : delta->rows[c];
        if (row >= 0) {
            channel[waiting] = c;
            rows[waiting++] = delta->delta + row * size;
        }
        if (waiting < 4 && (waiting == 0 || c + 1 < end)) {
            continue;
        }
        for (i = waiting; i < 4; i++) {
            rows[i] = rows[0];
        }
        memset(found, 0, sizeof found);
        kt_four_row_sums(x, rows, size, -params->outside, found);
        for (i = 0; i < waiting; i++) {
            const int32_t to = channel[i], down = -(params->addend_shift[to] + delta->trained.exponent);
            block->sums[to - block->first] += kt_delta_addend(found[i], params->addend_multiplier[to], down, size <= KT_LONGEST_ROW);
        }
        waiting = 0;
    }
}

static void kt_finish_delta_row(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    kt_add_delta_row((const kt_trained_delta *)trained, block);
    kt_add_bias(trained, block);
    kt_requantize_block(trained, block, y);
}

#endif
