/* DEPTHWISE_CONV_2D from packed weights, in tiles of two by two results.
 *
 * Four channels of a band of rows stand unzipped in a buffer (unzipped_columns.h), in the order of bands and channels of banded_depthwise.h. The
 * weights that tiles meet are made from the stream for four channels at a time. */
#include "kt/kernels/packed_depthwise.h"
#include "tiled_depthwise.h"

/* What the bands of a layer share. start: of the sums, with their requantisation where `scaled`. */
typedef struct {
    const kt_packed_depthwise_params *params;
    kt_columns columns;
    const int8_t *x;
    int8_t *y;
    const int32_t *start;
    int32_t *weights;     /* of four channels, [4][pairs][kernel rows][2] */
    kt_band_words *words; /* [columns][inputs] */
    int32_t pairs;        /* words of a row under two neighbouring windows */
    int32_t inputs;       /* rows of the buffer */
} kt_tiling;

/* Four channels, of which those from `first` on are written. x, y: of the first of the four; start, epilogue: what sums start from and end with. */
typedef struct {
    const int8_t *x;
    int8_t *y;
    const int32_t *start, *epilogue;
    int32_t first, end;
} kt_tiled_quad;

/* Pairs of weights of one kernel row, of two channels that share words of the stream, times 256. tap: their first weights; a, b: of the two
 * channels; next: words from one pair to the next. */
static void kt_tile_row_weights(const kt_tiling *t, const int32_t *tap, int32_t *a, int32_t *b, int32_t next)
{
    const uint32_t bytes = 0xFF00FF00;
    const int near = t->params->window.stride[KT_X] == 1;
    int32_t left = t->params->window.kernel[KT_X], pair;
    uint32_t before_a = 0, before_b = 0;
    for (pair = t->pairs; pair > 0; pair--, left -= 2, tap += 4, a += next, b += next) {
        const int32_t first = left > 0 ? tap[0] : 0, second = left > 1 ? tap[2] : 0;
        const uint32_t even_a = ((uint32_t)kt_pair_of(first, second) << 8) & bytes, even_b = ((uint32_t)kt_pair_of_high(first, second) << 8) & bytes;
        a[0] = (int32_t)even_a;
        b[0] = (int32_t)even_b;
        a[1] = (int32_t)(near ? before_a >> 16 | even_a << 16 : before_a);
        b[1] = (int32_t)(near ? before_b >> 16 | even_b << 16 : before_b);
        before_a = even_a;
        before_b = even_b;
    }
}

/* One row of the image under all windows, of fewer than four channels. */
static void kt_unzip_few(const kt_tiling *t, const int8_t *x, kt_band_words *words)
{
    const kt_window *const window = &t->params->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], pairs = kt_columns_count(&t->columns);
    int32_t ix = -window->pad[KT_X], pair, c;
    for (pair = 0; pair < pairs; pair++, ix += 2, words += t->inputs) {
        int32_t *const word = &words->left.first;
        for (c = 0; c < channels; c++) {
            const int32_t left = kt_within(ix, width) ? x[ix * channels + c] : t->params->outside;
            const int32_t right = kt_within(ix + 1, width) ? x[(ix + 1) * channels + c] : t->params->outside;
            word[c] = kt_pair_of(left, right);
        }
    }
}

/* The rows of the buffer from `done` on, of which the first is row `top` of the image. */
static void kt_fill_tiled_rows(const kt_tiling *t, const int8_t *x, int32_t top, int32_t done)
{
    const kt_window *const window = &t->params->window;
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels, pairs = kt_columns_count(&t->columns);
    const int32_t low = kt_clamp(-top, done, t->inputs), high = kt_clamp(window->input[KT_Y] - top, low, t->inputs);
    const int8_t zero = (int8_t)t->params->outside, outside[KT_QUAD] = {zero, zero, zero, zero};
    int32_t row;
    for (row = done; row < low; row++) {
        kt_outside_pairs(t->words + row, zero, pairs, t->inputs);
    }
    if (channels < KT_QUAD) {
        for (; row < high; row++) {
            kt_unzip_few(t, x + (top + row) * line, t->words + row);
        }
    } else {
        x += (top + low) * line + kt_maximum(-window->pad[KT_X], 0) * channels;
        kt_unzip_inside(&t->columns, x, channels, line, outside, t->words + low, high - low, t->inputs, NULL);
    }
    for (row = high; row < t->inputs; row++) {
        kt_outside_pairs(t->words + row, zero, pairs, t->inputs);
    }
}

