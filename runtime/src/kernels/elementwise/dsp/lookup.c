/* kt_lookup_s8 for the DSP extension: codes are loaded, and results stored, four at once. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_DSP && !KT_MVE

#include "../../dsp/simd.h"

void kt_lookup_s8(const kt_lookup_params *params, const int8_t *x, int8_t *y)
{
    const uint8_t *const table = (const uint8_t *)params->table;
    const int32_t size = params->size, whole = size & ~3;
    int32_t i;
    for (i = 0; i < whole; i += 4) {
        const uint32_t at = kt_load_word(x + i) ^ UINT32_C(0x80808080); /* + 128 */
        const int32_t y0 = table[(uint8_t)at], y1 = table[(uint8_t)(at >> 8)];
        const int32_t y2 = table[(uint8_t)(at >> 16)], y3 = table[at >> 24];
        kt_store_word(y + i, kt_bytes(y0, y1, y2, y3));
    }
    for (; i < size; i++) {
        y[i] = params->table[x[i] + 128];
    }
}

#endif
