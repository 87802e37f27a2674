/* kt_depthwise_input_gradient_s8 for the DSP extension.
 *
 * 3x3 with stride 1: a piece of a row of results at a time, or two short rows, channel by channel. A column of gradients is scaled
 * once and adds to the results that it meets, two products an instruction. The finished piece lies in the scratch until all
 * channels have been read: the results may lie over g.
 *
 * 3x3 with stride 2: strided_depthwise_gradient.h.
 *
 * Other windows: a few results of a row at a time, four channels at once; a row of gradients is scaled for all of them. An image of one column is
 * taken as one row.
 *
 * What is left goes to the portable code: results of several channels for one input channel. */
#include "../depthwise_input_gradient.h"
#include "kt/kernels/depthwise.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../../product/halves.h"
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
static __attribute__((noinline)) void three_by_three(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
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

/* Results at once, which the scratch has room for, and the most columns of gradients that meet them. */
enum { RESULTS = 4, TAPS = 16, MEETING_COLUMNS = RESULTS + TAPS - 1 };

/* Gradients along an axis that meet one result: the first, how many, and the tap of the first; taps of the next are a stride less. */
typedef struct {
    int32_t first, count, tap;
} meeting;

static meeting meeting_of(const kt_window *window, int axis, int32_t index)
{
    const int32_t at = index + window->pad[axis], stride = window->stride[axis];
    const int32_t before = at - (window->kernel[axis] - 1);
    meeting found;
    found.first = before <= 0 ? 0 : (before + stride - 1) / stride;
    found.count = kt_maximum(kt_minimum(at / stride + 1, window->output[axis]) - found.first, 0);
    found.tap = at - stride * found.first;
    return found;
}

/* Gradients of four channels in a column, scaled, as the pairs (0, 2) and (1, 3). */
typedef struct {
    uint32_t even, odd;
} scaled_four;

static __attribute__((noinline)) void scale_row(const kt_depthwise_input_gradient_params *params, const int8_t *g, int32_t c, int32_t count,
                                                scaled_four *column)
{
    const int32_t shift = params->prescale_shift, step = params->window.output[KT_CHANNELS];
    const int16_t *const m = params->prescale + c;
    const int32_t factor0 = kt_prescale_factor(m[0], shift), factor1 = kt_prescale_factor(m[1], shift);
    const int32_t factor2 = kt_prescale_factor(m[2], shift), factor3 = kt_prescale_factor(m[3], shift);
    for (; count > 0; count--, g += step, column++) {
        const uint32_t word = kt_load_word(g);
        const uint32_t even = kt_even(word), odd = kt_odd(word);
        column->even = kt_halved(kt_doubled_low(factor0, even), kt_doubled_high(factor2, even));
        column->odd = kt_halved(kt_doubled_low(factor1, odd), kt_doubled_high(factor3, odd));
    }
}

/* sums[result] += the products of a row of gradients, from column `left` on, with the taps of a kernel row, `step` apart. */
static __attribute__((noinline)) void add_row(const scaled_four *column, int32_t left, const int8_t *weights, int32_t step, int32_t stride,
                                              const meeting *result, const meeting *end, int32_t (*sums)[4])
{
    for (; result != end; result++, sums++) {
        const scaled_four *four = column + (result->first - left), *const behind = four + result->count;
        const int8_t *w = weights + result->tap * step;
        const int32_t back = stride * step;
        int32_t sum0 = (*sums)[0], sum1 = (*sums)[1], sum2 = (*sums)[2], sum3 = (*sums)[3];
        for (; four != behind; four++, w -= back) {
            const uint32_t word = kt_load_word(w);
            const int16x2_t w02 = (int16x2_t)kt_even(word), w13 = (int16x2_t)kt_odd(word);
            const int16x2_t g02 = (int16x2_t)four->even, g13 = (int16x2_t)four->odd;
            sum0 = __smlabb(g02, w02, sum0);
            sum1 = __smlabb(g13, w13, sum1);
            sum2 = __smlatt(g02, w02, sum2);
            sum3 = __smlatt(g13, w13, sum3);
        }
        (*sums)[0] = sum0;
        (*sums)[1] = sum1;
        (*sums)[2] = sum2;
        (*sums)[3] = sum3;
    }
}

/* Results of four channels in a row; rows: of gradients that meet it; results: their columns, [count]. */
static void four_channels(const kt_depthwise_input_gradient_params *params, const int8_t *g, meeting rows, const meeting *results,
                          int32_t count, int32_t c, int8_t *piece)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], line = window->output[KT_X] * channels;
    const int32_t kernel_row = window->kernel[KT_X] * channels;
    const int32_t left = results->first, columns = results[count - 1].first + results[count - 1].count - left;
    const int32_t shift = params->shift;
    scaled_four scaled[MEETING_COLUMNS];
    int32_t sums[RESULTS][4];
    int32_t i;
    for (i = 0; i < count; i++) {
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = INT32_C(1) << (shift - 1);
    }
    for (i = 0; i < rows.count; i++) {
        const int8_t *const weights = params->weights + (rows.tap - i * window->stride[KT_Y]) * kernel_row + c;
        scale_row(params, g + (rows.first + i) * line + left * channels + c, c, columns, scaled);
        add_row(scaled, left, weights, channels, window->stride[KT_X], results, results + count, sums);
    }
    for (i = 0; i < count; i++, piece += channels) {
        kt_store_word(piece, kt_bytes(__ssat(sums[i][0] >> shift, 8), __ssat(sums[i][1] >> shift, 8), __ssat(sums[i][2] >> shift, 8),
                                      __ssat(sums[i][3] >> shift, 8)));
    }
}

