/* kt_weight_gradient for the DSP extension.
 *
 * A panel holds the gradients of four channels at up to 32 positions as pairs of int16, with the offsets of the values under the
 * window there; positions with no gradient are left out. Each pair of such values is then loaded once for four channels, and one
 * instruction adds the products of two positions. Nothing depends on the window but the offsets.
 *
 * With a copy of the image that has its border in scratch, or where no window meets one, all taps of a position follow from one offset: then a panel
 * serves every kernel row, whose values are neighbours.
 *
 * Where a 1x1 layer has fewer inputs than channels (LoRA's B), the panel holds the inputs, and gradients are loaded in pairs. One
 * position (a fully connected layer) is an outer product in float32. */
#include "../weight_gradient.h"
#include "kt/kernels/convolution.h"
#include "kt/architecture.h"

#if KT_DSP

#include "../../dsp/simd.h"
#if KT_MVE
#include "../mve/transposed_weight_gradient.h"
#endif

enum { LANES = 4, PAIRS = 16, SLOTS = 16, FEW_CHANNELS = 8 };

/* Two positions: offsets of their first values, and their gradients of each lane. */
typedef struct {
    int32_t offset[2];
    uint32_t lane[LANES];
} position_pair;

/* One of the two factors: its value at result position (oy, ox) is at first + oy * row + ox * column. */
typedef struct {
    const int8_t *values;
    int32_t first, row, column;
    int32_t count; /* values at a position */
    int32_t offset; /* added to each */
    int32_t step;  /* of the accumulator, from value to value */
} factor;

/* A walk over the result positions whose window has a tap inside the input. */
typedef struct {
    int32_t rows, columns;            /* left */
    int32_t width;                    /* columns of a row */
    const int8_t *values;             /* of the factor in the panel */
    int32_t offset;                   /* of the other one's */
    int32_t value_step, value_skip;   /* to the next column, and from there to the next row */
    int32_t offset_step, offset_skip;
} walk;

/* The values of one factor that are the lanes of a panel. */
typedef struct {
    int32_t index[LANES];
    int32_t count;
    int32_t total[LANES]; /* sums over all positions */
} lanes;

/* -- the panel -------------------------------------------------------------------------------------------- */

/* The lanes' values at one position; lanes that do not exist are 0. */
static uint32_t gathered(const lanes *lane, const int8_t *values)
{
    uint32_t word = 0;
    int32_t i;
    for (i = 0; i < lane->count; i++) {
        word |= (uint32_t)(uint8_t)values[lane->index[i] - lane->index[0]] << (8 * i);
    }
    return word;
}

/* First the bytes of each position are collected, then, from the last to the first, they become pairs. */
typedef struct {
    int32_t offset;
    uint32_t bytes;
} position;

typedef union {
    position position[2 * PAIRS];
    position_pair pair[PAIRS];
} panel;

/* The next positions where a value is not 0 (all: any); returns the end of what it found. */
static __attribute__((noinline)) position *collect(walk *rest, int all, const lanes *lane, position *found)
{
    const int neighbours = lane->count == LANES && lane->index[LANES - 1] - lane->index[0] == LANES - 1;
    const position *const end = found + 2 * PAIRS;
    walk at = *rest;
    while (at.rows > 0) {
        for (; at.columns > 0; at.columns--) {
            const uint32_t bytes = neighbours ? kt_load_word(at.values) : gathered(lane, at.values);
            if (found == end) {
                *rest = at;
                return found;
            }
            if (bytes != 0 || all) {
                found->offset = at.offset;
                found->bytes = bytes;
                found++;
            }
            at.values += at.value_step;
            at.offset += at.offset_step;
        }
        at.rows--;
        at.columns = at.width;
        at.values += at.value_skip;
        at.offset += at.offset_skip;
    }
    *rest = at;
    return found;
}

