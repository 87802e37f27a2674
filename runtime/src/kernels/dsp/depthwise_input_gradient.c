/* kt_depthwise_input_gradient_s8 for the DSP extension.
 *
 * 3x3 with stride 1: a piece of a row of results at a time, or two short rows, channel by channel. A column of gradients is scaled
 * once and adds to the results that it meets, two products an instruction. The finished piece lies in the scratch until all
 * channels have been read: the results may lie over g.
 *
 * 3x3 with stride 2: strided_depthwise_gradient.h.
 *
 * Other windows: position by position, four channels at a time, whose sums stay in registers over all taps.
 *
 * What is left goes to the portable code: results of several channels for one input channel, gains (G' may need 17 bits). */
#include "../depthwise_input_gradient.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../product/halves.h"
#include "meetings.h"
#include "strided_depthwise_gradient.h"

enum { KERNEL = 3, ROWS = 4, COLUMNS = KT_DEPTHWISE_COLUMNS, LARGEST_SHIFT = 29 };

/* -- 3x3, stride 1 --------------------------------------------------------------------------------------- */

/* A piece of results: one row or two. Rows of gradients that do not exist are zeros, read again and again. */
typedef struct {
    const int8_t *row[ROWS]; /* at the first column */
    int32_t step[ROWS];      /* to the next column; 0: the row does not exist */
    int32_t channels;
    int32_t before; /* columns that only add to results: 0..2 */
    int32_t within; /* columns that finish one */
    int32_t after;  /* results that no column is left for: 0..2 */
    int32_t shift;
} piece;

/* The gradients of one column, scaled: {first row, second row}, {third row, fourth row}. */
typedef struct {
    uint32_t pair[ROWS / 2];
} scaled_column;

/* Two gradients of a channel, scaled. */
static inline uint32_t scaled_pair(const int8_t *upper, const int8_t *lower, int32_t factor)
{
    return kt_halved(kt_doubled_low(factor, (uint32_t)*upper), kt_doubled_low(factor, (uint32_t)*lower));
}

/* What one row of results reads: three rows. c: channel. */
static __attribute__((noinline)) void scale_three(const piece *p, int32_t c, int32_t factor, scaled_column *column)
{
    const int32_t step0 = p->step[0], step1 = p->step[1], step2 = p->step[2];
    const int8_t *row0 = p->row[0] + (step0 ? c : 0), *row1 = p->row[1] + (step1 ? c : 0), *row2 = p->row[2] + (step2 ? c : 0);
    const scaled_column *const end = column + p->before + p->within;
    for (; column != end; column++, row0 += step0, row1 += step1, row2 += step2) {
        column->pair[0] = scaled_pair(row0, row1, factor);
        column->pair[1] = (uint32_t)(kt_doubled_low(factor, (uint32_t)*row2) >> 1);
    }
}

/* What two rows of results read. */
static __attribute__((noinline)) void scale_four(const piece *p, int32_t c, int32_t factor, scaled_column *column)
{
    const int32_t step0 = p->step[0], step1 = p->step[1], step2 = p->step[2], step3 = p->step[3];
    const int8_t *row0 = p->row[0] + (step0 ? c : 0), *row1 = p->row[1] + (step1 ? c : 0);
    const int8_t *row2 = p->row[2] + (step2 ? c : 0), *row3 = p->row[3] + (step3 ? c : 0);
    const scaled_column *const end = column + p->before + p->within;
    for (; column != end; column++) {
        column->pair[0] = scaled_pair(row0, row1, factor);
        column->pair[1] = scaled_pair(row2, row3, factor);
        row0 += step0;
        row1 += step1;
        row2 += step2;
        row3 += step3;
    }
}

/* The three weights of a kernel column, from the bottom: {third, second}, {second, first}. */
typedef struct {
    uint32_t lower, upper;
} column_weights;

static void read_weights(const int8_t *weights, int32_t channels, column_weights w[KERNEL])
{
    const int8_t *second = weights + KERNEL * channels;
    const int8_t *third = second + KERNEL * channels;
    const column_weights *const end = w + KERNEL;
    for (; w != end; w++, weights += channels, second += channels, third += channels) {
        w->lower = kt_low_halves((uint32_t)*third, (uint32_t)*second);
        w->upper = kt_low_halves((uint32_t)*second, (uint32_t)*weights);
    }
}

