/* triple_trained.h: what layers with three sums in two words share that add something trained to the sums. */
#ifndef KT_TRIPLE_TRAINED_H
#define KT_TRIPLE_TRAINED_H

#include "../packed_convolution/packed_trained.h"
#include "triple_conv2d.h"

typedef struct {
    const kt_trained_sums *trained;
    int8_t *y;
} kt_trained_results;

enum { KT_LARGEST_BIAS = 1 << 29, KT_MOST_RANK = 512, KT_LEAST_MULTIPLIER = 1 << 30, KT_MOST_DOWN = 14 };

/* What one channel needs where no step can saturate: both shifts go to the right, and the bias is within +-2^29. */
typedef struct {
    int32_t start; /* the bias, with the share of the input's zero point */
    int32_t multiplier, down;
    int32_t addend_multiplier, addend_down;
} kt_trained_channel;

/* trained_path: whether something is added to the sums. */
static inline int kt_is_usual(const kt_trained_sums *trained, int32_t c, int trained_path, kt_trained_channel *channel)
{
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t bias = trained->bias[c];
    channel->start = (int32_t)((uint32_t)bias + (uint32_t)params->fold[c]);
    channel->multiplier = params->multiplier[c];
    channel->down = -params->shift[c];
    channel->addend_multiplier = channel->addend_down = 1;
    if (trained_path) {
        channel->addend_multiplier = params->addend_multiplier[c];
        channel->addend_down = -(params->addend_shift[c] + trained->exponent);
    }
    return bias >= -KT_LARGEST_BIAS && bias <= KT_LARGEST_BIAS && channel->down > 0 && channel->down < 32 &&
           channel->addend_down > 0 && channel->addend_down < 32 && params->rank <= KT_MOST_RANK;
}

/* Whether the short form of a requantisation (product.h) holds for sums that are limited to 24 bits: at the limit a result is beyond int8. */
static inline int kt_has_short_form(const kt_packed_conv2d_lora_params *params, const kt_trained_channel *channel)
{
    return params->clamp[0] == -128 && params->clamp[1] == 127 && channel->multiplier >= KT_LEAST_MULTIPLIER && channel->down <= KT_MOST_DOWN;
}

/* Results of totals. */
static inline void kt_finish_usual(const kt_packed_conv2d_lora_params *params, const kt_trained_channel *channel, const int32_t *totals,
                                   int32_t positions, int32_t step, int8_t *y)
{
    const int32_t multiplier = channel->multiplier, down = channel->down, zero_point = params->output_offset;
    const int32_t *const end = totals + positions;
    if (kt_has_short_form(params, channel)) {
        const int32_t addend = 64 + (INT32_C(64) << down) + zero_point * (INT32_C(128) << down);
        for (; totals != end; y += step) {
            const int32_t total = kt_clamp(*totals++, -(INT32_C(1) << 23), (INT32_C(1) << 23) - 1);
            *y = kt_short_requantize(total, multiplier, addend + (total >> 31) * 128, down + 7);
        }
    } else {
        const int32_t low = params->clamp[0] - zero_point, high = params->clamp[1] - zero_point;
        for (; totals != end; y += step) {
            *y = (int8_t)(kt_clamp(kt_requantize_right(*totals++, multiplier, down), low, high) + zero_point);
        }
    }
}

#endif
