#ifndef KT_TOY_KERNELS_H
#define KT_TOY_KERNELS_H

#include <stddef.h>
#include <stdint.h>

void toy_linear(const int8_t *weights, const int8_t *input, const float *bias, float *output, int rows, int columns);
uint32_t toy_crc32(const uint8_t *bytes, size_t length);

#endif
