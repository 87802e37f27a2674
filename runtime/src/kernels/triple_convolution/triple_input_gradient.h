/* triple_input_gradient.h: gradients of convolutions to their input from the bytes that inference reads (product/triple_backward.h).
 *
 * Four positions of a row that meet the same taps, neighbours or a stride apart, are computed at once, a block of input channels after the
 * other. For each tap that a window has, and a part of the output channels at a time, their scaled gradients make a panel. All is on the
 * stack. */
#ifndef KT_TRIPLE_INPUT_GRADIENT_H
#define KT_TRIPLE_INPUT_GRADIENT_H

#include "kt/kernels/triple_convolution.h"
#include "../../product/triple_backward.h"
#include "../convolution/path_gradient.h"
#include "triple_shares.h"

/* Output channels of a panel, and input channels at once where nothing is added to them: fewer where boards have 2 KB of stack. */
#if KT_ARMV6M
enum { KT_PART = 32, KT_BLOCK = 32 };
#else
enum { KT_PART = 32, KT_BLOCK = 64 };
#endif

/* Four positions of row y: x, and three of `step` columns more, of which `count` exist. */
typedef struct {
    int32_t y, x, step, count;
} kt_four_positions;

/* Sums of a block of input channels, without what the offset of the weights adds; totals: of the gradients of each position. single: the first
 * position alone exists. */
typedef struct {
    int single;
    uint32_t totals[KT_BACKWARD_POSITIONS];
    int32_t panel[KT_BACKWARD_POSITIONS * KT_PART];
    uint32_t *sums;
} kt_backward_sums;

static const int8_t kt_no_gradients[KT_PART] = {0};

/* Scaled gradients of `count` channels, at most KT_PART, filled up to an even number. g: of each position from `first` on. Returns the end. */
static inline const int32_t *kt_scale_part(const kt_triple_input_gradient_params *params, const int8_t *const g[KT_BACKWARD_POSITIONS],
                                           int32_t first, int32_t count, kt_backward_sums *sums)
{
    const int16_t *const prescale = params->prescale + first;
    const int8_t *const a = g[0], *const b = g[1], *const c = g[2], *const d = g[3];
    const int32_t shift = params->prescale_shift, half = (int32_t)(UINT32_C(1) << (shift - 1));
    int32_t *panel = sums->panel;
    uint32_t totals[KT_BACKWARD_POSITIONS];
    int32_t i;
    memcpy(totals, sums->totals, sizeof totals);
    for (i = 0; i < count; i++, panel += KT_BACKWARD_POSITIONS) {
        const int32_t m = prescale[i];
        panel[0] = (a[i] * m + half) >> shift;
        panel[1] = (b[i] * m + half) >> shift;
        panel[2] = (c[i] * m + half) >> shift;
        panel[3] = (d[i] * m + half) >> shift;
        totals[0] += (uint32_t)panel[0];
        totals[1] += (uint32_t)panel[1];
        totals[2] += (uint32_t)panel[2];
        totals[3] += (uint32_t)panel[3];
    }
    memcpy(sums->totals, totals, sizeof totals);
    if (count & 1) {
        memset(panel, 0, KT_BACKWARD_POSITIONS * sizeof *panel);
        panel += KT_BACKWARD_POSITIONS;
    }
    return panel;
}

/* kt_triple_back of one position, as of a dense layer: two channels after the other, and none whose gradients are 0. Values are a multiple of 4. */
static __attribute__((noinline, unused)) void kt_single_back(const kt_triple_backward *product)
{
    const uint32_t *const end = product->end;
    const uint8_t *weights = product->weights;
    const int32_t *panel;
    for (panel = product->panel; panel != product->panel_end; panel += 2 * KT_BACKWARD_POSITIONS, weights += product->step) {
        const uint32_t a = (uint32_t)panel[0], b = (uint32_t)panel[KT_BACKWARD_POSITIONS];
        const uint8_t *w = weights;
        uint32_t *sum = product->sums;
        for (; sum != end && (a | b) != 0; sum += 4 * KT_BACKWARD_POSITIONS, w += 8) {
            sum[0] += w[0] * a + w[1] * b;
            sum[KT_BACKWARD_POSITIONS] += w[2] * a + w[3] * b;
            sum[2 * KT_BACKWARD_POSITIONS] += w[4] * a + w[5] * b;
            sum[3 * KT_BACKWARD_POSITIONS] += w[6] * a + w[7] * b;
        }
    }
}

