/* words.h: those primitives of runtime/src/product/vector/words.h that kernels in vectors of a computer share with cores with Helium. */
#ifndef KT_MVE_WORDS_H
#define KT_MVE_WORDS_H

#include "gradient_lanes.h"

#define KT_INLINE static inline
#define KT_LANES 4

typedef int32x4_t kt_lanes;
typedef int32x4_t kt_word_lanes;

KT_INLINE kt_lanes kt_splat(int32_t word)
{
    return vdupq_n_s32(word);
}

KT_INLINE kt_lanes kt_load_lanes(const int32_t *words)
{
    return vldrwq_s32(words);
}

KT_INLINE void kt_store_lanes(int32_t *words, kt_lanes v)
{
    vstrwq_s32(words, v);
}

KT_INLINE kt_lanes kt_add_lanes(kt_lanes a, kt_lanes b)
{
    return vaddq_s32(a, b);
}

/* a where `choose` is all ones, b where it is 0. */
KT_INLINE kt_lanes kt_choose(kt_word_lanes choose, kt_word_lanes a, kt_word_lanes b)
{
    return vorrq_s32(vandq_s32(a, choose), vbicq_s32(b, choose));
}

/* KT_LANES int8 codes as words. */
KT_INLINE kt_lanes kt_widen_codes(const int8_t *codes)
{
    return vldrbq_s32(codes);
}

/* KT_LANES bytes, each a word in [-128, 127]. */
KT_INLINE void kt_store_narrow(int8_t *to, kt_lanes v)
{
    vstrbq_s32(to, v);
}

/* kt_saturate8 of kt_shift_round */
KT_INLINE kt_lanes kt_round_lanes(kt_word_lanes sums, int32_t shift)
{
    return kt_saturate_lanes(kt_shift_round_lanes(sums, shift));
}

/* The sum of all words. */
KT_INLINE int32_t kt_sum_of(kt_lanes v)
{
    return vaddvq_s32(v);
}

#endif
