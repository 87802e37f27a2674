/* The down-projection of LoRA and of bottleneck adapters: u = A (x - z_x) under a window, as int8 with the scale
 * s_x * 2^range.
 *
 *     u = clamp(shift_round(A (x - z_x), range - a_exponent), low, 127), half up
 *
 * Remembers whether an element needed a larger range, so that it can grow after the update. */
#include "down_projection.h"
#include "kt/kernels/lora.h"
#include "kt/architecture.h"

#if !KT_DSP

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const int8_t hit = kt_project_all(params, x, a, *range - *a_exponent, u, kt_patch_sums);
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}

#endif
