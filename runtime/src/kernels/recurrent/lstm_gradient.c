/* Gradient of an LSTM through time.
 *
 * Going forward once gives the cells of all steps, which is all that is kept; going back, the gates of a step are computed again from the rows of
 * x and of y. */
#include <stddef.h>
#include <string.h>

#include "gates.h"
#include "through_time.h"

/* What one call works with: the gradients that the step behind hands on, those of one step's sums, and the cells from before the first step on. */
typedef struct {
    int32_t *hidden;
    int32_t *cell;
    int32_t *sums;
    int16_t *cells;
} workspace;

static void run_forward(const kt_lstm_params *p, const int8_t *x, const int8_t *y, const int32_t *bias, int16_t *cells)
{
    const int8_t *before = NULL;
    int32_t step, unit, g;
    memset(cells, 0, (size_t)p->units * sizeof *cells);
    for (step = 0; step < p->steps; step++) {
        for (unit = 0; unit < p->units; unit++) {
            int32_t gate[GATES] = {0};
            for (g = 0; g < OUTPUT_GATE; g++) {
                gate[g] = gate_value(p, g, unit, x, bias[g * p->units + unit], before);
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
static void step_back(const kt_lstm_gradient_params *params, const int32_t gate[GATES], int32_t before, int32_t cell, int32_t dh, int32_t unit,
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

void kt_lstm_gradient_s8(const kt_lstm_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias, int8_t *dz,
                         int32_t *scratch)
{
    const kt_lstm_params *p = &params->layer;
    const int32_t units = p->units;
    const kt_backward backward = {GATES, params->prescale, params->room, params->multiplier, params->multiplier_shift};
    const workspace w = {scratch, scratch + units, scratch + 2 * units, (int16_t *)(scratch + 6 * units)};
    int32_t step, unit, i;
    run_forward(p, x, y, bias, w.cells);
    memset(scratch, 0, (size_t)(2 * units) * sizeof *scratch);
    for (step = p->steps - 1; step >= 0; step--) {
        const int8_t *const result = y + step * units;
        const int16_t *const cells = w.cells + step * units;
        for (unit = 0; unit < units; unit++) {
            const int32_t arrived = kt_add_saturated(g[step * units + unit] * 65536, w.hidden[unit]);
            const int32_t dh = result[unit] > INT8_MIN && result[unit] < INT8_MAX ? arrived : 0;
            int32_t gate[GATES];
            for (i = 0; i < GATES; i++) {
                gate[i] = gate_value(p, i, unit, x + step * p->depth, bias[i * units + unit], step > 0 ? result - units : NULL);
            }
            step_back(params, gate, cells[unit], cells[unit + units], dh, unit, &w);
        }
        for (i = 0; i < GATES * units; i++) {
            dz[step * GATES * units + i] = kt_saturate8(kt_shift_round(w.sums[i], params->shift));
        }
        through_recurrent(&backward, p->recurrent, units, w.sums, w.hidden);
    }
}
