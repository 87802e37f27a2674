/* Gradient of weights in vectors: for each tap the product of the gradient and of the input under it, over pairs of positions.
 *
 * The channels of one of the two stand in the lanes, those of the other are taken four at a time: of the one that has more. Sums are exact, so that
 * their order does not matter. */
#include "../weight_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/column_sums.h"
#include "../../../product/vector/words.h"

enum { BLOCK = 4 };

/* Values of one operand: of a position, bytes to the next one in a row and to the next row, what is added to each. */
typedef struct {
    const int8_t *values;
    int32_t step, next, offset;
} kt_operand;

/* The positions whose windows have a tap inside the image. */
typedef struct {
    int32_t rows, columns;
} kt_positions;

/* sums[i][lane] of `few` values and `count` lanes. */
KT_INLINE void multiply(kt_positions of, const kt_operand *lanes, int32_t count, const kt_operand *single, int32_t few,
                        int32_t sums[BLOCK][KT_CHANNEL_LANES])
{
    const kt_lanes none = kt_no_lanes(), offset = kt_shorts_of((int16_t)lanes->offset);
    kt_channel_words total[BLOCK] = {{none, none}, {none, none}, {none, none}, {none, none}};
    const int8_t *x = lanes->values, *g = single->values;
    int32_t row, column, i;
    for (row = 0; row < of.rows; row++, x += lanes->next, g += single->next) {
        const int8_t *from = x, *of_few = g;
        for (column = 0; column < of.columns; column += 2, from += 2 * lanes->step, of_few += 2 * single->step) {
            const int both = column + 1 < of.columns;
            const kt_lanes first = kt_with_offset(from, count, offset);
            const kt_channel_words pair = kt_interleave(first, both ? kt_with_offset(from + lanes->step, count, offset) : none);
            for (i = 0; i < few; i++) {
                const int32_t value = of_few[i] + single->offset, other = both ? of_few[single->step + i] + single->offset : 0;
                const kt_lanes values = kt_splat(kt_pair_of(value, other));
                const kt_channel_words twice = {values, values};
                kt_add_products_of(&total[i], &pair, &twice);
            }
        }
    }
    for (i = 0; i < few; i++) {
        kt_store_channel_words(sums[i], total[i]);
    }
}

/* The same, with the usual numbers known to the compiler. */
static void multiply_block(kt_positions of, const kt_operand *lanes, int32_t count, const kt_operand *single, int32_t few,
                           int32_t sums[BLOCK][KT_CHANNEL_LANES])
{
    if (count == KT_CHANNEL_LANES && few == BLOCK) {
        multiply(of, lanes, KT_CHANNEL_LANES, single, BLOCK, sums);
    } else if (few == BLOCK) {
        multiply(of, lanes, count, single, BLOCK, sums);
    } else {
        multiply(of, lanes, count, single, few, sums);
    }
}

/* All of one tap; by_result: the channels of the gradient stand in the lanes. */
static void add_tap(const kt_weight_gradient_params *params, kt_positions of, const kt_operand *g, const kt_operand *x, int by_result,
                    float scale, float *accumulator)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t wide = by_result ? channels : depth, narrow = by_result ? depth : channels;
    int32_t sums[BLOCK][KT_CHANNEL_LANES];
    int32_t lane, single, i, k;
    for (single = 0; single < narrow; single += BLOCK) {
        const int32_t few = kt_minimum(narrow - single, BLOCK);
        for (lane = 0; lane < wide; lane += KT_CHANNEL_LANES) {
            const int32_t count = kt_minimum(wide - lane, KT_CHANNEL_LANES);
            kt_operand lanes = by_result ? *g : *x, fours = by_result ? *x : *g;
            lanes.values += lane;
            fours.values += single;
            multiply_block(of, &lanes, count, &fours, few, sums);
            for (i = 0; i < few; i++) {
                for (k = 0; k < count; k++) {
                    const int32_t c = by_result ? lane + k : single + i, at = by_result ? single + i : lane + k;
                    const int32_t row = params->rows == NULL ? c : params->rows[c];
                    if (row >= 0) {
                        float *const entry = accumulator + row * size + at;
                        *entry = kt_accumulate(*entry, sums[i][k], scale);
                    }
                }
            }
        }
    }
}

void kt_weight_gradient(const kt_weight_gradient_params *params, const int8_t *g, const int8_t *x,
                        const int32_t *exponent, const int8_t *exponent_offset, float *accumulator, void *scratch)
{
    (void)scratch;
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], depth = window->input[KT_CHANNELS];
    const int32_t power = *exponent + (exponent_offset == NULL ? 0 : *exponent_offset);
    const float scale = kt_gradient_scale(params->scale, power);
    const int32_t line = window->input[KT_X] * depth;
    int32_t ky, kx;
    for (ky = 0; ky < window->kernel[KT_Y]; ky++) {
        int32_t oy, end_y;
        kt_outputs_of(window, KT_Y, ky, &oy, &end_y);
        for (kx = 0; kx < window->kernel[KT_X]; kx++, accumulator += depth) {
            int32_t ox, end_x;
            kt_outputs_of(window, KT_X, kx, &ox, &end_x);
            {
                const int32_t iy = oy * window->stride[KT_Y] + ky * window->dilation[KT_Y] - window->pad[KT_Y];
                const int32_t ix = ox * window->stride[KT_X] + kx * window->dilation[KT_X] - window->pad[KT_X];
                const kt_positions of = {kt_maximum(end_y - oy, 0), kt_maximum(end_x - ox, 0)};
                const int any = of.rows > 0 && of.columns > 0;
                const kt_operand of_g = {any ? g + (oy * window->output[KT_X] + ox) * channels : g, channels,
                                         window->output[KT_X] * channels, 0};
                const kt_operand of_x = {any ? x + iy * line + ix * depth : x, window->stride[KT_X] * depth, window->stride[KT_Y] * line,
                                         params->input_offset};
                add_tap(params, of, &of_g, &of_x, channels >= depth, scale, accumulator);
            }
        }
    }
}

#endif