/* A part of the output channels, from `first` on, to `count` values of the window from `value` on. */
static inline void kt_multiply_part(const kt_triple_input_gradient_params *params, int32_t first, const int32_t *panel_end, int32_t value,
                                    int32_t count, kt_backward_sums *sums)
{
    const int32_t even = (params->window.output[KT_CHANNELS] + 1) & -2;
    uint32_t *block = sums->sums;
    while (count > 0) { /* a chunk of the stream after the other */
        const int32_t chunk = value < params->chunk ? 0 : value / params->chunk * params->chunk;
        const int32_t length = kt_minimum(params->chunk, params->length - chunk);
        const int32_t values = kt_minimum(count, chunk + length - value);
        const uint8_t *const weights = (const uint8_t *)params->stream + chunk * even + first * length + 2 * (value - chunk);
        const kt_triple_backward product = {block, block + KT_BACKWARD_POSITIONS * values, sums->panel, weights, 2 * length, panel_end};
#if KT_VECTOR
        kt_triple_back(&product);
#else
        if (sums->single) {
            kt_single_back(&product);
        } else {
            kt_triple_back(&product);
        }
#endif
        block += KT_BACKWARD_POSITIONS * values;
        value += values;
        count -= values;
    }
}

/* One tap of the four windows: g, of each position. */
static inline void kt_back_tap(const kt_triple_input_gradient_params *params, const int8_t *const g[KT_BACKWARD_POSITIONS], int32_t tap,
                               int32_t first, int32_t count, kt_backward_sums *sums)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    int32_t c, i;
    for (c = 0; c < channels; c += KT_PART) {
        const int8_t *part[KT_BACKWARD_POSITIONS];
        const int32_t *end;
        for (i = 0; i < KT_BACKWARD_POSITIONS; i++) {
            part[i] = g[i] == NULL ? kt_no_gradients : g[i] + c;
        }
        end = kt_scale_part(params, part, c, kt_minimum(channels - c, KT_PART), sums);
        kt_multiply_part(params, c, end, tap * depth + first, count, sums);
    }
}

/* The sums of input channels [first, first + count) at four positions. */
static inline void kt_back_windows(const kt_triple_input_gradient_params *params, const int8_t *g, const kt_four_positions *at, int32_t first,
                                   int32_t count, kt_backward_sums *sums)
{
    const kt_window *const window = &params->window;
    int32_t ky, kx, i;
    kt_clear_words(sums->sums, KT_BACKWARD_POSITIONS * count);
    memset(sums->totals, 0, sizeof sums->totals);
    sums->single = at->count == 1;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        const int32_t oy = kt_output_at(window, KT_Y, at->y, ky);
        for (kx = 0; kx < window->kernel[KT_X] && oy >= 0; kx++) {
            const int8_t *met[KT_BACKWARD_POSITIONS];
            int32_t any = 0;
            for (i = 0; i < KT_BACKWARD_POSITIONS; i++) {
                const int32_t ox = i < at->count ? kt_output_at(window, KT_X, at->x + i * at->step, kx) : -1;
                met[i] = ox < 0 ? NULL : g + (oy * window->output[KT_X] + ox) * window->output[KT_CHANNELS];
                any |= ox >= 0;
            }
            if (any) {
                kt_back_tap(params, met, ky * window->kernel[KT_X] + kx, first, count, sums);
            }
        }
    }
}

/* Whether a path of rank 4 at most has shares in the short form, at the one place that a pointwise window reads; scales them. */
KT_INLINE int kt_has_short_shares(const kt_window *window, const kt_path *path, kt_shares *shares)
{
    if (path == NULL || path->channels > KT_FOUR_RANKS || path->rows != NULL || !kt_is_pointwise(window) || path->shift > KT_MOST_SHORT_LEFT) {
        return 0;
    }
    shares->multiplier = path->multiplier;
    shares->start = 0;
    kt_scale_shares(shares, -path->shift);
    return 1;
}

/* What makes results of four positions: where the weights of the path's four values lie, `depth` apart; the scale of shares; bytes from a result
 * to the next; shifts, of shares in the lowest byte, of totals in the next one. */
typedef struct {
    const int8_t *weights;
    int32_t depth;
    int32_t multiplier, addend, shifts;
    int32_t step;
    int32_t negative;
} kt_shared_results;

