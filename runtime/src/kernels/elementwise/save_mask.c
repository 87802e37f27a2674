/* Keeps one bit of each element of a forward result: 1 where low < y < high. Lowest bit first, the last byte filled
 * with 0. A clamped element stops its gradient (kt_apply_mask_s8). */
#include "kt/architecture.h"
#include "mask.h"

#if !KT_DSP

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    kt_save_mask_from(*params, y, mask, 0);
}

#endif
