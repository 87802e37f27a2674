/* projection.h: the products of a row's values with four rows of weights, for cores that multiply one pair of numbers at a time. Three rows share two
 * words, as three positions do in triple.h, so that values are read where they lie:
 *
 *     a0 + 2^10 a1        a2 + 2^21 a1        a3
 *
 * The sums of the first three rows must be in [-2^20, 2^20). */
#ifndef KT_PROJECTION_H
#define KT_PROJECTION_H

#include "triple.h"

enum { KT_PROJECTION_WORDS = 3, KT_FOUR_ROWS = 4, KT_PROJECTED_AT_ONCE = KT_ARMV6M ? 1 : KT_ARMV7M ? 2 : 4 };

/* The words of the sums of KT_PROJECTED_AT_ONCE rows of values, `step` bytes apart: [rows][KT_PROJECTION_WORDS]. weights [length][KT_PROJECTION_WORDS]; length: a
 * multiple of 4, positive. */
void kt_projection_words(uint32_t *words, const int8_t *x, int32_t step, const uint32_t *weights, int32_t length);

#endif
