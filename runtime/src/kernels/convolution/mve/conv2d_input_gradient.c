/* kt_conv2d_input_gradient_s8 on cores with Helium: two neighbouring positions and twelve input channels at a time, so that
 * weights, which are neighbours along the input channels, are loaded once for both; or from transposed weights. The formula and its
 * roundings are those of ../conv2d_input_gradient.c.
 *
 * Pre-scaled gradients of the two windows that a tap meets wait in pairs; a window that is not there is a gradient of 0. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include "../conv2d_input_gradient.h"
#include "transposed_gradient.h"

enum {
    BLOCK = 12,      /* input channels whose sums are registers */
    INPUTS = 96,     /* input channels whose sums are kept: a multiple of BLOCK */
    OUTPUTS = 64     /* output channels whose pre-scaled gradients are kept */
};

/* A layer, and sums of some input channels at two positions. */
typedef struct {
    const kt_conv2d_input_gradient_params *params;
    int32_t step;                   /* weights from an output channel to the next */
    int32_t first, count;           /* input channels */
    int32_t sums[2][INPUTS + 3];    /* whole vectors are kept */
    int32_t pairs[OUTPUTS][2];
} state;

/* Pre-scaled gradients of `count` output channels from c on; g: of the windows at both positions, NULL for one that is not there. */
static void prescale(state *s, const int8_t *const g[2], int32_t c, int32_t count)
{
    const kt_conv2d_input_gradient_params *params = s->params;
    const int32_t p = params->prescale_shift;
    const int8_t *first = g[0] == NULL ? g[1] : g[0];
    const int8_t *second = g[1] == NULL ? g[0] : g[1];
    const int32x4_t present0 = vdupq_n_s32(g[0] == NULL ? 0 : -1);
    const int32x4_t present1 = vdupq_n_s32(g[1] == NULL ? 0 : -1);
    int32_t j;
    for (j = 0; j + 4 <= count; j += 4) {
        const int32x4_t m = vldrhq_s32(params->prescale + c + j);
        int32x4x2_t both;
        both.val[0] = vandq_s32(vrshlq_n_s32(vmulq_s32(vldrbq_s32(first + c + j), m), -p), present0);
        both.val[1] = vandq_s32(vrshlq_n_s32(vmulq_s32(vldrbq_s32(second + c + j), m), -p), present1);
        vst2q_s32(s->pairs[j], both);
    }
    for (; j < count; j++) {
        s->pairs[j][0] = g[0] == NULL ? 0 : kt_prescaled(g[0][c + j], params->prescale[c + j], p);
        s->pairs[j][1] = g[1] == NULL ? 0 : kt_prescaled(g[1][c + j], params->prescale[c + j], p);
    }
}

/* sums += pairs * weights for twelve input channels. w: of the first output channel. Assembly, because gcc has no loop without
 * an instruction to count it that keeps six sums in registers. */
