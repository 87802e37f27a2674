/* gain.h: a trained gain on the accumulator of a layer, before its bias.
 *
 *     total' = saturate32(total) + clamp(requantize(saturate32(total), code * 2^24, exponent + 7), +-2^30)
 *
 * is total * (1 + code * 2^exponent), rounded twice. A code of 0 adds 0. */
#ifndef KT_GAIN_H
#define KT_GAIN_H

#include <stddef.h>

#include "kt/kernels/gain.h"
#include "kt/numerics.h"

/* codes: one a channel, NULL for none. */
typedef struct {
    const int8_t *codes;
    int32_t exponent;
} kt_gain;

static inline kt_gain kt_gain_of(const int8_t *codes, const int8_t *exponent)
{
    kt_gain gain;
    gain.codes = codes;
    gain.exponent = codes == NULL ? 0 : *exponent;
    return gain;
}

static inline int64_t kt_with_gain(const kt_gain *gain, int64_t total, int32_t channel)
{
    if (gain->codes != NULL) {
        const int32_t sum = kt_saturate32(total);
        const int32_t code = gain->codes[channel] * (INT32_C(1) << 24);
        const int32_t addend = kt_requantize(sum, code, gain->exponent + 7);
        return (int64_t)sum + kt_clamp(addend, -KT_ADDEND_LIMIT, KT_ADDEND_LIMIT);
    }
    return total;
}

#endif
