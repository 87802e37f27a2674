/* banded_depthwise.h: depthwise convolutions with a 3x3 window, a band of rows at a time.
 *
 * A band reads the rows of four channels, writes its results, and goes on. Where result and input are one buffer, a channel's results lie
 * over nothing but what was read for them: all bands of four channels follow each other, and rows that the next band reads too stay in the
 * buffer. So it is where they share no byte. Otherwise the results of a whole band may not lie over what it reads: a band is one of all
 * channels, and bands are taken forwards or backwards, as positions are elsewhere. In vectors (vector/band_rows.h) a band is always one of all
 * channels; then the last row of a band in one buffer is kept for the next one (the halo). */
#ifndef KT_BANDED_DEPTHWISE_H
#define KT_BANDED_DEPTHWISE_H

#include "kt/kernels/packed_depthwise.h"
#include "../../product/band.h"
#include "../packed_convolution/packed_gain.h"
#include "unzipped_columns.h"

/* What the bands of a layer share. fold: as in kt_packed_depthwise_params. halo: of bands in vectors, one row of the input [width][channels],
 * as it was before a band was written; NULL where the result lies elsewhere. */
typedef struct {
    const kt_window *window;
    kt_columns columns;
    int32_t outside;
    const int32_t *stream;
    const int32_t *fold;
    int32_t bias_limit;
    const int8_t *x;
    const int32_t *bias;
    int8_t *y;
    kt_band_words *words;
    int8_t *halo;
    kt_band_kernel *kernel;
} kt_bands;

/* What the sums of four channels start from. */
KT_INLINE const int32_t *kt_band_start(const kt_bands *b, int32_t c, int32_t *folded)
{
    int32_t i;
    if (b->fold == NULL) {
        return b->bias + c;
    }
    for (i = 0; i < KT_QUAD; i++) {
        folded[i] = b->fold[c + i] + kt_clamp(b->bias[c + i], -b->bias_limit, b->bias_limit);
    }
    return folded;
}

/* The stream of four channels with their gains; epilogues: of these four (`kt_gained_starts`). */
KT_INLINE const int32_t *kt_gained_stream(const int32_t *stream, const int32_t *epilogues, int32_t *own)
{
    int32_t i;
    for (i = 0; i < KT_QUAD; i++, stream += KT_BAND_STREAM, epilogues += 3) {
        int32_t *const words = own + i * KT_BAND_STREAM;
        words[0] = stream[0], words[1] = stream[1], words[2] = stream[2];
        words[3] = epilogues[0], words[4] = epilogues[1], words[5] = epilogues[2];
    }
    return own;
}

#if KT_VECTOR
#include "vector/band_rows.h"
#endif

/* What four channels have in common in all their bands. x, y: of the first of them. */
typedef struct {
    const int8_t *x;
    int8_t *y;
    const int32_t *stream;
    const int32_t *bias;
    kt_scaling scaling;
} kt_band_quad;

/* The four channels from c on. scaling: of a gradient, whose kernel takes one shift in place of biases. starts: of a layer with gains
 * (`kt_gained_starts`), or NULL. folded [4], gained [4 * KT_BAND_STREAM]: where the quad's tables stand if they are not the layer's own. */
KT_INLINE void kt_enter_quad(kt_band_quad *quad, const kt_bands *b, int32_t c, const kt_scaling *scaling, const int32_t *starts,
                             int32_t *folded, int32_t *gained)
{
    quad->x = b->x + kt_maximum(-b->window->pad[KT_X], 0) * b->window->input[KT_CHANNELS] + c;
    quad->y = b->y + c;
    quad->stream = b->stream + c * KT_BAND_STREAM;
    if (scaling != NULL) {
        quad->scaling = *scaling;
        kt_set_factors(&quad->scaling, c);
        quad->bias = b->bias;
    } else if (starts != NULL) {
        quad->bias = starts + c * KT_GAINED_WORDS;
        quad->stream = kt_gained_stream(quad->stream, quad->bias + KT_QUAD, gained);
    } else {
        quad->bias = kt_band_start(b, c, folded);
    }
}

/* The first `rows` rows of the buffer, one or two, become those from `from` on. */
KT_INLINE void kt_carry_rows(kt_band_words *words, int32_t from, int32_t rows, int32_t pairs, int32_t inputs)
{
    for (; pairs > 0; pairs--, words += inputs) {
        words[0] = words[from];
        if (rows > 1) {
            words[1] = words[from + 1];
        }
    }
}

