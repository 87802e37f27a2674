/* Gradient of LoRA's inner tensor, du = B^T g, in vectors of channels, four columns of B at once. */
#include "../lora_inner_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/channels.h"
#include "../../../product/vector/words.h"

enum { MOST_CHANNELS = 4096 };

static int32_t padded(int32_t channels)
{
    return (channels + KT_CHANNEL_LANES - 1) / KT_CHANNEL_LANES * KT_CHANNEL_LANES;
}

/* Each column's codes one behind the other, filled up with zeros to a multiple of the lanes. */
static void pack_columns(const int8_t *b, int32_t channels, int32_t rank, int32_t count, void *packed)
{
    const int32_t length = padded(channels);
    int8_t *column = packed;
    int32_t c, j;
    for (j = 0; j < KT_COLUMNS; j++, column += length) {
        for (c = 0; c < length; c++) {
            column[c] = c < channels && j < count ? b[c * rank + j] : 0;
        }
    }
}

static void sum_columns(const int8_t *g, int32_t channels, const void *packed, int32_t sums[KT_COLUMNS])
{
    const int32_t length = padded(channels);
    const kt_pair_sums none = kt_no_pair_sums();
    const int8_t *const columns = packed;
    kt_pair_sums total[KT_COLUMNS] = {none, none, none, none};
    kt_four_lanes four;
    int32_t c, j;
    for (c = 0; c < channels; c += KT_CHANNEL_LANES) {
        const kt_lanes value = kt_widen_some(g + c, channels - c);
        for (j = 0; j < KT_COLUMNS; j++) {
            total[j] = kt_add_to_pair_sums(total[j], kt_widen_channels(columns + j * length + c), value);
        }
    }
    four = kt_added_up(kt_total_of_pairs(total[0]), kt_total_of_pairs(total[1]), kt_total_of_pairs(total[2]), kt_total_of_pairs(total[3]));
    memcpy(sums, &four, sizeof four);
}

void kt_lora_inner_gradient_s8(const kt_lora_inner_gradient_params *params, const int8_t *g, const int8_t *b,
                               const int8_t *b_exponent, int8_t *du, int8_t *du_exponent)
{
    int8_t columns[KT_COLUMNS * MOST_CHANNELS];
    const kt_column_products products = {pack_columns, sum_columns, columns};
    if (params->channels <= MOST_CHANNELS) {
        kt_inner_gradient(params, &products, g, b, b_exponent, du, du_exponent);
    } else {
        kt_inner_gradient_in_place(params, g, b, b_exponent, du, du_exponent);
    }
}

#endif
