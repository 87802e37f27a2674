/* groups.h: several neighbouring positions of a convolution (../conv2d.h) at a time in vectors: channels in the lanes, so that no sum has to be added up.
 *
 * Weights are turned once a call, pairs of neighbouring values of a channel as words: [blocks of KT_CHANNEL_LANES channels][pairs][channels]. Those of
 * LoRA too: its product is that of the codes of u. All positions of a group are read before any is written. */
#ifndef KT_VECTOR_CONV2D_GROUPS_H
#define KT_VECTOR_CONV2D_GROUPS_H

#include "position.h"

enum {
    KT_GROUP_POSITIONS = 4,
    KT_FEWEST_GROUPED = 8, /* positions that are worth it to turn the weights */
    KT_TURNED = 16384,     /* words on the stack */
    KT_GROUP_RANK = 64
};

/* Words of turned weights of so many values. */
static inline int32_t kt_turned_words(int32_t size, int32_t channels)
{
    return (size + 1) / 2 * ((channels + KT_CHANNEL_LANES - 1) / KT_CHANNEL_LANES * KT_CHANNEL_LANES);
}

/* Whether groups of a layer have room; trainable: NULL, or what LoRA adds. */
static inline int kt_groups_have_room(const kt_conv2d_params *params, const kt_trainable *trainable, int product)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], size = kt_kernel_size(window), rank = product ? params->rank : 0;
    if (product && (trainable->u == NULL || rank > KT_GROUP_RANK)) {
        return 0;
    }
    return window->output[KT_Y] * window->output[KT_X] >= KT_FEWEST_GROUPED && size <= KT_COLUMN / KT_GROUP_POSITIONS &&
           kt_turned_words(size, channels) + kt_turned_words(rank, channels) <= KT_TURNED;
}

/* weights [channels][size] as words; zeros where there is no such value or channel. */
static inline void kt_turn_weights(const int8_t *weights, int32_t size, int32_t channels, int32_t *turned)
{
    int32_t first, i, c;
    for (first = 0; first < channels; first += KT_CHANNEL_LANES) {
        for (i = 0; i < size; i += 2, turned += KT_CHANNEL_LANES) {
            for (c = 0; c < KT_CHANNEL_LANES; c++) {
                const int8_t *const w = weights + (first + c) * size + i;
                const int exists = first + c < channels;
                turned[c] = exists ? kt_pair_of(w[0], i + 1 < size ? w[1] : 0) : 0;
            }
        }
    }
}

/* sums[position][half] of a block of channels; columns: of each position, `step` shorts apart. */
KT_INLINE void kt_group_sums(const int16_t *columns, int32_t step, const int32_t *turned, int32_t size, kt_lanes sums[KT_GROUP_POSITIONS][2])
{
    int32_t i, p;
    for (p = 0; p < KT_GROUP_POSITIONS; p++) {
        sums[p][0] = sums[p][1] = kt_no_lanes();
    }
    for (i = 0; i < size; i += 2, turned += KT_CHANNEL_LANES) {
        const kt_lanes low = kt_load_lanes(turned), high = kt_load_lanes(turned + KT_LANES);
        for (p = 0; p < KT_GROUP_POSITIONS; p++) {
            const kt_lanes both = kt_splat(kt_word_at(columns + p * step + i));
            sums[p][0] = kt_add_pair_products(sums[p][0], low, both);
            sums[p][1] = kt_add_pair_products(sums[p][1], high, both);
        }
    }
}

/* What the results of KT_LANES channels are made with. */
typedef struct {
    kt_lanes bias, multiplier, shift, low, high;
    kt_lanes addend_multiplier, addend_shift;
} kt_group_scale;

KT_INLINE kt_group_scale kt_group_scale_of(const kt_conv2d_params *params, const int32_t *bias, int32_t c, int trained, int32_t exponent)
{
    const kt_lanes none = kt_no_lanes();
    const kt_group_scale scale = {kt_load_lanes(bias + c),
                                  kt_load_lanes(params->multiplier + c),
                                  kt_widen_codes(params->shift + c),
                                  kt_splat(params->clamp[0] - params->output_offset),
                                  kt_splat(params->clamp[1] - params->output_offset),
                                  trained ? kt_load_lanes(params->addend_multiplier + c) : none,
                                  trained ? kt_add_lanes(kt_widen_codes(params->addend_shift + c), kt_splat(exponent)) : none};
    return scale;
}

/* Results of KT_LANES channels that all exist. */
KT_INLINE void kt_group_results(const kt_group_scale *scale, int32_t offset, kt_lanes sums, int trained, kt_lanes products, int8_t *y)
{
    if (trained) {
        const kt_lanes scaled = kt_requantize_lanes(products, scale->addend_multiplier, scale->addend_shift);
        sums = kt_add_lanes(sums, kt_clamp_lanes(scaled, kt_splat(-KT_ADDEND_LIMIT), kt_splat(KT_ADDEND_LIMIT)));
    }
    sums = kt_requantize_lanes(kt_add_saturated_lanes(sums, scale->bias), scale->multiplier, scale->shift);
    kt_store_narrow(y, kt_add_lanes(kt_clamp_lanes(sums, scale->low, scale->high), kt_splat(offset)));
}

