/* SUB of two int16 tensors without zero points: both brought to a common scale with 15 extra bits, and requantised
 * once.
 *
 * Source: TensorFlow Lite's reference kernels for int16; every requantisation rounds twice. */
#include "sub.h"
#include "broadcast.h"

static inline int16_t element(const kt_sub_params *p, int32_t x, int32_t other)
{
    return (int16_t)kt_clamp(kt_sub_scaled(p, x, other, INT32_C(1) << 15), p->clamp[0], p->clamp[1]);
}

void kt_sub_s16(const kt_sub_params *params, const int16_t *x, const int16_t *other, int16_t *y)
{
    const kt_sub_params p = *params;
    int32_t i;
    for (i = 0; i < p.size; i++) {
        y[i] = element(&p, x[i], other[i]);
    }
}

void kt_sub_broadcast_s16(const kt_sub_broadcast_params *params, const int16_t *x, const int16_t *other, int16_t *y)
{
    KT_BROADCAST(kt_sub_s16, element)
}
