/* DEPTHWISE_CONV_2D from packed weights, and its gradient to the input, in tiles of two by two results.
 *
 * The gradient is a layer over scaled gradients with its taps turned round. With a stride of s the taps that reach an input are every s-th, from
 * another one on for each of s neighbours: so every s-th input along an axis is the result of a layer of its own, without a stride. */
#include "kt/kernels/packed_depthwise.h"
#include "tiling.h"

static void kt_fill_values(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, b, t->view.x + quad->c, top, done, NULL);
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

static void kt_lined_near(const kt_tiled_rows *of)
{
    kt_lined_results(of, 128, 1);
}

static void kt_lined_near_relu(const kt_tiled_rows *of)
{
    kt_lined_results(of, 0, 1);
}

static void kt_lined_strided(const kt_tiled_rows *of)
{
    kt_lined_results(of, 128, 2);
}

static void kt_lined_strided_relu(const kt_tiled_rows *of)
{
    kt_lined_results(of, 0, 2);
}

/* For tiles of a stride between rows of 1 and 2, and for lines of a stride of 1 and 2. */
typedef struct {
    kt_tiled_kernel *tiled[2], *lined[2];
} kt_tiled_kernels;

static const kt_tiled_kernels KT_OF_ANY_SIGN = {{kt_tiled_near, kt_tiled_strided}, {kt_lined_near, kt_lined_strided}};
static const kt_tiled_kernels KT_UNDER_RELU = {{kt_tiled_near_relu, kt_tiled_strided_relu}, {kt_lined_near_relu, kt_lined_strided_relu}};

/* All phases of a tiling, one after the other. */
static void kt_walk_phases(const kt_tiling *tiling, int32_t *scratch, kt_tile_filling *fill, const kt_tiled_kernels *kernels)
{
    const kt_window *const window = &tiling->view.window;
    kt_phase phase = {0, 0};
    kt_tiling t = *tiling;
    while (kt_next_phase(&t.view, &tiling->view, &phase)) {
        kt_tiling lines = t;
        if (kt_has_lines(window)) {
            kt_make_lines(&lines, window->kernel[KT_Y] > 1);
            kt_walk_tiles(&lines, 1, scratch, fill, kernels->lined[lines.view.window.stride[KT_X] - 1]);
        } else {
            kt_walk_tiles(&t, 1, scratch, fill, kernels->tiled[window->stride[KT_Y] - 1]);
        }
    }
}

/* A layer. starts: of the sums; scaled: four of them, then what their results end with, and so on. */
static void kt_tile_layer(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *starts, int scaled, int8_t *y, int32_t *scratch,
                          const kt_tiled_kernels *kernels)
{
    const kt_window *const window = &params->window;
    const int32_t columns = window->kernel[KT_X], rows = window->kernel[KT_Y], weights = 2 * rows * columns;
    kt_tiling t = {.view = kt_view_of(window, x, y),
                   .outside = params->outside,
                   .rows = params->rows,
                   .stream = params->stream,
                   .quad_words = weights + KT_EPILOGUE,
                   .tap_step = 2,
                   .row_step = 2 * columns,
                   .tap_rows = rows,
                   .times = 8,
                   .starts = starts,
                   .start_step = 1,
                   .start_quad_step = KT_QUAD,
                   .unit = 256,
                   .epilogues = params->stream + weights,
                   .epilogue_step = 3,
                   .epilogue_quad_step = weights + KT_EPILOGUE};
    if (scaled) {
        t.epilogues = starts + KT_QUAD;
        t.start_quad_step = t.epilogue_quad_step = KT_QUAD + KT_EPILOGUE;
    }
    kt_walk_phases(&t, scratch, kt_fill_values, kernels);
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
    kt_tile_layer(params, x, starts, 0, y, behind_starts(params, scratch), &KT_OF_ANY_SIGN);
}

/* Under a ReLU whose zero is the lowest value of int8. */
void kt_tiled_depthwise_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y, void *scratch)
{
    const int32_t *const starts = kt_depthwise_starts(params, bias, scratch);
    kt_tile_layer(params, x, starts, 0, y, behind_starts(params, scratch), &KT_UNDER_RELU);
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
    kt_tile_layer(params, x, scratch, 1, y, behind_gains(params, scratch), &KT_OF_ANY_SIGN);
}

