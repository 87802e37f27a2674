/* CONV_2D and FULLY_CONNECTED with three sums in two words and a trained delta of their weights.
 *
 * The panels of six positions hold the whole window, a chunk after the other; chunks are so short that any weights hold (triple.h), those that
 * training changes as well. Rows of the delta are laid beside each other as the product reads weights, a chunk of few rows at a time. */
#include "kt/kernels/triple_convolution.h"
#include "triple_trained.h"

enum { KT_ANY_CHUNK = 60 }; /* values whose sums hold whatever their weights */

/* What a delta adds. sums: of the weights of each row, times the zero point and negative; totals: of each row at six positions. */
typedef struct {
    const kt_triple_conv2d_delta_params *params;
    const int8_t *delta;
    int32_t size;
    int32_t *sums, *totals;
} kt_triple_delta;

/* Bytes w + 128 of two rows, [length][2]; those behind `count` are of any value. */
static inline void kt_lay_two_rows(uint8_t *pairs, const int8_t *a, const int8_t *b, int32_t count)
{
    int32_t i = 0;
    if ((((uintptr_t)a | (uintptr_t)b) & 3) == 0) {
        for (; i + 4 <= count; i += 4, pairs += 8) {
            const uint32_t bytes = 0x00FF00FFU;
            uint32_t first, second, even, odd, words[2];
            memcpy(&first, __builtin_assume_aligned(a + i, 4), sizeof first);
            memcpy(&second, __builtin_assume_aligned(b + i, 4), sizeof second);
            first ^= 0x80808080U;
            second ^= 0x80808080U;
            even = (first & bytes) | (second & bytes) << 8;
            odd = ((first >> 8) & bytes) | (second & ~bytes);
            words[0] = (even & 0xFFFFU) | odd << 16;
            words[1] = even >> 16 | (odd & 0xFFFF0000U);
            memcpy(__builtin_assume_aligned(pairs, 4), words, sizeof words);
        }
    }
    for (; i < count; i++, pairs += 2) {
        pairs[0] = (uint8_t)(a[i] + 128);
        pairs[1] = (uint8_t)(b[i] + 128);
    }
}

/* Rows from `row` on, up to KT_MOST_CHANNELS of them, times the panels. */
static void kt_multiply_rows(const kt_triple_delta *delta, const uint32_t *panel, int32_t row)
{
    const kt_triple_conv2d_delta_params *const params = delta->params;
    const int32_t length = params->layer.pairs, size = delta->size;
    const int32_t left = params->delta_rows - row;
    const int32_t count = KT_MOST_CHANNELS > 2 && left > 2 ? KT_MOST_CHANNELS : 2;
    int32_t *const totals = delta->totals + KT_POSITIONS * row;
    uint32_t pairs[KT_MOST_CHANNELS * KT_ANY_CHUNK / 4];
    int32_t done, i, c;
    for (c = 0; c < count; c++) {
        for (i = 0; i < KT_POSITIONS; i++) {
            totals[KT_POSITIONS * c + i] = delta->sums[row + kt_minimum(c, left - 1)];
        }
    }
    for (done = 0; done < length; done += params->chunk) {
        const int32_t chunk = kt_minimum(params->chunk, length - done), values = kt_minimum(chunk, size - done);
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        for (c = 0; c < count; c += 2) {
            const int8_t *const a = delta->delta + (row + kt_minimum(c, left - 1)) * size + done;
            const int8_t *const b = delta->delta + (row + kt_minimum(c + 1, left - 1)) * size + done;
            kt_lay_two_rows((uint8_t *)pairs + c * chunk, a, b, values);
            memset((uint8_t *)pairs + c * chunk + 2 * values, 0, (size_t)(2 * (chunk - values)));
        }
        kt_triple_words(words, panel, (const uint8_t *)pairs, chunk, count);
        for (c = 0; c < count; c++) {
            int32_t sums[KT_POSITIONS];
            kt_six_sums(words + KT_PANEL_WORDS * c, sums);
            for (i = 0; i < KT_POSITIONS; i++) {
                totals[KT_POSITIONS * c + i] += sums[i];
            }
        }
        panel += KT_PANEL_WORDS * (chunk + 1);
    }
}

/* Sums of channels from `first` on, an even number of them, of all panels. */
static void kt_multiply_channels(const kt_triple_conv2d_delta_params *params, const uint32_t *panel, int32_t first, int32_t count, int32_t *sums)
{
    const int32_t length = params->layer.pairs, even = (params->layer.window.output[KT_CHANNELS] + 1) & -2;
    const uint8_t *weights = (const uint8_t *)params->layer.stream;
    int32_t done, i, c;
    memset(sums, 0, (size_t)(count * KT_POSITIONS) * sizeof *sums);
    for (done = 0; done < length; done += params->chunk) {
        const int32_t chunk = kt_minimum(params->chunk, length - done);
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        kt_triple_words(words, panel, weights + first * chunk, chunk, count);
        for (c = 0; c < count; c++) {
            int32_t found[KT_POSITIONS];
            kt_six_sums(words + KT_PANEL_WORDS * c, found);
            for (i = 0; i < KT_POSITIONS; i++) {
                sums[KT_POSITIONS * c + i] += found[i];
            }
        }
        panel += KT_PANEL_WORDS * (chunk + 1);
        weights += even * chunk;
    }
}

