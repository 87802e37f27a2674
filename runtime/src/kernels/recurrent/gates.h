/* The gates of a long short-term memory: codegen/kiloc/ops/model/lstm.py and _table16.py in C. */
#ifndef KT_RECURRENT_GATES_H
#define KT_RECURRENT_GATES_H

#include "kt/kernels/recurrent.h"
#include "kt/numerics.h"

#include "../table16.h"

enum { INPUT_GATE, FORGET_GATE, CELL_GATE, OUTPUT_GATE, GATES };

/* The deltas of a layer; room: of its gradient. */
typedef struct {
    const kt_lstm_delta *params;
    const int8_t *weights;
    const int8_t *recurrent;
    int32_t exponent;
    int32_t recurrent_exponent;
    int32_t room;
} lstm_trained;

static inline int32_t clamp16(int32_t x)
{
    return kt_clamp(x, INT16_MIN, INT16_MAX);
}

static inline int32_t row_product(const int8_t *weights, const int8_t *values, int32_t offset, int32_t count)
{
    int32_t sum = 0;
    int32_t i;
    for (i = 0; i < count; i++) {
        sum += weights[i] * (values[i] + offset);
    }
    return sum;
}

/* The row of the deltas of one unit of a gate, -1 for none. */
static inline int32_t delta_row(const lstm_trained *trained, int32_t channel)
{
    return trained->params->rows == NULL ? channel : trained->params->rows[channel];
}

static inline int32_t addend(int32_t product, int32_t multiplier, int32_t shift)
{
    return kt_clamp(kt_requantize(product, multiplier, shift), -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
}

/* The sum of one row of a gate, before its function. hidden: NULL for a hidden state of 0; trained: NULL where there are no deltas. */
static inline int32_t gate_sum(const kt_lstm_params *p, const lstm_trained *trained, int32_t gate, int32_t unit, const int8_t *x, int32_t bias,
                               const int8_t *hidden)
{
    const int32_t channel = gate * p->units + unit;
    const int32_t row = trained == NULL ? -1 : delta_row(trained, channel);
    int32_t sum = row_product(p->weights + channel * p->depth, x, p->input_offset, p->depth);
    int32_t result;
    if (row >= 0) {
        sum += addend(row_product(trained->weights + row * p->depth, x, p->input_offset, p->depth), trained->params->multiplier[gate],
                      trained->params->shift[gate] + trained->exponent);
    }
    result = clamp16(kt_requantize(kt_add_saturated(sum, bias), p->gate_multiplier[gate], p->gate_shift[gate]));
    if (hidden != NULL) {
        sum = row_product(p->recurrent + channel * p->units, hidden, -p->hidden_zero, p->units);
        if (row >= 0) {
            sum += addend(row_product(trained->recurrent + row * p->units, hidden, -p->hidden_zero, p->units),
                          trained->params->recurrent_multiplier[gate], trained->params->recurrent_shift[gate] + trained->recurrent_exponent);
        }
        result = clamp16(result + clamp16(kt_requantize(sum, p->recurrent_multiplier[gate], p->recurrent_shift[gate])));
    }
    return result;
}

/* A gate of one unit, in 2^-15. */
static inline int32_t gate_value(const kt_lstm_params *p, const lstm_trained *trained, int32_t gate, int32_t unit, const int8_t *x, int32_t bias,
                                 const int8_t *hidden)
{
    const int32_t sum = 3 * gate_sum(p, trained, gate, unit, x, bias, hidden);
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
