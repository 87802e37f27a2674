/* moves.h: the moves of masters by an outer product, in units (step_units.h): 2^-12 of a master's last bit, or of a larger power of two where steps are
 * large beside the masters, as those of a tensor that was never trained are. */
#ifndef KT_OPTIM_MOVES_H
#define KT_OPTIM_MOVES_H

#include "step_units.h"
#include "streamed.h"

/* Of a code in units. */
enum { KT_CODE_BITS = 8 + KT_UNIT_BITS };

/* widest    the largest magnitude of an input
 * kept      what decay leaves of a value
 * held      the exponent of masters; coarser: what is added to it for that of units, growth: what is added to both for that of moved masters
 * scaled    whether masters in units are products, with `scale`; else they are shifted
 * doubt     how far a moved value in units may be from float32's
 * stays     whether a value without a step is what it was */
typedef struct {
    const kt_streamed *streamed;
    kt_step_units units;
    int32_t rows, columns, widest;
    float kept;
    int32_t held, coarser, growth;
    int32_t scaled, scale, doubt;
    int stays;
} kt_moves;

/* Returns whether units hold all of it: float32 has gradients and steps as normal numbers, below its limits. */
static inline int kt_moves_of(const kt_streamed_params *params, const kt_streamed *s, int32_t held, float kept, kt_moves *m)
{
    const uint32_t gradient = kt_float_bits(kt_times(s->scale.value, &s->factor));
    const uint32_t step = kt_float_bits(kt_times(kt_float_of_bits(gradient), &s->rate));
    const int32_t scale_field = kt_exponent_field(kt_float_bits(s->scale.value)), field = kt_exponent_field(gradient);
    int32_t product = kt_largest_code(s->g, params->rows), largest, i;
    m->streamed = s;
    m->rows = params->rows;
    m->columns = params->columns;
    m->widest = 0;
    for (i = 0; i < params->columns; i++) {
        m->widest = kt_maximum(m->widest, (int32_t)kt_magnitude(s->x[i] + s->offset));
    }
    m->kept = kept;
    m->held = held;
    if (!(kept == 1.0f || (KT_FOR_SPEED && KT_LONG_PRODUCT && kept >= 0.0f && kept < 1.0f))) {
        return 0;
    }
    if (scale_field == 0 || scale_field > 255 - 16 || field <= 1 || field >= KT_EXPONENT_BIAS + 44 || kt_exponent_field(step) <= 1) {
        return 0;
    }
    product *= kt_maximum(m->widest, 1);
    largest = kt_exponent_field(step) - KT_EXPONENT_BIAS; /* the largest step has this exponent, or one more */
    for (i = product; i > 1; i >>= 1) {
        largest++;
    }
    m->coarser = kt_maximum(largest - held - KT_LARGEST_STEP, 0);
    if (!KT_FOR_SPEED && m->coarser > 0) {
        return 0;
    }
    m->scaled = KT_FOR_SPEED && (kept != 1.0f || m->coarser > 0);
    m->scale = KT_FOR_SPEED ? kt_scale_of_masters(kept, m->coarser) : 0;
    return m->coarser <= KT_KEPT_BITS && kt_choose_units(step, held + m->coarser, product, &m->units);
}

/* A master in units; may_scale: whether it may be so. */
KT_INLINE int32_t kt_held_units(const kt_moves *m, int32_t master, int may_scale)
{
    const int scaled = KT_FOR_SPEED && may_scale;
#if KT_LONG_PRODUCT
    if (scaled && m->scaled) {
        return kt_upper_product(master * (1 << (KT_UNIT_BITS + 32 - KT_KEPT_BITS)), m->scale);
    }
    return master * (1 << KT_UNIT_BITS);
#else
    return scaled ? (master * (1 << KT_UNIT_BITS)) >> m->coarser : master * (1 << KT_UNIT_BITS);
#endif
}

/* A moved master by float32. */
static __attribute__((noinline)) int32_t kt_doubted(const kt_moves *m, int32_t row, int32_t column, int32_t master)
{
    return kt_doubtful_master(master, m->kept, kt_streamed_step(m->streamed, row, column), m->held, m->coarser + m->growth);
}

