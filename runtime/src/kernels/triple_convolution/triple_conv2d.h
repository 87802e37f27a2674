/* triple_conv2d.h: the walk that convolutions with three sums in two words share. Six neighbouring positions at a time are laid into a panel
 * and multiplied by all channels, a chunk of the window after the other.
 *
 * All six are read before any is written, so that the result may lie as near to x as that of kt_conv2d_s8. */
#ifndef KT_TRIPLE_CONV2D_H
#define KT_TRIPLE_CONV2D_H

#include "kt/kernels/triple_convolution.h"
#include "../../product/triple_panel.h"
#include "../packed_convolution/packed_bias.h"
#include "../window.h"

/* 1 in kernels whose sums start from something else at each position. */
#ifndef KT_STARTS_OF_EACH
#define KT_STARTS_OF_EACH 0
#endif

/* Fewer positions take sums. */
enum { KT_PRODUCT_POSITIONS = KT_STARTS_OF_EACH ? 3 : KT_POSITIONS };

/* A walk: geometry and constants. start, epilogue, y, product: of results that the product requantises. */
typedef struct {
    const kt_window *window;
    const uint8_t *weights;
    int32_t length, chunk;
    const int32_t *start;
    const int32_t *epilogue;
    int8_t *y;
    kt_triple_kernel *product;
#if KT_STARTS_OF_EACH
    const kt_lora_layer *lora;
#endif
} kt_triple_layer;

/* Sums of KT_MOST_CHANNELS channels at most from `channel` on, [channels][positions]; results at `position` and `direction` further each. */
typedef struct {
    const int32_t *sums;
    int32_t channel, channels;
    int32_t position, direction;
    int32_t positions;
} kt_triple_block;

typedef void kt_finish_triple(const void *context, const kt_triple_block *block);

#if KT_STARTS_OF_EACH
#include "triple_shares.h"

enum { KT_STARTED_CHANNELS = 16 };

/* The codes of u at all positions of a block, as kt_triple_starts takes them: of a rank up to 4. */
static void kt_block_codes(const kt_lora_layer *lora, const kt_triple_block *block, int32_t u[KT_CODE_WORDS]);

/* What channels of all positions of a block start from, [count][KT_POSITIONS] in units of the product's. */
static void kt_triple_starts(const kt_lora_layer *lora, const kt_triple_block *block, const int32_t u[KT_CODE_WORDS], int32_t first, int32_t count,
                             int32_t *starts);

/* The product of a panel, some channels after the other. Results of fewer positions than a panel has are copied from one of its own. */
static inline void kt_started_product(const kt_triple_layer *layer, kt_triple_product product, const kt_triple_block *block, int32_t length)
{
    const int8_t *const end = product.result_end;
    const int32_t stride = product.stride, whole = block->positions == KT_POSITIONS;
    int32_t starts[KT_STARTED_CHANNELS * KT_POSITIONS], u[KT_CODE_WORDS];
    int8_t part[KT_STARTED_CHANNELS * KT_POSITIONS];
    int8_t *y = product.result;
    int32_t first = 0, i;
    kt_block_codes(layer->lora, block, u);
    for (; y != end; first += KT_STARTED_CHANNELS) {
        const int32_t count = kt_minimum((int32_t)(end - y), KT_STARTED_CHANNELS);
        kt_triple_starts(layer->lora, block, u, first, count, starts);
        product.bias = starts;
        product.result = whole ? y : part;
        product.result_end = product.result + count;
        product.stride = whole ? stride : KT_STARTED_CHANNELS;
        layer->product(&product);
        for (i = 0; i < block->positions && !whole; i++) {
            memcpy(y + i * stride, part + KT_STARTED_CHANNELS * i, (size_t)count);
        }
        y += count;
        product.weights += count * length;
        product.epilogue += 3 * count;
    }
}
#endif

/* Rows of a stream behind the weights. */
KT_INLINE const int32_t *kt_triple_epilogue(const int32_t *stream, int32_t channels, int32_t length)
{
    return stream + (channels + 1) / 2 * length / 2;
}