enum { KT_SHARED_WORDS = KT_FOUR_RANKS + 1 };

/* Results of one input channel at four positions. u: [positions][KT_SHARED_WORDS], the gradient of the path, KT_CODE_UNIT times as large, and
 * what the sums lack. */
#if KT_SHARES_ARMV7M
#define KT_FOUR_SHARED(finish) \
    "push {r4-r11, lr}\n\t" \
    "ldm r3, {r4-r9}\n\t" \
    "ldrsb r3, [r4]\n\t" "ldrsb r11, [r4, r5]\n\t" "ldrsb r12, [r4, r5, lsl #1]\n\t" \
    "add r4, r5\n\t" "ldrsb r5, [r4, r5, lsl #1]\n\t" "mov r4, r12\n\t" \
    ".rept 4\n\t" \
    "ldrd r12, lr, [r0], #8\n\t" "mul r12, r12, r3\n\t" "mla r12, lr, r11, r12\n\t" \
    "ldr lr, [r0], #4\n\t" "mla r12, lr, r4, r12\n\t" \
    "ldr lr, [r0], #4\n\t" "mla r12, lr, r5, r12\n\t" \
    "mov lr, #0x80000000\n\t" \
    finish \
    "ldr lr, [r0], #4\n\t" "ldr r10, [r1], #4\n\t" "add lr, r10\n\t" \
    "adds r12, r12, lr\n\t" \
    "bvc 1f\n\t" \
    "asr r12, r12, #31\n\t" "eor r12, r12, #0x80000000\n\t" /* saturated */ \
    "1:\n\t" \
    "lsr lr, r8, #8\n\t" \
    "asr r12, lr\n\t" "add r12, #1\n\t" "asr r12, r12, #1\n\t" \
    "ssat r12, #8, r12\n\t" "cmn r12, #128\n\t" "it eq\n\t" "mvneq r12, #126\n\t" \
    "strb r12, [r2]\n\t" "add r2, r9\n\t" \
    ".endr\n\t" \
    "pop {r4-r11, pc}\n\t"
#define KT_SHARED_FUNCTION(name, finish) \
    static __attribute__((naked, noinline, unused)) void name(const int32_t *u __attribute__((unused)), const uint32_t *sums __attribute__((unused)), \
                                                              int8_t *result __attribute__((unused)), \
                                                              const kt_shared_results *shared __attribute__((unused))) \
    { \
        __asm__ volatile(KT_FOUR_SHARED(finish)); \
    }
KT_SHARED_FUNCTION(kt_four_shared_right, "add r10, r7, r12, asr #31\n\t" "smlal lr, r10, r12, r6\n\t" "asr r12, r10, r8\n\t")
KT_SHARED_FUNCTION(kt_four_shared_left, "mov r10, #0\n\t" "smlal lr, r10, r12, r6\n\t" "mov r12, r10\n\t")

KT_INLINE void kt_four_shared(const int32_t *u, const uint32_t *sums, int8_t *result, const kt_shared_results *shared)
{
    if (shared->negative != 0) {
        kt_four_shared_right(u, sums, result, shared);
    } else {
        kt_four_shared_left(u, sums, result, shared);
    }
}
#else
static __attribute__((noinline, unused)) void kt_four_shared(const int32_t *u, const uint32_t *sums, int8_t *result,
                                                             const kt_shared_results *shared)
{
    const int8_t *const a = shared->weights;
    const int32_t depth = shared->depth, b0 = a[0], b1 = a[depth], b2 = a[2 * depth], b3 = a[3 * depth];
    const int32_t multiplier = shared->multiplier, addend = shared->addend, negative = -shared->negative;
    const int32_t shift = shared->shifts & 255, down = shared->shifts >> 8, step = shared->step;
    const int32_t *const end = u + KT_BACKWARD_POSITIONS * KT_SHARED_WORDS;
    for (; u != end; u += KT_SHARED_WORDS, result += step) {
        const int32_t high = kt_high_of_codes(b0 * u[0] + b1 * u[1] + b2 * u[2] + b3 * u[3], multiplier);
        const int32_t share = (high + addend + ((high >> 31) & negative)) >> shift;
        const int32_t total = kt_add_saturated((int32_t)(*sums++ + (uint32_t)u[KT_FOUR_RANKS]), share);
        *result = kt_saturate8(((total >> down) + 1) >> 1);
    }
}
#endif

