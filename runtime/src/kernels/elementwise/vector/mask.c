/* Gradients that stop where a forward result was clamped, eight elements at once. */
#include "../mask.h"
#include "kt/architecture.h"

#if KT_VECTOR

enum { PIECE = 32 };

/* low < y < high, as limits of int8 that y lies between, both included; none where the first is above the second. */
static void limits_of(const kt_mask_params *params, int8_t *least, int8_t *most)
{
    *least = (int8_t)kt_clamp(params->low + 1, -128, 127);
    *most = (int8_t)kt_clamp(params->high - 1, -128, 127);
    if (params->low + 1 > 127 || params->high - 1 < -128) {
        *least = 127;
        *most = -128;
    }
}

void kt_save_mask_s8(const kt_mask_params *params, const int8_t *y, uint8_t *mask)
{
    const int32_t whole = params->size & -8;
    int8_t least, most;
    int32_t i, k;
    limits_of(params, &least, &most);
    for (i = 0; i < whole; i += 8) {
        uint8_t passes[8];
        uint64_t bits;
        for (k = 0; k < 8; k++) {
            passes[k] = (uint8_t)((y[i + k] >= least) & (y[i + k] <= most));
        }
        memcpy(&bits, passes, 8);
        mask[i >> 3] = (uint8_t)((bits * UINT64_C(0x0102040810204080)) >> 56);
    }
    kt_save_mask_from(*params, y, mask, whole);
}

void kt_apply_mask_s8(const kt_mask_params *params, const int8_t *g, const uint8_t *mask, int8_t *result)
{
    const int32_t whole = params->size & -8;
    int32_t i;
    for (i = 0; i < whole; i += 8) {
        uint64_t values, bits = (mask[i >> 3] * UINT64_C(0x0101010101010101)) & UINT64_C(0x8040201008040201);
        memcpy(&values, g + i, 8);
        bits = (bits + UINT64_C(0x7F7F7F7F7F7F7F7F)) & UINT64_C(0x8080808080808080); /* no carry leaves a byte: 0x80 + 0x7F */
        values &= (bits >> 7) * 0xFF;
        memcpy(result + i, &values, 8);
    }
    kt_apply_mask_from(params->size, g, mask, result, whole);
}

void kt_mask_gradient_s8(const kt_mask_params *params, const int8_t *g, const int8_t *y, int8_t *result)
{
    const int32_t whole = params->size & -PIECE;
    int8_t least, most;
    int32_t i, k;
    limits_of(params, &least, &most);
    for (i = 0; i < whole; i += PIECE) { /* read as a whole: the result may be one of the operands */
        int8_t values[PIECE], from[PIECE];
        memcpy(values, g + i, PIECE);
        memcpy(from, y + i, PIECE);
        for (k = 0; k < PIECE; k++) {
            values[k] = (int8_t)(values[k] & -((from[k] >= least) & (from[k] <= most)));
        }
        memcpy(result + i, values, PIECE);
    }
    kt_mask_gradient_from(*params, g, y, result, whole);
}
#endif
