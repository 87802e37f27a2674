/* kt_elementwise_chain_s8 for the DSP extension: SMMLAR rounds as the first half of a requantisation does, and adds the half of the
 * second one and the zero point, as in mul.c. A product has 17 bits and a term of a sum 30, so that twice either fits. */
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

static inline int32_t step_of(const fast_step *f, int32_t x, int32_t constant)
{
    int32_t value = x + f->input_offset;
    if (f->adds) {
        value *= INT32_C(1) << 21;
        /* With shift 0 nothing is rounded a second time. */
        value = kt_add_high_product(value, f->term_multiplier, f->term_half) + (f->term_shift > 0 ? value >> 31 : 0);
        value = (value >> f->term_shift) + constant;
    } else {
        value *= constant;
    }
    value = (kt_add_high_product(2 * value, f->multiplier, f->half) + (value >> 31)) >> f->shift;
    return kt_clamp(value, f->low, f->high);
}

void kt_elementwise_chain_s8(const kt_elementwise_chain_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->count, channels = params->channels;
    kt_chain_step steps[KT_CHAIN_STEPS];
    fast_step fast[KT_CHAIN_STEPS];
    int32_t row, c, i, ready = 0;
    kt_chain_steps(params, steps);
    while (ready < count && prepared(&steps[ready], &fast[ready])) {
        ready++;
    }
    for (row = 0; row < params->rows; row++) {
        for (c = 0; c < channels; c++) {
            int32_t value = *x++;
            for (i = 0; i < ready; i++) {
                value = step_of(&fast[i], value, fast[i].constants[c]);
            }
            for (; i < count; i++) {
                value = kt_chain_element(&steps[i], value, steps[i].constants[c]);
            }
            *y++ = (int8_t)value;
        }
    }
}

#endif
