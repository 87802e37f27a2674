/* Gradient of DEPTHWISE_CONV_2D to its input from packed weights, in tiles of two by two results.
 *
 * It is a layer over scaled gradients with its taps turned round. With a stride of s the taps that reach an input are every s-th, from another one on
 * for each of s neighbours: so every s-th input along an axis is the result of a layer of its own, without a stride. */
#include "kt/kernels/packed_depthwise.h"
#include "tiling.h"

static void kt_fill_gradients(const kt_tiling *t, const kt_tile_buffer *b, const kt_tiled_quad *quad, int32_t top, int32_t done)
{
    kt_fill_tiles(t, b, t->x + quad->c, top, done, &quad->scaling);
}

static void kt_tiled_gradient(const kt_tiled_rows *of)
{
    kt_tiled_results(of, KT_OF_GRADIENT, 1);
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
    window->pad[axis] = taps.count - 1 - (reach - tap) / stride;
    window->stride[axis] = 1;
    return taps;
}

enum { KT_MOST_PARTS = 4 };

static void kt_tile_gradient(const kt_banded_depthwise_input_gradient_params *params, const kt_gain *gain, const int8_t *g, int8_t *dx, int32_t *scratch)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->input[KT_CHANNELS], width = window->input[KT_X], columns = window->kernel[KT_X];
    const int32_t stride_y = window->stride[KT_Y], stride_x = window->stride[KT_X], quad_words = 2 * window->kernel[KT_Y] * columns + KT_EPILOGUE;
    const kt_scaling scaling = {params->prescale, gain, params->prescale_shift, {0, 0, 0, 0}};
    const int32_t half = (int32_t)(UINT32_C(1) << (params->shift - 1)), rounding[3] = {0, 0, params->shift};
    kt_tiling parts[KT_MOST_PARTS];
    int32_t iy, ix, count = 0;
    for (iy = 0; iy < stride_y; iy++) {
        for (ix = 0; ix < stride_x; ix++) {
            kt_tiling t = {*window, g,     dx + (iy * width + ix) * channels, 0, stride_y * width * channels, stride_x * channels, params->rows,
                           params->stream, quad_words, 0, -2 * stride_x, -2 * stride_y * columns, 0, 0, &half, rounding, 0, 0, 0, 0, 1, &scaling};
            const kt_axis_taps rows = kt_turn_axis(&t.window, KT_Y, iy), taps = kt_turn_axis(&t.window, KT_X, ix);
            t.first_tap = 2 * ((rows.tap + (rows.count - 1) * stride_y) * columns + taps.tap + (taps.count - 1) * stride_x);
            t.tap_rows = rows.count;
            t.window.kernel[KT_Y] = kt_maximum(rows.count, 2); /* a tile has two rows or more */
            if (t.window.output[KT_Y] > 0 && t.window.output[KT_X] > 0) {
                parts[count++] = t;
            }
        }
    }
    kt_walk_tiles(parts, count, scratch, kt_fill_gradients, kt_tiled_gradient);
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
