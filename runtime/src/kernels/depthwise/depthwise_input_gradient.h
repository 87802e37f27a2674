/* depthwise_input_gradient.h: the frozen sums of a depthwise convolution's input gradient, position by position. */
#ifndef KT_DEPTHWISE_INPUT_GRADIENT_H
#define KT_DEPTHWISE_INPUT_GRADIENT_H

#include "kt/kernels/depthwise.h"
#include "../../product/short_blocks.h"
#include "../convolution/input_gradient.h"

/* Results that a variant may compute at once, in a byte of scratch each: of a row, or of two rows. */
enum { KT_DEPTHWISE_COLUMNS = 16 };

#if KT_SMALL_DSP
/* row[k] += G'[k] * weights[k] of `count` channels, a multiple of 4; m: their pre-scale factors, p: the shift */
static __attribute__((noinline)) void kt_add_scaled_row(const int8_t *g, const int8_t *weights, const int16_t *m, int32_t *row, int32_t p,
                                                        int32_t count)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (p - 1));
    int32_t shift = p + (count / 4 - 1) * 256; /* shifts by a register read its low byte: the others count */
    int32_t even, odd, first, second, factors, word, sum;
    __asm__ volatile("1:\n\t"
                     "ldr %[even], [%[g]], #4\n\t"
                     "ldr %[factors], [%[m]], #4\n\t"
                     "sxtb16 %[odd], %[even], ror #8\n\t"
                     "sxtb16 %[even], %[even]\n\t"
                     "smlabb %[first], %[even], %[factors], %[half]\n\t"
                     "smlabt %[second], %[odd], %[factors], %[half]\n\t"
                     "ldr %[factors], [%[m]], #4\n\t"
                     "asr %[first], %[first], %[shift]\n\t"
                     "asr %[second], %[second], %[shift]\n\t"
                     "smlatb %[even], %[even], %[factors], %[half]\n\t"
                     "smlatt %[odd], %[odd], %[factors], %[half]\n\t"
                     "ldr %[word], [%[weights]], #4\n\t"
                     "asr %[even], %[even], %[shift]\n\t"
                     "asr %[odd], %[odd], %[shift]\n\t"
                     "sxtb16 %[factors], %[word], ror #8\n\t"
                     "sxtb16 %[word], %[word]\n\t"
                     "ldr %[sum], [%[row]]\n\t"
                     "smlabb %[sum], %[first], %[word], %[sum]\n\t"
                     "ldr %[first], [%[row], #4]\n\t"
                     "smlabb %[second], %[second], %[factors], %[first]\n\t"
                     "strd %[sum], %[second], [%[row]], #8\n\t"
                     "ldrd %[first], %[second], [%[row]]\n\t"
                     "smlabt %[first], %[even], %[word], %[first]\n\t"
                     "smlabt %[second], %[odd], %[factors], %[second]\n\t"
                     "strd %[first], %[second], [%[row]], #8\n\t"
                     "subs %[shift], %[shift], #256\n\t"
                     "bge 1b"
                     : [g] "+r"(g), [weights] "+r"(weights), [m] "+r"(m), [row] "+r"(row), [shift] "+r"(shift), [even] "=&r"(even),
                       [odd] "=&r"(odd), [first] "=&r"(first), [second] "=&r"(second), [factors] "=&r"(factors), [word] "=&r"(word),
                       [sum] "=&r"(sum)
                     : [half] "r"(half)
                     : "cc", "memory");
}
#else
/* The same of any count. */
static inline void kt_add_scaled_row(const int8_t *g, const int8_t *weights, const int16_t *m, int32_t *row, int32_t p, int32_t count)
{
    const int32_t half = (int32_t)(UINT32_C(1) << (p - 1));
    for (; count > 0; count--) {
        *row++ += ((*g++ * *m++ + half) >> p) * *weights++;
    }
}
#endif

/* row[k] = sum over the windows that cover (y, x), and over the results c of channel k, of G'[c] * weights[tap, c]. */
static inline void kt_depthwise_gather(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                       const kt_gain *gain, int32_t y, int32_t x, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    kt_meeting_walk walk = kt_meetings_of(y, x);
    kt_meeting meeting;
    memset(row, 0, (size_t)window->input[KT_CHANNELS] * sizeof *row);
    while (kt_next_meeting(window, &walk, &meeting)) {
        const int8_t *gradient = g + meeting.position * channels;
        const int8_t *weights = params->weights + meeting.tap * channels;
        int32_t c = 0;
        int32_t k = 0;
        int32_t copy;
#if KT_SMALL_DSP
        if ((gain == NULL || gain->codes == NULL) && params->depth_multiplier == 1 && channels >= 4) {
            k = c = channels & ~3;
            kt_add_scaled_row(gradient, weights, params->prescale, row, params->prescale_shift, k);
        }
#else
        if ((gain == NULL || gain->codes == NULL) && params->depth_multiplier == 1) {
            kt_add_scaled_row(gradient, weights, params->prescale, row, params->prescale_shift, channels);
            continue;
        }
#endif
        for (; k < window->input[KT_CHANNELS]; k++) {
            int32_t sum = row[k];
            for (copy = 0; copy < params->depth_multiplier; copy++, c++) {
                const int32_t m = kt_gained(params->prescale[c], gain, c);
                sum += kt_prescaled(gradient[c], m, params->prescale_shift) * weights[c];
            }
            row[k] = sum;
        }
    }
}

/* Every position without a delta; row: one sum an input channel. */
static inline void kt_depthwise_input_gradient_walk(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                                    int8_t *dx, int32_t *row)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    int32_t y, x;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            kt_depthwise_gather(params, g, NULL, y, x, row);
            kt_round_block(row, params->shift, channels, result);
        }
    }
}

#endif
