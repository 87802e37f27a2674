/* kt_add_s8 on cores with Helium. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include "sum.h"

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_sum_scales scales = {
        {params->input_offset[0], params->input_offset[1]},
        {params->multiplier[0], params->multiplier[1], params->multiplier[2]},
        {params->shift[0], params->shift[1], params->shift[2]},
    };
    kt_sum_lanes(&scales, kt_lanes_clamp_of(params->output_offset, params->clamp), params->size, x, other, y, 0);
}
#endif
