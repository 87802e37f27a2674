/* Gradients that stop where a forward result was clamped. */
#include "kt/architecture.h"
#include "mask.h"

#if !KT_DSP

/* Keeps one bit of each element of a forward result: 1 where low < y < high. Lowest bit first, the last byte filled
 * with 0. A clamped element stops its gradient (kt_apply_mask_s8). */
void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    kt_save_mask_from(*params, y, mask, 0);
}

/* Stops a gradient where a saved bit is 0: result = g where bit i of the mask is 1 (lowest bit first), else 0. */
void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    kt_apply_mask_from(params->size, g, mask, result, 0);
}

/* Stops a gradient where the forward result was clamped: result = g where low < y < high, else 0. */
void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    kt_mask_gradient_from(*params, g, y, result, 0);
}
#endif
