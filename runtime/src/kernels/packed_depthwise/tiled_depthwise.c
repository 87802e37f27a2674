/* DEPTHWISE_CONV_2D from packed weights, and its gradient to the input, in tiles of two by two results.
 *
 * Four channels of a band of rows stand unzipped in a buffer (unzipped_columns.h), in the order of bands and channels of banded_depthwise.h. The
 * weights that tiles meet are made from the stream for four channels at a time. */
#include "kt/kernels/packed_depthwise.h"
#include "tiled_depthwise.h"

/* What the bands of a layer share, or of the gradient to its input, which is a layer over scaled gradients with its taps turned round.
 *
 * starts: of the sums, `start_step` words apart from channel to channel, which count as times `unit`; epilogues: what their results end with, of each
 * four channels `quad_step` words apart and `step` within. */
typedef struct {
    kt_window window;
    kt_columns columns;
    int32_t outside;
    const int32_t *stream;
    const int8_t *x;
    int8_t *y;
    const int32_t *starts, *epilogues;
    int32_t start_step, start_quad_step, epilogue_step, epilogue_quad_step, unit;
    int32_t turned;       /* taps, of a gradient */
    const kt_scaling *scaling;
    int32_t rows;         /* of a band */
    int32_t *weights;     /* of four channels, [4][pairs][kernel rows][2] */
    kt_band_words *words; /* [columns][inputs] */
    int32_t pairs;        /* words of a row under two neighbouring windows */
    int32_t inputs;       /* rows of the buffer */
} kt_tiling;

/* Four channels from c on, of which those from `first` on are written. starts, epilogues: of the first of the four. */
typedef struct {
    const int32_t *starts, *epilogues;
    int32_t c, first, end;
    kt_scaling scaling;
} kt_tiled_quad;

/* Pairs of weights of one kernel row, of two channels that share words of the stream. tap: their first weights, the next ones `step` words further;
 * a, b: of the two channels; next: words from one pair to the next. */
static void kt_tile_row_weights(const kt_tiling *t, const int32_t *tap, int32_t step, int32_t *a, int32_t *b, int32_t next)
{
    const int near = t->window.stride[KT_X] == 1, times = t->turned ? 0 : 8;
    const uint32_t kept = t->turned ? UINT32_MAX : 0xFF00FF00;
    int32_t left = t->window.kernel[KT_X], pair;
    uint32_t before_a = 0, before_b = 0;
    for (pair = t->pairs; pair > 0; pair--, left -= 2, tap += 2 * step, a += next, b += next) {
        const int32_t first = left > 0 ? tap[0] : 0, second = left > 1 ? tap[step] : 0;
        const uint32_t even_a = (uint32_t)kt_pair_of(first, second) << times & kept, even_b = (uint32_t)kt_pair_of_high(first, second) << times & kept;
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
    const kt_window *const window = &t->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], pairs = kt_columns_count(&t->columns);
    int32_t ix = -window->pad[KT_X], pair, c;
    for (pair = 0; pair < pairs; pair++, ix += 2, words += t->inputs) {
        int32_t *const word = &words->left.first;
        for (c = 0; c < channels; c++) {
            const int32_t left = kt_within(ix, width) ? x[ix * channels + c] : t->outside;
            const int32_t right = kt_within(ix + 1, width) ? x[(ix + 1) * channels + c] : t->outside;
            word[c] = kt_pair_of(left, right);
        }
    }
}

/* The rows of the buffer from `done` on, of which the first is row `top` of the image. x: its four channels. */
KT_INLINE void kt_fill_tiles(const kt_tiling *t, const int8_t *x, int32_t top, int32_t done, const kt_scaling *scaling)
{
    const kt_window *const window = &t->window;
    const int32_t channels = window->input[KT_CHANNELS], line = window->input[KT_X] * channels, pairs = kt_columns_count(&t->columns);
    const int32_t low = kt_clamp(-top, done, t->inputs), high = kt_clamp(window->input[KT_Y] - top, low, t->inputs);
    const int8_t zero = (int8_t)t->outside, outside[KT_QUAD] = {zero, zero, zero, zero};
    int32_t row;
    for (row = done; row < low; row++) {
        kt_outside_pairs(t->words + row, zero, pairs, t->inputs);
    }
    if (channels < KT_QUAD && scaling == NULL) {
        for (; row < high; row++) {
            kt_unzip_few(t, x + (top + row) * line, t->words + row);
        }
    } else {
        x += (top + low) * line + kt_maximum(-window->pad[KT_X], 0) * channels;
        kt_unzip_inside(&t->columns, x, channels, line, outside, t->words + low, high - low, t->inputs, scaling);
    }
    for (row = high; row < t->inputs; row++) {
        kt_outside_pairs(t->words + row, zero, pairs, t->inputs);
    }
}