/* The same of the first `count` of them, one after the other. */
static inline void kt_group_rest(const kt_conv2d_params *params, const int32_t *bias, int32_t c, int32_t count, int trained, int32_t exponent,
                                 kt_lanes sums, kt_lanes products, int8_t *y)
{
    int32_t total[KT_LANES], added[KT_LANES];
    int32_t i;
    kt_store_lanes(total, sums);
    kt_store_lanes(added, products);
    for (i = 0; i < count; i++) {
        const int64_t addend = trained ? kt_conv2d_addend(params, added[i], c + i, exponent) : 0;
        y[i] = kt_conv2d_result(params, total[i] + addend + bias[c + i], c + i, kt_requantize);
    }
}

/* All channels of a group. columns: of the window and of u; results: where those of each position belong; positions: how many exist. */
KT_INLINE void kt_conv2d_group(const kt_conv2d_params *params, const int32_t *bias, const int16_t *columns, int32_t step, const int32_t *turned,
                               int trained, int32_t exponent, const int16_t *codes, const int32_t *turned_b, int8_t *const results[],
                               int32_t positions)
{
    const int32_t channels = params->window.output[KT_CHANNELS], size = kt_kernel_size(&params->window);
    int32_t first, half, p;
    for (first = 0; first < channels; first += KT_CHANNEL_LANES) {
        kt_lanes sums[KT_GROUP_POSITIONS][2], products[KT_GROUP_POSITIONS][2];
        kt_group_sums(columns, step, turned + (size + 1) / 2 * first, size, sums);
        if (trained) {
            kt_group_sums(codes, KT_GROUP_RANK, turned_b + (params->rank + 1) / 2 * first, params->rank, products);
        }
        for (half = 0; half < 2 && first + KT_LANES * half < channels; half++) {
            const int32_t c = first + KT_LANES * half, count = kt_minimum(channels - c, KT_LANES);
            if (count == KT_LANES) {
                const kt_group_scale scale = kt_group_scale_of(params, bias, c, trained, exponent);
                for (p = 0; p < positions; p++) {
                    kt_group_results(&scale, params->output_offset, sums[p][half], trained, trained ? products[p][half] : sums[p][half], results[p] + c);
                }
                continue;
            }
            for (p = 0; p < positions; p++) {
                kt_group_rest(params, bias, c, count, trained, exponent, sums[p][half], trained ? products[p][half] : sums[p][half], results[p] + c);
            }
        }
    }
}

/* As kt_conv2d_walk. trained: with LoRA. */
KT_INLINE void kt_walk_groups(const kt_conv2d_params *params, const int8_t *x, const int32_t *bias, const kt_trainable *lora, int8_t *y, int trained)
{
    const kt_window *const window = &params->window;
    const int32_t channels = window->output[KT_CHANNELS], width = window->output[KT_X], size = kt_kernel_size(window);
    const int32_t step = (size + KT_CHANNEL_LANES - 1) / KT_CHANNEL_LANES * KT_CHANNEL_LANES, all = window->output[KT_Y] * width;
    const int32_t direction = kt_direction(x, y), rank = params->rank;
    int32_t turned[KT_TURNED];
    int16_t columns[KT_COLUMN + KT_GROUP_POSITIONS * KT_CHANNEL_LANES], codes[KT_GROUP_POSITIONS * KT_GROUP_RANK] = {0};
    int32_t *const turned_b = turned + kt_turned_words(size, channels);
    int32_t done, p, j;
    kt_turn_weights(params->weights, size, channels, turned);
    if (trained) {
        kt_turn_weights(lora->weights, rank, channels, turned_b);
    }
    for (done = 0; done < all; done += KT_GROUP_POSITIONS) {
        const int32_t positions = kt_minimum(all - done, KT_GROUP_POSITIONS);
        int8_t *results[KT_GROUP_POSITIONS];
        for (p = 0; p < KT_GROUP_POSITIONS; p++) {
            const int32_t at = done + kt_minimum(p, positions - 1), position = direction > 0 ? at : all - 1 - at;
            const kt_patch patch =
                kt_patch_of(window, kt_taps_at(window, KT_Y, position / width), kt_taps_at(window, KT_X, position % width));
            kt_fill_shorts(&patch, x, size, params->input_offset, columns + p * step);
            for (j = 0; trained && j < rank; j++) {
                codes[KT_GROUP_RANK * p + j] = lora->u[position * rank + j];
            }
            results[p] = y + position * channels;
        }
        kt_conv2d_group(params, bias, columns, step, turned, trained, trained ? lora->exponent : 0, codes, turned_b, results, positions);
    }
}

#endif
