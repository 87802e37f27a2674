#include "kt/toy_kernels.h"

void toy_linear(const int8_t *weights, const int8_t *input, const float *bias, float *output, int rows, int columns)
{
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (int c = 0; c < columns; c++)
            sum += weights[r * columns + c] * input[c];
        output[r] = (float)sum * 0.0625f + bias[r];
    }
}

uint32_t toy_crc32(const uint8_t *bytes, size_t length)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}
