/* kt/random.h: random numbers without a state of their own, for stochastic rounding.
 *
 * A number is a function of (seed, counter, stream, index): the seed and the counter (of updates) lie in the model's
 * state, the stream names a use (which parameter, which of its arrays), the index an element. So equal states go on
 * equally on every core, and nothing has to be drawn in a certain order.
 *
 *     mix(x)                       a bijection of 32 bits, "lowbias32": C. Wellons, Prospecting for Hash Functions (2018)
 *     key   = mix(mix(mix(seed) + counter) + stream)
 *     bits  = mix(key + index * 0x9E3779B9)        a Weyl sequence under the mixer, as in SplitMix (Steele et al., 2014)
 *     unit  = (bits >> 8) * 2^-24                  uniform in [0, 1), exact in float32
 *
 * The NumPy twin is in codegen/kiloc/numerics.py. */
#ifndef KT_RANDOM_H
#define KT_RANDOM_H

#include "kt/strict_float.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint32_t kt_random_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= UINT32_C(0x7FEB352D);
    x ^= x >> 15;
    x *= UINT32_C(0x846CA68B);
    x ^= x >> 16;
    return x;
}

static inline uint32_t kt_random_key(int32_t seed, int32_t counter, int32_t stream)
{
    const uint32_t sown = kt_random_mix((uint32_t)seed) + (uint32_t)counter;
    return kt_random_mix(kt_random_mix(sown) + (uint32_t)stream);
}

static inline float kt_random_unit(uint32_t key, int32_t index)
{
    const uint32_t bits = kt_random_mix(key + (uint32_t)index * UINT32_C(0x9E3779B9));
    return (float)(int32_t)(bits >> 8) * 5.9604644775390625e-8f;
}

/* floor(x), or one more with the probability of the fraction: right on average, and a whole x never moves.
 * |x| < 2^31. */
static inline int32_t kt_round_stochastic(float x, uint32_t key, int32_t index)
{
    const int32_t truncated = (int32_t)x;
    const int32_t whole = truncated - ((float)truncated > x ? 1 : 0);
    const float fraction = x - (float)whole;
    return whole + (kt_random_unit(key, index) < fraction ? 1 : 0);
}

#ifdef __cplusplus
}
#endif
#endif
