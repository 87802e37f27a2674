#ifndef KT_TOY_KERNELS_H
#define KT_TOY_KERNELS_H

#include <stdint.h>

void toy_linear(const int8_t *weights, const int8_t *input, const float *bias, float *output, int rows, int columns);

#endif
