/* SUB of two int8 tensors of one shape in vectors. */
#include "../sub.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "sum.h"

void kt_sub_s8(const kt_sub_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_sum_of_two p = {params->input_offset, params->multiplier, params->shift, params->clamp, params->output_offset};
    const int32_t done = kt_sum_in_lanes(&p, params->size, x, other, 1, y);
    kt_sub_from(params, x, other, y, done);
}

#endif
