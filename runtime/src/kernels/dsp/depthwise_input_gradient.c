/* kt_depthwise_input_gradient_s8 for the DSP extension.
 *
 * 3x3 with stride 1: a piece of a row of results at a time, channel by channel. A column of three gradients is scaled once and
 * adds to the three results that it meets, two products an instruction. The finished piece lies in the scratch until all channels
 * have been read: the results may lie over g.
 *
 * Other windows: position by position, four channels at a time, whose sums stay in registers over all taps.
 *
 * What is left goes to the portable code: results of several channels for one input channel, gains (G' may need 17 bits). */
#include "../depthwise_input_gradient.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "prescale.h"

enum { KERNEL = 3, COLUMNS = KT_DEPTHWISE_COLUMNS, TAPS = 10, LARGEST_SHIFT = 29 };

/* -- 3x3, stride 1 --------------------------------------------------------------------------------------- */

/* Three neighbouring rows of gradients and the kernel rows that meet them. Where one does not, its weights count as 0. */
typedef struct {
    int32_t kernel_row[KERNEL];
    int32_t mask[KERNEL];
} row_weights;

static row_weights rows_from(int32_t top)
{
    row_weights rows;
    int32_t i;
    for (i = 0; i < KERNEL; i++) {
        const int32_t ky = top - i;
        rows.mask[i] = ky >= 0 && ky < KERNEL ? -1 : 0;
        rows.kernel_row[i] = kt_clamp(ky, 0, KERNEL - 1);
    }
    return rows;
}

/* A piece of a row: where its gradients and results lie. */
typedef struct {
    row_weights rows;
    int32_t pitch;  /* of gradients, from row to row */
    int32_t step;   /* from column to column, also of the results */
    int32_t before; /* columns that only add to results: 0..2 */
    int32_t within; /* columns that finish one */
    int32_t after;  /* results that no column is left for: 0..2 */
    int32_t shift;
} piece;

/* The gradients of one column: {first row, second row} and the third row, scaled. */
typedef struct {
    uint32_t pair;
    int32_t third;
} scaled_column;

static void scale_columns(const piece *p, const int8_t *g, int32_t factor, scaled_column *column)
{
    const int32_t pitch = p->pitch, step = p->step;
    const scaled_column *const end = column + p->before + p->within;
    for (; column != end; column++, g += step) {
        const int32_t first = kt_doubled_low(factor, (uint32_t)g[0]);
        const int32_t second = kt_doubled_low(factor, (uint32_t)g[pitch]);
        column->third = kt_doubled_low(factor, (uint32_t)g[2 * pitch]) >> 1;
        column->pair = kt_halved(first, second);
    }
}

/* The weights of one channel that meet such a column with kernel column kx. */
static scaled_column weights_of(const row_weights *rows, const int8_t *weights, int32_t channels, int32_t kx)
{
    const int32_t step = KERNEL * channels;
    scaled_column w;
    weights += kx * channels;
    w.pair = kt_low_halves((uint32_t)(weights[rows->kernel_row[0] * step] & rows->mask[0]),
                           (uint32_t)(weights[rows->kernel_row[1] * step] & rows->mask[1]));
    w.third = weights[rows->kernel_row[2] * step] & rows->mask[2];
    return w;
}

static inline int32_t add_column(const scaled_column *column, const scaled_column *w, int32_t sum)
{
    return __smlabb(column->third, w->third, kt_add_products(column->pair, w->pair, sum));
}

/* All results of one channel in a piece, in [-128, 127]. */
static void sum_columns(const piece *p, const scaled_column *column, const int8_t *weights, int8_t *result)
{
    const scaled_column w0 = weights_of(&p->rows, weights, p->step, 0);
    const scaled_column w1 = weights_of(&p->rows, weights, p->step, 1);
    const scaled_column w2 = weights_of(&p->rows, weights, p->step, 2);
    const int32_t step = p->step, shift = p->shift, half = INT32_C(1) << (shift - 1);
    const scaled_column *end = column + p->before;
    int32_t current = half, next = half;
    int32_t i;
    for (; column != end; column++) {
        current = add_column(column, &w1, next);
        next = add_column(column, &w2, half);
    }
    for (end += p->within; column != end; column++, result += step) {
        const scaled_column c = *column;
        *result = (int8_t)__ssat(add_column(&c, &w0, current) >> shift, 8);
        current = add_column(&c, &w1, next);
        next = add_column(&c, &w2, half);
    }
    for (i = p->after; i > 0; i--, result += step) {
        *result = (int8_t)__ssat(current >> shift, 8);
        current = next;
    }
}

/* result = scratch with -127 for -128; size bytes. */
static void store_piece(const int8_t *scratch, int8_t *result, int32_t size)
{
    int32_t i;
    for (i = 0; i + 4 <= size; i += 4) {
        kt_store_word(result + i, kt_symmetric(kt_load_word(scratch + i)));
    }
    for (; i < size; i++) {
        result[i] = (int8_t)kt_maximum(scratch[i], -127);
    }
}

