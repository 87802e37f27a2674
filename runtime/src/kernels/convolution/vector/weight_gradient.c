/* Gradient of weights in vectors: for each tap the product of the gradient and of the input under it, over pairs of positions.
 *
 * The channels of one of the two stand in the lanes, those of the other are taken four at a time. Both are laid out in pairs of positions first, for
 * KT_CHANNEL_LANES channels of each. Sums are exact, so that their order does not matter. */
#include "../weight_gradient.h"
#include "kt/architecture.h"

#if KT_VECTOR
#include "../../../product/vector/channels.h"
#include "../../../product/vector/floats.h"

enum { BLOCK = 4, PAIRS = 128 };

/* Values of one operand: of a position, bytes to the next one in a row and to the next row, what is added to each. */
typedef struct {
    const int8_t *values;
    int32_t step, next, offset;
} kt_operand;

/* The positions whose windows have a tap inside the image. */
typedef struct {
    int32_t rows, columns;
} kt_positions;

/* Where the next pair of positions begins. */
typedef struct {
    int32_t row, column;
} kt_place;

/* `count` channels of up to PAIRS pairs of positions from a place on, two values a word. in_order: as they lie, for words that are read one by one;
 * otherwise as interleaving leaves them. Returns how many pairs there are. */
KT_INLINE int32_t lay_out(kt_positions of, kt_place at, const kt_operand *operand, int32_t count, int in_order, int32_t *words)
{
    const kt_lanes none = kt_no_lanes(), offset = kt_shorts_of((int16_t)operand->offset);
    int32_t pairs = 0;
    for (; at.row < of.rows && pairs < PAIRS; at.row++, at.column = 0) {
        const int8_t *from = operand->values + at.row * operand->next + at.column * operand->step;
        for (; at.column < of.columns && pairs < PAIRS; at.column += 2, from += 2 * operand->step, words += KT_CHANNEL_LANES, pairs++) {
            const int both = at.column + 1 < of.columns;
            const kt_lanes first = kt_with_offset(from, count, offset);
            const kt_channel_words pair = kt_interleave(first, both ? kt_with_offset(from + operand->step, count, offset) : none);
            if (in_order) {
                kt_store_channel_words(words, pair);
            } else {
                kt_store_lanes(words, pair.low);
                kt_store_lanes(words + KT_LANES, pair.high);
            }
        }
        if (at.column < of.columns) {
            break;
        }
    }
    return pairs;
}

static int32_t lay_out_block(kt_positions of, kt_place at, const kt_operand *operand, int32_t count, int in_order, int32_t *words)
{
    if (count >= KT_CHANNEL_LANES) {
        return lay_out(of, at, operand, KT_CHANNEL_LANES, in_order, words);
    }
    return lay_out(of, at, operand, count, in_order, words);
}

/* sums[i][lane] += the products of `few` values and all lanes over so many pairs. */
KT_INLINE void multiply(const int32_t *lanes, const int32_t *single, int32_t pairs, int32_t few, int32_t sums[][KT_CHANNEL_LANES])
{
    kt_channel_words total[BLOCK];
    int32_t i;
    for (i = 0; i < few; i++) {
        total[i] = kt_load_channels(sums[i]);
    }
    for (; pairs > 0; pairs--, lanes += KT_CHANNEL_LANES, single += KT_CHANNEL_LANES) {
        const kt_channel_words pair = {kt_load_lanes(lanes), kt_load_lanes(lanes + KT_LANES)};
        for (i = 0; i < few; i++) {
            const kt_lanes values = kt_splat(single[i]);
            const kt_channel_words twice = {values, values};
            kt_add_products_of(&total[i], &pair, &twice);
        }
    }
    for (i = 0; i < few; i++) {
        kt_store_channel_words(sums[i], total[i]);
    }
}

