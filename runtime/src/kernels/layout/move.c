/* Blocks of values from one order of axes to another: slices, transpositions, paddings. */
#include <string.h>

#include "kt/kernels/layout.h"

/* The innermost axis. */
static void move_line(const kt_move_params *params, const int8_t *x, int8_t *y)
{
    const int32_t count = params->extent[7];
    const int32_t from = params->from[7];
    const int32_t to = params->to[7];
    int32_t i;
    if (params->block == 1) {
        for (i = 0; i < count; i++) {
            y[i * to] = x[i * from];
        }
    } else {
        for (i = 0; i < count; i++) {
            memcpy(y + i * to, x + i * from, (size_t)params->block);
        }
    }
}

void kt_move_s8(const kt_move_params *params, const int8_t *x, int8_t *y)
{
    int32_t index[7] = {0};
    int32_t axis = 0;
    if (params->filled > 0) {
        memset(y, params->value, (size_t)params->filled);
    }
    x += params->start[0];
    y += params->start[1];
    while (axis >= 0) {
        move_line(params, x, y);
        for (axis = 6; axis >= 0; axis--) { /* the next line: the last axis that is not at its end goes on, those behind it begin again */
            if (++index[axis] < params->extent[axis]) {
                x += params->from[axis];
                y += params->to[axis];
                break;
            }
            x -= (params->extent[axis] - 1) * params->from[axis];
            y -= (params->extent[axis] - 1) * params->to[axis];
            index[axis] = 0;
        }
    }
}