/* Fills the panel with the next positions, `added` to each value; returns the end of its pairs, of which there are an even number. */
static __attribute__((noinline)) position_pair *fill(walk *rest, int32_t added, lanes *lane, panel *filled)
{
    const uint32_t halves = (uint16_t)added * UINT32_C(0x00010001);
    uint32_t even_total = 0, odd_total = 0; /* fit in 16 bits */
    position *const end = collect(rest, added != 0, lane, filled->position);
    const int32_t count = (int32_t)(end - filled->position);
    const int32_t pairs = (count + 3) / 4 * 2;
    const position none = {filled->position[0].offset, kt_four(-added)};
    int32_t i;
    for (i = count; i < 2 * pairs; i++) {
        filled->position[i] = none;
    }
    for (i = pairs - 1; i >= 0; i--) {
        const position first = filled->position[2 * i], second = filled->position[2 * i + 1];
        const uint32_t even0 = kt_add_halves(kt_even(first.bytes), halves), even1 = kt_add_halves(kt_even(second.bytes), halves);
        const uint32_t odd0 = kt_add_halves(kt_odd(first.bytes), halves), odd1 = kt_add_halves(kt_odd(second.bytes), halves);
        position_pair *const pair = &filled->pair[i];
        even_total = kt_add_halves(kt_add_halves(even_total, even0), even1);
        odd_total = kt_add_halves(kt_add_halves(odd_total, odd0), odd1);
        pair->offset[0] = first.offset;
        pair->offset[1] = second.offset;
        pair->lane[0] = kt_low_halves(even0, even1);
        pair->lane[1] = kt_low_halves(odd0, odd1);
        pair->lane[2] = kt_high_halves(even0, even1);
        pair->lane[3] = kt_high_halves(odd0, odd1);
    }
    lane->total[0] += (int16_t)even_total;
    lane->total[1] += (int16_t)odd_total;
    lane->total[2] += (int32_t)even_total >> 16;
    lane->total[3] += (int32_t)odd_total >> 16;
    return filled->pair + pairs;
}

/* -- products --------------------------------------------------------------------------------------------- */

/* One pair of positions at `at` bytes of the panel; all registers but r0 and r1 are taken:
 * r4..r7 sums of the first value with each lane, r8..r11 of the second. */
#define PAIR(at, first, second) \
    "ldrd r12, lr, [r1, #" at "]\n\t"      /* offsets */ \
    "ldrh r12, [r0, r12]\n\t"              /* two values at the first position */ \
    "ldrh lr, [r0, lr]\n\t"                /* and at the second */ \
    "pkhbt r12, r12, lr, lsl #16\n\t" \
    "sxtb16 lr, r12, ror #8\n\t"           /* second value, both positions */ \
    "sxtb16 r12, r12\n\t"                  /* first value */ \
    "ldrd r2, r3, [r1, #" first "]\n\t"    /* lanes 0 and 1 */ \
    "smlad r4, r12, r2, r4\n\t" \
    "smlad r8, lr, r2, r8\n\t" \
    "smlad r5, r12, r3, r5\n\t" \
    "smlad r9, lr, r3, r9\n\t" \
    "ldrd r2, r3, [r1, #" second "]\n\t"   /* lanes 2 and 3 */ \
    "smlad r6, r12, r2, r6\n\t" \
    "smlad r10, lr, r2, r10\n\t" \
    "smlad r7, r12, r3, r7\n\t" \
    "smlad r11, lr, r3, r11\n\t"

/* sums[0..3] += products of the first value with each lane, sums[4..7] of the second; values: the first one at offset 0. gcc keeps
 * three of the eight sums in memory. */
static __attribute__((naked, noinline)) void add_products(const int8_t *values __attribute__((unused)),
                                                          const position_pair *pair __attribute__((unused)),
                                                          const position_pair *end __attribute__((unused)),
                                                          int32_t *sums __attribute__((unused)))
{
    __asm__ volatile("push {r2-r11, lr}\n\t" /* end at sp, sums behind it */
                     "ldm r3, {r4-r11}\n\t"
                     "1:\n\t"
                     PAIR("0", "8", "16") PAIR("24", "32", "40")
                     "ldr r3, [sp]\n\t"
                     "adds r1, #48\n\t"
                     "cmp r1, r3\n\t"
                     "bne 1b\n\t"
                     "ldr r3, [sp, #4]\n\t"
                     "stm r3, {r4-r11}\n\t"
                     "pop {r2-r11, pc}");
}

