/* int8 as uint8 whose zero point is 128 higher, and back: the highest bit of each byte turned. */
#include "kt/kernels/elementwise.h"

#include <string.h>

void kt_turn_sign(const kt_turn_sign_params *params, const void *x, void *y)
{
    const int32_t size = params->size;
    const uint8_t *from = x;
    uint8_t *to = y;
    int32_t i = 0;
    for (; i + 4 <= size; i += 4) {
        uint32_t four;
        memcpy(&four, from + i, 4);
        four ^= 0x80808080u;
        memcpy(to + i, &four, 4);
    }
    for (; i < size; i++) {
        to[i] = (uint8_t)(from[i] ^ 0x80);
    }
}
