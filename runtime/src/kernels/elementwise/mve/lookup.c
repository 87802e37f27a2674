/* kt_lookup_s8 on cores with Helium: 16 results gathered at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include <arm_mve.h>

void kt_lookup_s8(const kt_lookup_params *params, const int8_t *x, int8_t *y)
{
    const int8_t *const table = params->table;
    int32_t left;
    for (left = params->size; left > 0; left -= 16, x += 16, y += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)left);
        const uint8x16_t at = veorq_u8(vreinterpretq_u8_s8(vldrbq_z_s8(x, rest)), vdupq_n_u8(0x80)); /* + 128 */
        vstrbq_p_s8(y, vldrbq_gather_offset_z_s8(table, at, rest), rest);
    }
}
#endif