/* accumulator += sums of neighbouring values with one lane; sums: of the first slot and this lane */
static void accumulate(const int32_t (*sums)[2 * LANES], int32_t count, int32_t offset, float scale, float *accumulator, int32_t step)
{
    int32_t i;
    for (i = 0; i < count; i++, accumulator += 2 * step) {
        accumulator[0] = kt_accumulate(accumulator[0], sums[i][0] + offset, scale);
        accumulator[step] = kt_accumulate(accumulator[step], sums[i][LANES] + offset, scale);
    }
}

/* The lanes with all values of the stream; accumulator: of the first lane and value. An odd last value is the second of a slot that
 * begins with the value before it. */
static void add_lanes(const walk *all, const factor *side, const factor *stream, lanes *lane, float scale, float *accumulator)
{
    const int32_t slots = (stream->count + 1) / 2;
    const int32_t last = stream->count - 2;
    panel filled;
    int32_t sums[SLOTS][2 * LANES];
    int32_t first, i;
    for (first = 0; first < slots; first += SLOTS) {
        const int32_t count = kt_minimum(slots - first, SLOTS);
        const int32_t whole = kt_minimum(stream->count / 2 - first, count);
        walk at = *all;
        const position_pair *end;
        memset(sums, 0, sizeof sums);
        memset(lane->total, 0, sizeof lane->total);
        at.values += lane->index[0];
        while ((end = fill(&at, side->offset, lane, &filled)) != filled.pair) {
            for (i = 0; i < count; i++) {
                add_products(stream->values + kt_minimum(2 * (first + i), last), filled.pair, end, sums[i]);
            }
        }
        for (i = 0; i < lane->count; i++) {
            float *const row = accumulator + i * side->step + 2 * first * stream->step;
            const int32_t offset = stream->offset * lane->total[i];
            accumulate((const int32_t (*)[2 * LANES])&sums[0][i], whole, offset, scale, row, stream->step);
            if (whole < count) {
                float *const entry = row + 2 * whole * stream->step;
                *entry = kt_accumulate(*entry, sums[whole][LANES + i] + offset, scale);
            }
        }
    }
}

/* The next lanes from value *next on: those that are trained (rows[value] >= 0; NULL: all). */
static lanes next_lanes(const int16_t *rows, int32_t count, int32_t *next)
{
    lanes lane;
    lane.count = 0;
    for (; *next < count && lane.count < LANES; ++*next) {
        if (rows == NULL || rows[*next] >= 0) {
            lane.index[lane.count++] = *next;
        }
    }
    return lane;
}

/* -- windows ---------------------------------------------------------------------------------------------- */

/* All weights of one tap; accumulator: of the first channel. */
static __attribute__((noinline)) void add_tap(const kt_weight_gradient_params *params, int32_t ky, int32_t kx, const int8_t *g, const int8_t *x, float scale,
                    float *accumulator)
{
    const kt_window *window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS], channels = window->output[KT_CHANNELS];
    const int32_t row = window->input[KT_X] * depth;
    const int32_t top = ky * window->dilation[KT_Y] - window->pad[KT_Y];
    const int32_t left = kx * window->dilation[KT_X] - window->pad[KT_X];
    const factor values = {x, top * row + left * depth, window->stride[KT_Y] * row, window->stride[KT_X] * depth,
                           depth, params->input_offset, 1};
    const factor gradients = {g, 0, window->output[KT_X] * channels, channels, channels, 0, kt_kernel_size(window)};
    const int swapped = params->rows == NULL && depth < channels && gradients.step == depth;
    const factor *const side = swapped ? &values : &gradients;
    const factor *const stream = swapped ? &gradients : &values;
    walk all;
    int32_t next = 0;
    int32_t y, end_y, first_x, end_x;
    kt_outputs_of(window, KT_Y, ky, &y, &end_y);
    kt_outputs_of(window, KT_X, kx, &first_x, &end_x);
    all.rows = end_y - y;
    all.width = all.columns = kt_maximum(end_x - first_x, 0);
    all.values = side->values + (side->first + y * side->row + first_x * side->column);
    all.offset = stream->first + y * stream->row + first_x * stream->column;
    all.value_step = side->column;
    all.value_skip = side->row - all.width * side->column;
    all.offset_step = stream->column;
    all.offset_skip = stream->row - all.width * stream->column;
    for (;;) {
        lanes lane = next_lanes(params->rows, side->count, &next);
        if (lane.count == 0) {
            return;
        }
        add_lanes(&all, side, stream, &lane, scale, accumulator);
        accumulator += lane.count * side->step;
    }
}

