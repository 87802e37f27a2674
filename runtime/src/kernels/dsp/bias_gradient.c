/* kt_bias_gradient for the DSP extension: eight channels at once, then four, then one by one.
 *
 * Sums of up to 256 positions fit in 16 bits, since |g| <= 127; they are added to int32 sums on the stack. */
#include "../bias_gradient.h"
#include "kt/architecture.h"

#if KT_DSP

#include "simd.h"

/* FEWEST: with fewer positions the portable loop is faster. */
enum { POSITIONS = 256, FEWEST = 4 };

/* totals[c] += sums, {even, odd} of four channels. */
static void add_sums(int32_t *totals, uint32_t even, uint32_t odd)
{
    totals[0] += (int16_t)even;
    totals[1] += (int16_t)odd;
    totals[2] += (int32_t)even >> 16;
    totals[3] += (int32_t)odd >> 16;
}

static void sum_eight(const int8_t *g, int32_t channels, int32_t positions, int32_t *totals)
{
    uint32_t even0 = 0, odd0 = 0, even1 = 0, odd1 = 0;
    for (; positions >= 2; positions -= 2) {
        const uint32_t a = kt_load_word(g), b = kt_load_word(g + 4);
        const int8_t *const next = g + channels;
        const uint32_t c = kt_load_word(next), d = kt_load_word(next + 4);
        even0 = kt_add_even(kt_add_even(even0, a), c);
        odd0 = kt_add_odd(kt_add_odd(odd0, a), c);
        even1 = kt_add_even(kt_add_even(even1, b), d);
        odd1 = kt_add_odd(kt_add_odd(odd1, b), d);
        g = next + channels;
    }
    if (positions > 0) {
        const uint32_t a = kt_load_word(g), b = kt_load_word(g + 4);
        even0 = kt_add_even(even0, a);
        odd0 = kt_add_odd(odd0, a);
        even1 = kt_add_even(even1, b);
        odd1 = kt_add_odd(odd1, b);
    }
    add_sums(totals, even0, odd0);
    add_sums(totals + 4, even1, odd1);
}

static void sum_four(const int8_t *g, int32_t channels, int32_t positions, int32_t *totals)
{
    uint32_t even = 0, odd = 0;
    for (; positions > 0; positions--, g += channels) {
        const uint32_t word = kt_load_word(g);
        even = kt_add_even(even, word);
        odd = kt_add_odd(odd, word);
    }
    add_sums(totals, even, odd);
}

void kt_bias_gradient(const kt_bias_gradient_params *params, const int8_t *g, const int32_t *exponent,
                      float *accumulator)
{
    const float scale = kt_gradient_scale(params->scale, *exponent);
    const int32_t channels = params->channels;
    const int32_t whole = params->positions < FEWEST ? 0 : channels & ~3;
    int32_t c = 0;
    while (c < whole) {
        const int32_t count = whole - c >= 8 ? 8 : 4;
        int32_t totals[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        int32_t position, i;
        for (position = 0; position < params->positions; position += POSITIONS) {
            const int32_t left = kt_minimum(params->positions - position, POSITIONS);
            (count == 8 ? sum_eight : sum_four)(g + position * channels + c, channels, left, totals);
        }
        for (i = 0; i < count; i++) {
            accumulator[c + i] = kt_accumulate(accumulator[c + i], totals[i], scale);
        }
        c += count;
    }
    kt_bias_gradient_of(params, g, scale, accumulator, c, channels);
}

#endif
