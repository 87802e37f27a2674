/* triple_dense.h: sums of one row of values with the weights of three sums in two words, which lie two channels side by side. */
#ifndef KT_TRIPLE_DENSE_H
#define KT_TRIPLE_DENSE_H

#include "triple.h"

/* The sums of x[i] with four channels of bytes w + 128, and offset, -128 times the sum of x. first, second: of two channels each, [length][2]; length:
 * positive. */
void kt_dense_sums(const int8_t *x, const uint8_t *first, const uint8_t *second, int32_t length, uint32_t offset, uint32_t sums[4]);

#endif
