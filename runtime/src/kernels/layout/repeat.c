/* Values one behind the other several times, and the gradient of that: depthwise layers with several results of each channel, and TILE. */
#include "repeat.h"
#include "../window.h"
#include "kt/architecture.h"

#if !KT_MVE

void kt_repeat_s8(const kt_repeat_params *params, const int8_t *x, int8_t *y)
{
    const kt_repeat_params p = *params;
    const int32_t direction = kt_direction(x, y);
    int32_t i;
    for (i = kt_first(direction, p.size); kt_within(i, p.size); i += direction) {
        kt_repeat_one(&p, i, x, y);
    }
}

void kt_repeat_gradient_s8(const kt_repeat_gradient_params *params, const int8_t *g, int8_t *dx)
{
    const kt_repeat_gradient_params p = *params;
    const int32_t direction = kt_direction(g, dx);
    int32_t i;
    for (i = kt_first(direction, p.size); kt_within(i, p.size); i += direction) {
        kt_sum_repeated(&p, i, g, dx);
    }
}

#endif