/* Four positions of a path of rank 4. */
static inline void kt_finish_four(const kt_triple_input_gradient_params *params, const kt_path *path, const kt_shares *shares,
                                  const kt_four_positions *at, int32_t first, int32_t count, const kt_backward_sums *sums, int8_t *dx)
{
    const int32_t depth = params->window.input[KT_CHANNELS], position = at->y * params->window.input[KT_X] + at->x;
    const int32_t unit = KT_CODE_UNIT << kt_maximum(path->shift, 0);
    const uint32_t *sum = sums->sums;
    int8_t *result = dx + position * depth + first;
    kt_shared_results shared = {path->weights + first, depth, shares->multiplier, shares->addend, shares->shift | (params->shift - 1) << 8,
                                at->step * depth, shares->negative};
    int32_t u[KT_BACKWARD_POSITIONS * KT_SHARED_WORDS];
    int32_t i, j;
    for (i = 0; i < KT_BACKWARD_POSITIONS; i++) {
        const int8_t *const codes = path->gradient + (position + i * at->step) * KT_FOUR_RANKS;
        for (j = 0; j < KT_FOUR_RANKS; j++) {
            u[KT_SHARED_WORDS * i + j] = unit * codes[j];
        }
        u[KT_SHARED_WORDS * i + KT_FOUR_RANKS] = (int32_t)(0U - (sums->totals[i] << 7));
    }
    for (; count > 0; count--, shared.weights++, sum += KT_BACKWARD_POSITIONS, result++) {
        kt_four_shared(u, sum, result, &shared);
    }
}

/* Results of a block to which such shares are added. */
static inline void kt_finish_shares(const kt_triple_input_gradient_params *params, const kt_path *path, kt_shares *shares, const kt_four_positions *at,
                                    int32_t first, int32_t count, const kt_backward_sums *sums, int8_t *dx)
{
    const int32_t depth = params->window.input[KT_CHANNELS], rank = path->channels, left = kt_maximum(path->shift, 0), shift = params->shift;
    const int32_t position = at->y * params->window.input[KT_X] + at->x, step = at->step * depth;
    const int8_t *a = path->weights + first;
    const uint32_t *sum = sums->sums;
    int8_t *result = dx + position * depth + first;
    int32_t u[KT_BACKWARD_POSITIONS * KT_FOUR_RANKS];
    int32_t i, j, k;
    for (i = 0; i < KT_BACKWARD_POSITIONS; i++) {
        const int8_t *const codes = path->gradient + (position + (i < at->count ? i * at->step : 0)) * rank;
        for (j = 0; j < KT_FOUR_RANKS; j++) {
            u[KT_FOUR_RANKS * i + j] = j < rank ? KT_CODE_UNIT * codes[j] : 0;
        }
    }
    for (j = rank; j < KT_FOUR_RANKS; j++) {
        shares->b[j] = 0;
    }
    for (k = 0; k < count; k++, a++, result++, sum += KT_BACKWARD_POSITIONS) {
        int32_t added[KT_BACKWARD_POSITIONS];
        for (j = 0; j < rank; j++) {
            shares->b[j] = a[j * depth] * (INT32_C(1) << left);
        }
        kt_four_shares(u, shares, added);
        for (i = 0; i < at->count; i++) {
            const int32_t total = kt_add_saturated((int32_t)(sum[i] - (sums->totals[i] << 7)), added[i] >> KT_START_BITS);
            result[i * step] = kt_saturate8(((total >> (shift - 1)) + 1) >> 1);
        }
    }
}

/* Results of one position, at most KT_GATHER_BLOCK, to which a path of any kind adds; offset: what each sum has too much. */
static inline void kt_finish_path(const kt_triple_input_gradient_params *params, const kt_path *path, const kt_four_positions *at, int32_t first,
                                  int32_t count, const uint32_t *sums, uint32_t offset, int8_t *result)
{
    const int32_t shift = params->shift;
    int32_t row[KT_GATHER_BLOCK];
    int32_t k;
    for (k = 0; k < count; k++) {
        row[k] = (int32_t)(sums[KT_BACKWARD_POSITIONS * k] - offset);
    }
    kt_add_path(&params->window, path, row, at->y, at->x, first, count);
    for (k = 0; k < count && shift > 1 && shift < 32; k++) {
        result[k] = kt_saturate8(((row[k] >> (shift - 1)) + 1) >> 1);
    }
    for (; k < count; k++) {
        result[k] = kt_saturate8(kt_shift_round(row[k], shift));
    }
}