/* Results of one channel, of its sums and of what its row of the delta gives, NULL for none. */
static void kt_finish_delta(const kt_trained_results *results, int32_t c, const int32_t *sums, const int32_t *added, const kt_triple_block *block)
{
    const kt_trained_sums *const trained = results->trained;
    const kt_packed_conv2d_lora_params *const params = trained->params;
    const int32_t step = block->direction * params->window.output[KT_CHANNELS];
    int8_t *y = results->y + block->position * params->window.output[KT_CHANNELS] + c;
    kt_trained_channel channel;
    int32_t i;
    if (kt_is_usual(trained, c, added != NULL, &channel)) {
        int32_t totals[KT_POSITIONS];
        for (i = 0; i < block->positions; i++) {
            totals[i] = sums[i] + channel.start + (added == NULL ? 0 : kt_requantize_right(added[i], channel.addend_multiplier, channel.addend_down));
        }
        kt_finish_usual(params, &channel, totals, block->positions, step, y);
        return;
    }
    for (i = 0; i < block->positions; i++, y += step) {
        const int32_t shift = params->addend_shift[c] + trained->exponent;
        const int32_t addend = added == NULL ? 0 : kt_scaled_addend(added[i], params->addend_multiplier[c], shift);
        *y = kt_result_of_total(trained, kt_add_words(sums[i] + params->fold[c] + addend, trained->bias[c]), c);
    }
}

/* All channels of one panel. */
static void kt_finish_positions(const kt_triple_delta *delta, const kt_trained_results *results, const uint32_t *panel, const kt_triple_block *block)
{
    const kt_triple_conv2d_delta_params *const params = delta->params;
    const int32_t channels = params->layer.window.output[KT_CHANNELS];
    int32_t c, i;
    for (c = 0; c < params->delta_rows; c += KT_MOST_CHANNELS) {
        kt_multiply_rows(delta, panel, c);
    }
    for (c = 0; c < channels; c += KT_MOST_CHANNELS) {
        int32_t sums[KT_MOST_CHANNELS * KT_POSITIONS];
        kt_multiply_channels(params, panel, c, KT_MOST_CHANNELS > 2 && channels - c > 2 ? KT_MOST_CHANNELS : 2, sums);
        for (i = 0; i < kt_minimum(channels - c, KT_MOST_CHANNELS); i++) {
            const int32_t row = params->rows == NULL ? c + i : params->rows[c + i];
            kt_finish_delta(results, c + i, sums + KT_POSITIONS * i, row < 0 ? NULL : delta->totals + KT_POSITIONS * row, block);
        }
    }
}

/* The sums of a delta's rows, times the zero point and negative. */
static void kt_sum_rows(const kt_triple_delta *delta)
{
    const int8_t *code = delta->delta;
    int32_t row, i;
    for (row = 0; row < delta->params->delta_rows; row++) {
        int32_t sum = 0;
        for (i = 0; i < delta->size; i++) {
            sum += *code++;
        }
        delta->sums[row] = -delta->params->layer.outside * sum;
    }
}

void kt_triple_conv2d_delta_s8(const kt_triple_conv2d_delta_params *params, const int8_t *x, const int32_t *bias, const int8_t *delta,
                               const int8_t *delta_exponent, int8_t *y, void *scratch)
{
    const kt_window *const window = &params->layer.window;
    const int32_t depth = window->input[KT_CHANNELS], pointwise = kt_is_pointwise(window), direction = kt_direction(x, y);
    const int32_t length = params->layer.pairs, chunks = (length + params->chunk - 1) / params->chunk;
    uint32_t *const panel = scratch;
    int32_t *const sums = (int32_t *)(panel + KT_PANEL_WORDS * (length + chunks));
    int32_t *const totals = sums + params->delta_rows;
    int8_t *const border = (int8_t *)(totals + KT_POSITIONS * kt_padded_channels(params->delta_rows));
    const kt_trained_sums trained = {&params->layer, bias, NULL, NULL, *delta_exponent};
    const kt_trained_results results = {&trained, y};
    const kt_triple_delta added = {params, delta, kt_kernel_size(window), sums, totals};
    kt_triple_windows windows = {window, x, border, {0}, {0}, 0, 0, 0, 0};
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    int32_t oy = kt_first(direction, window->output[KT_Y]), ox = kt_first(direction, window->output[KT_X]);
    kt_triple_block block = {NULL, 0, 0, direction > 0 ? 0 : left - 1, direction, 0};
    kt_sum_rows(&added);
    if (!pointwise) {
        memset(border, params->layer.outside, (size_t)depth);
    }
    for (; left > 0; left -= KT_POSITIONS, block.position += KT_POSITIONS * direction) {
        uint32_t *part = panel;
        int32_t done;
        block.positions = kt_minimum(left, KT_POSITIONS);
        if (!pointwise) {
            kt_place_windows(&windows, &oy, &ox, direction, block.positions);
        }
        for (done = 0; done < length; done += params->chunk) {
            const int32_t chunk = kt_minimum(length - done, params->chunk);
            if (pointwise) {
                kt_fill_pixels(part, x + block.position * depth + done, direction * depth, block.positions, kt_minimum(depth - done, chunk), chunk);
            } else {
                kt_fill_triple(&windows, part, chunk);
            }
            part += KT_PANEL_WORDS * (chunk + 1);
        }
        kt_finish_positions(&added, &results, panel, &block);
    }
}
