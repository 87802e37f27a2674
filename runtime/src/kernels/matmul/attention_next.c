/* Attention of one more position to those before it, whose keys and values are kept. */
#include <string.h>

#include "kt/kernels/matmul.h"

void kt_attention_next_s8(const kt_attention_next_params *params, const int8_t *q, const int8_t *k, const int8_t *v, int8_t *keys, int8_t *values,
                          int16_t *count, int8_t *y, int32_t *scratch)
{
    const int32_t length = params->length;
    const int32_t at = *count < length ? *count : *count - length;
    kt_attention_params row = params->row;
    memcpy(keys + at * params->bytes[0], k, (size_t)params->bytes[0]);
    memcpy(values + at * params->bytes[1], v, (size_t)params->bytes[1]);
    row.attention.scores.columns = *count < length ? *count + 1 : length;
    kt_attention_s8(&row, q, keys, values, y, scratch);
    *count = (int16_t)(*count + 1 < 2 * length ? *count + 1 : length);
}
