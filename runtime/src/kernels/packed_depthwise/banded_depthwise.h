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
#include "../convolution/input_gradient.h"
#include "../window.h"

/* A gradient is scaled while it is unzipped: (g * m + half) >> shift, m [channels]. Values of a layer are taken as they are (NULL). factor: of
 * the four channels at hand, m << (16 - shift), with which the result stands in the high half. gain: of m, or NULL. */
typedef struct {
    const int16_t *prescale;
    const kt_gain *gain;
    int32_t shift;
    int32_t factor[4];
} kt_scaling;

enum { KT_HALF = 1 << 15 };

/* Words of two neighbouring columns of four channels, in one row. */
typedef struct {
    int32_t first, second;
} kt_two_words;
typedef struct {
    kt_two_words left, right;
} kt_band_words;

KT_INLINE void kt_put_two_words(kt_two_words *words, int32_t first, int32_t second)
{
#if KT_DSP
    __asm__("strd %1, %2, %0" : "=m"(*words) : "r"(first), "r"(second));
#else
    words->first = first;
    words->second = second;
#endif
}

/* Two columns of four channels as one word a channel, scaled. */
KT_INLINE void kt_unzip_scaled(kt_band_words *words, const int8_t *left, const int8_t *right, const kt_scaling *scaling)
{
    const int32_t f0 = scaling->factor[0], f1 = scaling->factor[1], f2 = scaling->factor[2], f3 = scaling->factor[3];
    kt_put_two_words(&words->left, kt_pair_of_high(kt_add_product(KT_HALF, left[0], f0), kt_add_product(KT_HALF, right[0], f0)),
                     kt_pair_of_high(kt_add_product(KT_HALF, left[1], f1), kt_add_product(KT_HALF, right[1], f1)));
    kt_put_two_words(&words->right, kt_pair_of_high(kt_add_product(KT_HALF, left[2], f2), kt_add_product(KT_HALF, right[2], f2)),
                     kt_pair_of_high(kt_add_product(KT_HALF, left[3], f3), kt_add_product(KT_HALF, right[3], f3)));
}

/* Two columns of four channels as one word a channel. */
KT_INLINE void kt_unzip_pair(kt_band_words *words, const int8_t *left, const int8_t *right, const kt_scaling *scaling)
{
#if KT_DSP
    int32_t l, r, low, high, w0, w1, w2, w3;
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, scaling);
        return;
    }
    l = kt_word_at(left);
    r = kt_word_at(right);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(l), "r"(r));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(r), "r"(l));
    __asm__("sxtb16 %0, %1" : "=r"(w0) : "r"(low));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w1) : "r"(low));
    __asm__("sxtb16 %0, %1" : "=r"(w2) : "r"(high));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w3) : "r"(high));
    kt_put_two_words(&words->left, w0, w1);
    kt_put_two_words(&words->right, w2, w3);
#else
    if (scaling != NULL) {
        kt_unzip_scaled(words, left, right, scaling);
        return;
    }
    kt_put_two_words(&words->left, kt_pair_of(left[0], right[0]), kt_pair_of(left[1], right[1]));
    kt_put_two_words(&words->right, kt_pair_of(left[2], right[2]), kt_pair_of(left[3], right[3]));
#endif
}

/* Column pairs of a row of the buffer, from left to right: outside the image, cut by its left border, inside, cut by its right border,
 * outside again. */
typedef struct {
    int32_t before, cut_left, inside, cut_right, after;
} kt_columns;

static inline kt_columns kt_columns_of(const kt_window *window)
{
    const int32_t width = window->input[KT_X];
    const int32_t tiles = (window->output[KT_X] + 1) / 2;
    const int32_t pairs = tiles * window->stride[KT_X] + 1;
    const int32_t pad = kt_maximum(window->pad[KT_X], 0);
    kt_columns columns;
    int32_t left;
    columns.before = kt_minimum(pad / 2, pairs);
    columns.cut_left = kt_minimum(pad % 2, pairs - columns.before);
    left = pairs - columns.before - columns.cut_left;
    columns.inside = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) / 2, left);
    left -= columns.inside;
    columns.cut_right = kt_minimum((width - columns.cut_left - kt_maximum(-window->pad[KT_X], 0)) % 2, left);
    columns.after = left - columns.cut_right;
    return columns;
}

