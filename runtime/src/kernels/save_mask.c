/* Keeps one bit of each element of a forward result: 1 where low < y < high. Lowest bit first, the last byte filled
 * with 0. A clamped element stops its gradient (kt_apply_mask_s8). */
#include "kt/kernels.h"

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t size = params->size;
    const int32_t low = params->low;
    const int32_t high = params->high;
    int32_t start, i;
    for (start = 0; start < size; start += 8) {
        const int32_t count = size - start < 8 ? size - start : 8;
        uint32_t bits = 0;
        for (i = 0; i < count; i++) {
            if (y[start + i] > low && y[start + i] < high) {
                bits |= UINT32_C(1) << i;
            }
        }
        *mask++ = (uint8_t)bits;
    }
}
