/* mask.h: low < y < high for four values at once.
 *
 * With d = y - (low + 1) modulo 256 it is d <= high - low - 2 as unsigned numbers. The comparison of bytes sets a flag
 * for each, which SEL reads. */
#ifndef KT_DSP_MASK_H
#define KT_DSP_MASK_H

#include "kt/kernels/elementwise.h"
#include "../../dsp/simd.h"

typedef struct {
    uint32_t above; /* low + 1 */
    uint32_t width; /* high - low - 2 */
} kt_range;

/* Nothing passes where high < low + 2, which no width says: then the elements are taken one by one. */
static inline int kt_is_range(const kt_mask_params *params)
{
    return params->high - params->low >= 2;
}

static inline kt_range kt_range_of(const kt_mask_params *params)
{
    kt_range range;
    range.above = kt_four(params->low + 1);
    range.width = kt_four(params->high - params->low - 2);
    return range;
}

/* The bytes of `value` where y lies in the range, else 0. */
static inline uint32_t kt_select(kt_range range, uint32_t y, uint32_t value)
{
    (void)__usub8(range.width, __usub8(y, range.above));
    return __sel(value, 0);
}

#endif
