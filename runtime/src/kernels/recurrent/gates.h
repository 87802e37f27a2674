/* The gates of a long short-term memory: codegen/kiloc/ops/model/lstm.py and _table16.py in C. */
#ifndef KT_RECURRENT_GATES_H
#define KT_RECURRENT_GATES_H

#include "kt/kernels/recurrent.h"
#include "kt/numerics.h"

#include "../table16.h"

enum { INPUT_GATE, FORGET_GATE, CELL_GATE, OUTPUT_GATE, GATES };

static inline int32_t clamp16(int32_t x)
{
    return kt_clamp(x, INT16_MIN, INT16_MAX);
}

/* The sum of one row of a gate, before its function. hidden: NULL for a hidden state of 0. */
static inline int32_t gate_sum(const kt_lstm_params *p, int32_t gate, int32_t unit, const int8_t *x, int32_t bias, const int8_t *hidden)
{
    const int8_t *w = p->weights + (gate * p->units + unit) * p->depth;
    int32_t sum = 0;
    int32_t result, i;
    for (i = 0; i < p->depth; i++) {
        sum += w[i] * (x[i] + p->input_offset);
    }
    result = clamp16(kt_requantize(kt_add_saturated(sum, bias), p->gate_multiplier[gate], p->gate_shift[gate]));
    if (hidden != NULL) {
        w = p->recurrent + (gate * p->units + unit) * p->units;
        sum = 0;
        for (i = 0; i < p->units; i++) {
            sum += w[i] * (hidden[i] - p->hidden_zero);
        }
        result = clamp16(result + clamp16(kt_requantize(sum, p->recurrent_multiplier[gate], p->recurrent_shift[gate])));
    }
    return result;
}

/* A gate of one unit, in 2^-15. */
static inline int32_t gate_value(const kt_lstm_params *p, int32_t gate, int32_t unit, const int8_t *x, int32_t bias, const int8_t *hidden)
{
    const int32_t sum = 3 * gate_sum(p, gate, unit, x, bias, hidden);
    return gate == CELL_GATE ? kt_tanh16(p->sigmoid, sum) : kt_logistic16(p->sigmoid, sum);
}

/* The cell of one unit from the one before it. */
static inline int32_t next_cell(const kt_lstm_params *p, const int32_t gate[GATES], int32_t before)
{
    const int32_t kept = kt_requantize(gate[FORGET_GATE] * before, p->product_multiplier[0], p->product_shift[0]);
    const int32_t added = kt_requantize(gate[INPUT_GATE] * gate[CELL_GATE], p->product_multiplier[1], p->product_shift[1]);
    const int32_t cell = clamp16(clamp16(kept) + clamp16(added));
    return p->cell_clip == 0 ? cell : kt_clamp(cell, -p->cell_clip, p->cell_clip);
}

static inline int32_t cell_tanh(const kt_lstm_params *p, int32_t cell)
{
    return kt_tanh16(p->sigmoid, (cell * p->tanh_factor + ((1 << p->tanh_shift) >> 1)) >> p->tanh_shift);
}

#endif