static __attribute__((noinline)) void any_window(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
{
    const kt_window *window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X];
    const int32_t pieces = (width + RESULTS - 1) / RESULTS;
    const int32_t direction = kt_direction(g, dx);
    int32_t y, i, c;
    for (y = kt_first(direction, window->input[KT_Y]); kt_within(y, window->input[KT_Y]); y += direction) {
        const meeting rows = meeting_of(window, KT_Y, y);
        for (i = kt_first(direction, pieces); kt_within(i, pieces); i += direction) {
            const int32_t x = i * width / pieces, count = (i + 1) * width / pieces - x;
            meeting results[RESULTS];
            for (c = 0; c < count; c++) {
                results[c] = meeting_of(window, KT_X, x + c);
            }
            for (c = 0; c < channels; c += 4) {
                four_channels(params, g, rows, results, count, c, scratch + c);
            }
            kt_store_symmetric(scratch, dx + (y * width + x) * channels, count * channels);
        }
    }
}

/* Whether neither side of the window is long, dilated or cut. */
static int is_window(const kt_window *window)
{
    int axis;
    for (axis = KT_Y; axis <= KT_X; axis++) {
        if (window->kernel[axis] > TAPS || window->dilation[axis] != 1 || window->pad[axis] < 0) {
            return 0;
        }
    }
    return 1;
}

/* Along one column: whether the image and its window have no other. */
static int is_column(const kt_window *window)
{
    return window->input[KT_X] == 1 && window->output[KT_X] == 1 && window->kernel[KT_X] == 1;
}

/* One column as one row: their values lie in the same order. */
static __attribute__((noinline)) void one_column(const kt_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, int8_t *scratch)
{
    kt_depthwise_input_gradient_params row = *params;
    const kt_window *const column = &params->window;
    int axis;
    for (axis = KT_Y; axis <= KT_X; axis++) {
        const int other = KT_X - axis;
        row.window.kernel[axis] = column->kernel[other];
        row.window.stride[axis] = column->stride[other];
        row.window.dilation[axis] = column->dilation[other];
        row.window.pad[axis] = column->pad[other];
        row.window.input[axis] = column->input[other];
        row.window.output[axis] = column->output[other];
    }
    any_window(&row, g, dx, scratch);
}

void kt_depthwise_input_gradient_s8(const kt_depthwise_input_gradient_params *params, const int8_t *g,
                                    int8_t *dx, void *scratch)
{
    const kt_window *window = &params->window;
    const int shifts = params->shift > 0 && params->shift <= LARGEST_SHIFT && kt_has_prescale(params->prescale_shift);
    const int simple = params->depth_multiplier == 1 && shifts;
    if (simple && is_three_by_three(window, 1)) {
        three_by_three(params, g, dx, (int8_t *)scratch);
    } else if (simple && window->input[KT_CHANNELS] % 4 == 0 && is_three_by_three(window, 2)) {
        kt_strided_gradient(params, g, dx, (int8_t *)scratch);
    } else if (simple && is_window(window) && window->input[KT_CHANNELS] % 4 == 0) {
        if (is_column(window)) {
            one_column(params, g, dx, (int8_t *)scratch);
        } else {
            any_window(params, g, dx, (int8_t *)scratch);
        }
    } else {
        kt_depthwise_input_gradient_walk(params, g, dx, (int32_t *)scratch);
    }
}

#endif
