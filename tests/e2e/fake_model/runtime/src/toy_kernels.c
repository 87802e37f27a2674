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
