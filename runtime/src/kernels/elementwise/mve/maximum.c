/* kt_maximum_s8 on cores with Helium: 16 elements at a time. */
#include "kt/architecture.h"
#include "kt/kernels/elementwise.h"

#if KT_MVE
#include <arm_mve.h>

void kt_maximum_s8(const kt_maximum_params *params, const int8_t *x, const int8_t *other, int8_t *y)
{
    int32_t left;
    for (left = params->size; left > 0; left -= 16, x += 16, other += 16, y += 16) {
        const mve_pred16_t rest = vctp8q((uint32_t)left);
        vstrbq_p_s8(y, vmaxq_s8(vldrbq_z_s8(x, rest), vldrbq_z_s8(other, rest)), rest);
    }
}
#endif
