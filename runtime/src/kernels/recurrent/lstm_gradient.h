/* Gradient of an LSTM through time.
 *
 * Going forward once gives the cells of all steps, which is all that is kept; going back, the gates of a step are computed again from the rows of
 * x and of y. */
#ifndef KT_RECURRENT_LSTM_GRADIENT_H
#define KT_RECURRENT_LSTM_GRADIENT_H

#include <stddef.h>
#include <string.h>

#include "gates.h"

/* What one call works with: the gradients that the step behind hands on, those of one step's sums, the cells from before the first step on, and
 * where there are deltas what goes through the recurrent one. */
typedef struct {
    int32_t *hidden;
    int32_t *cell;
    int32_t *sums;
    int16_t *cells;
    int32_t *through_delta;
} workspace;

/* 1 - x^2 and x (1 - x) of x in 2^-15, in 2^-31. */
static inline int32_t of_square(int32_t x)
{
    return (1 << 30) - x * x == 1 << 30 ? INT32_MAX : 2 * ((1 << 30) - x * x);
}

static inline int32_t of_product(int32_t x)
{
    return 2 * x * ((1 << 15) - x);
}

/* a * b of b in 2^-15, times c in 2^-31. */
static inline int32_t product(int32_t a, int32_t b, int32_t c)
{
    return kt_high_multiply(kt_high_multiply(a, b * 65536), c);
}

static inline void run_forward(const kt_lstm_params *p, const lstm_trained *trained, const int8_t *x, const int8_t *y, const int32_t *bias,
                               int16_t *cells)
{
    const int8_t *before = NULL;
    int32_t step, unit, g;
    memset(cells, 0, (size_t)p->units * sizeof *cells);
    for (step = 0; step < p->steps; step++) {
        for (unit = 0; unit < p->units; unit++) {
            int32_t gate[GATES] = {0};
            for (g = 0; g < OUTPUT_GATE; g++) {
                gate[g] = gate_value(p, trained, g, unit, x, bias[g * p->units + unit], before);
            }
            cells[unit + p->units] = (int16_t)next_cell(p, gate, cells[unit]);
        }
        before = y;
        x += p->depth;
        y += p->units;
        cells += p->units;
    }
}

/* The gradients of the four sums of a unit; that of the cell before the step takes the place of the one behind it. dh: of the hidden state. */
static inline void step_back(const kt_lstm_gradient_params *params, const int32_t gate[GATES], int32_t before, int32_t cell, int32_t dh, int32_t unit,
                      const workspace *w)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t tanh = cell_tanh(p, cell);
    const int32_t limit = params->cell_limit;
    int32_t *sums = w->sums + unit;
    int32_t dc = kt_add_saturated(product(dh, gate[OUTPUT_GATE], of_square(tanh)), w->cell[unit]);
    if (cell >= limit || cell <= -limit) {
        dc = 0;
    }
    sums[0] = product(dc, gate[CELL_GATE], of_product(gate[INPUT_GATE]));
    sums[p->units] = kt_shift_round(product(dc, before, of_product(gate[FORGET_GATE])), params->cell_shift);
    sums[2 * p->units] = product(dc, gate[INPUT_GATE], of_square(gate[CELL_GATE]));
    sums[3 * p->units] = product(dh, tanh, of_product(gate[OUTPUT_GATE]));
    w->cell[unit] = kt_high_multiply(dc, gate[FORGET_GATE] * 65536);
}

/* The share of the recurrent delta in the gradient of the hidden state before a step. */
static inline void through_delta(const kt_lstm_params *p, const lstm_trained *trained, const workspace *w)
{
    const int32_t rows = GATES * p->units;
    uint32_t largest = 0;
    int32_t narrowed, row, unit;
    memset(w->through_delta, 0, (size_t)p->units * sizeof *w->through_delta);
    for (row = 0; row < rows; row++) {
        if (delta_row(trained, row) >= 0 && kt_magnitude(w->sums[row]) > largest) {
            largest = kt_magnitude(w->sums[row]);
        }
    }
    narrowed = kt_maximum(kt_bit_length(largest) - trained->room, 0);
    for (row = 0; row < rows; row++) {
        const int32_t z = kt_shift_round(w->sums[row], narrowed), chosen = delta_row(trained, row);
        for (unit = 0; unit < p->units && chosen >= 0; unit++) {
            w->through_delta[unit] += z * trained->recurrent[chosen * p->units + unit];
        }
    }
    for (unit = 0; unit < p->units; unit++) {
        w->through_delta[unit] = kt_shift_round(w->through_delta[unit], -(narrowed + trained->recurrent_exponent));
    }
}

/* The gradient of the hidden state before a step from those of its sums, which are spoilt. */
static inline void through_recurrent(const kt_lstm_gradient_params *params, const lstm_trained *trained, const workspace *w)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t rows = GATES * p->units;
    uint32_t largest = 0;
    int32_t narrowed, row, unit;
    if (trained != NULL) {
        through_delta(p, trained, w);
    }
    for (row = 0; row < rows; row++) {
        w->sums[row] = kt_high_multiply(w->sums[row], params->prescale[row / p->units]);
        if (kt_magnitude(w->sums[row]) > largest) {
            largest = kt_magnitude(w->sums[row]);
        }
    }
    narrowed = kt_maximum(kt_bit_length(largest) - params->room, 0);
    memset(w->hidden, 0, (size_t)p->units * sizeof *w->hidden);
    for (row = 0; row < rows; row++) {
        const int32_t z = kt_shift_round(w->sums[row], narrowed);
        for (unit = 0; unit < p->units; unit++) {
            w->hidden[unit] += z * p->recurrent[row * p->units + unit];
        }
    }
    for (unit = 0; unit < p->units; unit++) {
        w->hidden[unit] = kt_requantize(w->hidden[unit], params->multiplier, params->multiplier_shift + narrowed);
        if (trained != NULL) {
            w->hidden[unit] = kt_add_saturated(w->hidden[unit], w->through_delta[unit]);
        }
    }
}

static inline void lstm_gradient_walk(const kt_lstm_gradient_params *params, const lstm_trained *trained, const int8_t *g, const int8_t *x,
                                      const int8_t *y, const int32_t *bias, int8_t *dz, int32_t *scratch)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t units = p->units;
    int32_t *const rest = scratch + (trained == NULL ? 6 : 7) * units;
    const workspace w = {scratch, scratch + units, scratch + 2 * units, (int16_t *)rest, rest - units};
    int32_t step, unit, i;
    run_forward(p, trained, x, y, bias, w.cells);
    memset(scratch, 0, (size_t)(2 * units) * sizeof *scratch);
    for (step = p->steps - 1; step >= 0; step--) {
        const int8_t *const result = y + step * units;
        const int16_t *const cells = w.cells + step * units;
        for (unit = 0; unit < units; unit++) {
            const int32_t arrived = kt_add_saturated(g[step * units + unit] * 65536, w.hidden[unit]);
            const int32_t dh = result[unit] > INT8_MIN && result[unit] < INT8_MAX ? arrived : 0;
            int32_t gate[GATES];
            for (i = 0; i < GATES; i++) {
                gate[i] = gate_value(p, trained, i, unit, x + step * p->depth, bias[i * units + unit], step > 0 ? result - units : NULL);
            }
            step_back(params, gate, cells[unit], cells[unit + units], dh, unit, &w);
        }
        for (i = 0; i < GATES * units; i++) {
            dz[step * GATES * units + i] = kt_saturate8(kt_shift_round(w.sums[i], params->shift));
        }
        through_recurrent(params, trained, &w);
    }
}

#endif