/* Results of a block; path: NULL where nothing trained adds to the sums. */
KT_INLINE void kt_finish_back(const kt_triple_input_gradient_params *params, const kt_path *path, const kt_four_positions *at, int32_t first,
                              int32_t count, const kt_backward_sums *sums, int8_t *dx)
{
    const kt_window *const window = &params->window;
    const int32_t shift = params->shift;
    kt_shares shares;
    int32_t i, k;
    if (shift > 1 && shift < 32 && kt_has_short_shares(window, path, &shares)) {
        if (path->channels == KT_FOUR_RANKS && at->count == KT_BACKWARD_POSITIONS) {
            kt_finish_four(params, path, &shares, at, first, count, sums, dx);
        } else {
            kt_finish_shares(params, path, &shares, at, first, count, sums, dx);
        }
        return;
    }
    for (i = 0; i < at->count; i++) {
        const int32_t x = at->x + i * at->step;
        int8_t *const result = dx + (at->y * window->input[KT_X] + x) * window->input[KT_CHANNELS] + first;
        const uint32_t offset = sums->totals[i] << 7;
        const uint32_t *const sum = sums->sums + i;
        if (path != NULL) {
            for (k = 0; k < count; k += KT_GATHER_BLOCK) {
                const kt_four_positions one = {at->y, x, 0, 1};
                kt_finish_path(params, path, &one, first + k, kt_minimum(count - k, KT_GATHER_BLOCK), sum + KT_BACKWARD_POSITIONS * k, offset,
                               result + k);
            }
        } else if (shift > 1 && shift < 32) {
            for (k = 0; k < count; k++) {
                const int32_t halves = (int32_t)(sum[KT_BACKWARD_POSITIONS * k] - offset) >> (shift - 1);
                result[k] = kt_saturate8((halves + 1) >> 1);
            }
        } else {
            for (k = 0; k < count; k++) {
                result[k] = kt_saturate8(kt_shift_round((int32_t)(sum[KT_BACKWARD_POSITIONS * k] - offset), shift));
            }
        }
    }
}

/* All input channels at four positions; results are written when all of g that they need was read. */
KT_INLINE void kt_back_four(const kt_triple_input_gradient_params *params, const kt_path *path, const int8_t *g, const kt_four_positions *at,
                            uint32_t *block, int8_t *dx)
{
    const int32_t depth = params->window.input[KT_CHANNELS];
    int32_t first;
    for (first = 0; first < depth; first += KT_BLOCK) {
        const int32_t count = kt_minimum(depth - first, KT_BLOCK);
        kt_backward_sums sums;
        sums.sums = block;
        kt_back_windows(params, g, at, first, count, &sums);
        kt_finish_back(params, path, at, first, count, &sums, dx);
    }
}

/* block: words for the sums of as many input channels as are computed at once. */
KT_INLINE void kt_triple_gradient(const kt_triple_input_gradient_params *given, const kt_path *path, const int8_t *g, uint32_t *block, int8_t *dx)
{
    kt_triple_input_gradient_params params = *given;
    kt_window *const window = &params.window;
    const int32_t direction = kt_direction(g, dx);
    const int32_t stride = window->stride[KT_X], group = KT_BACKWARD_POSITIONS * stride;
    int32_t y, x, phase;
    if (kt_is_pointwise(window)) { /* one row of all positions */
        window->input[KT_X] *= window->input[KT_Y];
        window->input[KT_Y] = 1;
        window->output[KT_X] = window->input[KT_X];
        window->output[KT_Y] = 1;
    }
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        const int32_t width = window->input[KT_X];
        for (x = direction > 0 ? 0 : (width - 1) / group * group; kt_within(x, width); x += direction * group) {
            for (phase = 0; phase < kt_minimum(stride, width - x); phase++) {
                const int32_t left = width - x - phase;
                const kt_four_positions at = {y, x + phase, stride, kt_minimum(kt_divide_up(left, stride), KT_BACKWARD_POSITIONS)};
                kt_back_four(&params, path, g, &at, block, dx);
            }
        }
    }
}

#endif
