/* CONCATENATION and PACK: the operands one behind the other, at each position in front of the joined axis. */
#include <string.h>

#include "kt/kernels/layout.h"

/* The body for values of any type. */
#define JOIN(params, x, y) \
    int32_t o, part; \
    for (o = 0; o < (params)->outer; o++) { \
        for (part = 0; part < (params)->parts; part++) { \
            const size_t width = (size_t)(params)->width[part]; \
            memcpy(y, (x)[part] + (size_t)o * width, width * sizeof *(y)); \
            (y) += width; \
        } \
    }

void kt_concatenate_s8(const kt_concatenate_params *params, const int8_t *const *x, int8_t *y)
{
    JOIN(params, x, y)
}

void kt_concatenate_s16(const kt_concatenate_params *params, const int16_t *const *x, int16_t *y)
{
    JOIN(params, x, y)
}
