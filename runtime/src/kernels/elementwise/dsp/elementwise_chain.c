/* kt_elementwise_chain_s8 for the DSP extension: SMMLAR rounds as the first half of a requantisation does, and adds the
 * half of the second one and the zero point, as in mul.c. A product has 17 bits and a term of a sum 30, so that twice
 * either fits. */
#include "../elementwise_chain.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

enum { LARGEST_SHIFT = 22 };

typedef struct {
    const int32_t *constants;
    int32_t adds, input_offset;
    int32_t term_multiplier, term_half, term_shift;
    int32_t multiplier, half, shift;
    int32_t low, high;
} fast_step;

static int is_fast(int32_t shift)
{
    return shift <= -1 && shift >= -LARGEST_SHIFT;
}

/* Whether the constants of a step exist. */
static int prepared(const kt_chain_step *step, fast_step *f)
{
    const int last = step->adds ? 1 : 0;
    if (!is_fast(step->shift[last]) || (step->adds && step->shift[0] != 0 && !is_fast(step->shift[0]))) {
        return 0;
    }
    f->constants = step->constants;
    f->adds = step->adds;
    f->input_offset = step->input_offset;
    f->multiplier = step->multiplier[last];
    f->shift = -step->shift[last];
    f->half = (INT32_C(1) << (f->shift - 1)) + step->output_offset * (INT32_C(1) << f->shift);
    f->term_multiplier = step->multiplier[0];
    f->term_shift = -step->shift[0];
    f->term_half = f->term_shift > 0 ? INT32_C(1) << (f->term_shift - 1) : 0;
    f->low = step->clamp[0];
    f->high = step->clamp[1];
    return 1;
}

/* The results of a step of one row: its constants stay in registers. In place on x. */
static void fast_row(const fast_step *step, const int8_t *x, int8_t *y, int32_t channels)
{
    const fast_step f = *step;
    int32_t c;
    if (f.adds) {
        const int32_t signs = f.term_shift > 0 ? -1 : 0; /* With shift 0 nothing is rounded a second time. */
        for (c = 0; c < channels; c++) {
            const int32_t value = (x[c] + f.input_offset) * (INT32_C(1) << 21);
            const int32_t term = kt_add_high_product(value, f.term_multiplier, f.term_half) + ((value >> 31) & signs);
            const int32_t sum = (term >> f.term_shift) + f.constants[c];
            const int32_t scaled = (kt_add_high_product(2 * sum, f.multiplier, f.half) + (sum >> 31)) >> f.shift;
            y[c] = (int8_t)kt_clamp(scaled, f.low, f.high);
        }
    } else {
        for (c = 0; c < channels; c++) {
            const int32_t product = (x[c] + f.input_offset) * f.constants[c];
            const int32_t high = kt_add_high_product(2 * product, f.multiplier, f.half);
            const int32_t scaled = (high + (product >> 31)) >> f.shift;
            y[c] = (int8_t)kt_clamp(scaled, f.low, f.high);
        }
    }
}

static void any_row(const kt_chain_step *step, const int8_t *x, int8_t *y, int32_t channels)
{
    int32_t c;
    for (c = 0; c < channels; c++) {
        y[c] = kt_chain_element(step, x[c], step->constants[c]);
    }
}

void kt_elementwise_chain_s8(const kt_elementwise_chain_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->count, channels = params->channels;
    kt_chain_step steps[KT_CHAIN_STEPS];
    fast_step fast[KT_CHAIN_STEPS];
    int is_prepared[KT_CHAIN_STEPS];
    int32_t row, i;
    kt_chain_steps(params, steps);
    for (i = 0; i < count; i++) {
        is_prepared[i] = prepared(&steps[i], &fast[i]);
    }
    for (row = 0; row < params->rows; row++, x += channels, y += channels) {
        const int8_t *from = x;
        for (i = 0; i < count; i++, from = y) {
            if (is_prepared[i]) {
                fast_row(&fast[i], from, y, channels);
            } else {
                any_row(&steps[i], from, y, channels);
            }
        }
    }
}

#endif
