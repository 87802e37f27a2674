/* blocks.h: moments in 8 bits. Blocks of KT_STATE_BLOCK elements (the last may be shorter) share one float32 scale.
 *
 * linear: signed, x = code * scale, scale = max |x| / 127, rounded half up.
 * root:   x >= 0, x = (code * scale)^2, scale = sqrt(max x) / 255, rounded stochastically, and x > 0 is never 0.
 *         Adam's second moment decays by less than one code an update: rounding to nearest or up would freeze it, and
 *         a small one that became 0 would be divided by.
 * Blocks whose scale would be below 2^-126 become 0.
 * Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (2022); the codes are our own. */
#ifndef KT_OPTIM_BLOCKS_H
#define KT_OPTIM_BLOCKS_H

#include "kt/numerics.h"
#include "kt/optim.h"
#include "kt/random.h"

/* 2^-126 */
#define KT_SMALLEST_SCALE 1.17549435e-38f

static inline void kt_load_linear(const int8_t *codes, float scale, float *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        values[i] = (float)codes[i] * scale;
    }
}

/* Returns the scale. */
static inline float kt_store_linear(const float *values, int8_t *codes, int32_t count)
{
    float largest = 0.0f;
    float scale, inverse;
    int32_t i;
    for (i = 0; i < count; i++) {
        largest = kt_larger_magnitude(largest, kt_absolute(values[i]));
    }
    scale = largest / 127.0f;
    if (scale < KT_SMALLEST_SCALE) {
        scale = 0.0f;
    }
    inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (i = 0; i < count; i++) {
        codes[i] = kt_saturate8(kt_round_half_up(values[i] * inverse));
    }
    return scale;
}

static inline void kt_load_root(const uint8_t *codes, float scale, float *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        const float root = (float)codes[i] * scale;
        values[i] = root * root;
    }
}

/* first: index of the block's first element in the tensor. Returns the scale. */
static inline float kt_store_root(const float *values, uint8_t *codes, int32_t count, uint32_t key, int32_t first)
{
    float largest = 0.0f;
    float scale, inverse;
    int32_t i;
    for (i = 0; i < count; i++) {
        largest = kt_larger_magnitude(largest, values[i]);
    }
    scale = kt_sqrt(largest) / 255.0f;
    inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (i = 0; i < count; i++) {
        const float root = kt_sqrt(values[i]) * inverse;
        const int32_t code = kt_round_stochastic(root, key, first + i);
        codes[i] = (uint8_t)kt_clamp(code, values[i] > 0.0f ? 1 : 0, 255);
    }
    return scale;
}

#endif
