/* Layers of int16 activations on cores with Helium: VMLALDAVA adds eight products to a sum of 64 bits. */
#include "kt/architecture.h"
#include "kt/kernels/convolution.h"

#if KT_MVE
#include <arm_mve.h>

/* Adds the products of n neighbouring values with those of two kernels. */
static inline void kt_add_span(int64_t *first_sum, int64_t *second_sum, const int16_t *x, const int8_t *first,
                            const int8_t *second, int32_t n)
{
    int64_t a = *first_sum, b = *second_sum;
    for (; n > 0; n -= 8, x += 8, first += 8, second += 8) {
        const mve_pred16_t rest = vctp16q((uint32_t)n);
        const int16x8_t values = vldrhq_z_s16(x, rest);
        a = vmlaldavaq_s16(a, values, vldrbq_z_s16(first, rest));
        b = vmlaldavaq_s16(b, values, vldrbq_z_s16(second, rest));
    }
    *first_sum = a;
    *second_sum = b;
}

#include "../two_wide_channels.h"

#endif
