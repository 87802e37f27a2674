/* Gradient of an LSTM through time.
 *
 * Going forward once gives the cells in front of each segment of steps; going back, those of a segment are computed again, and the gates of a step
 * from the rows of x and of y. */
#ifndef KT_RECURRENT_LSTM_GRADIENT_H
#define KT_RECURRENT_LSTM_GRADIENT_H

#include <stddef.h>
#include <string.h>

#include "gates.h"
#include "through_time.h"

/* What one call works with: the gradients that the step behind hands on, those of one step's sums, the cells in front of each segment and behind
 * each step of one, and where there are deltas what goes through the recurrent one. */
typedef struct {
    int32_t *hidden;
    int32_t *cell;
    int32_t *sums;
    int16_t *starts;
    int16_t *cells;
    int32_t *through_delta;
} workspace;

/* The sequence that a call goes through. */
typedef struct {
    const int8_t *x;
    const int8_t *y;
    const int32_t *bias;
} sequence;

/* The cell behind a step from the one before it, which may lie in the same place. */
static inline void step_forward(const kt_lstm_params *p, const lstm_trained *trained, const sequence *s, int32_t step, const int16_t *before,
                                int16_t *cell)
{
    const int8_t *const hidden = step > 0 ? s->y + (step - 1) * p->units : NULL;
    int32_t unit, g;
    for (unit = 0; unit < p->units; unit++) {
        int32_t gate[GATES] = {0};
        for (g = 0; g < OUTPUT_GATE; g++) {
            gate[g] = gate_value(p, trained, g, unit, s->x + step * p->depth, s->bias[g * p->units + unit], hidden);
        }
        cell[unit] = (int16_t)next_cell(p, gate, before[unit]);
    }
}

/* The cells in front of all segments. */
static inline void find_starts(const kt_lstm_gradient_params *params, const lstm_trained *trained, const sequence *s, int16_t *starts)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t last = (p->steps - 1) / params->every * params->every; /* the first step of the last segment */
    int32_t step;
    memset(starts, 0, (size_t)p->units * sizeof *starts);
    for (step = 0; step < last; step++) {
        const int16_t *const before = starts;
        if (step % params->every == 0) {
            starts += p->units;
        }
        step_forward(p, trained, s, step, before, starts);
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

static inline void lstm_gradient_walk(const kt_lstm_gradient_params *params, const lstm_trained *trained, const int8_t *g, const int8_t *x,
                                      const int8_t *y, const int32_t *bias, int8_t *dz, int32_t *scratch)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t units = p->units;
    const int32_t segments = (p->steps - 1) / params->every + 1;
    const sequence s = {x, y, bias};
    const kt_backward backward = {GATES, params->prescale, params->room, params->multiplier, params->multiplier_shift};
    int32_t *const rest = scratch + (trained == NULL ? 6 : 7) * units;
    int16_t *const cells = (int16_t *)rest + segments * units;
    const workspace w = {scratch, scratch + units, scratch + 2 * units, (int16_t *)rest, cells, rest - units};
    int32_t step, unit, i;
    find_starts(params, trained, &s, w.starts);
    memset(scratch, 0, (size_t)(2 * units) * sizeof *scratch);
    for (step = p->steps - 1; step >= 0; step--) {
        const int8_t *const result = y + step * units;
        const int32_t at = step % params->every;
        const int16_t *const start = w.starts + step / params->every * units;
        const int16_t *const before = at > 0 ? w.cells + (at - 1) * units : start;
        if (step == p->steps - 1 || at == params->every - 1) {
            for (i = 0; i <= at; i++) {
                step_forward(p, trained, &s, step - at + i, i > 0 ? w.cells + (i - 1) * units : start, w.cells + i * units);
            }
        }
        for (unit = 0; unit < units; unit++) {
            const int32_t arrived = kt_add_saturated(g[step * units + unit] * 65536, w.hidden[unit]);
            const int32_t dh = result[unit] > INT8_MIN && result[unit] < INT8_MAX ? arrived : 0;
            int32_t gate[GATES];
            for (i = 0; i < GATES; i++) {
                gate[i] = gate_value(p, trained, i, unit, x + step * p->depth, bias[i * units + unit], step > 0 ? result - units : NULL);
            }
            step_back(params, gate, before[unit], w.cells[at * units + unit], dh, unit, &w);
        }
        for (i = 0; i < GATES * units; i++) {
            dz[step * GATES * units + i] = kt_saturate8(kt_shift_round(w.sums[i], params->shift));
        }
        if (trained != NULL) {
            through_delta(p, trained, &w);
        }
        through_recurrent(&backward, p->recurrent, units, w.sums, w.hidden);
        for (unit = 0; unit < units && trained != NULL; unit++) {
            w.hidden[unit] = kt_add_saturated(w.hidden[unit], w.through_delta[unit]);
        }
    }
}

#endif
