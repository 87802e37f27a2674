/* CONCATENATION and PACK: the operands one behind the other, at each position in front of the joined axis. */
#include <string.h>

#include "kt/kernels/layout.h"

void kt_concatenate_s8(const kt_concatenate_params *params, const int8_t *const *x, int8_t *y)
{
    int32_t o, part;
    for (o = 0; o < params->outer; o++) {
        for (part = 0; part < params->parts; part++) {
            const size_t width = (size_t)params->width[part];
            memcpy(y, x[part] + (size_t)o * width, width);
            y += width;
        }
    }
}