/* entries[k] takes sums[k] of `count` neighbours, as kt_accumulate gives each. */
static void accumulate(float *entries, const int32_t *sums, int32_t count, float scale)
{
    const kt_float_lanes factor = kt_splat_float(scale);
    int32_t k;
    for (k = 0; k + KT_LANES <= count; k += KT_LANES) {
        const kt_float_lanes scaled = kt_floats_of((kt_word_lanes)kt_load_lanes(sums + k)) * factor;
        kt_store_floats(entries + k, kt_load_floats(entries + k) + scaled);
    }
    for (; k < count; k++) {
        entries[k] = kt_accumulate(entries[k], sums[k], scale);
    }
}

/* The sums of up to KT_CHANNEL_LANES channels of each operand over all positions. held: whether `single` is laid out already. Returns whether it is. */
static int sum_block(kt_positions of, const kt_operand *lanes, int32_t count, const kt_operand *single, int32_t few, int held,
                     int32_t *single_words, int32_t sums[KT_CHANNEL_LANES][KT_CHANNEL_LANES])
{
    const int32_t row_pairs = (of.columns + 1) / 2;
    int32_t lane_words[PAIRS * KT_CHANNEL_LANES];
    int32_t done = 0, i;
    memset(sums, 0, (size_t)few * sizeof *sums);
    while (done < of.rows * row_pairs) {
        const kt_place at = {done / row_pairs, done % row_pairs * 2};
        const int32_t pairs = lay_out_block(of, at, lanes, count, 0, lane_words);
        if (!held) {
            lay_out_block(of, at, single, few, 1, single_words);
        }
        for (i = 0; i + BLOCK <= few; i += BLOCK) {
            multiply(lane_words, single_words + i, pairs, BLOCK, sums + i);
        }
        for (; i < few; i++) {
            multiply(lane_words, single_words + i, pairs, 1, sums + i);
        }
        done += pairs;
    }
    return of.rows * row_pairs <= PAIRS;
}

/* All of one tap; by_result: the channels of the gradient stand in the lanes. */
static void add_tap(const kt_weight_gradient_params *params, kt_positions of, const kt_operand *g, const kt_operand *x, int by_result,
                    float scale, float *accumulator)
{
    const int32_t channels = params->window.output[KT_CHANNELS], depth = params->window.input[KT_CHANNELS];
    const int32_t size = kt_kernel_size(&params->window);
    const int32_t wide = by_result ? channels : depth, narrow = by_result ? depth : channels;
    int32_t single_words[PAIRS * KT_CHANNEL_LANES], sums[KT_CHANNEL_LANES][KT_CHANNEL_LANES];
    int32_t lane, single, i, k;
    for (single = 0; single < narrow; single += KT_CHANNEL_LANES) {
        const int32_t few = kt_minimum(narrow - single, KT_CHANNEL_LANES);
        int held = 0;
        for (lane = 0; lane < wide; lane += KT_CHANNEL_LANES) {
            const int32_t count = kt_minimum(wide - lane, KT_CHANNEL_LANES);
            kt_operand lanes = by_result ? *g : *x, others = by_result ? *x : *g;
            lanes.values += lane;
            others.values += single;
            held = sum_block(of, &lanes, count, &others, few, held, single_words, sums);
            for (i = 0; i < few && !by_result; i++) {
                const int32_t row = params->rows == NULL ? single + i : params->rows[single + i];
                if (row >= 0) {
                    accumulate(accumulator + row * size + lane, sums[i], count, scale);
                }
            }
            for (k = 0; k < count && by_result; k++) {
                const int32_t row = params->rows == NULL ? lane + k : params->rows[lane + k];
                for (i = 0; i < few && row >= 0; i++) {
                    float *const entry = accumulator + row * size + single + i;
                    *entry = kt_accumulate(*entry, sums[i][k], scale);
                }
            }
        }
    }
}

/* Rows whose positions follow each other without a gap, as one. */
static kt_positions in_one_row(kt_positions of, const kt_operand *g, const kt_operand *x)
{
    if (g->next == of.columns * g->step && x->next == of.columns * x->step) {
        of.columns *= of.rows;
        of.rows = kt_minimum(of.rows, 1);
    }
    return of;
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
                add_tap(params, in_one_row(of, &of_g, &of_x), &of_g, &of_x, depth < KT_CHANNEL_LANES && channels > depth, scale, accumulator);
            }
        }
    }
}

#endif
