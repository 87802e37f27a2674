/* position.h: all channels of one position of a convolution (../conv2d.h) in vectors.
 *
 * What lies under the window is put together once, as shorts without the zero point, with zeros outside of the image: each kernel is then one row of
 * products. The products become results KT_LANES channels at a time. */
#ifndef KT_VECTOR_CONV2D_POSITION_H
#define KT_VECTOR_CONV2D_POSITION_H

#include "../../../product/vector/channels.h"

enum { KT_COLUMN = 8192 /* shorts on the stack; products of so many values stay below 2^30, and so within int32 with an addend */ };

/* Whether a window's values have room on the stack. */
static inline int kt_column_has_room(const kt_window *window)
{
    return kt_kernel_size(window) <= KT_COLUMN;
}

/* The values of a patch where its kernel has them; zeros elsewhere, and up to a multiple of the lanes. */
static inline void kt_fill_shorts(const kt_patch *patch, const int8_t *x, int32_t size, int32_t offset, int16_t *column)
{
    const kt_lanes added = kt_shorts_of((int16_t)offset);
    const int32_t padded = (size + KT_CHANNEL_LANES - 1) / KT_CHANNEL_LANES * KT_CHANNEL_LANES;
    int32_t row, span, i;
    if (patch->rows * patch->spans * patch->length < padded) {
        memset(column, 0, (size_t)padded * sizeof *column);
    }
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            int16_t *const to = column + (patch->w + row * patch->row_w + span * patch->span_w);
            for (i = 0; i + KT_CHANNEL_LANES <= patch->length; i += KT_CHANNEL_LANES) {
                kt_store_lanes(to + i, kt_with_offset(values + i, KT_CHANNEL_LANES, added));
            }
            for (; i < patch->length; i++) {
                to[i] = (int16_t)(values[i] + offset);
            }
        }
    }
}

/* The products of four kernels, of which only `count` exist. */
KT_INLINE kt_four_lanes kt_four_products(const int16_t *column, const int8_t *weights, int32_t size, int32_t count)
{
    const int8_t *const w[4] = {weights, weights + (count > 1 ? size : 0), weights + (count > 2 ? 2 * size : 0), weights + (count > 3 ? 3 * size : 0)};
    const kt_lanes none = kt_no_lanes();
    kt_lanes sums[4] = {none, none, none, none};
    int32_t i, k;
    for (i = 0; i + KT_CHANNEL_LANES <= size; i += KT_CHANNEL_LANES) {
        const kt_lanes values = kt_load_lanes(column + i);
        for (k = 0; k < 4; k++) {
            sums[k] = kt_add_pair_products(sums[k], kt_widen_channels(w[k] + i), values);
        }
    }
    if (i < size) {
        const kt_lanes values = kt_load_lanes(column + i);
        for (k = 0; k < 4; k++) {
            sums[k] = kt_add_pair_products(sums[k], kt_widen_some(w[k] + i, size - i), values);
        }
    }
    return kt_added_up(sums[0], sums[1], sums[2], sums[3]);
}

/* Of KT_LANES channels from c on: what a trainable layer adds. */
KT_INLINE kt_lanes kt_addends(const kt_conv2d_params *params, const int32_t *products, int32_t c, int32_t exponent)
{
    const kt_lanes shift = kt_add_lanes(kt_widen_codes(params->addend_shift + c), kt_splat(exponent));
    const kt_lanes scaled = kt_requantize_lanes(kt_load_lanes(products), kt_load_lanes(params->addend_multiplier + c), shift);
    return kt_clamp_lanes(scaled, kt_splat(-KT_ADDEND_LIMIT), kt_splat(KT_ADDEND_LIMIT));
}

/* As kt_conv2d_position, of layers whose rounding is kt_requantize. */
static inline void kt_conv2d_in_vectors(const kt_conv2d_params *params, const kt_patch *patch, const int8_t *x, const int32_t *bias,
                                      const kt_trainable *trainable, int32_t position, int8_t *y, kt_product *product)
{
    const int32_t channels = params->window.output[KT_CHANNELS], size = kt_kernel_size(&params->window);
    const int gained = trainable != NULL && trainable->gain.codes != NULL;
    int16_t column[KT_COLUMN + KT_CHANNEL_LANES];
    int32_t c, i;
    kt_fill_shorts(patch, x, size, params->input_offset, column);
    for (c = 0; c < channels; c += KT_LANES) {
        const int32_t count = kt_minimum(channels - c, KT_LANES);
        int32_t sums[KT_LANES] = {0}, products[KT_LANES] = {0};
        for (i = 0; i < count; i += 4) {
            const kt_four_lanes four = kt_four_products(column, params->weights + (c + i) * size, size, count - i);
            memcpy(sums + i, &four, sizeof four);
        }
        for (i = 0; product != NULL && i < count; i++) {
            products[i] = product(params, trainable, patch, x, position, c + i);
        }
        if (count == KT_LANES && !gained) {
            kt_lanes total = kt_load_lanes(sums);
            if (product != NULL) {
                total = kt_add_lanes(total, kt_addends(params, products, c, trainable->exponent));
            }
            total = kt_add_saturated_lanes(total, kt_load_lanes(bias + c));
            total = kt_requantize_lanes(total, kt_load_lanes(params->multiplier + c), kt_widen_codes(params->shift + c));
            total = kt_clamp_lanes(total, kt_splat(params->clamp[0] - params->output_offset), kt_splat(params->clamp[1] - params->output_offset));
            kt_store_narrow(y + c, kt_add_lanes(total, kt_splat(params->output_offset)));
            continue;
        }
        for (i = 0; i < count; i++) {
            int64_t total = sums[i];
            total += product == NULL ? 0 : kt_conv2d_addend(params, products[i], c + i, trainable->exponent);
            total += bias[c + i];
            y[c + i] = kt_conv2d_result(params, total, trainable == NULL ? NULL : &trainable->gain, c + i, kt_requantize);
        }
    }
}

#endif