/* The windows of the next positions; moves on by as many. */
KT_INLINE void kt_place_windows(kt_triple_windows *windows, int32_t *oy, int32_t *ox, int32_t direction, int32_t positions)
{
    const kt_window *const window = windows->window;
    int32_t inside = window->dilation[0] == 1 && window->dilation[1] == 1;
    int32_t i;
    for (i = 0; i < KT_POSITIONS; i++) {
        if (i < positions) {
            const int32_t top = *oy * window->stride[0] - window->pad[0], left = *ox * window->stride[1] - window->pad[1];
            windows->top[i] = top;
            windows->left[i] = left;
            inside &= (top | left) >= 0 && top + window->kernel[0] <= window->input[0] && left + window->kernel[1] <= window->input[1];
            *ox += direction;
            if (!kt_within(*ox, window->output[KT_X])) {
                *ox = kt_first(direction, window->output[KT_X]);
                *oy += direction;
            }
        } else {
            windows->top[i] = windows->top[0];
            windows->left[i] = windows->left[0];
        }
    }
    windows->inside = inside;
    windows->row = windows->tap = windows->value = 0;
}

/* One panel times channels from `first` on, a chunk of the window. totals: of the chunks before, and where it is not the last of those to come. */
static inline void kt_multiply_panel(const kt_triple_layer *layer, const uint32_t *panel, const uint8_t *weights, int32_t length, int32_t first,
                                     int32_t *totals, int32_t done, kt_triple_block *block, kt_finish_triple *finish, const void *context)
{
    const int32_t channels = layer->window->output[KT_CHANNELS];
    int32_t c, i;
    for (c = first; c < channels; c += KT_MOST_CHANNELS, weights += KT_MOST_CHANNELS * length) {
        const int32_t count = KT_MOST_CHANNELS > 2 && channels - c > 2 ? KT_MOST_CHANNELS : 2;
        uint32_t words[KT_MOST_CHANNELS * KT_PANEL_WORDS];
        int32_t sums[KT_MOST_CHANNELS * KT_POSITIONS];
        kt_triple_words(words, panel, weights, length, count);
        for (i = 0; i < count; i++) {
            kt_six_sums(words + KT_PANEL_WORDS * i, sums + KT_POSITIONS * i);
        }
        if (totals != NULL) {
            int32_t *const total = totals + KT_POSITIONS * c;
            for (i = 0; i < count * KT_POSITIONS && done > 0; i++) {
                sums[i] += total[i];
            }
            if (done + length < layer->length) {
                memcpy(total, sums, (size_t)(count * KT_POSITIONS) * sizeof *sums);
                continue;
            }
        }
        block->sums = sums;
        block->channel = c;
        block->channels = kt_minimum(channels - c, KT_MOST_CHANNELS);
        finish(context, block);
    }
}

/* scratch: the panel, totals where there are several chunks, a pixel outside where windows reach there. One copy, with scratch of any kind. */
static __attribute__((noinline)) void kt_triple_walk(const kt_triple_layer *layer, const int8_t *x, int32_t outside, int32_t direction, void *scratch,
                                  kt_finish_triple *finish, const void *context)
{
    const kt_window *const window = layer->window;
    const int32_t depth = window->input[KT_CHANNELS], channels = window->output[KT_CHANNELS];
    const int32_t pointwise = kt_is_pointwise(window);
    const int32_t even = channels & -2;
    const int32_t whole = layer->chunk >= layer->length;
    uint32_t *const panel = scratch;
    int32_t *const totals = whole ? NULL : (int32_t *)scratch + KT_PANEL_WORDS * (layer->chunk + 1);
    int8_t *const border = (int8_t *)(panel + KT_PANEL_WORDS * (layer->chunk + 1) + (whole ? 0 : KT_POSITIONS * (even + 2 * (channels & 1))));
    int32_t left = window->output[KT_Y] * window->output[KT_X];
    kt_triple_windows windows = {window, x, border, {0}, {0}, 0, 0, 0, 0};
    int32_t oy = kt_first(direction, window->output[KT_Y]), ox = kt_first(direction, window->output[KT_X]);
    kt_triple_block block = {NULL, 0, 0, direction > 0 ? 0 : left - 1, direction, 0};
    if (!pointwise) {
        memset(border, outside, (size_t)depth);
    }
    for (; left > 0; left -= KT_POSITIONS, block.position += KT_POSITIONS * direction) {
        const uint8_t *weights = layer->weights;
        int32_t done = 0;
        block.positions = kt_minimum(left, KT_POSITIONS);
        if (!pointwise) {
            kt_place_windows(&windows, &oy, &ox, direction, block.positions);
        }
        for (; done < layer->length; done += layer->chunk) {
            const int32_t length = kt_minimum(layer->length - done, layer->chunk);
            int32_t first = 0;
            if (pointwise) {
                kt_fill_pixels(panel, x + block.position * depth + done, direction * depth, block.positions, kt_minimum(depth - done, length), length);
            } else {
                kt_fill_triple(&windows, panel, length);
            }
            if (whole && layer->product != NULL && block.positions >= KT_PRODUCT_POSITIONS && even > 0) {
                int8_t *const result = layer->y + block.position * channels;
                const kt_triple_product product = {panel, panel + KT_PANEL_WORDS * (length + 1), weights, layer->start, layer->epilogue,
                                                   result, direction * channels, result + even};
#if KT_STARTS_OF_EACH
                kt_started_product(layer, product, &block, length);
#else
                layer->product(&product);
#endif
                first = even;
            }
            kt_multiply_panel(layer, panel, weights + first * length, length, first, totals, done, &block, finish, context);
            weights += (even + 2 * (channels & 1)) * length;
        }
    }
}