/* Results [x, end) of row y. */
static void row_piece(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t y, int32_t x, int32_t end,
                      int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t columns = window->output[KT_X];
    const int32_t last = y + window->pad[KT_Y]; /* row of gradients that kernel row 0 meets */
    const int32_t first = kt_clamp(last - (KERNEL - 1), 0, window->output[KT_Y] - KERNEL);
    const int32_t from = kt_minimum(x + window->pad[KT_X], columns); /* column that finishes the first result */
    const int32_t to = kt_minimum(end + window->pad[KT_X], columns);
    const int32_t left = kt_maximum(x + window->pad[KT_X] - (KERNEL - 1), 0);
    scaled_column scaled[COLUMNS + KERNEL - 1];
    piece p;
    int32_t c;
    p.rows = rows_from(last - first);
    p.pitch = columns * channels;
    p.step = channels;
    p.before = from - left;
    p.within = to - from;
    p.after = end - x - p.within;
    p.shift = params->shift;
    g += (first * columns + left) * channels;
    for (c = 0; c < channels; c++) {
        scale_columns(&p, g + c, kt_prescale_factor(params->prescale[c], params->prescale_shift), scaled);
        sum_columns(&p, scaled, params->weights + c, scratch + c);
    }
    store_piece(scratch, dx + (y * window->input[KT_X] + x) * channels, (end - x) * channels);
}

static void three_by_three(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t width = window->input[KT_X];
    const int32_t pieces = (width + COLUMNS - 1) / COLUMNS;
    const int32_t direction = kt_direction(g, dx);
    int32_t y, i;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        for (i = kt_first(direction, pieces); kt_within(i, pieces); i += direction) {
            row_piece(params, g, y, i * width / pieces, (i + 1) * width / pieces, dx, scratch);
        }
    }
}

static int is_three_by_three(const kt_window *window)
{
    int axis;
    for (axis = KT_Y; axis <= KT_X; axis++) {
        const int32_t trailing = window->output[axis] - window->input[axis] - window->pad[axis] + KERNEL - 1;
        if (window->kernel[axis] != KERNEL || window->stride[axis] != 1 || window->dilation[axis] != 1) {
            return 0;
        }
        if (window->output[axis] < KERNEL || window->pad[axis] < 0 || window->pad[axis] >= KERNEL || trailing < 0) {
            return 0;
        }
    }
    return 1;
}

/* -- other windows ---------------------------------------------------------------------------------------- */

/* The taps of an axis that meet an input index, with the result that each belongs to. */
typedef struct {
    int32_t count;
    int32_t tap[TAPS];
    int32_t output[TAPS];
} axis_meetings;

static void meet(const kt_window *window, int axis, int32_t input, axis_meetings *found)
{
    int32_t tap;
    found->count = 0;
    for (tap = 0; tap < window->kernel[axis]; tap++) {
        const int32_t output = kt_output_at(window, axis, input, tap);
        if (output >= 0) {
            found->tap[found->count] = tap;
            found->output[found->count++] = output;
        }
    }
}

/* dx of four channels at one position, c the first of them; rows and columns that meet the position. */
static void four_channels(const kt_depthwise_input_gradient_params *params, const axis_meetings *rows,
                          const axis_meetings *columns, const int8_t *g, int32_t c, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS];
    const int16_t *m = params->prescale + c;
    const int32_t p = params->prescale_shift;
    const int32_t factor0 = kt_prescale_factor(m[0], p), factor1 = kt_prescale_factor(m[1], p);
    const int32_t factor2 = kt_prescale_factor(m[2], p), factor3 = kt_prescale_factor(m[3], p);
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t i, j;
    for (i = 0; i < rows->count; i++) {
        const int8_t *gradients = g + rows->output[i] * window->output[KT_X] * channels + c;
        const int8_t *weights = params->weights + rows->tap[i] * window->kernel[KT_X] * channels + c;
        for (j = 0; j < columns->count; j++) {
            const uint32_t gradient = kt_load_word(gradients + columns->output[j] * channels);
            const uint32_t bytes = kt_load_word(weights + columns->tap[j] * channels);
            const uint32_t g02 = kt_even(gradient), g13 = kt_odd(gradient);
            const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
            sum0 = __smlabb(kt_doubled_low(factor0, g02) >> 1, w02, sum0);
            sum1 = __smlabb(kt_doubled_low(factor1, g13) >> 1, w13, sum1);
            sum2 = __smlabt(kt_doubled_high(factor2, g02) >> 1, w02, sum2);
            sum3 = __smlabt(kt_doubled_high(factor3, g13) >> 1, w13, sum3);
        }
    }
    dx[0] = kt_rounded8(sum0, params->shift);
    dx[1] = kt_rounded8(sum1, params->shift);
    dx[2] = kt_rounded8(sum2, params->shift);
    dx[3] = kt_rounded8(sum3, params->shift);
}

static void any_window(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    axis_meetings rows, columns;
    int32_t y, x, c;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        meet(window, KT_Y, y, &rows);
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            meet(window, KT_X, x, &columns);
            for (c = 0; c < channels; c += 4) {
                four_channels(params, &rows, &columns, g, c, dx + (y * window->input[KT_X] + x) * channels + c);
            }
        }
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    const int8_t *gain, const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_window *window = &params->window;
    const int small = window->kernel[KT_Y] <= TAPS && window->kernel[KT_X] <= TAPS;
    const int shifts = params->shift > 0 && params->shift <= LARGEST_SHIFT && kt_has_prescale(params->prescale_shift);
    const int simple = params->depth_multiplier == 1 && gain == NULL && shifts;
    if (simple && is_three_by_three(window)) {
        three_by_three(params, g, dx, (int8_t *)scratch);
    } else if (simple && small && window->input[KT_CHANNELS] % 4 == 0) {
        any_window(params, g, dx);
    } else {
        const kt_gain trained = kt_gain_of(gain, gain_exponent);
        kt_depthwise_input_gradient_walk(params, g, &trained, dx, (int32_t *)scratch);
    }
}

#endif
