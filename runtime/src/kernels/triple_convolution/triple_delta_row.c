/* FULLY_CONNECTED of one row with a trainable delta, from the weights of three sums in two words. The row and the delta are read where they lie. */
#include "kt/kernels/triple_convolution.h"
#include "../../product/four_rows.h"
#include "../packed_convolution/packed_trained.h"
#include "triple_row.h"

/* Adds to the sums of channels [first, first + count), four at most, what the delta does. */
static inline void add_delta(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int8_t *delta, int32_t exponent, int32_t first,
                             int32_t count, int32_t sums[KT_ROW_CHANNELS])
{
    const kt_packed_conv2d_lora_params *const layer = &params->layer;
    const int32_t depth = layer->window.input[KT_CHANNELS];
    const int8_t *rows[KT_ROW_CHANNELS] = {delta, delta, delta, delta};
    int32_t found[KT_ROW_CHANNELS] = {0, 0, 0, 0}, channel[KT_ROW_CHANNELS], used = 0, i;
    for (i = 0; i < count; i++) {
        const int32_t row = params->rows == NULL ? first + i : params->rows[first + i];
        if (row >= 0) {
            channel[used] = i;
            rows[used++] = delta + row * depth;
        }
    }
    if (used > 0) {
        kt_sums_of_four_rows(x, rows, depth, -layer->outside, found);
    }
    for (i = 0; i < used; i++) {
        const int32_t c = first + channel[i];
        sums[channel[i]] += kt_scaled_addend(found[i], layer->addend_multiplier[c], layer->addend_shift[c] + exponent);
    }
}

void kt_triple_delta_row_s8(const kt_packed_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                            const int8_t *delta_exponent, int8_t *y)
{
    const kt_packed_conv2d_lora_params *const layer = &params->layer;
    const kt_trained_sums trained = {layer, bias, NULL, NULL, *delta_exponent};
    const int32_t channels = layer->window.output[KT_CHANNELS], depth = layer->window.input[KT_CHANNELS], length = layer->pairs;
    const uint8_t *weights = (const uint8_t *)layer->stream;
    const uint32_t offset = kt_row_offset(x, depth);
    int32_t first, i;
    for (first = 0; first < channels; first += KT_ROW_CHANNELS, weights += KT_ROW_CHANNELS * length) {
        const int32_t count = kt_minimum(channels - first, KT_ROW_CHANNELS);
        uint32_t products[KT_ROW_CHANNELS];
        int32_t sums[KT_ROW_CHANNELS];
        kt_dense_sums(x, weights, count > 2 ? weights + 2 * length : weights, depth, offset, products);
        for (i = 0; i < count; i++) {
            sums[i] = (int32_t)products[i] + layer->fold[first + i];
        }
        add_delta(params, x, delta, *delta_exponent, first, count, sums);
        for (i = 0; i < count; i++) {
            y[first + i] = kt_result_of_total(&trained, kt_add_words(sums[i], bias[first + i]), first + i);
        }
    }
}