#if KT_MVE
#include "mve/move_row.h"
#elif KT_DSP
#include "dsp/move_row.h"
#else
/* Takes the steps of a row; stays: a constant. */
KT_INLINE void kt_move_row_by(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder, int stays)
{
    const kt_streamed *const s = m->streamed;
    const kt_step_units units = m->units;
    const int32_t columns = m->columns, offset = s->offset, factor = kt_factor_of_row(&units, s->g[row]);
    const int32_t down = KT_UNIT_BITS + (stays ? 0 : m->growth), usual = m->doubt, base = (1 << (down - 1)) - usual;
    const int8_t *const x = s->x + columns;
    int32_t i;
    value += columns;
    remainder += columns;
    for (i = -columns; i != 0; i++) {
        const int32_t input = x[i] + offset;
        if (input != 0 || !stays) {
            const int32_t master = kt_master(value[i], remainder[i]), product = factor * input;
            const int32_t surely = stays || (KT_FOR_SPEED && m->scaled) || product != 0 ? 0 : usual;
            const int32_t held = kt_held_units(m, master, !stays) + base + surely;
            const int32_t moved = kt_less_step(&units, held, product);
            int32_t stored = moved >> down;
            if ((moved + 2 * (usual - surely)) >> down != stored) {
                stored = kt_doubted(m, row, columns + i, master);
            }
            kt_store_master(value + i, remainder + i, stored);
        }
    }
}

#ifndef KT_SMALL /* where one loop is for both */
static __attribute__((noinline)) void kt_move_staying_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
    kt_move_row_by(m, row, value, remainder, 1);
}
#endif

static __attribute__((noinline)) void kt_move_row(const kt_moves *m, int32_t row, int8_t *value, int8_t *remainder)
{
#ifndef KT_SMALL
    if (m->stays) {
        kt_move_staying_row(m, row, value, remainder);
        return;
    }
#endif
    kt_move_row_by(m, row, value, remainder, 0);
}
#endif

/* The larger of `largest` and the magnitudes of a row's moved values. No step of it exceeds `reach`, so that only codes of some magnitude can be
 * larger. */
static int32_t kt_largest_of_row(const kt_moves *m, int32_t factor, int32_t reach, const int8_t *value, const int8_t *remainder, int32_t largest)
{
    const kt_streamed *const s = m->streamed;
    const int32_t code = kt_maximum(KT_CODE_BITS - m->coarser, 0), rest = (1 << code >> 1) + 1; /* of a code in units, and of a remainder */
    int32_t i = -1;
    while ((i = kt_next_of_magnitude(value, i + 1, m->columns, ((largest - reach - rest) >> code) + 1)) < m->columns) {
        const int32_t held = kt_held_units(m, kt_master(value[i], remainder[i]), 1);
        largest = kt_maximum(largest, (int32_t)kt_magnitude(kt_less_step(&m->units, held, factor * (s->x[i] + s->offset))));
    }
    return largest;
}

/* Finds what is added to the exponent; returns whether float32 is certain to do the same. */
static int kt_choose_growth(kt_moves *m, const int8_t *value, const int8_t *remainder)
{
    int32_t largest = 0, longest = 0, row, doubt;
    for (row = 0; row < m->rows; row++) {
        const int32_t factor = kt_factor_of_row(&m->units, m->streamed->g[row]), at = row * m->columns;
        const int32_t reach = (int32_t)kt_magnitude(kt_less_step(&m->units, 0, factor * m->widest)) + 1;
        longest = kt_maximum(longest, reach);
        largest = kt_largest_of_row(m, factor, reach, value + at, remainder + at, largest);
    }
    doubt = kt_doubt_of(longest) + (KT_FOR_SPEED && m->scaled ? KT_SCALED_DOUBT : 0);
    if (!kt_is_certain_between(kt_maximum(largest - doubt, 0), largest + doubt, m->held + m->coarser, &m->growth)) {
        return 0;
    }
    m->stays = m->growth == 0 && !m->scaled;
    m->doubt = kt_doubtful_units(largest + doubt) + doubt;
    return 1;
}

/* Takes the steps. */
static void kt_move_all(const kt_moves *m, int8_t *value, int8_t *remainder)
{
    int32_t row;
    for (row = 0; row < m->rows; row++) {
        if (m->streamed->g[row] != 0 || !m->stays) {
            kt_move_row(m, row, value + row * m->columns, remainder + row * m->columns);
        }
    }
}

#endif
