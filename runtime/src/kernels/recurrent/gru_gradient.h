/* Gradient of a GRU through time.
 *
 * Going forward once gives the states in front of each segment of steps; going back, those of a segment are computed again, and the gates of a step
 * from the rows of x and of y. */
#ifndef KT_RECURRENT_GRU_GRADIENT_H
#define KT_RECURRENT_GRU_GRADIENT_H

#include <stddef.h>
#include <string.h>

#include "gru_gates.h"
#include "through_time.h"

/* What one call works with: the gradients that the step behind hands on, through the product and past it, those of one step's sums, and the states
 * in front of each segment and behind each step of one. */
typedef struct {
    int32_t *hidden;
    int32_t *direct;
    int32_t *sums;
    int16_t *starts;
    int16_t *states;
} workspace;

/* The sequence that a call goes through. */
typedef struct {
    const int8_t *x;
    const int8_t *y;
    const int32_t *bias;
    const gru_addend *added;
} sequence;

/* The state behind a step from the one before it, which may lie in the same place. */
static inline void step_forward(const kt_gru_params *p, const sequence *s, int32_t step, const int16_t *before, int16_t *state)
{
    const int8_t *const hidden = step > 0 ? s->y + (step - 1) * p->units : NULL;
    const int32_t *const start = gru_start(p, s->bias, s->added, step);
    int32_t unit;
    for (unit = 0; unit < p->units; unit++) {
        const kt_gru_unit found = gru_unit(p, unit, s->x + step * p->depth, start, hidden);
        state[unit] = (int16_t)next_state(&found, before[unit]);
    }
}

/* The states in front of all segments. */
static inline void find_starts(const kt_gru_gradient_params *params, const sequence *s, int16_t *starts)
{
    const kt_gru_params *p = &params->layer;
    const int32_t last = (p->steps - 1) / params->every * params->every; /* the first step of the last segment */
    int32_t step;
    memset(starts, 0, (size_t)p->units * sizeof *starts);
    for (step = 0; step < last; step++) {
        const int16_t *const before = starts;
        if (step % params->every == 0) {
            starts += p->units;
        }
        step_forward(p, s, step, before, starts);
    }
}

/* The gradients of the three sums of a unit, and what goes past them to the state before. dh: of the state. */
static inline void step_back(const kt_gru_unit *u, int32_t before, int32_t dh, int32_t unit, int32_t units, const workspace *w)
{
    const int32_t update = u->gate[UPDATE_GATE];
    const int32_t reset = u->gate[RESET_GATE];
    const int32_t fresh = u->gate[NEW_GATE];
    const int32_t d_new = product(dh, (1 << 15) - update, of_square(fresh));
    int32_t *sums = w->sums + unit;
    sums[0] = kt_high_multiply(kt_high_multiply(dh, (before - fresh) * 32768), 2 * of_product(update));
    sums[units] = kt_shift_round(product(d_new, u->inner, 2 * of_product(reset)), -2);
    sums[2 * units] = d_new;
    w->direct[unit] = kt_high_multiply(dh, update * 65536);
}

/* dz from g of a sequence. scratch: as of kt_gru_gradient_s8. */
static inline void gru_gradient(const kt_gru_gradient_params *params, const int8_t *g, const sequence *s, int8_t *dz, int32_t *scratch)
{
    const kt_gru_params *p = &params->layer;
    const int32_t units = p->units;
    const kt_backward backward = {GATES, params->prescale, params->room, params->multiplier, params->multiplier_shift};
    int16_t *const starts = (int16_t *)(scratch + 5 * units);
    const workspace w = {scratch, scratch + units, scratch + 2 * units, starts, starts + ((p->steps - 1) / params->every + 1) * units};
    const int32_t *begun;
    int32_t step, unit, i;
    find_starts(params, s, w.starts);
    memset(scratch, 0, (size_t)(2 * units) * sizeof *scratch);
    for (step = p->steps - 1; step >= 0; step--) {
        const int8_t *const result = s->y + step * units;
        const int8_t *const row = s->x + step * p->depth;
        int8_t *const gradient = dz + step * GATES * units;
        const int32_t at = step % params->every;
        const int16_t *const start = w.starts + step / params->every * units;
        const int16_t *const before = at > 0 ? w.states + (at - 1) * units : start;
        if (step == p->steps - 1 || at == params->every - 1) {
            for (i = 0; i < at; i++) {
                step_forward(p, s, step - at + i, i > 0 ? w.states + (i - 1) * units : start, w.states + i * units);
            }
        }
        begun = gru_start(p, s->bias, s->added, step);
        for (unit = 0; unit < units; unit++) {
            const int32_t arrived = kt_add_saturated(g[step * units + unit] * 65536, w.hidden[unit]);
            const int32_t passed = result[unit] > INT8_MIN && result[unit] < INT8_MAX ? arrived : 0;
            const kt_gru_unit found = gru_unit(p, unit, row, begun, step > 0 ? result - units : NULL);
            step_back(&found, before[unit], kt_add_saturated(passed, w.direct[unit]), unit, units, &w);
            for (i = 0; i < GATES; i++) {
                gradient[i * units + unit] = kt_saturate8(kt_shift_round(w.sums[i * units + unit], params->shift));
            }
            w.sums[NEW_GATE * units + unit] = kt_high_multiply(w.sums[NEW_GATE * units + unit], found.gate[RESET_GATE] * 65536);
        }
        through_recurrent(&backward, p->recurrent, units, w.sums, w.hidden);
    }
}

#endif
