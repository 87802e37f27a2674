/* triple_backward.h: back through the weights of three sums in two words (triple.h), to the sums of each value under the window.
 *
 * Gradients have 16 bits here, so that no two share a word: sums of four positions and, at a time, one or two values. The bytes w + 128 add 128
 * times the sum of a position's gradients to each of its sums, modulo 2^32. */
#ifndef KT_TRIPLE_BACKWARD_H
#define KT_TRIPLE_BACKWARD_H

#include "triple.h"

enum { KT_BACKWARD_POSITIONS = 4 };

/* sums, end: [values, an even number][4], added to. panel, panel_end: gradients [output channels, an even number][4]. weights: of the first two
 * channels and the first value; step: bytes from two channels to the next two. */
typedef struct {
    uint32_t *sums;
    const uint32_t *end;
    const int32_t *panel;
    const uint8_t *weights;
    int32_t step;
    const int32_t *panel_end;
} kt_triple_backward;

void kt_triple_back(const kt_triple_backward *product);

#endif