typedef void kt_tile_filling(const kt_tiling *t, const kt_tiled_quad *quad, int32_t top, int32_t done);

static void kt_fill_values(const kt_tiling *t, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, t->x + quad->c, top, done, NULL);
}

static void kt_fill_gradients(const kt_tiling *t, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, t->x + quad->c, top, done, &quad->scaling);
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

/* The four channels that the stream has in place `index`, with their weights. */
static void kt_enter_tiles(const kt_tiling *t, int32_t index, kt_tiled_quad *quad)
{
    const kt_window *const window = &t->window;
    const int32_t kernel = window->kernel[KT_Y], taps = kernel * window->kernel[KT_X], channel = 2 * t->pairs * kernel;
    const int32_t *const stream = t->stream + index * (2 * taps + KT_EPILOGUE), *tap = t->turned ? stream + 2 * (taps - 1) : stream;
    const int32_t step = t->turned ? -2 : 2;
    int32_t row;
    quad->c = kt_maximum(kt_minimum(KT_QUAD * index, window->input[KT_CHANNELS] - KT_QUAD), 0);
    quad->first = KT_QUAD * index - quad->c;
    quad->end = kt_minimum(window->input[KT_CHANNELS], KT_QUAD);
    quad->starts = t->starts + index * t->start_quad_step - quad->first * t->start_step;
    quad->epilogues = t->epilogues + index * t->epilogue_quad_step;
    for (row = 0; row < kernel; row++, tap += step * window->kernel[KT_X]) { /* channels 0 and 2 share words, and 1 and 3 */
        int32_t *const weights = t->weights + 2 * row;
        kt_tile_row_weights(t, tap, step, weights, weights + 2 * channel, 2 * kernel);
        kt_tile_row_weights(t, tap + 1, step, weights + channel, weights + 3 * channel, 2 * kernel);
    }
    if (t->scaling != NULL) {
        quad->scaling = *t->scaling;
        kt_set_factors(&quad->scaling, quad->c);
    }
}

/* One band of four channels. carried: the rows that the band before read too are in the buffer. */
static void kt_tiled_band(const kt_tiling *t, const kt_tiled_quad *quad, int32_t band, int carried, kt_tile_filling *fill, kt_tiled_kernel *kernel)
{
    const kt_window *const window = &t->window;
    const int32_t oy = band * t->rows, stride = window->stride[KT_Y], rows = window->kernel[KT_Y];
    const int32_t width = window->output[KT_X], channels = window->output[KT_CHANNELS], next = KT_QUAD * t->inputs;
    const int32_t word_bytes = (int32_t)sizeof(int32_t), weights = 2 * t->pairs * rows;
    kt_tiled_rows of = {{rows, t->pairs, word_bytes * (next - KT_QUAD * rows), stride},
                        &t->words->left.first + quad->first,
                        t->weights + quad->first * weights,
                        quad->epilogues + quad->first * t->epilogue_step,
                        0,
                        2 * KT_QUAD * stride,
                        next * window->stride[KT_X],
                        t->y + oy * width * channels + quad->c + quad->first,
                        width,
                        kt_minimum(window->output[KT_Y] - oy, t->rows),
                        channels};
    int32_t done = 0, c;
    if (carried) {
        done = rows - stride;
        kt_carry_tiled_rows(t, t->inputs - done);
    }
    fill(t, quad, oy * stride - window->pad[KT_Y], done);
    for (c = quad->first; c < quad->end; c++, of.words++, of.weights += weights, of.epilogue += t->epilogue_step, of.y++) {
        of.start = quad->starts[c * t->start_step] * t->unit;
        kernel(&of);
    }
}

