/* words.h: those primitives of runtime/src/product/vector/words.h that kernels in vectors of a computer share with cores with the DSP extension. Lanes
 * are four values of C: the compiler takes them one by one. */
#ifndef KT_DSP_WORDS_H
#define KT_DSP_WORDS_H

#include "simd.h"

#define KT_INLINE static inline __attribute__((always_inline))
#define KT_LANES 4

typedef int32_t kt_word_lanes __attribute__((vector_size(16)));
typedef kt_word_lanes kt_lanes;

KT_INLINE kt_lanes kt_splat(int32_t word)
{
    return (kt_lanes){word, word, word, word};
}

KT_INLINE kt_lanes kt_load_lanes(const int32_t *words)
{
    return (kt_lanes){words[0], words[1], words[2], words[3]};
}

KT_INLINE void kt_store_lanes(int32_t *words, kt_lanes v)
{
    words[0] = v[0];
    words[1] = v[1];
    words[2] = v[2];
    words[3] = v[3];
}

KT_INLINE kt_lanes kt_add_lanes(kt_lanes a, kt_lanes b)
{
    return a + b;
}

/* a where `choose` is all ones, b where it is 0. */
KT_INLINE kt_lanes kt_choose(kt_word_lanes choose, kt_word_lanes a, kt_word_lanes b)
{
    return (a & choose) | (b & ~choose);
}

/* KT_LANES int8 codes as words. */
KT_INLINE kt_lanes kt_widen_codes(const int8_t *codes)
{
    return (kt_lanes){codes[0], codes[1], codes[2], codes[3]};
}

/* KT_LANES bytes, each a word in [-128, 127]; -127 for -128. */
KT_INLINE void kt_store_narrow(int8_t *to, kt_lanes v)
{
    kt_store_word(to, kt_symmetric(kt_bytes(v[0], v[1], v[2], v[3])));
}

/* kt_shift_round, shift in [1, 31], limited to [-128, 127]. */
KT_INLINE kt_lanes kt_round_lanes(kt_word_lanes sums, int32_t shift)
{
    const kt_lanes doubled = (sums >> (shift - 1)) + 1;
    return (kt_lanes){__ssat(doubled[0] >> 1, 8), __ssat(doubled[1] >> 1, 8), __ssat(doubled[2] >> 1, 8), __ssat(doubled[3] >> 1, 8)};
}

/* The sum of all words. */
KT_INLINE int32_t kt_sum_of(kt_lanes v)
{
    return v[0] + v[1] + v[2] + v[3];
}

#endif
