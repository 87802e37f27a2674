/* DEPTHWISE_CONV_2D with three sums in two words and a trained delta of its weights: one plane of a channel serves both products. */
#include "kt/kernels/triple_depthwise.h"
#include "../triple_convolution/triple_trained.h"
#include "triple_depthwise.h"

enum { KT_RESULTS = 3 };

/* What a delta adds. codes: room for those of one channel, [kernel column][kernel row]. */
typedef struct {
    const kt_triple_depthwise_delta_params *params;
    const kt_trained_sums *trained;
    const int8_t *delta;
    int8_t *codes;
} kt_delta_bands;

/* Results of three totals of a channel. added: what the delta gives, without the zero point. */
typedef struct {
    const kt_trained_sums *trained;
    kt_trained_channel channel;
    int32_t c, usual, column, offset;
} kt_delta_channel;

KT_INLINE void kt_results_with_delta(const kt_delta_channel *channel, const int32_t sums[KT_RESULTS], const int32_t added[KT_RESULTS],
                                     int8_t results[KT_RESULTS])
{
    const kt_trained_sums *const trained = channel->trained;
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t c = channel->c;
    int32_t i;
    if (channel->usual) {
        int32_t totals[KT_RESULTS];
        for (i = 0; i < KT_RESULTS; i++) {
            const int32_t share = kt_requantize_right(added[i] + channel->offset, channel->channel.addend_multiplier, channel->channel.addend_down);
            totals[i] = sums[i] + channel->channel.start + (channel->column < 0 ? 0 : share);
        }
        kt_finish_usual(params, &channel->channel, totals, KT_RESULTS, 1, results);
        return;
    }
    for (i = 0; i < KT_RESULTS; i++) {
        const int32_t shift = params->addend_shift[c] + trained->exponent;
        const int32_t addend = channel->column < 0 ? 0 : kt_scaled_addend(added[i] + channel->offset, params->addend_multiplier[c], shift);
        results[i] = kt_result_of_total(trained, kt_add_words(sums[i] + params->fold[c] + addend, trained->bias[c]), c);
    }
}

/* Rows of results, as kt_results_of_rows, one after the other. */
KT_INLINE void kt_rows_with_delta(const kt_triple_rows *rows, const kt_window *window, int32_t kernel_height, int32_t kernel_width,
                                  const int8_t *codes, const kt_delta_channel *channel)
{
    const int32_t dilation_y = KT_ROW_WORDS * window->dilation[KT_Y];
    const int32_t next = rows->column_bytes / (int32_t)sizeof(uint32_t), dilation_x = next * window->dilation[KT_X];
    const uint32_t *column = rows->column;
    int8_t *y = rows->y;
    int32_t left, kx, ky;
    for (left = rows->columns; left > 0; left--, y += rows->next_column, column += next * window->stride[KT_X]) {
        const int8_t *weight = (const int8_t *)rows->weights, *code = codes;
        const uint32_t *tap_column = column;
        uint32_t frozen[2] = {0, 0}, trained[2] = {0, 0};
        int32_t sums[KT_RESULTS], added[KT_RESULTS];
        int8_t results[KT_RESULTS];
        for (kx = 0; kx < kernel_width; kx++, tap_column += dilation_x) {
            const uint32_t *tap = tap_column;
            for (ky = 0; ky < kernel_height; ky++, tap += dilation_y) {
                const uint32_t w = (uint32_t)*weight++, v = (uint32_t)*code++;
                frozen[0] += tap[0] * w;
                frozen[1] += tap[1] * w;
                trained[0] += tap[0] * v;
                trained[1] += tap[1] * v;
            }
        }
        kt_three_sums(frozen, sums);
        kt_three_sums(trained, added);
        kt_results_with_delta(channel, sums, added, results);
        y[0] = results[0];
        y[rows->second] = results[1];
        y[rows->third] = results[2];
    }
}

/* The codes of the band's channel; returns their sum. */
static int32_t kt_lay_codes(const kt_delta_bands *bands, const kt_window *window, int32_t column)
{
    const int32_t taps = window->kernel[KT_X];
    int8_t *code = bands->codes;
    int32_t kx, ky, sum = 0;
    for (kx = 0; kx < taps; kx++) {
        for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
            *code = column < 0 ? 0 : bands->delta[(ky * taps + kx) * bands->params->columns + column];
            sum += *code++;
        }
    }
    return sum;
}

static void results(const void *context, const kt_triple_band *band)
{
    const kt_delta_bands *const bands = context;
    const kt_window *const window = &bands->params->layer.window;
    const int32_t channels = window->output[KT_CHANNELS], line = window->output[KT_X] * channels, c = band->channel;
    const int32_t column = bands->params->rows == NULL ? c : bands->params->rows[c];
    kt_delta_channel channel = {bands->trained, {0, 0, 0, 0, 0}, c, 0, column, 0};
    kt_triple_rows rows = kt_rows_of_band(band, bands->params->layer.stream + c * kt_words_of_taps(window), 0);
    int32_t left;
    channel.offset = -bands->params->layer.outside * kt_lay_codes(bands, window, column);
    channel.usual = kt_is_usual(bands->trained, c, 1, &channel.channel);
    for (left = band->group; left > 0; left--, rows.column += KT_ROW_WORDS * window->stride[KT_Y], rows.y += line) {
        if (window->kernel[KT_Y] == 3 && window->kernel[KT_X] == 3) {
            kt_rows_with_delta(&rows, window, 3, 3, bands->codes, &channel);
        } else {
            kt_rows_with_delta(&rows, window, window->kernel[KT_Y], window->kernel[KT_X], bands->codes, &channel);
        }
    }
}

void kt_triple_depthwise_delta_s8(const kt_triple_depthwise_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                                  const int8_t *delta_exponent, int8_t *y, void *scratch)
{
    const kt_triple_depthwise_params walked = {params->layer.window, params->layer.outside, params->layer.stream, NULL, 0, params->band_rows};
    const kt_trained_sums trained = {&params->layer, bias, NULL, NULL, *delta_exponent};
    const kt_delta_bands bands = {params, &trained, delta, scratch};
    kt_walk_triple_bands(&walked, x, y, (int32_t *)scratch + kt_words_of_taps(&params->layer.window), &bands, results);
}
