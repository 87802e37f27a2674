/* floats.h: float32 primitives of kt/numerics.h on all words of a kt_lanes, with the same bits: one rounding an operation, nothing reordered. */
#ifndef KT_VECTOR_FLOATS_H
#define KT_VECTOR_FLOATS_H

#include "kt/strict_float.h"
#include "words.h"

typedef float kt_float_lanes __attribute__((vector_size(4 * KT_LANES)));

KT_INLINE kt_float_lanes kt_load_floats(const float *values)
{
    kt_float_lanes v;
    memcpy(&v, values, sizeof v);
    return v;
}

KT_INLINE void kt_store_floats(float *values, kt_float_lanes v)
{
    memcpy(values, &v, sizeof v);
}

KT_INLINE kt_float_lanes kt_splat_float(float value)
{
    float all[KT_LANES];
    int32_t i;
    for (i = 0; i < KT_LANES; i++) {
        all[i] = value;
    }
    return kt_load_floats(all);
}

KT_INLINE kt_float_lanes kt_floats_of(kt_word_lanes words)
{
    return __builtin_convertvector(words, kt_float_lanes);
}

KT_INLINE kt_word_lanes kt_larger_words(kt_word_lanes a, kt_word_lanes b)
{
    return (kt_word_lanes)kt_choose(a > b, a, b);
}

/* The largest of words that are not negative. */
KT_INLINE int32_t kt_largest_of(kt_word_lanes words)
{
    int32_t all[KT_LANES];
    int32_t i, largest = 0;
    kt_store_lanes(all, (kt_lanes)words);
    for (i = 0; i < KT_LANES; i++) {
        largest = kt_maximum(largest, all[i]);
    }
    return largest;
}

#endif