/* Rows that the band before read too, from row `from` of the buffer on, to its beginning. */
static void kt_carry_tiled_rows(const kt_tiling *t, int32_t from)
{
    kt_band_words *words = t->words;
    int32_t left, row;
    for (left = kt_columns_count(&t->columns); left > 0; left--, words += t->inputs) {
        for (row = from; row < t->inputs; row++) {
            words[row - from] = words[row];
        }
    }
}

/* The four channels from c on, which the stream has in place `index`, with their weights. */
static kt_tiled_quad kt_enter_tiles(const kt_tiling *t, int32_t c, int32_t index, int scaled)
{
    const kt_window *const window = &t->params->window;
    const int32_t kernel = window->kernel[KT_Y], taps = kernel * window->kernel[KT_X], channel = 2 * t->pairs * kernel;
    const int32_t *const stream = t->params->stream + index * (2 * taps + KT_EPILOGUE);
    const int32_t *const start = t->start + (scaled ? index * (KT_QUAD + KT_EPILOGUE) : c);
    const kt_tiled_quad quad = {t->x + c, t->y + c, start, scaled ? start + KT_QUAD : stream + 2 * taps, index * KT_QUAD - c,
                                kt_minimum(window->input[KT_CHANNELS], KT_QUAD)};
    int32_t row;
    for (row = 0; row < kernel; row++) { /* channels 0 and 2 share words, and 1 and 3 */
        const int32_t *const tap = stream + 2 * row * window->kernel[KT_X];
        int32_t *const weights = t->weights + 2 * row;
        kt_tile_row_weights(t, tap, weights, weights + 2 * channel, 2 * kernel);
        kt_tile_row_weights(t, tap + 1, weights + channel, weights + 3 * channel, 2 * kernel);
    }
    return quad;
}

/* One band of four channels. carried: the rows that the band before read too are in the buffer. */
static void kt_tiled_band(const kt_tiling *t, const kt_tiled_quad *quad, int32_t band, int carried, kt_tiled_kernel *kernel)
{
    const kt_window *const window = &t->params->window;
    const int32_t height = t->params->rows, oy = band * height, stride = window->stride[KT_Y], rows = window->kernel[KT_Y];
    const int32_t width = window->output[KT_X], channels = window->output[KT_CHANNELS], next = KT_QUAD * t->inputs;
    const int32_t word_bytes = (int32_t)sizeof(int32_t), weights = 2 * t->pairs * rows;
    kt_tiled_rows of = {{rows, t->pairs, word_bytes * (next - KT_QUAD * rows), stride},
                        &t->words->left.first + quad->first,
                        t->weights + quad->first * weights,
                        quad->epilogue + 3 * quad->first,
                        0,
                        2 * KT_QUAD * stride,
                        next * window->stride[KT_X],
                        quad->y + oy * width * channels + quad->first,
                        width,
                        kt_minimum(window->output[KT_Y] - oy, height),
                        channels};
    int32_t done = 0, c;
    if (carried) {
        done = rows - stride;
        kt_carry_tiled_rows(t, t->inputs - done);
    }
    kt_fill_tiled_rows(t, quad->x, oy * stride - window->pad[KT_Y], done);
    for (c = quad->first; c < quad->end; c++, of.words++, of.weights += weights, of.epilogue += 3, of.y++) {
        of.start = quad->start[c] * 256;
        kernel(&of);
    }
}