static inline int32_t kt_columns_count(const kt_columns *columns)
{
    return columns->before + columns->cut_left + columns->inside + columns->cut_right + columns->after;
}

/* One row of so many column pairs outside of the image. */
KT_INLINE void kt_outside_pairs(kt_band_words *words, int32_t value, int32_t count, int32_t inputs)
{
    const int32_t pair = kt_pair_of(value, value);
    for (; count > 0; count--, words += inputs) {
        kt_put_two_words(&words->left, pair, pair);
        kt_put_two_words(&words->right, pair, pair);
    }
}

/* Rows of one column pair; left, right: its two columns in the first of them, each with the bytes from row to row. */
KT_INLINE void kt_unzip_rows(kt_band_words *words, const int8_t *left, int32_t left_step, const int8_t *right,
                             int32_t right_step, int32_t rows, const kt_scaling *scaling)
{
    if (rows == 4) { /* of most bands */
        kt_unzip_pair(words, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 1, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 2, left, right, scaling);
        left += left_step, right += right_step;
        kt_unzip_pair(words + 3, left, right, scaling);
        return;
    }
    for (; rows > 0; rows--, left += left_step, right += right_step, words++) {
        kt_unzip_pair(words, left, right, scaling);
    }
}

/* Rows inside the image of four channels. x: their first column that is read, in the first row. step, line: bytes from column to column and
 * from row to row. Pairs wholly outside stand in `words` already. */
KT_INLINE void kt_unzip_inside(const kt_columns *columns, const int8_t *x, int32_t step, int32_t line, const int8_t *outside,
                               kt_band_words *words, int32_t rows, int32_t inputs, const kt_scaling *scaling)
{
    const int32_t count = columns->cut_left + columns->inside + columns->cut_right;
    int32_t i;
    words += columns->before * inputs;
    for (i = 0; i < count; i++, words += inputs) {
        const int8_t *left = x, *right = outside;
        int32_t left_step = line, right_step = 0;
        if (i == 0 && columns->cut_left) {
            left = outside, left_step = 0;
        } else {
            x += step;
        }
        if (i + 1 < count || !columns->cut_right) {
            right = x, right_step = line;
            x += step;
        }
        kt_unzip_rows(words, left, left_step, right, right_step, rows, scaling);
    }
}

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

/* The factors of four channels of a gradient. */
KT_INLINE void kt_set_factors(kt_scaling *scaling, int32_t c)
{
    int32_t i;
    for (i = 0; i < KT_QUAD; i++) {
        const int32_t m = kt_gained(scaling->prescale[c + i], scaling->gain, c + i);
        scaling->factor[i] = m * (INT32_C(1) << (16 - scaling->shift));
    }
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

/* Whether input and result are one buffer, or share no byte. */
KT_INLINE int kt_channels_apart(const kt_bands *b)
{
    const int32_t *const input = b->window->input, *const output = b->window->output;
    const uintptr_t x = (uintptr_t)b->x, y = (uintptr_t)b->y;
    return x == y || x + (uintptr_t)(input[KT_Y] * input[KT_X] * input[KT_CHANNELS]) <= y ||
           y + (uintptr_t)(output[KT_Y] * output[KT_X] * input[KT_CHANNELS]) <= x;
}

/* The bands of four channels, and then the next four; or four channels of a band after the other, and then the next band. */
KT_INLINE void kt_order_bands(const kt_bands *b, int32_t height, int32_t inputs, const kt_scaling *scaling, const int32_t *starts)
{
    const int32_t output = b->window->output[KT_Y], channels = b->window->input[KT_CHANNELS];
    const int32_t bands = (output + height - 1) / height;
    const int32_t direction = kt_direction(b->x, b->y);
    const int apart = kt_channels_apart(b);
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
    b->columns = kt_columns_of(b->window);
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
