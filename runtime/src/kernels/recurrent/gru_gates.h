/* The gates of a gated recurrent unit: codegen/kiloc/ops/_gru.py in C. */
#ifndef KT_RECURRENT_GRU_GATES_H
#define KT_RECURRENT_GRU_GATES_H

#include <stddef.h>

#include "kt/kernels/recurrent.h"
#include "kt/numerics.h"

#include "../table16.h"

enum { UPDATE_GATE, RESET_GATE, NEW_GATE, GATES };

/* One step of one unit: its gates in 2^-15, and what the reset gate multiplies. */
typedef struct {
    int32_t gate[GATES];
    int32_t inner;
} kt_gru_unit;

static inline int32_t clamp16(int32_t x)
{
    return kt_clamp(x, INT16_MIN, INT16_MAX);
}

/* x / 2^15, ties towards plus infinity. */
static inline int32_t halved(int32_t x)
{
    return (x + (1 << 14)) >> 15;
}

static inline int32_t row_sum(const int8_t *w, const int8_t *x, int32_t offset, int32_t count)
{
    int32_t sum = 0;
    int32_t i;
    for (i = 0; i < count; i++) {
        sum += w[i] * (x[i] + offset);
    }
    return sum;
}

/* What LoRA adds to the sums over x. u: of all rows; exponent: of the product b u; start [3 * units]: where the sums of a row are begun. */
typedef struct {
    const kt_gru_lora *lora;
    const int8_t *u;
    const int8_t *b;
    int32_t exponent;
    int32_t *start;
} gru_addend;

/* What the sums over a row of x start from: the bias, or with LoRA (NULL for none) that and its addend. */
static inline const int32_t *gru_start(const kt_gru_params *p, const int32_t *bias, const gru_addend *added, int32_t step)
{
    int32_t row, g, unit;
    if (added == NULL) {
        return bias;
    }
    for (g = 0, row = 0; g < GATES; g++) {
        const int32_t shift = added->lora->shift[g] + added->exponent;
        for (unit = 0; unit < p->units; unit++, row++) {
            const int32_t sum = row_sum(added->b + row * added->lora->rank, added->u + step * added->lora->rank, 0, added->lora->rank);
            const int32_t scaled = kt_requantize(sum, added->lora->multiplier[g], shift);
            added->start[row] = kt_add_saturated(kt_clamp(scaled, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT), bias[row]);
        }
    }
    return added->start;
}

/* hidden: the row of y before this one, NULL in front of the first. */
static inline kt_gru_unit gru_unit(const kt_gru_params *p, int32_t unit, const int8_t *x, const int32_t *bias, const int8_t *hidden)
{
    kt_gru_unit found;
    int32_t product[GATES], before[GATES];
    int32_t g;
    for (g = 0; g < GATES; g++) {
        const int32_t row = g * p->units + unit;
        const int32_t sum = kt_add_saturated(row_sum(p->weights + row * p->depth, x, p->input_offset, p->depth), bias[row]);
        product[g] = clamp16(kt_requantize(sum, p->gate_multiplier[g], p->gate_shift[g]));
        before[g] = 0;
        if (hidden != NULL) {
            const int32_t old = row_sum(p->recurrent + row * p->units, hidden, -p->hidden_zero, p->units);
            before[g] = clamp16(kt_requantize(old, p->recurrent_multiplier[g], p->recurrent_shift[g]));
        }
    }
    found.gate[UPDATE_GATE] = kt_logistic16(p->sigmoid, 3 * clamp16(product[UPDATE_GATE] + before[UPDATE_GATE]));
    found.gate[RESET_GATE] = kt_logistic16(p->sigmoid, 3 * clamp16(product[RESET_GATE] + before[RESET_GATE]));
    found.inner = clamp16(kt_add_saturated(before[NEW_GATE], p->inner[unit]));
    found.gate[NEW_GATE] = kt_tanh16(p->sigmoid, 3 * clamp16(product[NEW_GATE] + halved(found.gate[RESET_GATE] * found.inner)));
    return found;
}

/* The state of one unit from the one before it, in 2^-15. */
static inline int32_t next_state(const kt_gru_unit *u, int32_t before)
{
    const int32_t distance = before - u->gate[NEW_GATE];
    const int64_t kept = (int64_t)u->gate[UPDATE_GATE] * distance;
    return clamp16(u->gate[NEW_GATE] + (int32_t)((kept + (1 << 14)) >> 15));
}

/* The result of one unit; its state moves on. */
static inline int8_t gru_result(const kt_gru_params *p, const kt_gru_unit *u, int16_t *state)
{
    const int32_t next = next_state(u, *state);
    *state = (int16_t)next;
    return kt_clamp_with_offset(kt_requantize(next, p->output_multiplier, p->output_shift), p->hidden_zero, INT8_MIN, INT8_MAX);
}

#endif