/* -- whole windows ---------------------------------------------------------------------------------------- */

/* An image without a border: bytes from row to row. */
typedef struct {
    const int8_t *values;
    int32_t line;
} whole_image;

/* Copies x to where every window lies inside, its zero point around it. */
static whole_image with_border(const kt_weight_gradient_params *params, const int8_t *x, int8_t *copy)
{
    const kt_window *window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS];
    const int32_t height = kt_reach_of(window, KT_Y), width = kt_reach_of(window, KT_X), left = window->pad[KT_X];
    const int32_t first = kt_maximum(left, 0), end = kt_minimum(left + window->input[KT_X], width);
    const whole_image image = {copy, width * depth};
    int32_t y;
    memset(copy, -params->input_offset, (size_t)(height * width * depth));
    for (y = 0; y < height; y++, copy += image.line) {
        const int32_t row = y - window->pad[KT_Y];
        if (kt_within(row, window->input[KT_Y]) && first < end) {
            memcpy(copy + first * depth, x + (row * window->input[KT_X] + first - left) * depth, (size_t)((end - first) * depth));
        }
    }
    return image;
}

/* A slot: two neighbouring values of a kernel row, of `length`. */
static int32_t slot_value(int32_t slot, int32_t slots, int32_t length)
{
    return kt_minimum(2 * (slot % slots), length - 2);
}

/* The lanes with all values of the window; accumulator: of the first lane. */
static void add_window_lanes(const kt_weight_gradient_params *params, const walk *all, const whole_image *image, lanes *lane, float scale,
                             float *accumulator)
{
    const kt_window *window = &params->window;
    const int32_t length = window->kernel[KT_X] * window->input[KT_CHANNELS], size = kt_kernel_size(window);
    const int32_t slots = (length + 1) / 2, every = window->kernel[KT_Y] * slots, down = window->dilation[KT_Y] * image->line;
    panel filled;
    int32_t sums[SLOTS][2 * LANES];
    int32_t first, slot, i;
    for (first = 0; first < every; first += SLOTS) {
        const int32_t count = kt_minimum(every - first, SLOTS);
        walk at = *all;
        const position_pair *end;
        memset(sums, 0, sizeof sums);
        memset(lane->total, 0, sizeof lane->total);
        at.values += lane->index[0];
        while ((end = fill(&at, 0, lane, &filled)) != filled.pair) {
            for (slot = 0; slot < count; slot++) {
                const int32_t row = (first + slot) / slots;
                add_products(image->values + row * down + slot_value(first + slot, slots, length), filled.pair, end, sums[slot]);
            }
        }
        for (i = 0; i < lane->count; i++) {
            const int32_t offset = params->input_offset * lane->total[i];
            for (slot = 0; slot < count; slot++) {
                const int32_t value = slot_value(first + slot, slots, length);
                float *const entry = accumulator + i * size + (first + slot) / slots * length + value;
                if (value == 2 * ((first + slot) % slots)) { /* otherwise the slot before has it */
                    entry[0] = kt_accumulate(entry[0], sums[slot][i] + offset, scale);
                }
                entry[1] = kt_accumulate(entry[1], sums[slot][LANES + i] + offset, scale);
            }
        }
    }
}