enum { KT_STACK_PANEL = 168, KT_STACK_START = 64 }; /* words */

#if !KT_STARTS_OF_EACH
/* int8 results. negative: what a negative sum takes from the addend. */
KT_INLINE void kt_finish_results(const kt_triple_layer *layer, const kt_triple_block *block, int32_t negative)
{
    const int32_t channels = layer->window->output[KT_CHANNELS];
    int32_t c, i;
    for (c = block->channel; c < block->channel + block->channels; c++) {
        const int32_t *const sums = block->sums + KT_POSITIONS * (c - block->channel);
        const int32_t *const epilogue = layer->epilogue + 3 * c;
        int8_t *result = layer->y + block->position * channels + c;
        for (i = 0; i < block->positions; i++, result += block->direction * channels) {
            const int32_t sum = sums[i] + layer->start[c];
            *result = kt_short_requantize(sum, epilogue[0], epilogue[1] - (sum < 0 ? negative : 0), epilogue[2]);
        }
    }
}

/* start: room for what sums start from where the bias is trained. */
KT_INLINE void kt_triple_requantized(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int32_t *start,
                                     void *scratch, kt_triple_kernel *product, kt_finish_triple *finish)
{
    const int32_t channels = params->window.output[KT_CHANNELS];
    const kt_triple_layer layer = {&params->window, (const uint8_t *)params->stream, params->length, params->chunk,
                                   kt_packed_bias(bias, params->fold, params->bias_limit, channels, start),
                                   kt_triple_epilogue(params->stream, channels, params->length), y, product};
    kt_triple_walk(&layer, x, params->outside, kt_direction(x, y), scratch, finish, &layer);
}

/* Where the start of so many channels lies in front of the panel. */
KT_INLINE int32_t kt_triple_start(const kt_triple_conv2d_params *params)
{
    return params->fold == NULL ? 0 : kt_padded_channels(params->window.output[KT_CHANNELS]);
}

/* Functions of their own, so that the others do without these words. */
static __attribute__((noinline)) void kt_triple_start_on_stack(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias,
                                                               int8_t *y, void *scratch, kt_triple_kernel *product, kt_finish_triple *finish)
{
    int32_t start[KT_STACK_START];
    kt_triple_requantized(params, x, bias, y, start, scratch, product, finish);
}

static __attribute__((noinline)) void kt_triple_on_stack(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                                                         kt_triple_kernel *product, kt_finish_triple *finish)
{
    int32_t scratch[KT_STACK_PANEL];
    kt_triple_requantized(params, x, bias, y, scratch, scratch + kt_triple_start(params), product, finish);
}

/* scratch: NULL where it is small enough for the stack. */
KT_INLINE void kt_triple_conv2d(const kt_triple_conv2d_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch,
                                kt_triple_kernel *product, kt_finish_triple *finish)
{
    if (scratch == NULL) {
        kt_triple_on_stack(params, x, bias, y, product, finish);
    } else if (params->fold != NULL && kt_triple_start(params) <= KT_STACK_START) {
        kt_triple_start_on_stack(params, x, bias, y, scratch, product, finish);
    } else {
        kt_triple_requantized(params, x, bias, y, scratch, (int32_t *)scratch + kt_triple_start(params), product, finish);
    }
}

#endif

#endif
