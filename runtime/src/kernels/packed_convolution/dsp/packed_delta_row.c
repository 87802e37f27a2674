/* kt_packed_delta_row_s8 for the DSP extension: four rows of the delta at once. */
#include "../packed_delta_row.h"
#include "kt/architecture.h"

#if KT_DSP

#include "../../dsp/four_row_sums.h"
#include "packed_sums.h"

static __attribute__((noinline)) void add_row(const kt_trained_delta *delta, const kt_sums_block *block, const int8_t *x)
{
    const kt_packed_conv2d_lora_params *const params = delta->trained.params;
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

static void finish(const kt_trained_sums *trained, const kt_sums_block *block, int8_t *y)
{
    kt_add_bias(trained, block);
    kt_requantize_block(trained, block, y);
}

void kt_packed_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y)
{
    kt_run_delta_row(params, x, bias, delta, delta_exponent, y, add_row, finish);
}
#endif