/* With a gain, under such a ReLU. */
void kt_tiled_depthwise_scaled_relu_s8(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, const int8_t *gain,
                                       const int8_t *gain_exponent, int8_t *y, void *scratch)
{
    kt_depthwise_gained(params, bias, gain, gain_exponent, scratch);
    kt_tile_layer(params, x, scratch, 1, y, behind_gains(params, scratch), &KT_UNDER_RELU);
}

/* ---- The gradient ---- */

static void kt_fill_gradients(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, b, t->view.x + quad->c, top, done, &quad->scaling);
}

static void kt_tiled_gradient(const kt_tiled_rows *of)
{
    kt_tiled_results(of, KT_OF_GRADIENT, 1);
}

static void kt_lined_gradient(const kt_tiled_rows *of)
{
    kt_lined_results(of, KT_OF_GRADIENT, 1);
}

/* Taps of the inputs from `first` on along an axis: every s-th from `tap` on, so many. */
typedef struct {
    int32_t tap, count;
} kt_axis_taps;

/* Makes the axis of a layer's window that of the layer whose results are the inputs from `first` on. */
static kt_axis_taps kt_turn_axis(kt_window *window, int axis, int32_t first)
{
    const int32_t stride = window->stride[axis], kernel = window->kernel[axis], size = window->input[axis], reach = first + window->pad[axis];
    const int32_t tap = stride == 1 ? 0 : reach & 1;
    const kt_axis_taps taps = {tap, (kernel - tap + stride - 1) / stride};
    window->input[axis] = window->output[axis];
    window->output[axis] = (size - first + stride - 1) / stride;
    window->kernel[axis] = taps.count;
    window->pad[axis] = (taps.count - 1) * window->dilation[axis] - (reach - tap) / stride;
    window->stride[axis] = 1;
    return taps;
}

static const kt_tiled_kernels KT_OF_GRADIENTS = {{kt_tiled_gradient, kt_tiled_gradient}, {kt_lined_gradient, kt_lined_gradient}};

enum { KT_MOST_PARTS = 4 };

static void kt_tile_gradient(const kt_banded_depthwise_input_gradient_params *params, const kt_gain *gain, const int8_t *g, int8_t *dx, int32_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], columns = window->kernel[KT_X];
    const int32_t stride_y = window->stride[KT_Y], stride_x = window->stride[KT_X];
    const kt_scaling scaling = {params->prescale, gain, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t half = (int32_t)(UINT32_C(1) << (params->shift - 1)), rounding[3] = {0, 0, params->shift};
    kt_tiling parts[KT_MOST_PARTS];
    int32_t part = 0, count = 0;
    do {
        const int32_t iy = part / stride_x, ix = part % stride_x;
        kt_tiling t = {.view = {*window, g, dx + (iy * width + ix) * channels, window->output[KT_X] * channels, channels,
                                stride_y * width * channels, stride_x * channels},
                       .rows = params->rows,
                       .stream = params->stream,
                       .quad_words = 2 * window->kernel[KT_Y] * columns + KT_EPILOGUE,
                       .tap_step = -2 * stride_x,
                       .row_step = -2 * stride_y * columns,
                       .starts = &half,
                       .unit = 1,
                       .epilogues = rounding,
                       .scaling = &scaling};
        const kt_axis_taps rows = kt_turn_axis(&t.view.window, KT_Y, iy), taps = kt_turn_axis(&t.view.window, KT_X, ix);
        t.first_tap = 2 * ((rows.tap + (rows.count - 1) * stride_y) * columns + taps.tap + (taps.count - 1) * stride_x);
        t.tap_rows = rows.count;
        if (kt_phases_of(window, KT_Y) > 1 || kt_phases_of(window, KT_X) > 1) { /* without a stride: the only part */
            kt_walk_phases(&t, scratch, kt_fill_gradients, &KT_OF_GRADIENTS);
            return;
        }
        if (kt_has_lines(window)) {
            kt_make_lines(&t, window->kernel[KT_Y] > 1);
        } else {
            t.view.window.kernel[KT_Y] = kt_maximum(rows.count, 2); /* a tile has two rows or more */
        }
        parts[count] = t;
        count += t.view.window.output[KT_Y] > 0 && t.view.window.output[KT_X] > 0;
    } while (++part < stride_y * stride_x);
    kt_walk_tiles(parts, count, scratch, kt_fill_gradients, parts->lines ? kt_lined_gradient : kt_tiled_gradient);
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
