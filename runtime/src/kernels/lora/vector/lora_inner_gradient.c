/* Gradient of LoRA's inner tensor, du = B^T g, in vectors of channels. */
#include "../lora_inner_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/channels.h"
#include "../../../product/vector/words.h"

enum { MOST_CODES = 16384 };

/* A column of B, one code after the other, filled up with zeros to a multiple of the lanes. */
static void copy_columns(const int8_t *b, int32_t channels, int32_t rank, int32_t padded, int8_t *columns)
{
    int32_t c, j;
    for (j = 0; j < rank; j++) {
        int8_t *const column = columns + j * padded;
        for (c = 0; c < padded; c++) {
            column[c] = c < channels ? b[c * rank + j] : 0;
        }
    }
}

KT_INLINE int32_t product(const int8_t *g, const int8_t *column, int32_t channels)
{
    kt_lanes sums = kt_no_lanes();
    int32_t c;
    for (c = 0; c + KT_CHANNEL_LANES <= channels; c += KT_CHANNEL_LANES) {
        sums = kt_add_pair_products(sums, kt_widen_channels(g + c), kt_widen_channels(column + c));
    }
    if (c < channels) {
        sums = kt_add_pair_products(sums, kt_widen_some(g + c, channels - c), kt_widen_channels(column + c));
    }
    return kt_sum_of(sums);
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    const int32_t channels = params->channels, rank = params->rank;
    const int32_t padded = (channels + KT_CHANNEL_LANES - 1) / KT_CHANNEL_LANES * KT_CHANNEL_LANES;
    const int apart = padded * rank <= MOST_CODES;
    int8_t columns[MOST_CODES];
    uint32_t largest = 0;
    int32_t pass, position, j, shift = 0;
    if (apart) {
        copy_columns(b, channels, rank, padded, columns);
    }
    for (pass = 0; pass < 2; pass++) {
        for (position = 0; position < params->positions; position++) {
            for (j = 0; j < rank; j++) {
                const int8_t *const at = g + position * channels;
                const int32_t sum = apart ? product(at, columns + j * padded, channels) : kt_lora_product(at, b + j, channels, rank);
                const uint32_t magnitude = kt_magnitude(sum);
                largest = magnitude > largest ? magnitude : largest;
                if (pass == 1) {
                    du[position * rank + j] = kt_saturate8(kt_shift_round(sum, shift));
                }
            }
        }
        shift = pass == 0 ? kt_fitting_shift(largest) : shift;
    }
    *du_exponent = (int8_t)kt_minimum(*b_exponent + shift, 127);
}

#endif