/* All bands. scratch: of the weights and the buffer. near, strided: for a stride between rows of 1 and 2. */
static void kt_tiled_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *start, int8_t *y, int32_t *scratch, int scaled,
                          kt_tiled_kernel *near, kt_tiled_kernel *strided)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], height = params->rows;
    const int32_t pairs = (window->kernel[KT_X] + window->stride[KT_X] + 1) / 2;
    const int32_t quads = (channels + KT_QUAD - 1) / KT_QUAD, bands = (window->output[KT_Y] + height - 1) / height;
    const int32_t direction = kt_direction(x, y);
    const int apart = kt_channels_apart(window, x, y);
    const kt_tiling t = {params,
                         kt_columns_of(window, ((window->output[KT_X] + 1) / 2 - 1) * window->stride[KT_X] + pairs),
                         x,
                         y,
                         start,
                         scratch,
                         (kt_band_words *)(scratch + 2 * KT_QUAD * pairs * window->kernel[KT_Y]),
                         pairs,
                         (height - 1) * window->stride[KT_Y] + window->kernel[KT_Y]};
    kt_tiled_quad quad = {x, y, start, start, 0, 0};
    int32_t band = apart ? 0 : kt_first(direction, bands), index = 0, row;
    for (row = 0; row < t.inputs; row++) { /* columns outside of the image are those of every row */
        kt_outside_pairs(t.words + row, params->outside, kt_columns_count(&t.columns), t.inputs);
    }
    while (index < quads && kt_within(band, bands)) {
        if (!apart || band == 0) {
            quad = kt_enter_tiles(&t, kt_maximum(kt_minimum(KT_QUAD * index, channels - KT_QUAD), 0), index, scaled);
        }
        kt_tiled_band(&t, &quad, band, apart && band > 0, window->stride[KT_Y] == 1 ? near : strided);
        if (apart) {
            band = band + 1 < bands ? band + 1 : 0;
            index += band == 0;
        } else {
            index = index + 1 < quads ? index + 1 : 0;
            band += index == 0 ? direction : 0;
        }
    }
}

static void kt_tiled_near(const kt_tiled_rows *of)
{
    kt_tiled_results(of, 128, 1);
}

static void kt_tiled_near_relu(const kt_tiled_rows *of)
{
    kt_tiled_results(of, 0, 1);
}

static void kt_tiled_strided(const kt_tiled_rows *of)
{
    kt_tiled_results(of, 128, 2);
}

static void kt_tiled_strided_relu(const kt_tiled_rows *of)
{
    kt_tiled_results(of, 0, 2);
}

/* Where the weights and the buffer stand: behind what sums start from, of a bias that is trained. */
static int32_t *behind_starts(const kt_packed_depthwise_params *params, int32_t *scratch)
{
    return params->fold == NULL ? scratch : scratch + params->window.input[KT_CHANNELS];
}

/* Results of any sign. */
void kt_tiled_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    kt_tiled_walk(params, x, kt_depthwise_starts(params, bias, scratch), y, behind_starts(params, scratch), 0, kt_tiled_near, kt_tiled_strided);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_tiled_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    const int32_t *const start = kt_depthwise_starts(params, bias, scratch);
    kt_tiled_walk(params, x, start, y, behind_starts(params, scratch), 0, kt_tiled_near_relu, kt_tiled_strided_relu);
}

/* Where they stand behind starts with their requantisation. */
static int32_t *behind_gains(const kt_packed_depthwise_params *params, int32_t *scratch)
{
    return scratch + params->window.input[KT_CHANNELS] * KT_GAINED_WORDS;
}

/* With a trained gain of each channel. */
void kt_tiled_depthwise_scaled_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                  const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_tiled_walk(params, x, scratch, y, behind_gains(params, scratch), 1, kt_tiled_near, kt_tiled_strided);
}

/* With a gain, under such a ReLU. */
void kt_tiled_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_tiled_walk(params, x, scratch, y, behind_gains(params, scratch), 1, kt_tiled_near_relu, kt_tiled_strided_relu);
}