/* Four channels of the band of `rows` result rows from oy on. carried: the first rows of the buffer are those of the band before, of `height`. */
KT_INLINE void kt_banded_rows(const kt_bands *b, const kt_band_quad *quad, int32_t oy, int32_t rows, int32_t height, int carried, int32_t inputs,
                              const kt_scaling *scaling)
{
    const kt_window *const window = b->window;
    const int32_t channels = window->input[KT_CHANNELS], stride = inputs == 6 ? 1 : 2;
    const int32_t line = window->input[KT_X] * channels, next = window->output[KT_X] * channels;
    const int32_t pairs = kt_columns_count(&b->columns);
    const int8_t zero = (int8_t)b->outside;
    const int8_t outside[4] = {zero, zero, zero, zero};
    const int32_t top = oy * stride - window->pad[KT_Y];
    const int32_t read = (rows - 1) * stride + 3, done = carried ? 3 - stride : 0;
    const int32_t low = kt_clamp(-top, done, read), high = kt_clamp(window->input[KT_Y] - top, low, read);
    const kt_band band = {channels, rows > 1 ? next : 0, rows > 2 ? 2 * next : 0, rows > 3 ? next : 0,
                          window->output[KT_X] / 2, window->output[KT_X] % 2};
    int32_t row;
    if (carried) {
        kt_carry_rows(b->words, height * stride, 3 - stride, pairs, inputs);
    }
    for (row = done; row < low; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, inputs);
    }
    kt_unzip_inside(&b->columns, quad->x + (top + low) * line, channels, line, outside, b->words + low, high - low, inputs,
                    scaling == NULL ? NULL : &quad->scaling);
    for (row = high; row < read; row++) {
        kt_outside_pairs(b->words + row, zero, pairs, inputs);
    }
    b->kernel(quad->y + oy * next, (const int32_t *)b->words, quad->stream, quad->bias, &band);
}

/* The bands of four channels, and then the next four; or four channels of a band after the other, and then the next band. */
KT_INLINE void kt_order_bands(const kt_bands *b, int32_t height, int32_t inputs, const kt_scaling *scaling, const int32_t *starts)
{
    const int32_t output = b->window->output[KT_Y], channels = b->window->input[KT_CHANNELS];
    const int32_t bands = (output + height - 1) / height;
    const int32_t direction = kt_direction(b->x, b->y);
    const int apart = kt_channels_apart(b->window, b->x, b->y);
    int32_t folded[KT_QUAD], gained[KT_QUAD * KT_BAND_STREAM];
    kt_band_quad quad = {b->x, b->y, b->stream, b->bias, {NULL, NULL, 0, {0, 0, 0, 0}}};
    int32_t band = apart ? 0 : kt_first(direction, bands), c = 0;
    while (c < channels && kt_within(band, bands)) {
        const int32_t oy = band * height;
        if (!apart || band == 0) {
            kt_enter_quad(&quad, b, c, scaling, starts, folded, gained);
        }
        kt_banded_rows(b, &quad, oy, kt_minimum(output - oy, height), height, apart && band > 0, inputs, scaling);
        if (apart) {
            band = band + 1 < bands ? band + 1 : 0;
            c += band == 0 ? KT_QUAD : 0;
        } else {
            c = c + KT_QUAD < channels ? c + KT_QUAD : 0;
            band += c == 0 ? direction : 0;
        }
    }
}

/* height: rows of a band; inputs: rows of the buffer, 6 or 5. */
KT_INLINE void kt_walk_bands(kt_bands *b, int32_t height, int32_t inputs, const kt_scaling *scaling, const int32_t *starts)
{
    int32_t i;
    b->columns = kt_columns_of(b->window, (b->window->output[KT_X] + 1) / 2 * b->window->stride[KT_X] + 1);
#if KT_VECTOR
    b->halo = b->x == b->y ? (int8_t *)(b->words + kt_columns_count(&b->columns) * inputs) : NULL;
    if (kt_band_has_room(b->window)) {
        const int32_t output = b->window->output[KT_Y], bands = (output + height - 1) / height;
        const int32_t direction = kt_direction(b->x, b->y);
        for (i = kt_first(direction, bands); kt_within(i, bands); i += direction) {
            kt_vector_rows(b, i * height, kt_minimum(output - i * height, height), scaling, starts);
        }
        return;
    }
#endif
    for (i = 0; i < inputs; i++) { /* columns outside of the image are those of every row */
        kt_outside_pairs(b->words + i, (int8_t)b->outside, kt_columns_count(&b->columns), inputs);
    }
    kt_order_bands(b, height, inputs, scaling, starts);
}

/* starts: of a layer with gains, or NULL. */
KT_INLINE void kt_banded_walk(const kt_packed_depthwise_params *params, const int8_t *x, const int32_t *bias, int8_t *y,
                              void *scratch, int32_t inputs, const int32_t *starts, kt_band_kernel *kernel)
{
    kt_bands b = {&params->window,    {0, 0, 0, 0, 0}, params->outside, params->stream, params->fold,
                  params->bias_limit, x,               bias,            y,              scratch,
                  NULL,               kernel};
    kt_walk_bands(&b, params->rows, inputs, NULL, starts);
}

#endif