/* All bands. What depends on the window and on scratch is filled in here. */
static void kt_walk_tiles(kt_tiling *t, int32_t *scratch, kt_tile_filling *fill, kt_tiled_kernel *kernel)
{
    const kt_window *const window = &t->window;
    const int32_t quads = (window->input[KT_CHANNELS] + KT_QUAD - 1) / KT_QUAD, bands = (window->output[KT_Y] + t->rows - 1) / t->rows;
    const int32_t direction = kt_direction(t->x, t->y);
    const int apart = kt_channels_apart(window, t->x, t->y);
    kt_tiled_quad quad = {t->starts, t->epilogues, 0, 0, 0, {NULL, NULL, 0, {0, 0, 0, 0}}};
    int32_t band = apart ? 0 : kt_first(direction, bands), index = 0, row;
    t->pairs = (window->kernel[KT_X] + window->stride[KT_X] + 1) / 2;
    t->columns = kt_columns_of(window, ((window->output[KT_X] + 1) / 2 - 1) * window->stride[KT_X] + t->pairs);
    t->inputs = (t->rows - 1) * window->stride[KT_Y] + window->kernel[KT_Y];
    t->weights = scratch;
    t->words = (kt_band_words *)(scratch + 2 * KT_QUAD * t->pairs * window->kernel[KT_Y]);
    for (row = 0; row < t->inputs; row++) { /* columns outside of the image are those of every row */
        kt_outside_pairs(t->words + row, t->outside, kt_columns_count(&t->columns), t->inputs);
    }
    while (index < quads && kt_within(band, bands)) {
        if (!apart || band == 0) {
            kt_enter_tiles(t, index, &quad);
        }
        kt_tiled_band(t, &quad, band, apart && band > 0, fill, kernel);
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

/* A layer. starts: of the sums; scaled: four of them, then what their results end with, and so on. near, strided: for a stride between rows of 1 and 2. */
static void kt_tile_layer(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *starts, int scaled, int8_t *y, int32_t *scratch,
                          kt_tiled_kernel *near, kt_tiled_kernel *strided)
{
    const int32_t weights = 2 * params->window.kernel[KT_Y] * params->window.kernel[KT_X];
    kt_tiling t = {params->window, {0, 0, 0, 0, 0}, params->outside, params->stream, x, y, starts, params->stream + weights, 1, KT_QUAD, 3,
                   weights + KT_EPILOGUE, 256, 0, NULL, params->rows, NULL, NULL, 0, 0};
    if (scaled) {
        t.epilogues = starts + KT_QUAD;
        t.start_quad_step = t.epilogue_quad_step = KT_QUAD + KT_EPILOGUE;
    }
    kt_walk_tiles(&t, scratch, kt_fill_values, params->window.stride[KT_Y] == 1 ? near : strided);
}

/* Where the weights and the buffer stand: behind what sums start from, of a bias that is trained. */
static int32_t *behind_starts(const kt_packed_depthwise_params *params, int32_t *scratch)
{
    return params->fold == NULL ? scratch : scratch + params->window.input[KT_CHANNELS];
}

/* Results of any sign. */
void kt_tiled_depthwise_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    const int32_t *const starts = kt_depthwise_starts(params, bias, scratch);
    kt_tile_layer(params, x, starts, 0, y, behind_starts(params, scratch), kt_tiled_near, kt_tiled_strided);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_tiled_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    const int32_t *const starts = kt_depthwise_starts(params, bias, scratch);
    kt_tile_layer(params, x, starts, 0, y, behind_starts(params, scratch), kt_tiled_near_relu, kt_tiled_strided_relu);
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
    kt_tile_layer(params, x, scratch, 1, y, behind_gains(params, scratch), kt_tiled_near, kt_tiled_strided);
}

/* With a gain, under such a ReLU. */
void kt_tiled_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_tile_layer(params, x, scratch, 1, y, behind_gains(params, scratch), kt_tiled_near_relu, kt_tiled_strided_relu);
}

static void kt_tiled_gradient(const kt_tiled_rows *of)
{
    kt_tiled_results(of, KT_OF_GRADIENT, 1);
}

/* Gradient to the input of a layer with a stride of 1. rounding: half a unit of the last place, and the shift. */
static void kt_tile_gradient(const kt_banded_depthwise_input_gradient_params *params, const kt_gain *gain, const int8_t *g, int8_t *dx, int32_t *scratch)
{
    const kt_scaling scaling = {params->prescale, gain, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t half = (int32_t)(UINT32_C(1) << (params->shift - 1)), rounding[3] = {0, 0, params->shift};
    kt_tiling t = {params->window, {0, 0, 0, 0, 0}, 0, params->stream, g, dx, &half, rounding, 0, 0, 0, 0, 1, 1, &scaling, params->rows, NULL, NULL, 0,
                   0};
    int32_t axis;
    for (axis = KT_Y; axis <= KT_CHANNELS; axis++) {
        t.window.input[axis] = params->window.output[axis];
        t.window.output[axis] = params->window.input[axis];
    }
    t.window.pad[KT_Y] = params->window.kernel[KT_Y] - 1 - params->window.pad[KT_Y];
    t.window.pad[KT_X] = params->window.kernel[KT_X] - 1 - params->window.pad[KT_X];
    kt_walk_tiles(&t, scratch, kt_fill_gradients, kt_tiled_gradient);
}

void kt_tiled_depthwise_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    kt_tile_gradient(params, NULL, g, dx, scratch);
}

/* With a gain of the layer. */
void kt_tiled_depthwise_scaled_input_gradient_s8(const kt_banded_depthwise_input_gradient_params *params, const int8_t *g, const int8_t *gain,
                                                 const int8_t *gain_exponent, int8_t *dx, void *scratch)
{
    const kt_gain trained = kt_gain_of(gain, gain_exponent);
    kt_tile_gradient(params, &trained, g, dx, scratch);
}
