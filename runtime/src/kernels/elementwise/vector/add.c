/* ADD of two int8 tensors of one shape in vectors. */
#include "../add.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "sum.h"

void kt_add_s8(const kt_add_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    const kt_sum_of_two p = {params->input_offset, params->multiplier, params->shift, params->clamp, params->output_offset};
    const int32_t done = kt_sum_in_lanes(&p, params->size, x, other, 0, y);
    kt_add_from(params, x, other, y, done);
}

#endif
