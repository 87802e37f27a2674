/* The gradient of a 1x1 window from the stream of the packed layer itself, transposed for some input channels at a time: those of a block of
 * positions are computed before the next ones. What a position receives may lie over what it gives, so a block is read whole, into a panel,
 * before any of it is written. */
#define KT_WINDOWS KT_POINTWISE_WINDOWS
#include "kt/kernels/packed_convolution.h"
#include "packed_input_gradient.h"

enum { KT_BLOCK_PANEL = 192 }; /* words on the stack: six positions of 64 channels */

/* What `count` positions receive, whose gradients the panel holds: so many input channels, whose weights stand in the stream. dx: the first channel
 * of the first of them; stride: bytes from position to position. */
static inline void kt_block_of_channels(const kt_gradient_walk *walk, int8_t *dx, int32_t stride, int32_t count, int32_t channels)
{
    const int32_t pairs = kt_channel_pairs(walk->from.window->output[KT_CHANNELS]);
    const int32_t rounding[2] = {(int32_t)(UINT32_C(1) << (walk->shift - 1)), walk->shift};
    const int32_t *panel = walk->panel;
    for (; count > 0; count -= 2, dx += 2 * stride, panel += 2 * pairs) {
        kt_product_gradient(dx, count > 1 ? stride : 0, dx + channels, rounding, panel, pairs, walk->stream);
    }
}

/* Panel and stream: room for the values of a block, and for the weights of a part. */
static __attribute__((noinline)) void kt_walk_blocks(const kt_blocked_input_gradient_params *params, const int8_t *g, int8_t *dx, int32_t *panel,
                                                     int32_t *stream)
{
    const kt_window *const window = &params->window;
    const int32_t depth = window->input[KT_CHANNELS], pairs = kt_channel_pairs(window->output[KT_CHANNELS]);
    const int32_t direction = kt_direction(g, dx);
    const int32_t stride = direction * depth;
    kt_gradient_walk walk = {{window, g, params->prescale, params->prescale_shift}, stream, params->shift, NULL, dx, panel, 0, NULL};
    kt_repacking_params part = {params->stream, params->step, {1, 1}, {1, 1}, window->output[KT_CHANNELS], params->channels};
    int32_t left = window->input[KT_Y] * window->input[KT_X];
    int32_t position = kt_first(direction, left);
    int32_t first, count, i;
    if (part.depth == depth) {
        kt_repack_pointwise(&part, stream);
    }
    for (; left > 0; left -= count, position += count * direction) {
        count = kt_minimum(left, params->positions);
        for (i = 0; i < count; i += 2) {
            kt_fill_pointwise(&walk.from, panel + i * pairs, position + i * direction, direction, count - i);
        }
        for (first = 0; first < depth; first += part.depth) {
            if (params->channels < depth) {
                part.stream = params->stream + first;
                part.depth = kt_minimum(depth - first, params->channels);
                kt_repack_pointwise(&part, stream);
            }
            kt_block_of_channels(&walk, dx + position * depth + first, stride, count, part.depth);
        }
    }
}

void kt_blocked_input_gradient_s8(const kt_blocked_input_gradient_params *params, const int8_t *g, int8_t *dx, void *scratch)
{
    int32_t *const words = scratch;
    int32_t panel[KT_BLOCK_PANEL];
    const int32_t size = params->positions * kt_channel_pairs(params->window.output[KT_CHANNELS]);
    const int is_small = size <= KT_BLOCK_PANEL;
    kt_walk_blocks(params, g, dx, is_small ? panel : words, is_small ? words : words + size);
}