/* sum + a column's share of a result: of the first row of results its first three gradients, of the second the last three. */
static inline int32_t add_column(scaled_column column, column_weights w, int second, int32_t sum)
{
    if (second) {
        return __smlatb((int32_t)column.pair[0], (int32_t)w.lower, kt_add_products(column.pair[1], w.upper, sum));
    }
    return __smlabt((int32_t)column.pair[1], (int32_t)w.upper, kt_add_products(column.pair[0], w.lower, sum));
}

/* One row of results of one channel, in [-128, 127]. */
static inline void sum_columns(const piece *p, const scaled_column *column, const column_weights *w, int second, int8_t *result)
{
    const column_weights w0 = w[0], w1 = w[1], w2 = w[2];
    const int32_t step = p->channels, shift = p->shift, half = INT32_C(1) << (shift - 1);
    const scaled_column *end = column + p->before;
    int32_t current = half, next = half;
    int32_t i;
    for (; column != end; column++) {
        current = add_column(*column, w1, second, next);
        next = add_column(*column, w2, second, half);
    }
    for (end += p->within; column != end; column++, result += step) {
        const scaled_column c = *column;
        *result = (int8_t)__ssat(add_column(c, w0, second, current) >> shift, 8);
        current = add_column(c, w1, second, next);
        next = add_column(c, w2, second, half);
    }
    for (i = p->after; i > 0; i--, result += step) {
        *result = (int8_t)__ssat(current >> shift, 8);
        current = next;
    }
}

static __attribute__((noinline)) void first_row(const piece *p, const scaled_column *column, const column_weights *w, int8_t *result)
{
    sum_columns(p, column, w, 0, result);
}

static __attribute__((noinline)) void second_row(const piece *p, const scaled_column *column, const column_weights *w, int8_t *result)
{
    sum_columns(p, column, w, 1, result);
}

/* The rows of gradients from `first` on, at column `left`. */
static void set_rows(const kt_window *window, const int8_t *g, int32_t first, int32_t left, piece *p)
{
    static const int8_t zero = 0;
    const int32_t channels = window->output[KT_CHANNELS];
    int32_t i;
    for (i = 0; i < ROWS; i++) {
        const int exists = kt_within(first + i, window->output[KT_Y]);
        p->row[i] = exists ? g + ((first + i) * window->output[KT_X] + left) * channels : &zero;
        p->step[i] = exists ? channels : 0;
    }
}

/* Results [x, end) of row y, and of the next one where `rows` is 2. */
static void compute_piece(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t y, int32_t rows, int32_t x,
                          int32_t end, int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t columns = window->output[KT_X];
    const int32_t from = kt_minimum(x + window->pad[KT_X], columns); /* column that finishes the first result */
    const int32_t to = kt_minimum(end + window->pad[KT_X], columns);
    const int32_t left = kt_maximum(x + window->pad[KT_X] - (KERNEL - 1), 0);
    scaled_column scaled[COLUMNS + KERNEL - 1];
    piece p;
    int32_t c;
    p.channels = channels;
    p.before = from - left;
    p.within = to - from;
    p.after = end - x - p.within;
    p.shift = params->shift;
    set_rows(window, g, y + window->pad[KT_Y] - (KERNEL - 1), left, &p);
    for (c = 0; c < channels; c++) {
        const int32_t factor = kt_prescale_factor(params->prescale[c], params->prescale_shift);
        column_weights w[KERNEL];
        read_weights(params->weights + c, channels, w);
        (rows == 2 ? scale_four : scale_three)(&p, c, factor, scaled);
        first_row(&p, scaled, w, scratch + c);
        if (rows == 2) {
            second_row(&p, scaled, w, scratch + (end - x) * channels + c);
        }
    }
    kt_store_symmetric(scratch, dx + (y * window->input[KT_X] + x) * channels, rows * (end - x) * channels);
}

/* Narrow images: two whole rows at a time; others: pieces of a row. */
static void three_by_three(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t height = window->input[KT_Y], width = window->input[KT_X];
    const int32_t together = 2 * width <= COLUMNS ? 2 : 1;
    const int32_t pieces = (width + COLUMNS - 1) / COLUMNS;
    const int32_t blocks = (height + together - 1) / together;
    const int32_t direction = kt_direction(g, dx);
    int32_t block, i;
    for (block = kt_first(direction, blocks); kt_within(block, blocks); block += direction) {
        const int32_t y = block * together;
        const int32_t rows = kt_minimum(height - y, together);
        for (i = kt_first(direction, pieces); kt_within(i, pieces); i += direction) {
            compute_piece(params, g, y, rows, i * width / pieces, (i + 1) * width / pieces, dx, scratch);
        }
    }
}