static __attribute__((noinline)) void add_windows(const kt_weight_gradient_params *params, const int8_t *g, const whole_image *image, float scale, float *accumulator)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X];
    walk all = {window->output[KT_Y], width, width, g, 0, channels, 0, window->stride[KT_X] * window->input[KT_CHANNELS], 0};
    int32_t next = 0;
    all.offset_skip = window->stride[KT_Y] * image->line - width * all.offset_step;
    for (;;) {
        lanes lane = next_lanes(params->rows, channels, &next);
        if (lane.count == 0) {
            return;
        }
        add_window_lanes(params, &all, image, &lane, scale, accumulator);
        accumulator += lane.count * kt_kernel_size(window);
    }
}

/* Whether no window meets the border, and kernel rows are neighbours of at least two values. */
static int lies_inside(const kt_window *window)
{
    return window->pad[KT_Y] == 0 && window->pad[KT_X] == 0 && kt_reach_of(window, KT_Y) <= window->input[KT_Y] &&
           kt_reach_of(window, KT_X) <= window->input[KT_X] && window->dilation[KT_X] == 1;
}

/* One position: accumulator[c, k] += g[c] * (x[k] + offset) * scale. The product of the two is exact in float32. */
static void add_outer_product(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x, float scale, float *accumulator)
{
    const int32_t depth = params->window.input[KT_CHANNELS];
    float values[KT_WEIGHT_BLOCK];
    int32_t first, c, k;
    for (first = 0; first < depth; first += KT_WEIGHT_BLOCK) {
        const int32_t count = kt_minimum(depth - first, KT_WEIGHT_BLOCK);
        float *row = accumulator + first;
        for (k = 0; k < count; k++) {
            values[k] = (float)(x[first + k] + params->input_offset);
        }
        for (c = 0; c < params->window.output[KT_CHANNELS]; c++) {
            const float gradient = (float)g[c];
            if (params->rows != NULL && params->rows[c] < 0) {
                continue;
            }
            for (k = 0; k < count; k++) {
                const float sum = gradient * values[k];
                const float product = sum * scale;
                row[k] = row[k] + product;
            }
            row += depth;
        }
    }
}

void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator, void *scratch)
{
    const kt_window *window = &params->window;
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const float scale = kt_gradient_scale(params->scale, power);
    const int32_t taps = window->kernel[KT_Y] * window->kernel[KT_X];
    const int32_t count = window->input[KT_Y] * window->input[KT_X] * window->output[KT_Y] * window->output[KT_X];
    const int whole = window->pad[KT_Y] == 0 && window->pad[KT_X] == 0;
    int32_t ky, kx;
#if KT_MVE
    if (params->transposed > 0) {
        kt_transposed_weight_gradient(params, g, x, scale, accumulator, scratch);
        return;
    }
#endif
    if (taps == 1 && count == 1 && whole) {
        add_outer_product(params, g, x, scale, accumulator);
    } else if (scratch != NULL && params->transposed == 0) {
        const whole_image image = with_border(params, x, scratch);
        add_windows(params, g, &image, scale, accumulator);
    } else if (window->input[KT_CHANNELS] < FEW_CHANNELS && window->kernel[KT_X] > 1 && lies_inside(window)) {
        const whole_image image = {x, window->input[KT_X] * window->input[KT_CHANNELS]};
        add_windows(params, g, &image, scale, accumulator);
    } else if (window->input[KT_CHANNELS] < 2 && (taps > 1 || params->rows != NULL || window->output[KT_CHANNELS] < 2)) {
        kt_weight_gradient_walk(params, g, x, scale, accumulator);
    } else {
        for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
            for (kx = 0; kx < window->kernel[KT_X]; kx++) {
                add_tap(params, ky, kx, g, x, scale, accumulator);
                accumulator += window->input[KT_CHANNELS];
            }
        }
    }
}

#endif
