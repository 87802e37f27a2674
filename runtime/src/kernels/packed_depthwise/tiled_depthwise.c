/* DEPTHWISE_CONV_2D from packed weights, in tiles of two by two results. */
#include "kt/kernels/packed_depthwise.h"
#include "tiling.h"

static void kt_fill_values(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, b, t->x + quad->c, top, done, NULL);
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
    const kt_window *const window = &params->window;
    const int32_t columns = window->kernel[KT_X], rows = window->kernel[KT_Y], weights = 2 * rows * columns;
    const int32_t next = window->output[KT_CHANNELS], line = window->output[KT_X] * next;
    kt_tiling t = {*window,      x, y, params->outside, line, next, params->rows, params->stream, weights + KT_EPILOGUE, 0, 2, 2 * columns, rows, 8, starts,
                   params->stream + weights, 1, KT_QUAD, 3, weights + KT_EPILOGUE, 256, NULL};
    if (scaled) {
        t.epilogues = starts + KT_QUAD;
        t.start_quad_step = t.epilogue_quad_step = KT_QUAD + KT_EPILOGUE;
    }
    kt_walk_tiles(&t, 1, scratch, kt_fill_values, window->stride[KT_Y] == 1 ? near : strided);
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
