/* The steps of a long short-term memory.
 *
 * A unit's gates read the hidden state that all units left in the step before, which is the row of y before this one: nothing but the cell is
 * kept beside it. */
#ifndef KT_RECURRENT_LSTM_H
#define KT_RECURRENT_LSTM_H

#include <stddef.h>
#include <string.h>

#include "gates.h"

static inline void lstm_walk(const kt_lstm_params *params, const lstm_trained *trained, const int8_t *x, const int32_t *bias, int8_t *hidden,
                             int16_t *cell, int8_t *y, int16_t *scratch)
{
    const kt_lstm_params p = *params;
    const int8_t *before = hidden;
    int32_t step, unit, g;
    if (cell == NULL) {
        cell = scratch;
        memset(cell, 0, (size_t)p.units * sizeof *cell);
    }
    for (step = 0; step < p.steps; step++) {
        for (unit = 0; unit < p.units; unit++) {
            int32_t gate[GATES];
            int32_t product;
            for (g = 0; g < GATES; g++) {
                gate[g] = gate_value(&p, trained, g, unit, x, bias[g * p.units + unit], before);
            }
            cell[unit] = (int16_t)next_cell(&p, gate, cell[unit]);
            product = kt_requantize(gate[OUTPUT_GATE] * cell_tanh(&p, cell[unit]), p.product_multiplier[2], p.product_shift[2]);
            y[unit] = kt_clamp_with_offset(product, p.hidden_zero, INT8_MIN, INT8_MAX);
        }
        before = y;
        x += p.depth;
        y += p.units;
    }
    if (hidden != NULL) {
        memcpy(hidden, before, (size_t)p.units);
    }
}

#endif