static inline void add_twelve(int32_t (*pairs)[2], const int8_t *w, int32_t step, int32_t count, int32_t *sums0,
                              int32_t *sums1)
{
    int32_t g0, g1;
    __asm__ volatile("vldrw.32 q0, [%[sums0]]\n\t"
                     "vldrw.32 q1, [%[sums1]]\n\t"
                     "vldrw.32 q2, [%[sums0], #16]\n\t"
                     "vldrw.32 q3, [%[sums1], #16]\n\t"
                     "vldrw.32 q4, [%[sums0], #32]\n\t"
                     "vldrw.32 q5, [%[sums1], #32]\n\t"
                     "dls lr, %[count]\n"
                     "1:\n\t"
                     "ldrd %[g0], %[g1], [%[pairs]], #8\n\t"    /* one output channel at both positions */
                     "vldrb.s32 q6, [%[w]]\n\t"                /* its weights to four input channels */
                     "vldrb.s32 q7, [%[w], #4]\n\t"            /* to four more */
                     "vmla.s32 q0, q6, %[g0]\n\t"
                     "vmla.s32 q1, q6, %[g1]\n\t"
                     "vldrb.s32 q6, [%[w], #8]\n\t"            /* to the last four */
                     "vmla.s32 q2, q7, %[g0]\n\t"
                     "vmla.s32 q3, q7, %[g1]\n\t"
                     "add %[w], %[w], %[step]\n\t"
                     "vmla.s32 q4, q6, %[g0]\n\t"
                     "vmla.s32 q5, q6, %[g1]\n\t"
                     "le lr, 1b\n\t"
                     "vstrw.32 q0, [%[sums0]]\n\t"
                     "vstrw.32 q1, [%[sums1]]\n\t"
                     "vstrw.32 q2, [%[sums0], #16]\n\t"
                     "vstrw.32 q3, [%[sums1], #16]\n\t"
                     "vstrw.32 q4, [%[sums0], #32]\n\t"
                     "vstrw.32 q5, [%[sums1], #32]\n"
                     : [pairs] "+r"(pairs), [w] "+l"(w), [g0] "=&r"(g0), [g1] "=&r"(g1)
                     : [step] "r"(step), [count] "r"(count), [sums0] "r"(sums0), [sums1] "r"(sums1)
                     : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory");
}

/* The same for four. */
static inline void add_four(int32_t (*pairs)[2], const int8_t *w, int32_t step, int32_t count, int32_t *sums0,
                            int32_t *sums1)
{
    int32_t g0, g1;
    __asm__ volatile("vldrw.32 q0, [%[sums0]]\n\t"
                     "vldrw.32 q1, [%[sums1]]\n\t"
                     "dls lr, %[count]\n"
                     "1:\n\t"
                     "ldrd %[g0], %[g1], [%[pairs]], #8\n\t"
                     "vldrb.s32 q2, [%[w]]\n\t"
                     "add %[w], %[w], %[step]\n\t"
                     "vmla.s32 q0, q2, %[g0]\n\t"
                     "vmla.s32 q1, q2, %[g1]\n\t"
                     "le lr, 1b\n\t"
                     "vstrw.32 q0, [%[sums0]]\n\t"
                     "vstrw.32 q1, [%[sums1]]\n"
                     : [pairs] "+r"(pairs), [w] "+l"(w), [g0] "=&r"(g0), [g1] "=&r"(g1)
                     : [step] "r"(step), [count] "r"(count), [sums0] "r"(sums0), [sums1] "r"(sums1)
                     : "lr", "q0", "q1", "q2", "memory");
}

/* The same for fewer, those in `lanes`. */
static void add_rest(int32_t (*pairs)[2], const int8_t *w, int32_t step, int32_t count, int32_t *sums0,
                            int32_t *sums1, mve_pred16_t lanes)
{
    int32x4_t a = vldrwq_s32(sums0);
    int32x4_t b = vldrwq_s32(sums1);
    for (; count > 0; count--, pairs++, w += step) {
        const int32x4_t weights = vldrbq_z_s32(w, lanes);
        a = vmlaq_n_s32(a, weights, (*pairs)[0]);
        b = vmlaq_n_s32(b, weights, (*pairs)[1]);
    }
    vstrwq_s32(sums0, a);
    vstrwq_s32(sums1, b);
}

/* Adds what one tap brings; w: its weights to the first of the input channels, of output channel 0. */
static void add_tap(state *s, const int8_t *const g[2], const int8_t *w)
{
    const int32_t channels = s->params->window.output[KT_CHANNELS];
    int32_t c, k;
    for (c = 0; c < channels; c += OUTPUTS) {
        const int32_t count = kt_minimum(channels - c, OUTPUTS);
        const int8_t *weights = w + c * s->step;
        prescale(s, g, c, count);
        for (k = 0; k + BLOCK <= s->count; k += BLOCK) {
            add_twelve(s->pairs, weights + k, s->step, count, s->sums[0] + k, s->sums[1] + k);
        }
        for (; k + 4 <= s->count; k += 4) {
            add_four(s->pairs, weights + k, s->step, count, s->sums[0] + k, s->sums[1] + k);
        }
        if (k < s->count) {
            const mve_pred16_t lanes = vctp32q((uint32_t)(s->count - k));
            add_rest(s->pairs, weights + k, s->step, count, s->sums[0] + k, s->sums[1] + k, lanes);
        }
    }
}

/* Sums of the positions (y, x[0]) and (y, x[1]); x[1] < 0: of one. */
static void gather(state *s, const int8_t *g, int32_t y, const int32_t x[2])
{
    const kt_window *window = &s->params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    int32_t ky, kx, i;
    for (i = 0; i < s->count; i += 4) {
        vstrwq_s32(s->sums[0] + i, vdupq_n_s32(0));
        vstrwq_s32(s->sums[1] + i, vdupq_n_s32(0));
    }
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t oy = kt_output_at(window, KT_Y, y, ky);
        for (kx = 0; oy >= 0 && kx < window->kernel[KT_X]; kx++) {
            const int32_t tap = ky * window->kernel[KT_X] + kx;
            const int8_t *met[2];
            for (i = 0; i < 2; i++) {
                const int32_t ox = x[i] < 0 ? -1 : kt_output_at(window, KT_X, x[i], kx);
                met[i] = ox < 0 ? NULL : g + (oy * window->output[KT_X] + ox) * channels;
            }
            if (met[0] != NULL || met[1] != NULL) {
                add_tap(s, met, s->params->weights + tap * window->input[KT_CHANNELS] + s->first);
            }
        }
    }
}

/* With more input channels than INPUTS a gradient is read again after a part of the results is written, which where they share
 * memory only one position at a time may do. */
static int32_t positions_at_once(const kt_window *window, const int8_t *g, const int8_t *dx)
{
    const int32_t values = window->output[KT_Y] * window->output[KT_X] * window->output[KT_CHANNELS];
    const int32_t results = window->input[KT_Y] * window->input[KT_X] * window->input[KT_CHANNELS];
    const int apart = (uintptr_t)dx >= (uintptr_t)(g + values) || (uintptr_t)g >= (uintptr_t)(dx + results);
    return apart || window->input[KT_CHANNELS] <= INPUTS ? 2 : 1;
}

void kt_conv2d_input_gradient_s8(const kt_conv2d_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t width = window->input[KT_X];
    const int32_t direction = kt_direction(g, dx);
    const int32_t stride = direction * positions_at_once(window, g, dx);
    state s;
    int32_t y, first;
    if (kt_is_transposed(params)) {
        kt_transposed_input_gradient(params, g, dx, NULL, NULL, NULL);
        return;
    }
    s.params = params;
    s.step = kt_kernel_size(window);
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        int32_t x[2];
        for (x[0] = kt_first(direction, width); kt_within(x[0], width); x[0] += stride) {
            x[1] = stride != direction && kt_within(x[0] + direction, width) ? x[0] + direction : -1;
            for (first = 0; first < channels; first += INPUTS) {
                s.first = first;
                s.count = kt_minimum(channels - first, INPUTS);
                gather(&s, g, y, x);
                kt_finish_gradient(s.sums[0], s.count, params->shift, dx + (y * width + x[0]) * channels + first);
                if (x[1] >= 0) {
                    kt_finish_gradient(s.sums[1], s.count, params->shift, dx + (y * width + x[1]) * channels + first);
                }
            }
        }
    }
}
#endif
