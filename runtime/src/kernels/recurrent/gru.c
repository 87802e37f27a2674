/* GRU with the reset behind the product: int8 rows, gates and state of 16 bits.
 *
 * The gates of a unit read the row of y before this one. Its state has more bits than that row, and is kept beside it. */
#include <string.h>

#include "gru_gates.h"

void kt_gru_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int16_t *scratch)
{
    const kt_gru_params p = *params;
    const int8_t *before = NULL;
    int32_t step, unit;
    memset(scratch, 0, (size_t)p.units * sizeof *scratch);
    for (step = 0; step < p.steps; step++) {
        for (unit = 0; unit < p.units; unit++) {
            const kt_gru_unit found = gru_unit(&p, unit, x, bias, before);
            y[unit] = gru_result(&p, &found, scratch + unit);
        }
        before = y;
        x += p.depth;
        y += p.units;
    }
}
