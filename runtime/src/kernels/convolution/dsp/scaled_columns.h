/* scaled_columns.h: two rows of a depthwise layer's gradient, scaled and paired, four channels at once. */
#ifndef KT_DSP_SCALED_COLUMNS_H
#define KT_DSP_SCALED_COLUMNS_H

#include "kt/kernels/convolution.h"
#include "../../../product/halves.h"
#include "../../dsp/prescale.h"

/* Gradients of four channels in a column, scaled: {upper row, lower row}. */
typedef struct {
    uint32_t channel[4];
} kt_scaled_column;

/* Where they come from. Columns outside the image are zeros. */
typedef struct {
    const int8_t *row[2]; /* at the first column inside */
    int32_t step[2];      /* to the next column; 0: the row does not exist, and `row` is four zeros */
    int32_t outside_left; /* columns: 1 or 0 */
    int32_t inside;
    int32_t outside_right;
} kt_two_rows;

/* result = values with -127 for -128; size bytes. */
static __attribute__((noinline)) void kt_store_symmetric(const int8_t *values, int8_t *result, int32_t size)
{
    int32_t i = 0;
    for (; i + 16 <= size; i += 16) {
        kt_store_word(result + i, kt_symmetric(kt_load_word(values + i)));
        kt_store_word(result + i + 4, kt_symmetric(kt_load_word(values + i + 4)));
        kt_store_word(result + i + 8, kt_symmetric(kt_load_word(values + i + 8)));
        kt_store_word(result + i + 12, kt_symmetric(kt_load_word(values + i + 12)));
    }
    for (; i + 4 <= size; i += 4) {
        kt_store_word(result + i, kt_symmetric(kt_load_word(values + i)));
    }
    for (; i < size; i++) {
        result[i] = (int8_t)kt_maximum(values[i], -127);
    }
}

static __attribute__((noinline)) void kt_scale_columns(const kt_depthwise_input_gradient_params *params, const kt_two_rows *p, int32_t c,
                                                       kt_scaled_column *column)
{
    const int32_t shift = params->prescale_shift;
    const int32_t factor0 = kt_prescale_factor(params->prescale[c], shift), factor1 = kt_prescale_factor(params->prescale[c + 1], shift);
    const int32_t factor2 = kt_prescale_factor(params->prescale[c + 2], shift), factor3 = kt_prescale_factor(params->prescale[c + 3], shift);
    const int32_t upper_step = p->step[0], lower_step = p->step[1];
    const int8_t *upper = p->row[0] + (upper_step ? c : 0), *lower = p->row[1] + (lower_step ? c : 0);
    const kt_scaled_column *end;
    if (p->outside_left) {
        memset(column++, 0, sizeof *column);
    }
    memset(column + p->inside, 0, (size_t)p->outside_right * sizeof *column);
    end = column + p->inside;
    for (; column != end; column++, upper += upper_step, lower += lower_step) {
        const uint32_t u = kt_load_word(upper), l = kt_load_word(lower);
        const uint32_t u02 = kt_even(u), u13 = kt_odd(u), l02 = kt_even(l), l13 = kt_odd(l);
        column->channel[0] = kt_halved(kt_doubled_low(factor0, u02), kt_doubled_low(factor0, l02));
        column->channel[1] = kt_halved(kt_doubled_low(factor1, u13), kt_doubled_low(factor1, l13));
        column->channel[2] = kt_halved(kt_doubled_high(factor2, u02), kt_doubled_high(factor2, l02));
        column->channel[3] = kt_halved(kt_doubled_high(factor3, u13), kt_doubled_high(factor3, l13));
    }
}

#endif