/* Whether a 3x3 window has this stride, and results beyond the last gradient are the last two columns or rows at most. */
static int is_three_by_three(const kt_window *window, int32_t stride)
{
    int axis;
    for (axis = KT_Y; axis <= KT_X; axis++) {
        const int32_t behind = window->input[axis] - ((window->output[axis] - 1) * stride - window->pad[axis] + KERNEL);
        if (window->kernel[axis] != KERNEL || window->stride[axis] != stride || window->dilation[axis] != 1) {
            return 0;
        }
        if (window->pad[axis] < 0 || window->pad[axis] >= KERNEL || (stride == 1 && behind > 0)) {
            return 0;
        }
    }
    return 1;
}

/* -- other windows ---------------------------------------------------------------------------------------- */

/* dx of four channels at one position; g, weights and m (the prescale) of the first of them. */
static void four_channels(const kt_depthwise_input_gradient_params *params, const kt_axis_meetings *rows,
                          const kt_axis_meetings *columns, const int8_t *g, const int8_t *weights, const int16_t *m, int8_t *dx)
{
    const int32_t p = params->prescale_shift, shift = params->shift;
    const int32_t factor0 = kt_prescale_factor(m[0], p), factor1 = kt_prescale_factor(m[1], p);
    const int32_t factor2 = kt_prescale_factor(m[2], p), factor3 = kt_prescale_factor(m[3], p);
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32_t i, j;
    for (i = 0; i < rows->count; i++) {
        const int8_t *const gradients = g + rows->gradient[i];
        const int8_t *const row = weights + rows->weight[i];
        for (j = 0; j < columns->count; j++) {
            const uint32_t gradient = kt_load_word(gradients + columns->gradient[j]);
            const uint32_t bytes = kt_load_word(row + columns->weight[j]);
            const uint32_t g02 = kt_even(gradient), g13 = kt_odd(gradient);
            const int32_t w02 = (int32_t)kt_even(bytes), w13 = (int32_t)kt_odd(bytes);
            sum0 = __smlabb(kt_doubled_low(factor0, g02) >> 1, w02, sum0);
            sum1 = __smlabb(kt_doubled_low(factor1, g13) >> 1, w13, sum1);
            sum2 = __smlabt(kt_doubled_high(factor2, g02) >> 1, w02, sum2);
            sum3 = __smlabt(kt_doubled_high(factor3, g13) >> 1, w13, sum3);
        }
    }
    dx[0] = kt_rounded8(sum0, shift);
    dx[1] = kt_rounded8(sum1, shift);
    dx[2] = kt_rounded8(sum2, shift);
    dx[3] = kt_rounded8(sum3, shift);
}

static void any_window(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS];
    const int32_t direction = kt_direction(g, dx);
    kt_axis_meetings rows, columns;
    int32_t y, x, c;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        kt_meet(window, KT_Y, y, window->output[KT_X] * channels, window->kernel[KT_X] * channels, &rows);
        for (x = kt_first(direction, window->input[KT_X]); kt_within(x, window->input[KT_X]); x += direction) {
            int8_t *const result = dx + (y * window->input[KT_X] + x) * channels;
            kt_meet(window, KT_X, x, channels, channels, &columns);
            for (c = 0; c < channels; c += 4) {
                four_channels(params, &rows, &columns, g + c, params->weights + c, params->prescale + c, result + c);
            }
        }
    }
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    const int8_t *gain, const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_window *window = &params->window;
    const int shifts = params->shift > 0 && params->shift <= LARGEST_SHIFT && kt_has_prescale(params->prescale_shift);
    const int simple = params->depth_multiplier == 1 && gain == NULL && shifts;
    if (simple && is_three_by_three(window, 1)) {
        three_by_three(params, g, dx, (int8_t *)scratch);
    } else if (simple && window->input[KT_CHANNELS] % 4 == 0 && is_three_by_three(window, 2)) {
        kt_strided_gradient(params, g, dx, (int8_t *)scratch);
    } else if (simple && kt_meetings_fit(window) && window->input[KT_CHANNELS] % 4 == 0) {
        any_window(params, g, dx);
    } else {
        const kt_gain trained = kt_gain_of(gain, gain_exponent);
        kt_depthwise_input_gradient_walk(params, g, &trained, dx, (int32_t *)scratch);
    }
}

#endif
